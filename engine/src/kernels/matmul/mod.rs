//! Products of a matrix, in the file's own bytes, with columns of activations.
//!
//! The arithmetic is canonical: whatever the path, the level and the number of columns, an element of the result is made
//! of the same roundings. With `b` ascending over the blocks of a row, it is `0 + term(0) + term(1) + …`, and with weights
//! `dw` and `mw` scale and minimum of the block, `dx` scale of the activations, and exact integers
//!
//! - blocks of 32: `i = Σ code·x`, `s = Σ x`; the term is `(dw·dx)·i`, or `(dw·dx)·i + mw·(dx·s)`;
//! - blocks of 256, with integer scales `c` and minima `m` of parts `j`: the term is `(dw·dx)·Σ c(j)·i(j)`, or that less
//!   `(mw·dx)·Σ m(j)·s(j)`;
//! - floats: 16 lanes, lane `l` adding the products of elements `l`, `l + 16`, …, and then lanes `l` and `l + 8` are
//!   added, `l` and `l + 4`, `l` and `l + 2`, `l` and `l + 1`.
//!
//! There are two paths. With few columns the memory sets the pace: [`rows`] reads the matrix once, in the order of the
//! file. With more, arithmetic does: [`panels`] unpacks some rows to bytes, once, for all columns. Both have a lane per
//! row, so the sums over blocks are in order by nature. [`float`] is for matrices of floats.

mod float;
mod panels;
mod rows;
#[cfg(test)]
mod tests;

use crate::bytes::Tile;
use crate::quant::{Block32, Block256, ColumnData, Columns, Float, TensorType, Visitor};
use crate::simd::Simd;
use core::marker::PhantomData;

/// From this many columns on, rows are unpacked to a panel.
const PANEL_COLUMNS: usize = 4;

/// Multiplies the rows of a matrix with columns of activations: `out.row(c)[r]` becomes the dot product of row `r` and
/// column `c`.
///
/// `rows` is `out.width()` whole rows of type `kind`, each of `columns.k` elements; `out` has `columns.n` rows.
///
/// # Panics
/// Where the sizes do not fit together, or the activations do not have the form that `kind` takes.
pub fn matmul<S: Simd>(s: S, kind: TensorType, rows: &[u8], columns: &Columns<'_>, out: &mut Tile<'_, f32>) {
    let row_bytes = kind.row_bytes(columns.k).expect("a row is whole blocks");
    assert_eq!(Some(rows.len()), row_bytes.checked_mul(out.width()), "bytes of {} rows", out.width());
    assert_eq!(columns.n, out.rows(), "columns");
    assert_eq!(columns.activation(), kind.activation(), "activations for {}", kind.name());
    columns.check();
    if columns.k == 0 {
        (0..columns.n).for_each(|c| out.row(c).fill(0.0));
        return;
    }
    kind.visit(Product { s, rows, columns, out });
}

struct Product<'a, 'o, S> {
    s: S,
    rows: &'a [u8],
    columns: &'a Columns<'a>,
    out: &'a mut Tile<'o, f32>,
}

impl<S: Simd> Visitor for Product<'_, '_, S> {
    type Out = ();

    fn float<F: Float<N, W>, const N: usize, const W: usize>(self) {
        let ColumnData::F32(x) = self.columns.data else { return };
        let k = self.columns.k;
        self.s.run(float::Floats::<F, N, W> { rows: self.rows, k, x, out: self.out, format: PhantomData });
    }

    fn block32<F: Block32<N>, const N: usize>(self) {
        let (rows, out, format) = (self.rows, self.out, PhantomData::<F>);
        let x = Quantized::<32, 1>::new(self.columns);
        if x.n < PANEL_COLUMNS {
            self.s.run(rows::Rows32::<F, N> { rows, x, out, format })
        } else {
            self.s.run(panels::Panels32::<F, N> { rows, x, out, format })
        }
    }

    fn block256<F: Block256<N>, const N: usize>(self) {
        let (rows, out, format) = (self.rows, self.out, PhantomData::<F>);
        let x = Quantized::<256, 16>::new(self.columns);
        if x.n < PANEL_COLUMNS {
            self.s.run(rows::Rows256::<F, N> { rows, x, out, format })
        } else {
            self.s.run(panels::Panels256::<F, N> { rows, x, out, format })
        }
    }
}

/// Quantized columns in blocks of `LEN` with `SUMS` sums each.
#[derive(Clone, Copy)]
struct Quantized<'a, const LEN: usize, const SUMS: usize> {
    n: usize,
    /// Blocks per column.
    blocks: usize,
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
            ColumnData::F32(_) => (&[], &[], &[]),
            ColumnData::Q8 { qs, d, sums } | ColumnData::Q8K { qs, d, sums } => (qs, d, sums),
        };
        let (qs, sums) = (qs.as_chunks().0, sums.as_chunks().0);
        Self { n: columns.n, blocks: columns.k / LEN, qs, d, sums }
    }

    /// Blocks `first..first + count` of column `c`.
    #[inline(always)]
    fn part(&self, c: usize, first: usize, count: usize) -> Column<'a, LEN, SUMS> {
        let start = c * self.blocks + first;
        let range = start..start + count;
        Column { qs: &self.qs[range.clone()], d: &self.d[range.clone()], sums: &self.sums[range] }
    }

    #[inline(always)]
    fn column(&self, c: usize) -> Column<'a, LEN, SUMS> {
        self.part(c, 0, self.blocks)
    }
}

/// Blocks `from..from + count` of rows `first..first + 8`; beyond the last row it is repeated, and what comes of it left out.
#[inline(always)]
fn eight_rows<const N: usize>(
    rows: &[u8],
    row_bytes: usize,
    first: usize,
    from: usize,
    count: usize,
) -> [&[[u8; N]]; 8] {
    let last = (rows.len() / row_bytes).saturating_sub(1);
    let mut eight: [&[[u8; N]]; 8] = [&[]; 8];
    for (i, row) in eight.iter_mut().enumerate() {
        let start = (first + i).min(last) * row_bytes + from * N;
        *row = rows[start..start + count * N].as_chunks().0;
    }
    eight
}
