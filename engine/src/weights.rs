//! A model's tensors as views of the file, checked against the [`Spec`].
//!
//! Matrices stay where they are, as they are. Vectors (norms, biases: kilobytes) are decoded once, when they are first
//! used: so the weights of a file that is still being received can be found before they have come. A [`Stage`] is what has
//! to be there for the next part of a pass.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::ops::{Deref, Range};

use once_cell::race::OnceBox;

use crate::bytes::Bytes;
use crate::gguf::{Gguf, Place};
use crate::quant::{Activation, TensorType, dequantize_row};
use crate::spec::{Attention, Layer, Spec};

/// Why a file's tensors do not fit its metadata.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A tensor that the architecture needs.
    #[error("tensor '{0}' is missing")]
    Missing(String),
    /// A tensor of another shape than the metadata say.
    #[error("tensor '{name}' has the shape {found:?}, expected {expected:?}")]
    Shape {
        /// The tensor.
        name: String,
        /// Its dimensions in the file.
        found: Vec<u64>,
        /// The dimensions that follow from the metadata.
        expected: Vec<u64>,
    },
}

/// A part of a forward pass, by the weights that it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The token embeddings.
    Embedding,
    /// A layer.
    Layer(usize),
    /// From the residual stream to logits.
    Output,
}

impl Stage {
    /// The stage behind this one in a model of so many layers; `None` behind the last.
    pub fn next(self, layers: usize) -> Option<Self> {
        let index = match self {
            Self::Embedding => 0,
            Self::Layer(index) => index + 1,
            Self::Output => return None,
        };
        Some(if index < layers { Self::Layer(index) } else { Self::Output })
    }

    /// Where in the model's files the weights of this stage lie.
    pub fn places(self, gguf: &Gguf) -> Vec<Place> {
        let tied = gguf.tensor("output.weight").is_none();
        let layer = if let Self::Layer(index) = self { format!("blk.{index}.") } else { String::new() };
        let wanted = |name: &str| match self {
            Self::Embedding => name == EMBEDDING,
            Self::Layer(_) => name.starts_with(&layer),
            Self::Output => name == OUTPUT_NORM || name.starts_with("output.") || tied && name == EMBEDDING,
        };
        let names = gguf.tensors().map(|tensor| &tensor.name).filter(|name| wanted(name));
        names.filter_map(|name| gguf.place(name)).collect()
    }

    /// Whether the weights of this stage are there.
    pub fn has_arrived(self, gguf: &Gguf) -> bool {
        self.places(gguf).iter().all(|place| gguf.has_arrived(place))
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedding => write!(f, "the token embeddings"),
            Self::Layer(index) => write!(f, "layer {index}"),
            Self::Output => write!(f, "the output matrix"),
        }
    }
}

/// Name of the matrix of token embeddings.
const EMBEDDING: &str = "token_embd.weight";
/// Name of the norm before the output matrix.
const OUTPUT_NORM: &str = "output_norm.weight";

/// All weights of a model.
#[derive(Debug)]
pub struct Weights {
    /// Token embeddings: vocabulary × embedding.
    pub token_embedding: Matrix,
    /// Norm before the output matrix.
    pub output_norm: Vector,
    /// From the residual stream to logits; the token embeddings where the model ties them.
    pub output: Linear,
    /// The layers' weights.
    pub layers: Vec<LayerWeights>,
}

/// The weights of one layer.
#[derive(Debug)]
pub struct LayerWeights {
    /// Norm before attention.
    pub attention_norm: Vector,
    /// To the queries.
    pub query: Linear,
    /// To the keys.
    pub key: Linear,
    /// To the values.
    pub value: Linear,
    /// Norm of each head's query and key.
    pub query_key_norm: Option<[Vector; 2]>,
    /// From the heads back to the residual stream.
    pub attention_output: Linear,
    /// Norm of attention's output.
    pub attention_post_norm: Option<Vector>,
    /// Norm before the feed-forward network.
    pub ffn_norm: Vector,
    /// The feed-forward network's gate.
    pub gate: Linear,
    /// What the gate multiplies.
    pub up: Linear,
    /// Back to the residual stream.
    pub down: Linear,
    /// Norm of the feed-forward network's output.
    pub ffn_post_norm: Option<Vector>,
}

