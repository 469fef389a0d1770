//! AMX: tiles, registers of 16 rows of 64 bytes, and the products of two of them.

use super::{Level, Tiles, x86};
use core::arch::asm;
use core::arch::x86_64::*;
use core::marker::PhantomData;

/// Proof that the CPU has AMX for 8-bit integers, that the system lets this process use it, and that this thread's tiles are
/// set up, until it is dropped.
#[derive(Debug)]
pub struct Amx(PhantomData<*mut ()>);

/// What `ldtilecfg` takes: palette 1, and the rows of eight tiles and their bytes.
#[repr(C, align(64))]
struct Shapes {
    palette: [u8; 16],
    bytes: [u16; 16],
    rows: [u8; 16],
}

static SHAPES: Shapes = Shapes {
    palette: [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    bytes: [64, 64, 64, 64, 64, 64, 32, 64, 0, 0, 0, 0, 0, 0, 0, 0],
    rows: [16, 16, 16, 16, 16, 16, 16, 8, 0, 0, 0, 0, 0, 0, 0, 0],
};

impl Amx {
    /// Sets up this thread's tiles, where there are any.
    #[inline]
    pub(super) fn set_up() -> Option<Self> {
        if !x86::has(Level::AmxInt8) {
            return None;
        }
        // SAFETY: the CPU and its system have the instruction, and it reads 64 bytes.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &SHAPES, options(readonly, nostack, preserves_flags)) };
        Some(Self(PhantomData))
    }
}

impl Drop for Amx {
    /// Without their contents, the system has less to save when it changes threads.
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: the proof `self` stands for the instruction, which changes tiles only.
        unsafe { asm!("tilerelease", options(nomem, nostack, preserves_flags)) };
    }
}

/// An instruction on tiles, which compilers do not use themselves. None is `pure`: they stay in their order.
macro_rules! tile {
    ($($part:tt)*) => {
        // SAFETY: the proof `self` stands for the instructions and for tiles that are set up, and pointers come from references
        // to as many bytes as are read or written.
        unsafe { asm!($($part)*) }
    };
}

/// Whether tiles have the shapes of sums, activations and weights that are multiplied with each other.
const fn fit(sum: usize, x: usize, w: usize) -> bool {
    sum < 6 && ((x < 6 && w < 6) || (x == 6 && w == 7))
}

impl Tiles<__m512i> for Amx {
    type Ints = __m512i;

    #[inline(always)]
    fn zero<const TILE: usize>(&self) {
        tile!("tilezero tmm{}", const TILE, options(nomem, nostack, preserves_flags));
    }

    #[inline(always)]
    fn load<const TILE: usize>(&self, from: &[[u8; 64]; 16]) {
        const { assert!(TILE < 6) }
        tile!(
            "tileloadd tmm{}, [{} + {}]", const TILE, in(reg) from, in(reg) 64_usize,
            options(readonly, nostack, preserves_flags)
        );
    }

    #[inline(always)]
    fn load_rows<const TILE: usize>(&self, from: &[i8], stride: usize) {
        const { assert!(TILE < 6) }
        assert!(stride.saturating_mul(15).saturating_add(64) <= from.len(), "16 rows of 64 codes");
        tile!(
            "tileloadd tmm{}, [{} + {}]", const TILE, in(reg) from.as_ptr(), in(reg) stride,
            options(readonly, nostack, preserves_flags)
        );
    }

    #[inline(always)]
    fn load_half<const TILE: usize>(&self, from: &[[u8; 64]; 8]) {
        const { assert!(TILE == 7) }
        tile!(
            "tileloadd tmm{}, [{} + {}]", const TILE, in(reg) from, in(reg) 64_usize,
            options(readonly, nostack, preserves_flags)
        );
    }

