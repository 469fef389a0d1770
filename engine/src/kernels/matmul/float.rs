//! Matrices of floats: some rows by some columns at a time, a vector of 16 lanes for each of their products.
//!
//! The rows that follow are prefetched in the order in which they lie in memory. That order matters: asking for lines of
//! two rows in turns is half as fast.

use super::Rows;
use super::rows::Ahead;
use crate::bytes::Tile;
use crate::quant::Float;
use crate::simd::{Kernel, Simd};
use core::marker::PhantomData;

/// The product with a matrix of floats.
pub(super) struct Floats<'a, 'o, F, const N: usize, const W: usize> {
    pub rows: Rows<'a>,
    pub k: usize,
    pub x: &'a [f32],
    pub out: &'a mut Tile<'o, f32>,
    pub format: PhantomData<F>,
}

impl<F: Float<N, W>, const N: usize, const W: usize> Kernel for Floats<'_, '_, F, N, W> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let mut c = 0;
        if S::ACCUMULATORS >= 24 {
            while self.out.rows() - c >= 6 {
                self.columns::<S, 4, 6>(s, c);
                c += 6;
            }
        }
        while self.out.rows() - c >= 3 {
            match S::ACCUMULATORS {
                ..6 => self.columns::<S, 1, 3>(s, c),
                _ => self.columns::<S, 2, 3>(s, c),
            }
            c += 3;
        }
        while c < self.out.rows() {
            self.columns::<S, 2, 1>(s, c);
            c += 1;
        }
    }
}

impl<F: Float<N, W>, const N: usize, const W: usize> Floats<'_, '_, F, N, W> {
    /// All rows, `R` at a time, times columns `c..c + C`.
    #[inline(always)]
    fn columns<S: Simd, const R: usize, const C: usize>(&mut self, s: S, c: usize) {
        let (k, bytes, last) = (self.k, self.k * N, self.out.width().saturating_sub(1));
        let mut x: [&[f32]; C] = [&[]; C];
        for (i, x) in x.iter_mut().enumerate() {
            *x = &self.x[(c + i) * k..][..k];
        }
        for first in (0..self.out.width()).step_by(R) {
            // Beyond the last row it is repeated, and what comes of it left out.
            let mut rows: [&[u8]; R] = [&[]; R];
            for (r, row) in rows.iter_mut().enumerate() {
                *row = &self.rows.bytes[(first + r).min(last) * bytes..][..bytes];
            }
            let ahead = Ahead::new(self.rows, S::AHEAD.max(R * bytes) + first * bytes);
            let sums = dots::<S, F, N, W, R, C>(s, rows, x, ahead);
            for (i, sums) in sums.iter().enumerate() {
                let out = &mut self.out.row(c + i)[first..];
                for (out, sum) in out.iter_mut().zip(sums) {
                    *out = *sum;
                }
            }
        }
    }
}

/// The dot products of `R` rows with each of `C` columns.
#[inline(always)]
fn dots<S: Simd, F: Float<N, W>, const N: usize, const W: usize, const R: usize, const C: usize>(
    s: S,
    rows: [&[u8]; R],
    x: [&[f32]; C],
    ahead: Ahead<'_>,
) -> [[f32; R]; C] {
    let mut sums = [[s.splat_float(0.0); R]; C];
    let whole = x[0].len() / 16;
    let mut vectors: [&[[u8; W]]; R] = [&[]; R];
    for (vectors, row) in vectors.iter_mut().zip(rows) {
        *vectors = &row.as_chunks().0[..whole];
    }
    let mut columns: [&[[f32; 16]]; C] = [&[]; C];
    for (column, x) in columns.iter_mut().zip(x) {
        *column = &x.as_chunks().0[..whole];
    }
    for i in 0..whole {
        ahead.prefetch(s, R * W * i, R * W);
        let mut w = [s.splat_float(0.0); R];
        for (w, vectors) in w.iter_mut().zip(vectors) {
            *w = F::floats(s, &vectors[i]);
        }
        for (sums, column) in sums.iter_mut().zip(columns) {
            add_products::<S, F, N, W, R>(s, sums, w, s.floats(&column[i]));
        }
    }
    if x[0].len() > 16 * whole {
        let mut w = [s.splat_float(0.0); R];
        for (w, row) in w.iter_mut().zip(rows) {
            *w = F::floats(s, &super::padded(&row[whole * W..]));
        }
        for (sums, x) in sums.iter_mut().zip(x) {
            add_products::<S, F, N, W, R>(s, sums, w, s.floats(&super::padded(&x[16 * whole..])));
        }
    }
    totals(s, &sums)
}

/// Adds the products of 16 elements of some rows and a column. Zeros that pad them change nothing: a sum is never -0.
#[inline(always)]
fn add_products<S: Simd, F: Float<N, W>, const N: usize, const W: usize, const R: usize>(
    s: S,
    sums: &mut [S::Floats; R],
    w: [S::Floats; R],
    x: S::Floats,
) {
    for (sum, w) in sums.iter_mut().zip(w) {
        *sum = if F::EXACT { s.add_exact(*sum, w, x) } else { s.add(*sum, s.mul(w, x)) };
    }
}

/// The sums of the lanes of each vector.
#[inline(always)]
fn totals<S: Simd, const R: usize, const C: usize>(s: S, sums: &[[S::Floats; R]; C]) -> [[f32; R]; C] {
    let mut totals = [[0.0; R]; C];
    for (totals, sums) in totals.as_flattened_mut().chunks_mut(16).zip(sums.as_flattened().chunks(16)) {
        let mut sixteen = [s.splat_float(0.0); 16];
        sixteen[..sums.len()].copy_from_slice(sums);
        let mut lanes = [0.0; 16];
        s.store_floats(s.sum_lanes(&sixteen), &mut lanes);
        totals.copy_from_slice(&lanes[..sums.len()]);
    }
    totals
}
