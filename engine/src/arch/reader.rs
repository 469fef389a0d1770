//! What the architectures have in common: reading a llama-like model's shapes, and its rotary embedding.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::f64::consts::PI;

use super::Error;
use crate::gguf::{Array, Gguf, Metadata};
use crate::math;
use crate::quant::{TensorType, dequantize_row};
use crate::spec::{Attention, Gate, Layer, Rope, RopeLayout, Spec};

/// More layers than any model has; a bound for what the metadata may ask for.
const MAX_LAYERS: usize = 1024;
/// Bound for every length in the metadata, so that products of two do not overflow.
const MAX_LENGTH: usize = 1 << 24;

/// The longest key or value of a head.
const MAX_HEAD: usize = 1024;

/// The metadata of one architecture's model, with its defaults.
pub(super) struct Reader<'a> {
    gguf: &'a Gguf,
    name: &'a str,
}

impl<'a> Reader<'a> {
    pub fn new(gguf: &'a Gguf, name: &'a str) -> Self {
        Self { gguf, name }
    }

    /// The spec of a Llama-like model: what all architectures here start from.
    pub fn llama_like(&self, layout: RopeLayout) -> Result<Spec, Error> {
        if self.optional_length("expert_count")?.is_some() {
            return Err(Error::Feature { key: self.key("expert_count"), what: "a mixture of experts".into() });
        }
        let embedding = self.length("embedding_length")?;
        let layers = self.length("block_count")?;
        if layers > MAX_LAYERS {
            return Err(self.value("block_count", layers, "at most 1024"));
        }
        let layers = (0..layers).map(|index| self.layer(index, embedding)).collect::<Result<Vec<_>, _>>()?;
        let key_length = layers[0].attention.key_length;
        Ok(Spec {
            architecture: self.name.to_string(),
            embedding,
            context: self.length("context_length")?,
            norm_epsilon: self.metadata().require_f32(&self.key("attention.layer_norm_rms_epsilon"))?,
            embedding_scale: 1.0,
            residual_scale: 1.0,
            logit_scale: 1.0,
            logit_softcap: None,
            ropes: alloc::vec![self.rope(layout, key_length)?],
            layers,
        })
    }

    /// A scale that counts as absent when it is 0.
    pub fn scale(&self, key: &str) -> Result<Option<f32>, Error> {
        let value = self.metadata().f32(&self.key(key))?.filter(|scale| *scale != 0.0);
        match value {
            Some(scale) if !scale.is_finite() => Err(self.value(key, scale, "a finite number")),
            _ => Ok(value),
        }
    }

    /// An optional length: absent when it is 0.
    pub fn optional_length(&self, key: &str) -> Result<Option<usize>, Error> {
        let Some(length) = self.metadata().u32(&self.key(key))? else { return Ok(None) };
        let length = length as usize;
        if length > MAX_LENGTH {
            return Err(self.value(key, length, "at most 16777216"));
        }
        Ok(Some(length).filter(|n| *n != 0))
    }

    /// A rotary embedding with plain frequencies.
    pub fn plain_rope(&self, layout: RopeLayout, base_key: &str, dimensions: usize) -> Result<Rope, Error> {
        let frequencies = frequencies(self.rope_base(base_key)?, dimensions).collect();
        Ok(Rope { layout, frequencies, magnitude: 1.0 })
    }

    /// A yes or no for each of `layers` layers, where the key holds an array.
    pub fn flags(&self, key: &str, layers: usize) -> Result<Option<Vec<bool>>, Error> {
        let full_key = self.key(key);
        let flags: Vec<bool> = match self.metadata().get(&full_key).and_then(|value| value.as_array()) {
            None => return Ok(None),
            Some(Array::Bool(flags)) => flags.clone(),
            Some(_) => self.metadata().require_i32s(&full_key)?.iter().map(|flag| *flag != 0).collect(),
        };
        if flags.len() < layers {
            return Err(self.value(key, format!("{} values", flags.len()), "one for each layer"));
        }
        Ok(Some(flags))
    }

