//! NEON, which every 64-bit Arm has, and the same with the dot products of `dotprod`, and with `i8mm`.
//!
//! A vector of 64 bytes is four registers. What differs is how products of codes are added up: `sdot` takes 16 of them at a
//! time; without it, products are made in `i16`, and pairs are added twice. Both take signed codes, which unsigned ones up
//! to 127 are too. The level with `i8mm` does as that with `dotprod` does: `usdot` is no faster, and `smmla`, a matrix product
//! of two rows and two columns, has no place in operations on a vector of one column's codes.
//!
//! Instructions whose intrinsics the oldest supported compiler lacks are written as assembly: `sdot` and the conversions
//! of `f16`.

use super::{Kernel, Level, NoTiles, Simd};
use core::arch::aarch64::*;
use core::arch::asm;

/// Proof that the CPU has NEON, and where they are set, `dotprod` and `i8mm`.
#[derive(Debug, Clone, Copy)]
pub struct Arm<const DOTPROD: bool, const I8MM: bool>(());

/// NEON.
pub type Neon = Arm<false, false>;
/// NEON with `dotprod`.
pub type NeonDotprod = Arm<true, false>;
/// NEON with `dotprod` and `i8mm`.
pub type NeonI8mm = Arm<true, true>;

impl<const DOTPROD: bool, const I8MM: bool> Arm<DOTPROD, I8MM> {
    const LEVEL: Level = match (DOTPROD, I8MM) {
        (_, true) => Level::NeonI8mm,
        (true, _) => Level::NeonDotprod,
        _ => Level::Neon,
    };

    /// The proof, where this CPU has the instructions.
    #[inline]
    pub fn new() -> Option<Self> {
        has(Self::LEVEL).then_some(Self(()))
    }
}

/// Whether kernels of `level` may run here.
///
/// There is no instruction to ask the CPU that every system lets programs use: the standard library asks the system.
/// Without it, what the compiler was told counts.
#[inline]
pub(super) fn has(level: Level) -> bool {
    #[cfg(feature = "std")]
    use std::arch::is_aarch64_feature_detected as detected;
    #[cfg(not(feature = "std"))]
    macro_rules! detected {
        ($name:tt) => {
            cfg!(target_feature = $name)
        };
    }
    match level {
        Level::Scalar | Level::Neon => true,
        Level::NeonDotprod => detected!("dotprod"),
        Level::NeonI8mm => detected!("dotprod") && detected!("i8mm"),
        _ => false,
    }
}

/// What kernels become part of, in two modules, since a compiler works on modules at the same time.
mod dotprod {
    use super::{Arm, Kernel};

    #[target_feature(enable = "neon,dotprod")]
    pub fn enter<K: Kernel, const DOTPROD: bool, const I8MM: bool>(s: Arm<DOTPROD, I8MM>, kernel: K) -> K::Out {
        kernel.run(s)
    }
}

mod i8mm {
    use super::{Arm, Kernel};

    #[target_feature(enable = "neon,dotprod,i8mm")]
    pub fn enter<K: Kernel, const DOTPROD: bool, const I8MM: bool>(s: Arm<DOTPROD, I8MM>, kernel: K) -> K::Out {
        kernel.run(s)
    }
}

/// Calls intrinsics of the level.
macro_rules! neon {
    ($call:expr) => {
        // SAFETY: the token `self` proves that the CPU has the instructions, and pointers come from references to as many bytes.
        unsafe { $call }
    };
}

/// The same for each of the four registers of a vector.
macro_rules! each {
    ($i:ident => $call:expr) => {
        neon!([
            {
                const $i: usize = 0;
                $call
            },
            {
                const $i: usize = 1;
                $call
            },
            {
                const $i: usize = 2;
                $call
            },
            {
                const $i: usize = 3;
                $call
            },
        ])
    };
}

