//! Gemma 3: GeGLU, normed queries and keys, norms before and after, and sliding windows with a rotary base of their own.

use super::{Error, Reader};
use crate::math;
use crate::spec::{Gate, RopeLayout, Spec};

/// Every layer of this period's last has full attention, where the metadata do not say otherwise.
const PERIOD: usize = 6;
/// The 27B model, known by its number of layers, scales its scores by the embedding's share of a head instead.
const LAYERS_OF_27B: usize = 62;

pub(super) fn spec(reader: &Reader<'_>) -> Result<Spec, Error> {
    let mut spec = reader.llama_like(RopeLayout::Halves)?;
    spec.embedding_scale = math::sqrt(spec.embedding as f32);
    spec.logit_softcap = reader.scale("final_logit_softcapping")?;
    let is_27b = spec.layers.len() == LAYERS_OF_27B;
    for layer in &mut spec.layers {
        let attention = &mut layer.attention;
        let length = if is_27b { spec.embedding / attention.heads } else { attention.key_length };
        attention.scale = 1.0 / math::sqrt(length as f32);
        attention.qk_norm = true;
        layer.gate = Gate::Gelu;
        layer.post_norms = true;
    }
    if let Some(window) = reader.optional_length("attention.sliding_window")? {
        slide(reader, &mut spec, window)?;
    }
    Ok(spec)
}

/// Gives the local layers their window and their rotary embedding.
fn slide(reader: &Reader<'_>, spec: &mut Spec, window: usize) -> Result<(), Error> {
    let key = "attention.sliding_window_pattern";
    let pattern = reader.flags(key, spec.layers.len())?;
    let period = if pattern.is_some() { PERIOD } else { reader.optional_length(key)?.unwrap_or(PERIOD) };
    let dimensions = spec.ropes[0].dimensions();
    spec.ropes.push(reader.plain_rope(RopeLayout::Halves, "rope.freq_base_swa", dimensions)?);
    for (index, layer) in spec.layers.iter_mut().enumerate() {
        let local = pattern.as_ref().map_or(index % period + 1 < period, |pattern| pattern[index]);
        if local {
            layer.attention.window = Some(window);
            layer.attention.rope = Some(1);
        }
    }
    Ok(())
}
