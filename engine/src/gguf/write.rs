//! Makes GGUF files: for tests, fixtures and tools.

use alloc::string::String;
use alloc::vec::Vec;

use super::strings::Strings;
use super::value::{Value, write_string};
use super::{ALIGNMENT_KEY, DEFAULT_ALIGNMENT, MAGIC};
use crate::quant::TensorType;

/// Collects metadata and tensors, then writes a version 3 file.
///
/// It writes what it is told, in that order, and checks nothing: tests make broken files with it too. An entry
/// `general.alignment` takes effect where it is a positive integer.
///
/// ```
/// use woolly_engine::bytes::Bytes;
/// use woolly_engine::gguf::{Gguf, Writer};
/// use woolly_engine::quant::TensorType;
///
/// let file = Writer::new()
///     .string("general.architecture", "llama")
///     .u32("llama.block_count", 1)
///     .tensor("output_norm.weight", &[2], TensorType::F32, [0; 8])
///     .finish();
/// let gguf = Gguf::open(vec![Bytes::new(file)])?;
/// assert_eq!(gguf.metadata().u32("llama.block_count")?, Some(1));
/// assert_eq!(gguf.tensor("output_norm.weight").unwrap().0.dims, [2]);
/// # Ok::<(), woolly_engine::gguf::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Writer {
    entries: Vec<(String, Value)>,
    tensors: Vec<Pending>,
}

/// A tensor to be written.
#[derive(Debug, Clone)]
struct Pending {
    name: String,
    dims: Vec<u64>,
    kind: TensorType,
    data: Vec<u8>,
}

impl Writer {
    /// An empty file.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an entry of any type: a number, a bool, a string, an [`Array`](super::Array), [`Strings`], a `Vec` of
    /// numbers or bools.
    pub fn value(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.entries.push((key.into(), value.into()));
        self
    }

    /// Adds a string.
    pub fn string(self, key: &str, text: &str) -> Self {
        self.value(key, text)
    }

    /// Adds a `u32`.
    pub fn u32(self, key: &str, number: u32) -> Self {
        self.value(key, number)
    }

    /// Adds an `f32`.
    pub fn f32(self, key: &str, number: f32) -> Self {
        self.value(key, number)
    }

    /// Adds a truth value.
    pub fn bool(self, key: &str, truth: bool) -> Self {
        self.value(key, truth)
    }

    /// Adds an array of strings.
    pub fn strings<S: AsRef<[u8]>>(self, key: &str, strings: impl IntoIterator<Item = S>) -> Self {
        self.value(key, strings.into_iter().collect::<Strings>())
    }

    /// Adds an array of `f32`.
    pub fn f32s(self, key: &str, numbers: impl Into<Vec<f32>>) -> Self {
        self.value(key, numbers.into())
    }

    /// Adds an array of `i32`.
    pub fn i32s(self, key: &str, numbers: impl Into<Vec<i32>>) -> Self {
        self.value(key, numbers.into())
    }

    /// Adds a tensor with the bytes of its data; elements along `dims[0]` are contiguous.
    pub fn tensor(mut self, name: &str, dims: &[u64], kind: TensorType, data: impl Into<Vec<u8>>) -> Self {
        self.tensors.push(Pending { name: name.into(), dims: dims.into(), kind, data: data.into() });
        self
    }

    /// The bytes of the file.
    pub fn finish(self) -> Vec<u8> {
        let alignment = self.alignment();
        let mut out = Vec::new();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&3u32.to_le_bytes());
        out.extend_from_slice(&(self.tensors.len() as u64).to_le_bytes());
        out.extend_from_slice(&(self.entries.len() as u64).to_le_bytes());
        for (key, value) in &self.entries {
            write_string(key.as_bytes(), &mut out);
            out.extend_from_slice(&value.type_id().to_le_bytes());
            value.write(&mut out);
        }
        let mut offset = 0;
        for tensor in &self.tensors {
            tensor.write(offset, &mut out);
            offset = (offset + tensor.data.len()).next_multiple_of(alignment);
        }
        for tensor in &self.tensors {
            out.resize(out.len().next_multiple_of(alignment), 0);
            out.extend_from_slice(&tensor.data);
        }
        out
    }

    fn alignment(&self) -> usize {
        let entry = self.entries.iter().find(|(key, _)| key == ALIGNMENT_KEY);
        let alignment = entry.and_then(|(_, value)| value.as_integer::<usize>()).unwrap_or(DEFAULT_ALIGNMENT as usize);
        alignment.max(1)
    }
}

impl Pending {
    /// Appends the description.
    fn write(&self, offset: usize, out: &mut Vec<u8>) {
        write_string(self.name.as_bytes(), out);
        out.extend_from_slice(&(self.dims.len() as u32).to_le_bytes());
        for length in &self.dims {
            out.extend_from_slice(&length.to_le_bytes());
        }
        out.extend_from_slice(&self.kind.id().to_le_bytes());
        out.extend_from_slice(&(offset as u64).to_le_bytes());
    }
}
