//! Many columns: panels of rows, unpacked once to bytes.
//!
//! A panel holds up to 640 elements of each of 16 or 32 rows in the first-level cache, interleaved so that a vector has 4 codes of
//! each of 16 rows. Multiplied with 4 codes of a column, repeated 16 times, that gives sums with a lane per row: no
//! reduction is ever needed. The inner loop keeps the sums of the panel's rows and `C` columns in registers.
//!
//! Panels of one range of elements follow each other, so that the activations of that range stay in the second-level
//! cache. The result's elements are the accumulators from range to range, which leaves the order of the sum as it is.

use super::{Format, Quantized, sixteen_rows};
use crate::bytes::Tile;
use crate::simd::{Kernel, Simd};
use core::marker::PhantomData;

/// Rows of a vector.
const ROWS: usize = 16;
/// Columns that the inner loop takes at a time.
const COLUMNS: usize = 6;
/// Elements per row that a panel holds.
const DEPTH: usize = 640;
/// As many blocks as a panel holds at most.
const BLOCKS: usize = DEPTH / 32;

/// The product with a matrix of blocks.
pub(super) struct Panels<'a, 'o, F, const LEN: usize, const SUMS: usize, const N: usize> {
    pub rows: &'a [u8],
    pub x: Quantized<'a, LEN, SUMS>,
    pub out: &'a mut Tile<'o, f32>,
    pub format: PhantomData<F>,
}

impl<F, const LEN: usize, const SUMS: usize, const N: usize> Kernel for Panels<'_, '_, F, LEN, SUMS, N>
where
    F: Format<LEN, SUMS, N>,
{
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        if S::MANY_REGISTERS { self.panels::<S, 2>(s) } else { self.panels::<S, 1>(s) }
    }
}

impl<F, const LEN: usize, const SUMS: usize, const N: usize> Panels<'_, '_, F, LEN, SUMS, N>
where
    F: Format<LEN, SUMS, N>,
{
    /// With `R` vectors of rows in a panel.
    #[inline(always)]
    fn panels<S: Simd, const R: usize>(&mut self, s: S) {
        let mut panel = [[F::EMPTY; R]; BLOCKS];
        // Evenly, so that no panel is much shorter than the others.
        let depth = self.x.blocks.div_ceil(self.x.blocks.div_ceil(DEPTH / LEN));
        for from in (0..self.x.blocks).step_by(depth) {
            let panel = &mut panel[..depth.min(self.x.blocks - from)];
            for first in (0..self.out.width()).step_by(R * ROWS) {
                for r in 0..R {
                    let rows = sixteen_rows(self.rows, self.x.blocks, first + r * ROWS, from..from + panel.len());
                    F::unpack(s, &rows, r, panel);
                }
                let mut c = 0;
                while c < self.x.n {
                    if self.x.n - c > COLUMNS - 2 {
                        self.multiply::<S, R, COLUMNS>(s, panel, from, first, c);
                        c += COLUMNS;
                    } else {
                        self.multiply::<S, R, 2>(s, panel, from, first, c);
                        c += 2;
                    }
                }
            }
        }
    }

    /// Adds the terms of a panel, whose blocks are `from` and up of rows `first` and up, for columns `c..c + C`.
    #[inline(always)]
    fn multiply<S: Simd, const R: usize, const C: usize>(
        &mut self,
        s: S,
        panel: &[[F::Panel; R]],
        from: usize,
        first: usize,
        c: usize,
    ) {
        let columns = self.x.columns::<C>(c, from, panel.len());
        let mut y = [[s.splat_float(0.0); R]; C];
        if from > 0 {
            self.load(s, first, c, &mut y);
        }
        for (b, block) in panel.iter().enumerate() {
            F::add_block(s, block, &columns, b, &mut y);
        }
        self.store(s, first, c, &y);
    }

    /// The sums that [`Self::store`] left.
    #[inline(always)]
    fn load<S: Simd, const R: usize, const C: usize>(
        &mut self,
        s: S,
        first: usize,
        c: usize,
        y: &mut [[S::Floats; R]; C],
    ) {
        let last = self.out.rows() - 1;
        for (i, y) in y.iter_mut().enumerate() {
            let row = &self.out.row((c + i).min(last))[first..];
            for (r, y) in y.iter_mut().enumerate() {
                let row = &row[(r * ROWS).min(row.len())..];
                let mut rest = [0.0; ROWS];
                *y = s.floats(row.first_chunk().unwrap_or_else(|| {
                    rest[..row.len()].copy_from_slice(row);
                    &rest
                }));
            }
        }
    }

    /// Stores the sums of the rows and columns that there are.
    #[inline(always)]
    fn store<S: Simd, const R: usize, const C: usize>(
        &mut self,
        s: S,
        first: usize,
        c: usize,
        y: &[[S::Floats; R]; C],
    ) {
        for (y, c) in y.iter().zip(c..self.out.rows()) {
            let row = &mut self.out.row(c)[first..];
            for (r, y) in y.iter().enumerate() {
                let start = (r * ROWS).min(row.len());
                let row = &mut row[start..];
                let mut lanes = [0.0; ROWS];
                s.store_floats(*y, &mut lanes);
                match row.first_chunk_mut() {
                    Some(row) => *row = lanes,
                    None => row.copy_from_slice(&lanes[..row.len()]),
                }
            }
        }
    }
}
