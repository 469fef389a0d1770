//! Products of a matrix, in the file's own bytes, with columns of activations.
//!
//! The arithmetic is canonical: whatever the path, the level and the number of columns, an element of the result is made
//! of the same roundings. With `b` ascending over the blocks of a row, it is `0 + term(0) + term(1) + …`, and with weights
//! `dw` and `mw` scale and minimum of the block, `dx` scale of the activations, and exact integers
//!
//! - blocks of 32: `i = Σ code·x`, `s = Σ x`; the term is `dx·(dw·i)`, or `dx·(dw·i + mw·s)`;
//! - blocks of 256, with integer scales `c` and minima `m` of parts `j`: with `i = Σ c(j)·i(j)` and `s = Σ m(j)·s(j)` the term
//!   is `dx·(dw·i)`, or `dx·(dw·i - mw·s)`;
//! - where activations are wide, that is with sums of the second codes and their scale; to these, in `f32`, are added 128 times
//!   the sums of the first: `128·i₁ + i₂` and `128·s₁ + s₂`;
//! - floats: 16 lanes, lane `l` adding the products of elements `l`, `l + 16`, …, and then lanes `l` and `l + 8` are
//!   added, `l` and `l + 4`, `l` and `l + 2`, `l` and `l + 1`.
//!
//! With few columns the memory sets the pace: [`rows`] multiplies what it unpacks at once, and so does [`order`], where there
//! is no prefetch. With more, arithmetic does: [`panels`] unpacks some rows to bytes, once, for all columns, and [`tiles`] does
//! so for registers of matrices, where there are any. What they need to know of blocks is in [`block32`] and [`block256`];
//! [`float`] is for matrices of floats.

/// An array of what is made of each index of 16 rows. Written out: of loops over vectors, compilers of WebAssembly make arrays
/// in memory, and calls that copy them.
macro_rules! sixteen {
    ($i:ident => $value:expr) => {
        sixteen!($i => $value; 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15)
    };
    ($i:ident => $value:expr; $($index:literal)*) => {
        [$({
            const $i: usize = $index;
            $value
        }),*]
    };
}

/// Runs an expression with each of 8 groups as a constant.
macro_rules! eight {
    ($group:ident => $each:expr) => {
        eight!($group => $each; 0 1 2 3 4 5 6 7)
    };
    ($group:ident => $each:expr; $($index:literal)*) => {
        $({
            const $group: usize = $index;
            $each;
        })*
    };
}

mod block256;
mod block32;
mod float;
mod order;
mod panels;
mod rows;
#[cfg(test)]
mod tests;
mod tiles;

use self::panels::Panels;
use self::tiles::Tiled;
use super::{InScratch, Scratch};
use crate::bytes::Tile;
use crate::quant::{Block32, Block256, ColumnData, Columns, Float, TensorType, Visitor};
use crate::simd::{Simd, UNITS};
use core::marker::PhantomData;
use core::ops::Range;
use zerocopy::{FromBytes, IntoBytes, KnownLayout};

/// From this many columns on, rows are unpacked to a panel. Fewer where panels are small: there are no batches in a browser,
/// and it downloads the kernels.
const fn panel_columns<S: Simd>() -> usize {
    if S::ACCUMULATORS < 6 { 4 } else { 9 }
}

/// Rows of a matrix, as they are in the file.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    /// Whole rows.
    pub bytes: &'a [u8],
    /// What is read after them: it is fetched ahead, where that pays.
    pub after: &'a [u8],
}

/// Multiplies the rows of a matrix with columns of activations: `out.row(c)[r]` becomes the dot product of row `r` and
/// column `c`.
///
/// `rows` is `out.width()` rows of type `kind`, each of `columns.k` elements; `out` has `columns.n` rows. What is in `scratch`
/// does not matter.
///
/// # Panics
/// Where the sizes do not fit together, or the activations do not have the form that `kind` takes.
pub fn matmul<S: Simd>(
    s: S,
    kind: TensorType,
    rows: Rows<'_>,
    columns: &Columns<'_>,
    out: &mut Tile<'_, f32>,
    scratch: &mut Scratch,
) {
    let row_bytes = kind.row_bytes(columns.k).expect("a row is whole blocks");
    assert_eq!(Some(rows.bytes.len()), row_bytes.checked_mul(out.width()), "bytes of {} rows", out.width());
    assert_eq!(columns.n, out.rows(), "columns");
    assert_eq!(columns.activation(), kind.activation(), "activations for {}", kind.name());
    columns.check();
    if out.width() == 0 || columns.n == 0 {
        return;
    }
    if columns.k == 0 {
        (0..columns.n).for_each(|c| out.row(c).fill(0.0));
        return;
    }
    kind.visit(Product { s, rows, columns, out, scratch });
}

