//! Granite 3 (dense): Llama with a scale on embeddings, residuals, attention scores and logits.

use super::{Error, Reader};
use crate::spec::{RopeLayout, Spec};

pub(super) fn spec(reader: &Reader<'_>) -> Result<Spec, Error> {
    let mut spec = reader.llama_like(RopeLayout::Interleaved)?;
    spec.embedding_scale = reader.scale("embedding_scale")?.unwrap_or(1.0);
    spec.residual_scale = reader.scale("residual_scale")?.unwrap_or(1.0);
    let divisor = reader.scale("logit_scale")?;
    spec.logit_scale = 1.0 / divisor.ok_or_else(|| reader.value("logit_scale", "missing or 0", "a divisor"))?;
    // Granite says by this key whether positions are encoded at all.
    if reader.metadata().bool(&reader.key("rope.scaling.finetuned"))? == Some(false) {
        spec.layers.iter_mut().for_each(|layer| layer.attention.rope = None);
    }
    Ok(spec)
}
