//! AVX-512 (F, BW, DQ, VL) with VNNI: a vector of 64 bytes is one register. There may be tiles beside it.

use super::{Amx, Kernel, Level, Simd, x86};
use core::arch::asm;
use core::arch::x86_64::*;

/// Proof that the CPU has AVX-512 F, BW, DQ, VL and VNNI.
#[derive(Debug, Clone, Copy)]
pub struct Avx512Vnni {
    /// Whether this is [`Level::AmxInt8`]: a choice, not a type, so that kernels are compiled once for both.
    tiles: bool,
}

impl Avx512Vnni {
    /// The proof, where this CPU and its system support the instructions.
    #[inline]
    pub fn new() -> Option<Self> {
        x86::has(Level::Avx512Vnni).then_some(Self { tiles: false })
    }

    /// The same, where there are tiles as well.
    #[inline]
    pub fn with_tiles() -> Option<Self> {
        x86::has(Level::AmxInt8).then_some(Self { tiles: true })
    }
}

#[target_feature(enable = "avx2,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn enter<K: Kernel>(s: Avx512Vnni, kernel: K) -> K::Out {
    kernel.run(s)
}

/// Calls intrinsics of the level.
macro_rules! avx512 {
    ($call:expr) => {
        // SAFETY: the token `self` proves that the CPU has the instructions, and pointers come from references to as many bytes.
        unsafe { $call }
    };
}

/// One number for each quarter.
#[inline(always)]
fn quarters(list: [i32; 4]) -> __m512i {
    let [a, b, c, d] = list;
    avx512!(_mm512_setr_epi32(a, a, a, a, b, b, b, b, c, c, c, c, d, d, d, d))
}

impl Simd for Avx512Vnni {
    type Bytes = __m512i;
    type Ints = __m512i;
    type Floats = __m512;
    type Partial = __m512i;
    /// As `i32`.
    type Scales = __m512i;
    type Tiles = Amx;

    const HAS_TILES: bool = true;
    const ACCUMULATORS: usize = 24;
    const SUMS_32: bool = true;
    const PREFERS_UNSIGNED: bool = true;

    #[inline(always)]
    fn level(self) -> Level {
        if self.tiles { Level::AmxInt8 } else { Level::Avx512Vnni }
    }

    #[inline(always)]
    fn tiles(self) -> Option<Amx> {
        if self.tiles { Amx::set_up() } else { None }
    }

    // Here rather than on `enter`, where the attribute has no effect: a function with other features is never inlined here.
    #[inline(never)]
    fn run<K: Kernel>(self, kernel: K) -> K::Out {
        avx512!(enter(self, kernel))
    }

    #[inline(always)]
    fn prefetch(self, bytes: &[u8], offset: usize) {
        let line = bytes.as_ptr().wrapping_add(offset);
        avx512!(_mm_prefetch::<_MM_HINT_T1>(line.cast()))
    }

    #[inline(always)]
    fn prefetch_near(self, bytes: &[u8], offset: usize) {
        let line = bytes.as_ptr().wrapping_add(offset);
        avx512!(_mm_prefetch::<_MM_HINT_T0>(line.cast()))
    }

    #[inline(always)]
    fn prefetch_to_write<T>(self, to: &mut [T]) {
        x86::prefetch_to_write(to);
    }

    #[inline(always)]
    fn bytes(self, from: &[u8; 64]) -> __m512i {
        avx512!(_mm512_loadu_si512(from.as_ptr().cast()))
    }

    #[inline(always)]
    fn codes(self, from: &[i8; 64]) -> __m512i {
        avx512!(_mm512_loadu_si512(from.as_ptr().cast()))
    }

    #[inline(always)]
    fn twice(self, from: &[u8; 32]) -> __m512i {
        avx512!(_mm512_broadcast_i64x4(_mm256_loadu_si256(from.as_ptr().cast())))
    }