/// A matrix in the file: `rows` rows of `columns` elements.
#[derive(Debug, Clone)]
pub struct Matrix {
    /// Element type.
    pub kind: TensorType,
    /// Number of rows: the length of the product.
    pub rows: usize,
    /// Number of columns: the length of the vector that it is multiplied with.
    pub columns: usize,
    row_bytes: usize,
    bytes: Bytes,
}

impl Matrix {
    /// The bytes of some rows.
    pub fn rows(&self, rows: Range<usize>) -> &[u8] {
        &self.bytes[rows.start * self.row_bytes..rows.end * self.row_bytes]
    }

    /// Bytes of one row.
    pub fn row_bytes(&self) -> usize {
        self.row_bytes
    }
}

/// A vector in the file, as floats: decoded when it is first looked at.
///
/// # Panics
/// Where it is looked at before its bytes have arrived.
#[derive(Debug)]
pub struct Vector {
    kind: TensorType,
    length: usize,
    bytes: Bytes,
    decoded: OnceBox<Vec<f32>>,
}

impl Deref for Vector {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        self.decode()
    }
}

/// `y = scale * W x + bias`.
#[derive(Debug)]
pub struct Linear {
    /// W.
    pub matrix: Matrix,
    /// Factor of the product, in models that have one: a single number.
    pub scale: Option<Vector>,
    /// Added to the product.
    pub bias: Option<Vector>,
    /// Whether the factor is for the bias too.
    pub scaled_bias: bool,
    /// Whether activations are quantized to 15 bits: up to twice the arithmetic, and hardly an error left. So it is for the
    /// output matrix, which makes up to a third of a small model's divergence and is multiplied with few columns.
    pub wide: bool,
}

impl Linear {
    /// The factors of the product and of the bias.
    pub fn scales(&self) -> [f32; 2] {
        let scale = self.scale.as_ref().map_or(1.0, |scale| scale[0]);
        [scale, if self.scaled_bias { scale } else { 1.0 }]
    }

    /// The form in which the matrix takes its activations.
    pub fn activation(&self) -> Activation {
        self.matrix.kind.activation()
    }

    /// Whether the activations that it takes have second codes.
    pub fn takes_wide(&self) -> bool {
        self.wide && !matches!(self.activation(), Activation::F32 | Activation::Short)
    }
}

impl Weights {
    /// Finds the tensors that `spec` needs in `gguf`.
    pub fn new(gguf: &Gguf, spec: &Spec, vocabulary: usize) -> Result<Self, Error> {
        let file = Finder { gguf };
        let token_embedding = file.matrix(EMBEDDING, vocabulary, spec.embedding)?;
        let output = match file.has("output.weight") {
            true => file.linear("output", vocabulary, spec.embedding)?,
            false => Linear::of(token_embedding.clone()),
        };
        let output = Linear { wide: true, ..output };
        let layers = spec.layers.iter().enumerate().map(|(index, layer)| file.layer(index, layer, spec.embedding));
        Ok(Self {
            token_embedding,
            output_norm: file.vector(OUTPUT_NORM, spec.embedding)?,
            output,
            layers: layers.collect::<Result<_, _>>()?,
        })
    }
}

/// All vectors.
impl Weights {
    /// Decodes them, so that a pass need not.
    pub fn decode_vectors(&self) {
        let of_layers = self.layers.iter().flat_map(LayerWeights::vectors);
        for vector in of_layers.chain(self.output.vectors()).chain([&self.output_norm]) {
            vector.decode();
        }
    }
}

impl LayerWeights {
    fn vectors(&self) -> impl Iterator<Item = &Vector> {
        let Self { query, key, value, attention_output, gate, up, down, .. } = self;
        let linears = [query, key, value, attention_output, gate, up, down].into_iter();
        let optional = self.query_key_norm.iter().flatten().chain(&self.attention_post_norm).chain(&self.ffn_post_norm);
        linears.flat_map(Linear::vectors).chain(optional).chain([&self.attention_norm, &self.ffn_norm])
    }
}

impl Linear {
    /// Just the matrix.
    fn of(matrix: Matrix) -> Self {
        Self { matrix, scale: None, bias: None, scaled_bias: false, wide: false }
    }

    fn vectors(&self) -> impl Iterator<Item = &Vector> {
        self.scale.iter().chain(&self.bias)
    }
}

impl Vector {
    fn decode(&self) -> &[f32] {
        self.decoded.get_or_init(|| {
            let mut floats = alloc::vec![0.0; self.length];
            dequantize_row(self.kind, &self.bytes, &mut floats);
            Box::new(floats)
        })
    }
}

