//! Every operation in plain Rust: what the other levels are tested against.
//!
//! Operations are calls here: inlined into every kernel they would be most of the program.

use super::{Kernel, Level, NoTiles, Simd};
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
    type Bytes = [u8; 64];
    type Ints = [i32; 16];
    type Floats = [f32; 16];
    type Partial = [i32; 16];
    type Scales = u128;
    type Tiles = NoTiles<Self::Ints>;

    const ACCUMULATORS: usize = 6;
    const SUMS_32: bool = true;
    const PREFERS_UNSIGNED: bool = false;
    const PREFETCHES: bool = false;

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
    fn bytes(self, from: &[u8; 64]) -> [u8; 64] {
        *from
    }

    #[inline(never)]
    fn codes(self, from: &[i8; 64]) -> [u8; 64] {
        from.map(|code| code as u8)
    }

    #[inline(never)]
    fn twice(self, from: &[u8; 32]) -> [u8; 64] {
        from_fn(|i| from[i % 32])
    }

    #[inline(never)]
    fn quarters(self, from: [&[u8; 16]; 4]) -> [u8; 64] {
        from_fn(|i| from[i / 16][i % 16])
    }

    #[inline(never)]
    fn code_quarters(self, from: [&[i8; 16]; 4]) -> [u8; 64] {
        from_fn(|i| from[i / 16][i % 16] as u8)
    }

    #[inline(never)]
    fn spread_bits(self, bits: u64) -> [u8; 64] {
        from_fn(|i| if bits >> i & 1 == 1 { 0xFF } else { 0 })
    }

    #[inline(always)]
    fn splat(self, byte: u8) -> [u8; 64] {
        [byte; 64]
    }

    #[inline(never)]
    fn splat4(self, from: &[i8; 4]) -> [u8; 64] {
        from_fn(|i| from[i % 4] as u8)
    }

    #[inline(always)]
    fn store(self, bytes: [u8; 64], to: &mut [u8; 64]) {
        *to = bytes;
    }

    #[inline(never)]
    fn store_codes(self, codes: [u8; 64], to: &mut [i8; 64]) {
        *to = codes.map(|code| code as i8);
    }

    #[inline(never)]
    fn sum_codes(self, codes: [u8; 64]) -> [i16; 4] {
        from_fn(|quarter| codes[16 * quarter..16 * quarter + 16].iter().map(|&code| code as i8 as i16).sum())
    }

    #[inline(never)]
    fn and(self, a: [u8; 64], b: [u8; 64]) -> [u8; 64] {
        from_fn(|i| a[i] & b[i])
    }

    #[inline(never)]
    fn or(self, a: [u8; 64], b: [u8; 64]) -> [u8; 64] {
        from_fn(|i| a[i] | b[i])
    }

    #[inline(never)]
    fn xor(self, a: [u8; 64], b: [u8; 64]) -> [u8; 64] {
        from_fn(|i| a[i] ^ b[i])
    }

    #[inline(never)]
    fn field(self, a: [u8; 64], shifts: [i32; 4], mask: u8) -> [u8; 64] {
        from_fn(|i| {
            let shift = shifts[i / 16];
            (if shift < 0 { a[i] << -shift } else { a[i] >> shift }) & mask
        })
    }

    #[inline(never)]
    fn lookup(self, table: &[u8; 16], index: [u8; 64]) -> [u8; 64] {
        index.map(|i| table[i as usize % 16])
    }

    #[inline(never)]
    fn transpose(self, rows: [[u8; 64]; 16]) -> [[u8; 64]; 16] {
        from_fn(|i| from_fn(|j| rows[j / 4][4 * i + j % 4]))
    }

    #[inline(never)]
    fn turn(self, rows: [[u8; 64]; 4]) -> [[u8; 64]; 4] {
        from_fn(|g| from_fn(|j| rows[j % 16 / 4][j / 16 * 16 + 4 * g + j % 4]))
    }

    #[inline(always)]
    fn open(self, sum: [i32; 16]) -> [i32; 16] {
        sum
    }

    #[inline(never)]
    fn dot(self, sum: [i32; 16], weights: [u8; 64], x: [u8; 64]) -> [i32; 16] {
        from_fn(|i| (4 * i..4 * i + 4).fold(sum[i], |sum, j| sum + weights[j] as i32 * x[j] as i8 as i32))
    }

    #[inline(never)]
    fn dot_signed(self, sum: [i32; 16], weights: [u8; 64], x: [u8; 64]) -> [i32; 16] {
        from_fn(|i| (4 * i..4 * i + 4).fold(sum[i], |sum, j| sum + weights[j] as i8 as i32 * x[j] as i8 as i32))
    }

    #[inline(always)]
    fn close(self, sum: [i32; 16]) -> [i32; 16] {
        sum
    }

    #[inline(never)]
    fn add_scaled(self, total: [i32; 16], sum: [i32; 16], scale: [i32; 16]) -> [i32; 16] {
        from_fn(|i| total[i] + sum[i] * scale[i])
    }

    #[inline(never)]
    fn add_scaled_short(self, total: [i32; 16], sum: [i32; 16], scale: [i32; 16]) -> [i32; 16] {
        self.add_scaled(total, sum, scale)
    }

    #[inline(always)]
    fn scales<const SHORT: bool>(self, numbers: &[u8; 16]) -> u128 {
        u128::from_le_bytes(*numbers)
    }

    #[inline(never)]
    fn quarter_scales<const SHORT: bool>(self, scales: u128, list: [usize; 4]) -> [i32; 16] {
        from_fn(|i| (scales >> (8 * list[i / 4])) as i8 as i32)
    }

    #[inline(never)]
    fn lane_scale(self, groups: [u8; 64], j: usize) -> [i32; 16] {
        from_fn(|i| groups[4 * i + j] as i8 as i32)
    }

    #[inline(never)]
    fn lane_pair(self, groups: [u8; 64], a: usize, b: usize) -> [i32; 16] {
        from_fn(|i| pack(groups[4 * i + a] as i8 as i16, groups[4 * i + b] as i8 as i16))
    }

    #[inline(never)]
    fn dot_sums(self, numbers: [u8; 64], sums: &[i16; 16]) -> [i32; 16] {
        let product = |i: usize| i32::from(numbers[i] as i8) * i32::from(sums[i % 16]);
        from_fn(|i| product(4 * i) + product(4 * i + 1) + product(4 * i + 2) + product(4 * i + 3))
    }

    #[inline(always)]
    fn sum_pairs(self, from: &[i16; 16]) -> [i16; 8] {
        from_fn(|i| from[2 * i].wrapping_add(from[2 * i + 1]))
    }

    #[inline(always)]
    fn ints(self, from: &[i32; 16]) -> [i32; 16] {
        *from
    }

    #[inline(never)]
    fn short_ints(self, from: &[i16; 16]) -> [i32; 16] {
        from.map(i32::from)
    }

    #[inline(always)]
    fn store_ints(self, ints: [i32; 16], to: &mut [i32; 16]) {
        *to = ints;
    }

    #[inline(always)]
    fn splat_int(self, value: i32) -> [i32; 16] {
        [value; 16]
    }

    #[inline(never)]
    fn splat_pair(self, from: &[i16; 2]) -> [i32; 16] {
        [pack(from[0], from[1]); 16]
    }

    #[inline(never)]
    fn add_pairs(self, sum: [i32; 16], a: [i32; 16], b: [i32; 16]) -> [i32; 16] {
        from_fn(|i| {
            let ((a0, a1), (b0, b1)) = (pair(a[i]), pair(b[i]));
            sum[i] + a0 * b0 + a1 * b1
        })
    }

    #[inline(never)]
    fn sub_ints(self, a: [i32; 16], b: [i32; 16]) -> [i32; 16] {
        from_fn(|i| a[i].wrapping_sub(b[i]))
    }

    #[inline(never)]
    fn mul_int(self, a: [i32; 16], factor: i32) -> [i32; 16] {
        a.map(|a| a.wrapping_mul(factor))
    }

    #[inline(never)]
    fn sum_quads(self, vectors: [[i32; 16]; 4]) -> [i32; 16] {
        from_fn(|i| (0..4).fold(0, |sum: i32, j| sum.wrapping_add(vectors[i % 4][i / 4 * 4 + j])))
    }

    #[inline(never)]
    fn sum_halves(self, vectors: [[i32; 16]; 2]) -> [i32; 16] {
        from_fn(|i| {
            let first = i / 4 % 2 * 8 + i % 4;
            vectors[i / 8][first].wrapping_add(vectors[i / 8][first + 4])
        })
    }

    #[inline(never)]
    fn sum_quarters(self, vectors: [[i32; 16]; 4]) -> [i32; 16] {
        from_fn(|i| (0..4).fold(0, |sum: i32, q| sum.wrapping_add(vectors[i / 4][4 * q + i % 4])))
    }

    #[inline(never)]
    fn to_floats(self, ints: [i32; 16]) -> [f32; 16] {
        ints.map(|int| int as f32)
    }

    #[inline(always)]
    fn code_floats(self, from: &[i8; 16]) -> [f32; 16] {
        from.map(f32::from)
    }

    #[inline(always)]
    fn floats(self, from: &[f32; 16]) -> [f32; 16] {
        *from
    }

    #[inline(never)]
    fn f32s(self, from: &[u8; 64]) -> [f32; 16] {
        from_fn(|i| f32::from_le_bytes(from_fn(|j| from[4 * i + j])))
    }

    #[inline(never)]
    fn f16s(self, from: &[u8; 32]) -> [f32; 16] {
        from_fn(|i| f16::from_le_bytes([from[2 * i], from[2 * i + 1]]).to_f32())
    }

    #[inline(never)]
    fn halfs(self, from: &[u16; 16]) -> [f32; 16] {
        from.map(|bits| f16::from_bits(bits).to_f32())
    }

    #[inline(never)]
    fn bf16s(self, from: &[u8; 32]) -> [f32; 16] {
        from_fn(|i| bf16::from_le_bytes([from[2 * i], from[2 * i + 1]]).to_f32())
    }

    #[inline(never)]
    fn half_pairs(self, bits: &[u32; 16]) -> [[f32; 16]; 2] {
        [
            bits.map(|bits| f16::from_bits(bits as u16).to_f32()),
            bits.map(|bits| f16::from_bits((bits >> 16) as u16).to_f32()),
        ]
    }

    #[inline(always)]
    fn store_floats(self, floats: [f32; 16], to: &mut [f32; 16]) {
        *to = floats;
    }

    #[inline(never)]
    fn store_halfs(self, floats: [f32; 16], to: &mut [u16; 16]) {
        *to = floats.map(|x| f16::from_f32(x).to_bits());
    }

    #[inline(always)]
    fn splat_float(self, value: f32) -> [f32; 16] {
        [value; 16]
    }

    #[inline(never)]
    fn round(self, floats: [[f32; 16]; 4]) -> [u8; 64] {
        const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23: the sum has the integer in its low bits
        from_fn(|i| (floats[i / 16][i % 16] + ROUND).to_bits().wrapping_sub(ROUND.to_bits()) as u8)
    }

    #[inline(never)]
    fn add(self, a: [f32; 16], b: [f32; 16]) -> [f32; 16] {
        from_fn(|i| a[i] + b[i])
    }

    #[inline(never)]
    fn sub(self, a: [f32; 16], b: [f32; 16]) -> [f32; 16] {
        from_fn(|i| a[i] - b[i])
    }

    #[inline(never)]
    fn mul(self, a: [f32; 16], b: [f32; 16]) -> [f32; 16] {
        from_fn(|i| a[i] * b[i])
    }

    #[inline(never)]
    fn max(self, a: [f32; 16], b: [f32; 16]) -> [f32; 16] {
        from_fn(|i| if a[i] > b[i] { a[i] } else { b[i] })
    }

    #[inline(never)]
    fn sum_lanes(self, vectors: &[[f32; 16]; 16]) -> [f32; 16] {
        vectors.map(|mut lanes| {
            for half in [8, 4, 2, 1] {
                for l in 0..half {
                    lanes[l] += lanes[l + half];
                }
            }
            lanes[0]
        })
    }
}
