//! Tensor element types: their layout in the file, how they dequantize, and the parts of their dot products.
//!
//! A type is one file here and one row of the table below. The file implements [`Float`], [`Block32`] or [`Block256`]:
//! where the scales lie in a block, and how its bytes become integer codes, in terms of [`Simd`](crate::simd::Simd).
//! Dequantization and the products of [`kernels::matmul`](mod@crate::kernels::matmul) follow from that.

mod act;
mod block;
mod float;
mod iq4_nl;
mod iq4_xs;
mod mxfp4;
#[cfg(test)]
pub(crate) mod naive;
mod q2_k;
mod q3_k;
mod q4_0;
mod q4_1;
mod q4_k;
mod q5_0;
mod q5_1;
mod q5_k;
mod q6_k;
mod q8_0;
#[cfg(test)]
mod tests;

pub use act::{Activation, ColumnData, Columns, quantize, quantize_rest, shorten};
pub(crate) use block::{Block32, Block256, Codes, Float};

use crate::simd::Scalar;

/// One row per element type that the engine reads: variant, GGUF id, name, elements per block, bytes per block, the form
/// of the activations that its dot product takes, and what implements it.
macro_rules! tensor_types {
    ($($variant:ident = $id:literal, $name:literal, $block_len:literal, $block_bytes:literal, $act:ident, $format:ty;)*) => {
        /// Element type of a tensor, as the GGUF specification numbers them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[allow(non_camel_case_types, missing_docs)]
        pub enum TensorType { $($variant),* }

        impl TensorType {
            /// All types, in the order of their ids.
            pub const ALL: &[TensorType] = &[$(TensorType::$variant),*];

            /// The type with this GGUF id.
            pub fn from_id(id: u32) -> Option<Self> {
                match id { $($id => Some(Self::$variant),)* _ => None }
            }
            /// The GGUF id.
            pub fn id(self) -> u32 { match self { $(Self::$variant => $id),* } }
            /// The name users know, such as `Q4_K`.
            pub fn name(self) -> &'static str { match self { $(Self::$variant => $name),* } }
            /// Elements per block.
            pub fn block_len(self) -> usize { match self { $(Self::$variant => $block_len),* } }
            /// Bytes per block.
            pub fn block_bytes(self) -> usize { match self { $(Self::$variant => $block_bytes),* } }
            /// The form of the activations that this type's dot product takes.
            pub fn activation(self) -> Activation { match self { $(Self::$variant => Activation::$act),* } }

            /// Hands the implementation of this type to `visitor`: the one place where types are told apart.
            pub(crate) fn visit<V: Visitor>(self, visitor: V) -> V::Out {
                match self { $(Self::$variant => tensor_types!(@visit $act, $format, $block_bytes, visitor)),* }
            }
        }
    };
    (@visit Short, $format:ty, $bytes:literal, $visitor:ident) => { tensor_types!(@visit F32, $format, $bytes, $visitor) };
    (@visit F32, $format:ty, $bytes:literal, $visitor:ident) => { $visitor.float::<$format, $bytes, { 16 * $bytes }>() };
    (@visit Q8, $format:ty, $bytes:literal, $visitor:ident) => { $visitor.block32::<$format, $bytes>() };
    (@visit Q8K, $format:ty, $bytes:literal, $visitor:ident) => { $visitor.block256::<$format, $bytes>() };
}

tensor_types! {
    F32 = 0, "F32", 1, 4, F32, float::F32;
    F16 = 1, "F16", 1, 2, Short, float::F16;
    Q4_0 = 2, "Q4_0", 32, 18, Q8, q4_0::Q4_0;
    Q4_1 = 3, "Q4_1", 32, 20, Q8, q4_1::Q4_1;
    Q5_0 = 6, "Q5_0", 32, 22, Q8, q5_0::Q5_0;
    Q5_1 = 7, "Q5_1", 32, 24, Q8, q5_1::Q5_1;
    Q8_0 = 8, "Q8_0", 32, 34, Q8, q8_0::Q8_0;
    Q2_K = 10, "Q2_K", 256, 84, Q8K, q2_k::Q2_K;
    Q3_K = 11, "Q3_K", 256, 110, Q8K, q3_k::Q3_K;
    Q4_K = 12, "Q4_K", 256, 144, Q8K, q4_k::Q4_K;
    Q5_K = 13, "Q5_K", 256, 176, Q8K, q5_k::Q5_K;
    Q6_K = 14, "Q6_K", 256, 210, Q8K, q6_k::Q6_K;
    IQ4_NL = 20, "IQ4_NL", 32, 18, Q8, iq4_nl::IQ4_NL;
    IQ4_XS = 23, "IQ4_XS", 256, 136, Q8K, iq4_xs::IQ4_XS;
    BF16 = 30, "BF16", 1, 2, F32, float::BF16;
    MXFP4 = 39, "MXFP4", 32, 17, Q8, mxfp4::MXFP4;
}

