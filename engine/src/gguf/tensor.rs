//! Descriptions of tensors, and the checks that they pass.

use alloc::string::String;
use alloc::vec::Vec;

use super::error::Error;
use super::metadata::Metadata;
use crate::quant::TensorType;

/// All that a file says before its data.
#[derive(Debug, Clone, PartialEq)]
pub struct Header {
    /// Version of the format: 2 or 3.
    pub version: u32,
    /// The data section and each tensor start at a multiple of this many bytes.
    pub alignment: u64,
    /// Key-value pairs.
    pub metadata: Metadata,
    /// Tensors, in file order.
    pub tensors: Vec<Tensor>,
    /// Where the data section starts in the file.
    pub data_offset: u64,
}

/// Where a tensor is and what it looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tensor {
    /// Name, unique in the file.
    pub name: String,
    /// One to four lengths, none of them 0; elements along the first are contiguous.
    pub dims: Vec<u64>,
    /// Element type.
    pub kind: TensorType,
    /// First byte, from the start of the data section.
    pub offset: u64,
}

impl Tensor {
    /// Number of elements.
    pub fn elements(&self) -> u64 {
        self.dims.iter().product()
    }

    /// Bytes of data.
    pub fn bytes(&self) -> u64 {
        self.elements() / self.kind.block_len() as u64 * self.kind.block_bytes() as u64
    }

    /// First byte past the data, from the start of the data section.
    pub(super) fn end(&self) -> u64 {
        self.offset + self.bytes()
    }

    /// Checks that the description makes sense by itself: what [`elements`](Self::elements), [`bytes`](Self::bytes) and
    /// [`end`](Self::end) compute does not overflow, even when counted from the start of the file.
    pub(super) fn check(&self, alignment: u64) -> Result<(), Error> {
        let name = || self.name.clone();
        if let Some(axis) = self.dims.iter().position(|&length| length == 0) {
            return Err(Error::EmptyDimension { name: name(), axis });
        }
        if !self.dims[0].is_multiple_of(self.kind.block_len() as u64) {
            return Err(Error::PartialBlock { name: name(), columns: self.dims[0], kind: self.kind });
        }
        if !self.offset.is_multiple_of(alignment) {
            return Err(Error::Misaligned { name: name(), offset: self.offset, alignment });
        }
        self.checked_end().map(|_| ()).ok_or_else(|| Error::Overflow { name: name() })
    }

    /// The end of the data, where that and all numbers on the way stay clear of 64 bits by enough for a header.
    fn checked_end(&self) -> Option<u64> {
        let elements = self.dims.iter().try_fold(1u64, |product, &length| product.checked_mul(length))?;
        let bytes = (elements / self.kind.block_len() as u64).checked_mul(self.kind.block_bytes() as u64)?;
        let end = self.offset.checked_add(bytes)?;
        (end <= i64::MAX as u64).then_some(end)
    }
}

/// Checks that no two tensors share bytes.
pub(super) fn check_overlap(tensors: &[Tensor]) -> Result<(), Error> {
    let mut order: Vec<&Tensor> = tensors.iter().collect();
    order.sort_unstable_by_key(|tensor| tensor.offset);
    for pair in order.windows(2) {
        if pair[0].end() > pair[1].offset {
            let [first, second] = [pair[0], pair[1]].map(|tensor| tensor.name.clone());
            return Err(Error::Overlap { first, second, offset: pair[1].offset });
        }
    }
    Ok(())
}

/// The name that ggml gives to a tensor type, for those that the engine does not read.
pub(super) fn ggml_type_name(id: u32) -> Option<&'static str> {
    Some(match id {
        4 => "Q4_2, removed from the format",
        5 => "Q4_3, removed from the format",
        9 => "Q8_1",
        15 => "Q8_K",
        16 => "IQ2_XXS",
        17 => "IQ2_XS",
        18 => "IQ3_XXS",
        19 => "IQ1_S",
        21 => "IQ3_S",
        22 => "IQ2_S",
        24 => "I8",
        25 => "I16",
        26 => "I32",
        27 => "I64",
        28 => "F64",
        29 => "IQ1_M",
        31 => "Q4_0_4_4, removed from the format",
        32 => "Q4_0_4_8, removed from the format",
        33 => "Q4_0_8_8, removed from the format",
        34 => "TQ1_0",
        35 => "TQ2_0",
        36 => "IQ4_NL_4_4, removed from the format",
        37 => "IQ4_NL_4_8, removed from the format",
        38 => "IQ4_NL_8_8, removed from the format",
        40 => "NVFP4",
        41 => "Q1_0",
        42 => "Q2_0",
        _ => return None,
    })
}
