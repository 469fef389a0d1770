//! The engine for JavaScript.
//!
//! What is here are bindings: classes that the npm package's worker calls. Requests and descriptions cross as JSON, tokens
//! and logits as typed arrays, and a model's file is written by JavaScript to where the engine reads it ([`FileBytes`]).
//! Names are those that the package's TypeScript uses.

#![deny(missing_docs)]

mod description;
mod error;
mod file;
mod hash;
mod model;
mod pool;
mod session;

pub use file::FileBytes;
pub use hash::Sha256;
pub use model::{Model, estimate_memory, read_header};
pub use session::Session;
#[cfg(feature = "threads")]
pub use wasm_bindgen_rayon::init_thread_pool;

use wasm_bindgen::prelude::wasm_bindgen;
use woolly_engine::simd::Level;

/// The name of the instruction set that this build is for.
#[wasm_bindgen]
pub fn isa() -> String {
    Level::best().to_string()
}

/// Bytes of the instance's memory, which never shrinks.
#[wasm_bindgen]
pub fn memory_size() -> f64 {
    #[cfg(target_arch = "wasm32")]
    return (core::arch::wasm32::memory_size::<0>() as f64) * 65536.0;
    #[cfg(not(target_arch = "wasm32"))]
    0.0
}

/// Has a panic thrown as a JavaScript error, with its message. The instance is lost after one.
#[wasm_bindgen(start)]
pub fn start() {
    std::panic::set_hook(Box::new(|panic| wasm_bindgen::throw_str(&panic.to_string())));
}
