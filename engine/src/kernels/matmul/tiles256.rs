//! Tiles of blocks of 256: codes times their integer scales, in two bytes, whose products are added up over the block.

use super::block256::{Of256, mins, run_sums, scales};
use super::panels::{Lines, Panels};
use super::tiles::{ColumnTile, Kept, Place, Step};
use super::Quantized;
use crate::quant::{Block256, Codes};
use crate::simd::{Simd, Tiles};
use core::marker::PhantomData;
use zerocopy::{FromBytes, IntoBytes, KnownLayout};

/// A block of 16 rows.
#[derive(FromBytes, IntoBytes, KnownLayout)]
#[repr(C, align(64))]
pub(super) struct Weights {
    /// The low bytes of codes times scales.
    low: [[u8; 64]; 64],
    /// The high ones.
    high: [[u8; 64]; 64],
    /// Pairs of the integer minima that follow each other.
    mins: [[i32; 16]; 8],
    scale: [f32; 16],
    min: [f32; 16],
}

/// What terms need of a block of 16 columns.
#[derive(FromBytes, IntoBytes, KnownLayout)]
#[repr(C, align(64))]
pub(super) struct Gathered {
    d: [f32; 16],
    /// The sums of as many codes as have a minimum.
    sums: [[i16; 16]; 16],
}

/// Unpacks blocks of 16 rows.
#[inline(always)]
pub(super) fn unpack<S: Simd, F: Block256<N>, const N: usize>(
    s: S,
    tiles: &S::Tiles,
    rows: &[&[[u8; N]]; 16],
    to: &mut [Weights],
) {
    for (b, to) in to.iter_mut().enumerate() {
        let blocks = rows.map(|row| &row[b]);
        // Groups of four numbers of all rows.
        let scales = s.turn(scales::<S, F, N>(s, &blocks));
        unpack_part::<S, F, N, 0>(s, tiles, &blocks, &scales, to);
        unpack_part::<S, F, N, 1>(s, tiles, &blocks, &scales, to);
        unpack_part::<S, F, N, 2>(s, tiles, &blocks, &scales, to);
        unpack_part::<S, F, N, 3>(s, tiles, &blocks, &scales, to);
        if F::MIN {
            let mins = if F::RUN == 32 { [scales[2], scales[3], scales[2], scales[3]] } else { s.turn(mins::<S, F, N>(s, &blocks)) };
            for (j, to) in to.mins[..128 / F::RUN].iter_mut().enumerate() {
                s.store_ints(s.lane_pair(mins[j / 2], j % 2 * 2, j % 2 * 2 + 1), to);
            }
        }
        let [scale, min] = F::scale_min_each(s, &blocks);
        s.store_floats(scale, &mut to.scale);
        s.store_floats(min, &mut to.min);
    }
}

/// Unpacks a part of the codes of 16 rows.
#[inline(always)]
fn unpack_part<S: Simd, F: Block256<N>, const N: usize, const PART: usize>(
    s: S,
    tiles: &S::Tiles,
    blocks: &[&[u8; N]; 16],
    scales: &[S::Bytes; 4],
    to: &mut Weights,
) {
    let mut codes = [s.splat(0); 16];
    for (codes, block) in codes.iter_mut().zip(blocks) {
        *codes = F::codes::<S, PART>(s, block);
    }
    for (sixteen, turned) in F::ORDER[PART].into_iter().zip(s.transpose(codes).as_chunks::<4>().0) {
        let run = 16 * sixteen / F::RUN;
        let scale = tiles.lane_scale(scales[run / 4], run % 4);
        for (i, codes) in turned.iter().enumerate() {
            let [low, high] = tiles.scaled(signed::<S, F, N>(tiles, *codes), scale);
            s.store(low, &mut to.low[4 * sixteen + i]);
            s.store(high, &mut to.high[4 * sixteen + i]);
        }
    }
}

/// Codes as signed numbers.
#[inline(always)]
fn signed<S: Simd, F: Block256<N>, const N: usize>(tiles: &S::Tiles, codes: S::Bytes) -> S::Bytes {
    match F::CODES {
        Codes::Unsigned { offset: 1.., .. } => tiles.signed(codes, F::CODES.offset() as u8),
        _ => codes,
    }
}

/// Gathers what terms need of block `block` of 16 columns.
#[inline(always)]
pub(super) fn gather<S: Simd, F: Block256<N>, const N: usize>(
    s: S,
    x: &Quantized<'_, 256, 16>,
    column: usize,
    block: usize,
    to: &mut Gathered,
) {
    for (c, (d, sums)) in to.d.iter_mut().zip(&mut to.sums).enumerate() {
        let at = (column + c) * x.blocks + block;
        *d = x.d[at];
        if F::MIN {
            *sums = run_sums(s, &x.sums[at], F::RUN);
        }
    }
}

/// One or two column tiles, and a block of them whose sums are kept.
#[derive(Clone, Copy)]
struct Waiting {
    columns: [ColumnTile; 2],
    count: usize,
    /// The first of the tiles.
    tile: usize,
    block: usize,
    /// Which of the kept results are theirs.
    slot: usize,
}

