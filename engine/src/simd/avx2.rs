//! AVX2, FMA and F16C, and the same with AVX-VNNI.
//!
//! A vector of 64 bytes is two registers. Without VNNI, `maddubs` multiplies unsigned by signed bytes and adds pairs in
//! `i16`; `madd` with a pair of scales widens those sums, so a block's integer scale costs nothing. With VNNI, `dpbusd` adds
//! up products in `i32`.

use super::{Kernel, Level, NoTiles, Simd, x86};
use core::arch::x86_64::*;

/// Proof that the CPU has AVX2, FMA and F16C, and where `VNNI` is set, AVX-VNNI.
#[derive(Debug, Clone, Copy)]
pub struct Avx<const VNNI: bool>(());

/// AVX2, FMA and F16C.
pub type Avx2 = Avx<false>;
/// AVX2, FMA, F16C and AVX-VNNI.
pub type AvxVnni = Avx<true>;

impl<const VNNI: bool> Avx<VNNI> {
    const LEVEL: Level = if VNNI { Level::AvxVnni } else { Level::Avx2 };

    /// The proof, where this CPU and its system support the instructions.
    #[inline]
    pub fn new() -> Option<Self> {
        x86::has(Self::LEVEL).then_some(Self(()))
    }
}

/// What kernels become part of, in two modules, since a compiler works on modules at the same time.
mod plain {
    use super::{Avx, Kernel};

    #[target_feature(enable = "avx2,fma,f16c")]
    pub fn enter<K: Kernel, const VNNI: bool>(s: Avx<VNNI>, kernel: K) -> K::Out {
        kernel.run(s)
    }
}

mod vnni {
    use super::{Avx, Kernel};

    #[target_feature(enable = "avx2,fma,f16c,avxvnni")]
    pub fn enter<K: Kernel, const VNNI: bool>(s: Avx<VNNI>, kernel: K) -> K::Out {
        kernel.run(s)
    }
}

/// Calls intrinsics of the level.
macro_rules! avx {
    ($call:expr) => {
        // SAFETY: the token `self` proves that the CPU has the instructions, and pointers come from references to as many bytes.
        unsafe { $call }
    };
}

/// The same for each of the two registers of a vector.
macro_rules! both {
    ($i:ident => $call:expr) => {
        avx!([
            {
                const $i: usize = 0;
                $call
            },
            {
                const $i: usize = 1;
                $call
            },
        ])
    };
}

/// Sums of products, as `i32` and, without VNNI, as pairs of `i16`.
#[derive(Clone, Copy)]
pub struct Sums {
    ints: [__m256i; 2],
    pairs: [__m256i; 2],
}

impl<const VNNI: bool> Simd for Avx<VNNI> {
    type Bytes = [__m256i; 2];
    type Ints = [__m256i; 2];
    type Floats = [__m256; 2];
    type Partial = Sums;
    /// As `i16`.
    type Scales = __m256i;
    type Tiles = NoTiles<Self::Ints>;

    const ACCUMULATORS: usize = 6;
    const SUMS_32: bool = VNNI;
    const PREFERS_UNSIGNED: bool = VNNI;

    #[inline(always)]
    fn level(self) -> Level {
        Self::LEVEL
    }

    // Here rather than on `enter`, where the attribute has no effect: a function with other features is never inlined here.
    #[inline(never)]
    fn run<K: Kernel>(self, kernel: K) -> K::Out {
        avx!(if VNNI { vnni::enter(self, kernel) } else { plain::enter(self, kernel) })
    }

    #[inline(always)]
    fn prefetch(self, bytes: &[u8], offset: usize) {
        let line = bytes.as_ptr().wrapping_add(offset);
        avx!(_mm_prefetch::<_MM_HINT_T1>(line.cast()))
    }

    #[inline(always)]
    fn prefetch_near(self, bytes: &[u8], offset: usize) {
        let line = bytes.as_ptr().wrapping_add(offset);
        avx!(_mm_prefetch::<_MM_HINT_T0>(line.cast()))
    }

    #[inline(always)]
    fn prefetch_to_write<T>(self, to: &mut [T]) {
        x86::prefetch_to_write(to);
    }

