//! Qwen 3 (dense): Llama with normed queries and keys.

use super::{Error, Reader};
use crate::spec::{RopeLayout, Spec};

pub(super) fn spec(reader: &Reader<'_>) -> Result<Spec, Error> {
    let mut spec = reader.llama_like(RopeLayout::Halves)?;
    for layer in &mut spec.layers {
        layer.attention.qk_norm = true;
        layer.ffn_scales = true;
    }
    Ok(spec)
}