    #[inline(always)]
    fn quarters(self, from: [&[u8; 16]; 4]) -> __m512i {
        avx512!({
            let low = _mm256_loadu2_m128i(from[1].as_ptr().cast(), from[0].as_ptr().cast());
            let high = _mm256_loadu2_m128i(from[3].as_ptr().cast(), from[2].as_ptr().cast());
            _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high)
        })
    }

    #[inline(always)]
    fn alternate_quarters(self, from: &[u8; 128]) -> [__m512i; 2] {
        avx512!({
            let low = _mm512_loadu_si512(from.as_ptr().cast());
            let high = _mm512_loadu_si512(from.as_ptr().add(64).cast());
            [_mm512_shuffle_i64x2::<0b10_00_10_00>(low, high), _mm512_shuffle_i64x2::<0b11_01_11_01>(low, high)]
        })
    }

    #[inline(always)]
    fn code_quarters(self, from: [&[i8; 16]; 4]) -> __m512i {
        avx512!({
            let low = _mm256_loadu2_m128i(from[1].as_ptr().cast(), from[0].as_ptr().cast());
            let high = _mm256_loadu2_m128i(from[3].as_ptr().cast(), from[2].as_ptr().cast());
            _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high)
        })
    }

    #[inline(always)]
    fn spread_bits(self, bits: u64) -> __m512i {
        avx512!(_mm512_movm_epi8(bits))
    }

    #[inline(always)]
    fn splat(self, byte: u8) -> __m512i {
        avx512!(_mm512_set1_epi8(byte as i8))
    }

    #[inline(always)]
    fn splat4(self, from: &[i8; 4]) -> __m512i {
        avx512!(_mm512_set1_epi32(i32::from_le_bytes(from.map(|code| code as u8))))
    }

    #[inline(always)]
    fn store(self, bytes: __m512i, to: &mut [u8; 64]) {
        avx512!(_mm512_storeu_si512(to.as_mut_ptr().cast(), bytes))
    }

    #[inline(always)]
    fn store_codes(self, codes: __m512i, to: &mut [i8; 64]) {
        avx512!(_mm512_storeu_si512(to.as_mut_ptr().cast(), codes))
    }

    #[inline(always)]
    fn sum_codes(self, codes: __m512i) -> [i16; 4] {
        avx512!({
            // Shifted by 128 to be unsigned; each 8 bytes give one sum.
            let shifted = _mm512_xor_si512(codes, _mm512_set1_epi8(-128));
            let eights = _mm512_sad_epu8(shifted, _mm512_setzero_si512());
            let sums = _mm512_add_epi32(eights, _mm512_shuffle_epi32::<0b01_00_11_10>(eights));
            let firsts = _mm512_setr_epi32(0, 4, 8, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
            let four = _mm512_castsi512_si128(_mm512_permutexvar_epi32(firsts, sums));
            let mut sums = [0; 4];
            _mm_storeu_si128(sums.as_mut_ptr().cast(), four);
            sums.map(|sum: i32| (sum - 128 * 16) as i16)
        })
    }

    #[inline(always)]
    fn and(self, a: __m512i, b: __m512i) -> __m512i {
        avx512!(_mm512_and_si512(a, b))
    }

    #[inline(always)]
    fn or(self, a: __m512i, b: __m512i) -> __m512i {
        avx512!(_mm512_or_si512(a, b))
    }

    #[inline(always)]
    fn xor(self, a: __m512i, b: __m512i) -> __m512i {
        avx512!(_mm512_xor_si512(a, b))
    }

    #[inline(always)]
    fn field(self, a: __m512i, shifts: [i32; 4], mask: u8) -> __m512i {
        avx512!({
            // A rotation brings what the mask takes from either side.
            let moved = _mm512_rorv_epi32(a, quarters(shifts));
            _mm512_and_si512(moved, _mm512_set1_epi8(mask as i8))
        })
    }

    #[inline(always)]
    fn lookup(self, table: &[u8; 16], index: __m512i) -> __m512i {
        avx512!({
            let table = _mm512_broadcast_i32x4(_mm_loadu_si128(table.as_ptr().cast()));
            _mm512_shuffle_epi8(table, index)
        })
    }

    #[inline(always)]
    fn transpose(self, rows: [__m512i; 16]) -> [__m512i; 16] {
        avx512!({
            // 4 x 4 groups within the quarters of rows 4i to 4i + 3, then quarters among the rows.
            let mut squares = [[_mm512_setzero_si512(); 4]; 4];
            for (square, rows) in squares.iter_mut().zip(rows.as_chunks::<4>().0) {
                *square = self.turn(*rows);
            }
            let mut out = [_mm512_setzero_si512(); 16];
            for column in 0..4 {
                let [a, b, c, d] = [squares[0][column], squares[1][column], squares[2][column], squares[3][column]];
                let (low0, high0) =
                    (_mm512_shuffle_i32x4::<0b10_00_10_00>(a, b), _mm512_shuffle_i32x4::<0b11_01_11_01>(a, b));
                let (low1, high1) =
                    (_mm512_shuffle_i32x4::<0b10_00_10_00>(c, d), _mm512_shuffle_i32x4::<0b11_01_11_01>(c, d));
                out[column] = _mm512_shuffle_i32x4::<0b10_00_10_00>(low0, low1);
                out[4 + column] = _mm512_shuffle_i32x4::<0b10_00_10_00>(high0, high1);
                out[8 + column] = _mm512_shuffle_i32x4::<0b11_01_11_01>(low0, low1);
                out[12 + column] = _mm512_shuffle_i32x4::<0b11_01_11_01>(high0, high1);
            }
            out
        })
    }

    #[inline(always)]
    fn turn(self, [a, b, c, d]: [__m512i; 4]) -> [__m512i; 4] {
        avx512!({
            let (low0, high0) = (_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
            let (low1, high1) = (_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
            [
                _mm512_unpacklo_epi64(low0, low1),
                _mm512_unpackhi_epi64(low0, low1),
                _mm512_unpacklo_epi64(high0, high1),
                _mm512_unpackhi_epi64(high0, high1),
            ]
        })
    }

    #[inline(always)]
    fn open(self, sum: __m512i) -> __m512i {
        sum
    }

    #[inline(always)]
    fn dot(self, sum: __m512i, weights: __m512i, x: __m512i) -> __m512i {
        avx512!(_mm512_dpbusd_epi32(sum, weights, x))
    }

    #[inline(always)]
    fn dot_group<const G: usize>(self, sum: __m512i, weights: __m512i, x: &[i8; 32]) -> __m512i {
        avx512!(dpbusd_group::<G>(sum, weights, x))
    }

    #[inline(always)]
    fn dot_signed(self, sum: __m512i, weights: __m512i, x: __m512i) -> __m512i {
        // Weights are made unsigned by 128, whose products are taken away again.
        avx512!({
            let top = _mm512_set1_epi8(-128);
            let shifted = _mm512_dpbusd_epi32(sum, _mm512_xor_si512(weights, top), x);
            _mm512_sub_epi32(shifted, _mm512_dpbusd_epi32(_mm512_setzero_si512(), top, x))
        })
    }

    #[inline(always)]
    fn close(self, sum: __m512i) -> __m512i {
        sum
    }

    #[inline(always)]
    fn add_scaled(self, total: __m512i, sum: __m512i, scale: __m512i) -> __m512i {
        avx512!(_mm512_add_epi32(total, _mm512_mullo_epi32(sum, scale)))
    }

    #[inline(always)]
    fn add_scaled_short(self, total: __m512i, sum: __m512i, scale: __m512i) -> __m512i {
        avx512!(dpwssd(total, sum, scale))
    }

    #[inline(always)]
    fn scales<const SHORT: bool>(self, numbers: &[u8; 16]) -> __m512i {
        avx512!({
            let bytes = _mm_loadu_si128(numbers.as_ptr().cast());
            if SHORT { _mm512_castsi256_si512(_mm256_cvtepi8_epi16(bytes)) } else { _mm512_cvtepi8_epi32(bytes) }
        })
    }

    #[inline(always)]
    fn six_bit_scales(self, blocks: [&[u8; 16]; 4]) -> __m512i {
        let all = self.quarters(blocks);
        avx512!({
            // Groups 1, 3, 2 and 3 have the low bits, of some numbers all; groups 1 and 2 have the high two of the others.
            let low = _mm512_shuffle_epi32::<0b11_10_11_01>(all);
            let low = _mm512_srlv_epi32(low, _mm512_set4_epi32(4, 0, 0, 0));
            let high = _mm512_srli_epi32::<2>(_mm512_shuffle_epi32::<0b10_00_01_00>(all));
            let (of_low, of_high) = (_mm512_set1_epi64(0x0F0F_0F0F_3F3F_3F3F), _mm512_set1_epi64(0x3030_3030 << 32));
            _mm512_or_si512(_mm512_and_si512(low, of_low), _mm512_and_si512(high, of_high))
        })
    }

    #[inline(always)]
    fn quarter_scales<const SHORT: bool>(self, scales: __m512i, list: [usize; 4]) -> __m512i {
        if !SHORT {
            return avx512!(_mm512_permutexvar_epi32(quarters(list.map(|j| j as i32)), scales));
        }
        // To the low halves of the lanes: the high half of a sum, which is its sign, is multiplied with zero.
        avx512!(low_words(scales, quarters(list.map(|j| j as i32))))
    }

    #[inline(always)]
    fn lane_scale(self, groups: __m512i, j: usize) -> __m512i {
        avx512!({
            let up = _mm512_sllv_epi32(groups, _mm512_set1_epi32(24 - 8 * j as i32));
            _mm512_srai_epi32::<24>(up)
        })
    }

    #[inline(always)]
    fn lane_pair(self, groups: __m512i, a: usize, b: usize) -> __m512i {
        avx512!({
            // Each byte goes to the high half of its i16, and an arithmetic shift brings it down with its sign.
            let group = _mm512_broadcast_i32x4(_mm_setr_epi32(0, 0x0404_0404, 0x0808_0808, 0x0C0C_0C0C));
            let place = _mm512_set1_epi32((a << 8 | b << 24 | 0x0080_0080) as i32);
            let high = _mm512_shuffle_epi8(groups, _mm512_or_si512(group, place));
            _mm512_srai_epi16::<8>(high)
        })
    }

    #[inline(always)]
    fn dot_sums(self, numbers: __m512i, sums: &[i16; 16]) -> __m512i {
        avx512!({
            let of_low = _mm512_broadcast_i32x4(_mm_loadu_si128(sums.as_ptr().cast()));
            let of_high = _mm512_broadcast_i32x4(_mm_loadu_si128(sums.as_ptr().add(8).cast()));
            let low = _mm512_srai_epi16::<8>(_mm512_unpacklo_epi8(numbers, numbers));
            let high = _mm512_srai_epi16::<8>(_mm512_unpackhi_epi8(numbers, numbers));
            _mm512_dpwssd_epi32(_mm512_madd_epi16(low, of_low), high, of_high)
        })
    }

    #[inline(always)]
    fn sum_pairs(self, from: &[i16; 16]) -> [i16; 8] {
        let mut sums = [0; 8];
        avx512!({
            let pairs = _mm256_madd_epi16(_mm256_loadu_si256(from.as_ptr().cast()), _mm256_set1_epi16(1));
            let (low, high) = (_mm256_castsi256_si128(pairs), _mm256_extracti128_si256::<1>(pairs));
            _mm_storeu_si128(sums.as_mut_ptr().cast(), _mm_packs_epi32(low, high));
        });
        sums
    }

    #[inline(always)]
    fn ints(self, from: &[i32; 16]) -> __m512i {
        avx512!(_mm512_loadu_si512(from.as_ptr().cast()))
    }

    #[inline(always)]
    fn short_ints(self, from: &[i16; 16]) -> __m512i {
        avx512!(_mm512_cvtepi16_epi32(_mm256_loadu_si256(from.as_ptr().cast())))
    }

    #[inline(always)]
    fn store_ints(self, ints: __m512i, to: &mut [i32; 16]) {
        avx512!(_mm512_storeu_si512(to.as_mut_ptr().cast(), ints))
    }

    #[inline(always)]
    fn splat_int(self, value: i32) -> __m512i {
        avx512!(_mm512_set1_epi32(value))
    }

    #[inline(always)]
    fn splat_pair(self, from: &[i16; 2]) -> __m512i {
        self.splat_int(from[0] as u16 as i32 | (from[1] as i32) << 16)
    }

    #[inline(always)]
    fn add_pairs(self, sum: __m512i, a: __m512i, b: __m512i) -> __m512i {
        avx512!(_mm512_dpwssd_epi32(sum, a, b))
    }

    #[inline(always)]
    fn add_pair<const J: usize>(self, sum: __m512i, a: __m512i, x: &[i16; 16]) -> __m512i {
        avx512!(dpwssd_pair::<J>(sum, a, x))
    }

    #[inline(always)]
    fn sub_ints(self, a: __m512i, b: __m512i) -> __m512i {
        avx512!(_mm512_sub_epi32(a, b))
    }

    #[inline(always)]
    fn mul_int(self, a: __m512i, factor: i32) -> __m512i {
        avx512!(_mm512_mullo_epi32(a, _mm512_set1_epi32(factor)))
    }

    #[inline(always)]
    fn sum_quads(self, [a, b, c, d]: [__m512i; 4]) -> __m512i {
        avx512!({
            let ab = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
            let cd = _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
            _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd))
        })
    }

    #[inline(always)]
    fn sum_halves(self, [a, b]: [__m512i; 2]) -> __m512i {
        avx512!(_mm512_add_epi32(
            _mm512_shuffle_i32x4::<0b10_00_10_00>(a, b),
            _mm512_shuffle_i32x4::<0b11_01_11_01>(a, b)
        ))
    }

    #[inline(always)]
    fn sum_quarters(self, [a, b, c, d]: [__m512i; 4]) -> __m512i {
        let (ab, cd) = (self.sum_halves([a, b]), self.sum_halves([c, d]));
        self.sum_halves([ab, cd])
    }

    #[inline(always)]
    fn to_floats(self, ints: __m512i) -> __m512 {
        avx512!(_mm512_cvtepi32_ps(ints))
    }

    #[inline(always)]
    fn code_floats(self, from: &[i8; 16]) -> __m512 {
        avx512!(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(from.as_ptr().cast()))))
    }

    #[inline(always)]
    fn floats(self, from: &[f32; 16]) -> __m512 {
        avx512!(_mm512_loadu_ps(from.as_ptr()))
    }

    #[inline(always)]
    fn f32s(self, from: &[u8; 64]) -> __m512 {
        avx512!(_mm512_loadu_ps(from.as_ptr().cast()))
    }

    #[inline(always)]
    fn f16s(self, from: &[u8; 32]) -> __m512 {
        avx512!(_mm512_cvtph_ps(_mm256_loadu_si256(from.as_ptr().cast())))
    }

    #[inline(always)]
    fn halfs(self, from: &[u16; 16]) -> __m512 {
        avx512!(_mm512_cvtph_ps(_mm256_loadu_si256(from.as_ptr().cast())))
    }

    #[inline(always)]
    fn bf16s(self, from: &[u8; 32]) -> __m512 {
        avx512!({
            let wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(from.as_ptr().cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(wide))
        })
    }

    #[inline(always)]
    fn half_pairs(self, bits: &[u32; 16]) -> [__m512; 2] {
        avx512!({
            let pairs = _mm512_loadu_si512(bits.as_ptr().cast());
            let (low, high) = (_mm512_cvtepi32_epi16(pairs), _mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(pairs)));
            [_mm512_cvtph_ps(low), _mm512_cvtph_ps(high)]
        })
    }

    #[inline(always)]
    fn store_floats(self, floats: __m512, to: &mut [f32; 16]) {
        avx512!(_mm512_storeu_ps(to.as_mut_ptr(), floats))
    }

    #[inline(always)]
    fn store_halfs(self, floats: __m512, to: &mut [u16; 16]) {
        avx512!({
            let halfs = _mm512_cvtps_ph::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(floats);
            _mm256_storeu_si256(to.as_mut_ptr().cast(), halfs)
        })
    }

    #[inline(always)]
    fn splat_float(self, value: f32) -> __m512 {
        avx512!(_mm512_set1_ps(value))
    }

    #[inline(always)]
    fn round(self, [a, b, c, d]: [__m512; 4]) -> __m512i {
        avx512!({
            let a = _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(a));
            let b = _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(b));
            let c = _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(c));
            let d = _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(d));
            let low = _mm512_castsi256_si512(_mm256_set_m128i(b, a));
            _mm512_inserti64x4::<1>(low, _mm256_set_m128i(d, c))
        })
    }

    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        avx512!(_mm512_add_ps(a, b))
    }

    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        avx512!(_mm512_sub_ps(a, b))
    }

    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        avx512!(_mm512_mul_ps(a, b))
    }

    #[inline(always)]
    fn add_exact(self, sum: __m512, a: __m512, b: __m512) -> __m512 {
        avx512!(_mm512_fmadd_ps(a, b, sum))
    }

    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        avx512!(_mm512_max_ps(a, b))
    }

    #[inline(always)]
    fn sum_lanes(self, vectors: &[__m512; 16]) -> __m512 {
        avx512!({
            // Halves of vectors v and v + 8, then quarters with those of v + 4 and v + 12, are put side by side.
            let mut quads = [_mm512_setzero_ps(); 4];
            for (v, quad) in quads.iter_mut().enumerate() {
                let a = sum_halves(vectors[v], vectors[v + 8]);
                let b = sum_halves(vectors[v + 4], vectors[v + 12]);
                // a: v, v, v + 8, v + 8; b: v + 4, v + 4, v + 12, v + 12.
                let low = _mm512_shuffle_f32x4::<0b10_00_10_00>(a, b);
                let high = _mm512_shuffle_f32x4::<0b11_01_11_01>(a, b);
                *quad = _mm512_add_ps(low, high);
            }
            let (ab, cd) = (sum_pairs(quads[0], quads[1]), sum_pairs(quads[2], quads[3]));
            let sums =
                _mm512_add_ps(_mm512_shuffle_ps::<0b10_00_10_00>(ab, cd), _mm512_shuffle_ps::<0b11_01_11_01>(ab, cd));
            // Quarters are now of vectors 0, 8, 4, 12 and up.
            _mm512_shuffle_f32x4::<0b11_01_10_00>(sums, sums)
        })
    }
}

