//! Products with blocks of 256.

use super::panels::{unroll, writes_out};
use super::rows::{Ahead, Block};
use super::{Column, Format, fours, wide_floats};
use crate::quant::{Block256, Codes};
use crate::simd::Simd;
use core::marker::PhantomData;
use zerocopy::{FromBytes, IntoBytes, KnownLayout};

/// A format whose blocks are 256 elements.
pub(super) struct Of256<F>(PhantomData<F>);

/// A block of 256 of 16 rows.
#[derive(FromBytes, IntoBytes, KnownLayout)]
#[repr(C, align(64))]
pub(super) struct Unpacked {
    codes: [[u8; 64]; 64],
    /// Scales of 16 or, the first 8 of them, 32 elements each, as [`Simd::add_scaled`] takes them.
    scales: [[i32; 16]; 16],
    /// Pairs of the integer minima that follow each other, or where there are none of the scales.
    mins: [[i32; 16]; 8],
    scale: [f32; 16],
    min: [f32; 16],
}

impl<F: Block256<N>, const N: usize> Format<256, 16, N> for Of256<F> {
    type Block = Unpacked;

    #[inline(always)]
    fn terms<S: Simd, const C: usize>(
        s: S,
        rows: &[&[u8; N]; 16],
        x: &[Block<'_, 256, 16>; C],
        wide: bool,
        ahead: Ahead<'_>,
    ) -> [S::Floats; C] {
        let offset = F::CODES.adapted::<S>().offset();
        let scales = scales::<S, F, N>(s, rows);
        let minima = match takes_minima::<S, F, N>() {
            true => row_minima::<S, F, N, C>(s, rows, scales, x),
            false => [s.splat_int(0); C],
        };
        let sums = code_sums::<S, F, N, C>(s, rows, scales, &opened::<S, F, N, C>(s, x), ahead);
        let [scale, min] = F::scale_min_each(s, rows);
        let mut terms = [scale; C];
        if wide {
            for second in (1..C).step_by(2) {
                let [sums, minima] = [sums, minima].map(|sums| [[sums[second - 1]], [sums[second]]]);
                let [[sums], [minima]] = wide_sums::<S, F, N, 1>(s, sums, minima);
                let mut inner = s.mul(scale, sums);
                if F::MIN {
                    inner = s.sub(inner, s.mul(min, minima));
                }
                terms[second] = s.mul(s.splat_float(x[second].d), inner);
            }
            return terms;
        }
        for (((terms, x), sums), minima) in terms.iter_mut().zip(x).zip(sums).zip(minima) {
            let inner = match F::MIN {
                true => s.sub(s.mul(scale, s.to_floats(sums)), s.mul(min, s.to_floats(minima))),
                false => s.mul(scale, s.to_floats(s.sub_ints(sums, s.mul_int(minima, offset)))),
            };
            *terms = s.mul(s.splat_float(x.d), inner);
        }
        terms
    }

    #[inline(always)]
    fn unpack<S: Simd, const R: usize>(s: S, rows: &[&[[u8; N]]; 16], r: usize, panel: &mut [[Unpacked; R]]) {
        for (b, to) in panel.iter_mut().enumerate() {
            let (blocks, to) = (rows.map(|row| &row[b]), &mut to[r]);
            unpack_part::<S, F, N, 0>(s, &blocks, &mut to.codes);
            unpack_part::<S, F, N, 1>(s, &blocks, &mut to.codes);
            unpack_part::<S, F, N, 2>(s, &blocks, &mut to.codes);
            unpack_part::<S, F, N, 3>(s, &blocks, &mut to.codes);
            unpack_scales::<S, F, N>(s, &blocks, to);
            let [scale, min] = F::scale_min_each(s, &blocks);
            s.store_floats(scale, &mut to.scale);
            s.store_floats(min, &mut to.min);
        }
    }

    #[inline(always)]
    fn add_block<S: Simd, const R: usize, const C: usize>(
        s: S,
        block: &[Unpacked; R],
        x: &[Column<'_, 256, 16>; C],
        wide: bool,
        b: usize,
        y: &mut [[S::Floats; R]; C],
    ) {
        let offset = F::CODES.adapted::<S>().offset();
        let sums = match writes_out::<S>() {
            true => scaled_codes::<S, F, N, R, C>(s, block, x, b),
            false => scaled_runs::<S, F, N, R, C>(s, block, x, b),
        };
        let minima = match takes_minima::<S, F, N>() {
            true => minima::<S, R, C>(s, block, x, b, F::RUN),
            false => [[s.splat_int(0); R]; C],
        };
        if wide {
            for second in (1..C).step_by(2) {
                let [sums, minima] = [sums, minima].map(|sums| [sums[second - 1], sums[second]]);
                let [sums, minima] = wide_sums::<S, F, N, R>(s, sums, minima);
                let dx = s.splat_float(x[second].d[b]);
                for (((y, i), m), block) in y[second].iter_mut().zip(sums).zip(minima).zip(block) {
                    let mut inner = s.mul(s.floats(&block.scale), i);
                    if F::MIN {
                        inner = s.sub(inner, s.mul(s.floats(&block.min), m));
                    }
                    *y = s.add(*y, s.mul(dx, inner));
                }
            }
            return;
        }
        for (((y, sums), minima), x) in y.iter_mut().zip(sums).zip(minima).zip(x) {
            let dx = s.splat_float(x.d[b]);
            for (((y, i), m), block) in y.iter_mut().zip(sums).zip(minima).zip(block) {
                let scale = s.floats(&block.scale);
                let inner = match F::MIN {
                    true => s.sub(s.mul(scale, s.to_floats(i)), s.mul(s.floats(&block.min), s.to_floats(m))),
                    false => s.mul(scale, s.to_floats(s.sub_ints(i, s.mul_int(m, offset)))),
                };
                *y = s.add(*y, s.mul(dx, inner));
            }
        }
    }
}

/// The sums of first and second codes of a block together, and of minima. Where there are none, they fold an offset of the
/// codes, which is taken from the sums.
#[inline(always)]
fn wide_sums<S: Simd, F: Block256<N>, const N: usize, const R: usize>(
    s: S,
    mut sums: [[S::Ints; R]; 2],
    minima: [[S::Ints; R]; 2],
) -> [[S::Floats; R]; 2] {
    if F::MIN {
        return [wide_floats(s, sums), wide_floats(s, minima)];
    }
    let offset = F::CODES.adapted::<S>().offset();
    for (sum, m) in sums.as_flattened_mut().iter_mut().zip(minima.as_flattened()) {
        *sum = s.sub_ints(*sum, s.mul_int(*m, offset));
    }
    [wide_floats(s, sums), [s.splat_float(0.0); R]]
}

/// A part of a block of a column, in the order of the weights' codes.
#[derive(Clone, Copy)]
struct Opened<S: Simd> {
    codes: S::Bytes,
    /// What sums of products begin with: an offset of the weights' codes times the activations, or zero.
    sum: S::Partial,
}

/// The parts of a block of each column.
#[inline(always)]
fn opened<S: Simd, F: Block256<N>, const N: usize, const C: usize>(
    s: S,
    x: &[Block<'_, 256, 16>; C],
) -> [[Opened<S>; 4]; C] {
    let zero = s.splat_int(0);
    let mut parts = [[Opened { codes: s.splat(0), sum: s.open(zero) }; 4]; C];
    let offset = F::CODES.adapted::<S>().offset();
    for (parts, x) in parts.iter_mut().zip(x) {
        let x: &[[i8; 16]; 16] = x.qs.as_chunks().0.first_chunk().expect("16 times 16 codes");
        for (part, [a, b, c, d]) in parts.iter_mut().zip(F::ORDER) {
            part.codes = s.code_quarters([&x[a], &x[b], &x[c], &x[d]]);
            if S::SUMS_32 && offset != 0 {
                let products = s.close(s.dot(s.open(zero), s.splat(offset as u8), part.codes));
                part.sum = s.open(s.sub_ints(zero, products));
            }
        }
        for (a, b) in [(0, 1), (2, 3)] {
            if S::SUMS_32 && offset != 0 && chains::<S, F, N>(a, b) {
                let products = s.close(s.dot(s.open(zero), s.splat(offset as u8), parts[b].codes));
                parts[a].sum = s.open(s.sub_ints(s.close(parts[a].sum), products));
            }
        }
    }
    parts
}

/// Whether there are minima, or scales that stand for them: these fold an offset of the codes where a sum cannot begin with it.
const fn takes_minima<S: Simd, F: Block256<N>, const N: usize>() -> bool {
    let folds = F::CODES.adapted::<S>().offset() != 0 && !S::SUMS_32;
    assert!(!folds || F::MIN || F::RUN == 16, "minima lie behind the scales");
    F::MIN || folds
}

/// Rows 0, 4, 8 and 12 of 16; rows 1, 5, 9 and 13; and so on.
#[inline(always)]
fn fours_of_rows<'a, const N: usize>(rows: &[&'a [u8; N]; 16]) -> [[&'a [u8; N]; 4]; 4] {
    [
        [rows[0], rows[4], rows[8], rows[12]],
        [rows[1], rows[5], rows[9], rows[13]],
        [rows[2], rows[6], rows[10], rows[14]],
        [rows[3], rows[7], rows[11], rows[15]],
    ]
}

/// The integer scales of 16 rows.
#[inline(always)]
pub(super) fn scales<S: Simd, F: Block256<N>, const N: usize>(s: S, rows: &[&[u8; N]; 16]) -> [S::Bytes; 4] {
    let [a, b, c, d] = fours_of_rows(rows);
    [F::scales(s, a), F::scales(s, b), F::scales(s, c), F::scales(s, d)]
}

/// The integer minima of 16 rows, where runs are of 16.
#[inline(always)]
fn mins<S: Simd, F: Block256<N>, const N: usize>(s: S, rows: &[&[u8; N]; 16]) -> [S::Bytes; 4] {
    let [a, b, c, d] = fours_of_rows(rows);
    [F::mins(s, a), F::mins(s, b), F::mins(s, c), F::mins(s, d)]
}

/// The products of the codes of a block of 16 rows times their scales, a lane for each row.
#[inline(always)]
fn code_sums<S: Simd, F: Block256<N>, const N: usize, const C: usize>(
    s: S,
    rows: &[&[u8; N]; 16],
    scales: [S::Bytes; 4],
    x: &[[Opened<S>; 4]; C],
    ahead: Ahead<'_>,
) -> [S::Ints; C] {
    // To memory, and from there one by one: that takes fewer instructions than to pick quarters.
    let mut stored = [[0; 64]; 4];
    for (to, scales) in stored.iter_mut().zip(scales) {
        s.store(scales, to);
    }
    let stored = stored.each_ref().map(|scales| scales.as_chunks::<16>().0);
    let mut quads = [[s.splat_int(0); 4]; C];
    for quad in 0..4 {
        // Written out, because the compiler would keep the loop.
        ahead.prefetch(s, 4 * quad * N, N);
        let a = block_sums::<S, F, N, C>(s, rows[4 * quad], &stored[0][quad], x);
        ahead.prefetch(s, (4 * quad + 1) * N, N);
        let b = block_sums::<S, F, N, C>(s, rows[4 * quad + 1], &stored[1][quad], x);
        ahead.prefetch(s, (4 * quad + 2) * N, N);
        let c = block_sums::<S, F, N, C>(s, rows[4 * quad + 2], &stored[2][quad], x);
        ahead.prefetch(s, (4 * quad + 3) * N, N);
        let d = block_sums::<S, F, N, C>(s, rows[4 * quad + 3], &stored[3][quad], x);
        for (i, quads) in quads.iter_mut().enumerate() {
            quads[quad] = s.sum_quads([a[i], b[i], c[i], d[i]]);
        }
    }
    let mut sums = [s.splat_int(0); C];
    for (sums, quads) in sums.iter_mut().zip(quads) {
        *sums = s.sum_quarters(quads);
    }
    sums
}

/// The products of the codes of a row's block times their scales, in some lanes.
#[inline(always)]
fn block_sums<S: Simd, F: Block256<N>, const N: usize, const C: usize>(
    s: S,
    block: &[u8; N],
    scales: &[u8; 16],
    x: &[[Opened<S>; 4]; C],
) -> [S::Ints; C] {
    // Four products of a small code and an activation are within i16.
    match F::CODES.adapted::<S>() {
        Codes::Unsigned { max: 0..=63, .. } => scaled_sums::<S, F, N, C, true>(s, block, scales, x),
        _ => scaled_sums::<S, F, N, C, false>(s, block, scales, x),
    }
}

#[inline(always)]
fn scaled_sums<S: Simd, F: Block256<N>, const N: usize, const C: usize, const SHORT: bool>(
    s: S,
    block: &[u8; N],
    scales: &[u8; 16],
    x: &[[Opened<S>; 4]; C],
) -> [S::Ints; C] {
    let scales = s.scales::<SHORT>(F::scales_of(block, scales));
    let mut sums = [s.splat_int(0); C];
    add_parts::<S, F, N, C, SHORT, 0, 1>(s, block, scales, x, &mut sums);
    add_parts::<S, F, N, C, SHORT, 2, 3>(s, block, scales, x, &mut sums);
    sums
}

/// Adds the products of two parts of the codes.
#[inline(always)]
fn add_parts<
    S: Simd,
    F: Block256<N>,
    const N: usize,
    const C: usize,
    const SHORT: bool,
    const A: usize,
    const B: usize,
>(
    s: S,
    block: &[u8; N],
    scales: S::Scales,
    x: &[[Opened<S>; 4]; C],
    sums: &mut [S::Ints; C],
) {
    let kind = F::CODES.adapted::<S>();
    let a = F::CODES.adapt(s, F::codes::<S, A>(s, block));
    let b = F::CODES.adapt(s, F::codes::<S, B>(s, block));
    let of_a = s.quarter_scales::<SHORT>(scales, runs::<F, N>(A));
    let of_b = s.quarter_scales::<SHORT>(scales, runs::<F, N>(B));
    for (sum, x) in sums.iter_mut().zip(x) {
        let mut products = kind.dot(s, x[A].sum, a, x[A].codes);
        if !chains::<S, F, N>(A, B) {
            *sum = add_scaled_products::<S, SHORT>(s, *sum, products, of_a);
            products = x[B].sum;
        }
        *sum = add_scaled_products::<S, SHORT>(s, *sum, kind.dot(s, products, b, x[B].codes), of_b);
    }
}

#[inline(always)]
fn add_scaled_products<S: Simd, const SHORT: bool>(
    s: S,
    sum: S::Ints,
    products: S::Partial,
    scale: S::Ints,
) -> S::Ints {
    match SHORT {
        true => s.add_scaled_short(sum, products, scale),
        false => s.add_scaled(sum, products, scale),
    }
}

/// The runs that the quarters of a part belong to.
const fn runs<F: Block256<N>, const N: usize>(part: usize) -> [usize; 4] {
    let [a, b, c, d] = F::ORDER[part];
    [16 * a / F::RUN, 16 * b / F::RUN, 16 * c / F::RUN, 16 * d / F::RUN]
}

/// Whether the products of two parts are added up before they are scaled: where their scales are the same, and a sum of
/// products has room for both.
const fn chains<S: Simd, F: Block256<N>, const N: usize>(first: usize, second: usize) -> bool {
    let fits = match F::CODES.adapted::<S>() {
        // Eight products of a code and an activation, in an i16.
        Codes::Unsigned { max, .. } if S::SUMS_32 && max <= 63 => max <= 32,
        kind => S::SUMS_32 || kind.run() >= 2,
    };
    let ([a, b, c, d], [e, f, g, h]) = (runs::<F, N>(first), runs::<F, N>(second));
    fits && a == e && b == f && c == g && d == h
}

/// The sums of the activations times the minima of a block of 16 rows, a lane for each row.
#[inline(always)]
fn row_minima<S: Simd, F: Block256<N>, const N: usize, const C: usize>(
    s: S,
    rows: &[&[u8; N]; 16],
    scales: [S::Bytes; 4],
    x: &[Block<'_, 256, 16>; C],
) -> [S::Ints; C] {
    let mins = if F::RUN == 16 && F::MIN { mins::<S, F, N>(s, rows) } else { scales };
    let mut minima = [s.splat_int(0); C];
    for (minima, x) in minima.iter_mut().zip(x) {
        let mut sums = *x.sums;
        if F::RUN == 32 {
            sums = [0; 16];
            sums[8..].copy_from_slice(&s.sum_pairs(x.sums));
        }
        let mut quads = [*minima; 4];
        for (quad, mins) in quads.iter_mut().zip(mins) {
            *quad = s.dot_sums(mins, &sums);
        }
        *minima = s.sum_quads(quads);
    }
    minima
}

#[inline(always)]
fn unpack_part<S: Simd, F: Block256<N>, const N: usize, const PART: usize>(
    s: S,
    blocks: &[&[u8; N]; 16],
    to: &mut [[u8; 64]; 64],
) {
    let mut codes = [s.splat(0); 16];
    for (codes, block) in codes.iter_mut().zip(blocks) {
        *codes = F::CODES.adapt(s, F::codes::<S, PART>(s, block));
    }
    for (sixteen, turned) in F::ORDER[PART].into_iter().zip(s.transpose(codes).as_chunks::<4>().0) {
        for (to, turned) in to[4 * sixteen..].iter_mut().zip(turned) {
            s.store(*turned, to);
        }
    }
}

/// Widens the integer scales and minima of a block of 16 rows.
#[inline(always)]
fn unpack_scales<S: Simd, F: Block256<N>, const N: usize>(s: S, blocks: &[&[u8; N]; 16], to: &mut Unpacked) {
    // Groups of four numbers of all rows.
    let scales = s.turn(scales::<S, F, N>(s, blocks));
    for (j, to) in to.scales[..256 / F::RUN].iter_mut().enumerate() {
        s.store_ints(s.lane_scale(scales[j / 4], j % 4), to);
    }
    if takes_minima::<S, F, N>() {
        unpack_minima::<S, F, N>(s, blocks, &scales, &mut to.mins);
    }
}

/// Widens the integer minima of a block of 16 rows, of which `scales` has groups of four scales, to pairs. Where there are
/// none, the scales stand for them.
#[inline(always)]
pub(super) fn unpack_minima<S: Simd, F: Block256<N>, const N: usize>(
    s: S,
    blocks: &[&[u8; N]; 16],
    scales: &[S::Bytes; 4],
    to: &mut [[i32; 16]; 8],
) {
    let mins = match F::RUN {
        32 => [scales[2], scales[3], scales[2], scales[3]],
        _ if F::MIN => s.turn(mins::<S, F, N>(s, blocks)),
        _ => *scales,
    };
    for (j, to) in to[..128 / F::RUN].iter_mut().enumerate() {
        s.store_ints(s.lane_pair(mins[j / 2], j % 2 * 2, j % 2 * 2 + 1), to);
    }
}

/// The products of the codes of block `b`, times the scales.
#[inline(always)]
fn scaled_codes<S: Simd, F: Block256<N>, const N: usize, const R: usize, const C: usize>(
    s: S,
    block: &[Unpacked; R],
    x: &[Column<'_, 256, 16>; C],
    b: usize,
) -> [[S::Ints; R]; C] {
    let kind = F::CODES.adapted::<S>();
    let offsets = offsets::<S, F, N, C>(s, x, b);
    let mut sums = [[s.splat_int(0); R]; C];
    for part in 0..8 {
        let codes = x.each_ref().map(|x| &x.qs[b].as_chunks().0[part]);
        let mut open = [[s.open(s.splat_int(0)); R]; C];
        eight!(G => {
            let run = (32 * part + 4 * G) / F::RUN;
            if (4 * G).is_multiple_of(F::RUN) {
                for (open, offsets) in open.iter_mut().zip(&offsets) {
                    *open = [s.open(s.splat_int(if kind.offset() != 0 { offsets[run] } else { 0 })); R];
                }
            }
            let rows = block.each_ref().map(|block| &block.codes[8 * part + G]);
            kind.add_group::<S, R, C, G>(s, rows, &codes, &mut open);
            if (4 * (G + 1)).is_multiple_of(F::RUN) {
                add_scaled(s, block, run, &open, &mut sums);
            }
        });
    }
    sums
}

/// What the sums of the runs of block `b` begin with: the offset of the codes times the activations, where that costs nothing.
#[inline(always)]
fn offsets<S: Simd, F: Block256<N>, const N: usize, const C: usize>(
    s: S,
    x: &[Column<'_, 256, 16>; C],
    b: usize,
) -> [[i32; 16]; C] {
    let (offset, mut offsets) = (F::CODES.adapted::<S>().offset(), [[0; 16]; C]);
    for (offsets, x) in offsets.iter_mut().zip(x) {
        if S::SUMS_32 && offset != 0 {
            s.store_ints(s.mul_int(s.short_ints(&run_sums(s, &x.sums[b], F::RUN)), -offset), offsets);
        }
    }
    offsets
}

/// The same in loops, over as many groups as partial sums hold.
#[inline(always)]
fn scaled_runs<S: Simd, F: Block256<N>, const N: usize, const R: usize, const C: usize>(
    s: S,
    block: &[Unpacked; R],
    x: &[Column<'_, 256, 16>; C],
    b: usize,
) -> [[S::Ints; R]; C] {
    let kind = F::CODES.adapted::<S>();
    let mut codes = [&[[0; 4]; 64]; C];
    for (codes, x) in codes.iter_mut().zip(x) {
        *codes = fours(&x.qs[b]);
    }
    let offsets = offsets::<S, F, N, C>(s, x, b);
    let mut sums = [[s.splat_int(0); R]; C];
    let run = if S::SUMS_32 { F::RUN / 4 } else { kind.run().min(F::RUN / 4) };
    for first in (0..64).step_by(run) {
        let mut open = [[s.open(s.splat_int(0)); R]; C];
        if S::SUMS_32 && kind.offset() != 0 {
            for (open, offsets) in open.iter_mut().zip(&offsets) {
                *open = [s.open(s.splat_int(offsets[4 * first / F::RUN])); R];
            }
        }
        for g in (first..first + run).step_by(unroll::<S>(run)) {
            for g in g..g + unroll::<S>(run) {
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
        add_scaled(s, block, 4 * first / F::RUN, &open, &mut sums);
    }
    sums
}

/// Adds the products of a run times its scales.
#[inline(always)]
fn add_scaled<S: Simd, const R: usize, const C: usize>(
    s: S,
    block: &[Unpacked; R],
    run: usize,
    products: &[[S::Partial; R]; C],
    sums: &mut [[S::Ints; R]; C],
) {
    for (r, block) in block.iter().enumerate() {
        let scale = s.ints(&block.scales[run]);
        for (sums, products) in sums.iter_mut().zip(products) {
            sums[r] = s.add_scaled(sums[r], products[r], scale);
        }
    }
}

/// The sums of activations in runs of 16, or the first 8 of 32.
#[inline(always)]
pub(super) fn run_sums<S: Simd>(s: S, sums: &[i16; 16], run: usize) -> [i16; 16] {
    let mut list = *sums;
    if run == 32 {
        list[..8].copy_from_slice(&s.sum_pairs(sums));
    }
    list
}

/// The sums of the activations of block `b`, times the minima.
#[inline(always)]
fn minima<S: Simd, const R: usize, const C: usize>(
    s: S,
    block: &[Unpacked; R],
    x: &[Column<'_, 256, 16>; C],
    b: usize,
    run: usize,
) -> [[S::Ints; R]; C] {
    let mut minima = [[s.splat_int(0); R]; C];
    let mut all = [[0; 16]; C];
    for (sums, x) in all.iter_mut().zip(x) {
        *sums = run_sums(s, &x.sums[b], run);
    }
    eight!(J => {
        if J < 128 / run {
            let mins = block.each_ref().map(|block| s.ints(&block.mins[J]));
            for (minima, sums) in minima.iter_mut().zip(&all) {
                for (minima, mins) in minima.iter_mut().zip(mins) {
                    *minima = s.add_pair::<J>(*minima, mins, sums);
                }
            }
        }
    });
    minima
}
