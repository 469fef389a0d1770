//! What a model computes, as data: the transformer reads nothing else about an architecture.

use alloc::string::String;
use alloc::vec::Vec;

/// Shapes and constants of a decoder-only transformer.
#[derive(Debug, Clone, PartialEq)]
pub struct Spec {
    /// The architecture's name in GGUF, such as `llama`.
    pub architecture: String,
    /// Length of the residual stream.
    pub embedding: usize,
    /// Positions that the model was trained for.
    pub context: usize,
    /// Added to the mean square in every RMS norm.
    pub norm_epsilon: f32,
    /// Factor of the token embeddings.
    pub embedding_scale: f32,
    /// Factor of each attention's and feed-forward network's contribution to the residual stream.
    pub residual_scale: f32,
    /// Factor of the logits.
    pub logit_scale: f32,
    /// Logits are squashed by `c tanh(logit / c)`.
    pub logit_softcap: Option<f32>,
    /// The rotary embeddings that layers choose from.
    pub ropes: Vec<Rope>,
    /// The layers, first to last.
    pub layers: Vec<Layer>,
}

/// One transformer block: attention, then a gated feed-forward network, each with its norm before (and after).
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// Self-attention.
    pub attention: Attention,
    /// Length of the feed-forward network's hidden vector.
    pub hidden: usize,
    /// Activation of the feed-forward network's gate.
    pub gate: Gate,
    /// Whether the feed-forward network's matrices may come with scales.
    pub ffn_scales: bool,
    /// Whether the outputs of attention and feed-forward network are normed before they join the residual stream.
    pub post_norms: bool,
}

/// Causal self-attention with grouped heads.
#[derive(Debug, Clone, PartialEq)]
pub struct Attention {
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; each serves `heads / kv_heads` query heads.
    pub kv_heads: usize,
    /// Length of a head's query and key.
    pub key_length: usize,
    /// Length of a head's value.
    pub value_length: usize,
    /// Factor of the scores.
    pub scale: f32,
    /// A position sees this many positions, itself the last; `None`: all before it.
    pub window: Option<usize>,
    /// Index of the rotary embedding in [`Spec::ropes`]; `None`: no position information.
    pub rope: Option<usize>,
    /// Whether each head's query and key are RMS-normed before they are rotated.
    pub qk_norm: bool,
}

/// Activation of a gated feed-forward network: `down(gate(x G) * (x U))`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// `x / (1 + e^-x)` (SwiGLU).
    Silu,
    /// GELU in its tanh form (GeGLU).
    Gelu,
}

/// Which elements of a head are rotated together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RopeLayout {
    /// Neighbours: 2i and 2i + 1.
    Interleaved,
    /// Halves (as GPT-NeoX has them): i and i + dimensions / 2.
    Halves,
}

/// A rotary position embedding (Su et al. 2021): at position p, pair i turns by the angle `p * frequencies[i]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Rope {
    /// Which elements form a pair.
    pub layout: RopeLayout,
    /// Radians per position of each pair: scaling (linear, YaRN, Llama 3's factors) is worked in.
    pub frequencies: Vec<f64>,
    /// Factor of the rotated elements (YaRN's attention factor).
    pub magnitude: f32,
}

impl Rope {
    /// How many of a head's first elements are rotated.
    pub fn dimensions(&self) -> usize {
        2 * self.frequencies.len()
    }
}

impl Spec {
    /// The longest vector that a matrix of the model is multiplied with.
    pub fn longest_operand(&self) -> usize {
        let of_layer = |l: &Layer| l.hidden.max(l.attention.heads * l.attention.value_length);
        self.layers.iter().map(of_layer).max().unwrap_or(0).max(self.embedding)
    }
}
