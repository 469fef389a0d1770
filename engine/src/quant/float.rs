//! F32, F16 and BF16: little-endian floats, one after the other.

use super::Float;
use crate::simd::Simd;

/// IEEE single precision.
pub(crate) struct F32;

impl Float<4, 64> for F32 {
    const EXACT: bool = false;

    #[inline(always)]
    fn floats<S: Simd>(s: S, from: &[u8; 64]) -> S::Floats {
        s.f32s(from)
    }
}

/// IEEE half precision.
pub(crate) struct F16;

impl Float<2, 32> for F16 {
    const EXACT: bool = true;

    #[inline(always)]
    fn floats<S: Simd>(s: S, from: &[u8; 32]) -> S::Floats {
        s.f16s(from)
    }
}

/// The upper half of IEEE single precision.
pub(crate) struct BF16;

impl Float<2, 32> for BF16 {
    /// It reaches so far down that no few bits of the other factor would do.
    const EXACT: bool = false;

    #[inline(always)]
    fn floats<S: Simd>(s: S, from: &[u8; 32]) -> S::Floats {
        s.bf16s(from)
    }
}
