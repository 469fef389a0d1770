//! Activations as the dot products take them: int8 blocks with a scale in `f32` and integer sums.
//!
//! A block's scale is its largest magnitude divided by 127. It stays in `f32`, where ggml rounds it to `f16`.
//!
//! With matrices of `f16` they are floats of 13 bits, so that products are exact.
//!
//! Wide activations have 15 bits: a second code for each is what the first leaves, in units of 1/128 of its scale.

use crate::simd::{Simd, UNITS};

/// Form in which a matrix product takes its activations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Activation {
    /// Plain `f32`.
    F32,
    /// `f32` of 13 significant bits, as [`shorten`] makes them.
    Short,
    /// Blocks of 32 int8 codes with an `f32` scale and their integer sum.
    Q8,
    /// Blocks of 256 int8 codes with an `f32` scale, and the integer sums of each 16 codes.
    Q8K,
}

impl Activation {
    /// What [`Activation::stride`] adds, at most.
    pub const MOST_PADDING: usize = 256;

    /// Activations per scale (1 for plain floats, which have none).
    pub fn block_len(self) -> usize {
        match self {
            Activation::F32 | Activation::Short => 1,
            Activation::Q8 => 32,
            Activation::Q8K => 256,
        }
    }

    /// Activations per sum (1 for plain floats, which have none).
    pub fn sum_len(self) -> usize {
        match self {
            Activation::F32 | Activation::Short => 1,
            Activation::Q8 => 32,
            Activation::Q8K => 16,
        }
    }

    /// How many codes, scales and sums `k` activations quantize to.
    pub fn lens(self, k: usize) -> (usize, usize, usize) {
        match self {
            Activation::F32 | Activation::Short => (0, 0, 0),
            Activation::Q8 => (k, k / 32, k / 32),
            Activation::Q8K => (k, k / 256, k / 16),
        }
    }

    /// How far apart columns of `k` activations lie, in activations.
    ///
    /// Codes of columns that are a power of two apart, or nearly so, would share few sets of each cache.
    pub fn stride(self, k: usize) -> usize {
        match self {
            Activation::Q8 if k.is_multiple_of(1024) => k + 64,
            Activation::Q8K if k.is_multiple_of(1024) => k + Self::MOST_PADDING,
            _ => k,
        }
    }
}

/// `n` columns of `k` activations each, column after column: [`Activation::stride`] says how far apart.
#[derive(Debug, Clone, Copy)]
pub struct Columns<'a> {
    /// Activations per column.
    pub k: usize,
    /// Columns.
    pub n: usize,
    /// Whether there are second codes: behind all columns of the first, as [`quantize_rest`] makes them.
    pub wide: bool,
    /// The activations.
    pub data: ColumnData<'a>,
}

/// The activations of [`Columns`], with columns of `stride` activations. Where these are wide, codes, scales and sums are twice
/// as many.
#[derive(Debug, Clone, Copy)]
pub enum ColumnData<'a> {
    /// `n * k` floats.
    F32(&'a [f32]),
    /// `n * k` floats of 13 bits.
    Short(&'a [f32]),
    /// Blocks of 32.
    Q8 {
        /// `n * stride` codes in -127..=127.
        qs: &'a [i8],
        /// `n * stride / 32` scales.
        d: &'a [f32],
        /// `n * stride / 32` sums of 32 codes.
        sums: &'a [i16],
    },
    /// Blocks of 256.
    Q8K {
        /// `n * stride` codes in -127..=127.
        qs: &'a [i8],
        /// `n * stride / 256` scales.
        d: &'a [f32],
        /// `n * stride / 16` sums of 16 codes.
        sums: &'a [i16],
    },
}

impl Columns<'_> {
    /// The form of the activations.
    pub fn activation(&self) -> Activation {
        match self.data {
            ColumnData::F32(_) => Activation::F32,
            ColumnData::Short(_) => Activation::Short,
            ColumnData::Q8 { .. } => Activation::Q8,
            ColumnData::Q8K { .. } => Activation::Q8K,
        }
    }

    /// Panics where the lengths are not those that `k` and `n` call for.
    pub(crate) fn check(&self) {
        let (codes, scales, sums) = self.activation().lens(self.activation().stride(self.k));
        let n = if self.wide { 2 * self.n } else { self.n };
        let expected = match self.data {
            ColumnData::F32(_) | ColumnData::Short(_) => (n * self.k, 0, 0),
            _ => (n * codes, n * scales, n * sums),
        };
        let found = match self.data {
            ColumnData::F32(x) | ColumnData::Short(x) => (x.len(), 0, 0),
            ColumnData::Q8 { qs, d, sums } | ColumnData::Q8K { qs, d, sums } => (qs.len(), d.len(), sums.len()),
        };
        assert_eq!(found, expected, "lengths of {} columns of {}", self.n, self.k);
    }
}