    #[inline(always)]
    fn load_half_rows<const TILE: usize>(&self, from: &[i8], stride: usize) {
        const { assert!(TILE == 6) }
        assert!(stride.saturating_mul(15).saturating_add(32) <= from.len(), "16 rows of 32 codes");
        tile!(
            "tileloadd tmm{}, [{} + {}]", const TILE, in(reg) from.as_ptr(), in(reg) stride,
            options(readonly, nostack, preserves_flags)
        );
    }

    #[inline(always)]
    fn dot<const SUM: usize, const X: usize, const W: usize>(&self) {
        const { assert!(fit(SUM, X, W)) }
        tile!(
            "tdpbssd tmm{}, tmm{}, tmm{}", const SUM, const X, const W, options(nomem, nostack, preserves_flags)
        );
    }

    #[inline(always)]
    fn dot_unsigned<const SUM: usize, const X: usize, const W: usize>(&self) {
        const { assert!(fit(SUM, X, W)) }
        tile!(
            "tdpbsud tmm{}, tmm{}, tmm{}", const SUM, const X, const W, options(nomem, nostack, preserves_flags)
        );
    }

    #[inline(always)]
    fn store<const TILE: usize>(&self, to: &mut [[i32; 16]; 16]) {
        const { assert!(TILE < 6) }
        tile!(
            "tilestored [{} + {}], tmm{}", in(reg) to, in(reg) 64_usize, const TILE,
            options(nostack, preserves_flags)
        );
    }

    #[inline(always)]
    fn signed(&self, codes: __m512i, offset: u8) -> __m512i {
        // SAFETY: the CPU has AVX-512, as every one with tiles that is taken for one.
        unsafe { _mm512_sub_epi8(codes, _mm512_set1_epi8(offset as i8)) }
    }

    #[inline(always)]
    fn scaled(&self, codes: __m512i, scale: __m512i) -> [__m512i; 2] {
        // SAFETY: as above.
        unsafe {
            // The even and the odd codes, as `i16`; a scale is the same in both halves of its lane.
            let even = _mm512_mullo_epi16(_mm512_srai_epi16::<8>(_mm512_slli_epi16::<8>(codes)), scale);
            let odd = _mm512_mullo_epi16(_mm512_srai_epi16::<8>(codes), scale);
            let of_even = 0x5555_5555_5555_5555;
            let low = _mm512_mask_mov_epi8(_mm512_slli_epi16::<8>(odd), of_even, even);
            let high = _mm512_mask_mov_epi8(odd, of_even, _mm512_srli_epi16::<8>(even));
            [low, high]
        }
    }

    #[inline(always)]
    fn times(&self, codes: __m512i, scale: __m512i) -> __m512i {
        // SAFETY: as above. Two codes at a time: the product of the first is within its byte.
        unsafe { _mm512_mullo_epi16(codes, scale) }
    }

    #[inline(always)]
    fn lane_scale(&self, groups: __m512i, j: usize) -> __m512i {
        // SAFETY: as above.
        unsafe {
            let group = _mm512_broadcast_i32x4(_mm_setr_epi32(0, 0x0404_0404, 0x0808_0808, 0x0C0C_0C0C));
            let places = _mm512_or_si512(group, _mm512_set1_epi8(j as i8));
            _mm512_srai_epi16::<8>(_mm512_shuffle_epi8(groups, places))
        }
    }

    #[inline(always)]
    fn three_bits(&self, scale: __m512i) -> [__m512i; 2] {
        // SAFETY: as above.
        unsafe { [_mm512_and_si512(scale, _mm512_set1_epi16(7)), _mm512_srli_epi16::<3>(scale)] }
    }

    #[inline(always)]
    fn join(&self, low: &[i32; 16], high: &[i32; 16], shift: u32) -> __m512i {
        // SAFETY: as above, and pointers come from references to as many bytes.
        unsafe {
            let shift = _mm_cvtsi32_si128(shift as i32);
            let high = _mm512_sll_epi32(_mm512_loadu_si512(high.as_ptr().cast()), shift);
            _mm512_add_epi32(_mm512_loadu_si512(low.as_ptr().cast()), high)
        }
    }
}
