//! Many columns of blocks of 256, where there are tiles: 16 rows by 16 columns at a time.
//!
//! As [`panels`](super::panels) does, this unpacks rows once for all columns, in ranges of elements. But it keeps codes times
//! their integer scales, in two bytes, so that a tile of sums goes through a whole block; and columns stay where they are.
//! A product of tiles goes on while vectors make terms of the sums of the one before, which they find in memory. What terms
//! need of the columns, beside their codes, is gathered first.
//!
//! With 256 columns, one thread and the weights in the second-level cache, Q4_K reached 330 G multiply-adds per second, where
//! panels of AVX-512 do 190 (Emerald Rapids). Blocks of 32 make terms of each 32 products: there 195 to 222, not 160 to 195,
//! were less than nothing, since a core with tiles in use has a lower clock for all else (SmolLM2 Q4_0: 870 tokens/s, not 1000).

use super::block256::{Of256, run_sums, scales, unpack_minima};
use super::panels::{Lines, Panels};
use super::{Quantized, padded, sixteen_rows};
use crate::kernels::Scratch;
use crate::quant::{Block256, Codes};
use crate::simd::{Simd, Tiles};
use zerocopy::{FromBytes, IntoBytes, KnownLayout};

/// Rows and columns of a tile of sums.
const SIDE: usize = 16;
/// Blocks per row that are unpacked at a time.
const DEPTH: usize = 4;
/// Tiles of columns that are gone through with each 16 rows.
const COLUMN_TILES: usize = 16;

/// Does the product in tiles, and returns true, where there are any and that is faster than panels: not with few columns, nor
/// where more than a quarter of them would be done twice.
#[inline(always)]
pub(super) fn product<S: Simd, F: Block256<N>, const N: usize>(
    s: S,
    work: &mut Panels<'_, '_, Of256<F>, 256, 16, N>,
    scratch: &mut Scratch,
) -> bool {
    let Quantized { n, wide, blocks, .. } = work.x;
    if wide || n < 2 * SIDE || 4 * n < 3 * n.next_multiple_of(SIDE) {
        return false;
    }
    let Some(tiles) = s.tiles() else { return false };
    let column_tiles = n.div_ceil(SIDE);
    // Evenly, so that no range is much shorter than the others.
    let depth = blocks.div_ceil(blocks.div_ceil(DEPTH));
    for from in (0..blocks).step_by(depth) {
        let depth = depth.min(blocks - from);
        for tile in (0..column_tiles).step_by(COLUMN_TILES) {
            let mut room = scratch.room();
            let weights = room.take::<Weights>(depth);
            let x = room.take::<Gathered>(depth * COLUMN_TILES.min(column_tiles - tile));
            let kept = room.one::<Kept>();
            for (i, x) in x.iter_mut().enumerate() {
                let columns = ColumnTile::new(tile + i / depth, n);
                gather::<S, F, N>(s, &work.x, columns.start, from + i % depth, x);
            }
            for first in (0..work.out.width()).step_by(SIDE) {
                let rows = sixteen_rows(work.rows.bytes, blocks, first, from..from + depth);
                unpack::<S, F, N>(s, &tiles, &rows, weights);
                let turns = x.len();
                let mut next = work.next(first + SIDE, from, depth, SIDE).in_turns(turns, false);
                let part = Part { first, from, tile, weights, x };
                part.add::<S, F, N>(s, &tiles, work, kept, &mut next);
            }
        }
    }
    true
}

/// A block of 16 rows.
#[derive(FromBytes, IntoBytes, KnownLayout)]
#[repr(C, align(64))]
struct Weights {
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

/// The sums of a tile, a row for each column.
type Sums = [[i32; SIDE]; SIDE];
/// Elements of the result, a row for each column.
type Results = [[f32; SIDE]; SIDE];

/// What lies in memory between the steps.
#[derive(FromBytes, IntoBytes, KnownLayout)]
#[repr(C, align(64))]
struct Kept {
    /// With low bytes and with high ones.
    sums: [Sums; 2],
    /// Of a column tile, and of the one before.
    results: [Results; 2],
}

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
fn gather<S: Simd, F: Block256<N>, const N: usize>(
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

/// A block of 16 rows and a column tile, whose sums are kept.
#[derive(Clone, Copy)]
struct Waiting<'a> {
    weights: &'a Weights,
    x: &'a Gathered,
    columns: ColumnTile,
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

/// The product of 16 rows with some column tiles, in one range of blocks.
struct Part<'a> {
    /// The first of the rows.
    first: usize,
    /// The first of the blocks.
    from: usize,
    /// The first of the column tiles.
    tile: usize,
    weights: &'a [Weights],
    /// Of each column tile as many as weights.
    x: &'a [Gathered],
}

impl Part<'_> {
    /// Adds the terms; asks for lines of the next rows.
    ///
    /// While a block is multiplied, terms are made of the sums of the one before, a few for each instruction that multiplies.
    #[inline(always)]
    fn add<S: Simd, F: Block256<N>, const N: usize>(
        &self,
        s: S,
        tiles: &S::Tiles,
        work: &mut Panels<'_, '_, Of256<F>, 256, 16, N>,
        kept: &mut Kept,
        next: &mut Lines<'_>,
    ) {
        let blocks = self.weights.len();
        let mut waiting: Option<Waiting<'_>> = None;
        for (tile, gathered) in self.x.chunks_exact(blocks).enumerate() {
            let (columns, slot) = (ColumnTile::new(self.tile + tile, work.x.n), tile % 2);
            self.load(s, work, columns, &mut kept.results[slot]);
            for (block, (weights, x)) in self.weights.iter().zip(gathered).enumerate() {
                next.prefetch(s);
                let codes = self.codes(work, columns, block);
                multiply::<S, F, N>(s, tiles, weights, codes, waiting, kept);
                if let Some(complete) = waiting.filter(|_| block == 0) {
                    self.store(s, work, complete, kept);
                }
                waiting = Some(Waiting { weights, x, columns, slot });
            }
        }
        if let Some(last) = waiting {
            add_all_terms::<S, F, N>(s, tiles, last, kept);
            self.store(s, work, last, kept);
        }
    }

