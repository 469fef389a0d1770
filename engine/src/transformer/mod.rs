//! The forward pass, written once over the operations of a [`Backend`].
//!
//! All layers are decoder blocks of the same form. With x the residual stream:
//!
//! ```text
//! x = embedding[token]
//! in each layer:
//!     h = norm(x)              q, k, v = W_q h, W_k h, W_v h       q, k = rotate(norm(q)), rotate(norm(k))
//!     x = x + W_o attention(q, K, V)
//!     h = norm(x)              x = x + W_down (act(W_gate h) * W_up h)
//! logits = W_out norm(x)
//! ```

mod backend;
mod batch;
mod cpu;
mod kept;
mod kv_cache;
mod state;

pub use backend::{Activations, Addition, Backend, Forms};
pub use batch::{Batch, Piece};
pub use cpu::{Cpu, ThreadScratch};
pub use kept::Kept;
pub use kv_cache::{KvCache, KvType};
pub use state::{Limits, State};

use crate::spec::{Layer, Spec};
use crate::weights::{LayerWeights, Linear, Weights};

/// Runs the tokens of a batch through all layers; the residual stream then holds their final states.
pub fn forward(backend: &impl Backend, spec: &Spec, all: &Weights) {
    backend.embed(&all.token_embedding, spec.embedding_scale);
    backend.angles(&spec.ropes);
    let mut pending = None;
    for (index, (layer, weights)) in spec.layers.iter().zip(&all.layers).enumerate() {
        attention(backend, spec, (index, layer), weights, pending);
        match all.layers.get(index + 1) {
            Some(LayerWeights { query, key, value, .. }) => {
                feed_forward(backend, spec, layer, weights, &[query, key, value]);
            }
            None => feed_forward(backend, spec, layer, weights, &[&all.output]),
        }
        pending = Some(Addition { post_norm: weights.ffn_post_norm.as_deref(), scale: spec.residual_scale });
    }
    if let Some(addition) = pending {
        backend.add(addition, spec.norm_epsilon);
    }
}

/// Sets the residual stream to the embeddings of the tokens of a batch: the first step of [`forward`], by itself.
pub fn embed(backend: &impl Backend, spec: &Spec, all: &Weights) {
    backend.embed(&all.token_embedding, spec.embedding_scale);
}

/// Runs the tokens of a batch through one layer, from residual stream to residual stream. [`embed`] and all layers one
/// after the other are [`forward`], whichever batches come in between; no other layer's weights are touched.
pub fn layer(backend: &impl Backend, spec: &Spec, all: &Weights, index: usize) {
    let (layer, weights) = (&spec.layers[index], &all.layers[index]);
    backend.angles(&spec.ropes);
    attention(backend, spec, (index, layer), weights, None);
    feed_forward(backend, spec, layer, weights, &[]);
    let addition = Addition { post_norm: weights.ffn_post_norm.as_deref(), scale: spec.residual_scale };
    backend.add(addition, spec.norm_epsilon);
}

/// Computes the logits that are wanted of the batch whose final states the residual stream holds.
pub fn logits(backend: &impl Backend, spec: &Spec, weights: &Weights) {
    let count = backend.wanted();
    let forms = Forms::of(&[&weights.output]);
    backend.norm_wanted(&weights.output_norm, spec.norm_epsilon, forms);
    backend.matmul(count, &[(&weights.output, Activations::Logits)], &[]);
    if spec.logit_scale != 1.0 || spec.logit_softcap.is_some() {
        backend.finish_logits(count, spec.logit_scale, spec.logit_softcap);
    }
}

/// An upper bound of the operations of [`forward`] and [`logits`] together.
pub fn operations(spec: &Spec) -> usize {
    10 * spec.layers.len() + 6
}

/// Attention and the norm before it; its output is left to be added to the residual stream by the next norm.
fn attention(
    backend: &impl Backend,
    spec: &Spec,
    (index, layer): (usize, &Layer),
    weights: &LayerWeights,
    pending: Option<Addition<'_>>,
) {
    let LayerWeights { query, key, value, attention_output, .. } = weights;
    let tokens = backend.tokens();
    let forms = Forms::of(&[query, key, value]);
    backend.norm(pending, &weights.attention_norm, spec.norm_epsilon, forms);
    backend.matmul(
        tokens,
        &[(query, Activations::Query), (key, Activations::Key), (value, Activations::Value)],
        &[attention_output],
    );
    let norms = weights.query_key_norm.as_ref().map(|[query, key]| [&query[..], &key[..]]);
    backend.rotate_and_cache(index, &layer.attention, norms, spec.norm_epsilon);
    backend.attend(index, &layer.attention, Forms::of(&[attention_output]));
    backend.matmul(tokens, &[(attention_output, Activations::Output)], &[&weights.gate, &weights.up]);
}

/// The gated feed-forward network, and the norm before it, which first adds attention's output. `next` are the matrices
/// behind it.
fn feed_forward(backend: &impl Backend, spec: &Spec, layer: &Layer, weights: &LayerWeights, next: &[&Linear]) {
    let LayerWeights { gate, up, down, .. } = weights;
    let addition = Addition { post_norm: weights.attention_post_norm.as_deref(), scale: spec.residual_scale };
    let tokens = backend.tokens();
    backend.norm(Some(addition), &weights.ffn_norm, spec.norm_epsilon, Forms::of(&[gate, up]));
    backend.matmul(tokens, &[(gate, Activations::Gate), (up, Activations::Up)], &[down]);
    backend.gate(layer.gate, layer.hidden, Forms::of(&[down]));
    backend.matmul(tokens, &[(down, Activations::Output)], next);
}
