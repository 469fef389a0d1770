//! Instruction sets behind one trait.
//!
//! A kernel is written once, as a [`Kernel`] that is generic over [`Simd`]: about forty operations on vectors of 32 bytes,
//! eight `i32` and eight `f32`. [`Level::run`] compiles it once per [`Level`], inside a function that has the level's
//! instructions enabled, so that plain loops in a kernel vectorize for the level as well. The zero-sized value that
//! implements [`Simd`] is the proof that the CPU has the instructions, which makes every operation safe to call.
//!
//! All levels give the same bits. Integer operations are exact within the ranges that they state; floating-point ones
//! round once each and are never fused.

#![allow(unsafe_code)]

#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
mod avx2;
mod scalar;
#[cfg(test)]
mod tests;

#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
pub use avx2::Avx2;
pub use scalar::Scalar;

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

/// An instruction set that kernels are compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Level {
    /// Plain Rust, on every machine.
    Scalar,
    /// x86-64 with AVX2 and F16C.
    Avx2,
}

impl Level {
    /// All levels, slowest first.
    pub const ALL: &[Level] = &[Level::Scalar, Level::Avx2];

    /// The fastest level that this CPU has.
    pub fn best() -> Level {
        Self::ALL.iter().rev().copied().find(|level| level.is_available()).unwrap_or(Level::Scalar)
    }

    /// The levels that this CPU has, slowest first.
    pub fn available() -> Vec<Level> {
        Self::ALL.iter().copied().filter(|level| level.is_available()).collect()
    }

    /// Whether this CPU has the level.
    pub fn is_available(self) -> bool {
        match self {
            Level::Scalar => true,
            #[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
            Level::Avx2 => Avx2::new().is_some(),
            #[cfg(not(all(target_arch = "x86_64", target_feature = "sse2")))]
            Level::Avx2 => false,
        }
    }

    /// The name that [`FromStr`] reads.
    pub fn name(self) -> &'static str {
        match self {
            Level::Scalar => "scalar",
            Level::Avx2 => "avx2",
        }
    }

    /// Runs `kernel` with this level's instructions, or as [`Level::Scalar`] where the CPU lacks them: the result is the same.
    #[inline]
    pub fn run<K: Kernel>(self, kernel: K) -> K::Out {
        #[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
        if self == Level::Avx2
            && let Some(avx2) = Avx2::new()
        {
            return avx2.run(kernel);
        }
        Scalar.run(kernel)
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Why a level's name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LevelError {
    /// There is no such level.
    #[error("unknown instruction set `{0}`: expected one of {all}; this CPU has {here}", all = names(Level::ALL), here = names(&Level::available()))]
    Unknown(String),
    /// The level exists, but not on this CPU.
    #[error("this CPU lacks the instruction set `{0}`: it has {here}", here = names(&Level::available()))]
    Unavailable(Level),
}

fn names(levels: &[Level]) -> String {
    levels.iter().map(|level| level.name()).collect::<Vec<_>>().join(", ")
}

impl FromStr for Level {
    type Err = LevelError;

    fn from_str(name: &str) -> Result<Level, LevelError> {
        let level = Level::ALL.iter().copied().find(|level| level.name() == name);
        let level = level.ok_or_else(|| LevelError::Unknown(name.to_string()))?;
        if level.is_available() { Ok(level) } else { Err(LevelError::Unavailable(level)) }
    }
}

/// Code that is compiled once per level.
pub trait Kernel {
    /// What it returns.
    type Out;

    /// Does the work. Implementations must be `#[inline(always)]`, as must the functions that they call in hot loops:
    /// only what is inlined into the level's entry point is compiled with its instructions.
    fn run<S: Simd>(self, s: S) -> Self::Out;
}