    #[inline(always)]
    fn bytes(self, from: &[u8; 64]) -> [__m256i; 2] {
        both!(I => _mm256_loadu_si256(from.as_ptr().add(32 * I).cast()))
    }

    #[inline(always)]
    fn codes(self, from: &[i8; 64]) -> [__m256i; 2] {
        both!(I => _mm256_loadu_si256(from.as_ptr().add(32 * I).cast()))
    }

    #[inline(always)]
    fn twice(self, from: &[u8; 32]) -> [__m256i; 2] {
        avx!([_mm256_loadu_si256(from.as_ptr().cast()); 2])
    }

    #[inline(always)]
    fn quarters(self, from: [&[u8; 16]; 4]) -> [__m256i; 2] {
        both!(I => _mm256_loadu2_m128i(from[2 * I + 1].as_ptr().cast(), from[2 * I].as_ptr().cast()))
    }

    #[inline(always)]
    fn code_quarters(self, from: [&[i8; 16]; 4]) -> [__m256i; 2] {
        both!(I => _mm256_loadu2_m128i(from[2 * I + 1].as_ptr().cast(), from[2 * I].as_ptr().cast()))
    }

    #[inline(always)]
    fn spread_bits(self, bits: u64) -> [__m256i; 2] {
        both!(I => {
            let bit = _mm256_set1_epi64x(0x8040201008040201u64 as i64);
            let low = _mm_set_epi64x(0x0101010101010101, 0);
            let high = _mm_set_epi64x(0x0303030303030303, 0x0202020202020202);
            let bits = _mm256_set1_epi32((bits >> (32 * I)) as i32);
            let bytes = _mm256_shuffle_epi8(bits, _mm256_set_m128i(high, low));
            _mm256_cmpeq_epi8(_mm256_and_si256(bytes, bit), bit)
        })
    }

    #[inline(always)]
    fn splat(self, byte: u8) -> [__m256i; 2] {
        avx!([_mm256_set1_epi8(byte as i8); 2])
    }

    #[inline(always)]
    fn splat4(self, from: &[i8; 4]) -> [__m256i; 2] {
        avx!([_mm256_set1_epi32(i32::from_le_bytes(from.map(|code| code as u8))); 2])
    }

    #[inline(always)]
    fn store(self, bytes: [__m256i; 2], to: &mut [u8; 64]) {
        both!(I => _mm256_storeu_si256(to.as_mut_ptr().add(32 * I).cast(), bytes[I]));
    }

    #[inline(always)]
    fn store_codes(self, codes: [__m256i; 2], to: &mut [i8; 64]) {
        both!(I => _mm256_storeu_si256(to.as_mut_ptr().add(32 * I).cast(), codes[I]));
    }

    #[inline(always)]
    fn sum_codes(self, codes: [__m256i; 2]) -> [i16; 4] {
        let [[a, b], [c, d]] = both!(I => {
            // Shifted by 128 to be unsigned; each 8 bytes give one sum.
            let shifted = _mm256_xor_si256(codes[I], _mm256_set1_epi8(-128));
            let eights = _mm256_sad_epu8(shifted, _mm256_setzero_si256());
            let sums = _mm256_add_epi32(eights, _mm256_shuffle_epi32::<0b01_00_11_10>(eights));
            [_mm_cvtsi128_si32(_mm256_castsi256_si128(sums)), _mm_cvtsi128_si32(_mm256_extracti128_si256::<1>(sums))]
        });
        [a, b, c, d].map(|sum| (sum - 128 * 16) as i16)
    }

    #[inline(always)]
    fn and(self, a: [__m256i; 2], b: [__m256i; 2]) -> [__m256i; 2] {
        both!(I => _mm256_and_si256(a[I], b[I]))
    }

    #[inline(always)]
    fn or(self, a: [__m256i; 2], b: [__m256i; 2]) -> [__m256i; 2] {
        both!(I => _mm256_or_si256(a[I], b[I]))
    }

    #[inline(always)]
    fn xor(self, a: [__m256i; 2], b: [__m256i; 2]) -> [__m256i; 2] {
        both!(I => _mm256_xor_si256(a[I], b[I]))
    }

