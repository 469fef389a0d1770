//! Instruction sets behind one trait.
//!
//! A kernel is written once, as a [`Kernel`] that is generic over [`Simd`]: about fifty operations on vectors of 64 bytes,
//! 16 `i32` and 16 `f32`, which a level holds in as many registers as it needs. [`Level::run`] compiles it once per
//! [`Level`], inside a function that has the level's instructions enabled, so that plain loops in a kernel vectorize for
//! the level as well. The value that implements [`Simd`] is the proof that the CPU has the instructions, which
//! makes every operation safe to call.
//!
//! All levels give the same bits. Integer operations are exact within the ranges that they state; floating-point ones
//! round once each and are never fused.

#![allow(unsafe_code)]

#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
mod amx;
#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
mod avx2;
#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
mod avx512;
#[cfg(all(target_arch = "aarch64", target_feature = "neon", target_endian = "little"))]
mod neon;
mod scalar;
#[cfg(test)]
mod tests;
mod tiles;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod wasm;
#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
mod x86;

#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
pub use amx::Amx;
#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
pub use avx2::{Avx, Avx2, AvxVnni};
#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
pub use avx512::Avx512Vnni;
#[cfg(all(target_arch = "aarch64", target_feature = "neon", target_endian = "little"))]
pub use neon::{Arm, Neon, NeonDotprod, NeonI8mm};
pub use scalar::Scalar;
pub use tiles::{NoTiles, Tiles};
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
pub use wasm::{RelaxedPairs, RelaxedSimd, Simd128, Wasm};

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

/// Wide activations are of two codes: how many units of the second a unit of the first is.
pub const UNITS: i32 = 128;

/// An instruction set that kernels are compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Level {
    /// Plain Rust, on every machine.
    Scalar,
    /// x86-64 with AVX2, FMA and F16C.
    Avx2,
    /// x86-64 with AVX2, FMA, F16C and AVX-VNNI.
    AvxVnni,
    /// x86-64 with AVX-512 F, BW, DQ, VL and VNNI.
    Avx512Vnni,
    /// The same with AMX for 8-bit integers.
    AmxInt8,
    /// 64-bit Arm.
    Neon,
    /// 64-bit Arm with `dotprod`.
    NeonDotprod,
    /// 64-bit Arm with `dotprod` and `i8mm`.
    NeonI8mm,
    /// WebAssembly with SIMD.
    Simd128,
    /// WebAssembly with relaxed SIMD.
    RelaxedSimd,
    /// WebAssembly with relaxed SIMD, where its dot product of four numbers is made of that of two.
    RelaxedPairs,
}

