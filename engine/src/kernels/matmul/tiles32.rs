//! Tiles of blocks of 32: two blocks of columns fill a tile, which is multiplied with one block of rows and zeros, and then
//! with zeros and the other block.

use super::Quantized;
use super::block32::{Of32, turned_halves};
use super::panels::{Lines, Panels};
use super::tiles::{ColumnTile, Place, Step, Sums};
use crate::quant::{Block32, Codes};
use crate::simd::{Simd, Tiles};
use zerocopy::{FromBytes, IntoBytes, KnownLayout};

/// Two blocks of 16 rows.
#[derive(FromBytes, IntoBytes, KnownLayout)]
#[repr(C, align(64))]
pub(super) struct Weights {
    /// The codes of a block, zeros, and the codes of the other.
    codes: [[u8; 64]; 24],
    scale: [[f32; 16]; 2],
    min: [[f32; 16]; 2],
}

/// What terms need of two blocks of 16 columns.
#[derive(FromBytes, IntoBytes, KnownLayout)]
#[repr(C, align(64))]
pub(super) struct Gathered {
    d: [[f32; 16]; 2],
    sums: [[f32; 16]; 2],
}

/// Unpacks blocks of 16 rows.
#[inline(always)]
pub(super) fn unpack<S: Simd, F: Block32<N>, const N: usize>(
    s: S,
    tiles: &S::Tiles,
    rows: &[&[[u8; N]]; 16],
    to: &mut [Weights],
) {
    for (unit, to) in to.iter_mut().enumerate() {
        for half in 0..2 {
            let blocks = sixteen!(I => &rows[I][2 * unit + half]);
            let [low, high] = turned_halves::<S, F, N>(s, &blocks);
            let codes = &mut to.codes[16 * half..];
            for (i, (low, high)) in low.into_iter().zip(high).enumerate() {
                s.store(signed::<S, F, N>(tiles, F::split(s, [low; 2])[0]), &mut codes[i]);
                s.store(signed::<S, F, N>(tiles, F::split(s, [high; 2])[1]), &mut codes[4 + i]);
            }
            let [scale, min] = F::scale_min_each(s, &blocks);
            s.store_floats(scale, &mut to.scale[half]);
            s.store_floats(min, &mut to.min[half]);
        }
        for zeros in &mut to.codes[8..16] {
            s.store(s.splat(0), zeros);
        }
    }
}

/// Codes as signed numbers.
#[inline(always)]
fn signed<S: Simd, F: Block32<N>, const N: usize>(tiles: &S::Tiles, codes: S::Bytes) -> S::Bytes {
    match F::CODES {
        Codes::Unsigned { offset: 1.., .. } => tiles.signed(codes, F::CODES.offset() as u8),
        _ => codes,
    }
}

/// Gathers what terms need of blocks `block` and `block + 1` of 16 columns.
#[inline(always)]
pub(super) fn gather<S: Simd>(_: S, x: &Quantized<'_, 32, 1>, column: usize, block: usize, to: &mut Gathered) {
    for half in 0..2 {
        for c in 0..16 {
            let at = (column + c) * x.blocks + block + half;
            to.d[half][c] = x.d[at];
            to.sums[half][c] = x.sums[at][0] as f32;
        }
    }
}

/// Adds the terms of 16 rows with all columns.
///
/// While two blocks are multiplied, terms are made of the sums of the two before.
#[inline(always)]
pub(super) fn add<S: Simd, F: Block32<N>, const N: usize>(
    s: S,
    tiles: &S::Tiles,
    work: &mut Panels<'_, '_, Of32<F>, 32, 1, N>,
    place: Place,
    step: Step<'_, Weights, Gathered>,
    next: &mut Lines<'_>,
) {
    let Step { weights, x, kept } = step;
    let [even, odd] = kept.sums.as_chunks_mut::<2>().0 else { unreachable!("two pairs") };
    for (tile, x) in x.chunks_exact(weights.len()).enumerate() {
        let columns = ColumnTile::new(place.tile + tile, work.x.n);
        let mut y = sixteen!(C => work.results(s, place, columns.start + C));
        let (codes, stride) = work.codes(columns, place.from);
        next.prefetch(s);
        tiles.load_rows::<4>(codes, stride);
        multiply::<S, 0>(tiles, &weights[0], &mut even[0]);
        multiply::<S, 1>(tiles, &weights[0], &mut even[1]);
        // The first unit is out of the loop, which then has no branch that sums would be moved around for.
        for unit in 1..weights.len() {
            next.prefetch(s);
            let [now, before] = if unit % 2 == 0 { [&mut *even, &mut *odd] } else { [&mut *odd, &mut *even] };
            tiles.load_rows::<4>(&codes[64 * unit..], stride);
            multiply::<S, 0>(tiles, &weights[unit], &mut now[0]);
            add_terms::<S, F, N, 0>(s, &weights[unit - 1], &x[unit - 1], &before[0], &mut y);
            multiply::<S, 1>(tiles, &weights[unit], &mut now[1]);
            add_terms::<S, F, N, 1>(s, &weights[unit - 1], &x[unit - 1], &before[1], &mut y);
        }
        let last = weights.len() - 1;
        let sums = if last % 2 == 0 { &*even } else { &*odd };
        add_terms::<S, F, N, 0>(s, &weights[last], &x[last], &sums[0], &mut y);
        add_terms::<S, F, N, 1>(s, &weights[last], &x[last], &sums[1], &mut y);
        for (c, y) in y.into_iter().enumerate().skip(columns.first - columns.start) {
            work.store_results(s, place, columns.start + c, y);
        }
    }
}

/// Multiplies one of two blocks of 16 rows with the columns in tile 4.
#[inline(always)]
fn multiply<S: Simd, const HALF: usize>(tiles: &S::Tiles, weights: &Weights, sums: &mut Sums) {
    tiles.zero::<HALF>();
    let codes = weights.codes[8 * HALF..].first_chunk().expect("16 rows");
    match HALF {
        0 => {
            tiles.load::<6>(codes);
            tiles.dot::<HALF, 4, 6>();
        }
        _ => {
            tiles.load::<7>(codes);
            tiles.dot::<HALF, 4, 7>();
        }
    }
    tiles.store::<HALF>(sums);
}

/// Adds the terms of a block.
#[inline(always)]
fn add_terms<S: Simd, F: Block32<N>, const N: usize, const HALF: usize>(
    s: S,
    weights: &Weights,
    x: &Gathered,
    sums: &Sums,
    y: &mut [S::Floats; 16],
) {
    let (scale, min) = (s.floats(&weights.scale[HALF]), s.floats(&weights.min[HALF]));
    for (c, y) in y.iter_mut().enumerate() {
        let mut inner = s.mul(scale, s.to_floats(s.ints(&sums[c])));
        if F::MIN {
            inner = s.add(inner, s.mul(min, s.splat_float(x.sums[HALF][c])));
        }
        *y = s.add(*y, s.mul(s.splat_float(x.d[HALF][c]), inner));
    }
}
