//! What can be wrong with a GGUF file.

use alloc::boxed::Box;
use alloc::string::String;
use core::fmt;

use super::parse::MAX_HEADER;
use super::tensor::ggml_type_name;
use crate::quant::TensorType;

/// Why a file, or an entry of its metadata, cannot be used. Offsets count bytes from the start of the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // the messages say it
pub enum Error {
    #[error("not a GGUF file: it starts with \"{}\", expected \"GGUF\"", found.escape_ascii())]
    NotGguf { found: Box<[u8]> },
    #[error(
        "this GGUF file is big-endian (version {version} with its bytes swapped); only little-endian ones are read"
    )]
    BigEndian { version: u32 },
    #[error("GGUF version {0} is not supported, expected 2 or 3")]
    Version(u32),
    #[error("the file ends early: {place} needs {needed} bytes at offset {offset}, {present} are there")]
    Truncated { place: String, offset: u64, needed: u64, present: u64 },
    #[error(
        "{place}: the count {count} at offset {offset} takes the header past {MAX_HEADER} bytes, the most it may have"
    )]
    TooLarge { place: String, offset: u64, count: u64 },
    #[error("{place}: invalid UTF-8 at offset {offset}")]
    Utf8 { place: String, offset: u64 },
    #[error("{place}: unknown value type {id} at offset {offset}, expected 0 to 12")]
    ValueType { place: String, offset: u64, id: u32 },
    #[error("{place}: {found} at offset {offset} is no truth value, expected 0 or 1")]
    Bool { place: String, offset: u64, found: u8 },
    #[error("{place}: arrays nested more than {limit} deep at offset {offset}")]
    TooDeep { place: String, offset: u64, limit: u32 },
    #[error("metadata key {index} is empty")]
    EmptyKey { index: u64 },
    #[error("metadata key {0:?} occurs twice")]
    DuplicateKey(String),
    #[error("metadata key {0:?} is missing")]
    MissingKey(String),
    #[error("metadata key {key:?} holds {found}, expected {expected}")]
    WrongType { key: String, found: String, expected: &'static str },
    #[error("general.alignment is {0}, expected a power of two up to {max}", max = super::parse::MAX_ALIGNMENT)]
    Alignment(u64),
    #[error("tensor {0:?} occurs twice")]
    DuplicateTensor(String),
    #[error("tensor {name:?} has {found} dimensions, expected 1 to 4")]
    DimensionCount { name: String, found: u32 },
    #[error("tensor {name:?} has dimension {axis} of length 0")]
    EmptyDimension { name: String, axis: usize },
    #[error("tensor {name:?} has the type {}, which is not supported; supported: {}", Unsupported(*id), Supported)]
    TensorType { name: String, id: u32 },
    #[error("tensor {name:?} has rows of {columns} elements, expected a multiple of {} for {}", kind.block_len(), kind.name())]
    PartialBlock { name: String, columns: u64, kind: TensorType },
    #[error("tensor {name:?} starts at {offset} of the data section, expected a multiple of the alignment {alignment}")]
    Misaligned { name: String, offset: u64, alignment: u64 },
    #[error("tensor {name:?} is too large: its end in the file does not fit 64 bits")]
    Overflow { name: String },
    #[error("tensors {first:?} and {second:?} overlap at {offset} of the data section")]
    Overlap { first: String, second: String, offset: u64 },
    #[error("tensor {name:?} takes bytes {start} to {end}, past the end of the file at {size}")]
    OutsideFile { name: String, start: u64, end: u64, size: u64 },
    #[error("tensor {name:?} takes the file's bytes to {end}, of which {arrived} have arrived")]
    NotArrived { name: String, end: u64, arrived: u64 },
    #[error("no file was given")]
    NoParts,
    #[error("this model is split into {expected} files, {given} given; all are needed, in order")]
    PartCount { expected: u64, given: usize },
    #[error("{given} files were given, but this one is not part of a split model")]
    NotSplit { given: usize },
    #[error("file {position} of a split model has split.no {found}, expected {expected}: a wrong, repeated or misplaced part", position = expected + 1)]
    PartOrder { expected: u64, found: u64 },
    #[error("this split model has {found} tensors, expected {expected} by split.tensors.count")]
    SplitTensors { expected: u64, found: u64 },
    #[error("file {number} of the split model: {error}")]
    Part { number: usize, error: Box<Error> },
}

/// Shows the id of a type that the engine lacks, with its name where ggml has one.
struct Unsupported(u32);

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match ggml_type_name(self.0) {
            Some(name) => write!(f, "{} ({name})", self.0),
            None => write!(f, "{} (unknown)", self.0),
        }
    }
}

/// Shows the names of all types that the engine reads.
struct Supported;

impl fmt::Display for Supported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, kind) in TensorType::ALL.iter().enumerate() {
            let separator = if i == 0 { "" } else { ", " };
            write!(f, "{separator}{}", kind.name())?;
        }
        Ok(())
    }
}