    pub fn metadata(&self) -> &'a Metadata {
        self.gguf.metadata()
    }

    pub fn key(&self, key: &str) -> String {
        format!("{}.{key}", self.name)
    }

    pub fn value(&self, key: &str, found: impl ToString, expected: &'static str) -> Error {
        Error::Value { key: self.key(key), found: found.to_string(), expected }
    }

    fn length(&self, key: &str) -> Result<usize, Error> {
        self.metadata().require_u32(&self.key(key))?;
        self.optional_length(key)?.ok_or_else(|| self.value(key, 0, "at least 1"))
    }

    /// A length that may be given once or per layer; the default where it is absent.
    fn layer_length(&self, key: &str, layer: usize, default: Option<usize>) -> Result<usize, Error> {
        let full_key = self.key(key);
        let is_array = self.metadata().get(&full_key).is_some_and(|value| value.as_array().is_some());
        if !is_array {
            return match default {
                Some(default) => Ok(self.optional_length(key)?.unwrap_or(default)),
                None => self.length(key),
            };
        }
        let lengths = self.metadata().require_u32s(&full_key)?;
        match lengths.get(layer) {
            Some(&length) if (1..=MAX_LENGTH).contains(&(length as usize)) => Ok(length as usize),
            Some(length) => Err(self.value(key, length, "1 to 16777216 in each layer")),
            None => Err(self.value(key, format!("{} values", lengths.len()), "one for each layer")),
        }
    }

    fn layer(&self, index: usize, embedding: usize) -> Result<Layer, Error> {
        let heads = self.layer_length("attention.head_count", index, None)?;
        let kv_heads = self.layer_length("attention.head_count_kv", index, Some(heads))?;
        if heads % kv_heads != 0 {
            return Err(self.value("attention.head_count_kv", kv_heads, "a divisor of attention.head_count"));
        }
        let key_length = self.optional_length("attention.key_length")?.unwrap_or(embedding / heads);
        let value_length = self.optional_length("attention.value_length")?.unwrap_or(embedding / heads);
        let longest = key_length.max(value_length);
        if key_length == 0 || value_length == 0 || longest > MAX_HEAD || heads.saturating_mul(longest) > MAX_LENGTH {
            return Err(self.value(
                "attention.head_count",
                heads,
                "heads of 1 to 1024 elements, together at most 2^24",
            ));
        }
        let default_scale = 1.0 / math::sqrt(key_length as f32);
        let attention = Attention {
            heads,
            kv_heads,
            key_length,
            value_length,
            scale: self.scale("attention.scale")?.unwrap_or(default_scale),
            window: None,
            rope: Some(0),
            qk_norm: false,
        };
        let hidden = self.layer_length("feed_forward_length", index, None)?;
        Ok(Layer { attention, hidden, gate: Gate::Silu, ffn_scales: false, post_norms: false })
    }

    fn rope_base(&self, key: &str) -> Result<f64, Error> {
        let base = self.metadata().f32(&self.key(key))?.unwrap_or(10_000.0);
        if base > 0.0 && base.is_finite() { Ok(base as f64) } else { Err(self.value(key, base, "a positive number")) }
    }

    /// The rotary embedding with the scaling that metadata and the `rope_freqs` tensor ask for.
    fn rope(&self, layout: RopeLayout, key_length: usize) -> Result<Rope, Error> {
        let dimensions = self.optional_length("rope.dimension_count")?.unwrap_or(key_length);
        if dimensions > key_length || dimensions % 2 != 0 {
            return Err(self.value("rope.dimension_count", dimensions, "an even number, at most the key length"));
        }
        let mut rope = self.plain_rope(layout, "rope.freq_base", dimensions)?;
        for (frequency, factor) in rope.frequencies.iter_mut().zip(self.rope_factors(dimensions / 2)?) {
            *frequency /= factor as f64;
        }
        self.scale_rope(&mut rope)?;
        Ok(rope)
    }

    /// Llama 3's divisors of the frequencies, where the model has them.
    fn rope_factors(&self, pairs: usize) -> Result<Vec<f32>, Error> {
        let Some((tensor, bytes)) = self.gguf.tensor("rope_freqs.weight") else {
            return Ok(alloc::vec![1.0; pairs]);
        };
        let mut factors = alloc::vec![0.0; pairs];
        if tensor.kind != TensorType::F32 || tensor.elements() != pairs as u64 {
            let found = format!("{:?} {}", tensor.dims, tensor.kind.name());
            let expected = "F32, one factor for each rotated pair";
            return Err(Error::Value { key: "rope_freqs.weight".into(), found, expected });
        }
        self.gguf.check_arrived(tensor)?;
        dequantize_row(tensor.kind, &bytes, &mut factors);
        Ok(factors)
    }

    /// Works in linear scaling or YaRN (Peng et al. 2023): interpolated where a pair turns fewer than `beta_slow` times
    /// in the original context, as trained where it turns more than `beta_fast` times, and a ramp in between.
    fn scale_rope(&self, rope: &mut Rope) -> Result<(), Error> {
        let kind = self.metadata().string(&self.key("rope.scaling.type"))?.unwrap_or("linear");
        let factor = match self.scale("rope.scaling.factor")? {
            Some(factor) => factor as f64,
            None => self.scale("rope.scale_linear")?.unwrap_or(1.0) as f64,
        };
        let attention_factor = self.scale("rope.scaling.attn_factor")?.unwrap_or(1.0);
        rope.magnitude = attention_factor;
        match kind {
            "none" => {}
            "linear" => rope.frequencies.iter_mut().for_each(|frequency| *frequency /= factor),
            "yarn" => {
                self.yarn(rope, factor)?;
                let magnitude = if factor > 1.0 { 0.1 * libm::log(factor) + 1.0 } else { 1.0 };
                rope.magnitude = (magnitude * attention_factor as f64) as f32;
            }
            other => {
                let what = format!("rotary scaling '{other}'");
                return Err(Error::Feature { key: self.key("rope.scaling.type"), what });
            }
        }
        Ok(())
    }

    fn yarn(&self, rope: &mut Rope, factor: f64) -> Result<(), Error> {
        let base = self.rope_base("rope.freq_base")?;
        let context = match self.optional_length("rope.scaling.original_context_length")? {
            Some(context) => context,
            None => self.length("context_length")?,
        };
        let beta_fast = self.scale("rope.scaling.yarn_beta_fast")?.unwrap_or(32.0) as f64;
        let beta_slow = self.scale("rope.scaling.yarn_beta_slow")?.unwrap_or(1.0) as f64;
        let dimensions = rope.dimensions() as f64;
        // The pair that turns `turns` times within the original context.
        let pair_of =
            |turns: f64| dimensions * libm::log(context as f64 / (turns * 2.0 * PI)) / (2.0 * libm::log(base));
        let low = libm::floor(pair_of(beta_fast)).max(0.0);
        let high = libm::ceil(pair_of(beta_slow)).min(dimensions - 1.0);
        for (pair, frequency) in rope.frequencies.iter_mut().enumerate() {
            let ramp = ((pair as f64 - low) / (high - low).max(0.001)).clamp(0.0, 1.0);
            *frequency = *frequency / factor * ramp + *frequency * (1.0 - ramp);
        }
        Ok(())
    }
}

/// `base^(-2i / dimensions)` for each pair i.
fn frequencies(base: f64, dimensions: usize) -> impl Iterator<Item = f64> {
    (0..dimensions / 2).map(move |pair| math::pow(base, -2.0 * pair as f64 / dimensions as f64))
}
