//! Many columns where there are tiles: 16 rows by 16 columns at a time.
//!
//! As [`panels`](super::panels) does, this unpacks rows once for all columns, in ranges of elements; and columns stay where they
//! are. A product of tiles goes on while vectors make terms of the sums of one before, which they find in memory. What terms
//! need of the columns, beside their codes, is gathered first.
//!
//! Four tiles are in use, not all eight: where two threads share a core, it has few registers to rename tiles with, and waits
//! for each product before it loads the next tile (28 ns for a product and a load with eight tiles in use, 12 with four).
//!
//! With 256 columns and one thread, Q4_K reached 424 G multiply-adds per second and Q4_0 302 (305 in rows of 576 elements, where
//! panels of AVX-512 did 206; Emerald Rapids).

mod block256;
mod block32;

use super::panels::{Lines, Panels};
use super::{Format, Quantized, sixteen_rows};
use crate::kernels::Scratch;
use crate::kernels::scratch::Room;
use crate::quant::Codes;
use crate::simd::{Simd, Tiles};
use core::ops::Range;
use zerocopy::{FromBytes, IntoBytes, KnownLayout};

/// Rows and columns of a tile of sums.
const SIDE: usize = 16;
/// Tiles of columns that rows are unpacked for, at most.
const COLUMN_TILES: usize = 32;
/// Tiles of results that are gathered, at most: they stay in the second-level cache.
const RESULT_TILES: usize = 192;

/// A format that is multiplied in tiles.
pub(super) trait Tiled<const LEN: usize, const SUMS: usize, const N: usize>: Format<LEN, SUMS, N> {
    /// Blocks per row that are unpacked at a time.
    const DEPTH: usize;
    /// Tiles of rows that are unpacked at a time. A tile of columns meets them in turn, and all but the first find it in the
    /// first-level cache, if their weights leave room there.
    const ROWS: usize;
    /// A row has as many, at least: else the results of a tile cost more than its products.
    const LEAST: usize;

    /// A block of 16 rows, unpacked.
    type Weights: FromBytes + IntoBytes + KnownLayout + 'static;
    /// What terms need of a block of 16 columns.
    type Gathered: FromBytes + IntoBytes + KnownLayout + 'static;

    /// Unpacks blocks of 16 rows.
    fn unpack_weights<S: Simd>(s: S, tiles: &S::Tiles, rows: &[&[[u8; N]]; 16], to: &mut [Self::Weights]);

    /// Gathers what terms need of blocks `blocks` of 16 columns from `column` on.
    fn gather<S: Simd>(
        s: S,
        x: &Quantized<'_, LEN, SUMS>,
        column: usize,
        blocks: Range<usize>,
        to: &mut [Self::Gathered],
    );

    /// Adds the terms of blocks to the results of tiles of rows, for each all column tiles, which are zeros before block 0; asks
    /// for lines of the next rows.
    fn add<S: Simd>(
        s: S,
        tiles: &S::Tiles,
        part: Part<'_, Self, LEN, SUMS, N>,
        sums: &mut Sums,
        results: &mut [Results],
        next: &mut Lines<'_>,
    );
}

/// Does the product in tiles, and returns true, where there are any and that is faster than panels: not with few columns or
/// blocks, nor where more than a quarter of the columns would be done twice.
#[inline(always)]
pub(super) fn product<S: Simd, F: Tiled<LEN, SUMS, N>, const LEN: usize, const SUMS: usize, const N: usize>(
    s: S,
    work: &mut Panels<'_, '_, F, LEN, SUMS, N>,
    scratch: &mut Scratch,
) -> bool {
    let Quantized { n, wide, blocks, .. } = work.x;
    if wide || blocks < F::LEAST || n < 2 * SIDE || 4 * n < 3 * n.next_multiple_of(SIDE) {
        return false;
    }
    let Some(tiles) = s.tiles() else { return false };
    let all = n.div_ceil(SIDE);
    // Evenly, so that none is much shorter than the others.
    let count = all.div_ceil(all.div_ceil(COLUMN_TILES));
    let height = RESULT_TILES / count * SIDE;
    for top in (0..work.out.width()).step_by(height) {
        let rows = top..work.out.width().min(top + height);
        for first in (0..all).step_by(count) {
            section(s, &tiles, work, scratch.room(), rows.clone(), first..all.min(first + count));
        }
    }
    true
}

