//! Few columns, where there is no prefetch: 16 blocks at a time, in the order of the file.
//!
//! A processor's own prefetch follows one stream best, whose lines come one after the other. So blocks are taken as they lie,
//! across the ends of rows, each with its own block of activations; a vector of terms has a lane per block. The terms of 16
//! rows are kept, and then added up row by row. From memory, Q4_0 reached 18 G multiply-adds per second, and with 16 rows
//! at a time and loads of what comes next 12 (Node 24 on a Zen 4).

use super::Quantized;
use crate::bytes::Tile;
use crate::kernels::{InScratch, Scratch};
use crate::quant::{Block32, Codes};
use crate::simd::{Kernel, Simd, UNITS};
use core::marker::PhantomData;
use core::ops::Range;

/// Blocks that are worked on at the same time.
const BLOCKS: usize = 16;
/// Rows whose terms are kept.
const ROWS: usize = 16;
/// Blocks of a row whose terms are kept, at most. Of longer rows, each has its own turn.
const SEGMENT: usize = 256;

/// The product with a matrix of blocks of 32.
pub(super) struct InOrder<'a, 'o, F, const N: usize> {
    pub rows: &'a [u8],
    pub x: Quantized<'a, 32, 1>,
    pub out: &'a mut Tile<'o, f32>,
    pub format: PhantomData<F>,
}

/// A segment of a column, over and over again, so that blocks from any of it on follow each other.
#[derive(Clone, Copy)]
struct Repeated<'a> {
    /// Codes, where they need not be prepared.
    qs: &'a [[i8; 32]],
    /// Where weights are signed or activations wide: codes that are prepared.
    prepared: &'a [[i16; 32]],
    d: &'a [f32],
    /// Sums of the activations, times the offset of the weights' codes where there is one.
    sums: &'a [i32],
}

/// 16 blocks of a column.
#[derive(Clone, Copy)]
struct Window<'a> {
    qs: &'a [[i8; 32]],
    prepared: &'a [[i16; 32]],
    d: &'a [f32; BLOCKS],
    sums: &'a [i32; BLOCKS],
}

/// What lies in memory between the steps, for each of `C` columns.
struct Kept<'a, const C: usize> {
    /// The terms of 16 rows, in the order of their blocks.
    terms: &'a mut [[[f32; BLOCKS]; ROWS * SEGMENT / BLOCKS]; C],
    /// The integer sums of 16 blocks, four of which are stored before the next are loaded: compilers of WebAssembly would
    /// load them all, and have no registers for them.
    sums: &'a mut [[[i32; 4]; BLOCKS / 4]; C],
}

impl<F: Block32<N>, const N: usize> Kernel for InScratch<'_, InOrder<'_, '_, F, N>> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { mut work, scratch } = self;
        if work.x.wide {
            return (0..work.x.n / 2).for_each(|product| work.columns::<S, 1, true>(s, scratch, product));
        }
        let mut c = 0;
        while work.x.n - c >= 3 {
            work.columns::<S, 3, false>(s, scratch, c);
            c += 3;
        }
        match work.x.n - c {
            0 => {}
            1 => work.columns::<S, 1, false>(s, scratch, c),
            _ => work.columns::<S, 2, false>(s, scratch, c),
        }
    }
}

impl<F: Block32<N>, const N: usize> InOrder<'_, '_, F, N> {
    /// Products `c..c + C` of all rows.
    #[inline(always)]
    fn columns<S: Simd, const C: usize, const WIDE: bool>(&mut self, s: S, scratch: &mut Scratch, c: usize) {
        let (all, width) = (self.rows.as_chunks::<N>().0, self.x.blocks);
        let each = if width <= SEGMENT { ROWS } else { 1 };
        for from in (0..width).step_by(SEGMENT) {
            let len = SEGMENT.min(width - from);
            let (mut kept, x) = self.lay_out::<S, C, WIDE>(s, scratch, c, from..from + len);
            for first in (0..self.out.width()).step_by(each) {
                let rows = each.min(self.out.width() - first);
                let start = first * width + from;
                set_terms::<S, F, N, C, WIDE>(s, &all[start..start + rows * len], len, &x, &mut kept);
                for (i, terms) in kept.terms.iter().enumerate() {
                    let y = &mut self.out.row(c + i)[first..first + rows];
                    add_up(s, &terms.as_flattened()[..rows * len], from == 0, y);
                }
            }
        }
    }

