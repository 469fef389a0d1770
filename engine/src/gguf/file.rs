//! Whole files: headers with the data behind them.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use once_cell::race::OnceBox;

use super::error::Error;
use super::metadata::{Metadata, find_by_name, sort_by_name};
use super::parse::parse_header;
use super::split::{KEYS as SPLIT_KEYS, check_part, check_tensors};
use super::tensor::{Header, Tensor};
use crate::bytes::{Bytes, checksum};

/// A model's metadata and tensors, from one file or from all the files of a split model. Of files that are still being
/// received, the headers are there.
#[derive(Debug, Clone)]
pub struct Gguf {
    version: u32,
    metadata: Metadata,
    tensors: Vec<Placed>,
    /// Indices into `tensors`, ascending by name.
    by_name: Vec<u32>,
    parts: Vec<Part>,
    /// What [`Gguf::fingerprint`] has computed.
    fingerprint: OnceBox<u64>,
}

/// Bytes of one of a model's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Index of the file.
    pub part: usize,
    /// Bytes from its start.
    pub range: Range<u64>,
}

/// A tensor and the index of the part that has it.
#[derive(Debug, Clone)]
struct Placed {
    tensor: Tensor,
    part: usize,
}

/// A file and where its data section starts.
#[derive(Debug, Clone)]
struct Part {
    file: Bytes,
    data_offset: u64,
}

impl Gguf {
    /// Reads a model from its files: one, or all parts of a split model in the order of their numbers. Files that are
    /// still being received are [`Error::Truncated`] until their headers have come.
    ///
    /// The metadata is the first part's. Errors in a split model come as [`Error::Part`], which says in which file.
    pub fn open(parts: Vec<Bytes>) -> Result<Self, Error> {
        let given = parts.len();
        let mut headers = Vec::with_capacity(given);
        for (index, file) in parts.iter().enumerate() {
            let header = open_part(file, index, given).map_err(|error| match error {
                error if given == 1 => error,
                error => Error::Part { number: index + 1, error: Box::new(error) },
            })?;
            headers.push(header);
        }
        Self::join(parts, headers)
    }

    /// A model of which one header is all that is there, of the first part where there are several: its tensors are
    /// described, and none of them is found.
    pub fn outline(header: Header) -> Result<Self, Error> {
        Self::assemble(vec![Bytes::new([])], vec![header])
    }

    fn join(files: Vec<Bytes>, headers: Vec<Header>) -> Result<Self, Error> {
        let gguf = Self::assemble(files, headers)?;
        check_tensors(&gguf.metadata, gguf.tensors.len())?;
        Ok(gguf)
    }

    fn assemble(files: Vec<Bytes>, headers: Vec<Header>) -> Result<Self, Error> {
        let mut parts = Vec::with_capacity(files.len());
        let mut tensors = Vec::new();
        let mut first = None;
        for (part, (file, header)) in files.into_iter().zip(headers).enumerate() {
            parts.push(Part { file, data_offset: header.data_offset });
            tensors.extend(header.tensors.into_iter().map(|tensor| Placed { tensor, part }));
            first.get_or_insert((header.version, header.metadata));
        }
        let (version, metadata) = first.ok_or(Error::NoParts)?;
        let by_name = sort_by_name(&tensors, Placed::name).map_err(Error::DuplicateTensor)?;
        Ok(Self { version, metadata, tensors, by_name, parts, fingerprint: OnceBox::new() })
    }

    /// Version of the format: 2 or 3.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Metadata, of the first part where there are several.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// All tensors, part by part in file order.
    pub fn tensors(&self) -> impl ExactSizeIterator<Item = &Tensor> {
        self.tensors.iter().map(|placed| &placed.tensor)
    }

    /// The tensor of this name and its data: [`Tensor::bytes`] bytes, which may not have arrived yet.
    pub fn tensor(&self, name: &str) -> Option<(&Tensor, Bytes)> {
        let index = find_by_name(&self.tensors, &self.by_name, name, Placed::name)?;
        let Placed { tensor, part } = &self.tensors[index];
        Some((tensor, self.data(tensor, *part)?))
    }

