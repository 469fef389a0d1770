//! Few columns: eight rows at a time, block by block, straight from the file's bytes.
//!
//! A block of each of eight rows gives eight vectors of partial sums, which one reduction turns into a vector with a
//! lane per row. Eight rows are eight streams, too many for the hardware to foresee, so the eight rows that follow are
//! prefetched meanwhile in the order in which they lie in memory.

use super::{Column, Quantized, eight_rows};
use crate::bytes::Tile;
use crate::quant::{Block32, Block256, Codes};
use crate::simd::{Kernel, Simd};
use core::marker::PhantomData;

/// Least distance of the prefetch in bytes, which matters where rows are short.
const AHEAD: usize = 4096;

/// A pair scale of one.
pub(super) const ONE: i32 = 0x0001_0001;

/// The product with a matrix of blocks of 32.
pub(super) struct Rows32<'a, 'o, F, const N: usize> {
    pub rows: &'a [u8],
    pub x: Quantized<'a, 32, 1>,
    pub out: &'a mut Tile<'o, f32>,
    pub format: PhantomData<F>,
}

impl<F: Block32<N>, const N: usize> Kernel for Rows32<'_, '_, F, N> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (blocks, row_bytes) = (self.x.blocks, self.x.blocks * N);
        for first in (0..self.out.width()).step_by(8) {
            let rows = eight_rows::<N>(self.rows, row_bytes, first, 0, blocks);
            let ahead = Ahead::new(self.rows, row_bytes, first, 8 * N);
            for c in 0..self.x.n {
                let y = dot32::<S, F, N>(s, &rows, self.x.column(c), ahead);
                store(s, y, &mut self.out.row(c)[first..]);
            }
        }
    }
}

#[inline(always)]
fn dot32<S: Simd, F: Block32<N>, const N: usize>(
    s: S,
    rows: &[&[[u8; N]]; 8],
    x: Column<'_, 32, 1>,
    ahead: Ahead<'_>,
) -> S::Floats {
    let mut y = s.splat_float(0.0);
    for b in 0..x.qs.len() {
        ahead.prefetch(s, b);
        let blocks = rows.map(|row| &row[b]);
        let codes = s.codes(&x.qs[b]);
        let mut each = [s.splat_int(0); 8];
        for (sum, block) in each.iter_mut().zip(blocks) {
            *sum = add_dot(s, F::CODES, *sum, F::codes(s, block), codes, s.splat_int(ONE));
        }
        let (dx, sum) = (x.d[b], x.sums[b][0] as i32);
        let i = s.sub_ints(s.sum_each(&each), s.splat_int(F::CODES.offset() * sum));
        let scale = s.mul(F::scale_each(s, &blocks), s.splat_float(dx));
        let mut term = s.mul(scale, s.to_floats(i));
        if F::MIN {
            term = s.add(term, s.mul(F::min_each(s, &blocks), s.splat_float(dx * sum as f32)));
        }
        y = s.add(y, term);
    }
    y
}

/// The product with a matrix of blocks of 256.
pub(super) struct Rows256<'a, 'o, F, const N: usize> {
    pub rows: &'a [u8],
    pub x: Quantized<'a, 256, 16>,
    pub out: &'a mut Tile<'o, f32>,
    pub format: PhantomData<F>,
}

impl<F: Block256<N>, const N: usize> Kernel for Rows256<'_, '_, F, N> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (blocks, row_bytes) = (self.x.blocks, self.x.blocks * N);
        for first in (0..self.out.width()).step_by(8) {
            let rows = eight_rows::<N>(self.rows, row_bytes, first, 0, blocks);
            let ahead = Ahead::new(self.rows, row_bytes, first, 8 * N);
            for c in 0..self.x.n {
                let y = dot256::<S, F, N>(s, &rows, self.x.column(c), ahead);
                store(s, y, &mut self.out.row(c)[first..]);
            }
        }
    }
}

#[inline(always)]
fn dot256<S: Simd, F: Block256<N>, const N: usize>(
    s: S,
    rows: &[&[[u8; N]]; 8],
    x: Column<'_, 256, 16>,
    ahead: Ahead<'_>,
) -> S::Floats {
    let mut y = s.splat_float(0.0);
    for b in 0..x.qs.len() {
        ahead.prefetch(s, b);
        let blocks = rows.map(|row| &row[b]);
        let (mut each, mut minima) = ([s.splat_int(0); 8], [s.splat_int(0); 8]);
        let sums = s.sums(&x.sums[b]);
        for ((sum, minimum), block) in each.iter_mut().zip(&mut minima).zip(blocks) {
            *sum = scaled_codes::<S, F, N>(s, block, &x.qs[b]);
            *minimum = s.dot_scales(F::mins16(s, block), sums);
            if !F::MIN {
                *sum = s.sub_ints(*sum, s.mul_int(*minimum, F::CODES.offset()));
            }
        }
        let dx = s.splat_float(x.d[b]);
        let mut term = s.mul(s.mul(F::scale_each(s, &blocks), dx), s.to_floats(s.sum_each(&each)));
        if F::MIN {
            let scale = s.mul(F::min_each(s, &blocks), dx);
            term = s.sub(term, s.mul(scale, s.to_floats(s.sum_each(&minima))));
        }
        y = s.add(y, term);
    }
    y
}

/// The products of the codes of a block, times the scales, in some order.
#[inline(always)]
fn scaled_codes<S: Simd, F: Block256<N>, const N: usize>(s: S, block: &[u8; N], x: &[i8; 256]) -> S::Ints {
    let (codes, scales) = (F::codes(s, block), F::scales16(s, block));
    let mut sum = s.splat_int(0);
    for (j, x) in x.as_chunks().0.iter().enumerate() {
        sum = add_dot(s, F::CODES, sum, codes[j], s.codes(x), s.scale(scales, j));
    }
    sum
}

/// `sum` plus the products of 32 codes, times a pair scale.
#[inline(always)]
fn add_dot<S: Simd>(s: S, codes: Codes, sum: S::Ints, w: S::Bytes, x: S::Bytes, scale: S::Ints) -> S::Ints {
    let partial = match codes {
        Codes::Unsigned { .. } => s.partial_dot(s.partial(), w, x),
        Codes::Signed => s.partial_signed(w, x),
    };
    s.add_scaled(sum, partial, scale)
}

/// What is prefetched while eight rows are in work.
#[derive(Clone, Copy)]
struct Ahead<'a> {
    rows: &'a [u8],
    start: usize,
    /// Bytes of a block of each of the rows.
    step: usize,
}

impl<'a> Ahead<'a> {
    #[inline(always)]
    fn new(rows: &'a [u8], row_bytes: usize, first: usize, step: usize) -> Self {
        Self { rows, start: first * row_bytes + (8 * row_bytes).max(AHEAD), step }
    }

    #[inline(always)]
    fn prefetch<S: Simd>(self, s: S, b: usize) {
        for line in (0..self.step).step_by(64) {
            s.prefetch(self.rows, self.start + b * self.step + line);
        }
    }
}

/// Stores as many lanes as there is room for.
#[inline(always)]
fn store<S: Simd>(s: S, y: S::Floats, to: &mut [f32]) {
    let mut lanes = [0.0; 8];
    s.store_floats(y, &mut lanes);
    let count = to.len().min(8);
    to[..count].copy_from_slice(&lanes[..count]);
}