    #[inline(always)]
    fn field(self, a: [__m256i; 2], shifts: [i32; 4], mask: u8) -> [__m256i; 2] {
        both!(I => {
            let [low, high] = [shifts[2 * I], shifts[2 * I + 1]];
            let right = _mm256_set_m128i(_mm_set1_epi32(high.max(0)), _mm_set1_epi32(low.max(0)));
            let left = _mm256_set_m128i(_mm_set1_epi32((-high).max(0)), _mm_set1_epi32((-low).max(0)));
            let moved = _mm256_sllv_epi32(_mm256_srlv_epi32(a[I], right), left);
            _mm256_and_si256(moved, _mm256_set1_epi8(mask as i8))
        })
    }

    #[inline(always)]
    fn lookup(self, table: &[u8; 16], index: [__m256i; 2]) -> [__m256i; 2] {
        both!(I => {
            let table = _mm256_broadcastsi128_si256(_mm_loadu_si128(table.as_ptr().cast()));
            _mm256_shuffle_epi8(table, index[I])
        })
    }

    #[inline(always)]
    fn transpose(self, rows: [[__m256i; 2]; 16]) -> [[__m256i; 2]; 16] {
        avx!({
            // 4 x 4 groups within the 16-byte lanes of rows 4i to 4i + 3, then lanes among the rows.
            let mut squares = [[[_mm256_setzero_si256(); 2]; 4]; 4];
            for (square, rows) in squares.iter_mut().zip(rows.as_chunks::<4>().0) {
                for half in 0..2 {
                    let turned = transpose_lanes(rows.map(|row| row[half]));
                    for (square, turned) in square.iter_mut().zip(turned) {
                        square[half] = turned;
                    }
                }
            }
            let mut out = [[_mm256_setzero_si256(); 2]; 16];
            for column in 0..4 {
                for half in 0..2 {
                    let [a, b, c, d] = [0, 1, 2, 3].map(|square: usize| squares[square][column][half]);
                    out[8 * half + column] =
                        [_mm256_permute2x128_si256::<0x20>(a, b), _mm256_permute2x128_si256::<0x20>(c, d)];
                    out[8 * half + 4 + column] =
                        [_mm256_permute2x128_si256::<0x31>(a, b), _mm256_permute2x128_si256::<0x31>(c, d)];
                }
            }
            out
        })
    }

    #[inline(always)]
    fn turn(self, [a, b, c, d]: [[__m256i; 2]; 4]) -> [[__m256i; 2]; 4] {
        let low = transpose_lanes([a[0], b[0], c[0], d[0]]);
        let high = transpose_lanes([a[1], b[1], c[1], d[1]]);
        [[low[0], high[0]], [low[1], high[1]], [low[2], high[2]], [low[3], high[3]]]
    }

    #[inline(always)]
    fn open(self, sum: [__m256i; 2]) -> Sums {
        avx!(Sums { ints: sum, pairs: [_mm256_setzero_si256(); 2] })
    }

    #[inline(always)]
    fn dot(self, sum: Sums, weights: [__m256i; 2], x: [__m256i; 2]) -> Sums {
        let Sums { ints, pairs } = sum;
        if VNNI {
            return Sums { ints: both!(I => _mm256_dpbusd_avx_epi32(ints[I], weights[I], x[I])), pairs };
        }
        Sums { ints, pairs: both!(I => _mm256_add_epi16(pairs[I], _mm256_maddubs_epi16(weights[I], x[I]))) }
    }

    #[inline(always)]
    fn dot_signed(self, sum: Sums, weights: [__m256i; 2], x: [__m256i; 2]) -> Sums {
        if VNNI {
            // Weights are made unsigned by 128, whose products are taken away again.
            let ints = both!(I => {
                let top = _mm256_set1_epi8(-128);
                let shifted = _mm256_dpbusd_avx_epi32(sum.ints[I], _mm256_xor_si256(weights[I], top), x[I]);
                _mm256_sub_epi32(shifted, _mm256_dpbusd_avx_epi32(_mm256_setzero_si256(), top, x[I]))
            });
            return Sums { ints, pairs: sum.pairs };
        }
        let pairs = both!(I => _mm256_maddubs_epi16(_mm256_abs_epi8(weights[I]), _mm256_sign_epi8(x[I], weights[I])));
        Sums { ints: sum.ints, pairs }
    }