impl<const DOTPROD: bool, const I8MM: bool> Simd for Arm<DOTPROD, I8MM> {
    type Bytes = [uint8x16_t; 4];
    type Ints = [int32x4_t; 4];
    type Floats = [float32x4_t; 4];
    type Partial = [int32x4_t; 4];
    /// As `i32`.
    type Scales = [int32x4_t; 4];
    type Tiles = NoTiles<Self::Ints>;

    const ACCUMULATORS: usize = 6;
    const SUMS_32: bool = true;
    const PREFERS_UNSIGNED: bool = false;

    #[inline(always)]
    fn level(self) -> Level {
        Self::LEVEL
    }

    #[inline(never)]
    fn run<K: Kernel>(self, kernel: K) -> K::Out {
        match (DOTPROD, I8MM) {
            (_, true) => neon!(i8mm::enter(self, kernel)),
            (true, _) => neon!(dotprod::enter(self, kernel)),
            // All of the program is compiled for NEON.
            _ => kernel.run(self),
        }
    }

    #[inline(always)]
    fn prefetch(self, bytes: &[u8], offset: usize) {
        let line = bytes.as_ptr().wrapping_add(offset);
        neon!(asm!("prfm pldl2keep, [{}]", in(reg) line, options(nomem, nostack, preserves_flags)))
    }

    #[inline(always)]
    fn prefetch_near(self, bytes: &[u8], offset: usize) {
        let line = bytes.as_ptr().wrapping_add(offset);
        neon!(asm!("prfm pldl1keep, [{}]", in(reg) line, options(nomem, nostack, preserves_flags)))
    }

    #[inline(always)]
    fn prefetch_to_write<T>(self, to: &mut [T]) {
        for line in (0..size_of_val(to)).step_by(64) {
            let line = to.as_mut_ptr().wrapping_byte_add(line);
            neon!(asm!("prfm pstl1keep, [{}]", in(reg) line, options(nomem, nostack, preserves_flags)));
        }
    }

    #[inline(always)]
    fn bytes(self, from: &[u8; 64]) -> [uint8x16_t; 4] {
        each!(I => vld1q_u8(from.as_ptr().add(16 * I)))
    }

    #[inline(always)]
    fn codes(self, from: &[i8; 64]) -> [uint8x16_t; 4] {
        each!(I => vld1q_u8(from.as_ptr().add(16 * I).cast()))
    }

    #[inline(always)]
    fn twice(self, from: &[u8; 32]) -> [uint8x16_t; 4] {
        each!(I => vld1q_u8(from.as_ptr().add(16 * (I % 2))))
    }

    #[inline(always)]
    fn quarters(self, from: [&[u8; 16]; 4]) -> [uint8x16_t; 4] {
        each!(I => vld1q_u8(from[I].as_ptr()))
    }

    #[inline(always)]
    fn code_quarters(self, from: [&[i8; 16]; 4]) -> [uint8x16_t; 4] {
        each!(I => vld1q_u8(from[I].as_ptr().cast()))
    }

    #[inline(always)]
    fn spread_bits(self, bits: u64) -> [uint8x16_t; 4] {
        each!(I => {
            let bit = vreinterpretq_u8_u64(vdupq_n_u64(0x8040201008040201));
            let [low, high] = [bits >> (16 * I), bits >> (16 * I + 8)];
            vtstq_u8(vcombine_u8(vdup_n_u8(low as u8), vdup_n_u8(high as u8)), bit)
        })
    }

    #[inline(always)]
    fn splat(self, byte: u8) -> [uint8x16_t; 4] {
        neon!([vdupq_n_u8(byte); 4])
    }

    #[inline(always)]
    fn splat4(self, from: &[i8; 4]) -> [uint8x16_t; 4] {
        neon!([vreinterpretq_u8_s32(vdupq_n_s32(i32::from_le_bytes(from.map(|code| code as u8)))); 4])
    }

    #[inline(always)]
    fn store(self, bytes: [uint8x16_t; 4], to: &mut [u8; 64]) {
        each!(I => vst1q_u8(to.as_mut_ptr().add(16 * I), bytes[I]));
    }

