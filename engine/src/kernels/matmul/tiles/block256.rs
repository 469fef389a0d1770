//! Blocks of 256: codes are kept times their integer scales, in one byte or two, so that a tile of sums goes through a whole
//! block.

use super::super::block256::{Of256, run_sums, scales, unpack_minima};
use super::super::panels::Lines;
use super::{Part, Quantized, Results, SIDE, Sums, Tiled, signed};
use crate::quant::{Block256, Codes};
use crate::simd::{Simd, Tiles};
use core::ops::Range;
use zerocopy::{FromBytes, IntoBytes, KnownLayout};

impl<F: Block256<N>, const N: usize> Tiled<256, 16, N> for Of256<F> {
    const DEPTH: usize = 1;
    const ROWS: usize = 3;
    const LEAST: usize = 1;

    type Weights = Weights;
    type Gathered = Gathered;

    #[inline(always)]
    fn unpack_weights<S: Simd>(s: S, tiles: &S::Tiles, rows: &[&[[u8; N]]; 16], to: &mut [Weights]) {
        for (b, to) in to.iter_mut().enumerate() {
            let blocks = rows.map(|row| &row[b]);
            // Groups of four numbers of all rows.
            let scales = s.turn(scales::<S, F, N>(s, &blocks));
            unpack_part::<S, F, N, 0>(s, tiles, &blocks, &scales, to);
            unpack_part::<S, F, N, 1>(s, tiles, &blocks, &scales, to);
            unpack_part::<S, F, N, 2>(s, tiles, &blocks, &scales, to);
            unpack_part::<S, F, N, 3>(s, tiles, &blocks, &scales, to);
            if F::MIN {
                unpack_minima::<S, F, N>(s, &blocks, &scales, &mut to.mins);
            }
            let [scale, min] = F::scale_min_each(s, &blocks);
            s.store_floats(scale, &mut to.scale);
            s.store_floats(min, &mut to.min);
        }
    }

    #[inline(always)]
    fn gather<S: Simd>(s: S, x: &Quantized<'_, 256, 16>, column: usize, blocks: Range<usize>, to: &mut [Gathered]) {
        for (block, to) in blocks.zip(to) {
            for (c, (d, sums)) in to.d.iter_mut().zip(&mut to.sums).enumerate() {
                let at = (column + c) * x.stride + block;
                *d = x.d[at];
                if F::MIN {
                    *sums = run_sums(s, &x.sums[at], F::RUN);
                }
            }
        }
    }

    /// While a block is multiplied, terms are made of the sums of the one before, a few for each instruction that multiplies.
    #[inline(always)]
    fn add<S: Simd>(
        s: S,
        tiles: &S::Tiles,
        part: Part<'_, Self, 256, 16, N>,
        sums: &mut Sums,
        results: &mut [Results],
        next: &mut Lines<'_>,
    ) {
        let mut waiting: Option<Waiting<'_>> = None;
        for (tile, (gathered, codes)) in part.columns().enumerate() {
            next.prefetch(s);
            for (tile, weights) in (tile..).step_by(part.width()).zip(part.rows()) {
                for (block, (weights, x)) in weights.iter().zip(gathered).enumerate() {
                    let codes = (codes[block..].as_flattened(), part.stride());
                    multiply::<S, F, N>(s, tiles, weights, codes, waiting, sums, results);
                    waiting = Some(Waiting { weights, x, tile });
                }
            }
        }
        if let Some(last) = waiting {
            let factors = Factors::new(s, last.weights);
            for column in (0..SIDE).step_by(2) {
                add_two_terms::<S, F, N>(s, tiles, column, (waiting, factors), sums, results);
            }
        }
    }
}

/// What bytes codes times their scales are made of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// They are within a byte.
    Byte,
    /// One has the codes times the low three bits of the scale, and another times the high ones.
    Factors,
    /// One has the low byte of the product, and another the high one.
    Bytes,
}

impl Form {
    /// That of a format.
    const fn of<F: Block256<N>, const N: usize>() -> Self {
        match F::CODES {
            Codes::Unsigned { max, offset: 0 } => match F::SCALE_BITS {
                Some(bits) if ((1 << bits) - 1) * max as u32 <= 255 => Form::Byte,
                Some(6) if 7 * max as u32 <= 255 => Form::Factors,
                _ => Form::Bytes,
            },
            _ => Form::Bytes,
        }
    }

    /// By how many bits sums of products with the second byte are shifted.
    const fn shift(self) -> u32 {
        match self {
            Form::Byte => 0,
            Form::Factors => 3,
            Form::Bytes => 8,
        }
    }
}

/// A block of 16 rows.
#[derive(FromBytes, IntoBytes, KnownLayout)]
#[repr(C, align(64))]
pub(in super::super) struct Weights {
    /// The first bytes of codes times scales.
    low: [[u8; 64]; 64],
    /// The second ones, if there are any.
    high: [[u8; 64]; 64],
    /// Pairs of the integer minima that follow each other.
    mins: [[i32; 16]; 8],
    scale: [f32; 16],
    min: [f32; 16],
}