impl Level {
    /// All levels; of those that a CPU can have, slowest first.
    pub const ALL: &[Level] = &[
        Level::Scalar,
        Level::Avx2,
        Level::AvxVnni,
        Level::Avx512Vnni,
        Level::AmxInt8,
        Level::Neon,
        Level::NeonDotprod,
        Level::NeonI8mm,
        Level::Simd128,
        Level::RelaxedSimd,
        Level::RelaxedPairs,
    ];

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
        #[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
        return x86::has(self);
        #[cfg(all(target_arch = "aarch64", target_feature = "neon", target_endian = "little"))]
        return neon::has(self);
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
        return wasm::has(self);
        #[allow(unreachable_code)] // Elsewhere.
        (self == Level::Scalar)
    }

    /// The name that [`FromStr`] reads.
    pub fn name(self) -> &'static str {
        match self {
            Level::Scalar => "scalar",
            Level::Avx2 => "avx2",
            Level::AvxVnni => "avx-vnni",
            Level::Avx512Vnni => "avx512-vnni",
            Level::AmxInt8 => "amx-int8",
            Level::Neon => "neon",
            Level::NeonDotprod => "neon-dotprod",
            Level::NeonI8mm => "neon-i8mm",
            Level::Simd128 => "simd128",
            Level::RelaxedSimd => "relaxed-simd",
            Level::RelaxedPairs => "relaxed-simd-pairs",
        }
    }

    /// Runs `kernel` with this level's instructions, or as [`Level::Scalar`] where the CPU lacks them: the result is the same.
    #[inline]
    pub fn run<K: Kernel>(self, kernel: K) -> K::Out {
        #[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
        match self {
            Level::Avx2 => {
                if let Some(token) = Avx2::new() {
                    return token.run(kernel);
                }
            }
            Level::AvxVnni => {
                if let Some(token) = AvxVnni::new() {
                    return token.run(kernel);
                }
            }
            Level::Avx512Vnni => {
                if let Some(token) = Avx512Vnni::new() {
                    return token.run(kernel);
                }
            }
            Level::AmxInt8 => {
                if let Some(token) = Avx512Vnni::with_tiles() {
                    return token.run(kernel);
                }
            }
            _ => {}
        }
        #[cfg(all(target_arch = "aarch64", target_feature = "neon", target_endian = "little"))]
        match self {
            Level::Neon => {
                if let Some(token) = Neon::new() {
                    return token.run(kernel);
                }
            }
            Level::NeonDotprod => {
                if let Some(token) = NeonDotprod::new() {
                    return token.run(kernel);
                }
            }
            Level::NeonI8mm => {
                if let Some(token) = NeonI8mm::new() {
                    return token.run(kernel);
                }
            }
            _ => {}
        }
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
        match self {
            #[cfg(target_feature = "relaxed-simd")]
            Level::RelaxedPairs => {
                if let Some(token) = RelaxedPairs::new() {
                    return token.run(kernel);
                }
            }
            #[cfg(target_feature = "relaxed-simd")]
            Level::RelaxedSimd => {
                if let Some(token) = RelaxedSimd::new() {
                    return token.run(kernel);
                }
            }
            #[cfg(any(test, not(target_feature = "relaxed-simd")))]
            Level::Simd128 => {
                if let Some(token) = Simd128::new() {
                    return token.run(kernel);
                }
            }
            _ => {}
        }
        // Where sessions refuse levels that are not there, this is not reached, and scalar code is not downloaded for nothing.
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128", not(test)))]
        unreachable!("{self} is not compiled");
        #[allow(unreachable_code)] // Elsewhere.
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
/// A [`Bytes`](Simd::Bytes) is four quarters of 16 bytes or 16 groups of 4; an [`Ints`](Simd::Ints) or
/// [`Floats`](Simd::Floats) has a lane for each of those groups. "Codes" are small integers in bytes: unsigned or signed
/// ones of weights, and signed ones of activations, which are always within -127..=127.
///
/// Sums of products of codes go through a [`Partial`](Simd::Partial): what an instruction set adds up before it has to widen
/// its numbers to `i32`. Where [`Simd::SUMS_32`] is set those are `i32` already, and any number of products may follow
/// each other; elsewhere they are `i16`, and the largest weights that go into one partial sum may add up to at most 129.
pub trait Simd: Copy + Send + Sync + 'static {
    /// 64 bytes.
    type Bytes: Copy;
    /// 16 `i32`.
    type Ints: Copy;
    /// 16 `f32`.
    type Floats: Copy;
    /// Sums of products of codes, on the way to 16 `i32`.
    type Partial: Copy;
    /// 16 integer scales of a block.
    type Scales: Copy;
    /// Registers of matrices, or [`NoTiles`].
    type Tiles: Tiles<Self::Bytes, Ints = Self::Ints>;

    /// How many vectors of sums fit in registers, beside what feeds them: 24, 6 or 3.
    const ACCUMULATORS: usize;
    /// Whether partial sums are `i32`.
    const SUMS_32: bool;
    /// Whether signed weights are better made unsigned, by adding 128, than given to [`Simd::dot_signed`].
    const PREFERS_UNSIGNED: bool;
    /// How far ahead [`Simd::prefetch`] is best called, in bytes, where memory is read in order.
    const AHEAD: usize = 32 << 10;
    /// Whether [`Simd::prefetch`] is an instruction, which inner loops have room for: else few columns meet blocks of 32 in the
    /// order of the file.
    const PREFETCHES: bool = true;

    /// Whether some CPUs of this level have tiles.
    const HAS_TILES: bool = false;

    /// The level that this is.
    fn level(self) -> Level;

    /// This thread's tiles, set up until they are dropped.
    #[inline(always)]
    fn tiles(self) -> Option<Self::Tiles> {
        None
    }

    /// Runs `kernel` in a function of its own that has this level's instructions.
    fn run<K: Kernel>(self, kernel: K) -> K::Out;

    /// Asks for the cache line at `offset` from the start of `bytes`, which may lie outside, in the second-level cache. Where
    /// there is no such instruction, it may be read.
    fn prefetch(self, bytes: &[u8], offset: usize);

    /// The same in the first-level cache.
    #[inline(always)]
    fn prefetch_near(self, bytes: &[u8], offset: usize) {
        self.prefetch(bytes, offset);
    }

    /// Asks for the cache lines of `to`, to be written: another core may have them, and stores wait for each other.
    fn prefetch_to_write<T>(self, _to: &mut [T]) {}

    /// 64 bytes from memory.
    fn bytes(self, from: &[u8; 64]) -> Self::Bytes;

    /// 64 codes from memory.
    fn codes(self, from: &[i8; 64]) -> Self::Bytes;

    /// The same 32 bytes twice.
    fn twice(self, from: &[u8; 32]) -> Self::Bytes;

    /// 16 bytes for each quarter.
    fn quarters(self, from: [&[u8; 16]; 4]) -> Self::Bytes;

    /// Every other 16 bytes of 128: the first, the third and so on, then the second and so on.
    #[inline(always)]
    fn alternate_quarters(self, from: &[u8; 128]) -> [Self::Bytes; 2] {
        let [a, b, c, d, e, f, g, h]: &[[u8; 16]; 8] = from.as_chunks().0.first_chunk().expect("8 parts");
        [self.quarters([a, c, e, g]), self.quarters([b, d, f, h])]
    }

    /// 16 codes for each quarter.
    fn code_quarters(self, from: [&[i8; 16]; 4]) -> Self::Bytes;

    /// 0xFF for bits that are set, else 0, from the lowest bit on.
    fn spread_bits(self, bits: u64) -> Self::Bytes;

    /// `byte` 64 times.
    fn splat(self, byte: u8) -> Self::Bytes;

    /// 4 codes 16 times.
    fn splat4(self, from: &[i8; 4]) -> Self::Bytes;

    /// Stores 64 bytes.
    fn store(self, bytes: Self::Bytes, to: &mut [u8; 64]);

    /// Stores 64 codes.
    fn store_codes(self, codes: Self::Bytes, to: &mut [i8; 64]);

    /// The sums of the codes of each quarter.
    fn sum_codes(self, codes: Self::Bytes) -> [i16; 4];

    /// Bitwise and.
    fn and(self, a: Self::Bytes, b: Self::Bytes) -> Self::Bytes;

    /// Bitwise or.
    fn or(self, a: Self::Bytes, b: Self::Bytes) -> Self::Bytes;

    /// Bitwise exclusive or.
    fn xor(self, a: Self::Bytes, b: Self::Bytes) -> Self::Bytes;

    /// Each byte of quarter `q` shifted right by `shifts[q]` bits, or left by `-shifts[q]`, under `mask`, which must be zero
    /// where zeros come in. Shifts are -7 to 7.
    fn field(self, a: Self::Bytes, shifts: [i32; 4], mask: u8) -> Self::Bytes;

    /// The byte of `table` at each index, which must be below 16.
    fn lookup(self, table: &[u8; 16], index: Self::Bytes) -> Self::Bytes;

    /// Transposes a square of 16 x 16 groups of 4 bytes.
    fn transpose(self, rows: [Self::Bytes; 16]) -> [Self::Bytes; 16];

    /// Transposes 4 x 4 groups of 4 bytes in each quarter: group `g` of quarter `q` of vector `v` goes to group `v` of quarter
    /// `q` of vector `g`.
    fn turn(self, rows: [Self::Bytes; 4]) -> [Self::Bytes; 4];

    /// Starts sums of products from `sum`. Where [`Simd::SUMS_32`] is not set, it should be a constant zero if
    /// [`Simd::add_scaled`] is to end them.
    fn open(self, sum: Self::Ints) -> Self::Partial;

    /// Starts the sums of all products of 32 weights, each at most 15, and as many activations, that add up to `sum`: from
    /// `-offset` times `sum`. The offset is even and at most 16.
    #[inline(always)]
    fn open_less(self, offset: i32, sum: i16) -> Self::Partial {
        self.open(self.splat_int(-offset * sum as i32))
    }

    /// Adds the products of unsigned weights and signed activations, lane `i` taking codes `4i..4i+4`. Weights are at most
    /// 127, or 255 where [`Simd::PREFERS_UNSIGNED`] is set.
    fn dot(self, sum: Self::Partial, weights: Self::Bytes, x: Self::Bytes) -> Self::Partial;

    /// [`Simd::dot`] with four codes repeated: group `G` of `x`.
    #[inline(always)]
    fn dot_group<const G: usize>(self, sum: Self::Partial, weights: Self::Bytes, x: &[i8; 32]) -> Self::Partial {
        self.dot(sum, weights, self.splat4(&x.as_chunks().0[G]))
    }

    /// The same for signed weights (-128 to 127). Where [`Simd::SUMS_32`] is not set, these must be the only products
    /// between [`Simd::open`] and the end.
    fn dot_signed(self, sum: Self::Partial, weights: Self::Bytes, x: Self::Bytes) -> Self::Partial;

    /// The sums.
    fn close(self, sum: Self::Partial) -> Self::Ints;

    /// `total` plus each lane's sum times its [scale](Simd::lane_scale); the results must fit.
    fn add_scaled(self, total: Self::Ints, sum: Self::Partial, scale: Self::Ints) -> Self::Ints;

    /// The same for sums within `i16`, and scales that were made for it.
    fn add_scaled_short(self, total: Self::Ints, sum: Self::Partial, scale: Self::Ints) -> Self::Ints;

    /// 16 `i8`, first in the lowest byte, for [`Simd::add_scaled`] or, where `SHORT` is set, for [`Simd::add_scaled_short`].
    fn scales<const SHORT: bool>(self, numbers: &[u8; 16]) -> Self::Scales;

    /// In each quarter, the 8 scales of a block of `Q4_K` or `Q5_K` and then its 8 minima, from the block's first 16 bytes. The
    /// last 12 of these have 6 bits for each: the first four of both are the low bits of bytes 0-3 and 4-7; the others have their
    /// low 4 bits in the nibbles of bytes 8-11, and their high 2 bits on top of those first bytes.
    #[inline(always)]
    fn six_bit_scales(self, blocks: [&[u8; 16]; 4]) -> Self::Bytes {
        let [a, b, c, d] = blocks;
        self.quarters([&six_bits(a), &six_bits(b), &six_bits(c), &six_bits(d)])
    }

    /// For the four groups of each quarter `q`, scale `list[q]`.
    fn quarter_scales<const SHORT: bool>(self, scales: Self::Scales, list: [usize; 4]) -> Self::Ints;

    /// For each group, its byte `j` (0 to 3) as an `i8`, in the form that [`Simd::add_scaled`] takes.
    fn lane_scale(self, groups: Self::Bytes, j: usize) -> Self::Ints;

    /// For each group, its bytes `a` and `b` (0 to 3) as `i8`, as a pair of `i16`, first in the low half.
    fn lane_pair(self, groups: Self::Bytes, a: usize, b: usize) -> Self::Ints;

    /// In each quarter, the products of its 16 `i8` with the same 16 `i16`, summed in some order to its four lanes. No `i16` may
    /// be -32768.
    fn dot_sums(self, numbers: Self::Bytes, sums: &[i16; 16]) -> Self::Ints;

    /// The sums of pairs that follow each other, which must fit.
    fn sum_pairs(self, from: &[i16; 16]) -> [i16; 8];

    /// 16 integers from memory.
    fn ints(self, from: &[i32; 16]) -> Self::Ints;

    /// 16 integers from memory, widened.
    fn short_ints(self, from: &[i16; 16]) -> Self::Ints;

    /// Stores 16 integers.
    fn store_ints(self, ints: Self::Ints, to: &mut [i32; 16]);

    /// `value` 16 times.
    fn splat_int(self, value: i32) -> Self::Ints;

    /// The same pair of `i16` in each lane.
    fn splat_pair(self, from: &[i16; 2]) -> Self::Ints;

    /// `sum` plus the dot product of each lane's pairs of `i16`, none of which is -32768; the results must fit.
    fn add_pairs(self, sum: Self::Ints, a: Self::Ints, b: Self::Ints) -> Self::Ints;

    /// [`Simd::add_pairs`] with one pair repeated: pair `J` of `x`.
    #[inline(always)]
    fn add_pair<const J: usize>(self, sum: Self::Ints, a: Self::Ints, x: &[i16; 16]) -> Self::Ints {
        self.add_pairs(sum, a, self.splat_pair(&x.as_chunks().0[J]))
    }

    /// The sum of each quarter's products of codes, up to 15, with activations.
    #[inline(always)]
    fn store_products(self, [low, high]: [Self::Bytes; 2], [x_low, x_high]: [Self::Bytes; 2], to: &mut [i32; 4]) {
        let sum = self.dot(self.open(self.splat_int(0)), low, x_low);
        self.store_sums(self.close(self.dot(sum, high, x_high)), to);
    }

    /// Puts activations into the form that [`Simd::dot_prepared`] takes at this level.
    #[inline(always)]
    fn prepare(self, x: &[i8; 32], to: &mut [i16; 32]) {
        *to = x.map(i16::from);
    }

    /// The products of signed weights with 32 activations for each quarter, the first 16 with `low`: in the four lanes of the
    /// quarter, of which each level may choose any.
    #[inline(always)]
    fn dot_prepared(self, weights: [Self::Bytes; 2], x: [&[i16; 32]; 4]) -> Self::Ints {
        self.dot_wide(weights, x)
    }

    /// Puts wide activations, of first and second codes, into the form that [`Simd::dot_wide`] takes at this level.
    #[inline(always)]
    fn prepare_wide(self, [first, second]: [&[i8; 32]; 2], to: &mut [i16; 32]) {
        for ((to, first), second) in to.iter_mut().zip(first).zip(second) {
            *to = UNITS as i16 * i16::from(*first) + i16::from(*second);
        }
    }

    /// The same as [`Simd::dot_prepared`] with wide activations.
    #[inline(always)]
    fn dot_wide(self, [low, high]: [Self::Bytes; 2], x: [&[i16; 32]; 4]) -> Self::Ints {
        let (mut weights, mut sums) = ([[0; 64]; 2], [0; 16]);
        self.store(low, &mut weights[0]);
        self.store(high, &mut weights[1]);
        for (i, sum) in sums.iter_mut().enumerate() {
            for (weights, x) in weights.iter().zip(x[i / 4].as_chunks::<16>().0) {
                let products = weights[4 * i..4 * i + 4].iter().zip(&x[4 * (i % 4)..]);
                *sum += products.map(|(w, x)| i32::from(*w as i8) * i32::from(*x)).sum::<i32>();
            }
        }
        self.ints(&sums)
    }

    /// Stores the sum of the four lanes of each quarter.
    #[inline(always)]
    fn store_sums(self, ints: Self::Ints, to: &mut [i32; 4]) {
        let mut lanes = [0; 16];
        self.store_ints(ints, &mut lanes);
        for (to, lanes) in to.iter_mut().zip(lanes.as_chunks::<4>().0) {
            *to = lanes.iter().fold(0, |sum, lane| sum.wrapping_add(*lane));
        }
    }

    /// Adds the numbers of four rows, which are of one length, to a sum each, one after the other.
    #[inline(always)]
    fn add_in_order(self, mut sums: [f32; 4], rows: [&[f32]; 4]) -> [f32; 4] {
        for (sum, row) in sums.iter_mut().zip(rows) {
            row.iter().for_each(|x| *sum += x);
        }
        sums
    }

    /// Wrapping difference.
    fn sub_ints(self, a: Self::Ints, b: Self::Ints) -> Self::Ints;

    /// Each lane times `factor`, wrapping.
    fn mul_int(self, a: Self::Ints, factor: i32) -> Self::Ints;

    /// Lane `4q + r` is the sum of the four lanes of quarter `q` of vector `r`.
    fn sum_quads(self, vectors: [Self::Ints; 4]) -> Self::Ints;

    /// Lane `8v + 4h + r` is the sum of the two lanes `r` of quarters `2h` and `2h + 1` of vector `v`.
    fn sum_halves(self, vectors: [Self::Ints; 2]) -> Self::Ints;

    /// Lane `4v + r` is the sum of the four lanes `r` of the quarters of vector `v`.
    fn sum_quarters(self, vectors: [Self::Ints; 4]) -> Self::Ints;

    /// Conversion to `f32`, rounded to nearest even.
    fn to_floats(self, ints: Self::Ints) -> Self::Floats;

    /// 16 codes from memory, as floats.
    fn code_floats(self, from: &[i8; 16]) -> Self::Floats;

    /// 16 floats from memory.
    fn floats(self, from: &[f32; 16]) -> Self::Floats;

    /// 16 little-endian `f32` from memory.
    fn f32s(self, from: &[u8; 64]) -> Self::Floats;

    /// 16 little-endian `f16` from memory, exactly.
    fn f16s(self, from: &[u8; 32]) -> Self::Floats;

    /// 16 `f16` from memory, exactly.
    fn halfs(self, from: &[u16; 16]) -> Self::Floats;

    /// Widens 64 `f16`, exactly.
    #[inline(always)]
    fn widen_halfs(self, from: &[u16; 64], to: &mut [f32; 64]) {
        for (from, to) in from.as_chunks().0.iter().zip(to.as_chunks_mut().0) {
            self.store_floats(self.halfs(from), to);
        }
    }

    /// 16 little-endian `bf16` from memory, exactly.
    fn bf16s(self, from: &[u8; 32]) -> Self::Floats;

    /// The `f16` in the low and in the high bits of 16 numbers, exactly.
    fn half_pairs(self, bits: &[u32; 16]) -> [Self::Floats; 2];

    /// Stores 16 floats.
    fn store_floats(self, floats: Self::Floats, to: &mut [f32; 16]);

    /// Stores 16 floats as `f16`, rounded to nearest even.
    fn store_halfs(self, floats: Self::Floats, to: &mut [u16; 16]);

    /// `value` 16 times.
    fn splat_float(self, value: f32) -> Self::Floats;

    /// 64 numbers of magnitude up to 127 as codes, rounded to nearest, half to even.
    fn round(self, floats: [Self::Floats; 4]) -> Self::Bytes;

    /// Sum.
    fn add(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;

    /// Difference.
    fn sub(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;

    /// Product.
    fn mul(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;

    /// `sum` plus the product of `a` and `b`, which is exact in `f32`, or not finite: in one instruction where there is one.
    #[inline(always)]
    fn add_exact(self, sum: Self::Floats, a: Self::Floats, b: Self::Floats) -> Self::Floats {
        self.add(sum, self.mul(a, b))
    }

    /// The greater; `b` where either is a NaN or both are zero.
    fn max(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;

    /// Lane `v` is the sum of the lanes of vector `v`: lanes `l` and `l + 8` are added, then `l` and `l + 4`, `l` and
    /// `l + 2`, `l` and `l + 1`.
    fn sum_lanes(self, vectors: &[Self::Floats; 16]) -> Self::Floats;
}

/// What [`Simd::six_bit_scales`] makes of one block.
#[inline(always)]
fn six_bits(block: &[u8; 16]) -> [u8; 16] {
    let [_, a, b, c] = [0, 1, 2, 3].map(|i| u32::from_le_bytes(block.as_chunks().0[i]));
    let scales = [a & 0x3F3F_3F3F, c & 0x0F0F_0F0F | (a >> 2) & 0x3030_3030];
    let mins = [b & 0x3F3F_3F3F, (c >> 4) & 0x0F0F_0F0F | (b >> 2) & 0x3030_3030];
    let join = |[low, high]: [u32; 2]| u128::from(low) | u128::from(high) << 32;
    (join(scales) | join(mins) << 64).to_le_bytes()
}
