//! Every operation in plain Rust: what the other levels are tested against.

use super::{Kernel, Level, Simd};
use core::array::from_fn;
use half::{bf16, f16};

/// The level that every machine has.
#[derive(Debug, Clone, Copy)]
pub struct Scalar;

/// The `i16` in the low and in the high half of a lane.
#[inline(always)]
fn pair(lane: i32) -> (i32, i32) {
    (lane as i16 as i32, lane >> 16)
}

#[inline(always)]
fn pack(low: i16, high: i16) -> i32 {
    low as u16 as i32 | (high as i32) << 16
}

impl Simd for Scalar {
    type Bytes = [u8; 32];
    type Ints = [i32; 8];
    type Floats = [f32; 8];
    type Partial = [i16; 16];
    type Scales = [i16; 16];

    #[inline(always)]
    fn level(self) -> Level {
        Level::Scalar
    }

    #[inline(never)]
    fn run<K: Kernel>(self, kernel: K) -> K::Out {
        kernel.run(self)
    }

    #[inline(always)]
    fn prefetch(self, _bytes: &[u8], _offset: usize) {}

    #[inline(always)]
    fn prefetch_far(self, _bytes: &[u8], _offset: usize) {}

    #[inline(always)]
    fn bytes(self, from: &[u8; 32]) -> [u8; 32] {
        *from
    }

    #[inline(always)]
    fn pair(self, low: &[u8; 16], high: &[u8; 16]) -> [u8; 32] {
        from_fn(|i| if i < 16 { low[i] } else { high[i - 16] })
    }

    #[inline(always)]
    fn twice(self, from: &[u8; 16]) -> [u8; 32] {
        from_fn(|i| from[i % 16])
    }

    #[inline(always)]
    fn twice_codes(self, from: &[i8; 16]) -> [u8; 32] {
        from_fn(|i| from[i % 16] as u8)
    }

    #[inline(always)]
    fn spread_bits(self, low: &[u8; 4], high: &[u8; 4]) -> [[u8; 32]; 2] {
        let numbers = [low, high].map(|bytes| u32::from_le_bytes(*bytes));
        from_fn(|part| from_fn(|i| if numbers[i / 16] >> (16 * part + i % 16) & 1 == 1 { 0xFF } else { 0 }))
    }

    #[inline(always)]
    fn splat(self, byte: u8) -> [u8; 32] {
        [byte; 32]
    }

    #[inline(always)]
    fn splat4(self, from: &[i8; 4]) -> [u8; 32] {
        from_fn(|i| from[i % 4] as u8)
    }

    #[inline(always)]
    fn join(self, low: u128, high: u128) -> [u8; 32] {
        let halves = [low.to_le_bytes(), high.to_le_bytes()];
        from_fn(|i| halves[i / 16][i % 16])
    }

    #[inline(always)]
    fn store(self, bytes: [u8; 32], to: &mut [u8; 32]) {
        *to = bytes;
    }

    #[inline(always)]
    fn sum_codes(self, codes: [u8; 32]) -> [i16; 2] {
        from_fn(|half| codes[16 * half..][..16].iter().map(|&code| code as i8 as i16).sum())
    }

    #[inline(always)]
    fn store_codes(self, codes: [u8; 32], to: &mut [i8; 32]) {
        *to = codes.map(|code| code as i8);
    }

    #[inline(always)]
    fn and(self, a: [u8; 32], b: [u8; 32]) -> [u8; 32] {
        from_fn(|i| a[i] & b[i])
    }

    #[inline(always)]
    fn or(self, a: [u8; 32], b: [u8; 32]) -> [u8; 32] {
        from_fn(|i| a[i] | b[i])
    }

    #[inline(always)]
    fn field(self, a: [u8; 32], shift: i32, mask: u8) -> [u8; 32] {
        if shift < 0 { a.map(|byte| byte << -shift & mask) } else { a.map(|byte| byte >> shift & mask) }
    }

    #[inline(always)]
    fn lookup(self, table: [u8; 32], index: [u8; 32]) -> [u8; 32] {
        index.map(|i| table[i as usize & 15])
    }

    #[inline(always)]
    fn transpose(self, rows: [[u8; 32]; 4]) -> [[u8; 32]; 4] {
        from_fn(|group| from_fn(|i| rows[i / 4 % 4][i / 16 * 16 + group * 4 + i % 4]))
    }

    #[inline(always)]
    fn widen(self, bytes: [u8; 32], a: u32, b: u32) -> [i32; 8] {
        let at = |i: usize, byte: u32| bytes[4 * i + byte as usize] as i8 as i16;
        from_fn(|i| pack(at(i, a), at(i, b)))
    }

    #[inline(always)]
    fn partial(self) -> [i16; 16] {
        [0; 16]
    }

    #[inline(always)]
    fn partial_dot(self, sum: [i16; 16], weights: [u8; 32], x: [u8; 32]) -> [i16; 16] {
        let product = |i: usize| weights[i] as i16 * (x[i] as i8 as i16);
        from_fn(|i| sum[i] + (product(2 * i) + product(2 * i + 1)))
    }