/// Operations of an instruction set.
///
/// A [`Bytes`](Simd::Bytes) is two halves of 16 bytes, one for each of two rows; an [`Ints`](Simd::Ints) or
/// [`Floats`](Simd::Floats) is then four lanes for each of them, or one lane for each of eight rows. "Codes" are small
/// integers in bytes: unsigned ones of weights, signed ones of activations, the latter always within -127..=127. A *pair
/// scale* is an `Ints` whose every lane holds the same `i16` twice; other pairs of `i16` are packed the same way, first
/// in the low half.
pub trait Simd: Copy + Send + Sync + 'static {
    /// 2 x 16 bytes.
    type Bytes: Copy;
    /// 8 `i32`.
    type Ints: Copy;
    /// 8 `f32`.
    type Floats: Copy;
    /// Sums of products of codes not yet widened: some number of `i16` or wider lanes for each of 8 `i32` lanes.
    type Partial: Copy;
    /// 2 x 8 `i16`.
    type Scales: Copy;

    /// The level that this is.
    fn level(self) -> Level;

    /// Runs `kernel` in a function of its own that has this level's instructions.
    fn run<K: Kernel>(self, kernel: K) -> K::Out;

    /// Asks for the cache line at `offset` from the start of `bytes`, which may lie outside.
    fn prefetch(self, bytes: &[u8], offset: usize);

    /// As [`Simd::prefetch`], into the second-level cache: for what is needed only after more than fits the first.
    fn prefetch_far(self, bytes: &[u8], offset: usize);

    /// 32 bytes from memory.
    fn bytes(self, from: &[u8; 32]) -> Self::Bytes;

    /// 16 bytes for each half.
    fn pair(self, low: &[u8; 16], high: &[u8; 16]) -> Self::Bytes;

    /// The same 16 bytes in both halves.
    fn twice(self, from: &[u8; 16]) -> Self::Bytes;

    /// The same 16 codes in both halves.
    fn twice_codes(self, from: &[i8; 16]) -> Self::Bytes;

    /// Bytes 0xFF for bits that are set, else 0: in each half, bits 0 to 15 of its number, then bits 16 to 31.
    fn spread_bits(self, low: &[u8; 4], high: &[u8; 4]) -> [Self::Bytes; 2];

    /// `byte` 32 times.
    fn splat(self, byte: u8) -> Self::Bytes;

    /// 4 codes 8 times.
    fn splat4(self, from: &[i8; 4]) -> Self::Bytes;

    /// Numbers as little-endian halves.
    fn join(self, low: u128, high: u128) -> Self::Bytes;

    /// Stores 32 bytes.
    fn store(self, bytes: Self::Bytes, to: &mut [u8; 32]);

    /// The sums of the codes of each half.
    fn sum_codes(self, codes: Self::Bytes) -> [i16; 2];

    /// Stores 32 codes.
    fn store_codes(self, codes: Self::Bytes, to: &mut [i8; 32]);

    /// Bitwise and.
    fn and(self, a: Self::Bytes, b: Self::Bytes) -> Self::Bytes;

    /// Bitwise or.
    fn or(self, a: Self::Bytes, b: Self::Bytes) -> Self::Bytes;

    /// Each byte shifted right by `shift` bits, or left by `-shift`, under `mask`, which must be zero where zeros come in.
    fn field(self, a: Self::Bytes, shift: i32, mask: u8) -> Self::Bytes;

    /// The byte of `table` at each index, where both halves of `table` are the same and indices are below 16.
    fn lookup(self, table: Self::Bytes, index: Self::Bytes) -> Self::Bytes;

    /// Transposes, in each half, a square of 4 x 4 groups of 4 bytes.
    fn transpose(self, rows: [Self::Bytes; 4]) -> [Self::Bytes; 4];

    /// In lane `i`, bytes `a` and `b` (0 to 3) of group `i` of 4 bytes, taken as `i8`, as a pair of `i16`.
    fn widen(self, bytes: Self::Bytes, a: u32, b: u32) -> Self::Ints;

    /// No sum yet.
    fn partial(self) -> Self::Partial;

    /// Adds the products of unsigned codes of weights and signed ones of activations, lane `i` taking codes `4i..4i+4`.
    /// Exact while the largest codes of the weights of all calls that go into one sum add up to at most 129.
    fn partial_dot(self, sum: Self::Partial, weights: Self::Bytes, x: Self::Bytes) -> Self::Partial;

    /// The products of signed codes (of weights: -128 to 127), lane `i` taking codes `4i..4i+4`.
    fn partial_signed(self, weights: Self::Bytes, x: Self::Bytes) -> Self::Partial;

    /// `sum` plus each lane's partial sum times its pair scale, whose numbers are -128 to 127; the results must fit.
    fn add_scaled(self, sum: Self::Ints, partial: Self::Partial, scale: Self::Ints) -> Self::Ints;

    /// 8 `i8` for each half, first in the lowest byte.
    fn scales(self, low: u64, high: u64) -> Self::Scales;

    /// The same 8 numbers in both halves.
    fn sums(self, from: &[i16; 8]) -> Self::Scales;

    /// In each half's lanes, number `j` of that half as a pair scale.
    fn scale(self, scales: Self::Scales, j: usize) -> Self::Ints;

    /// Products of numbers, summed to 4 lanes in each half. None may be -32768.
    fn dot_scales(self, a: Self::Scales, b: Self::Scales) -> Self::Ints;

    /// 8 integers from memory.
    fn ints(self, from: &[i32; 8]) -> Self::Ints;

    /// Stores 8 integers.
    fn store_ints(self, ints: Self::Ints, to: &mut [i32; 8]);

    /// `value` 8 times.
    fn splat_int(self, value: i32) -> Self::Ints;

    /// The same pair of `i16` in each lane.
    fn splat_pair(self, from: &[i16; 2]) -> Self::Ints;

    /// `sum` plus the dot product of each lane's pairs of `i16`, none of which is -32768; the results must fit.
    fn add_pairs(self, sum: Self::Ints, a: Self::Ints, b: Self::Ints) -> Self::Ints;

    /// Wrapping sum.
    fn add_ints(self, a: Self::Ints, b: Self::Ints) -> Self::Ints;

    /// Wrapping difference.
    fn sub_ints(self, a: Self::Ints, b: Self::Ints) -> Self::Ints;

    /// Each lane times `factor`, wrapping.
    fn mul_int(self, a: Self::Ints, factor: i32) -> Self::Ints;

    /// Lanes `i` and `4 + i` are the sums of the low and of the high lanes of vector `i`.
    fn sum_each(self, rows: [Self::Ints; 4]) -> Self::Ints;

    /// Conversion to `f32`, rounded to nearest even.
    fn to_floats(self, ints: Self::Ints) -> Self::Floats;

    /// 8 floats from memory.
    fn floats(self, from: &[f32; 8]) -> Self::Floats;

    /// 8 little-endian `f32` from memory.
    fn f32s(self, from: &[u8; 32]) -> Self::Floats;

    /// 8 little-endian `f16` from memory, exactly.
    fn f16s(self, from: &[u8; 16]) -> Self::Floats;

    /// 8 little-endian `bf16` from memory, exactly.
    fn bf16s(self, from: &[u8; 16]) -> Self::Floats;

    /// The `f16` in the low and in the high bits of 8 numbers, exactly.
    fn half_pairs(self, bits: [u32; 8]) -> [Self::Floats; 2];

    /// Stores 8 floats.
    fn store_floats(self, floats: Self::Floats, to: &mut [f32; 8]);

    /// `value` 8 times.
    fn splat_float(self, value: f32) -> Self::Floats;

    /// 32 numbers of magnitude up to 127 as codes, rounded to nearest, half to even.
    fn round(self, floats: [Self::Floats; 4]) -> Self::Bytes;

    /// Sum.
    fn add(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;

    /// Difference.
    fn sub(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;

    /// Product.
    fn mul(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
}