    /// Blocks `segment` of the columns of products `c..c + C`, and room for what is made of them.
    #[inline(always)]
    fn lay_out<'s, S: Simd, const C: usize, const WIDE: bool>(
        &self,
        s: S,
        scratch: &'s mut Scratch,
        c: usize,
        segment: Range<usize>,
    ) -> (Kept<'s, C>, [Repeated<'s>; C]) {
        const { assert!(!F::MIN || F::CODES.offset() == 0, "sums are for one of them") };
        let (mut room, count) = (scratch.room(), segment.len() + BLOCKS - 1);
        let column = |c: usize| self.x.part(c, segment.start, segment.len());
        // First and second codes; the same twice where there is but one.
        let parts = |i: usize| match WIDE {
            true => [column(2 * (c + i)), column(2 * (c + i) + 1)],
            false => [column(c + i); 2],
        };
        let kept = Kept { terms: room.one(), sums: room.one() };
        let mut x = [Repeated { qs: &[], prepared: &[], d: &[], sums: &[] }; C];
        // What is aligned most comes first.
        for (i, x) in x.iter_mut().enumerate() {
            x.d = repeated(parts(i)[1].d, room.take(count));
        }
        for (i, x) in x.iter_mut().enumerate() {
            let (sums, [first, second]) = (room.take(count), parts(i).map(|part| part.sums.iter().cycle()));
            for ((to, [first]), [second]) in sums.iter_mut().zip(first).zip(second) {
                let sum = if WIDE { UNITS * i32::from(*first) + i32::from(*second) } else { i32::from(*second) };
                *to = if F::CODES.offset() == 0 { sum } else { F::CODES.offset() * sum };
            }
            x.sums = sums;
        }
        for (i, x) in x.iter_mut().enumerate().filter(|_| is_prepared::<F, N>(WIDE)) {
            let (prepared, [first, second]) = (room.take(count), parts(i).map(|part| part.qs.iter().cycle()));
            for ((to, first), second) in prepared.iter_mut().zip(first).zip(second) {
                if WIDE { s.prepare_wide([first, second], to) } else { s.prepare(second, to) }
            }
            x.prepared = prepared;
        }
        for (i, x) in x.iter_mut().enumerate().filter(|_| !is_prepared::<F, N>(WIDE)) {
            x.qs = repeated(parts(i)[1].qs, room.take(count));
        }
        (kept, x)
    }
}

/// Fills `to` with `part`, over and over again: one by one, since a call that copies memory takes longer.
#[inline(always)]
fn repeated<'a, T: Copy>(part: &[T], to: &'a mut [T]) -> &'a [T] {
    for (to, from) in to.iter_mut().zip(part.iter().cycle()) {
        *to = *from;
    }
    to
}

/// Whether activations are prepared: where the codes of the weights are signed, and where they are wide.
const fn is_prepared<F: Block32<N>, const N: usize>(wide: bool) -> bool {
    wide || matches!(F::CODES, Codes::Signed)
}

/// The terms of blocks of rows that have `len` of them each.
#[inline(always)]
fn set_terms<S: Simd, F: Block32<N>, const N: usize, const C: usize, const WIDE: bool>(
    s: S,
    blocks: &[[u8; N]],
    len: usize,
    x: &[Repeated<'_>; C],
    kept: &mut Kept<'_, C>,
) {
    let (whole, rest) = blocks.as_chunks();
    // Nothing is set that is not used: that would be a call.
    let last = (!rest.is_empty()).then(|| {
        let mut last = [[0; N]; BLOCKS];
        last[..rest.len()].copy_from_slice(rest);
        last
    });
    let mut at = 0;
    for (i, blocks) in whole.iter().chain(&last).enumerate() {
        let mut windows = [x[0].window(at); C];
        for (window, x) in windows.iter_mut().zip(x) {
            *window = x.window(at);
        }
        for (kept, terms) in kept.terms.iter_mut().zip(terms::<S, F, N, C, WIDE>(s, blocks, &windows, kept.sums)) {
            s.store_floats(terms, &mut kept[i]);
        }
        at += BLOCKS;
        while at >= len {
            at -= len;
        }
    }
}

impl<'a> Repeated<'a> {
    /// The blocks from `at` on.
    #[inline(always)]
    fn window(&self, at: usize) -> Window<'a> {
        let of_window = "a window from each block on";
        Window {
            qs: self.qs.get(at..at + BLOCKS).unwrap_or_default(),
            prepared: self.prepared.get(at..at + BLOCKS).unwrap_or_default(),
            d: self.d[at..].first_chunk().expect(of_window),
            sums: self.sums[at..].first_chunk().expect(of_window),
        }
    }
}