struct Product<'a, 'o, S> {
    s: S,
    rows: Rows<'a>,
    columns: &'a Columns<'a>,
    out: &'a mut Tile<'o, f32>,
    scratch: &'a mut Scratch,
}

impl<S: Simd> Visitor for Product<'_, '_, S> {
    type Out = ();

    fn float<F: Float<N, W>, const N: usize, const W: usize>(self) {
        let (ColumnData::F32(x) | ColumnData::Short(x)) = self.columns.data else { return };
        let k = self.columns.k;
        self.s.run(float::Floats::<F, N, W> { rows: self.rows, k, x, out: self.out, format: PhantomData });
    }

    fn block32<F: Block32<N>, const N: usize>(self) {
        let x = Quantized::<32, 1>::new(self.columns);
        if x.n >= panel_columns::<S>() {
            self.panels::<block32::Of32<F>, 32, 1, N>(x)
        } else if S::PREFETCHES {
            self.streams::<block32::Of32<F>, 32, 1, N>(x)
        } else {
            let work = order::InOrder { rows: self.rows.bytes, x, out: self.out, format: PhantomData::<F> };
            self.s.run(InScratch { work, scratch: self.scratch })
        }
    }

    fn block256<F: Block256<N>, const N: usize>(self) {
        let x = Quantized::<256, 16>::new(self.columns);
        if x.n >= panel_columns::<S>() {
            self.panels::<block256::Of256<F>, 256, 16, N>(x)
        } else {
            self.streams::<block256::Of256<F>, 256, 16, N>(x)
        }
    }
}