/// Quantizes one column `x` to codes, scales and sums, whose lengths are those of [`Activation::lens`]; plain floats need
/// nothing done.
///
/// Codes are `x * (127 / max)` rounded half to even. A block whose largest magnitude is below 2^-120 becomes all zero. One
/// with an infinity or a NaN gets zero codes and a NaN scale, so that the NaN reaches the result.
///
/// # Panics
/// Where the lengths differ from those.
#[inline(always)]
pub fn quantize<S: Simd>(s: S, kind: Activation, x: &[f32], qs: &mut [i8], d: &mut [f32], sums: &mut [i16]) {
    quantize_by(s, kind, x, |_, x| scales(x), qs, d, sums);
}

/// Quantizes what the codes of a column left of it: `rest` is `x` less code times scale, and `first` has the scales.
///
/// Codes are `rest * (128 / scale)` rounded half to even, and their scales 1/128 of the first ones. Where that factor is beyond
/// all floats, or not a number, they are zero.
///
/// # Panics
/// As [`quantize`] does, and where there are fewer of the first scales.
#[inline(always)]
pub fn quantize_rest<S: Simd>(
    s: S,
    kind: Activation,
    rest: &[f32],
    first: &[f32],
    qs: &mut [i8],
    d: &mut [f32],
    sums: &mut [i16],
) {
    const UNIT: f32 = 1.0 / UNITS as f32;
    let scales = |block: usize, _: &[f32]| {
        let factor = UNITS as f32 / first[block];
        [first[block] * UNIT, if factor.is_finite() { factor } else { 0.0 }]
    };
    quantize_by(s, kind, rest, scales, qs, d, sums);
}

/// Rounds to 13 significant bits, and then to multiples of 2^-123; magnitudes above 2^110 become that, and NaN stays NaN.
///
/// So the product with an `f16`, which has 11 bits and is a multiple of 2^-24, is a number of 24 bits that `f32` has: it is
/// exact, and whether it is rounded before it is added to a sum makes no difference.
///
/// The high part of a number is what Veltkamp's splitting gives (Dekker, A floating-point technique for extending the available
/// precision, 1971): with `u = (2^11 + 1) x`, it is `u - (u - x)`, each operation rounded.
#[inline(always)]
pub fn shorten<S: Simd>(s: S, x: &mut [f32]) {
    let (whole, rest) = x.as_chunks_mut();
    for x in whole {
        let short = shortened(s, s.floats(x));
        s.store_floats(short, x);
    }
    if rest.is_empty() {
        return;
    }
    let mut padded = [0.0; 16];
    padded[..rest.len()].copy_from_slice(rest);
    let short = shortened(s, s.floats(&padded));
    s.store_floats(short, &mut padded);
    rest.copy_from_slice(&padded[..rest.len()]);
}

#[inline(always)]
fn shortened<S: Simd>(s: S, x: S::Floats) -> S::Floats {
    const MOST: f32 = f32::from_bits((127 + 110) << 23);
    // What is added to it has its last bit at 2^-123.
    const SMALL: f32 = f32::from_bits((127 - 100) << 23);
    const SPLIT: f32 = (1 << 11) as f32 + 1.0;
    let (zero, least, small) = (s.splat_float(0.0), s.splat_float(-MOST), s.splat_float(SMALL));
    let at_most = s.sub(zero, s.max(least, s.sub(zero, x)));
    let x = s.sub(s.add(s.max(least, at_most), small), small);
    let u = s.mul(x, s.splat_float(SPLIT));
    s.sub(u, s.sub(u, x))
}

/// Quantizes `x`, given the scale and the factor of each block.
#[inline(always)]
fn quantize_by<S: Simd>(
    s: S,
    kind: Activation,
    x: &[f32],
    scales: impl Fn(usize, &[f32]) -> [f32; 2],
    qs: &mut [i8],
    d: &mut [f32],
    sums: &mut [i16],
) {
    assert_eq!((qs.len(), d.len(), sums.len()), kind.lens(x.len()), "{kind:?} of {} activations", x.len());
    match kind {
        Activation::F32 | Activation::Short => {}
        Activation::Q8 => blocks_of_32(s, x, scales, qs, d, sums),
        Activation::Q8K => blocks_of_256(s, x, scales, qs, d, sums.as_chunks_mut().0),
    }
}

