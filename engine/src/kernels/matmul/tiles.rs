//! Many columns of blocks of 256, where there are tiles: 16 rows by 16 columns at a time.
//!
//! As [`panels`](super::panels) does, this unpacks rows once for all columns, in ranges of elements. But it keeps codes times
//! their integer scales, in one byte or two, so that a tile of sums goes through a whole block; and columns stay where they are.
//! A product of tiles goes on while vectors make terms of the sums of the one before, which they find in memory. What terms
//! need of the columns, beside their codes, is gathered first.
//!
//! Four tiles are in use, not all eight: where two threads share a core, it has few registers to rename tiles with, and waits
//! for each product before it loads the next tile (28 ns for a product and a load with eight tiles in use, 12 with four).
//!
//! With 256 columns, one thread and the weights in the second-level cache, Q4_K reached 330 G multiply-adds per second, where
//! panels of AVX-512 do 190 (Emerald Rapids). Blocks of 32 make terms of each 32 products: there 195 to 222, not 160 to 195,
//! were less than nothing, since a core with tiles in use has a lower clock for all else (SmolLM2 Q4_0: 870 tokens/s, not 1000).

use super::block256::{Of256, run_sums, scales, unpack_minima};
use super::panels::{Lines, Panels};
use super::{Quantized, sixteen_rows};
use crate::kernels::Scratch;
use crate::kernels::scratch::Room;
use crate::quant::{Block256, Codes};
use crate::simd::{Simd, Tiles};
use core::ops::Range;
use zerocopy::{FromBytes, IntoBytes, KnownLayout};

/// Rows and columns of a tile of sums.
const SIDE: usize = 16;
/// Blocks per row that are unpacked at a time.
const DEPTH: usize = 4;
/// Tiles of columns that are gone through with each 16 rows.
const COLUMN_TILES: usize = 16;
/// Tiles of rows whose results are complete before the next ones are begun.
const ROW_TILES: usize = 12;

/// Does the product in tiles, and returns true, where there are any and that is faster than panels: not with few columns, nor
/// where more than a quarter of them would be done twice.
#[inline(always)]
pub(super) fn product<S: Simd, F: Block256<N>, const N: usize>(
    s: S,
    work: &mut Panels<'_, '_, Of256<F>, 256, 16, N>,
    scratch: &mut Scratch,
) -> bool {
    let n = work.x.n;
    if work.x.wide || n < 2 * SIDE || 4 * n < 3 * n.next_multiple_of(SIDE) {
        return false;
    }
    let Some(tiles) = s.tiles() else { return false };
    for top in (0..work.out.width()).step_by(ROW_TILES * SIDE) {
        let rows = top..work.out.width().min(top + ROW_TILES * SIDE);
        for first in (0..n.div_ceil(SIDE)).step_by(COLUMN_TILES) {
            let column_tiles = first..n.div_ceil(SIDE).min(first + COLUMN_TILES);
            section::<S, F, N>(s, &tiles, work, scratch.room(), rows.clone(), column_tiles);
        }
    }
    true
}

