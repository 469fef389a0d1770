//! AVX2 and F16C.
//!
//! `maddubs` multiplies unsigned by signed bytes and adds pairs in `i16`; [`Simd::Partial`] is its result, and `madd` with
//! a pair scale widens it, so a block's integer scale costs nothing. Halves are the 16-byte lanes within which AVX2
//! shuffles, so nothing has to cross them.

use super::{Kernel, Level, Simd};
use core::arch::x86_64::*;
use core::sync::atomic::{AtomicU8, Ordering};

/// Proof that the CPU has AVX2 and F16C.
#[derive(Debug, Clone, Copy)]
pub struct Avx2(());

impl Avx2 {
    /// The proof, where this CPU and its system support the instructions.
    #[inline]
    pub fn new() -> Option<Self> {
        // Asking the CPU takes microseconds in a virtual machine, and this is asked for each kernel.
        static KNOWN: AtomicU8 = AtomicU8::new(0);
        match KNOWN.load(Ordering::Relaxed) {
            2 => Some(Self(())),
            1 => None,
            _ => {
                let found = detect();
                KNOWN.store(1 + found as u8, Ordering::Relaxed);
                found.then_some(Self(()))
            }
        }
    }
}

#[cold]
fn detect() -> bool {
    const XSAVE_AVX_F16C: u32 = 1 << 27 | 1 << 28 | 1 << 29;
    const AVX2: u32 = 1 << 5;
    const XMM_YMM: u64 = 0b110;

    #[target_feature(enable = "xsave")]
    #[allow(unused_unsafe)] // Intrinsics without pointers became safe to call in newer compilers.
    fn saved_registers() -> u64 {
        // SAFETY: the feature is enabled here, and register 0 exists wherever it is.
        unsafe { _xgetbv(0) }
    }

    #[allow(unused_unsafe)]
    // SAFETY: every x86-64 CPU has CPUID.
    let (top, first) = unsafe { (__cpuid(0).eax, __cpuid(1).ecx) };
    if top < 7 || first & XSAVE_AVX_F16C != XSAVE_AVX_F16C {
        return false;
    }
    #[allow(unused_unsafe)]
    // SAFETY: leaf 7 exists, and the OSXSAVE bit above says that XGETBV does.
    unsafe {
        __cpuid_count(7, 0).ebx & AVX2 != 0 && saved_registers() & XMM_YMM == XMM_YMM
    }
}

#[target_feature(enable = "avx2,f16c")]
fn enter<K: Kernel>(s: Avx2, kernel: K) -> K::Out {
    kernel.run(s)
}

/// Calls an intrinsic of AVX2 or F16C.
macro_rules! avx2 {
    ($call:expr) => {
        // SAFETY: the token `self` proves that the CPU has the instructions, and pointers come from references to as many bytes.
        unsafe { $call }
    };
}

/// Shuffle of each 16-byte half: the `j`-th `i16` eight times.
const fn splat_i16(j: u8) -> [u8; 32] {
    let mut mask = [0; 32];
    let mut i = 0;
    while i < 32 {
        mask[i] = 2 * j + i as u8 % 2;
        i += 1;
    }
    mask
}

const SPLAT_I16: [[u8; 32]; 8] =
    [splat_i16(0), splat_i16(1), splat_i16(2), splat_i16(3), splat_i16(4), splat_i16(5), splat_i16(6), splat_i16(7)];

impl Simd for Avx2 {
    type Bytes = __m256i;
    type Ints = __m256i;
    type Floats = __m256;
    type Partial = __m256i;
    type Scales = __m256i;

    #[inline(always)]
    fn level(self) -> Level {
        Level::Avx2
    }

    // Here rather than on `enter`, where the attribute has no effect: a function with other features is never inlined here.
    #[inline(never)]
    fn run<K: Kernel>(self, kernel: K) -> K::Out {
        avx2!(enter(self, kernel))
    }

    #[inline(always)]
    fn prefetch(self, bytes: &[u8], offset: usize) {
        let line = bytes.as_ptr().wrapping_add(offset);
        avx2!(_mm_prefetch::<_MM_HINT_T0>(line.cast()))
    }

