//! The computations of a forward pass, generic over [`Simd`](crate::simd::Simd).

pub mod attention;
pub mod elementwise;
pub mod float;
pub mod matmul;
pub mod peak;
mod scratch;

pub use matmul::matmul;
pub use scratch::{InScratch, Scratch};