    /// The codes of a column tile from block `block` on, and how many lie between those of one column and the next.
    #[inline(always)]
    fn codes<'a, F: Block256<N>, const N: usize>(
        &self,
        work: &Panels<'a, '_, Of256<F>, 256, 16, N>,
        columns: ColumnTile,
        block: usize,
    ) -> (&'a [i8], usize) {
        let start = columns.start * work.x.blocks + self.from + block;
        (work.x.qs[start..].as_flattened(), 256 * work.x.blocks)
    }

    /// Loads the results so far: zeros at first.
    #[inline(always)]
    fn load<S: Simd, F: Block256<N>, const N: usize>(
        &self,
        s: S,
        work: &mut Panels<'_, '_, Of256<F>, 256, 16, N>,
        columns: ColumnTile,
        to: &mut Results,
    ) {
        for (c, to) in to.iter_mut().enumerate() {
            let row = &work.out.row(columns.start + c)[self.first..];
            let results = match row.first_chunk() {
                _ if self.from == 0 => s.splat_float(0.0),
                Some(row) => s.floats(row),
                None => s.floats(&padded(row)),
            };
            s.store_floats(results, to);
        }
    }

    /// Stores results that are complete.
    #[inline(always)]
    fn store<S: Simd, F: Block256<N>, const N: usize>(
        &self,
        s: S,
        work: &mut Panels<'_, '_, Of256<F>, 256, 16, N>,
        complete: Waiting<'_>,
        kept: &Kept,
    ) {
        let columns = complete.columns;
        for (c, y) in kept.results[complete.slot].iter().enumerate().skip(columns.first - columns.start) {
            let row = &mut work.out.row(columns.start + c)[self.first..];
            match row.first_chunk_mut() {
                Some(row) => s.store_floats(s.floats(y), row),
                None => row.copy_from_slice(&y[..row.len()]),
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
    kept: &mut Kept,
) {
    tiles.zero::<0>();
    tiles.zero::<1>();
    let factors = Factors::new(s, waiting.map_or(weights, |waiting| waiting.weights));
    quarter::<S, F, N, 0>(s, tiles, weights, x, (waiting, factors), kept);
    quarter::<S, F, N, 1>(s, tiles, weights, x, (waiting, factors), kept);
    quarter::<S, F, N, 2>(s, tiles, weights, x, (waiting, factors), kept);
    quarter::<S, F, N, 3>(s, tiles, weights, x, (waiting, factors), kept);
    let [low, high] = &mut kept.sums;
    tiles.store::<0>(low);
    tiles.store::<1>(high);
}

/// Multiplies quarter `K` of a block, and adds the terms of 4 of 16 columns that wait.
#[inline(always)]
fn quarter<S: Simd, F: Block256<N>, const N: usize, const K: usize>(
    s: S,
    tiles: &S::Tiles,
    weights: &Weights,
    (x, stride): (&[i8], usize),
    waiting: (Option<Waiting<'_>>, Factors<S>),
    kept: &mut Kept,
) {
    tiles.load_rows::<2>(&x[64 * K..], stride);
    tiles.load::<3>(&weights.low.as_chunks().0[K]);
    tiles.dot_unsigned::<0, 2, 3>();
    add_two_terms::<S, F, N>(s, tiles, 4 * K, waiting, kept);
    tiles.load::<3>(&weights.high.as_chunks().0[K]);
    tiles.dot::<1, 2, 3>();
    add_two_terms::<S, F, N>(s, tiles, 4 * K + 2, waiting, kept);
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
    for column in (0..SIDE).step_by(2) {
        add_two_terms::<S, F, N>(s, tiles, column, (Some(waiting), factors), kept);
    }
}

/// Adds the terms of columns `column` and `column + 1` of those that wait, if any do.
#[inline(always)]
fn add_two_terms<S: Simd, F: Block256<N>, const N: usize>(
    s: S,
    tiles: &S::Tiles,
    column: usize,
    (waiting, factors): (Option<Waiting<'_>>, Factors<S>),
    kept: &mut Kept,
) {
    let Some(Waiting { x, slot, .. }) = waiting else { return };
    let [low, high] = &kept.sums;
    for c in column..column + 2 {
        let sums = tiles.join(&low[c], &high[c]);
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
        let y = &mut kept.results[slot][c];
        s.store_floats(s.add(s.floats(y), s.mul(s.splat_float(x.d[c]), inner)), y);
    }
}
