//! Many columns: panels of rows, unpacked once to bytes.
//!
//! A panel holds up to 1024 elements of each of 16 or 32 rows, interleaved so that a vector has 4 codes of each of 16
//! rows. Multiplied with 4 codes of a column, repeated 16 times, that gives sums with a lane per row: no reduction is ever
//! needed. The inner loop keeps the sums of the panel's rows and `C` columns in registers.
//!
//! Panels of one range of elements follow each other, so that the activations of that range stay in the second-level
//! cache. The result's elements are the accumulators from range to range, which leaves the order of the sum as it is.
//!
//! The file's bytes of a panel are short pieces of many rows, which no processor's own prefetch foresees: so while one panel
//! is multiplied, those of the next are asked for, a few with each block, since a burst of requests would hold up all else; or
//! with each group of columns, where that takes more than an instruction.

use super::tiles::{self, Tiled};
use super::{Format, Quantized, Rows, padded, sixteen_rows};
use crate::bytes::Tile;
use crate::kernels::{InScratch, Scratch};
use crate::simd::{Kernel, Simd};
use core::marker::PhantomData;
use core::ops::Range;

/// Rows of a vector.
const ROWS: usize = 16;
/// Elements per row that a panel holds.
const DEPTH: usize = 1024;
/// From so many columns on, the next panel of large blocks is asked for into the first-level cache.
const NEAR_COLUMNS: usize = 32;

/// Steps of the inner loop, of `run`, to be written out: where sums are few, a step is short, and compilers of WebAssembly
/// leave loops as they are.
pub(super) const fn unroll<S: Simd>(run: usize) -> usize {
    if S::ACCUMULATORS < 6 && run.is_multiple_of(2) { 2 } else { 1 }
}

/// Whether the groups of a block are all written out: where there are not registers enough, that is a third slower (Q4_0, 480
/// columns, plain SIMD of WebAssembly).
pub(super) const fn writes_out<S: Simd>() -> bool {
    S::SUMS_32 && S::ACCUMULATORS >= 6
}

/// The product with a matrix of blocks.
pub(super) struct Panels<'a, 'o, F, const LEN: usize, const SUMS: usize, const N: usize> {
    pub rows: Rows<'a>,
    pub x: Quantized<'a, LEN, SUMS>,
    pub out: &'a mut Tile<'o, f32>,
    pub format: PhantomData<F>,
}

/// Cache lines to ask for: of pieces of some rows, which end `stride` bytes after each other, with `gap` bytes between.
pub(super) struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
    end: usize,
    gap: usize,
    stride: usize,
    left: usize,
    /// How many to ask for at a time.
    each: usize,
    /// Whether to have them in the first-level cache.
    near: bool,
}

impl<'a> Lines<'a> {
    /// Those of `len` bytes from byte `start` on of each of `rows` rows.
    fn new(bytes: &'a [u8], start: usize, len: usize, rows: usize, stride: usize) -> Self {
        let left = rows * len.div_ceil(64);
        Self { bytes, at: start, end: start + len, gap: stride - len, stride, left, each: left, near: false }
    }

    /// All of them, in as many turns.
    #[inline(always)]
    pub fn in_turns(self, turns: usize, near: bool) -> Self {
        Self { each: self.left.div_ceil(turns), near, ..self }
    }

    /// A turn.
    #[inline(always)]
    pub fn prefetch<S: Simd>(&mut self, s: S) {
        let now = self.each.min(self.left);
        self.left -= now;
        for _ in 0..now {
            match self.near {
                true => s.prefetch_near(self.bytes, self.at),
                false => s.prefetch(self.bytes, self.at),
            }
            self.at += 64;
            if self.at >= self.end {
                self.at = self.end + self.gap;
                self.end += self.stride;
            }
        }
    }
}

impl<F, const LEN: usize, const SUMS: usize, const N: usize> Kernel for InScratch<'_, Panels<'_, '_, F, LEN, SUMS, N>>
where
    F: Tiled<LEN, SUMS, N>,
{
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { mut work, scratch } = self;
        if S::HAS_TILES && tiles::product(s, &mut work, scratch) {
            return;
        }
        match S::ACCUMULATORS {
            ..6 if F::loops::<S>() => work.panels::<S, 1, 2>(s, scratch),
            ..6 => work.panels::<S, 1, 3>(s, scratch),
            6..24 => work.panels::<S, 1, 6>(s, scratch),
            _ => work.panels::<S, 2, 6>(s, scratch),
        }
    }
}