/// Adds the terms of 16 rows with all columns.
///
/// While a block is multiplied, terms are made of the sums of the one before, a few for each instruction that multiplies.
#[inline(always)]
pub(super) fn add<S: Simd, F: Block256<N>, const N: usize>(
    s: S,
    tiles: &S::Tiles,
    work: &mut Panels<'_, '_, Of256<F>, 256, 16, N>,
    place: Place,
    step: Step<'_, Weights, Gathered>,
    next: &mut Lines<'_>,
) {
    let Step { weights, x, kept } = step;
    let count = x.len() / weights.len();
    let mut terms = Terms::<F, N> { weights, x, waiting: None, done: 0, format: PhantomData };
    for (slot, tile) in (0..count).step_by(2).enumerate() {
        let count = (count - tile).min(2);
        let columns = [0, count - 1].map(|i| ColumnTile::new(place.tile + tile + i, work.x.n));
        let slot = slot % 2;
        for (columns, results) in columns.iter().zip(&mut kept.results[slot]).take(count) {
            for (c, results) in results.iter_mut().enumerate() {
                s.store_floats(work.results(s, place, columns.start + c), results);
            }
        }
        for (block, weights) in weights.iter().enumerate() {
            next.prefetch(s);
            let codes = columns.map(|columns| work.codes(columns, place.from + block));
            match count {
                1 => multiply::<S, F, N, false>(s, tiles, weights, codes, &mut terms, kept),
                _ => multiply::<S, F, N, true>(s, tiles, weights, codes, &mut terms, kept),
            }
            if block == 0 {
                terms.store_results(work, place, kept);
            }
            terms.waiting = Some(Waiting { columns, count, tile, block, slot });
            terms.done = 0;
        }
    }
    terms.add(s, tiles, kept, usize::MAX);
    terms.store_results(work, place, kept);
}

/// Terms of sums that are kept.
struct Terms<'a, F, const N: usize> {
    weights: &'a [Weights],
    x: &'a [Gathered],
    waiting: Option<Waiting>,
    /// Of how many columns terms have been added.
    done: usize,
    format: PhantomData<F>,
}

impl<F: Block256<N>, const N: usize> Terms<'_, F, N> {
    /// Adds those of up to `count` columns more.
    #[inline(always)]
    fn add<S: Simd>(&mut self, s: S, tiles: &S::Tiles, kept: &mut Kept, count: usize) {
        let Some(waiting) = self.waiting else { return };
        let weights = &self.weights[waiting.block];
        for _ in 0..count.min(16 * waiting.count - self.done) {
            let (tile, c) = (self.done / 16, self.done % 16);
            let x = &self.x[(waiting.tile + tile) * self.weights.len() + waiting.block];
            let sums = tiles.join(&kept.sums[2 * tile][c], &kept.sums[2 * tile + 1][c]);
            let mut inner = s.mul(s.floats(&weights.scale), s.to_floats(sums));
            if F::MIN {
                let mut minima = s.splat_int(0);
                eight!(J => {
                    if J < 128 / F::RUN {
                        minima = s.add_pair::<J>(minima, s.ints(&weights.mins[J]), &x.sums[c]);
                    }
                });
                inner = s.sub(inner, s.mul(s.floats(&weights.min), s.to_floats(minima)));
            }
            let y = &mut kept.results[waiting.slot][tile][c];
            s.store_floats(s.add(s.floats(y), s.mul(s.splat_float(x.d[c]), inner)), y);
            self.done += 1;
        }
    }

    /// Stores what is complete.
    #[inline(always)]
    fn store_results(&self, work: &mut Panels<'_, '_, Of256<F>, 256, 16, N>, place: Place, kept: &Kept) {
        let Some(waiting) = self.waiting else { return };
        for (columns, results) in waiting.columns.iter().zip(&kept.results[waiting.slot]).take(waiting.count) {
            for c in columns.first - columns.start..16 {
                work.store_results(place, columns.start + c, &results[c]);
            }
        }
    }
}

/// Multiplies a block of 16 rows with one or two tiles of columns, and keeps the sums.
#[inline(always)]
fn multiply<S: Simd, F: Block256<N>, const N: usize, const TWO: bool>(
    s: S,
    tiles: &S::Tiles,
    weights: &Weights,
    [x, y]: [(&[i8], usize); 2],
    terms: &mut Terms<'_, F, N>,
    kept: &mut Kept,
) {
    tiles.zero::<0>();
    tiles.zero::<1>();
    if TWO {
        tiles.zero::<2>();
        tiles.zero::<3>();
    }
    for (k, (low, high)) in weights.low.as_chunks().0.iter().zip(weights.high.as_chunks().0).enumerate() {
        tiles.load_rows::<4>(&x.0[64 * k..], x.1);
        tiles.load::<6>(low);
        tiles.dot_unsigned::<0, 4, 6>();
        terms.add(s, tiles, kept, 2);
        if TWO {
            tiles.load_rows::<5>(&y.0[64 * k..], y.1);
            tiles.dot_unsigned::<2, 5, 6>();
            terms.add(s, tiles, kept, 2);
        }
        tiles.load::<7>(high);
        tiles.dot::<1, 4, 7>();
        terms.add(s, tiles, kept, 2);
        if TWO {
            tiles.dot::<3, 5, 7>();
            terms.add(s, tiles, kept, 2);
        }
    }
    terms.add(s, tiles, kept, usize::MAX);
    tiles.store::<0>(&mut kept.sums[0]);
    tiles.store::<1>(&mut kept.sums[1]);
    if TWO {
        tiles.store::<2>(&mut kept.sums[2]);
        tiles.store::<3>(&mut kept.sums[3]);
    }
}
