//! The computations of a forward pass, generic over [`Simd`](crate::simd::Simd).

pub mod matmul;

pub use matmul::matmul;
