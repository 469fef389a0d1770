//! The inner loop of both of attention's products: `to[row][lane] += Σ_t a[row][t] * b[t][lane]`, t ascending.

use super::cached::KvElement;
use super::{BLOCK, LANES};
use crate::simd::{Kernel, Simd};
use core::marker::PhantomData;
use core::ops::Range;

/// Bytes of a cache line.
const LINE: usize = 64;
/// Rows of vectors between two prefetches of some lines. In the loop over rows, registers would not suffice.
const STRETCH: usize = 8;

/// How products are made and added.
pub trait Products {
    /// Whether they are exact, as those with factors of 13 bits are where the others are `f16`: queries and weights are that
    /// short then.
    const EXACT: bool;
}

/// One instruction may do both.
pub struct Exact;

/// Each operation rounds.
pub struct Rounded;

impl Products for Exact {
    const EXACT: bool = true;
}

impl Products for Rounded {
    const EXACT: bool = false;
}

/// Rows of up to 64 numbers.
pub trait Vectors: Copy {
    /// How many rows there are.
    fn len(self) -> usize;

    /// Some of the rows.
    fn rows(self, rows: Range<usize>) -> Self;

    /// The 16 numbers of each of the vectors `v..v + V` of row `t`.
    fn lanes<S: Simd, const V: usize>(self, s: S, t: usize, v: usize) -> [S::Floats; V];
}

impl<E: KvElement> Vectors for &[[E; BLOCK]] {
    #[inline(always)]
    fn len(self) -> usize {
        self.len()
    }

    #[inline(always)]
    fn rows(self, rows: Range<usize>) -> Self {
        &self[rows]
    }

    #[inline(always)]
    fn lanes<S: Simd, const V: usize>(self, s: S, t: usize, v: usize) -> [S::Floats; V] {
        let stored: &[[E; LANES]; V] = self[t].as_chunks().0[v..].first_chunk().expect("V vectors");
        let mut lanes = [s.splat_float(0.0); V];
        for (lanes, stored) in lanes.iter_mut().zip(stored) {
            *lanes = E::lanes(s, stored);
        }
        lanes
    }
}

/// An outer product of `R` rows.
pub(super) struct Outer<'a, P, B, const R: usize, const W: usize> {
    /// The factors of each row, as many as `b` has.
    pub a: [&'a [f32]; R],
    /// The vectors.
    pub b: B,
    /// How many vectors of 16 lanes of each row of `b` there are.
    pub vectors: usize,
    /// Sums of each row, at `at`.
    pub to: &'a mut [[f32; W]; R],
    pub at: usize,
    /// Whether sums start at zero, not with what is there.
    pub fresh: bool,
    /// What is asked for meanwhile, evenly.
    pub ahead: &'a [u8],
    pub products: PhantomData<P>,
}

impl<P: Products, B: Vectors, const R: usize, const W: usize> Kernel for Outer<'_, P, B, R, W> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        // As many vectors at a time as leave room for all sums in registers.
        let room = S::ACCUMULATORS / R;
        let mut v = 0;
        if room >= 4 {
            while self.vectors - v >= 4 {
                self.columns::<S, 4>(s, v);
                v += 4;
            }
        }
        if room >= 2 {
            while self.vectors - v >= 2 {
                self.columns::<S, 2>(s, v);
                v += 2;
            }
        }
        while v < self.vectors {
            self.columns::<S, 1>(s, v);
            v += 1;
        }
    }
}

impl<P: Products, B: Vectors, const R: usize, const W: usize> Outer<'_, P, B, R, W> {
    /// Vectors `v..v + V`. All loops but that over t have constant bounds: only then do sums stay in registers.
    #[inline(always)]
    fn columns<S: Simd, const V: usize>(&mut self, s: S, v: usize) {
        let a = self.a.map(|a| &a[..self.b.len()]);
        let mut sums = [[s.splat_float(0.0); V]; R];
        if !self.fresh {
            for (sums, to) in sums.iter_mut().zip(&mut *self.to) {
                for (sum, to) in sums.iter_mut().zip(vectors::<V>(&mut to[self.at..], v)) {
                    *sum = s.floats(to);
                }
            }
        }
        let ahead = if v == 0 { self.ahead } else { &[] };
        let each = ahead.len().div_ceil(LINE).div_ceil(self.b.len().max(1));
        for start in (0..self.b.len()).step_by(STRETCH) {
            let stretch = start..self.b.len().min(start + STRETCH);
            if S::PREFETCHES {
                for line in stretch.start * each..stretch.end * each {
                    s.prefetch(ahead, line * LINE);
                }
            }
            for t in stretch {
                let lanes = self.b.lanes::<S, V>(s, t, v);
                for (sums, a) in sums.iter_mut().zip(&a) {
                    let a = s.splat_float(a[t]);
                    for (sum, lanes) in sums.iter_mut().zip(&lanes) {
                        *sum = if P::EXACT { s.add_exact(*sum, a, *lanes) } else { s.add(*sum, s.mul(a, *lanes)) };
                    }
                }
            }
        }
        for (sums, to) in sums.iter().zip(&mut *self.to) {
            for (sum, to) in sums.iter().zip(vectors::<V>(&mut to[self.at..], v)) {
                s.store_floats(*sum, to);
            }
        }
    }
}

/// Vectors `v..v + V` of a row.
#[inline(always)]
pub(super) fn vectors<const V: usize>(row: &mut [f32], v: usize) -> &mut [[f32; LANES]; V] {
    row.as_chunks_mut().0[v..].first_chunk_mut().expect("V vectors")
}

/// Work on rows that takes several at a time.
pub(super) trait Tiles {
    /// Does rows `first..first + R`.
    fn tile<S: Simd, const R: usize>(&mut self, s: S, first: usize);
}

/// Does `rows`.
#[inline(always)]
pub(super) fn tiles<S: Simd>(s: S, rows: Range<usize>, work: &mut impl Tiles) {
    let mut row = rows.start;
    while row < rows.end {
        let count = match rows.end - row {
            left @ 1..=2 => left,
            // Three leave no room for what feeds their sums: these would wait in memory, for as long as a store takes to be
            // read back, which is three times as long where it happens to cross the border of a cache line.
            _ if S::ACCUMULATORS < 6 => 2,
            left @ 3..=4 => left,
            5 => 3,
            _ => 6,
        };
        match count {
            1 => work.tile::<S, 1>(s, row),
            2 => work.tile::<S, 2>(s, row),
            3 => work.tile::<S, 3>(s, row),
            4 => work.tile::<S, 4>(s, row),
            _ => work.tile::<S, 6>(s, row),
        }
        row += count;
    }
}