/// Work that differs by the kind of block. `N` is the bytes of a block, `W` those of 16 floats.
pub(crate) trait Visitor {
    type Out;
    fn float<F: Float<N, W>, const N: usize, const W: usize>(self) -> Self::Out;
    fn block32<F: Block32<N>, const N: usize>(self) -> Self::Out;
    fn block256<F: Block256<N>, const N: usize>(self) -> Self::Out;
}

impl TensorType {
    /// Bytes of a row of `columns` elements; `None` where `columns` is not a whole number of blocks or the size overflows.
    pub fn row_bytes(self, columns: usize) -> Option<usize> {
        if !columns.is_multiple_of(self.block_len()) {
            return None;
        }
        (columns / self.block_len()).checked_mul(self.block_bytes())
    }
}

/// Converts blocks of type `kind` to floats, bit for bit as the published format defines them.
///
/// # Panics
/// Where `bytes` is not exactly the blocks of `out.len()` elements.
pub fn dequantize_row(kind: TensorType, bytes: &[u8], out: &mut [f32]) {
    assert_eq!(kind.row_bytes(out.len()), Some(bytes.len()), "{} bytes of {} elements", kind.name(), out.len());
    kind.visit(Dequantize { bytes, out });
}

struct Dequantize<'a> {
    bytes: &'a [u8],
    out: &'a mut [f32],
}

impl Visitor for Dequantize<'_> {
    type Out = ();

    fn float<F: Float<N, W>, const N: usize, const W: usize>(self) {
        for (bytes, out) in self.bytes.chunks(W).zip(self.out.chunks_mut(16)) {
            let mut padded = [0; W];
            padded[..bytes.len()].copy_from_slice(bytes);
            out.copy_from_slice(&F::floats(Scalar, &padded)[..out.len()]);
        }
    }

    fn block32<F: Block32<N>, const N: usize>(self) {
        for (block, out) in self.bytes.as_chunks::<N>().0.iter().zip(self.out.as_chunks_mut::<32>().0) {
            let (d, m) = (F::scale(block), if F::MIN { F::min(block) } else { 0.0 });
            let [low, high] = F::codes(Scalar, [block; 4]);
            for (y, &code) in out.iter_mut().zip(low[..16].iter().chain(&high)) {
                let product = F::CODES.value(code) as f32 * d;
                *y = if F::MIN { product + m } else { product };
            }
        }
    }

    fn block256<F: Block256<N>, const N: usize>(self) {
        for (block, out) in self.bytes.as_chunks::<N>().0.iter().zip(self.out.as_chunks_mut::<256>().0) {
            let (d, dmin) = (F::scale(block), if F::MIN { F::min(block) } else { 0.0 });
            let (scales, mins) = (F::scales(Scalar, [block; 4]), F::mins(Scalar, [block; 4]));
            let mins = if F::RUN == 32 { &mins[8..] } else { &mins };
            let codes = [
                F::codes::<_, 0>(Scalar, block),
                F::codes::<_, 1>(Scalar, block),
                F::codes::<_, 2>(Scalar, block),
                F::codes::<_, 3>(Scalar, block),
            ];
            for (&j, codes) in F::ORDER.as_flattened().iter().zip(codes.as_flattened().as_chunks::<16>().0) {
                let run = 16 * j / F::RUN;
                let (d, m) = (d * (scales[run] as i8) as f32, dmin * (mins[run] as i8) as f32);
                for (y, &code) in out[16 * j..].iter_mut().zip(codes) {
                    let product = d * F::CODES.value(code) as f32;
                    *y = if F::MIN { product - m } else { product };
                }
            }
        }
    }
}
