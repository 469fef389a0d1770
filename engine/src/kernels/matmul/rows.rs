//! Few columns: 16 rows at a time, straight from the file's bytes.
//!
//! Memory sets the pace. A block of each of 16 rows makes a vector of terms with a lane per row, which is added to the sums
//! of the rows; a block of activations is loaded once for all of them. Of more than four columns, four at a time meet the 16
//! rows, which the first-level cache then has.
//!
//! 16 rows are 16 streams, which a processor's own prefetch follows badly. So each step asks for as many bytes as it reads,
//! in the order of the file, to come to the second-level cache: memory sees one stream.

use super::{Format, Quantized, Rows, sixteen_rows};
use crate::bytes::Tile;
use crate::simd::{Kernel, Simd};
use core::marker::PhantomData;

/// Rows that are worked on at the same time.
const ROWS: usize = 16;

/// How far ahead large blocks are asked for, at least, so that it is whole groups of rows: from memory, Q4_K in rows of 2048
/// reached 24.4 GB/s one group ahead (18 kB), 22 at 32 kB and 20 at 64 kB, when memory read 24.5 (one thread of a Zen 4).
const NEAR_AHEAD: usize = 12 << 10;

/// The product with a matrix of blocks.
pub(super) struct Streams<'a, 'o, F, const LEN: usize, const SUMS: usize, const N: usize> {
    pub rows: Rows<'a>,
    pub x: Quantized<'a, LEN, SUMS>,
    pub out: &'a mut Tile<'o, f32>,
    pub format: PhantomData<F>,
}

/// A block of a column.
#[derive(Clone, Copy)]
pub(super) struct Block<'a, const LEN: usize, const SUMS: usize> {
    pub qs: &'a [i8; LEN],
    pub d: f32,
    pub sums: &'a [i16; SUMS],
}

/// What is prefetched while some bytes of a matrix are in work.
#[derive(Clone, Copy)]
pub(super) struct Ahead<'a> {
    bytes: &'a [u8],
    start: usize,
}

impl<'a> Ahead<'a> {
    /// From byte `start` of `rows`, which may be beyond their end.
    #[inline(always)]
    pub fn new(rows: Rows<'a>, start: usize) -> Self {
        match start.checked_sub(rows.bytes.len()) {
            Some(start) if start < rows.after.len() => Self { bytes: rows.after, start },
            _ => Self { bytes: rows.bytes, start },
        }
    }

    /// To be called for bytes `from..from + len` of those in work, a little at a time: too many requests at once would hold up
    /// all else.
    #[inline(always)]
    pub fn prefetch<S: Simd>(self, s: S, from: usize, len: usize) {
        for line in 0..len.div_ceil(64) {
            s.prefetch(self.bytes, self.start + from + 64 * line);
        }
    }
}

impl<F, const LEN: usize, const SUMS: usize, const N: usize> Kernel for Streams<'_, '_, F, LEN, SUMS, N>
where
    F: Format<LEN, SUMS, N>,
{
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        match self.x.n {
            1 => self.columns::<S, 1>(s),
            2 => self.columns::<S, 2>(s),
            3 => self.columns::<S, 3>(s),
            _ if super::panel_columns::<S>() > 4 => self.columns::<S, 4>(s),
            n => unreachable!("{n} columns go through panels"),
        }
    }
}

impl<F, const LEN: usize, const SUMS: usize, const N: usize> Streams<'_, '_, F, LEN, SUMS, N>
where
    F: Format<LEN, SUMS, N>,
{
    /// All rows times all columns, `C` at a time.
    #[inline(always)]
    fn columns<S: Simd, const C: usize>(&mut self, s: S) {
        for first in (0..self.out.width()).step_by(ROWS) {
            let rows = sixteen_rows::<N>(self.rows.bytes, self.x.blocks, first, 0..self.x.blocks);
            for c in (0..self.x.n).step_by(C) {
                self.group::<S, C>(s, first, rows, c);
            }
        }
    }

    /// Rows `first..first + 16` times columns `c..c + C`.
    #[inline(always)]
    fn group<S: Simd, const C: usize>(&mut self, s: S, first: usize, rows: [&[[u8; N]]; ROWS], c: usize) {
        let blocks = self.x.blocks;
        let x = self.x.columns::<C>(c, 0, blocks);
        let group = ROWS * blocks * N;
        // What comes later is asked for with the first columns; the others ask for what is there.
        let distance = match LEN {
            _ if c > 0 => 0,
            32 => S::AHEAD.max(group),
            _ => NEAR_AHEAD.next_multiple_of(group),
        };
        let mut y = [s.splat_float(0.0); C];
        for b in 0..blocks {
            let at = (first * blocks + ROWS * b) * N;
            let ahead = Ahead::new(self.rows, at + distance);
            let mut sixteen = [&rows[0][b]; ROWS];
            for (block, row) in sixteen.iter_mut().zip(rows) {
                *block = &row[b];
            }
            let mut block = [Block { qs: &x[0].qs[b], d: x[0].d[b], sums: &x[0].sums[b] }; C];
            for (block, x) in block.iter_mut().zip(x) {
                *block = Block { qs: &x.qs[b], d: x.d[b], sums: &x.sums[b] };
            }
            for (y, term) in y.iter_mut().zip(F::terms::<S, C>(s, &sixteen, &block, self.x.wide, ahead)) {
                *y = s.add(*y, term);
            }
        }
        for (c, y) in (c..self.x.n).zip(y) {
            let Some(product) = self.x.product(c) else { continue };
            let out = &mut self.out.row(product)[first..];
            let mut lanes = [0.0; ROWS];
            s.store_floats(y, &mut lanes);
            for (out, y) in out.iter_mut().zip(lanes) {
                *out = y;
            }
        }
    }
}
