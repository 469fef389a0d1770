//! Reads a header from the first bytes of a file.
//!
//! One pass with a cursor. Where bytes run out it stops with [`Error::Truncated`], which says how many were wanted and
//! where; [`parse`] turns that into [`Parsed::NeedMore`]. Asking for at least twice the bytes each time keeps the calls
//! few, and the work of starting over each time in proportion to the header.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use super::error::Error;
use super::metadata::{Metadata, sort_by_name};
use super::strings::Strings;
use super::tensor::{Header, Tensor, check_overlap};
use super::value::{ARRAY, Array, BOOL, STRING, Value, number_size};
use super::{ALIGNMENT_KEY, DEFAULT_ALIGNMENT, MAGIC};
use crate::quant::TensorType;

/// The most bytes that a header may have: 1 GiB, some forty times what the largest vocabularies take.
pub const MAX_HEADER: usize = 1 << 30;
/// The largest alignment that a file may ask for: 16 MiB.
pub(super) const MAX_ALIGNMENT: u64 = 1 << 24;
/// How deep arrays may be nested. Known files do not nest them at all.
const MAX_DEPTH: u32 = 4;
/// The fewest bytes to ask for: headers of language models are larger.
const FIRST_READ: usize = 64 << 10;
/// The most elements to make room for before any of them has been read.
const FIRST_CAPACITY: usize = 1 << 12;

/// Bytes that an entry takes at the least: key length, one byte of key, type, one byte of value.
const MIN_ENTRY: u64 = 8 + 1 + 4 + 1;
/// Bytes that a tensor's description takes at the least: name length, dimension count, one dimension, type, offset.
const MIN_TENSOR: u64 = 8 + 4 + 8 + 4 + 8;
/// Bytes that a string takes at the least: its length.
const MIN_STRING: u64 = 8;
/// Bytes that an array takes at the least: element type and count.
const MIN_ARRAY: u64 = 4 + 8;

/// What [`parse`] made of the bytes.
#[derive(Debug, Clone, PartialEq)]
pub enum Parsed {
    /// The whole header was there.
    Ready(Header),
    /// Call again with the first `total` bytes of the file, or with all where it has fewer. This is always more than
    /// before, and at most [`MAX_HEADER`]. Where the bytes given were the whole file, it is cut off.
    NeedMore {
        /// Bytes wanted, from the start of the file.
        total: usize,
    },
}

/// Reads the header of the file that starts with `prefix`. The data section need not be there.
pub fn parse(prefix: &[u8]) -> Result<Parsed, Error> {
    match parse_header(prefix) {
        Ok(header) => Ok(Parsed::Ready(header)),
        Err(Error::Truncated { offset, needed, .. }) => {
            let wanted = (offset + needed) as usize;
            let total = wanted.max(prefix.len().saturating_mul(2)).clamp(FIRST_READ, MAX_HEADER);
            Ok(Parsed::NeedMore { total })
        }
        Err(error) => Err(error),
    }
}

/// Reads a header that must be complete.
pub(super) fn parse_header(bytes: &[u8]) -> Result<Header, Error> {
    let mut reader = Reader { bytes, at: 0, place: Place::Preamble };
    let version = reader.preamble()?;
    let tensor_count = reader.u64()?;
    let entry_count = reader.u64()?;
    reader.check_count(16, entry_count, MIN_ENTRY)?;
    reader.check_count(8, tensor_count, MIN_TENSOR)?;

    let metadata = reader.metadata(entry_count)?;
    let alignment = metadata.u64(ALIGNMENT_KEY)?.unwrap_or(DEFAULT_ALIGNMENT);
    if !alignment.is_power_of_two() || alignment > MAX_ALIGNMENT {
        return Err(Error::Alignment(alignment));
    }
    let tensors = reader.tensors(tensor_count, alignment)?;
    let data_offset = (reader.at as u64).next_multiple_of(alignment);
    Ok(Header { version, alignment, metadata, tensors, data_offset })
}