/// The product of some rows with some tiles of columns.
///
/// Results are gathered apart, and go where they belong at the end. There, those of a tile lie in 16 places far apart, which no
/// cache may have, and stores wait for each other: so also those of sums, which the next terms are made of. Products from the
/// second-level cache took 1.4 times as long.
#[inline(always)]
fn section<S: Simd, F: Block256<N>, const N: usize>(
    s: S,
    tiles: &S::Tiles,
    work: &mut Panels<'_, '_, Of256<F>, 256, 16, N>,
    mut room: Room<'_>,
    rows: Range<usize>,
    column_tiles: Range<usize>,
) {
    let Quantized { n, blocks, .. } = work.x;
    let columns = column_tiles.map(|index| ColumnTile::new(index, n));
    // Evenly, so that no range is much shorter than the others.
    let depth = blocks.div_ceil(blocks.div_ceil(DEPTH));
    let weights = room.take::<Weights>(depth);
    let x = room.take::<Gathered>(depth * columns.len());
    let sums = room.one::<Sums>();
    let results = room.take::<Results>(rows.len().div_ceil(SIDE) * columns.len());
    results.fill([[0.0; SIDE]; SIDE]);
    for from in (0..blocks).step_by(depth) {
        let range = from..blocks.min(from + depth);
        let x = &mut x[..range.len() * columns.len()];
        for (tile, x) in columns.clone().zip(x.chunks_exact_mut(range.len())) {
            for (block, x) in range.clone().zip(x) {
                gather::<S, F, N>(s, &work.x, tile.start, block, x);
            }
        }
        let weights = &mut weights[..range.len()];
        let row_tiles = rows.clone().step_by(SIDE).zip(results.chunks_exact_mut(columns.len()));
        for (first, results) in row_tiles {
            let blocks = sixteen_rows(work.rows.bytes, blocks, first, range.clone());
            unpack::<S, F, N>(s, tiles, &blocks, weights);
            let mut next = work.next(first + SIDE, from, depth, SIDE).in_turns(x.len(), false);
            let part = Part { from, weights, x, columns: columns.clone() };
            part.add::<S, F, N>(s, tiles, &work.x, sums, results, &mut next);
        }
    }
    let row_tiles = rows.step_by(SIDE).zip(results.chunks_exact(columns.len()));
    for (first, results) in row_tiles {
        for (tile, results) in columns.clone().zip(results) {
            for (c, y) in results.iter().enumerate().skip(tile.first - tile.start) {
                let row = &mut work.out.row(tile.start + c)[first..];
                match row.first_chunk_mut() {
                    Some(row) => s.store_floats(s.floats(y), row),
                    None => row.copy_from_slice(&y[..row.len()]),
                }
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
struct Weights {
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
struct Gathered {
    d: [f32; 16],
    /// The sums of as many codes as have a minimum.
    sums: [[i16; 16]; 16],
}

/// 16 columns, from one of which on they count: the last ones overlap those before them.
#[derive(Clone, Copy)]
struct ColumnTile {
    start: usize,
    first: usize,
}

impl ColumnTile {
    /// Tile `index` of `n` columns.
    #[inline(always)]
    fn new(index: usize, n: usize) -> Self {
        let first = index * SIDE;
        Self { start: first.min(n - SIDE), first }
    }
}

/// The sums of a tile, a row for each column: with first bytes and with second ones.
#[derive(FromBytes, IntoBytes, KnownLayout)]
#[repr(C, align(64))]
struct Sums([[[i32; SIDE]; SIDE]; 2]);

/// Elements of the result, a row for each column.
type Results = [[f32; SIDE]; SIDE];

/// Unpacks blocks of 16 rows.
#[inline(always)]
fn unpack<S: Simd, F: Block256<N>, const N: usize>(
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
            unpack_minima::<S, F, N>(s, &blocks, &scales, &mut to.mins);
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
            let (low, high) = (&mut to.low[4 * sixteen + i], &mut to.high[4 * sixteen + i]);
            match Form::of::<F, N>() {
                Form::Byte => s.store(tiles.times(*codes, scale), low),
                Form::Factors => {
                    let [few, many] = tiles.three_bits(scale);
                    s.store(tiles.times(*codes, few), low);
                    s.store(tiles.times(*codes, many), high);
                }
                Form::Bytes => {
                    let [first, second] = tiles.scaled(signed::<S, F, N>(tiles, *codes), scale);
                    s.store(first, low);
                    s.store(second, high);
                }
            }
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
fn gather<S: Simd, F: Block256<N>, const N: usize>(
    s: S,
    x: &Quantized<'_, 256, 16>,
    column: usize,
    block: usize,
    to: &mut Gathered,
) {
    for (c, (d, sums)) in to.d.iter_mut().zip(&mut to.sums).enumerate() {
        let at = (column + c) * x.stride + block;
        *d = x.d[at];
        if F::MIN {
            *sums = run_sums(s, &x.sums[at], F::RUN);
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

/// The product of 16 rows with some column tiles, in one range of blocks.
struct Part<'a, C> {
    /// The first of the blocks.
    from: usize,
    weights: &'a [Weights],
    /// Of each column tile as many as weights.
    x: &'a [Gathered],
    columns: C,
}

impl<C: Iterator<Item = ColumnTile>> Part<'_, C> {
    /// Adds the terms to the results of each column tile; asks for lines of the next rows.
    ///
    /// While a block is multiplied, terms are made of the sums of the one before, a few for each instruction that multiplies.
    #[inline(always)]
    fn add<S: Simd, F: Block256<N>, const N: usize>(
        self,
        s: S,
        tiles: &S::Tiles,
        x: &Quantized<'_, 256, 16>,
        sums: &mut Sums,
        results: &mut [Results],
        next: &mut Lines<'_>,
    ) {
        let mut waiting: Option<Waiting<'_>> = None;
        let column_tiles = self.columns.zip(self.x.chunks_exact(self.weights.len()));
        for (tile, (columns, gathered)) in column_tiles.enumerate() {
            for (block, (weights, gathered)) in self.weights.iter().zip(gathered).enumerate() {
                next.prefetch(s);
                let codes = x.qs[columns.start * x.stride + self.from + block..].as_flattened();
                multiply::<S, F, N>(s, tiles, weights, (codes, 256 * x.stride), waiting, sums, results);
                waiting = Some(Waiting { weights, x: gathered, tile });
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

/// Multiplies a block of 16 rows with a tile of columns, adds the terms of those that wait meanwhile, and keeps the sums.
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