    #[inline(always)]
    fn close(self, sum: Sums) -> [__m256i; 2] {
        let Sums { ints, pairs } = sum;
        if VNNI {
            return ints;
        }
        both!(I => _mm256_add_epi32(ints[I], _mm256_madd_epi16(pairs[I], _mm256_set1_epi16(1))))
    }

    #[inline(always)]
    fn add_scaled(self, total: [__m256i; 2], sum: Sums, scale: [__m256i; 2]) -> [__m256i; 2] {
        let Sums { ints, pairs } = sum;
        if VNNI {
            return both!(I => _mm256_add_epi32(total[I], _mm256_mullo_epi32(ints[I], scale[I])));
        }
        both!(I => _mm256_add_epi32(total[I], _mm256_madd_epi16(pairs[I], scale[I])))
    }

    #[inline(always)]
    fn add_scaled_short(self, total: [__m256i; 2], sum: Sums, scale: [__m256i; 2]) -> [__m256i; 2] {
        if VNNI {
            return both!(I => _mm256_dpwssd_avx_epi32(total[I], sum.ints[I], scale[I]));
        }
        self.add_scaled(total, sum, scale)
    }

    #[inline(always)]
    fn scales<const SHORT: bool>(self, numbers: &[u8; 16]) -> __m256i {
        avx!(_mm256_cvtepi8_epi16(_mm_loadu_si128(numbers.as_ptr().cast())))
    }

    #[inline(always)]
    fn quarter_scales<const SHORT: bool>(self, scales: __m256i, list: [usize; 4]) -> [__m256i; 2] {
        // Bytes 2j and 2j + 1 of both 16-byte lanes after a swap that brings them there.
        let place = |j: usize| ((2 * (j % 8)) | ((2 * (j % 8) + 1) << 8)) as i32 * 0x0001_0001;
        both!(I => {
            let [low, high] = [list[2 * I], list[2 * I + 1]];
            let source = match (low / 8, high / 8) {
                (0, 0) => _mm256_permute4x64_epi64::<0b01_00_01_00>(scales),
                (1, 1) => _mm256_permute4x64_epi64::<0b11_10_11_10>(scales),
                (0, _) => scales,
                _ => _mm256_permute4x64_epi64::<0b01_00_11_10>(scales),
            };
            let places = _mm256_set_m128i(_mm_set1_epi32(place(high)), _mm_set1_epi32(place(low)));
            let pairs = _mm256_shuffle_epi8(source, places);
            match (VNNI, SHORT) {
                (false, _) => pairs,
                (true, false) => _mm256_srai_epi32::<16>(pairs),
                (true, true) => _mm256_srli_epi32::<16>(pairs),
            }
        })
    }

    #[inline(always)]
    fn lane_scale(self, groups: [__m256i; 2], j: usize) -> [__m256i; 2] {
        if VNNI {
            return both!(I => {
                let up = _mm256_sllv_epi32(groups[I], _mm256_set1_epi32(24 - 8 * j as i32));
                _mm256_srai_epi32::<24>(up)
            });
        }
        self.lane_pair(groups, j, j)
    }

    #[inline(always)]
    fn lane_pair(self, groups: [__m256i; 2], a: usize, b: usize) -> [__m256i; 2] {
        both!(I => {
            // Each byte goes to the high half of its i16, and an arithmetic shift brings it down with its sign.
            let group = _mm256_set_epi32(0xC0C0C0C, 0x8080808, 0x4040404, 0, 0xC0C0C0C, 0x8080808, 0x4040404, 0);
            let place = _mm256_set1_epi32((a << 8 | b << 24 | 0x0080_0080) as i32);
            let high = _mm256_shuffle_epi8(groups[I], _mm256_or_si256(group, place));
            _mm256_srai_epi16::<8>(high)
        })
    }

