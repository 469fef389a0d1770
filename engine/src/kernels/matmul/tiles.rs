//! Many columns, where there are tiles: 16 rows by 16 columns at a time.
//!
//! As [`panels`](super::panels) does, this unpacks rows once for all columns, in ranges of elements; but what it keeps of 16
//! rows is what a tile takes, and so are the columns as they lie. A product of tiles goes on while vectors make terms of the
//! sums of the one before, which they find in memory. What terms need of the columns, beside their codes, is gathered first.
//!
//! With 256 columns, one thread and the weights in the second-level cache, Q4_K reached 390 G multiply-adds per second, where
//! panels of AVX-512 do 200; Q4_1, which makes terms of each 32 products, 195 where they do 160 (Emerald Rapids).

use super::panels::Panels;
use super::{Format, Quantized, padded, sixteen_rows};
use crate::kernels::Scratch;
use crate::simd::Simd;
use zerocopy::{FromBytes, IntoBytes, KnownLayout};

/// Rows and columns of a tile of sums.
pub(super) const SIDE: usize = 16;
/// Elements per row that are unpacked at a time.
const DEPTH: usize = 1024;
/// Tiles of columns that are gone through with each 16 rows.
const COLUMN_TILES: usize = 16;

/// The sums of a tile, a row for each column.
pub(super) type Sums = [[i32; SIDE]; SIDE];
/// Elements of the result, a row for each column.
pub(super) type Results = [[f32; SIDE]; SIDE];

/// 16 columns, from one of which on they count: the last ones overlap those before them.
#[derive(Clone, Copy)]
pub(super) struct ColumnTile {
    pub start: usize,
    pub first: usize,
}

impl ColumnTile {
    /// Tile `index` of `n` columns.
    #[inline(always)]
    pub fn new(index: usize, n: usize) -> Self {
        let first = index * SIDE;
        Self { start: first.min(n - SIDE), first }
    }
}

/// What lies in memory between the steps.
#[derive(FromBytes, IntoBytes, KnownLayout)]
#[repr(C, align(64))]
pub(super) struct Kept {
    pub sums: [Sums; 4],
    pub results: [[Results; 2]; 2],
}

/// Weights of 16 rows and what was gathered of columns, in blocks of one range, and room.
pub(super) struct Step<'a, W, G> {
    pub weights: &'a [W],
    pub x: &'a [G],
    pub kept: &'a mut Kept,
}

/// What is multiplied: 16 rows from row `first` on with the columns of some tiles, in blocks `from` and up.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub first: usize,
    pub from: usize,
    /// The first of the column tiles.
    pub tile: usize,
}

impl<F, const LEN: usize, const SUMS: usize, const N: usize> Panels<'_, '_, F, LEN, SUMS, N>
where
    F: Format<LEN, SUMS, N>,
{
    /// Whether to do this in tiles: not where more than a quarter of them would be done twice, since that is slower than
    /// [`panels`](super::panels). Those of blocks of 32 take two at a time, which have to be there.
    pub(super) fn fits_tiles(&self) -> bool {
        let Quantized { n, wide, blocks, .. } = self.x;
        let worth_it = n >= SIDE && 4 * n >= 3 * n.next_multiple_of(SIDE);
        worth_it && !wide && blocks.is_multiple_of(F::TILE_BLOCKS)
    }

    /// The product.
    #[inline(always)]
    pub(super) fn tiles<S: Simd>(&mut self, s: S, tiles: &S::Tiles, scratch: &mut Scratch) {
        let blocks = self.x.blocks;
        let depth = blocks.div_ceil(blocks.div_ceil(DEPTH / LEN)).next_multiple_of(F::TILE_BLOCKS);
        let column_tiles = self.x.n.div_ceil(SIDE);
        for from in (0..blocks).step_by(depth) {
            let units = depth.min(blocks - from) / F::TILE_BLOCKS;
            for tile in (0..column_tiles).step_by(COLUMN_TILES) {
                let mut room = scratch.room();
                let weights = room.take::<F::Weights>(units);
                let x = room.take::<F::Gathered>(units * COLUMN_TILES.min(column_tiles - tile));
                let kept = room.one::<Kept>();
                for (i, x) in x.chunks_exact_mut(units).enumerate() {
                    let columns = ColumnTile::new(tile + i, self.x.n);
                    for (unit, x) in x.iter_mut().enumerate() {
                        F::gather(s, &self.x, columns.start, from + unit * F::TILE_BLOCKS, x);
                    }
                }
                for first in (0..self.out.width()).step_by(SIDE) {
                    let rows = sixteen_rows(self.rows.bytes, blocks, first, from..from + units * F::TILE_BLOCKS);
                    F::unpack_tiles(s, tiles, &rows, weights);
                    let turns = x.len() / F::TILES;
                    let mut next = self.next(first + SIDE, from, depth, SIDE).in_turns(turns.max(1), false);
                    let step = Step { weights, x, kept };
                    F::add_tiles(s, tiles, self, Place { first, from, tile }, step, &mut next);
                }
            }
        }
    }

    /// The codes of a column tile from block `block` on, and how many bytes lie between those of one column and the next.
    #[inline(always)]
    pub(super) fn codes(&self, columns: ColumnTile, block: usize) -> (&[i8], usize) {
        let all = self.x.qs.as_flattened();
        (&all[(columns.start * self.x.blocks + block) * LEN..], self.x.blocks * LEN)
    }

    /// The result's elements so far: zeros at first.
    #[inline(always)]
    pub(super) fn results<S: Simd>(&mut self, s: S, place: Place, column: usize) -> S::Floats {
        if place.from == 0 {
            return s.splat_float(0.0);
        }
        let row = &self.out.row(column)[place.first..];
        match row.first_chunk() {
            Some(row) => s.floats(row),
            None => s.floats(&padded(row)),
        }
    }

    /// Stores elements of the result.
    #[inline(always)]
    pub(super) fn store_results<S: Simd>(&mut self, s: S, place: Place, column: usize, y: S::Floats) {
        let row = &mut self.out.row(column)[place.first..];
        if let Some(row) = row.first_chunk_mut() {
            return s.store_floats(y, row);
        }
        let mut lanes = [0.0; SIDE];
        s.store_floats(y, &mut lanes);
        row.copy_from_slice(&lanes[..row.len()]);
    }
}
