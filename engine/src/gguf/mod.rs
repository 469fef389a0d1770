//! The GGUF container: metadata and tensor descriptions in front, tensor data behind.
//!
//! ```text
//! "GGUF"  version: u32  tensors: u64  entries: u64
//! entries × { key: string, type: u32, value }          string = length: u64, bytes; array = type: u32, count: u64, items
//! tensors × { name: string, n_dims: u32, dims: u64 × n_dims, type: u32, offset: u64 }
//! padding to general.alignment (32 where absent), then the data section; offsets count from its start
//! ```
//!
//! Versions 2 and 3, little-endian. [`parse()`] reads a header from the first bytes of a file, and says how many it wants
//! where they do not suffice; [`Gguf::open`] takes whole files, joins those of a split model, and hands out tensors as
//! views. [`Writer`] makes files. Files that are still being received can be opened as soon as their headers are there.
//!
//! Nothing in a file is believed before it is checked. A count is held against the bytes that its items take at the
//! least, so that memory stays in proportion to the bytes really there, and a header over [`MAX_HEADER`] is refused
//! however many bytes are there. What [`parse()`] accepts, then, is consistent: keys and names are unique, tensors have
//! one to four dimensions, whole blocks, aligned offsets and do not overlap. [`Gguf::open`] adds that they end within
//! the file.

mod error;
mod file;
mod metadata;
mod parse;
mod split;
mod strings;
mod tensor;
mod value;
mod write;

#[cfg(test)]
mod tests;

pub use error::Error;
pub use file::{Gguf, Place};
pub use metadata::Metadata;
pub use parse::{MAX_HEADER, Parsed, parse};
pub use split::split_file_names;
pub use strings::Strings;
pub use tensor::{Header, Tensor};
pub use value::{Array, Value};
pub use write::Writer;

/// Key of the alignment, in bytes, of the data section and of every tensor in it.
const ALIGNMENT_KEY: &str = "general.alignment";
/// Alignment where the file does not say.
const DEFAULT_ALIGNMENT: u64 = 32;
const MAGIC: [u8; 4] = *b"GGUF";
