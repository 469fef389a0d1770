//! Woolly's engine: runs GGUF language models on the CPU.
//!
//! Data flows one way, in the order of the modules below: bytes of a file become a [`gguf`] description, that and an
//! architecture ([`arch`]) become a [`spec`], the spec and the bytes become [`weights`], the [`transformer`] computes
//! logits with [`kernels`] over [`quant`]ized rows on a [`simd`] level. [`sampler`] and [`tokenizer`] turn logits into
//! text, and [`session`] ties everything together.
//!
//! The engine does no I/O, starts no threads, reads no clock and prints nothing: hosts supply [`bytes::Bytes`] and a
//! [`pool::Pool`].
#![cfg_attr(not(feature = "std"), no_std)]
#![deny(missing_docs)]
#![deny(unsafe_code)]

extern crate alloc;

pub mod arch;
pub mod bytes;
#[cfg(feature = "chat")]
pub mod chat;
pub mod gguf;
pub mod kernels;
pub mod math;
pub mod model;
pub mod pool;
pub mod quant;
pub mod sampler;
pub mod session;
pub mod simd;
pub mod spec;
pub mod tokenizer;
pub mod transformer;
pub mod weights;