    #[inline(always)]
    fn partial_signed(self, weights: [u8; 32], x: [u8; 32]) -> [i16; 16] {
        let product = |i: usize| weights[i] as i8 as i16 * (x[i] as i8 as i16);
        from_fn(|i| product(2 * i) + product(2 * i + 1))
    }

    #[inline(always)]
    fn add_scaled(self, sum: [i32; 8], partial: [i16; 16], scale: [i32; 8]) -> [i32; 8] {
        from_fn(|i| sum[i] + (partial[2 * i] as i32 + partial[2 * i + 1] as i32) * pair(scale[i]).0)
    }

    #[inline(always)]
    fn scales(self, low: u64, high: u64) -> [i16; 16] {
        (low as u128 | (high as u128) << 64).to_le_bytes().map(|byte| byte as i8 as i16)
    }

    #[inline(always)]
    fn sums(self, from: &[i16; 8]) -> [i16; 16] {
        from_fn(|i| from[i % 8])
    }

    #[inline(always)]
    fn scale(self, scales: [i16; 16], j: usize) -> [i32; 8] {
        from_fn(|i| pack(scales[i / 4 * 8 + j], scales[i / 4 * 8 + j]))
    }

    #[inline(always)]
    fn dot_scales(self, a: [i16; 16], b: [i16; 16]) -> [i32; 8] {
        from_fn(|i| a[2 * i] as i32 * b[2 * i] as i32 + a[2 * i + 1] as i32 * b[2 * i + 1] as i32)
    }

    #[inline(always)]
    fn ints(self, from: &[i32; 8]) -> [i32; 8] {
        *from
    }

    #[inline(always)]
    fn store_ints(self, ints: [i32; 8], to: &mut [i32; 8]) {
        *to = ints;
    }

    #[inline(always)]
    fn splat_int(self, value: i32) -> [i32; 8] {
        [value; 8]
    }

    #[inline(always)]
    fn splat_pair(self, from: &[i16; 2]) -> [i32; 8] {
        [pack(from[0], from[1]); 8]
    }

    #[inline(always)]
    fn add_pairs(self, sum: [i32; 8], a: [i32; 8], b: [i32; 8]) -> [i32; 8] {
        let dot = |a: i32, b: i32| pair(a).0 * pair(b).0 + pair(a).1 * pair(b).1;
        from_fn(|i| sum[i] + dot(a[i], b[i]))
    }

    #[inline(always)]
    fn add_ints(self, a: [i32; 8], b: [i32; 8]) -> [i32; 8] {
        from_fn(|i| a[i].wrapping_add(b[i]))
    }

    #[inline(always)]
    fn sub_ints(self, a: [i32; 8], b: [i32; 8]) -> [i32; 8] {
        from_fn(|i| a[i].wrapping_sub(b[i]))
    }

    #[inline(always)]
    fn mul_int(self, a: [i32; 8], factor: i32) -> [i32; 8] {
        a.map(|lane| lane.wrapping_mul(factor))
    }

    #[inline(always)]
    fn sum_each(self, rows: [[i32; 8]; 4]) -> [i32; 8] {
        from_fn(|i| rows[i % 4][i / 4 * 4..][..4].iter().sum())
    }

    #[inline(always)]
    fn to_floats(self, ints: [i32; 8]) -> [f32; 8] {
        ints.map(|lane| lane as f32)
    }

    #[inline(always)]
    fn floats(self, from: &[f32; 8]) -> [f32; 8] {
        *from
    }

    #[inline(always)]
    fn f32s(self, from: &[u8; 32]) -> [f32; 8] {
        from_fn(|i| f32::from_le_bytes(from_fn(|j| from[4 * i + j])))
    }

    #[inline(always)]
    fn f16s(self, from: &[u8; 16]) -> [f32; 8] {
        from_fn(|i| f16::from_le_bytes([from[2 * i], from[2 * i + 1]]).to_f32())
    }

    #[inline(always)]
    fn bf16s(self, from: &[u8; 16]) -> [f32; 8] {
        from_fn(|i| bf16::from_le_bytes([from[2 * i], from[2 * i + 1]]).to_f32())
    }

    #[inline(always)]
    fn half_pairs(self, bits: [u32; 8]) -> [[f32; 8]; 2] {
        let half = |bits: u32| f16::from_bits(bits as u16).to_f32();
        [bits.map(half), bits.map(|bits| half(bits >> 16))]
    }

    #[inline(always)]
    fn store_floats(self, floats: [f32; 8], to: &mut [f32; 8]) {
        *to = floats;
    }

    #[inline(always)]
    fn splat_float(self, value: f32) -> [f32; 8] {
        [value; 8]
    }

    #[inline(always)]
    fn round(self, floats: [[f32; 8]; 4]) -> [u8; 32] {
        const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23: the sum has the integer in its low bits
        from_fn(|i| (floats[i / 8][i % 8] + ROUND).to_bits().wrapping_sub(ROUND.to_bits()) as u8)
    }

    #[inline(always)]
    fn add(self, a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        from_fn(|i| a[i] + b[i])
    }

    #[inline(always)]
    fn sub(self, a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        from_fn(|i| a[i] - b[i])
    }

    #[inline(always)]
    fn mul(self, a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        from_fn(|i| a[i] * b[i])
    }
}
