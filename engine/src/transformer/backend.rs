//! The seam between the forward pass and what computes it.

use crate::quant::Activation;
use crate::spec::{Attention, Gate, Rope};
use crate::weights::{Linear, Matrix};

/// The f32 matrices of a pass, a row for each token of the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activations {
    /// Queries of all heads.
    Query,
    /// Keys of all KV heads.
    Key,
    /// Values of all KV heads.
    Value,
    /// What attention or the feed-forward network is to add to the residual stream.
    Output,
    /// The feed-forward network's gate.
    Gate,
    /// What the gate multiplies.
    Up,
    /// Logits.
    Logits,
}

/// The forms in which an operand is needed: one for each kind of matrix that it will be multiplied with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Forms {
    /// Whether it has 13 bits for all matrices of floats, since one of `f16` is among them; else it is as it is for these.
    pub short: bool,
    /// In blocks of 32 int8 codes.
    pub q8: bool,
    /// In blocks of 256 int8 codes.
    pub q8k: bool,
    /// Whether second codes are to follow, of what the first leave: twice as many rows.
    pub wide: bool,
}

impl Forms {
    /// The forms that the products with `linears` take.
    pub fn of(linears: &[&Linear]) -> Self {
        let mut forms = Self::default();
        for linear in linears {
            forms.wide |= linear.takes_wide();
            match linear.activation() {
                Activation::F32 => {}
                Activation::Short => forms.short = true,
                Activation::Q8 => forms.q8 = true,
                Activation::Q8K => forms.q8k = true,
            }
        }
        forms
    }
}

/// How [`Activations::Output`] joins the residual stream: `x += scale * norm(output)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Addition<'a> {
    /// Weights of the norm; no norm where there are none.
    pub post_norm: Option<&'a [f32]>,
    /// Factor.
    pub scale: f32,
}

/// The operations of a forward pass. Each may start when the one before it is complete; none returns data.
///
/// The backend holds the batch (its tokens, their positions and KV caches), the residual stream, the [`Activations`], and
/// one operand: the vectors that the next products take, in the forms that their matrices need.
pub trait Backend {
    /// Number of tokens in the batch.
    fn tokens(&self) -> usize;

    /// Number of tokens in the batch whose logits are wanted.
    fn wanted(&self) -> usize;

    /// Residual = `scale` × the tokens' rows of `table`.
    fn embed(&self, table: &Matrix, scale: f32);

    /// Computes the cosines and sines of the tokens' positions, which [`Backend::rotate_and_cache`] uses.
    fn angles(&self, ropes: &[Rope]);

    /// Residual += the addition, for all tokens.
    fn add(&self, addition: Addition<'_>, epsilon: f32);

    /// Does the addition to the residual stream, and sets operand = rms_norm(residual) × `weight`, for all tokens.
    fn norm(&self, addition: Option<Addition<'_>>, weight: &[f32], epsilon: f32, forms: Forms);

    /// Sets operand = rms_norm(residual) × `weight` for the tokens whose logits are wanted, a row for each in their order.
    fn norm_wanted(&self, weight: &[f32], epsilon: f32, forms: Forms);

    /// For each product: activations = linear × operand, for the operand's first `count` rows. `next` are the matrices of the
    /// call after this one, which may be fetched ahead.
    fn matmul(&self, count: usize, products: &[(&Linear, Activations)], next: &[&Linear]);

    /// Norms (where `norms` gives the queries' and the keys' weights) and rotates queries and keys, and writes keys and
    /// values into `layer`'s part of the KV caches at the tokens' positions.
    fn rotate_and_cache(&self, layer: usize, attention: &Attention, norms: Option<[&[f32]; 2]>, epsilon: f32);

    /// Operand = attention of the queries over `layer`'s part of the KV caches: what each head returns, one after the other.
    fn attend(&self, layer: usize, attention: &Attention, forms: Forms);

    /// Operand = activation(Gate) × Up, `length` long, for all tokens.
    fn gate(&self, activation: Gate, length: usize, forms: Forms);

    /// Scales the first `count` rows of the logits, then squashes them by `c tanh(x / c)` where a cap is given.
    fn finish_logits(&self, count: usize, scale: f32, cap: Option<f32>);
}