struct Finder<'a> {
    gguf: &'a Gguf,
}

impl Finder<'_> {
    fn layer(&self, index: usize, layer: &Layer, embedding: usize) -> Result<LayerWeights, Error> {
        let name = |part: &str| format!("blk.{index}.{part}");
        let weight = |part: &str| format!("blk.{index}.{part}.weight");
        let post_norm = |part: &str| layer.post_norms.then(|| self.vector(&weight(part), embedding)).transpose();
        let attention = &layer.attention;
        let [query, key, value] = self.query_key_value(index, attention, embedding)?;
        let query_key_norm = match attention.qk_norm {
            true => Some([
                self.vector(&weight("attn_q_norm"), attention.key_length)?,
                self.vector(&weight("attn_k_norm"), attention.key_length)?,
            ]),
            false => None,
        };
        let heads_length = attention.heads * attention.value_length;
        Ok(LayerWeights {
            attention_norm: self.vector(&weight("attn_norm"), embedding)?,
            query,
            key,
            value,
            query_key_norm,
            attention_output: self.linear(&name("attn_output"), embedding, heads_length)?,
            attention_post_norm: post_norm("post_attention_norm")?,
            ffn_norm: self.vector(&weight("ffn_norm"), embedding)?,
            gate: self.ffn(&name("ffn_gate"), [layer.hidden, embedding], layer.ffn_scales)?,
            up: self.ffn(&name("ffn_up"), [layer.hidden, embedding], layer.ffn_scales)?,
            down: self.ffn(&name("ffn_down"), [embedding, layer.hidden], layer.ffn_scales)?,
            ffn_post_norm: post_norm("post_ffw_norm")?,
        })
    }

    fn query_key_value(&self, index: usize, attention: &Attention, embedding: usize) -> Result<[Linear; 3], Error> {
        let linear = |part: &str, rows| self.linear(&format!("blk.{index}.{part}"), rows, embedding);
        Ok([
            linear("attn_q", attention.heads * attention.key_length)?,
            linear("attn_k", attention.kv_heads * attention.key_length)?,
            linear("attn_v", attention.kv_heads * attention.value_length)?,
        ])
    }

    /// A matrix of a feed-forward network. Its scale, where it counts, is for the bias too.
    fn ffn(&self, name: &str, [rows, columns]: [usize; 2], scaled: bool) -> Result<Linear, Error> {
        let linear = self.linear(name, rows, columns)?;
        let scale = linear.scale.filter(|_| scaled);
        Ok(Linear { scale, scaled_bias: true, ..linear })
    }

    fn linear(&self, name: &str, rows: usize, columns: usize) -> Result<Linear, Error> {
        let optional = |part: &str, length| {
            let name = format!("{name}.{part}");
            self.has(&name).then(|| self.vector(&name, length)).transpose()
        };
        let matrix = self.matrix(&format!("{name}.weight"), rows, columns)?;
        Ok(Linear { scale: optional("scale", 1)?, bias: optional("bias", rows)?, ..Linear::of(matrix) })
    }

    fn matrix(&self, name: &str, rows: usize, columns: usize) -> Result<Matrix, Error> {
        let (kind, bytes) = self.tensor(name, &[columns as u64, rows as u64])?;
        let row_bytes = bytes.len() / rows;
        Ok(Matrix { kind, rows, columns, row_bytes, bytes })
    }

    fn vector(&self, name: &str, length: usize) -> Result<Vector, Error> {
        let (kind, bytes) = self.tensor(name, &[length as u64])?;
        Ok(Vector { kind, length, bytes, decoded: OnceBox::new() })
    }

    fn has(&self, name: &str) -> bool {
        self.gguf.tensor(name).is_some()
    }

    /// The tensor `name`, which must have these dimensions (ones behind them do not count).
    fn tensor(&self, name: &str, dims: &[u64]) -> Result<(TensorType, Bytes), Error> {
        let (tensor, bytes) = self.gguf.tensor(name).ok_or_else(|| Error::Missing(name.to_string()))?;
        let (same, rest) = tensor.dims.split_at(dims.len().min(tensor.dims.len()));
        if same != dims || rest.iter().any(|dim| *dim != 1) {
            let (found, expected) = (tensor.dims.clone(), dims.to_vec());
            return Err(Error::Shape { name: name.to_string(), found, expected });
        }
        Ok((tensor.kind, bytes))
    }
}