    #[inline(always)]
    fn store_codes(self, codes: [uint8x16_t; 4], to: &mut [i8; 64]) {
        each!(I => vst1q_u8(to.as_mut_ptr().add(16 * I).cast(), codes[I]));
    }

    #[inline(always)]
    fn sum_codes(self, codes: [uint8x16_t; 4]) -> [i16; 4] {
        each!(I => vaddlvq_s8(vreinterpretq_s8_u8(codes[I])))
    }

    #[inline(always)]
    fn and(self, a: [uint8x16_t; 4], b: [uint8x16_t; 4]) -> [uint8x16_t; 4] {
        each!(I => vandq_u8(a[I], b[I]))
    }

    #[inline(always)]
    fn or(self, a: [uint8x16_t; 4], b: [uint8x16_t; 4]) -> [uint8x16_t; 4] {
        each!(I => vorrq_u8(a[I], b[I]))
    }

    #[inline(always)]
    fn xor(self, a: [uint8x16_t; 4], b: [uint8x16_t; 4]) -> [uint8x16_t; 4] {
        each!(I => veorq_u8(a[I], b[I]))
    }

    #[inline(always)]
    fn field(self, a: [uint8x16_t; 4], shifts: [i32; 4], mask: u8) -> [uint8x16_t; 4] {
        each!(I => {
            let moved = vshlq_u8(a[I], vdupq_n_s8(-shifts[I] as i8));
            // A shift of bytes leaves no bits of their neighbours to mask.
            let left = if shifts[I] < 0 { 0xFF << -shifts[I] } else { 0xFF >> shifts[I] };
            if mask == left { moved } else { vandq_u8(moved, vdupq_n_u8(mask)) }
        })
    }

    #[inline(always)]
    fn lookup(self, table: &[u8; 16], index: [uint8x16_t; 4]) -> [uint8x16_t; 4] {
        each!(I => vqtbl1q_u8(vld1q_u8(table.as_ptr()), index[I]))
    }

    #[inline(always)]
    fn transpose(self, rows: [[uint8x16_t; 4]; 16]) -> [[uint8x16_t; 4]; 16] {
        // A square of 4 x 4 groups of rows 4i to 4i + 3 becomes one of columns, in their quarters i.
        let mut out = rows;
        for (i, rows) in rows.as_chunks::<4>().0.iter().enumerate() {
            for (quarter, columns) in out.as_chunks_mut::<4>().0.iter_mut().enumerate() {
                let square = transpose_square(rows.map(|row| row[quarter]));
                for (column, groups) in columns.iter_mut().zip(square) {
                    column[i] = groups;
                }
            }
        }
        out
    }

    #[inline(always)]
    fn turn(self, [a, b, c, d]: [[uint8x16_t; 4]; 4]) -> [[uint8x16_t; 4]; 4] {
        let [a, b, c, d] = [0, 1, 2, 3].map(|i| transpose_square([a[i], b[i], c[i], d[i]]));
        [0, 1, 2, 3].map(|i| [a[i], b[i], c[i], d[i]])
    }

    #[inline(always)]
    fn open(self, sum: [int32x4_t; 4]) -> [int32x4_t; 4] {
        sum
    }

    #[inline(always)]
    fn dot(self, sum: [int32x4_t; 4], weights: [uint8x16_t; 4], x: [uint8x16_t; 4]) -> [int32x4_t; 4] {
        self.dot_signed(sum, weights, x)
    }

    #[inline(always)]
    fn dot_signed(self, sum: [int32x4_t; 4], weights: [uint8x16_t; 4], x: [uint8x16_t; 4]) -> [int32x4_t; 4] {
        each!(I => {
            let (weights, x) = (vreinterpretq_s8_u8(weights[I]), vreinterpretq_s8_u8(x[I]));
            if DOTPROD { sdot(sum[I], weights, x) } else { add_fours(sum[I], weights, x) }
        })
    }