    #[inline(always)]
    fn dot_sums(self, numbers: [__m256i; 2], sums: &[i16; 16]) -> [__m256i; 2] {
        both!(I => {
            let of_low = _mm256_broadcastsi128_si256(_mm_loadu_si128(sums.as_ptr().cast()));
            let of_high = _mm256_broadcastsi128_si256(_mm_loadu_si128(sums.as_ptr().add(8).cast()));
            let low = _mm256_srai_epi16::<8>(_mm256_unpacklo_epi8(numbers[I], numbers[I]));
            let high = _mm256_srai_epi16::<8>(_mm256_unpackhi_epi8(numbers[I], numbers[I]));
            _mm256_add_epi32(_mm256_madd_epi16(low, of_low), _mm256_madd_epi16(high, of_high))
        })
    }

    #[inline(always)]
    fn six_bit_scales(self, blocks: [&[u8; 16]; 4]) -> [__m256i; 2] {
        let all = self.quarters(blocks);
        both!(I => {
            // Groups 1, 3, 2 and 3 have the low bits, where they are all, or are four; groups 1 and 2 the high two of the others.
            let low = _mm256_shuffle_epi32::<0b11_10_11_01>(all[I]);
            let low = _mm256_srlv_epi32(low, _mm256_setr_epi32(0, 0, 0, 4, 0, 0, 0, 4));
            let high = _mm256_srli_epi32::<2>(_mm256_shuffle_epi32::<0b10_00_01_00>(all[I]));
            let (of_low, of_high) = (_mm256_set1_epi64x(0x0F0F_0F0F_3F3F_3F3F), _mm256_set1_epi64x(0x3030_3030 << 32));
            _mm256_or_si256(_mm256_and_si256(low, of_low), _mm256_and_si256(high, of_high))
        })
    }

    #[inline(always)]
    fn sum_pairs(self, from: &[i16; 16]) -> [i16; 8] {
        let mut sums = [0; 8];
        avx!({
            let pairs = _mm256_madd_epi16(_mm256_loadu_si256(from.as_ptr().cast()), _mm256_set1_epi16(1));
            let (low, high) = (_mm256_castsi256_si128(pairs), _mm256_extracti128_si256::<1>(pairs));
            _mm_storeu_si128(sums.as_mut_ptr().cast(), _mm_packs_epi32(low, high));
        });
        sums
    }

    #[inline(always)]
    fn ints(self, from: &[i32; 16]) -> [__m256i; 2] {
        both!(I => _mm256_loadu_si256(from.as_ptr().add(8 * I).cast()))
    }

    #[inline(always)]
    fn short_ints(self, from: &[i16; 16]) -> [__m256i; 2] {
        both!(I => _mm256_cvtepi16_epi32(_mm_loadu_si128(from.as_ptr().add(8 * I).cast())))
    }

    #[inline(always)]
    fn store_ints(self, ints: [__m256i; 2], to: &mut [i32; 16]) {
        both!(I => _mm256_storeu_si256(to.as_mut_ptr().add(8 * I).cast(), ints[I]));
    }

    #[inline(always)]
    fn splat_int(self, value: i32) -> [__m256i; 2] {
        avx!([_mm256_set1_epi32(value); 2])
    }

    #[inline(always)]
    fn splat_pair(self, from: &[i16; 2]) -> [__m256i; 2] {
        self.splat_int(from[0] as u16 as i32 | (from[1] as i32) << 16)
    }

    #[inline(always)]
    fn add_pairs(self, sum: [__m256i; 2], a: [__m256i; 2], b: [__m256i; 2]) -> [__m256i; 2] {
        if VNNI {
            return both!(I => _mm256_dpwssd_avx_epi32(sum[I], a[I], b[I]));
        }
        both!(I => _mm256_add_epi32(sum[I], _mm256_madd_epi16(a[I], b[I])))
    }

    #[inline(always)]
    fn sub_ints(self, a: [__m256i; 2], b: [__m256i; 2]) -> [__m256i; 2] {
        both!(I => _mm256_sub_epi32(a[I], b[I]))
    }

    #[inline(always)]
    fn mul_int(self, a: [__m256i; 2], factor: i32) -> [__m256i; 2] {
        both!(I => _mm256_mullo_epi32(a[I], _mm256_set1_epi32(factor)))
    }