impl<'a, F, const LEN: usize, const SUMS: usize, const N: usize> Panels<'a, '_, F, LEN, SUMS, N>
where
    F: Format<LEN, SUMS, N>,
{
    /// With `R` vectors of rows in a panel, of which the inner loop takes `C` columns at a time.
    #[inline(always)]
    fn panels<S: Simd, const R: usize, const C: usize>(&mut self, s: S, scratch: &mut Scratch) {
        // Evenly, so that no panel is much shorter than the others.
        let depth = self.x.blocks.div_ceil(self.x.blocks.div_ceil(DEPTH / LEN));
        for from in (0..self.x.blocks).step_by(depth) {
            let panel = scratch.room().take::<[F::Block; R]>(depth.min(self.x.blocks - from));
            for first in (0..self.out.width()).step_by(R * ROWS) {
                for r in 0..R {
                    let rows = sixteen_rows(self.rows.bytes, self.x.blocks, first + r * ROWS, from..from + panel.len());
                    F::unpack(s, &rows, r, panel);
                }
                let turns = self.x.n.div_ceil(C) * if S::PREFETCHES { panel.len() } else { 1 };
                // That is 7% faster with 16 to 48 columns, if the panel leaves room for it; but where blocks of 256 meet few
                // columns, 9% slower (Q4_1 and Q4_K on a Zen 4).
                let near = LEN == 32 || self.x.n >= NEAR_COLUMNS;
                let mut next =
                    self.next(0..self.out.width(), first + R * ROWS, from, depth, R * ROWS).in_turns(turns, near);
                let mut c = 0;
                while c < self.x.n {
                    let step = match self.x.n - c {
                        ..=2 => 2,
                        3..=4 if C > 4 => 4,
                        // Wide ones come in pairs.
                        _ if self.x.wide => C / 2 * 2,
                        _ => C,
                    };
                    match step {
                        2 => self.multiply::<S, R, 2>(s, panel, &mut next, [from, first, c]),
                        4 if C > 4 => self.multiply::<S, R, 4>(s, panel, &mut next, [from, first, c]),
                        _ => self.multiply::<S, R, C>(s, panel, &mut next, [from, first, c]),
                    }
                    c += step;
                }
            }
        }
    }

    /// What a panel of `rows` rows is made of that comes after the one before row `first`, where those of rows `section` are
    /// gone through one after the other.
    #[inline(always)]
    pub(super) fn next(
        &self,
        section: Range<usize>,
        first: usize,
        from: usize,
        depth: usize,
        rows: usize,
    ) -> Lines<'a> {
        let (stride, len) = (self.x.blocks * N, depth * N);
        let (bytes, start) = if first < section.end {
            (self.rows.bytes, first * stride + from * N)
        } else if from + depth < self.x.blocks {
            (self.rows.bytes, section.start * stride + (from + depth) * N)
        } else if section.end < self.out.width() {
            (self.rows.bytes, section.end * stride)
        } else {
            (self.rows.after, 0)
        };
        Lines::new(bytes, start, len, rows, stride)
    }

    /// Adds the terms of a panel, whose blocks are `from` and up of rows `first` and up, for columns `c..c + C`; asks
    /// for lines of the next.
    #[inline(always)]
    fn multiply<S: Simd, const R: usize, const C: usize>(
        &mut self,
        s: S,
        panel: &[[F::Block; R]],
        next: &mut Lines<'_>,
        [from, first, c]: [usize; 3],
    ) {
        let columns = self.x.columns::<C>(c, from, panel.len());
        let mut y = [[s.splat_float(0.0); R]; C];
        if from > 0 {
            self.load(s, first, c, &mut y);
        }
        if !S::PREFETCHES {
            next.prefetch(s);
        }
        for (b, block) in panel.iter().enumerate() {
            if S::PREFETCHES {
                next.prefetch(s);
            }
            F::add_block(s, block, &columns, self.x.wide, b, &mut y);
        }
        self.store(s, first, c, &y);
    }

    /// The sums that [`Self::store`] left.
    #[inline(always)]
    fn load<S: Simd, const R: usize, const C: usize>(
        &mut self,
        s: S,
        first: usize,
        c: usize,
        y: &mut [[S::Floats; R]; C],
    ) {
        for (y, c) in y.iter_mut().zip(c..self.x.n) {
            let Some(product) = self.x.product(c) else { continue };
            let row = &self.out.row(product)[first..];
            for (r, y) in y.iter_mut().enumerate() {
                let row = &row[(r * ROWS).min(row.len())..];
                *y = match row.first_chunk() {
                    Some(row) => s.floats(row),
                    None => s.floats(&padded(row)),
                };
            }
        }
    }

    /// Stores the sums of the rows and columns that there are.
    #[inline(always)]
    fn store<S: Simd, const R: usize, const C: usize>(
        &mut self,
        s: S,
        first: usize,
        c: usize,
        y: &[[S::Floats; R]; C],
    ) {
        for (y, c) in y.iter().zip(c..self.x.n) {
            let Some(product) = self.x.product(c) else { continue };
            let row = &mut self.out.row(product)[first..];
            for (r, y) in y.iter().enumerate() {
                let start = (r * ROWS).min(row.len());
                let row = &mut row[start..];
                // All of it where it belongs: compilers of WebAssembly would call what copies memory.
                if let Some(row) = row.first_chunk_mut() {
                    s.store_floats(*y, row);
                    continue;
                }
                let mut lanes = [0.0; ROWS];
                s.store_floats(*y, &mut lanes);
                row.copy_from_slice(&lanes[..row.len()]);
            }
        }
    }
}
