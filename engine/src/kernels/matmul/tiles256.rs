//! Tiles of blocks of 256: codes times their integer scales, in two bytes, whose products are added up over the block.

use super::Quantized;
use super::block256::{Of256, mins, run_sums, scales};
use super::panels::{Lines, Panels};
use super::tiles::{ColumnTile, Kept, Place, Step};
use crate::quant::{Block256, Codes};
use crate::simd::{Simd, Tiles};
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
            let mins = if F::RUN == 32 {
                [scales[2], scales[3], scales[2], scales[3]]
            } else {
                s.turn(mins::<S, F, N>(s, &blocks))
            };
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

/// A block of 16 rows and one or two column tiles, whose sums are kept.
#[derive(Clone, Copy)]
struct Waiting<'a> {
    weights: &'a Weights,
    x: [&'a Gathered; 2],
    columns: [ColumnTile; 2],
    count: usize,
    /// Which of the kept results are theirs.
    slot: usize,
}

/// What the terms of a block of 16 rows have in common, in registers.
#[derive(Clone, Copy)]
struct Factors<S: Simd> {
    scale: S::Floats,
    min: S::Floats,
    mins: [S::Ints; 8],
}

impl<S: Simd> Factors<S> {
    #[inline(always)]
    fn new(s: S, weights: &Weights) -> Self {
        let [a, b, c, d, e, f, g, h] = &weights.mins;
        let mins = [s.ints(a), s.ints(b), s.ints(c), s.ints(d), s.ints(e), s.ints(f), s.ints(g), s.ints(h)];
        Self { scale: s.floats(&weights.scale), min: s.floats(&weights.min), mins }
    }
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
    let (blocks, count) = (weights.len(), x.len() / weights.len());
    let mut waiting: Option<Waiting<'_>> = None;
    for (pair, tile) in (0..count).step_by(2).enumerate() {
        let (count, slot) = ((count - tile).min(2), pair % 2);
        let second = tile + count - 1;
        let columns = [tile, second].map(|tile| ColumnTile::new(place.tile + tile, work.x.n));
        for (columns, results) in columns.iter().zip(&mut kept.results[slot]).take(count) {
            for (c, results) in results.iter_mut().enumerate() {
                s.store_floats(work.results(s, place, columns.start + c), results);
            }
        }
        for (block, weights) in weights.iter().enumerate() {
            next.prefetch(s);
            let codes = columns.map(|columns| work.codes(columns, place.from + block));
            match count {
                1 => multiply_one::<S, F, N>(s, tiles, weights, codes[0], waiting, kept),
                _ => multiply_two::<S, F, N>(s, tiles, weights, codes, waiting, kept),
            }
            if let Some(complete) = waiting.filter(|_| block == 0) {
                store_results(s, work, place, complete, kept);
            }
            let x = [&x[tile * blocks + block], &x[second * blocks + block]];
            waiting = Some(Waiting { weights, x, columns, count, slot });
        }
    }
    if let Some(last) = waiting {
        add_all_terms::<S, F, N>(s, tiles, last, kept);
        store_results(s, work, place, last, kept);
    }
}

/// Stores results that are complete.
#[inline(always)]
fn store_results<S: Simd, F: Block256<N>, const N: usize>(
    s: S,
    work: &mut Panels<'_, '_, Of256<F>, 256, 16, N>,
    place: Place,
    complete: Waiting<'_>,
    kept: &Kept,
) {
    for (columns, results) in complete.columns.iter().zip(&kept.results[complete.slot]).take(complete.count) {
        for (c, y) in results.iter().enumerate().skip(columns.first - columns.start) {
            work.store_results(s, place, columns.start + c, s.floats(y));
        }
    }
}

/// Multiplies a block of 16 rows with two tiles of columns, and keeps the sums.
#[inline(always)]
fn multiply_two<S: Simd, F: Block256<N>, const N: usize>(
    s: S,
    tiles: &S::Tiles,
    weights: &Weights,
    x: [(&[i8], usize); 2],
    waiting: Option<Waiting<'_>>,
    kept: &mut Kept,
) {
    tiles.zero::<0>();
    tiles.zero::<1>();
    tiles.zero::<2>();
    tiles.zero::<3>();
    let factors = Factors::new(s, waiting.map_or(weights, |waiting| waiting.weights));
    quarter::<S, F, N, 0>(s, tiles, weights, x, (waiting, factors), kept);
    quarter::<S, F, N, 1>(s, tiles, weights, x, (waiting, factors), kept);
    quarter::<S, F, N, 2>(s, tiles, weights, x, (waiting, factors), kept);
    quarter::<S, F, N, 3>(s, tiles, weights, x, (waiting, factors), kept);
    for (tile, sums) in kept.sums.iter_mut().enumerate() {
        match tile {
            0 => tiles.store::<0>(sums),
            1 => tiles.store::<1>(sums),
            2 => tiles.store::<2>(sums),
            _ => tiles.store::<3>(sums),
        }
    }
}