    /// A checksum that tells models apart, also those of one shape: of the metadata, and of each tensor's name, type, shape
    /// and first bytes. How a model is split into files has no influence. `None` while files are still being received.
    pub fn fingerprint(&self) -> Option<u64> {
        if self.arrived() < self.size() {
            return None;
        }
        // Metadata has the whole vocabulary: that takes milliseconds.
        Some(*self.fingerprint.get_or_init(|| Box::new(self.compute_fingerprint())))
    }

    /// Where the tensor of this name lies.
    pub fn place(&self, name: &str) -> Option<Place> {
        let index = find_by_name(&self.tensors, &self.by_name, name, Placed::name)?;
        let Placed { tensor, part } = &self.tensors[index];
        let offset = self.parts[*part].data_offset;
        Some(Place { part: *part, range: offset + tensor.offset..offset + tensor.end() })
    }

    /// Whether all bytes of a place are there.
    pub fn has_arrived(&self, place: &Place) -> bool {
        self.parts.get(place.part).is_some_and(|part| part.file.arrived().len() as u64 >= place.range.end)
    }

    /// [`Error::NotArrived`] where not all bytes of a tensor are there.
    pub fn check_arrived(&self, tensor: &Tensor) -> Result<(), Error> {
        match self.place(&tensor.name) {
            Some(place) if !self.has_arrived(&place) => {
                let arrived = self.parts[place.part].file.arrived().len() as u64;
                Err(Error::NotArrived { name: tensor.name.clone(), end: place.range.end, arrived })
            }
            _ => Ok(()),
        }
    }

    /// How many bytes of all files together are there.
    pub fn arrived(&self) -> u64 {
        self.parts.iter().map(|part| part.file.arrived().len() as u64).sum()
    }

    /// Number of files.
    pub fn part_count(&self) -> usize {
        self.parts.len()
    }

    /// Bytes of all files together.
    pub fn size(&self) -> u64 {
        self.parts.iter().map(|part| part.file.len() as u64).sum()
    }
}

/// The bytes of each tensor that count for [`Gguf::fingerprint`].
const FIRST_BYTES: usize = 64;

impl Gguf {
    fn compute_fingerprint(&self) -> u64 {
        let (mut sum, mut value) = (0, Vec::new());
        for (key, of_key) in self.metadata.iter().filter(|(key, _)| !key.starts_with(SPLIT_KEYS)) {
            value.clear();
            of_key.write(&mut value);
            sum = checksum(checksum(sum, key.as_bytes()), &value);
        }
        for Placed { tensor, part } in &self.tensors {
            let shape =
                tensor.dims.iter().fold(u64::from(tensor.kind.id()), |sum, dim| checksum(sum, &dim.to_le_bytes()));
            let data = self.data(tensor, *part);
            let first = data.iter().map(|data| &data[..data.len().min(FIRST_BYTES)]);
            sum = checksum(checksum(sum, tensor.name.as_bytes()), &shape.to_le_bytes());
            sum = first.fold(sum, checksum);
        }
        sum
    }

    fn data(&self, tensor: &Tensor, part: usize) -> Option<Bytes> {
        let Part { file, data_offset } = &self.parts[part];
        let start = data_offset + tensor.offset;
        file.slice(start as usize..(start + tensor.bytes()) as usize)
    }
}

impl Placed {
    fn name(&self) -> &String {
        &self.tensor.name
    }
}

/// Reads one file and checks what [`parse_header`] cannot see.
fn open_part(file: &Bytes, index: usize, given: usize) -> Result<Header, Error> {
    let header = parse_header(file.arrived())?;
    check_part(&header.metadata, index, given)?;
    let size = file.len() as u64;
    for tensor in &header.tensors {
        let (start, end) = (header.data_offset + tensor.offset, header.data_offset + tensor.end());
        if end > size {
            return Err(Error::OutsideFile { name: tensor.name.clone(), start, end, size });
        }
    }
    Ok(header)
}
