//! Many columns: panels of 16 rows, unpacked once to bytes.
//!
//! A panel holds 512 elements of each of 16 rows in the first-level cache, interleaved so that a vector has 4 codes of
//! each of 8 rows. Multiplied with 4 codes of a column, repeated 8 times, that gives sums with a lane per row: no
//! reduction is ever needed. The inner loop keeps the sums of 16 rows and `C` columns in registers.
//!
//! Panels of one range of elements follow each other, so that the activations of that range stay in the second-level
//! cache. The result's elements are the accumulators from range to range, which leaves the order of the sum as it is.

use super::rows::ONE;
use super::{Column, Quantized, eight_rows};
use crate::bytes::Tile;
use crate::quant::{Block32, Block256, Codes};
use crate::simd::{Kernel, Simd};
use core::marker::PhantomData;

/// Rows of a panel, in vectors of 8.
const ROWS: usize = 16;
/// Columns that the inner loop takes at a time.
const COLUMNS: usize = 6;
/// Elements per row that a panel holds.
const DEPTH: usize = 512;

/// A vector for each 8 rows.
type Pair<T> = [T; 2];

/// The product with a matrix of blocks of 32.
pub(super) struct Panels32<'a, 'o, F, const N: usize> {
    pub rows: &'a [u8],
    pub x: Quantized<'a, 32, 1>,
    pub out: &'a mut Tile<'o, f32>,
    pub format: PhantomData<F>,
}

/// A block of 32 of 16 rows.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Block32Rows {
    codes: [Pair<[u8; 32]>; 8],
    scale: Pair<[f32; 8]>,
    min: Pair<[f32; 8]>,
}