    #[inline(always)]
    fn close(self, sum: [int32x4_t; 4]) -> [int32x4_t; 4] {
        sum
    }

    #[inline(always)]
    fn add_scaled(self, total: [int32x4_t; 4], sum: [int32x4_t; 4], scale: [int32x4_t; 4]) -> [int32x4_t; 4] {
        each!(I => vmlaq_s32(total[I], sum[I], scale[I]))
    }

    #[inline(always)]
    fn add_scaled_short(self, total: [int32x4_t; 4], sum: [int32x4_t; 4], scale: [int32x4_t; 4]) -> [int32x4_t; 4] {
        self.add_scaled(total, sum, scale)
    }

    #[inline(always)]
    fn scales<const SHORT: bool>(self, numbers: &[u8; 16]) -> [int32x4_t; 4] {
        let [low, high] = widen(neon!(vld1q_u8(numbers.as_ptr())));
        neon!([vmovl_s16(vget_low_s16(low)), vmovl_high_s16(low), vmovl_s16(vget_low_s16(high)), vmovl_high_s16(high)])
    }

    #[inline(always)]
    fn quarter_scales<const SHORT: bool>(self, scales: [int32x4_t; 4], list: [usize; 4]) -> [int32x4_t; 4] {
        // The list is constant, and multiplications can take a lane of a register: nothing is left of this.
        each!(I => {
            let four = scales[list[I] / 4];
            match list[I] % 4 {
                0 => vdupq_laneq_s32::<0>(four),
                1 => vdupq_laneq_s32::<1>(four),
                2 => vdupq_laneq_s32::<2>(four),
                _ => vdupq_laneq_s32::<3>(four),
            }
        })
    }

    #[inline(always)]
    fn lane_scale(self, groups: [uint8x16_t; 4], j: usize) -> [int32x4_t; 4] {
        each!(I => {
            let up = vshlq_s32(vreinterpretq_s32_u8(groups[I]), vdupq_n_s32(24 - 8 * j as i32));
            vshrq_n_s32::<24>(up)
        })
    }

    #[inline(always)]
    fn lane_pair(self, groups: [uint8x16_t; 4], a: usize, b: usize) -> [int32x4_t; 4] {
        each!(I => {
            // Each byte goes to the high half of its i16, and an arithmetic shift brings it down with its sign.
            let group = vld1q_u32([0, 0x0404_0404, 0x0808_0808, 0x0C0C_0C0C].as_ptr());
            let place = vdupq_n_u32((a << 8 | b << 24 | 0x00FF_00FF) as u32);
            let high = vqtbl1q_u8(groups[I], vreinterpretq_u8_u32(vorrq_u32(group, place)));
            vreinterpretq_s32_s16(vshrq_n_s16::<8>(vreinterpretq_s16_u8(high)))
        })
    }

    #[inline(always)]
    fn dot_sums(self, numbers: [uint8x16_t; 4], sums: &[i16; 16]) -> [int32x4_t; 4] {
        each!(I => {
            let [low, high] = widen(numbers[I]);
            let (of_low, of_high) = (vld1q_s16(sums.as_ptr()), vld1q_s16(sums.as_ptr().add(8)));
            let products = vmull_s16(vget_low_s16(low), vget_low_s16(of_low));
            let products = vmlal_high_s16(products, low, of_low);
            vmlal_high_s16(vmlal_s16(products, vget_low_s16(high), vget_low_s16(of_high)), high, of_high)
        })
    }

    #[inline(always)]
    fn sum_pairs(self, from: &[i16; 16]) -> [i16; 8] {
        let mut sums = [0; 8];
        neon!({
            let (low, high) = (vld1q_s16(from.as_ptr()), vld1q_s16(from.as_ptr().add(8)));
            vst1q_s16(sums.as_mut_ptr(), vpaddq_s16(low, high));
        });
        sums
    }

