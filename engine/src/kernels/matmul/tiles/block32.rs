//! Blocks of 32: each has terms of its own, so that a product of tiles fills half of them. Sums of the results stay in
//! registers.

use super::super::block32::{Of32, Unpacked, packed_rows};
use super::super::panels::Lines;
use super::{Part, Quantized, Results, Sums, TileSums, Tiled, signed};
use crate::quant::Block32;
use crate::simd::{Simd, Tiles};
use core::ops::Range;
use zerocopy::{FromBytes, IntoBytes, KnownLayout, transmute_mut, transmute_ref};

impl<F: Block32<N>, const N: usize> Tiled<32, 1, N> for Of32<F> {
    const DEPTH: usize = 24;
    const ROWS: usize = 1;
    const LEAST: usize = 16;

    type Weights = Unpacked;
    type Gathered = Gathered;

    #[inline(always)]
    fn unpack_weights<S: Simd>(s: S, tiles: &S::Tiles, rows: &[&[[u8; N]]; 16], to: &mut [Unpacked]) {
        for (b, to) in to.iter_mut().enumerate() {
            let blocks = sixteen!(I => &rows[I][b]);
            let [low, high] = packed_rows::<S, F, N>(s, &blocks);
            for (i, (low, high)) in low.into_iter().zip(high).enumerate() {
                let ([low, _], [_, high]) = (F::split(s, [low; 2]), F::split(s, [high; 2]));
                s.store(signed::<S>(tiles, F::CODES, low), &mut to.codes[i]);
                s.store(signed::<S>(tiles, F::CODES, high), &mut to.codes[4 + i]);
            }
            let [scale, min] = F::scale_min_each(s, &blocks);
            s.store_floats(scale, &mut to.scale);
            s.store_floats(min, &mut to.min);
        }
    }

    #[inline(always)]
    fn gather<S: Simd>(s: S, x: &Quantized<'_, 32, 1>, column: usize, blocks: Range<usize>, to: &mut [Gathered]) {
        let mut square = [[0.0; 16]; 16];
        for (i, to) in to.chunks_mut(16).enumerate() {
            let at = |c: usize| (column + c) * x.stride + blocks.start + 16 * i;
            for (c, square) in square.iter_mut().enumerate() {
                square[..to.len()].copy_from_slice(&x.d[at(c)..][..to.len()]);
            }
            for (to, d) in to.iter_mut().zip(transposed(s, &square)) {
                s.store(d, transmute_mut!(&mut to.d));
            }
            if !F::MIN {
                continue;
            }
            for (c, square) in square.iter_mut().enumerate() {
                for (square, [sum]) in square.iter_mut().zip(&x.sums[at(c)..][..to.len()]) {
                    *square = f32::from(*sum);
                }
            }
            for (to, sums) in to.iter_mut().zip(transposed(s, &square)) {
                s.store(sums, transmute_mut!(&mut to.sums));
            }
        }
    }

    #[inline(always)]
    fn add<S: Simd>(
        s: S,
        tiles: &S::Tiles,
        part: Part<'_, Self, 32, 1, N>,
        sums: &mut Sums,
        results: &mut [Results],
        next: &mut Lines<'_>,
    ) {
        for (tile, (gathered, codes)) in part.columns().enumerate() {
            next.prefetch(s);
            for (weights, results) in part.rows().zip(results.chunks_exact_mut(part.width())) {
                let codes = (codes, part.stride());
                add_tile::<S, F, N>(s, tiles, weights, gathered, codes, sums, &mut results[tile]);
            }
        }
    }
}

/// What terms need of a block of 16 columns.
#[derive(FromBytes, IntoBytes, KnownLayout)]
#[repr(C, align(64))]
pub(in super::super) struct Gathered {
    d: [f32; 16],
    /// The sums of the codes, where there are minima.
    sums: [f32; 16],
}

/// A square of floats, its columns as bytes.
#[inline(always)]
fn transposed<S: Simd>(s: S, square: &[[f32; 16]; 16]) -> [S::Bytes; 16] {
    s.transpose(sixteen!(R => s.bytes(transmute_ref!(&square[R]))))
}

/// Adds the terms of some blocks of 16 rows with those of 16 columns. While a block is multiplied, the sums of the one before
/// are stored, those of even ones and of odd ones apart, and terms are made of those before these.
#[inline(always)]
fn add_tile<S: Simd, F: Block32<N>, const N: usize>(
    s: S,
    tiles: &S::Tiles,
    weights: &[Unpacked],
    gathered: &[Gathered],
    (x, stride): (&[[i8; 32]], usize),
    sums: &mut Sums,
    results: &mut Results,
) {
    let mut y = sixteen!(C => s.floats(&results[C]));
    let [even, odd] = &mut sums.0;
    let count = weights.len();
    for b in (0..count).step_by(2) {
        multiply::<S, 0>(tiles, &weights[b], &x[b..], stride);
        if b > 0 {
            tiles.store::<1>(odd);
            add_terms::<S, F, N>(s, &weights[b - 2], &gathered[b - 2], even, &mut y);
        }
        if b + 1 < count {
            multiply::<S, 1>(tiles, &weights[b + 1], &x[b + 1..], stride);
            tiles.store::<0>(even);
            if b > 0 {
                add_terms::<S, F, N>(s, &weights[b - 1], &gathered[b - 1], odd, &mut y);
            }
        }
    }
    if count.is_multiple_of(2) {
        add_terms::<S, F, N>(s, &weights[count - 2], &gathered[count - 2], even, &mut y);
        tiles.store::<1>(odd);
        add_terms::<S, F, N>(s, &weights[count - 1], &gathered[count - 1], odd, &mut y);
    } else {
        if count > 1 {
            add_terms::<S, F, N>(s, &weights[count - 2], &gathered[count - 2], odd, &mut y);
        }
        tiles.store::<0>(even);
        add_terms::<S, F, N>(s, &weights[count - 1], &gathered[count - 1], even, &mut y);
    }
    for (y, to) in y.into_iter().zip(results) {
        s.store_floats(y, to);
    }
}

/// Multiplies a block of 16 rows with a tile of columns.
#[inline(always)]
fn multiply<S: Simd, const SUM: usize>(tiles: &S::Tiles, weights: &Unpacked, x: &[[i8; 32]], stride: usize) {
    tiles.load_half_rows::<6>(x.as_flattened(), stride);
    tiles.load_half::<7>(&weights.codes);
    tiles.zero::<SUM>();
    tiles.dot::<SUM, 6, 7>();
}

/// Adds the terms of a block to results, given its sums.
#[inline(always)]
fn add_terms<S: Simd, F: Block32<N>, const N: usize>(
    s: S,
    weights: &Unpacked,
    x: &Gathered,
    sums: &TileSums,
    y: &mut [S::Floats; 16],
) {
    let (scale, min) = (s.floats(&weights.scale), s.floats(&weights.min));
    for (c, (y, sums)) in y.iter_mut().zip(sums).enumerate() {
        let mut inner = s.mul(scale, s.to_floats(s.ints(sums)));
        if F::MIN {
            inner = s.add(inner, s.mul(min, s.splat_float(x.sums[c])));
        }
        *y = s.add(*y, s.mul(s.splat_float(x.d[c]), inner));
    }
}