/// What terms need of a block of 16 columns.
#[derive(FromBytes, IntoBytes, KnownLayout)]
#[repr(C, align(64))]
pub(in super::super) struct Gathered {
    d: [f32; 16],
    /// The sums of as many codes as have a minimum.
    sums: [[i16; 16]; 16],
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
            let (low, high) = (&mut to.low[4 * sixteen + i], &mut to.high[4 * sixteen + i]);
            match Form::of::<F, N>() {
                Form::Byte => s.store(tiles.times(*codes, scale), low),
                Form::Factors => {
                    let [few, many] = tiles.three_bits(scale);
                    s.store(tiles.times(*codes, few), low);
                    s.store(tiles.times(*codes, many), high);
                }
                Form::Bytes => {
                    let [first, second] = tiles.scaled(signed::<S>(tiles, F::CODES, *codes), scale);
                    s.store(first, low);
                    s.store(second, high);
                }
            }
        }
    }
}

/// A block of 16 rows and a column tile, whose sums are kept.
#[derive(Clone, Copy)]
struct Waiting<'a> {
    weights: &'a Weights,
    x: &'a Gathered,
    /// Which of the results are theirs.
    tile: usize,
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

/// Multiplies a block of 16 rows with a tile of columns, adds the terms of those that wait meanwhile, and keeps the sums: with
/// first bytes, and with second ones.
#[inline(always)]
fn multiply<S: Simd, F: Block256<N>, const N: usize>(
    s: S,
    tiles: &S::Tiles,
    weights: &Weights,
    x: (&[i8], usize),
    waiting: Option<Waiting<'_>>,
    sums: &mut Sums,
    results: &mut [Results],
) {
    tiles.zero::<0>();
    if Form::of::<F, N>() != Form::Byte {
        tiles.zero::<1>();
    }
    let factors = Factors::new(s, waiting.map_or(weights, |waiting| waiting.weights));
    quarter::<S, F, N, 0>(s, tiles, weights, x, (waiting, factors), sums, results);
    quarter::<S, F, N, 1>(s, tiles, weights, x, (waiting, factors), sums, results);
    quarter::<S, F, N, 2>(s, tiles, weights, x, (waiting, factors), sums, results);
    quarter::<S, F, N, 3>(s, tiles, weights, x, (waiting, factors), sums, results);
    let [low, high] = &mut sums.0;
    tiles.store::<0>(low);
    if Form::of::<F, N>() != Form::Byte {
        tiles.store::<1>(high);
    }
}

/// Multiplies quarter `K` of a block, and adds the terms of 4 of 16 columns that wait.
#[inline(always)]
fn quarter<S: Simd, F: Block256<N>, const N: usize, const K: usize>(
    s: S,
    tiles: &S::Tiles,
    weights: &Weights,
    (x, stride): (&[i8], usize),
    waiting: (Option<Waiting<'_>>, Factors<S>),
    sums: &mut Sums,
    results: &mut [Results],
) {
    tiles.load_rows::<2>(&x[64 * K..], stride);
    tiles.load::<3>(&weights.low.as_chunks().0[K]);
    tiles.dot_unsigned::<0, 2, 3>();
    add_two_terms::<S, F, N>(s, tiles, 4 * K, waiting, sums, results);
    match Form::of::<F, N>() {
        Form::Byte => {}
        Form::Factors => {
            tiles.load::<3>(&weights.high.as_chunks().0[K]);
            tiles.dot_unsigned::<1, 2, 3>();
        }
        Form::Bytes => {
            tiles.load::<3>(&weights.high.as_chunks().0[K]);
            tiles.dot::<1, 2, 3>();
        }
    }
    add_two_terms::<S, F, N>(s, tiles, 4 * K + 2, waiting, sums, results);
}

/// Adds the terms of columns `column` and `column + 1` of those that wait, if any do.
#[inline(always)]
fn add_two_terms<S: Simd, F: Block256<N>, const N: usize>(
    s: S,
    tiles: &S::Tiles,
    column: usize,
    (waiting, factors): (Option<Waiting<'_>>, Factors<S>),
    sums: &Sums,
    results: &mut [Results],
) {
    let Some(Waiting { x, tile, .. }) = waiting else { return };
    let ([low, high], results) = (&sums.0, &mut results[tile]);
    for c in column..column + 2 {
        let sums = match Form::of::<F, N>() {
            Form::Byte => s.ints(&low[c]),
            form => tiles.join(&low[c], &high[c], form.shift()),
        };
        let mut inner = s.mul(factors.scale, s.to_floats(sums));
        if F::MIN {
            let mut minima = s.splat_int(0);
            eight!(J => {
                if J < 128 / F::RUN {
                    minima = s.add_pair::<J>(minima, factors.mins[J], &x.sums[c]);
                }
            });
            inner = s.sub(inner, s.mul(factors.min, s.to_floats(minima)));
        }
        let y = &mut results[c];
        s.store_floats(s.add(s.floats(y), s.mul(s.splat_float(x.d[c]), inner)), y);
    }
}