    #[inline(always)]
    fn prefetch_far(self, bytes: &[u8], offset: usize) {
        let line = bytes.as_ptr().wrapping_add(offset);
        avx2!(_mm_prefetch::<_MM_HINT_T1>(line.cast()))
    }

    #[inline(always)]
    fn bytes(self, from: &[u8; 32]) -> __m256i {
        avx2!(_mm256_loadu_si256(from.as_ptr().cast()))
    }

    #[inline(always)]
    fn twice(self, from: &[u8; 16]) -> __m256i {
        avx2!(_mm256_broadcastsi128_si256(_mm_loadu_si128(from.as_ptr().cast())))
    }

    #[inline(always)]
    fn pair(self, low: &[u8; 16], high: &[u8; 16]) -> __m256i {
        avx2!(_mm256_loadu2_m128i(high.as_ptr().cast(), low.as_ptr().cast()))
    }

    #[inline(always)]
    fn twice_codes(self, from: &[i8; 16]) -> __m256i {
        avx2!(_mm256_broadcastsi128_si256(_mm_loadu_si128(from.as_ptr().cast())))
    }

    #[inline(always)]
    fn spread_bits(self, low: &[u8; 4], high: &[u8; 4]) -> [__m256i; 2] {
        avx2!({
            let low = _mm256_set1_epi32(i32::from_le_bytes(*low));
            let both = _mm256_blend_epi32::<0b1111_0000>(low, _mm256_set1_epi32(i32::from_le_bytes(*high)));
            let bit = _mm256_set1_epi64x(0x8040201008040201u64 as i64);
            let first = _mm256_broadcastsi128_si256(_mm_set_epi64x(0x0101010101010101, 0));
            let second = _mm256_broadcastsi128_si256(_mm_set_epi64x(0x0303030303030303, 0x0202020202020202));
            let (first, second) = (_mm256_shuffle_epi8(both, first), _mm256_shuffle_epi8(both, second));
            [
                _mm256_cmpeq_epi8(_mm256_and_si256(first, bit), bit),
                _mm256_cmpeq_epi8(_mm256_and_si256(second, bit), bit),
            ]
        })
    }

    #[inline(always)]
    fn splat(self, byte: u8) -> __m256i {
        avx2!(_mm256_set1_epi8(byte as i8))
    }

    #[inline(always)]
    fn splat4(self, from: &[i8; 4]) -> __m256i {
        avx2!(_mm256_set1_epi32(i32::from_le_bytes(from.map(|code| code as u8))))
    }

    #[inline(always)]
    fn join(self, low: u128, high: u128) -> __m256i {
        avx2!(_mm256_setr_epi64x(low as i64, (low >> 64) as i64, high as i64, (high >> 64) as i64))
    }

    #[inline(always)]
    fn store(self, bytes: __m256i, to: &mut [u8; 32]) {
        avx2!(_mm256_storeu_si256(to.as_mut_ptr().cast(), bytes))
    }

    #[inline(always)]
    fn sum_codes(self, codes: __m256i) -> [i16; 2] {
        avx2!({
            // Shifted by 128 to be unsigned; each 8 bytes give one sum.
            let shifted = _mm256_xor_si256(codes, _mm256_set1_epi8(-128));
            let eights = _mm256_sad_epu8(shifted, _mm256_setzero_si256());
            let sums = _mm256_add_epi32(eights, _mm256_shuffle_epi32::<0b01_00_11_10>(eights));
            let low = _mm_cvtsi128_si32(_mm256_castsi256_si128(sums));
            let high = _mm_cvtsi128_si32(_mm256_extracti128_si256::<1>(sums));
            [(low - 128 * 16) as i16, (high - 128 * 16) as i16]
        })
    }

    #[inline(always)]
    fn store_codes(self, codes: __m256i, to: &mut [i8; 32]) {
        avx2!(_mm256_storeu_si256(to.as_mut_ptr().cast(), codes))
    }

    #[inline(always)]
    fn and(self, a: __m256i, b: __m256i) -> __m256i {
        avx2!(_mm256_and_si256(a, b))
    }

