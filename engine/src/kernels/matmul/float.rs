//! Matrices of floats: two rows by up to three columns at a time, 16 lanes each.
//!
//! The rows that follow are prefetched in the order in which they lie in memory. That order matters: asking for lines of
//! two rows in turns is half as fast.

use crate::bytes::Tile;
use crate::quant::Float;
use crate::simd::{Kernel, Simd};
use core::marker::PhantomData;

/// Distance of the prefetch in bytes.
const AHEAD: usize = 8192;

/// The product with a matrix of floats.
pub(super) struct Floats<'a, 'o, F, const N: usize, const W: usize> {
    pub rows: &'a [u8],
    pub k: usize,
    pub x: &'a [f32],
    pub out: &'a mut Tile<'o, f32>,
    pub format: PhantomData<F>,
}

impl<F: Float<N, W>, const N: usize, const W: usize> Kernel for Floats<'_, '_, F, N, W> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let n = self.out.rows();
        for row in (0..self.out.width()).step_by(2) {
            let mut c = 0;
            while c < n {
                if n - c >= 3 {
                    self.tile::<S, 3>(s, row, c);
                    c += 3;
                } else {
                    self.tile::<S, 1>(s, row, c);
                    c += 1;
                }
            }
        }
    }
}

impl<F: Float<N, W>, const N: usize, const W: usize> Floats<'_, '_, F, N, W> {
    /// Rows `row` and, where there is one, `row + 1`, times columns `c..c + C`.
    #[inline(always)]
    fn tile<S: Simd, const C: usize>(&mut self, s: S, row: usize, c: usize) {
        let (k, bytes) = (self.k, self.k * N);
        let next = (row + 1).min(self.out.width() - 1);
        let rows = [&self.rows[row * bytes..][..bytes], &self.rows[next * bytes..][..bytes]];
        let mut x: [&[f32]; C] = [&[]; C];
        for (i, x) in x.iter_mut().enumerate() {
            *x = &self.x[(c + i) * k..][..k];
        }
        let sums = dots::<S, F, N, W, C>(s, rows, x);
        for (i, pair) in sums.iter().enumerate() {
            let out = self.out.row(c + i);
            (out[row], out[next]) = (pair[0], pair[1]);
            out[row] = pair[0];
        }
    }
}

/// The dot products of two rows with each of `C` columns.
#[inline(always)]
fn dots<S: Simd, F: Float<N, W>, const N: usize, const W: usize, const C: usize>(
    s: S,
    rows: [&[u8]; 2],
    x: [&[f32]; C],
) -> [[f32; 2]; C] {
    let mut sums = [[[s.splat_float(0.0); 2]; 2]; C];
    let whole = x[0].len() / 16;
    let halves = rows.map(|row| &row.as_chunks::<W>().0.as_chunks::<2>().0[..whole]);
    let columns = x.map(|x| &x.as_chunks::<8>().0.as_chunks::<2>().0[..whole]);
    let ahead = AHEAD.max(2 * rows[0].len());
    for i in 0..whole {
        for line in (0..32 * N).step_by(64) {
            s.prefetch_far(rows[0], ahead + 32 * N * i + line);
        }
        for half in 0..2 {
            let w = halves.map(|row| &row[i][half]);
            let w = [F::floats(s, w[0]), F::floats(s, w[1])];
            for (sums, x) in sums.iter_mut().zip(columns) {
                add_products(s, &mut sums[half], w, s.floats(&x[i][half]));
            }
        }
    }
    for half in 0..2 {
        let start = 16 * whole + 8 * half;
        let w = [F::floats(s, &padded(rows[0], start * N)), F::floats(s, &padded(rows[1], start * N))];
        for (sums, x) in sums.iter_mut().zip(x) {
            add_products(s, &mut sums[half], w, s.floats(&padded(x, start)));
        }
    }
    let mut dots = [[0.0; 2]; C];
    for (dots, sums) in dots.iter_mut().zip(sums) {
        *dots = [total(s, sums[0][0], sums[1][0]), total(s, sums[0][1], sums[1][1])];
    }
    dots
}

/// Adds the products of 8 elements of two rows and a column. Zeros that pad them change nothing: a sum is never -0.
#[inline(always)]
fn add_products<S: Simd>(s: S, sums: &mut [S::Floats; 2], w: [S::Floats; 2], x: S::Floats) {
    for (sum, w) in sums.iter_mut().zip(w) {
        *sum = s.add(*sum, s.mul(w, x));
    }
}

/// `L` elements from `start` on, with zeros for those that there are not.
#[inline(always)]
fn padded<T: Copy + Default, const L: usize>(from: &[T], start: usize) -> [T; L] {
    let mut all = [T::default(); L];
    for (to, &from) in all.iter_mut().zip(from.iter().skip(start)) {
        *to = from;
    }
    all
}

/// The sum of 16 lanes by halving.
#[inline(always)]
fn total<S: Simd>(s: S, low: S::Floats, high: S::Floats) -> f32 {
    let mut a = [0.0; 8];
    s.store_floats(s.add(low, high), &mut a);
    let four = [a[0] + a[4], a[1] + a[5], a[2] + a[6], a[3] + a[7]];
    (four[0] + four[2]) + (four[1] + four[3])
}