/// Multiplies quarter `K` of a block, and adds the terms of 8 of 32 columns that wait.
#[inline(always)]
fn quarter<S: Simd, F: Block256<N>, const N: usize, const K: usize>(
    s: S,
    tiles: &S::Tiles,
    weights: &Weights,
    [x, y]: [(&[i8], usize); 2],
    waiting: (Option<Waiting<'_>>, Factors<S>),
    kept: &mut Kept,
) {
    tiles.load_rows::<4>(&x.0[64 * K..], x.1);
    tiles.load::<6>(&weights.low.as_chunks().0[K]);
    tiles.dot_unsigned::<0, 4, 6>();
    add_two_terms::<S, F, N>(s, tiles, 8 * K, waiting, kept);
    tiles.load_rows::<5>(&y.0[64 * K..], y.1);
    tiles.dot_unsigned::<2, 5, 6>();
    add_two_terms::<S, F, N>(s, tiles, 8 * K + 2, waiting, kept);
    tiles.load::<7>(&weights.high.as_chunks().0[K]);
    tiles.dot::<1, 4, 7>();
    add_two_terms::<S, F, N>(s, tiles, 8 * K + 4, waiting, kept);
    tiles.dot::<3, 5, 7>();
    add_two_terms::<S, F, N>(s, tiles, 8 * K + 6, waiting, kept);
}

/// Multiplies a block of 16 rows with one tile of columns, and keeps the sums.
#[inline(always)]
fn multiply_one<S: Simd, F: Block256<N>, const N: usize>(
    s: S,
    tiles: &S::Tiles,
    weights: &Weights,
    x: (&[i8], usize),
    waiting: Option<Waiting<'_>>,
    kept: &mut Kept,
) {
    tiles.zero::<0>();
    tiles.zero::<1>();
    for (k, (low, high)) in weights.low.as_chunks().0.iter().zip(weights.high.as_chunks().0).enumerate() {
        tiles.load_rows::<4>(&x.0[64 * k..], x.1);
        tiles.load::<6>(low);
        tiles.dot_unsigned::<0, 4, 6>();
        tiles.load::<7>(high);
        tiles.dot::<1, 4, 7>();
    }
    if let Some(waiting) = waiting {
        add_all_terms::<S, F, N>(s, tiles, waiting, kept);
    }
    tiles.store::<0>(&mut kept.sums[0]);
    tiles.store::<1>(&mut kept.sums[1]);
}

/// Adds the terms of all columns that wait.
#[inline(always)]
fn add_all_terms<S: Simd, F: Block256<N>, const N: usize>(
    s: S,
    tiles: &S::Tiles,
    waiting: Waiting<'_>,
    kept: &mut Kept,
) {
    let factors = Factors::new(s, waiting.weights);
    for column in (0..16 * waiting.count).step_by(2) {
        add_two_terms::<S, F, N>(s, tiles, column, (Some(waiting), factors), kept);
    }
}

/// Adds the terms of columns `column` and `column + 1` of those that wait, if there are as many.
#[inline(always)]
fn add_two_terms<S: Simd, F: Block256<N>, const N: usize>(
    s: S,
    tiles: &S::Tiles,
    column: usize,
    (waiting, factors): (Option<Waiting<'_>>, Factors<S>),
    kept: &mut Kept,
) {
    let Some(Waiting { x, count, slot, .. }) = waiting else { return };
    if column >= 16 * count {
        return;
    }
    let (tile, first) = (column / 16, column % 16);
    let [low, high] = [2 * tile, 2 * tile + 1];
    for c in first..first + 2 {
        let sums = tiles.join(&kept.sums[low][c], &kept.sums[high][c]);
        let mut inner = s.mul(factors.scale, s.to_floats(sums));
        if F::MIN {
            let mut minima = s.splat_int(0);
            eight!(J => {
                if J < 128 / F::RUN {
                    minima = s.add_pair::<J>(minima, factors.mins[J], &x[tile].sums[c]);
                }
            });
            inner = s.sub(inner, s.mul(factors.min, s.to_floats(minima)));
        }
        let y = &mut kept.results[slot][tile][c];
        s.store_floats(s.add(s.floats(y), s.mul(s.splat_float(x[tile].d[c]), inner)), y);
    }
}