/// `_mm512_dpwssd_epi32`, of which the compiler makes two instructions, to shorten a chain that nothing waits for.
#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
fn dpwssd(mut sum: __m512i, a: __m512i, b: __m512i) -> __m512i {
    // SAFETY: the instruction reads and writes registers only, and the caller has the CPU feature.
    unsafe {
        asm!(
            "vpdpwssd {0}, {1}, {2}", inout(zmm_reg) sum, in(zmm_reg) a, in(zmm_reg) b,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sum
}

/// `_mm512_dpwssd_epi32` with pair `J` of `x` repeated, as [`dpbusd_group`] has groups.
#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
fn dpwssd_pair<const J: usize>(mut sum: __m512i, a: __m512i, x: &[i16; 16]) -> __m512i {
    const { assert!(J < 8) };
    // SAFETY: the instruction reads a pair of `x` and writes a register, and the caller has the CPU feature.
    unsafe {
        asm!(
            "vpdpwssd {0}, {1}, dword ptr [{2} + {3}]{{1to16}}",
            inout(zmm_reg) sum, in(zmm_reg) a, in(reg) x, const 4 * J,
            options(pure, readonly, nostack, preserves_flags)
        );
    }
    sum
}

/// `_mm512_dpbusd_epi32` with group `G` of `x` repeated. A compiler would load it to a register, and the next ones, so early
/// that there are none left for the sums.
#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
fn dpbusd_group<const G: usize>(mut sum: __m512i, weights: __m512i, x: &[i8; 32]) -> __m512i {
    const { assert!(G < 8) };
    // SAFETY: the instruction reads a group of `x` and writes a register, and the caller has the CPU feature.
    unsafe {
        asm!(
            "vpdpbusd {0}, {1}, dword ptr [{2} + {3}]{{1to16}}",
            inout(zmm_reg) sum, in(zmm_reg) weights, in(reg) x, const 4 * G,
            options(pure, readonly, nostack, preserves_flags)
        );
    }
    sum
}

/// Words `places[l]` to the low half of each lane `l`, and zero to the high one. The compiler would do it in more steps.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn low_words(mut words: __m512i, places: __m512i) -> __m512i {
    // SAFETY: the instruction reads and writes registers only, and the caller has the CPU feature.
    unsafe {
        asm!(
            "vpermw {0}{{{2}}}{{z}}, {1}, {0}", inout(zmm_reg) words, in(zmm_reg) places, in(kreg) 0x5555_5555_u32,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    words
}

/// The sums of lanes `l` and `l + 8` of `a`, then those of `b`.
#[inline(always)]
fn sum_halves(a: __m512, b: __m512) -> __m512 {
    avx512!(_mm512_add_ps(_mm512_shuffle_f32x4::<0b01_00_01_00>(a, b), _mm512_shuffle_f32x4::<0b11_10_11_10>(a, b)))
}

/// In each quarter `a0 + a2, a1 + a3, b0 + b2, b1 + b3`.
#[inline(always)]
fn sum_pairs(a: __m512, b: __m512) -> __m512 {
    avx512!(_mm512_add_ps(_mm512_shuffle_ps::<0b01_00_01_00>(a, b), _mm512_shuffle_ps::<0b11_10_11_10>(a, b)))
}