/// Two blocks share a vector of codes. What the last one lacks is zero.
#[inline(always)]
fn blocks_of_32<S: Simd>(
    s: S,
    x: &[f32],
    scales: impl Fn(usize, &[f32]) -> [f32; 2],
    qs: &mut [i8],
    d: &mut [f32],
    sums: &mut [i16],
) {
    let (mut padded, mut spare) = ([0.0; 64], [0; 64]);
    let blocks = x.chunks(64).zip(qs.chunks_mut(64)).zip(d.chunks_mut(2).zip(sums.chunks_mut(2)));
    for (pair, ((x, qs), (d, sums))) in blocks.enumerate() {
        let x = x.first_chunk().unwrap_or_else(|| {
            padded[..x.len()].copy_from_slice(x);
            &padded
        });
        let [low, high] = x.as_chunks::<32>().0 else { unreachable!("64 are twice 32") };
        // The last block may be alone.
        let ([d_low, low], [d_high, high]) = (scales(2 * pair, low), scales(2 * pair + d.len() - 1, high));
        let [a, b, c, e] = quantize_64(s, x, [low, low, high, high], qs.first_chunk_mut().unwrap_or(&mut spare));
        if let Some(qs) = qs.first_chunk_mut::<32>().filter(|_| d.len() == 1) {
            *qs = *spare.first_chunk().expect("half of 64");
        }
        set(d, [d_low, d_high]);
        set(sums, [a + b, c + e]);
    }
}

/// Sets one number or both: written out, since a loop would become a call that copies memory.
#[inline(always)]
fn set<T>(to: &mut [T], [low, high]: [T; 2]) {
    match to {
        [only] => *only = low,
        [first, second] => (*first, *second) = (low, high),
        _ => unreachable!("one or two"),
    }
}

#[inline(always)]
fn blocks_of_256<S: Simd>(
    s: S,
    x: &[f32],
    scales: impl Fn(usize, &[f32]) -> [f32; 2],
    qs: &mut [i8],
    d: &mut [f32],
    sums: &mut [[i16; 16]],
) {
    let (x, qs) = (x.as_chunks::<256>().0, qs.as_chunks_mut::<256>().0);
    for (b, (((x, qs), d), sums)) in x.iter().zip(qs).zip(d).zip(sums).enumerate() {
        let [scale, factor] = scales(b, x);
        *d = scale;
        let (x, qs, sums) = (x.as_chunks::<64>().0, qs.as_chunks_mut::<64>().0, sums.as_chunks_mut::<4>().0);
        for ((x, qs), sums) in x.iter().zip(qs).zip(sums) {
            *sums = quantize_64(s, x, [factor; 4], qs);
        }
    }
}

/// Quantizes four quarters of 16, each with its factor (all zero where that is zero); returns the sums of their codes.
#[inline(always)]
fn quantize_64<S: Simd>(s: S, x: &[f32; 64], factors: [f32; 4], codes: &mut [i8; 64]) -> [i16; 4] {
    let mut scaled = [s.splat_float(0.0); 4];
    for ((scaled, x), factor) in scaled.iter_mut().zip(x.as_chunks().0).zip(factors) {
        if factor != 0.0 {
            *scaled = s.mul(s.floats(x), s.splat_float(factor));
        }
    }
    let rounded = s.round(scaled);
    s.store_codes(rounded, codes);
    s.sum_codes(rounded)
}

/// The scale of a block and what its activations are multiplied with.
#[inline(always)]
fn scales(x: &[f32]) -> [f32; 2] {
    const TINY: f32 = f32::from_bits((127 - 120) << 23);
    // The bits of magnitudes compare as the magnitudes do, with infinity and NaN above all numbers.
    let max = x.iter().fold(0, |max: i32, x| max.max((x.to_bits() & 0x7FFF_FFFF) as i32));
    let max = f32::from_bits(max as u32);
    if !max.is_finite() {
        [f32::NAN, 0.0]
    } else if max < TINY {
        [0.0, 0.0]
    } else {
        [max / 127.0, 127.0 / max]
    }
}