/// What is being read, for messages.
#[derive(Clone, Copy)]
enum Place<'a> {
    Preamble,
    Key(u64),
    Value(&'a str),
    TensorName(u64),
    Tensor(&'a str),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Preamble => write!(f, "the start of the header"),
            Self::Key(index) => write!(f, "metadata key {index}"),
            Self::Value(key) => write!(f, "the value of metadata key {key:?}"),
            Self::TensorName(index) => write!(f, "the name of tensor {index}"),
            Self::Tensor(name) => write!(f, "the description of tensor {name:?}"),
        }
    }
}

/// A cursor over the bytes of a header.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    place: Place<'a>,
}

/// The parts of a header.
impl<'a> Reader<'a> {
    /// Magic and version.
    fn preamble(&mut self) -> Result<u32, Error> {
        let start = &self.bytes[..self.bytes.len().min(MAGIC.len())];
        if !MAGIC.starts_with(start) {
            return Err(Error::NotGguf { found: start.into() });
        }
        self.take(MAGIC.len() as u64)?;
        match self.u32()? {
            version @ 2..=3 => Ok(version),
            version if matches!(version.swap_bytes(), 1..=0xffff) => {
                Err(Error::BigEndian { version: version.swap_bytes() })
            }
            version => Err(Error::Version(version)),
        }
    }

    fn metadata(&mut self, count: u64) -> Result<Metadata, Error> {
        let mut entries = Vec::with_capacity(FIRST_CAPACITY.min(count as usize));
        for index in 0..count {
            self.place = Place::Key(index);
            let key = self.text()?;
            if key.is_empty() {
                return Err(Error::EmptyKey { index });
            }
            self.place = Place::Value(key);
            entries.push((String::from(key), self.value()?));
        }
        Metadata::new(entries)
    }

    fn tensors(&mut self, count: u64, alignment: u64) -> Result<Vec<Tensor>, Error> {
        let mut tensors = Vec::with_capacity(FIRST_CAPACITY.min(count as usize));
        for index in 0..count {
            self.place = Place::TensorName(index);
            let name = self.text()?;
            self.place = Place::Tensor(name);
            let tensor = self.tensor(name)?;
            tensor.check(alignment)?;
            tensors.push(tensor);
        }
        sort_by_name(&tensors, |tensor| &tensor.name).map_err(Error::DuplicateTensor)?;
        check_overlap(&tensors)?;
        Ok(tensors)
    }

    /// A tensor's description after its name.
    fn tensor(&mut self, name: &str) -> Result<Tensor, Error> {
        let found = self.u32()?;
        if !(1..=4).contains(&found) {
            return Err(Error::DimensionCount { name: name.to_string(), found });
        }
        let dims = (0..found).map(|_| self.u64()).collect::<Result<_, _>>()?;
        let id = self.u32()?;
        let kind = TensorType::from_id(id).ok_or_else(|| Error::TensorType { name: name.to_string(), id })?;
        let offset = self.u64()?;
        Ok(Tensor { name: name.to_string(), dims, kind, offset })
    }
}

/// Metadata values.
impl<'a> Reader<'a> {
    /// A value with its type in front.
    fn value(&mut self) -> Result<Value, Error> {
        let at = self.at;
        let id = self.u32()?;
        if let Some(size) = number_size(id) {
            let bytes = self.take(size)?;
            return Value::number(id, bytes).ok_or_else(|| self.unknown_type(at, id));
        }
        match id {
            BOOL => Ok(Value::Bool(self.bools(1)?[0])),
            STRING => Ok(Value::String(self.text()?.to_string())),
            ARRAY => Ok(Value::Array(self.array(1)?)),
            _ => Err(self.unknown_type(at, id)),
        }
    }