impl<F: Block32<N>, const N: usize> Kernel for Panels32<'_, '_, F, N> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let empty = Block32Rows { codes: [[[0; 32]; 2]; 8], scale: [[0.0; 8]; 2], min: [[0.0; 8]; 2] };
        let mut panel = [empty; DEPTH / 32];
        let (blocks, out) = (self.x.blocks, self.out);
        for from in (0..blocks).step_by(panel.len()) {
            let panel = &mut panel[..(blocks - from).min(DEPTH / 32)];
            for first in (0..out.width()).step_by(ROWS) {
                for half in 0..2 {
                    let rows = eight_rows(self.rows, blocks * N, first + 8 * half, from, panel.len());
                    unpack32::<S, F, N>(s, &rows, half, panel);
                }
                let mut c = 0;
                while c < self.x.n {
                    if self.x.n - c > COLUMNS - 2 {
                        multiply32::<S, F, N, COLUMNS>(s, panel, self.x, from, [first, c], out);
                        c += COLUMNS;
                    } else {
                        multiply32::<S, F, N, 2>(s, panel, self.x, from, [first, c], out);
                        c += 2;
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn unpack32<S: Simd, F: Block32<N>, const N: usize>(
    s: S,
    rows: &[&[[u8; N]]; 8],
    half: usize,
    panel: &mut [Block32Rows],
) {
    for (b, to) in panel.iter_mut().enumerate() {
        let blocks = rows.map(|row| &row[b]);
        let mut codes = [[s.splat(0); 4]; 2];
        for r in 0..4 {
            [codes[0][r], codes[1][r]] = F::codes(s, [blocks[r], blocks[r + 4]]);
        }
        store_groups(s, codes, half, &mut to.codes);
        if F::MIN {
            let [scale, min] = F::scale_min_each(s, &blocks);
            s.store_floats(scale, &mut to.scale[half]);
            s.store_floats(min, &mut to.min[half]);
        } else {
            s.store_floats(F::scale_each(s, &blocks), &mut to.scale[half]);
        }
    }
}

/// Adds the terms of a panel, whose blocks are `from` and up of rows `at[0]` and up, for columns `at[1]..at[1] + C`.
#[inline(always)]
fn multiply32<S: Simd, F: Block32<N>, const N: usize, const C: usize>(
    s: S,
    panel: &[Block32Rows],
    x: Quantized<'_, 32, 1>,
    from: usize,
    at: [usize; 2],
    out: &mut Tile<'_, f32>,
) {
    let columns = columns::<32, 1, C>(x, from, panel.len(), at[1]);
    let mut y = load::<S, C>(s, from, at, out);
    for (b, block) in panel.iter().enumerate() {
        let mut codes = [&[[0; 4]; 8]; C];
        let mut sums = [[s.splat_int(0); 2]; C];
        for ((codes, sums), column) in codes.iter_mut().zip(&mut sums).zip(&columns) {
            *codes = fours(&column.qs[b]);
            *sums = [s.splat_int(-F::CODES.offset() * column.sums[b][0] as i32); 2];
        }
        let run = F::CODES.run().max(1);
        for first in (0..8).step_by(run) {
            add_dots(s, F::CODES, &mut sums, &block.codes[first..first + run], &codes, first, [s.splat_int(ONE); 2]);
        }
        for ((y, sums), column) in y.iter_mut().zip(&sums).zip(&columns) {
            let (dx, sum) = (column.d[b], column.sums[b][0] as i32);
            for half in 0..2 {
                let scale = s.mul(s.floats(&block.scale[half]), s.splat_float(dx));
                let mut term = s.mul(scale, s.to_floats(sums[half]));
                if F::MIN {
                    let min = s.mul(s.floats(&block.min[half]), s.splat_float(dx * sum as f32));
                    term = s.add(term, min);
                }
                y[half] = s.add(y[half], term);
            }
        }
    }
    store(s, y, at, out);
}

/// Adds to `sums` the products of groups of 4 codes, of 16 rows and, from group `first` on, of `C` columns, times the
/// rows' pair scales. The partial sums of all groups must be exact.
#[inline(always)]
fn add_dots<S: Simd, const G: usize, const C: usize>(
    s: S,
    kind: Codes,
    sums: &mut [Pair<S::Ints>; C],
    groups: &[Pair<[u8; 32]>],
    columns: &[&[[i8; 4]; G]; C],
    first: usize,
    scale: Pair<S::Ints>,
) {
    let mut partial = [[s.partial(); 2]; C];
    for (g, group) in groups.iter().enumerate() {
        let w = [s.bytes(&group[0]), s.bytes(&group[1])];
        for (partial, column) in partial.iter_mut().zip(columns) {
            let x = s.splat4(&column[first + g]);
            for half in 0..2 {
                partial[half] = match kind {
                    Codes::Unsigned { .. } => s.partial_dot(partial[half], w[half], x),
                    Codes::Signed => s.partial_signed(w[half], x),
                };
            }
        }
    }
    for (sums, partial) in sums.iter_mut().zip(partial) {
        for half in 0..2 {
            sums[half] = s.add_scaled(sums[half], partial[half], scale[half]);
        }
    }
}

/// The product with a matrix of blocks of 256.
pub(super) struct Panels256<'a, 'o, F, const N: usize> {
    pub rows: &'a [u8],
    pub x: Quantized<'a, 256, 16>,
    pub out: &'a mut Tile<'o, f32>,
    pub format: PhantomData<F>,
}

/// A block of 256 of 16 rows.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Block256Rows {
    codes: [Pair<[u8; 32]>; 64],
    /// Pair scales of 16 or, the first 8 of them, 32 elements each.
    scales: [Pair<[i32; 8]>; 16],
    /// The integer minima of 32 elements as pairs, or where there are none the scales.
    mins: [Pair<[i32; 8]>; 8],
    scale: Pair<[f32; 8]>,
    min: Pair<[f32; 8]>,
}

impl<F: Block256<N>, const N: usize> Kernel for Panels256<'_, '_, F, N> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (codes, ints, floats) = ([[[0; 32]; 2]; 64], [[0; 8]; 2], [[0.0; 8]; 2]);
        let empty = Block256Rows { codes, scales: [ints; 16], mins: [ints; 8], scale: floats, min: floats };
        let mut panel = [empty; DEPTH / 256];
        let (blocks, out) = (self.x.blocks, self.out);
        for from in (0..blocks).step_by(panel.len()) {
            let panel = &mut panel[..(blocks - from).min(DEPTH / 256)];
            for first in (0..out.width()).step_by(ROWS) {
                for half in 0..2 {
                    let rows = eight_rows(self.rows, blocks * N, first + 8 * half, from, panel.len());
                    unpack256::<S, F, N>(s, &rows, half, panel);
                }
                let mut c = 0;
                while c < self.x.n {
                    if self.x.n - c > COLUMNS - 2 {
                        multiply256::<S, F, N, COLUMNS>(s, panel, self.x, from, [first, c], out);
                        c += COLUMNS;
                    } else {
                        multiply256::<S, F, N, 2>(s, panel, self.x, from, [first, c], out);
                        c += 2;
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn unpack256<S: Simd, F: Block256<N>, const N: usize>(
    s: S,
    rows: &[&[[u8; N]]; 8],
    half: usize,
    panel: &mut [Block256Rows],
) {
    for (b, to) in panel.iter_mut().enumerate() {
        let blocks = rows.map(|row| &row[b]);
        let codes = to.codes.as_chunks_mut::<16>().0;
        unpack_quarter::<S, F, N, 0>(s, &blocks, half, &mut codes[0]);
        unpack_quarter::<S, F, N, 1>(s, &blocks, half, &mut codes[1]);
        unpack_quarter::<S, F, N, 2>(s, &blocks, half, &mut codes[2]);
        unpack_quarter::<S, F, N, 3>(s, &blocks, half, &mut codes[3]);
        unpack_scales::<S, F, N>(s, &blocks, half, to);
        if F::MIN {
            let [scale, min] = F::scale_min_each(s, &blocks);
            s.store_floats(scale, &mut to.scale[half]);
            s.store_floats(min, &mut to.min[half]);
        } else {
            s.store_floats(F::scale_each(s, &blocks), &mut to.scale[half]);
        }
    }
}

#[inline(always)]
fn unpack_quarter<S: Simd, F: Block256<N>, const N: usize, const QUARTER: usize>(
    s: S,
    blocks: &[&[u8; N]; 8],
    half: usize,
    to: &mut [Pair<[u8; 32]>; 16],
) {
    let mut codes = [[s.splat(0); 4]; 4];
    for r in 0..4 {
        let of_two = F::codes::<S, QUARTER>(s, [blocks[r], blocks[r + 4]]);
        for (codes, two) in codes.iter_mut().zip(of_two) {
            codes[r] = two;
        }
    }
    store_groups(s, codes, half, to);
}

/// Stores groups of 4 codes of 8 rows; `codes[i]` has elements `16i` and up of four pairs of rows.
#[inline(always)]
fn store_groups<S: Simd, const C: usize>(s: S, codes: [[S::Bytes; 4]; C], half: usize, to: &mut [Pair<[u8; 32]>]) {
    for (to, codes) in to.as_chunks_mut::<4>().0.iter_mut().zip(codes) {
        for (to, group) in to.iter_mut().zip(s.transpose(codes)) {
            s.store(group, &mut to[half]);
        }
    }
}

/// Widens the integer scales and minima of a block of 8 rows.
#[inline(always)]
fn unpack_scales<S: Simd, F: Block256<N>, const N: usize>(
    s: S,
    blocks: &[&[u8; N]; 8],
    half: usize,
    to: &mut Block256Rows,
) {
    let (mut scales, mut mins) = ([s.splat(0); 4], [s.splat(0); 4]);
    for r in 0..4 {
        scales[r] = s.join(F::scales(blocks[r]), F::scales(blocks[r + 4]));
        mins[r] = s.join(F::mins(blocks[r]), F::mins(blocks[r + 4]));
    }
    // Now each vector has 4 numbers of each of 8 rows.
    let (scales, mins) = (s.transpose(scales), s.transpose(mins));
    for (j, to) in to.scales[..256 / F::RUN].iter_mut().enumerate() {
        s.store_ints(s.widen(scales[j / 4], j as u32 % 4, j as u32 % 4), &mut to[half]);
    }
    for (j, to) in to.mins.iter_mut().enumerate() {
        let first = 32 * j / F::RUN;
        let last = (32 * j + 16) / F::RUN;
        s.store_ints(s.widen(mins[first / 4], first as u32 % 4, last as u32 % 4), &mut to[half]);
    }
}

/// As [`multiply32`].
#[inline(always)]
fn multiply256<S: Simd, F: Block256<N>, const N: usize, const C: usize>(
    s: S,
    panel: &[Block256Rows],
    x: Quantized<'_, 256, 16>,
    from: usize,
    at: [usize; 2],
    out: &mut Tile<'_, f32>,
) {
    let columns = columns::<256, 16, C>(x, from, panel.len(), at[1]);
    let mut y = load::<S, C>(s, from, at, out);
    for (b, block) in panel.iter().enumerate() {
        let (sums, minima) = (scaled_codes::<S, F, N, C>(s, block, &columns, b), minima(s, block, &columns, b));
        for (((y, sums), minima), column) in y.iter_mut().zip(sums).zip(minima).zip(&columns) {
            let dx = s.splat_float(column.d[b]);
            for half in 0..2 {
                let i = match F::CODES.offset() {
                    0 => sums[half],
                    offset => s.sub_ints(sums[half], s.mul_int(minima[half], offset)),
                };
                let mut term = s.mul(s.mul(s.floats(&block.scale[half]), dx), s.to_floats(i));
                if F::MIN {
                    let scale = s.mul(s.floats(&block.min[half]), dx);
                    term = s.sub(term, s.mul(scale, s.to_floats(minima[half])));
                }
                y[half] = s.add(y[half], term);
            }
        }
    }
    store(s, y, at, out);
}

/// The products of the codes of block `b`, times the scales.
#[inline(always)]
fn scaled_codes<S: Simd, F: Block256<N>, const N: usize, const C: usize>(
    s: S,
    block: &Block256Rows,
    columns: &[Column<'_, 256, 16>; C],
    b: usize,
) -> [Pair<S::Ints>; C] {
    let mut codes = [&[[0; 4]; 64]; C];
    for (codes, column) in codes.iter_mut().zip(columns) {
        *codes = fours(&column.qs[b]);
    }
    let mut sums = [[s.splat_int(0); 2]; C];
    let run = F::CODES.run().clamp(1, F::RUN / 4);
    for first in (0..64).step_by(run) {
        let scales = &block.scales[4 * first / F::RUN];
        let scales = [s.ints(&scales[0]), s.ints(&scales[1])];
        add_dots(s, F::CODES, &mut sums, &block.codes[first..first + run], &codes, first, scales);
    }
    sums
}

/// The sums of the activations of block `b`, times the minima.
#[inline(always)]
fn minima<S: Simd, const C: usize>(
    s: S,
    block: &Block256Rows,
    columns: &[Column<'_, 256, 16>; C],
    b: usize,
) -> [Pair<S::Ints>; C] {
    let mut minima = [[s.splat_int(0); 2]; C];
    for (j, mins) in block.mins.iter().enumerate() {
        let mins = [s.ints(&mins[0]), s.ints(&mins[1])];
        for (minima, column) in minima.iter_mut().zip(columns) {
            let sums = s.splat_pair(&column.sums[b].as_chunks().0[j]);
            for half in 0..2 {
                minima[half] = s.add_pairs(minima[half], mins[half], sums);
            }
        }
    }
    minima
}

/// Blocks `from..from + count` of columns `first..first + C`; beyond the last column it is repeated.
#[inline(always)]
fn columns<'a, const LEN: usize, const SUMS: usize, const C: usize>(
    x: Quantized<'a, LEN, SUMS>,
    from: usize,
    count: usize,
    first: usize,
) -> [Column<'a, LEN, SUMS>; C] {
    let mut columns = [x.part(first, from, count); C];
    for (c, column) in columns.iter_mut().enumerate() {
        *column = x.part((first + c).min(x.n - 1), from, count);
    }
    columns
}

/// Codes in groups of 4.
#[inline(always)]
fn fours<const LEN: usize, const G: usize>(codes: &[i8; LEN]) -> &[[i8; 4]; G] {
    codes.as_chunks().0.first_chunk().expect("as many groups as there are")
}

/// The sums so far: zero for the first block, else what [`store`] left.
#[inline(always)]
fn load<S: Simd, const C: usize>(s: S, from: usize, at: [usize; 2], out: &mut Tile<'_, f32>) -> [Pair<S::Floats>; C] {
    let mut y = [[s.splat_float(0.0); 2]; C];
    if from == 0 {
        return y;
    }
    let last = out.rows() - 1;
    for (c, y) in y.iter_mut().enumerate() {
        let row = &out.row((at[1] + c).min(last))[at[0]..];
        let mut rest = [0.0; ROWS];
        let lanes = row.first_chunk::<ROWS>().unwrap_or_else(|| {
            rest[..row.len()].copy_from_slice(row);
            &rest
        });
        for (y, lanes) in y.iter_mut().zip(lanes.as_chunks().0) {
            *y = s.floats(lanes);
        }
    }
    y
}

/// Stores the sums of the rows and columns that there are.
#[inline(always)]
fn store<S: Simd, const C: usize>(s: S, y: [Pair<S::Floats>; C], at: [usize; 2], out: &mut Tile<'_, f32>) {
    for (y, c) in y.into_iter().zip(at[1]..out.rows()) {
        let row = &mut out.row(c)[at[0]..];
        let mut lanes = [0.0; ROWS];
        for (y, lanes) in y.into_iter().zip(lanes.as_chunks_mut().0) {
            s.store_floats(y, lanes);
        }
        match row.first_chunk_mut() {
            Some(row) => *row = lanes,
            None => row.copy_from_slice(&lanes[..row.len()]),
        }
    }
}
