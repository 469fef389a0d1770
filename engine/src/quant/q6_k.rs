//! Q6_K: 128 bytes of low nibbles, 64 bytes of high 2 bits, 16 signed scales of 16 elements each, `d: f16`;
//! `d * scale * (q - 32)`.
//!
//! For elements `128h..128h+128`: low bytes `64h + i`, for `i` below 64, hold element `i` low and element `64 + i`
//! high; bits `2j` and up of high byte `32h + i` belong to element `32j + i`.

use super::block::{Block256, Codes, part, quarters};
use crate::simd::Simd;

#[allow(non_camel_case_types)]
pub(crate) struct Q6_K;

impl Block256<210> for Q6_K {
    const CODES: Codes = Codes::Unsigned { max: 63, offset: 32 };
    const MIN: bool = false;
    const RUN: usize = 16;
    const SCALE: usize = 208;

    #[inline(always)]
    fn codes<S: Simd, const PART: usize>(s: S, block: &[u8; 210]) -> S::Bytes {
        let (half, shift) = (PART / 2, PART as i32 % 2 * 4);
        let low = s.field(s.bytes(part(block, 64 * half)), [shift; 4], 15);
        let up = shift - 4;
        let high = s.field(s.twice(part(block, 128 + 32 * half)), [up, up, up + 2, up + 2], 0x30);
        s.or(low, high)
    }

    #[inline(always)]
    fn scales<S: Simd>(s: S, blocks: [&[u8; 210]; 4]) -> S::Bytes {
        quarters(s, blocks, 192)
    }

    #[inline(always)]
    fn scales_of<'a>(block: &'a [u8; 210], _: &'a [u8; 16]) -> &'a [u8; 16] {
        part(block, 192)
    }
}
