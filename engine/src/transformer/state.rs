//! Everything that a session writes: the KV cache and the scratch of a pass, laid out when it starts.

use alloc::vec::Vec;

use crate::bytes::{Crew, OutOfMemory, Shared};
use crate::spec::Spec;

use super::Activations;

/// How the KV cache stores its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum KvType {
    /// Half precision.
    #[default]
    F16,
    /// Single precision.
    F32,
}

impl KvType {
    /// Bytes of one number.
    pub fn bytes(self) -> usize {
        match self {
            Self::F16 => 2,
            Self::F32 => 4,
        }
    }
}

impl core::str::FromStr for KvType {
    type Err = &'static str;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "f16" => Ok(Self::F16),
            "f32" => Ok(Self::F32),
            _ => Err("expected f16 or f32"),
        }
    }
}

/// The sizes that a state is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Positions in the KV cache.
    pub context: usize,
    /// Tokens in one pass.
    pub batch: usize,
    /// Rows of logits that one pass computes.
    pub logit_rows: usize,
    /// Length of a row of logits.
    pub vocabulary: usize,
}

/// KV cache and scratch of one session.
pub struct State {
    pub(super) limits: Limits,
    pub(super) residual: Shared<f32>,
    pub(super) operand: Operand,
    pub(super) angles: Shared<f32>,
    pub(super) cache: KvCache,
    query: Shared<f32>,
    key: Shared<f32>,
    value: Shared<f32>,
    heads: Shared<f32>,
    output: Shared<f32>,
    gate: Shared<f32>,
    up: Shared<f32>,
    logits: Shared<f32>,
}

/// The vectors that matrices are multiplied with, in each form.
pub(super) struct Operand {
    pub f32: Shared<f32>,
    pub q8: Quantized,
    pub q8k: Quantized,
}

/// Vectors as int8 codes with scales and sums, as [`crate::quant::Columns`] has them.
pub(super) struct Quantized {
    pub codes: Shared<i8>,
    pub scales: Shared<f32>,
    pub sums: Shared<i16>,
}

/// Keys and values of each layer: KV heads × context × length.
pub(super) enum KvCache {
    F16(Vec<LayerCache<u16>>),
    F32(Vec<LayerCache<f32>>),
}

pub(super) struct LayerCache<E: crate::bytes::Element> {
    pub keys: Shared<E>,
    pub values: Shared<E>,
}

impl State {
    /// A zeroed state for a model, used by `crew` alone. Memory is taken as it is first touched.
    pub fn new(crew: &Crew, spec: &Spec, limits: Limits, kv: KvType) -> Result<Self, OutOfMemory> {
        let widths = Widths::new(spec);
        let rows = |width: usize| crew.buffer(limits.batch * width);
        Ok(Self {
            limits,
            residual: rows(spec.embedding)?,
            operand: Operand::new(crew, limits.batch, spec.longest_operand())?,
            angles: rows(widths.angles)?,
            cache: KvCache::new(crew, spec, limits.context, kv)?,
            query: rows(widths.query)?,
            key: rows(widths.key)?,
            value: rows(widths.value)?,
            heads: rows(widths.heads)?,
            output: rows(spec.embedding)?,
            gate: rows(widths.hidden)?,
            up: rows(widths.hidden)?,
            logits: crew.buffer(limits.logit_rows * limits.vocabulary)?,
        })
    }

    /// Bytes of the KV cache and of the scratch of a state.
    pub fn bytes(spec: &Spec, limits: Limits, kv: KvType) -> [u64; 2] {
        let of_layer =
            |l: &crate::spec::Layer| l.attention.kv_heads * (l.attention.key_length + l.attention.value_length);
        let numbers: usize = spec.layers.iter().map(of_layer).sum();
        let cache = numbers as u64 * limits.context as u64 * kv.bytes() as u64;
        let widths = Widths::new(spec);
        let longest = spec.longest_operand();
        let floats = 2 * spec.embedding + widths.angles + widths.query + widths.key + widths.value + widths.heads;
        let row = 4 * (floats + 2 * widths.hidden + longest) + 5 * longest / 2;
        let scratch = row as u64 * limits.batch as u64 + 4 * (limits.logit_rows * limits.vocabulary) as u64;
        [cache, scratch]
    }

    /// A row of logits of the last pass.
    pub fn logits(&mut self, row: usize) -> &[f32] {
        let vocabulary = self.limits.vocabulary;
        &self.logits.get_mut()[row * vocabulary..][..vocabulary]
    }

    /// Makes `row` of the logits row 0.
    pub fn move_logits(&mut self, row: usize) {
        let vocabulary = self.limits.vocabulary;
        self.logits.get_mut().copy_within(row * vocabulary..(row + 1) * vocabulary, 0);
    }

    pub(super) fn activations(&self, which: Activations) -> &Shared<f32> {
        match which {
            Activations::Query => &self.query,
            Activations::Key => &self.key,
            Activations::Value => &self.value,
            Activations::Heads => &self.heads,
            Activations::Output => &self.output,
            Activations::Gate => &self.gate,
            Activations::Up => &self.up,
            Activations::Logits => &self.logits,
        }
    }
}

/// The widest row of each activation matrix over all layers.
struct Widths {
    query: usize,
    key: usize,
    value: usize,
    heads: usize,
    hidden: usize,
    angles: usize,
}

impl Widths {
    fn new(spec: &Spec) -> Self {
        let widest = |width: &dyn Fn(&crate::spec::Layer) -> usize| spec.layers.iter().map(width).max().unwrap_or(0);
        Self {
            query: widest(&|l| l.attention.heads * l.attention.key_length),
            key: widest(&|l| l.attention.kv_heads * l.attention.key_length),
            value: widest(&|l| l.attention.kv_heads * l.attention.value_length),
            heads: widest(&|l| l.attention.heads * l.attention.value_length),
            hidden: widest(&|l| l.hidden),
            angles: spec.ropes.iter().map(|rope| rope.dimensions()).sum(),
        }
    }
}

impl Operand {
    fn new(crew: &Crew, rows: usize, length: usize) -> Result<Self, OutOfMemory> {
        let quantized = |block: usize, sum: usize| {
            Ok(Quantized {
                codes: crew.buffer(rows * length)?,
                scales: crew.buffer(rows * length.div_ceil(block))?,
                sums: crew.buffer(rows * length.div_ceil(sum))?,
            })
        };
        Ok(Self { f32: crew.buffer(rows * length)?, q8: quantized(32, 32)?, q8k: quantized(256, 16)? })
    }
}

impl KvCache {
    fn new(crew: &Crew, spec: &Spec, context: usize, kv: KvType) -> Result<Self, OutOfMemory> {
        Ok(match kv {
            KvType::F16 => Self::F16(Self::layers(crew, spec, context)?),
            KvType::F32 => Self::F32(Self::layers(crew, spec, context)?),
        })
    }

    fn layers<E: crate::bytes::Element>(
        crew: &Crew,
        spec: &Spec,
        context: usize,
    ) -> Result<Vec<LayerCache<E>>, OutOfMemory> {
        let attentions = spec.layers.iter().map(|layer| &layer.attention);
        let buffer = |heads: usize, length: usize| {
            let positions = heads.checked_mul(context).ok_or(OutOfMemory(usize::MAX))?;
            crew.buffer(positions.checked_mul(length).ok_or(OutOfMemory(usize::MAX))?)
        };
        attentions
            .map(|a| {
                Ok(LayerCache { keys: buffer(a.kv_heads, a.key_length)?, values: buffer(a.kv_heads, a.value_length)? })
            })
            .collect()
    }
}