/// The product of some rows with some tiles of columns.
///
/// Results are gathered apart, and go where they belong at the end. There, those of a tile lie in 16 places far apart, which no
/// cache may have, and stores wait for each other: so also those of sums, which the next terms are made of. With results in a
/// matrix of 8064 rows, products took 1.4 times as long as with results that stay in the second-level cache.
#[inline(always)]
fn section<S: Simd, F: Tiled<LEN, SUMS, N>, const LEN: usize, const SUMS: usize, const N: usize>(
    s: S,
    tiles: &S::Tiles,
    work: &mut Panels<'_, '_, F, LEN, SUMS, N>,
    mut room: Room<'_>,
    rows: Range<usize>,
    column_tiles: Range<usize>,
) {
    let Quantized { n, blocks, .. } = work.x;
    let count = column_tiles.len();
    // Evenly, too.
    let depth = blocks.div_ceil(blocks.div_ceil(F::DEPTH));
    let weights = room.take::<F::Weights>(F::ROWS * depth);
    let gathered = room.take::<F::Gathered>(depth * count);
    let sums = room.one::<Sums>();
    let results = room.take::<Results>(rows.len().div_ceil(SIDE) * count);
    results.fill([[0.0; SIDE]; SIDE]);
    for from in (0..blocks).step_by(depth) {
        let range = from..blocks.min(from + depth);
        let gathered = &mut gathered[..range.len() * count];
        for (index, gathered) in column_tiles.clone().zip(gathered.chunks_exact_mut(range.len())) {
            F::gather(s, &work.x, ColumnTile::new(index, n).start, range.clone(), gathered);
        }
        let height = F::ROWS * SIDE;
        for (first, results) in rows.clone().step_by(height).zip(results.chunks_mut(F::ROWS * count)) {
            let weights = &mut weights[..results.len() / count * range.len()];
            for (row, weights) in (first..).step_by(SIDE).zip(weights.chunks_exact_mut(range.len())) {
                let sixteen = sixteen_rows(work.rows.bytes, blocks, row, range.clone());
                F::unpack_weights(s, tiles, &sixteen, weights);
            }
            let mut next = work.next(rows.clone(), first + height, from, depth, height).in_turns(count, false);
            let part = Part { x: &work.x, first: column_tiles.start, from, depth: range.len(), weights, gathered };
            F::add(s, tiles, part, sums, results, &mut next);
        }
    }
    for (tile, index) in column_tiles.enumerate() {
        let ColumnTile { start, first } = ColumnTile::new(index, n);
        for c in first - start..SIDE {
            let column = results.chunks_exact(count).map(|results| &results[tile][c]);
            store(s, &mut work.out.row(start + c)[rows.clone()], column);
        }
    }
}

/// Stores the results of a column, 16 rows at a time: so stores follow each other in memory.
#[inline(always)]
fn store<'a, S: Simd>(s: S, to: &mut [f32], results: impl Iterator<Item = &'a [f32; SIDE]>) {
    for (to, y) in to.chunks_mut(SIDE).zip(results) {
        match to.first_chunk_mut() {
            Some(to) => s.store_floats(s.floats(y), to),
            None => to.copy_from_slice(&y[..to.len()]),
        }
    }
}

/// Codes of a kind as signed numbers.
#[inline(always)]
fn signed<S: Simd>(tiles: &S::Tiles, kind: Codes, codes: S::Bytes) -> S::Bytes {
    match kind {
        Codes::Unsigned { offset: offset @ 1.., .. } => tiles.signed(codes, offset),
        _ => codes,
    }
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
type TileSums = [[i32; SIDE]; SIDE];

/// The sums of two tiles, which wait for their terms.
#[derive(FromBytes, IntoBytes, KnownLayout)]
#[repr(C, align(64))]
pub(super) struct Sums([TileSums; 2]);

/// Elements of the result, a row for each column.
pub(super) type Results = [[f32; SIDE]; SIDE];

/// Blocks of some tiles of rows and of columns.
pub(super) struct Part<'a, F: Tiled<LEN, SUMS, N> + ?Sized, const LEN: usize, const SUMS: usize, const N: usize> {
    x: &'a Quantized<'a, LEN, SUMS>,
    /// The first of the column tiles.
    first: usize,
    /// The first of the blocks.
    from: usize,
    /// How many of them.
    depth: usize,
    /// Those of a tile of rows, then those of the next.
    weights: &'a [F::Weights],
    /// Those of a tile of columns, then those of the next.
    gathered: &'a [F::Gathered],
}

impl<'a, F: Tiled<LEN, SUMS, N> + ?Sized, const LEN: usize, const SUMS: usize, const N: usize>
    Part<'a, F, LEN, SUMS, N>
{
    /// The weights of each tile of rows.
    #[inline(always)]
    fn rows(&self) -> impl Iterator<Item = &'a [F::Weights]> {
        self.weights.chunks_exact(self.depth)
    }

    /// How many column tiles there are.
    #[inline(always)]
    fn width(&self) -> usize {
        self.gathered.len() / self.depth
    }

    /// For each column tile what was gathered, and the codes of the columns from the first block on.
    #[inline(always)]
    fn columns(&self) -> impl Iterator<Item = (&'a [F::Gathered], &'a [[i8; LEN]])> {
        let Self { x, first, from, depth, gathered, .. } = *self;
        gathered.chunks_exact(depth).enumerate().map(move |(index, gathered)| {
            let column = ColumnTile::new(first + index, x.n).start;
            (gathered, &x.qs[column * x.stride + from..])
        })
    }

    /// Bytes from the codes of one column to those of the next.
    #[inline(always)]
    fn stride(&self) -> usize {
        LEN * self.x.stride
    }
}