impl<S: Simd> Product<'_, '_, S> {
    fn panels<F, const LEN: usize, const SUMS: usize, const N: usize>(self, x: Quantized<'_, LEN, SUMS>)
    where
        F: Tiled<LEN, SUMS, N>,
    {
        let work = Panels { rows: self.rows, x, out: self.out, format: PhantomData::<F> };
        self.s.run(InScratch { work, scratch: self.scratch })
    }

    fn streams<F, const LEN: usize, const SUMS: usize, const N: usize>(self, x: Quantized<'_, LEN, SUMS>)
    where
        F: Format<LEN, SUMS, N>,
    {
        self.s.run(rows::Streams { rows: self.rows, x, out: self.out, format: PhantomData::<F> })
    }
}

/// A kind of blocks of `LEN` elements in `N` bytes, multiplied with activations that have `SUMS` sums per block.
trait Format<const LEN: usize, const SUMS: usize, const N: usize> {
    /// A block of 16 rows, unpacked.
    type Block: FromBytes + IntoBytes + KnownLayout;

    /// The terms of a block of 16 rows with one of each column, a lane for each row. Where columns are wide, every other one has
    /// none.
    fn terms<S: Simd, const C: usize>(
        s: S,
        rows: &[&[u8; N]; 16],
        x: &[rows::Block<'_, LEN, SUMS>; C],
        wide: bool,
        ahead: rows::Ahead<'_>,
    ) -> [S::Floats; C];

    /// Unpacks blocks of 16 rows to the parts `r` of a panel.
    fn unpack<S: Simd, const R: usize>(s: S, rows: &[&[[u8; N]]; 16], r: usize, panel: &mut [[Self::Block; R]]);

    /// Whether [`Self::add_block`] loops over the groups of a block, one at a time, with no more sums than registers hold.
    /// Else it writes out as many as it can, in whatever order a compiler likes.
    fn loops<S: Simd>() -> bool {
        false
    }

    /// Adds the terms of a block of `R` times 16 rows, block `b` of each column's part. Where columns are wide, every other one
    /// has none.
    fn add_block<S: Simd, const R: usize, const C: usize>(
        s: S,
        block: &[Self::Block; R],
        x: &[Column<'_, LEN, SUMS>; C],
        wide: bool,
        b: usize,
        y: &mut [[S::Floats; R]; C],
    );
}

/// Quantized columns in blocks of `LEN` with `SUMS` sums each. Where they are wide, those of second codes count, too: each
/// follows that of the first, and has the product.
#[derive(Clone, Copy)]
struct Quantized<'a, const LEN: usize, const SUMS: usize> {
    n: usize,
    wide: bool,
    /// Blocks per column.
    blocks: usize,
    /// Blocks from one column to the next.
    stride: usize,
    qs: &'a [[i8; LEN]],
    d: &'a [f32],
    sums: &'a [[i16; SUMS]],
}

/// One column.
#[derive(Clone, Copy)]
struct Column<'a, const LEN: usize, const SUMS: usize> {
    qs: &'a [[i8; LEN]],
    d: &'a [f32],
    sums: &'a [[i16; SUMS]],
}

impl<'a, const LEN: usize, const SUMS: usize> Quantized<'a, LEN, SUMS> {
    fn new(columns: &Columns<'a>) -> Self {
        let (qs, d, sums): (&[i8], &[f32], &[i16]) = match columns.data {
            ColumnData::F32(_) | ColumnData::Short(_) => (&[], &[], &[]),
            ColumnData::Q8 { qs, d, sums } | ColumnData::Q8K { qs, d, sums } => (qs, d, sums),
        };
        let (qs, sums) = (qs.as_chunks().0, sums.as_chunks().0);
        let n = if columns.wide { 2 * columns.n } else { columns.n };
        let stride = columns.activation().stride(columns.k) / LEN;
        Self { n, wide: columns.wide, blocks: columns.k / LEN, stride, qs, d, sums }
    }

    /// Where the product with column `c` goes; nowhere, if it has none of its own.
    #[inline(always)]
    fn product(&self, c: usize) -> Option<usize> {
        match self.wide {
            true => (c % 2 == 1).then_some(c / 2),
            false => Some(c),
        }
    }

    /// Blocks `first..first + count` of column `c`.
    #[inline(always)]
    fn part(&self, c: usize, first: usize, count: usize) -> Column<'a, LEN, SUMS> {
        // Second codes lie behind all of the first.
        let c = if self.wide { c / 2 + c % 2 * (self.n / 2) } else { c };
        let start = c * self.stride + first;
        let range = start..start + count;
        Column { qs: &self.qs[range.clone()], d: &self.d[range.clone()], sums: &self.sums[range] }
    }

    /// Blocks `first..first + count` of columns `c..c + C`; beyond the last column it is repeated.
    #[inline(always)]
    fn columns<const C: usize>(&self, c: usize, first: usize, count: usize) -> [Column<'a, LEN, SUMS>; C] {
        let mut columns = [self.part(c, first, count); C];
        for (i, column) in columns.iter_mut().enumerate() {
            *column = self.part((c + i).min(self.n - 1), first, count);
        }
        columns
    }
}

/// The sums of first and second codes, together.
#[inline(always)]
fn wide_floats<S: Simd, const R: usize>(s: S, [first, second]: [[S::Ints; R]; 2]) -> [S::Floats; R] {
    let units = s.splat_float(UNITS as f32);
    let mut floats = second.map(|second| s.to_floats(second));
    for (float, first) in floats.iter_mut().zip(first) {
        *float = s.add(s.mul(units, s.to_floats(first)), *float);
    }
    floats
}

/// Blocks `blocks` of rows `first..first + 16` of a matrix whose rows are `width` blocks; beyond the last row it is repeated.
#[inline(always)]
fn sixteen_rows<const N: usize>(rows: &[u8], width: usize, first: usize, blocks: Range<usize>) -> [&[[u8; N]]; 16] {
    let all = rows.as_chunks::<N>().0;
    let last = all.len() / width - 1;
    let mut sixteen: [&[[u8; N]]; 16] = [&[]; 16];
    for (r, row) in sixteen.iter_mut().enumerate() {
        *row = &all[(first + r).min(last) * width + blocks.start..][..blocks.len()];
    }
    sixteen
}

/// Codes in groups of 4.
#[inline(always)]
fn fours<const LEN: usize, const G: usize>(codes: &[i8; LEN]) -> &[[i8; 4]; G] {
    codes.as_chunks().0.first_chunk().expect("as many groups as there are")
}

/// The first `L` numbers, with zeros for those that there are not.
#[inline(always)]
fn padded<T: Copy + Default, const L: usize>(from: &[T]) -> [T; L] {
    if let Some(all) = from.first_chunk() {
        return *all;
    }
    let mut all = [T::default(); L];
    all[..from.len()].copy_from_slice(from);
    all
}
