//! The tiny models whose answers are recorded in `tests/fixtures/tiny`.

use crate::random_model::{Extra, Recipe};

/// Tokens that each of them is fed.
pub const PROMPT: usize = 48;
/// The recorded answers hold the logits of every position that is one less than a multiple of this.
pub const STRIDE: usize = 4;

/// One recipe for each thing an architecture can do.
pub fn all() -> Vec<Recipe> {
    [llama(), qwen(), gemma(), granite()].concat()
}

fn llama() -> Vec<Recipe> {
    use Extra::*;
    let llama = |name| Recipe::new(name, "llama");
    let scaled = |name, kind: &str| llama(name).value("rope.scaling.type", kind).value("rope.scaling.factor", 4.0f32);
    vec![
        llama("llama").extras(&[Output]).value("rope.freq_base", 10_000.0f32),
        llama("llama-tied-rope-factors").extras(&[RopeFactors]).value("rope.freq_base", 500_000.0f32),
        llama("llama-biases-scales").extras(&[Output, AttentionBiases, OtherBiases, Scales]),
        Recipe { kv_heads: 4, ..llama("llama-ungrouped") }.value("rope.freq_base", 5_000.0f32),
        scaled("llama-linear", "linear"),
        scaled("llama-yarn", "yarn").value("rope.scaling.original_context_length", 16u32),
    ]
}

fn qwen() -> Vec<Recipe> {
    use Extra::*;
    vec![
        Recipe::new("qwen2", "qwen2").extras(&[AttentionBiases]).value("rope.freq_base", 1_000_000.0f32),
        Recipe::new("qwen2-yarn", "qwen2")
            .extras(&[Output, AttentionBiases])
            .value("rope.scaling.type", "yarn")
            .value("rope.scaling.factor", 2.5f32)
            .value("rope.scaling.original_context_length", 32u32),
        Recipe { head: 32, kv_heads: 1, ..Recipe::new("qwen3", "qwen3") }
            .extras(&[Output, QueryKeyNorms])
            .value("rope.freq_base", 1_000_000.0f32),
    ]
}

fn gemma() -> Vec<Recipe> {
    use Extra::*;
    let gemma = |name| {
        Recipe { layers: 7, embedding: 32, heads: 2, kv_heads: 1, hidden: 64, ..Recipe::new(name, "gemma3") }
            .extras(&[QueryKeyNorms, PostNorms])
            .value("rope.freq_base", 1_000_000.0f32)
    };
    vec![
        gemma("gemma3-window").value("attention.sliding_window", 12u32),
        gemma("gemma3-window-linear")
            .value("attention.sliding_window", 12u32)
            .value("rope.freq_base_swa", 5_000.0f32)
            .value("rope.scaling.type", "linear")
            .value("rope.scaling.factor", 8.0f32),
        gemma("gemma3-softcap").value("final_logit_softcapping", 2.0f32),
    ]
}

fn granite() -> Vec<Recipe> {
    let granite = |name| {
        Recipe::new(name, "granite")
            .value("embedding_scale", 6.0f32)
            .value("residual_scale", 0.22f32)
            .value("attention.scale", 0.0625f32)
            .value("logit_scale", 4.0f32)
    };
    vec![
        granite("granite"),
        granite("granite-output").extras(&[Extra::Output]).value("rope.freq_base", 10_000_000.0f32),
    ]
}
