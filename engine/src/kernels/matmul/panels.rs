//! Many columns: panels of rows, unpacked once to bytes.
//!
//! A panel holds up to 1024 elements of each of 16 or 32 rows, interleaved so that a vector has 4 codes of each of 16
//! rows. Multiplied with 4 codes of a column, repeated 16 times, that gives sums with a lane per row: no reduction is ever
//! needed. The inner loop keeps the sums of the panel's rows and `C` columns in registers.
//!
//! Some groups of columns meet several panels, one after the other. For that the blocks of a group are put next to each other,
//! so that the inner loop has one place to read them from. Panels of one range of elements follow each other; the result's
//! elements are the accumulators from range to range, which leaves the order of the sum as it is.
//!
//! The file's bytes of a panel are short pieces of many rows, which no processor's own prefetch foresees: so while panels are
//! multiplied, those of the next are asked for, a few with each block, since a burst of requests would hold up all else; or
//! with each group of columns, where that takes more than an instruction. So are the next columns.

use super::{Format, Quantized, Rows, padded, sixteen_rows};
use crate::bytes::Tile;
use crate::kernels::scratch::Room;
use crate::kernels::{InScratch, Scratch};
use crate::simd::{Kernel, Simd};
use core::marker::PhantomData;
use zerocopy::IntoBytes;

/// Rows of a vector.
const ROWS: usize = 16;
/// Elements per row that a panel holds.
const DEPTH: usize = 1024;
/// Rows whose panels are there at the same time: to put columns together for one panel alone took a fifth of the time.
const SET: usize = 192;
/// Columns that are put together at the same time in WebAssembly: a panel stays in the first-level cache for all of them. With
/// more registers, one group was faster (AVX2, 15%).
const COLUMNS: usize = 24;

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

/// What is multiplied at once: panels of blocks `from..from + len` of rows `first` and up with groups of columns `c` and up.
#[derive(Clone, Copy)]
struct Part {
    from: usize,
    len: usize,
    first: usize,
    c: usize,
    groups: usize,
}

/// Blocks of `C` columns.
struct Packed<'a, T, const LEN: usize, const C: usize> {
    codes: &'a [[[i8; LEN]; C]],
    d: &'a [[f32; C]],
    sums: &'a [[T; C]],
}

/// A block of `C` columns.
pub(super) struct Blocks<'a, T, const LEN: usize, const C: usize> {
    pub codes: &'a [[i8; LEN]; C],
    pub d: &'a [f32; C],
    pub sums: &'a [T; C],
}

impl<'a, T, const LEN: usize, const C: usize> Packed<'a, T, LEN, C> {
    /// Blocks `from..from + len`.
    #[inline(always)]
    fn group(&self, from: usize, len: usize) -> Packed<'a, T, LEN, C> {
        let range = from..from + len;
        Packed { codes: &self.codes[range.clone()], d: &self.d[range.clone()], sums: &self.sums[range] }
    }

    /// Block `b` of each column.
    #[inline(always)]
    fn blocks(&self, b: usize) -> Blocks<'a, T, LEN, C> {
        Blocks { codes: &self.codes[b], d: &self.d[b], sums: &self.sums[b] }
    }
}

