//! Everything that a pass writes besides KV caches, laid out before the first one.

use crate::bytes::{Crew, OutOfMemory, Shared};
use crate::quant::Activation;
use crate::spec::Spec;

use super::Activations;
use super::kv_cache::{KvType, QuantizedBatch, Queries};
use crate::kernels::attention::{self, PartialSums};

/// The sizes that a state is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Positions in the KV cache of a sequence.
    pub context: usize,
    /// Tokens in one pass.
    pub batch: usize,
    /// Rows of logits that one pass computes.
    pub logit_rows: usize,
    /// Length of a row of logits.
    pub vocabulary: usize,
}

/// Scratch of the passes of one crew.
pub struct State {
    pub(super) limits: Limits,
    pub(super) residual: Shared<f32>,
    pub(super) operand: Operand,
    pub(super) angles: Shared<f32>,
    query: Shared<f32>,
    quantized_queries: QuantizedBatch,
    key: Shared<f32>,
    value: Shared<f32>,
    /// What attention returns, for all heads.
    pub(super) heads: Shared<f32>,
    /// What it returns for single spans, of the first [`SPLIT_TOKENS`] tokens: see [`attention::Merge`].
    pub(super) partial: Shared<f32>,
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
    pub kind: Activation,
    pub codes: Shared<i8>,
    pub scales: Shared<f32>,
    pub sums: Shared<i16>,
}

impl State {
    /// A zeroed state for a model, used by `crew` alone. Memory is taken as it is first touched.
    pub fn new(crew: &Crew, spec: &Spec, limits: Limits, kv: KvType) -> Result<Self, OutOfMemory> {
        let widths = Widths::new(spec);
        let rows = |width: usize| crew.buffer(limits.batch * width);
        Ok(Self {
            limits,
            residual: rows(spec.embedding)?,
            operand: Operand::new(crew, operand_rows(limits), spec.longest_operand())?,
            angles: rows(widths.angles)?,
            query: rows(widths.query)?,
            quantized_queries: QuantizedBatch::new(crew, spec, limits, kv)?,
            key: rows(widths.key)?,
            value: rows(widths.value)?,
            heads: rows(widths.heads)?,
            partial: crew.buffer(partial_len(spec, limits))?,
            output: rows(spec.embedding)?,
            gate: rows(widths.hidden)?,
            up: rows(widths.hidden)?,
            logits: crew.buffer(limits.logit_rows * limits.vocabulary)?,
        })
    }

    /// Bytes of a state.
    pub fn bytes(spec: &Spec, limits: Limits, kv: KvType) -> u64 {
        let widths = Widths::new(spec);
        let floats = 2 * spec.embedding + widths.angles + widths.query + widths.key + widths.value + widths.heads;
        let row = 4 * (floats + 2 * widths.hidden);
        let operand = Operand::bytes(operand_rows(limits), spec.longest_operand());
        let once = limits.logit_rows * limits.vocabulary + partial_len(spec, limits);
        let queries = QuantizedBatch::bytes(spec, limits, kv);
        row as u64 * limits.batch as u64 + operand as u64 + 4 * once as u64 + queries
    }

    /// A row of logits of the last pass.
    pub fn logits(&mut self, row: usize) -> &[f32] {
        let vocabulary = self.limits.vocabulary;
        &self.logits.get_mut()[row * vocabulary..][..vocabulary]
    }

    /// All rows of logits, one after the other.
    pub fn all_logits(&mut self) -> &[f32] {
        self.logits.get_mut()
    }

    /// Makes `row` of the logits row 0.
    pub fn move_logits(&mut self, row: usize) {
        let vocabulary = self.limits.vocabulary;
        self.logits.get_mut().copy_within(row * vocabulary..(row + 1) * vocabulary, 0);
    }

    /// The residual stream between passes: a row of the embedding's length for each token of a batch.
    pub fn residual(&mut self) -> &mut [f32] {
        self.residual.get_mut()
    }

    /// Sets the logits of the first row.
    pub fn set_logits(&mut self, logits: impl Iterator<Item = f32>) {
        self.logits.get_mut().iter_mut().zip(logits).for_each(|(to, logit)| *to = logit);
    }

    /// The batch's queries.
    pub(super) fn queries(&self) -> Queries<'_> {
        Queries { f32: &self.query, q8: &self.quantized_queries }
    }

    pub(super) fn activations(&self, which: Activations) -> &Shared<f32> {
        match which {
            Activations::Query => &self.query,
            Activations::Key => &self.key,
            Activations::Value => &self.value,
            Activations::Output => &self.output,
            Activations::Gate => &self.gate,
            Activations::Up => &self.up,
            Activations::Logits => &self.logits,
        }
    }
}

/// Rows of the operand: those of a batch, or two for each row of logits.
fn operand_rows(limits: Limits) -> usize {
    limits.batch.max(2 * limits.logit_rows)
}

/// Tokens of a batch whose spans may be shared out among threads.
pub(super) const SPLIT_TOKENS: usize = 4;

/// Numbers that the single spans of the first tokens of a batch take.
fn partial_len(spec: &Spec, limits: Limits) -> usize {
    let of_layer = |layer: &crate::spec::Layer| {
        let a = &layer.attention;
        // A window of n positions and the tokens behind it may begin at the end of a span.
        let spans = limits.context.div_ceil(attention::SPAN);
        let spans = a.window.map_or(spans, |window| spans.min((window + SPLIT_TOKENS) / attention::SPAN + 2));
        spans * PartialSums::len(SPLIT_TOKENS.min(limits.batch) * a.heads, a.value_length)
    };
    spec.layers.iter().map(of_layer).max().unwrap_or(0)
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
        let quantized = |kind: Activation| {
            let (codes, scales, sums) = Self::lens(kind, length);
            Ok(Quantized {
                kind,
                codes: crew.buffer(rows * codes)?,
                scales: crew.buffer(rows * scales)?,
                sums: crew.buffer(rows * sums)?,
            })
        };
        let [q8, q8k] = [quantized(Activation::Q8)?, quantized(Activation::Q8K)?];
        Ok(Self { f32: crew.buffer(rows * length)?, q8, q8k })
    }

    fn bytes(rows: usize, length: usize) -> usize {
        let quantized = [Activation::Q8, Activation::Q8K].map(|kind| {
            let (codes, scales, sums) = Self::lens(kind, length);
            codes + 4 * scales + 2 * sums
        });
        rows * (4 * length + quantized.iter().sum::<usize>())
    }

    /// Codes, scales and sums of a row with room for any operand up to `length`.
    fn lens(kind: Activation, length: usize) -> (usize, usize, usize) {
        kind.lens((length + Activation::MOST_PADDING).next_multiple_of(256))
    }
}
