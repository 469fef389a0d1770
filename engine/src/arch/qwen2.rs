//! Qwen 2 and 2.5: Llama with biased queries, keys and values.

use super::{Error, Reader};
use crate::spec::{RopeLayout, Spec};

pub(super) fn spec(reader: &Reader<'_>) -> Result<Spec, Error> {
    reader.llama_like(RopeLayout::Halves)
}