    /// An array, which is inside `depth - 1` others.
    fn array(&mut self, depth: u32) -> Result<Array, Error> {
        let at = self.at;
        let id = self.u32()?;
        if let Some(size) = number_size(id) {
            let count = self.count(size)?;
            let bytes = self.take(count * size)?;
            return Array::numbers(id, bytes).ok_or_else(|| self.unknown_type(at, id));
        }
        match id {
            BOOL => {
                let count = self.count(1)?;
                Ok(Array::Bool(self.bools(count)?))
            }
            STRING => Ok(Array::String(self.strings()?)),
            ARRAY if depth == MAX_DEPTH => {
                Err(Error::TooDeep { place: self.place.to_string(), offset: at as u64, limit: MAX_DEPTH })
            }
            ARRAY => Ok(Array::Array(self.arrays(depth + 1)?)),
            _ => Err(self.unknown_type(at, id)),
        }
    }

    fn bools(&mut self, count: u64) -> Result<Vec<bool>, Error> {
        let at = self.at;
        let bytes = self.take(count)?;
        if let Some(index) = bytes.iter().position(|&byte| byte > 1) {
            let offset = (at + index) as u64;
            return Err(Error::Bool { place: self.place.to_string(), offset, found: bytes[index] });
        }
        Ok(bytes.iter().map(|&byte| byte == 1).collect())
    }

    fn strings(&mut self) -> Result<Strings, Error> {
        let count = self.count(MIN_STRING)?;
        let mut strings = Strings::default();
        for _ in 0..count {
            strings.push(self.string()?);
        }
        strings.shrink_to_fit();
        Ok(strings)
    }

    fn arrays(&mut self, depth: u32) -> Result<Vec<Array>, Error> {
        let count = self.count(MIN_ARRAY)?;
        (0..count).map(|_| self.array(depth)).collect()
    }

    fn unknown_type(&self, at: usize, id: u32) -> Error {
        Error::ValueType { place: self.place.to_string(), offset: at as u64, id }
    }
}

/// The elements that all else is made of.
impl<'a> Reader<'a> {
    fn take(&mut self, count: u64) -> Result<&'a [u8], Error> {
        self.check_count(self.at, count, 1)?;
        let start = self.at;
        self.at += count as usize;
        Ok(&self.bytes[start..self.at])
    }

    /// Checks that `count` elements of `min` bytes or more can follow the cursor. The count itself was read at `offset`.
    fn check_count(&self, offset: usize, count: u64, min: u64) -> Result<(), Error> {
        let needed = count.saturating_mul(min);
        if needed > MAX_HEADER.saturating_sub(self.at) as u64 {
            return Err(Error::TooLarge { place: self.place.to_string(), offset: offset as u64, count });
        }
        let present = (self.bytes.len() - self.at) as u64;
        if needed > present {
            return Err(Error::Truncated { place: self.place.to_string(), offset: self.at as u64, needed, present });
        }
        Ok(())
    }

    /// The number of elements, each of `min` bytes or more, that follow.
    fn count(&mut self, min: u64) -> Result<u64, Error> {
        let at = self.at;
        let count = self.u64()?;
        self.check_count(at, count, min)?;
        Ok(count)
    }

    fn u32(&mut self) -> Result<u32, Error> {
        self.chunk().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, Error> {
        self.chunk().map(u64::from_le_bytes)
    }

    fn chunk<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let mut chunk = [0; N];
        chunk.copy_from_slice(self.take(N as u64)?);
        Ok(chunk)
    }

    fn string(&mut self) -> Result<&'a [u8], Error> {
        let length = self.count(1)?;
        self.take(length)
    }

    fn text(&mut self) -> Result<&'a str, Error> {
        let string = self.string()?;
        let start = self.at - string.len();
        core::str::from_utf8(string).map_err(|error| {
            let offset = (start + error.valid_up_to()) as u64;
            Error::Utf8 { place: self.place.to_string(), offset }
        })
    }
}