    #[inline(always)]
    fn sum_quads(self, [a, b, c, d]: [[__m256i; 2]; 4]) -> [__m256i; 2] {
        both!(I => {
            let ab = _mm256_add_epi32(_mm256_unpacklo_epi32(a[I], b[I]), _mm256_unpackhi_epi32(a[I], b[I]));
            let cd = _mm256_add_epi32(_mm256_unpacklo_epi32(c[I], d[I]), _mm256_unpackhi_epi32(c[I], d[I]));
            _mm256_add_epi32(_mm256_unpacklo_epi64(ab, cd), _mm256_unpackhi_epi64(ab, cd))
        })
    }

    #[inline(always)]
    fn sum_halves(self, vectors: [[__m256i; 2]; 2]) -> [__m256i; 2] {
        both!(I => {
            let [a, b] = vectors[I];
            _mm256_add_epi32(_mm256_permute2x128_si256::<0x20>(a, b), _mm256_permute2x128_si256::<0x31>(a, b))
        })
    }

    #[inline(always)]
    fn sum_quarters(self, vectors: [[__m256i; 2]; 4]) -> [__m256i; 2] {
        both!(I => {
            let a = _mm256_add_epi32(vectors[2 * I][0], vectors[2 * I][1]);
            let b = _mm256_add_epi32(vectors[2 * I + 1][0], vectors[2 * I + 1][1]);
            _mm256_add_epi32(_mm256_permute2x128_si256::<0x20>(a, b), _mm256_permute2x128_si256::<0x31>(a, b))
        })
    }

    #[inline(always)]
    fn to_floats(self, ints: [__m256i; 2]) -> [__m256; 2] {
        both!(I => _mm256_cvtepi32_ps(ints[I]))
    }

    #[inline(always)]
    fn code_floats(self, from: &[i8; 16]) -> [__m256; 2] {
        both!(I => {
            let codes = _mm_loadl_epi64(from.as_ptr().add(8 * I).cast());
            _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(codes))
        })
    }

    #[inline(always)]
    fn floats(self, from: &[f32; 16]) -> [__m256; 2] {
        both!(I => _mm256_loadu_ps(from.as_ptr().add(8 * I)))
    }

    #[inline(always)]
    fn f32s(self, from: &[u8; 64]) -> [__m256; 2] {
        both!(I => _mm256_loadu_ps(from.as_ptr().add(32 * I).cast()))
    }

    #[inline(always)]
    fn f16s(self, from: &[u8; 32]) -> [__m256; 2] {
        both!(I => _mm256_cvtph_ps(_mm_loadu_si128(from.as_ptr().add(16 * I).cast())))
    }

    #[inline(always)]
    fn halfs(self, from: &[u16; 16]) -> [__m256; 2] {
        both!(I => _mm256_cvtph_ps(_mm_loadu_si128(from.as_ptr().add(8 * I).cast())))
    }

    #[inline(always)]
    fn bf16s(self, from: &[u8; 32]) -> [__m256; 2] {
        both!(I => {
            let wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(from.as_ptr().add(16 * I).cast()));
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(wide))
        })
    }

    #[inline(always)]
    fn half_pairs(self, bits: &[u32; 16]) -> [[__m256; 2]; 2] {
        let [[a, c], [b, d]] = both!(I => {
            let pairs = _mm256_loadu_si256(bits.as_ptr().add(8 * I).cast());
            let apart = _mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15);
            let apart = _mm256_shuffle_epi8(pairs, _mm256_broadcastsi128_si256(apart));
            let halves = _mm256_permute4x64_epi64::<0b11_01_10_00>(apart);
            let high = _mm256_extracti128_si256::<1>(halves);
            [_mm256_cvtph_ps(_mm256_castsi256_si128(halves)), _mm256_cvtph_ps(high)]
        });
        [[a, b], [c, d]]
    }

    #[inline(always)]
    fn store_floats(self, floats: [__m256; 2], to: &mut [f32; 16]) {
        both!(I => _mm256_storeu_ps(to.as_mut_ptr().add(8 * I), floats[I]));
    }

    #[inline(always)]
    fn store_halfs(self, floats: [__m256; 2], to: &mut [u16; 16]) {
        both!(I => {
            let halfs = _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(floats[I]);
            _mm_storeu_si128(to.as_mut_ptr().add(8 * I).cast(), halfs)
        });
    }

    #[inline(always)]
    fn splat_float(self, value: f32) -> [__m256; 2] {
        avx!([_mm256_set1_ps(value); 2])
    }

    #[inline(always)]
    fn round(self, floats: [[__m256; 2]; 4]) -> [__m256i; 2] {
        both!(I => {
            let [[a, b], [c, d]] = [floats[2 * I], floats[2 * I + 1]];
            let low = _mm256_packs_epi32(_mm256_cvtps_epi32(a), _mm256_cvtps_epi32(b));
            let high = _mm256_packs_epi32(_mm256_cvtps_epi32(c), _mm256_cvtps_epi32(d));
            // Packing works inside 16-byte lanes, and so leaves groups of four codes in the order 0 2 4 6, 1 3 5 7.
            let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
            _mm256_permutevar8x32_epi32(_mm256_packs_epi16(low, high), order)
        })
    }

    #[inline(always)]
    fn add(self, a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
        both!(I => _mm256_add_ps(a[I], b[I]))
    }

    #[inline(always)]
    fn sub(self, a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
        both!(I => _mm256_sub_ps(a[I], b[I]))
    }

    #[inline(always)]
    fn mul(self, a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
        both!(I => _mm256_mul_ps(a[I], b[I]))
    }

    #[inline(always)]
    fn add_exact(self, sum: [__m256; 2], a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
        both!(I => _mm256_fmadd_ps(a[I], b[I], sum[I]))
    }

    #[inline(always)]
    fn max(self, a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
        both!(I => _mm256_max_ps(a[I], b[I]))
    }

    #[inline(always)]
    fn sum_lanes(self, vectors: &[[__m256; 2]; 16]) -> [__m256; 2] {
        avx!({
            // In each vector below, a 16-byte lane has what is left of one vector: after the halves of all vectors and the
            // 16-byte lanes, pairs of vectors are put side by side.
            let mut quads = [_mm256_setzero_ps(); 8];
            for (i, quad) in quads.iter_mut().enumerate() {
                // Vectors v and v + 4 share a register, so that the result's lanes come out in order.
                let first = i / 4 * 8 + i % 4;
                let a = _mm256_add_ps(vectors[first][0], vectors[first][1]);
                let b = _mm256_add_ps(vectors[first + 4][0], vectors[first + 4][1]);
                let low = _mm256_permute2f128_ps::<0x20>(a, b);
                let high = _mm256_permute2f128_ps::<0x31>(a, b);
                *quad = _mm256_add_ps(low, high);
            }
            [sum_quads(&quads[..4]), sum_quads(&quads[4..])]
        })
    }
}

