//! Products with blocks of 32.

use super::panels::{unroll, writes_out};
use super::rows::{Ahead, Block};
use super::{Column, Format, fours, wide_floats};
use crate::quant::{Block32, Codes};
use crate::simd::{Simd, UNITS};
use core::hint::black_box;
use core::marker::PhantomData;
use zerocopy::{FromBytes, IntoBytes, KnownLayout};

/// A format whose blocks are 32 elements.
pub(super) struct Of32<F>(PhantomData<F>);

/// A block of 32 of 16 rows.
#[derive(FromBytes, IntoBytes, KnownLayout)]
#[repr(C, align(64))]
pub(super) struct Unpacked {
    pub(super) codes: [[u8; 64]; 8],
    pub(super) scale: [f32; 16],
    pub(super) min: [f32; 16],
}

impl<F: Block32<N>, const N: usize> Format<32, 1, N> for Of32<F> {
    type Block = Unpacked;

    #[inline(always)]
    fn terms<S: Simd, const C: usize>(
        s: S,
        rows: &[&[u8; N]; 16],
        x: &[Block<'_, 32, 1>; C],
        wide: bool,
        ahead: Ahead<'_>,
    ) -> [S::Floats; C] {
        let sums = code_sums::<S, F, N, C>(s, rows, x, ahead);
        let [scale, min] = F::scale_min_each(s, rows);
        let term = |sums: S::Floats, of_x: f32, d: f32| {
            let mut inner = s.mul(scale, sums);
            if F::MIN {
                inner = s.add(inner, s.mul(min, s.splat_float(of_x)));
            }
            s.mul(s.splat_float(d), inner)
        };
        let mut terms = [scale; C];
        if wide {
            for second in (1..C).step_by(2) {
                let [of_first, of_x] = [second - 1, second].map(|c| x[c].sums[0] as f32);
                let sums = wide_floats(s, [[sums[second - 1]], [sums[second]]])[0];
                terms[second] = term(sums, UNITS as f32 * of_first + of_x, x[second].d);
            }
            return terms;
        }
        for ((terms, x), sums) in terms.iter_mut().zip(x).zip(sums) {
            *terms = term(s.to_floats(sums), x.sums[0] as f32, x.d);
        }
        terms
    }

    #[inline(always)]
    fn unpack<S: Simd, const R: usize>(s: S, rows: &[&[[u8; N]]; 16], r: usize, panel: &mut [[Unpacked; R]]) {
        for (b, to) in panel.iter_mut().enumerate() {
            let (blocks, to) = (sixteen!(I => &rows[I][b]), &mut to[r]);
            let [low, high] = packed_rows::<S, F, N>(s, &blocks);
            store_half::<S, F, N, 0>(s, low, &mut to.codes);
            store_half::<S, F, N, 1>(s, high, &mut to.codes);
            let [scale, min] = F::scale_min_each(s, &blocks);
            s.store_floats(scale, &mut to.scale);
            s.store_floats(min, &mut to.min);
        }
    }

    /// Where nothing else happens to the sums of a block: 55 G multiply-adds per second, not 49 (Q4_0, 128 columns of 576,
    /// Node 24 on a Zen 4).
    #[inline(always)]
    fn loops<S: Simd>() -> bool {
        S::ACCUMULATORS < 6 && !S::SUMS_32 && F::CODES.adapted::<S>().run() == 8
    }

    #[inline(always)]
    fn add_block<S: Simd, const R: usize, const C: usize>(
        s: S,
        block: &[Unpacked; R],
        x: &[Column<'_, 32, 1>; C],
        wide: bool,
        b: usize,
        y: &mut [[S::Floats; R]; C],
    ) {
        let kind = F::CODES.adapted::<S>();
        let mut open = [[s.open(s.splat_int(0)); R]; C];
        for (open, x) in open.iter_mut().zip(x) {
            *open = [kind.open(s, x.sums[b][0]); R];
        }
        let sums = match writes_out::<S>() {
            true => sums::<S, F, N, R, C>(s, block, x, b, open),
            false => sums_of_runs::<S, F, N, R, C>(s, block, x, b, open),
        };
        if wide {
            for second in (1..C).step_by(2) {
                let [of_first, of_x] = [second - 1, second].map(|c| x[c].sums[b][0] as f32);
                let sums = wide_floats(s, [sums[second - 1], sums[second]]);
                let of_x = UNITS as f32 * of_first + of_x;
                add_terms::<S, F, N, R>(s, block, sums, of_x, x[second].d[b], &mut y[second]);
            }
            return;
        }
        for ((y, sums), x) in y.iter_mut().zip(sums).zip(x) {
            let sums = sums.map(|sums| s.to_floats(sums));
            add_terms::<S, F, N, R>(s, block, sums, x.sums[b][0] as f32, x.d[b], y);
        }
    }
}

/// Adds the terms of a block with one of a column.
#[inline(always)]
fn add_terms<S: Simd, F: Block32<N>, const N: usize, const R: usize>(
    s: S,
    block: &[Unpacked; R],
    sums: [S::Floats; R],
    of_x: f32,
    d: f32,
    y: &mut [S::Floats; R],
) {
    let (d, of_x) = (s.splat_float(d), s.splat_float(of_x));
    for ((y, i), block) in y.iter_mut().zip(sums).zip(block) {
        let mut inner = s.mul(s.floats(&block.scale), i);
        if F::MIN {
            inner = s.add(inner, s.mul(s.floats(&block.min), of_x));
        }
        *y = s.add(*y, s.mul(d, inner));
    }
}

/// Adds the products of the codes of block `b` to `open`.
#[inline(always)]
fn sums<S: Simd, F: Block32<N>, const N: usize, const R: usize, const C: usize>(
    s: S,
    block: &[Unpacked; R],
    x: &[Column<'_, 32, 1>; C],
    b: usize,
    mut open: [[S::Partial; R]; C],
) -> [[S::Ints; R]; C] {
    let codes = x.each_ref().map(|x| &x.qs[b]);
    let kind = F::CODES.adapted::<S>();
    eight!(G => kind.add_group::<S, R, C, G>(s, block.each_ref().map(|block| &block.codes[G]), &codes, &mut open));
    open.map(|open| open.map(|open| s.close(open)))
}

/// The same in loops, over as many groups as partial sums hold.
#[inline(always)]
fn sums_of_runs<S: Simd, F: Block32<N>, const N: usize, const R: usize, const C: usize>(
    s: S,
    block: &[Unpacked; R],
    x: &[Column<'_, 32, 1>; C],
    b: usize,
    mut open: [[S::Partial; R]; C],
) -> [[S::Ints; R]; C] {
    let kind = F::CODES.adapted::<S>();
    let mut codes = [&[[0; 4]; 8]; C];
    for (codes, x) in codes.iter_mut().zip(x) {
        *codes = fours(&x.qs[b]);
    }
    let run = if S::SUMS_32 { 8 } else { kind.run() };
    // A compiler that knew how many there are would write them out, and sort them by sums.
    let (groups, written) = if Of32::<F>::loops::<S>() { (black_box(run), 1) } else { (run, unroll::<S>(run)) };
    let mut sums = [[s.splat_int(0); R]; C];
    for first in (0..8).step_by(run) {
        for g in (first..first + groups).step_by(written) {
            for g in g..g + written {
                let mut w = [s.splat(0); R];
                for (w, block) in w.iter_mut().zip(block) {
                    *w = s.bytes(&block.codes[g]);
                }
                for (open, codes) in open.iter_mut().zip(codes) {
                    let x = s.splat4(&codes[g]);
                    for (open, w) in open.iter_mut().zip(w) {
                        *open = kind.dot(s, *open, w, x);
                    }
                }
            }
        }
        for (sums, open) in sums.as_flattened_mut().iter_mut().zip(open.as_flattened_mut()) {
            *sums = s.close(*open);
            *open = s.open(*sums);
        }
    }
    sums
}

/// What the codes of a block of 16 rows are [split](Block32::split) from: of elements 0 to 15, in groups of four, then of 16 to
/// 31.
#[inline(always)]
pub(super) fn packed_rows<S: Simd, F: Block32<N>, const N: usize>(s: S, blocks: &[&[u8; N]; 16]) -> [[S::Bytes; 4]; 2] {
    // As sums are: rows r, r + 4, r + 8 and r + 12 share a vector, so that turning its quarters puts them in order.
    let [p, q] = F::packed(s, [blocks[0], blocks[4], blocks[8], blocks[12]]);
    let [t, u] = F::packed(s, [blocks[1], blocks[5], blocks[9], blocks[13]]);
    let [v, w] = F::packed(s, [blocks[2], blocks[6], blocks[10], blocks[14]]);
    let [x, y] = F::packed(s, [blocks[3], blocks[7], blocks[11], blocks[15]]);
    let low = s.turn([p, t, v, x]);
    [low, if F::SHARED { low } else { s.turn([q, u, w, y]) }]
}

/// Stores half `HALF` of the codes of a block of 16 rows.
#[inline(always)]
fn store_half<S: Simd, F: Block32<N>, const N: usize, const HALF: usize>(
    s: S,
    [a, b, c, d]: [S::Bytes; 4],
    to: &mut [[u8; 64]; 8],
) {
    s.store(half::<S, F, N, HALF>(s, a), &mut to[4 * HALF]);
    s.store(half::<S, F, N, HALF>(s, b), &mut to[4 * HALF + 1]);
    s.store(half::<S, F, N, HALF>(s, c), &mut to[4 * HALF + 2]);
    s.store(half::<S, F, N, HALF>(s, d), &mut to[4 * HALF + 3]);
}

/// The codes of half `HALF` that are packed in some bytes.
#[inline(always)]
fn half<S: Simd, F: Block32<N>, const N: usize, const HALF: usize>(s: S, packed: S::Bytes) -> S::Bytes {
    F::CODES.adapt(s, F::split(s, [packed; 2])[HALF])
}

/// The integer sums of a block of 16 rows, a lane for each.
#[inline(always)]
fn code_sums<S: Simd, F: Block32<N>, const N: usize, const C: usize>(
    s: S,
    rows: &[&[u8; N]; 16],
    x: &[Block<'_, 32, 1>; C],
    ahead: Ahead<'_>,
) -> [S::Ints; C] {
    let kind = F::CODES.adapted::<S>();
    // Four lanes make up a sum, and each takes its part of the offset, where that costs nothing.
    const { assert!(F::CODES.offset() % 4 == 0) };
    let part = if S::SUMS_32 { kind.offset() / 4 } else { 0 };
    // Written out, because some compilers would keep a loop, and what it indexes in memory.
    ahead.prefetch::<S>(s, 0, 4 * N);
    let a = four_rows::<S, F, N, C>(s, [rows[0], rows[4], rows[8], rows[12]], x, part);
    ahead.prefetch::<S>(s, 4 * N, 4 * N);
    let b = four_rows::<S, F, N, C>(s, [rows[1], rows[5], rows[9], rows[13]], x, part);
    ahead.prefetch::<S>(s, 8 * N, 4 * N);
    let c = four_rows::<S, F, N, C>(s, [rows[2], rows[6], rows[10], rows[14]], x, part);
    ahead.prefetch::<S>(s, 12 * N, 4 * N);
    let d = four_rows::<S, F, N, C>(s, [rows[3], rows[7], rows[11], rows[15]], x, part);
    let mut sums = [s.splat_int(0); C];
    for (i, (sums, x)) in sums.iter_mut().zip(x).enumerate() {
        *sums = s.sum_quads([a[i], b[i], c[i], d[i]]);
        if !S::SUMS_32 && kind.offset() != 0 {
            *sums = s.sub_ints(*sums, s.splat_int(kind.offset() * x.sums[0] as i32));
        }
    }
    sums
}

/// The integer sums of a block of four rows in four lanes each, every lane less `offset` times the sum of the activations.
#[inline(always)]
fn four_rows<S: Simd, F: Block32<N>, const N: usize, const C: usize>(
    s: S,
    blocks: [&[u8; N]; 4],
    x: &[Block<'_, 32, 1>; C],
    offset: i32,
) -> [S::Ints; C] {
    let kind = F::CODES.adapted::<S>();
    let [low, high] = F::codes(s, blocks);
    let (low, high) = (F::CODES.adapt(s, low), F::CODES.adapt(s, high));
    let mut sums = [s.splat_int(0); C];
    for (sums, x) in sums.iter_mut().zip(x) {
        let [x_low, x_high] = [x.qs.first_chunk().expect("a half"), x.qs.last_chunk().expect("a half")];
        let offset = s.splat_int(-offset * x.sums[0] as i32);
        let mut sum = kind.dot(s, s.open(offset), low, s.code_quarters([x_low; 4]));
        if !S::SUMS_32 && kind.run() < 2 {
            sum = s.open(s.close(sum));
        }
        *sums = s.close(kind.dot(s, sum, high, s.code_quarters([x_high; 4])));
    }
    sums
}

impl Codes {
    /// Starts the sums of the products of a block of 32, whose activations add up to `sum`.
    #[inline(always)]
    fn open<S: Simd>(self, s: S, sum: i16) -> S::Partial {
        match self {
            Codes::Unsigned { max: 0..=15, offset: 2..=16 } => s.open_less(self.offset(), sum),
            _ => s.open(s.splat_int(-self.offset() * sum as i32)),
        }
    }

    /// Adds the products of `R` times 16 rows' group `G` of codes with those of `C` columns.
    #[inline(always)]
    pub(super) fn add_group<S: Simd, const R: usize, const C: usize, const G: usize>(
        self,
        s: S,
        rows: [&[u8; 64]; R],
        x: &[&[i8; 32]; C],
        sums: &mut [[S::Partial; R]; C],
    ) {
        let rows = rows.map(|row| s.bytes(row));
        for (sums, x) in sums.iter_mut().zip(x) {
            for (sum, row) in sums.iter_mut().zip(rows) {
                *sum = match self {
                    Codes::Unsigned { .. } => s.dot_group::<G>(*sum, row, x),
                    Codes::Signed => s.dot_signed(*sum, row, s.splat4(&x.as_chunks().0[G])),
                };
            }
        }
    }

    /// Adds a vector of products of codes.
    #[inline(always)]
    pub(super) fn dot<S: Simd>(self, s: S, sum: S::Partial, w: S::Bytes, x: S::Bytes) -> S::Partial {
        match self {
            Codes::Unsigned { .. } => s.dot(sum, w, x),
            Codes::Signed => s.dot_signed(sum, w, x),
        }
    }
}