    #[inline(always)]
    fn ints(self, from: &[i32; 16]) -> [int32x4_t; 4] {
        each!(I => vld1q_s32(from.as_ptr().add(4 * I)))
    }

    #[inline(always)]
    fn short_ints(self, from: &[i16; 16]) -> [int32x4_t; 4] {
        each!(I => vmovl_s16(vld1_s16(from.as_ptr().add(4 * I))))
    }

    #[inline(always)]
    fn store_ints(self, ints: [int32x4_t; 4], to: &mut [i32; 16]) {
        each!(I => vst1q_s32(to.as_mut_ptr().add(4 * I), ints[I]));
    }

    #[inline(always)]
    fn splat_int(self, value: i32) -> [int32x4_t; 4] {
        neon!([vdupq_n_s32(value); 4])
    }

    #[inline(always)]
    fn splat_pair(self, from: &[i16; 2]) -> [int32x4_t; 4] {
        self.splat_int(from[0] as u16 as i32 | (from[1] as i32) << 16)
    }

    #[inline(always)]
    fn add_pairs(self, sum: [int32x4_t; 4], a: [int32x4_t; 4], b: [int32x4_t; 4]) -> [int32x4_t; 4] {
        each!(I => {
            let (a, b) = (vreinterpretq_s16_s32(a[I]), vreinterpretq_s16_s32(b[I]));
            let (low, high) = (vmull_s16(vget_low_s16(a), vget_low_s16(b)), vmull_high_s16(a, b));
            vaddq_s32(sum[I], vpaddq_s32(low, high))
        })
    }

    #[inline(always)]
    fn sub_ints(self, a: [int32x4_t; 4], b: [int32x4_t; 4]) -> [int32x4_t; 4] {
        each!(I => vsubq_s32(a[I], b[I]))
    }

    #[inline(always)]
    fn mul_int(self, a: [int32x4_t; 4], factor: i32) -> [int32x4_t; 4] {
        each!(I => vmulq_n_s32(a[I], factor))
    }

    #[inline(always)]
    fn sum_quads(self, [a, b, c, d]: [[int32x4_t; 4]; 4]) -> [int32x4_t; 4] {
        each!(I => vpaddq_s32(vpaddq_s32(a[I], b[I]), vpaddq_s32(c[I], d[I])))
    }

    #[inline(always)]
    fn sum_halves(self, vectors: [[int32x4_t; 4]; 2]) -> [int32x4_t; 4] {
        each!(I => {
            let vector = vectors[I / 2];
            vaddq_s32(vector[2 * (I % 2)], vector[2 * (I % 2) + 1])
        })
    }

    #[inline(always)]
    fn sum_quarters(self, vectors: [[int32x4_t; 4]; 4]) -> [int32x4_t; 4] {
        each!(I => {
            let [a, b, c, d] = vectors[I];
            vaddq_s32(vaddq_s32(a, b), vaddq_s32(c, d))
        })
    }

    #[inline(always)]
    fn to_floats(self, ints: [int32x4_t; 4]) -> [float32x4_t; 4] {
        each!(I => vcvtq_f32_s32(ints[I]))
    }

    #[inline(always)]
    fn floats(self, from: &[f32; 16]) -> [float32x4_t; 4] {
        each!(I => vld1q_f32(from.as_ptr().add(4 * I)))
    }

    #[inline(always)]
    fn f32s(self, from: &[u8; 64]) -> [float32x4_t; 4] {
        each!(I => vreinterpretq_f32_u8(vld1q_u8(from.as_ptr().add(16 * I))))
    }

    #[inline(always)]
    fn f16s(self, from: &[u8; 32]) -> [float32x4_t; 4] {
        each!(I => from_halfs(vreinterpret_u16_u8(vld1_u8(from.as_ptr().add(8 * I)))))
    }