/// Transposes 4 x 4 groups of 4 bytes in each 16-byte lane.
#[inline(always)]
fn transpose_lanes([a, b, c, d]: [__m256i; 4]) -> [__m256i; 4] {
    avx!({
        let (low0, high0) = (_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
        let (low1, high1) = (_mm256_unpacklo_epi32(c, d), _mm256_unpackhi_epi32(c, d));
        [
            _mm256_unpacklo_epi64(low0, low1),
            _mm256_unpackhi_epi64(low0, low1),
            _mm256_unpacklo_epi64(high0, high1),
            _mm256_unpackhi_epi64(high0, high1),
        ]
    })
}

/// Lane `r` of each 16-byte lane is the sum of that of register `r`: elements `l` and `l + 2` are added, then `l` and
/// `l + 1`.
#[inline(always)]
fn sum_quads(quads: &[__m256]) -> __m256 {
    let (ab, cd) = (sum_pairs(quads[0], quads[1]), sum_pairs(quads[2], quads[3]));
    avx!(_mm256_add_ps(_mm256_shuffle_ps::<0b10_00_10_00>(ab, cd), _mm256_shuffle_ps::<0b11_01_11_01>(ab, cd)))
}

/// In each 16-byte lane `a0 + a2, a1 + a3, b0 + b2, b1 + b3`.
#[inline(always)]
fn sum_pairs(a: __m256, b: __m256) -> __m256 {
    avx!(_mm256_add_ps(_mm256_shuffle_ps::<0b01_00_01_00>(a, b), _mm256_shuffle_ps::<0b11_10_11_10>(a, b)))
}