/// The terms of 16 blocks with those of each column.
#[inline(always)]
fn terms<S: Simd, F: Block32<N>, const N: usize, const C: usize, const WIDE: bool>(
    s: S,
    blocks: &[[u8; N]; BLOCKS],
    x: &[Window<'_>; C],
    sums: &mut [[[i32; 4]; BLOCKS / 4]; C],
) -> [S::Floats; C] {
    four_sums::<S, F, N, C, WIDE, 0>(s, blocks, x, sums);
    four_sums::<S, F, N, C, WIDE, 1>(s, blocks, x, sums);
    four_sums::<S, F, N, C, WIDE, 2>(s, blocks, x, sums);
    four_sums::<S, F, N, C, WIDE, 3>(s, blocks, x, sums);
    let [scale, min] = F::scale_min_each(s, &sixteen!(I => &blocks[I]));
    let mut terms = [scale; C];
    for ((terms, x), sums) in terms.iter_mut().zip(x).zip(sums) {
        let mut sums = s.ints(sums.as_flattened().first_chunk().expect("16 sums"));
        if F::CODES.offset() != 0 {
            sums = s.sub_ints(sums, s.ints(x.sums));
        }
        let mut inner = s.mul(scale, s.to_floats(sums));
        if F::MIN {
            inner = s.add(inner, s.mul(min, s.to_floats(s.ints(x.sums))));
        }
        *terms = s.mul(s.floats(x.d), inner);
    }
    terms
}

/// The integer sums of blocks `4 * Q` to `4 * Q + 3`, without the offset of the codes.
#[inline(always)]
fn four_sums<S: Simd, F: Block32<N>, const N: usize, const C: usize, const WIDE: bool, const Q: usize>(
    s: S,
    blocks: &[[u8; N]; BLOCKS],
    x: &[Window<'_>; C],
    sums: &mut [[[i32; 4]; BLOCKS / 4]; C],
) {
    let [a, b, c, d] = [4 * Q, 4 * Q + 1, 4 * Q + 2, 4 * Q + 3];
    let [low, high] = F::codes(s, [&blocks[a], &blocks[b], &blocks[c], &blocks[d]]);
    for (sums, x) in sums.iter_mut().zip(x) {
        if !is_prepared::<F, N>(WIDE) {
            set_sums(s, F::CODES, [low, high], [&x.qs[a], &x.qs[b], &x.qs[c], &x.qs[d]], &mut sums[Q]);
            continue;
        }
        let x = [&x.prepared[a], &x.prepared[b], &x.prepared[c], &x.prepared[d]];
        let products = if WIDE { s.dot_wide([low, high], x) } else { s.dot_prepared([low, high], x) };
        s.store_sums(products, &mut sums[Q]);
    }
}

/// Sets the sums of the products of four blocks, whose codes are of `kind`.
#[inline(always)]
fn set_sums<S: Simd>(s: S, kind: Codes, [low, high]: [S::Bytes; 2], x: [&[i8; 32]; 4], to: &mut [i32; 4]) {
    let x_low = s.code_quarters(x.map(|x| x.first_chunk().expect("a half")));
    let x_high = s.code_quarters(x.map(|x| x.last_chunk().expect("a half")));
    if let (false, Codes::Unsigned { max: 0..=15, .. }) = (S::SUMS_32, kind) {
        return s.store_products([low, high], [x_low, x_high], to);
    }
    let mut sum = s.dot(s.open(s.splat_int(0)), low, x_low);
    if !S::SUMS_32 && kind.run() < 2 {
        sum = s.open(s.close(sum));
    }
    s.store_sums(s.close(s.dot(sum, high, x_high)), to);
}

/// Adds the terms of each row to its sum, one after the other; to zero, if they are the first.
#[inline(always)]
fn add_up<S: Simd>(s: S, terms: &[f32], are_first: bool, y: &mut [f32]) {
    let len = terms.len() / y.len();
    for (terms, y) in terms.chunks(4 * len).zip(y.chunks_mut(4)) {
        if let Some(y) = y.first_chunk_mut() {
            let start = if are_first { [0.0; 4] } else { *y };
            *y = s.add_in_order(start, [0, 1, 2, 3].map(|r| &terms[r * len..][..len]));
            continue;
        }
        for (y, terms) in y.iter_mut().zip(terms.chunks(len)) {
            *y = terms.iter().fold(if are_first { 0.0 } else { *y }, |sum, term| sum + term);
        }
    }
}
