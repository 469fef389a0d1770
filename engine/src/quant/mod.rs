//! Tensor element types: their layout in the file, how they dequantize, and their dot products.

/// One row per element type that the engine reads: variant, GGUF id, name, elements per block, bytes per block, and the
/// form of the activations that its dot product takes.
macro_rules! tensor_types {
    ($($variant:ident = $id:literal, $name:literal, $block_len:literal, $block_bytes:literal, $act:ident;)*) => {
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
        }
    };
}

tensor_types! {
    F32 = 0, "F32", 1, 4, F32;
    F16 = 1, "F16", 1, 2, F32;
    Q4_0 = 2, "Q4_0", 32, 18, Q8;
    Q4_1 = 3, "Q4_1", 32, 20, Q8;
    Q5_0 = 6, "Q5_0", 32, 22, Q8;
    Q5_1 = 7, "Q5_1", 32, 24, Q8;
    Q8_0 = 8, "Q8_0", 32, 34, Q8;
    Q2_K = 10, "Q2_K", 256, 84, Q8K;
    Q3_K = 11, "Q3_K", 256, 110, Q8K;
    Q4_K = 12, "Q4_K", 256, 144, Q8K;
    Q5_K = 13, "Q5_K", 256, 176, Q8K;
    Q6_K = 14, "Q6_K", 256, 210, Q8K;
    IQ4_NL = 20, "IQ4_NL", 32, 18, Q8;
    IQ4_XS = 23, "IQ4_XS", 256, 136, Q8K;
    BF16 = 30, "BF16", 1, 2, F32;
    MXFP4 = 39, "MXFP4", 32, 17, Q8;
}

/// Form in which a matrix product takes its activations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Activation {
    /// Plain `f32`.
    F32,
    /// Blocks of 32 int8 codes with an `f32` scale and their integer sum.
    Q8,
    /// Blocks of 256 int8 codes with an `f32` scale, and the integer sums of each 16 codes.
    Q8K,
}

impl TensorType {
    /// Bytes of a row of `columns` elements; `None` where `columns` is not a whole number of blocks or the size overflows.
    pub fn row_bytes(self, columns: usize) -> Option<usize> {
        if columns % self.block_len() != 0 {
            return None;
        }
        (columns / self.block_len()).checked_mul(self.block_bytes())
    }
}