    #[inline(always)]
    fn halfs(self, from: &[u16; 16]) -> [float32x4_t; 4] {
        each!(I => from_halfs(vld1_u16(from.as_ptr().add(4 * I))))
    }

    #[inline(always)]
    fn bf16s(self, from: &[u8; 32]) -> [float32x4_t; 4] {
        each!(I => {
            let halfs = vreinterpret_u16_u8(vld1_u8(from.as_ptr().add(8 * I)));
            vreinterpretq_f32_u32(vshll_n_u16::<16>(halfs))
        })
    }

    #[inline(always)]
    fn code_floats(self, from: &[i8; 16]) -> [float32x4_t; 4] {
        let wide = neon!(vmovl_s8(vld1_s8(from.as_ptr())));
        let high = neon!(vmovl_high_s8(vld1q_s8(from.as_ptr())));
        neon!([
            vcvtq_f32_s32(vmovl_s16(vget_low_s16(wide))),
            vcvtq_f32_s32(vmovl_high_s16(wide)),
            vcvtq_f32_s32(vmovl_s16(vget_low_s16(high))),
            vcvtq_f32_s32(vmovl_high_s16(high)),
        ])
    }

    #[inline(always)]
    fn half_pairs(self, bits: &[u32; 16]) -> [[float32x4_t; 4]; 2] {
        let low = each!(I => from_halfs(vmovn_u32(vld1q_u32(bits.as_ptr().add(4 * I)))));
        let high = each!(I => from_halfs(vshrn_n_u32::<16>(vld1q_u32(bits.as_ptr().add(4 * I)))));
        [low, high]
    }

    #[inline(always)]
    fn store_floats(self, floats: [float32x4_t; 4], to: &mut [f32; 16]) {
        each!(I => vst1q_f32(to.as_mut_ptr().add(4 * I), floats[I]));
    }

    #[inline(always)]
    fn store_halfs(self, floats: [float32x4_t; 4], to: &mut [u16; 16]) {
        each!(I => vst1_u16(to.as_mut_ptr().add(4 * I), to_halfs(floats[I])));
    }

    #[inline(always)]
    fn splat_float(self, value: f32) -> [float32x4_t; 4] {
        neon!([vdupq_n_f32(value); 4])
    }

    #[inline(always)]
    fn round(self, floats: [[float32x4_t; 4]; 4]) -> [uint8x16_t; 4] {
        each!(I => {
            let [a, b, c, d] = floats[I].map(|floats| vreinterpretq_s16_s32(vcvtnq_s32_f32(floats)));
            let (low, high) = (vuzp1q_s16(a, b), vuzp1q_s16(c, d));
            vuzp1q_u8(vreinterpretq_u8_s16(low), vreinterpretq_u8_s16(high))
        })
    }

    #[inline(always)]
    fn add(self, a: [float32x4_t; 4], b: [float32x4_t; 4]) -> [float32x4_t; 4] {
        each!(I => vaddq_f32(a[I], b[I]))
    }

    #[inline(always)]
    fn sub(self, a: [float32x4_t; 4], b: [float32x4_t; 4]) -> [float32x4_t; 4] {
        each!(I => vsubq_f32(a[I], b[I]))
    }

    #[inline(always)]
    fn mul(self, a: [float32x4_t; 4], b: [float32x4_t; 4]) -> [float32x4_t; 4] {
        each!(I => vmulq_f32(a[I], b[I]))
    }

    #[inline(always)]
    fn add_exact(self, sum: [float32x4_t; 4], a: [float32x4_t; 4], b: [float32x4_t; 4]) -> [float32x4_t; 4] {
        each!(I => vfmaq_f32(sum[I], a[I], b[I]))
    }

    #[inline(always)]
    fn max(self, a: [float32x4_t; 4], b: [float32x4_t; 4]) -> [float32x4_t; 4] {
        each!(I => vbslq_f32(vcgtq_f32(a[I], b[I]), a[I], b[I]))
    }