    #[inline(always)]
    fn or(self, a: __m256i, b: __m256i) -> __m256i {
        avx2!(_mm256_or_si256(a, b))
    }

    #[inline(always)]
    fn field(self, a: __m256i, shift: i32, mask: u8) -> __m256i {
        avx2!({
            let count = _mm_cvtsi32_si128(shift.abs());
            let moved = if shift < 0 { _mm256_sll_epi16(a, count) } else { _mm256_srl_epi16(a, count) };
            _mm256_and_si256(moved, _mm256_set1_epi8(mask as i8))
        })
    }

    #[inline(always)]
    fn lookup(self, table: __m256i, index: __m256i) -> __m256i {
        avx2!(_mm256_shuffle_epi8(table, index))
    }

    #[inline(always)]
    fn transpose(self, [a, b, c, d]: [__m256i; 4]) -> [__m256i; 4] {
        avx2!({
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

    #[inline(always)]
    fn widen(self, bytes: __m256i, a: u32, b: u32) -> __m256i {
        avx2!({
            // Each byte goes to the high half of its i16, and an arithmetic shift brings it down with its sign.
            let group = _mm256_set_epi32(0xC0C0C0C, 0x8080808, 0x4040404, 0, 0xC0C0C0C, 0x8080808, 0x4040404, 0);
            let place = _mm256_set1_epi32((a << 8 | b << 24 | 0x0080_0080) as i32);
            let high = _mm256_shuffle_epi8(bytes, _mm256_or_si256(group, place));
            _mm256_srai_epi16::<8>(high)
        })
    }

    #[inline(always)]
    fn partial(self) -> __m256i {
        avx2!(_mm256_setzero_si256())
    }

    #[inline(always)]
    fn partial_dot(self, sum: __m256i, weights: __m256i, x: __m256i) -> __m256i {
        avx2!(_mm256_add_epi16(sum, _mm256_maddubs_epi16(weights, x)))
    }

    #[inline(always)]
    fn partial_signed(self, weights: __m256i, x: __m256i) -> __m256i {
        avx2!(_mm256_maddubs_epi16(_mm256_abs_epi8(weights), _mm256_sign_epi8(x, weights)))
    }

    #[inline(always)]
    fn add_scaled(self, sum: __m256i, partial: __m256i, scale: __m256i) -> __m256i {
        avx2!(_mm256_add_epi32(sum, _mm256_madd_epi16(partial, scale)))
    }

    #[inline(always)]
    fn scales(self, low: u64, high: u64) -> __m256i {
        avx2!(_mm256_cvtepi8_epi16(_mm_set_epi64x(high as i64, low as i64)))
    }

    #[inline(always)]
    fn sums(self, from: &[i16; 8]) -> __m256i {
        avx2!(_mm256_broadcastsi128_si256(_mm_loadu_si128(from.as_ptr().cast())))
    }

    #[inline(always)]
    fn scale(self, scales: __m256i, j: usize) -> __m256i {
        avx2!(_mm256_shuffle_epi8(scales, self.bytes(&SPLAT_I16[j])))
    }

    #[inline(always)]
    fn dot_scales(self, a: __m256i, b: __m256i) -> __m256i {
        avx2!(_mm256_madd_epi16(a, b))
    }

    #[inline(always)]
    fn ints(self, from: &[i32; 8]) -> __m256i {
        avx2!(_mm256_loadu_si256(from.as_ptr().cast()))
    }

    #[inline(always)]
    fn store_ints(self, ints: __m256i, to: &mut [i32; 8]) {
        avx2!(_mm256_storeu_si256(to.as_mut_ptr().cast(), ints))
    }

    #[inline(always)]
    fn splat_int(self, value: i32) -> __m256i {
        avx2!(_mm256_set1_epi32(value))
    }

    #[inline(always)]
    fn splat_pair(self, from: &[i16; 2]) -> __m256i {
        avx2!(_mm256_set1_epi32(from[0] as u16 as i32 | (from[1] as i32) << 16))
    }

    #[inline(always)]
    fn add_pairs(self, sum: __m256i, a: __m256i, b: __m256i) -> __m256i {
        avx2!(_mm256_add_epi32(sum, _mm256_madd_epi16(a, b)))
    }

    #[inline(always)]
    fn add_ints(self, a: __m256i, b: __m256i) -> __m256i {
        avx2!(_mm256_add_epi32(a, b))
    }

    #[inline(always)]
    fn sub_ints(self, a: __m256i, b: __m256i) -> __m256i {
        avx2!(_mm256_sub_epi32(a, b))
    }

    #[inline(always)]
    fn mul_int(self, a: __m256i, factor: i32) -> __m256i {
        avx2!(_mm256_mullo_epi32(a, _mm256_set1_epi32(factor)))
    }

    #[inline(always)]
    fn sum_each(self, [a, b, c, d]: [__m256i; 4]) -> __m256i {
        avx2!({
            let ab = _mm256_add_epi32(_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
            let cd = _mm256_add_epi32(_mm256_unpacklo_epi32(c, d), _mm256_unpackhi_epi32(c, d));
            _mm256_add_epi32(_mm256_unpacklo_epi64(ab, cd), _mm256_unpackhi_epi64(ab, cd))
        })
    }

    #[inline(always)]
    fn to_floats(self, ints: __m256i) -> __m256 {
        avx2!(_mm256_cvtepi32_ps(ints))
    }

    #[inline(always)]
    fn floats(self, from: &[f32; 8]) -> __m256 {
        avx2!(_mm256_loadu_ps(from.as_ptr()))
    }

    #[inline(always)]
    fn f32s(self, from: &[u8; 32]) -> __m256 {
        avx2!(_mm256_loadu_ps(from.as_ptr().cast()))
    }

    #[inline(always)]
    fn f16s(self, from: &[u8; 16]) -> __m256 {
        avx2!(_mm256_cvtph_ps(_mm_loadu_si128(from.as_ptr().cast())))
    }

    #[inline(always)]
    fn bf16s(self, from: &[u8; 16]) -> __m256 {
        avx2!({
            let wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(from.as_ptr().cast()));
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(wide))
        })
    }

    #[inline(always)]
    fn half_pairs(self, bits: [u32; 8]) -> [__m256; 2] {
        avx2!({
            let pairs = _mm256_loadu_si256(bits.as_ptr().cast());
            let apart = _mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15);
            let apart = _mm256_shuffle_epi8(pairs, _mm256_broadcastsi128_si256(apart));
            let halves = _mm256_permute4x64_epi64::<0b11_01_10_00>(apart);
            let high = _mm256_extracti128_si256::<1>(halves);
            [_mm256_cvtph_ps(_mm256_castsi256_si128(halves)), _mm256_cvtph_ps(high)]
        })
    }

    #[inline(always)]
    fn store_floats(self, floats: __m256, to: &mut [f32; 8]) {
        avx2!(_mm256_storeu_ps(to.as_mut_ptr(), floats))
    }

    #[inline(always)]
    fn splat_float(self, value: f32) -> __m256 {
        avx2!(_mm256_set1_ps(value))
    }

    #[inline(always)]
    fn round(self, [a, b, c, d]: [__m256; 4]) -> __m256i {
        avx2!({
            let low = _mm256_packs_epi32(_mm256_cvtps_epi32(a), _mm256_cvtps_epi32(b));
            let high = _mm256_packs_epi32(_mm256_cvtps_epi32(c), _mm256_cvtps_epi32(d));
            // Packing works inside the halves, and so leaves groups of four codes in the order 0 2 4 6, 1 3 5 7.
            let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
            _mm256_permutevar8x32_epi32(_mm256_packs_epi16(low, high), order)
        })
    }

    #[inline(always)]
    fn add(self, a: __m256, b: __m256) -> __m256 {
        avx2!(_mm256_add_ps(a, b))
    }

    #[inline(always)]
    fn sub(self, a: __m256, b: __m256) -> __m256 {
        avx2!(_mm256_sub_ps(a, b))
    }

    #[inline(always)]
    fn mul(self, a: __m256, b: __m256) -> __m256 {
        avx2!(_mm256_mul_ps(a, b))
    }
}
