//! Llama, Mistral and the many models that share their shape (SmolLM, Vicuna, TinyLlama, …).

use super::{Error, Reader};
use crate::spec::{RopeLayout, Spec};

pub(super) fn spec(reader: &Reader<'_>) -> Result<Spec, Error> {
    let mut spec = reader.llama_like(RopeLayout::Interleaved)?;
    spec.layers.iter_mut().for_each(|layer| layer.ffn_scales = true);
    Ok(spec)
}