    #[inline(always)]
    fn sum_lanes(self, vectors: &[[float32x4_t; 4]; 16]) -> [float32x4_t; 4] {
        each!(I => {
            let [a, b, c, d] = vectors.as_chunks::<4>().0[I];
            let (ab, cd) = (sum_halves(sum_registers(a), sum_registers(b)), sum_halves(sum_registers(c), sum_registers(d)));
            vpaddq_f32(ab, cd)
        })
    }
}

/// Adds to each lane four products of signed codes, not both -128.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn sdot(mut sum: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
    // SAFETY: the feature is enabled here.
    unsafe {
        asm!("sdot {:v}.4s, {:v}.16b, {:v}.16b", inout(vreg) sum, in(vreg) a, in(vreg) b, options(pure, nomem, nostack, preserves_flags));
    }
    sum
}

/// The same in four steps: two products fit in an `i16`.
#[inline(always)]
fn add_fours(sum: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
    neon!({
        let (low, high) = (vmull_s8(vget_low_s8(a), vget_low_s8(b)), vmull_high_s8(a, b));
        vpadalq_s16(sum, vpaddq_s16(low, high))
    })
}

/// 16 `i8` as `i16`.
#[inline(always)]
fn widen(numbers: uint8x16_t) -> [int16x8_t; 2] {
    let numbers = neon!(vreinterpretq_s8_u8(numbers));
    neon!([vmovl_s8(vget_low_s8(numbers)), vmovl_high_s8(numbers)])
}

/// Transposes 4 x 4 groups of 4 bytes.
#[inline(always)]
fn transpose_square(rows: [uint8x16_t; 4]) -> [uint8x16_t; 4] {
    neon!({
        let [a, b, c, d] = rows.map(|row| vreinterpretq_u32_u8(row));
        let [even0, odd0] = [vtrn1q_u32(a, b), vtrn2q_u32(a, b)].map(|pairs| vreinterpretq_u64_u32(pairs));
        let [even1, odd1] = [vtrn1q_u32(c, d), vtrn2q_u32(c, d)].map(|pairs| vreinterpretq_u64_u32(pairs));
        let columns =
            [vtrn1q_u64(even0, even1), vtrn1q_u64(odd0, odd1), vtrn2q_u64(even0, even1), vtrn2q_u64(odd0, odd1)];
        columns.map(|column| vreinterpretq_u8_u64(column))
    })
}

/// Four `f16` as `f32`.
#[inline(always)]
fn from_halfs(halfs: uint16x4_t) -> float32x4_t {
    let floats;
    neon!(
        asm!("fcvtl {:v}.4s, {:v}.4h", out(vreg) floats, in(vreg) halfs, options(pure, nomem, nostack, preserves_flags))
    );
    floats
}

/// Four `f32` as `f16`, rounded to nearest even.
#[inline(always)]
fn to_halfs(floats: float32x4_t) -> uint16x4_t {
    let halfs;
    neon!(
        asm!("fcvtn {:v}.4h, {:v}.4s", out(vreg) halfs, in(vreg) floats, options(pure, nomem, nostack, preserves_flags))
    );
    halfs
}

/// Lanes `l` and `l + 8`, then `l` and `l + 4` added.
#[inline(always)]
fn sum_registers([a, b, c, d]: [float32x4_t; 4]) -> float32x4_t {
    neon!(vaddq_f32(vaddq_f32(a, c), vaddq_f32(b, d)))
}

/// `a0 + a2, a1 + a3, b0 + b2, b1 + b3`.
#[inline(always)]
fn sum_halves(a: float32x4_t, b: float32x4_t) -> float32x4_t {
    neon!({
        let (a, b) = (vreinterpretq_f64_f32(a), vreinterpretq_f64_f32(b));
        let (low, high) = (vreinterpretq_f32_f64(vtrn1q_f64(a, b)), vreinterpretq_f32_f64(vtrn2q_f64(a, b)));
        vaddq_f32(low, high)
    })
}