/// Cache lines to ask for: of pieces of some rows, which end `stride` bytes after each other, with `gap` bytes between.
struct Lines<'a> {
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
    fn in_turns(self, turns: usize, near: bool) -> Self {
        Self { each: self.left.div_ceil(turns), near, ..self }
    }

    /// A turn.
    #[inline(always)]
    fn prefetch<S: Simd>(&mut self, s: S) {
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
    F: Format<LEN, SUMS, N>,
{
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { mut work, scratch } = self;
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
            let len = depth.min(self.x.blocks - from);
            for first in (0..self.out.width()).step_by(SET) {
                let mut room = scratch.room();
                let count = (self.out.width() - first).min(SET).div_ceil(R * ROWS);
                let panels = room.take::<[F::Block; R]>(count * len);
                for (row, panel) in (first..).step_by(R * ROWS).zip(panels.chunks_exact_mut(len)) {
                    for r in 0..R {
                        let rows = sixteen_rows(self.rows.bytes, self.x.blocks, row + r * ROWS, from..from + len);
                        F::unpack(s, &rows, r, panel);
                    }
                }
                let turns = self.x.n.div_ceil(C) * if S::PREFETCHES { panels.len() } else { count };
                // Small ones are best in the first-level cache, though it has not room for all of them.
                let mut next = self.next(first + SET, from, depth, count * R * ROWS).in_turns(turns, LEN == 32);
                let mut c = 0;
                while c < self.x.n {
                    let step = match self.x.n - c {
                        ..=2 => 2,
                        3..=4 if C > 4 => 4,
                        // Wide ones come in pairs.
                        _ if self.x.wide => C / 2 * 2,
                        _ => C,
                    };
                    let most = if S::ACCUMULATORS < 6 { COLUMNS / step } else { 1 };
                    let groups = ((self.x.n - c) / step).clamp(1, most);
                    let part = Part { from, len, first, c, groups };
                    match step {
                        2 => self.groups::<S, R, 2>(s, panels, part, &mut next, room.again()),
                        4 if C > 4 => self.groups::<S, R, 4>(s, panels, part, &mut next, room.again()),
                        _ => self.groups::<S, R, C>(s, panels, part, &mut next, room.again()),
                    }
                    c += groups * step;
                }
            }
        }
    }

    /// What panels of `rows` rows are made of that come after those before row `first`.
    #[inline(always)]
    fn next(&self, first: usize, from: usize, depth: usize, rows: usize) -> Lines<'a> {
        let (stride, len) = (self.x.blocks * N, depth * N);
        let (bytes, start) = if first < self.out.width() {
            (self.rows.bytes, first * stride + from * N)
        } else if from + depth < self.x.blocks {
            (self.rows.bytes, (from + depth) * N)
        } else {
            (self.rows.after, 0)
        };
        Lines::new(bytes, start, len, rows, stride)
    }

    /// Adds the terms of panels for some groups of `C` columns; asks for lines of the next panels and columns.
    #[inline(always)]
    fn groups<S: Simd, const R: usize, const C: usize>(
        &mut self,
        s: S,
        panels: &[[F::Block; R]],
        part: Part,
        next: &mut Lines<'_>,
        room: Room<'_>,
    ) {
        let Part { from, len, first, c, groups } = part;
        let packed = self.packed::<S, C>(s, room, part);
        let columns = groups * C;
        let mut next_columns =
            self.columns_after(c + columns, from, len, columns).in_turns(groups * panels.len(), false);
        for (row, panel) in (first..).step_by(R * ROWS).zip(panels.chunks_exact(len)) {
            for group in 0..groups {
                let x = packed.group(group * len, len);
                self.multiply::<S, R, C>(s, panel, &x, (&mut *next, &mut next_columns), [from, row, c + group * C]);
            }
        }
    }

    /// The same for one panel and one group.
    #[inline(always)]
    fn multiply<S: Simd, const R: usize, const C: usize>(
        &mut self,
        s: S,
        panel: &[[F::Block; R]],
        x: &Packed<'_, F::Sums, LEN, C>,
        next: (&mut Lines<'_>, &mut Lines<'_>),
        [from, first, c]: [usize; 3],
    ) {
        let mut y = [[s.splat_float(0.0); R]; C];
        if from > 0 {
            self.load(s, first, c, &mut y);
        }
        let (next_panels, next_columns) = next;
        if !S::PREFETCHES {
            next_panels.prefetch(s);
        }
        for (b, block) in panel.iter().enumerate() {
            if S::PREFETCHES {
                next_panels.prefetch(s);
                next_columns.prefetch(s);
            }
            F::add_block(s, block, x.blocks(b), self.x.wide, &mut y);
        }
        self.store(s, first, c, &y);
    }

    /// The blocks of groups of `C` columns, those of a group next to each other; beyond the last column it is repeated.
    #[inline(always)]
    fn packed<'r, S: Simd, const C: usize>(&self, s: S, mut room: Room<'r>, part: Part) -> Packed<'r, F::Sums, LEN, C> {
        let (len, all) = (part.len, part.groups * part.len);
        let codes = room.take::<[[i8; LEN]; C]>(all);
        let (d, sums) = (room.take::<[f32; C]>(all), room.take::<[F::Sums; C]>(all));
        let groups = codes.chunks_exact_mut(len).zip(d.chunks_exact_mut(len)).zip(sums.chunks_exact_mut(len));
        for (group, ((codes, d), sums)) in groups.enumerate() {
            let columns = self.x.columns::<C>(part.c + group * C, part.from, len);
            for (b, ((codes, d), sums)) in codes.iter_mut().zip(d).zip(sums).enumerate() {
                for (((codes, d), sums), column) in codes.iter_mut().zip(d).zip(sums).zip(columns) {
                    (*codes, *d) = (column.qs[b], column.d[b]);
                    F::set_sums(s, &column.sums[b], sums);
                }
            }
        }
        Packed { codes, d, sums }
    }

    /// Blocks `from..from + len` of columns `c..c + count`, if there are so many.
    #[inline(always)]
    fn columns_after(&self, c: usize, from: usize, len: usize, count: usize) -> Lines<'a> {
        let stride = self.x.blocks * LEN;
        let count = if self.x.wide { 0 } else { count.min(self.x.n.saturating_sub(c)) };
        Lines::new(self.x.qs.as_flattened().as_bytes(), c * stride + from * LEN, len * LEN, count, stride)
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
