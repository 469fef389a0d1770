//! Recorded answers of the reference implementation, from the same weights in f32.

use std::path::Path;
use woolly_engine::transformer::KvType;
use woolly_tests::recipes::{self, PROMPT, STRIDE};
use woolly_tests::run::{Way, levels, logits, model};

/// Squared error divided by the squares of the recorded logits.
fn normalised_error(recorded: &[f32], ours: &[f32]) -> f64 {
    assert_eq!(recorded.len(), ours.len());
    let square = |x: f64| x * x;
    let error: f64 = recorded.iter().zip(ours).map(|(a, b)| square(f64::from(*a) - f64::from(*b))).sum();
    error / recorded.iter().map(|a| square(f64::from(*a))).sum::<f64>()
}

fn recorded(name: &str) -> Vec<f32> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/tiny").join(format!("{name}.f32"));
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

/// The answers are recorded at some positions only.
fn at_recorded_positions(logits: &[f32]) -> Vec<f32> {
    let rows = logits.chunks_exact(logits.len() / PROMPT);
    rows.skip(STRIDE - 1).step_by(STRIDE).flatten().copied().collect()
}

#[test]
fn every_architecture_answers_as_recorded() {
    for recipe in recipes::all() {
        let (model, recorded) = (model(recipe.build()), recorded(&recipe.name));
        for level in levels() {
            let ours = logits(&model, &recipe.tokens(PROMPT), Way { level, ..Way::PLAIN }, KvType::F32);
            let error = normalised_error(&recorded, &at_recorded_positions(&ours));
            assert!(error < 1e-6, "{} at {level}: normalised error {error:.2e}", recipe.name);
        }
    }
}

#[test]
fn an_f16_cache_costs_little() {
    for recipe in recipes::all() {
        let (model, recorded) = (model(recipe.build()), recorded(&recipe.name));
        let ours = logits(&model, &recipe.tokens(PROMPT), Way { level: levels()[0], ..Way::PLAIN }, KvType::F16);
        let error = normalised_error(&recorded, &at_recorded_positions(&ours));
        assert!(error < 1e-5, "{}: normalised error {error:.2e}", recipe.name);
    }
}

#[test]
fn an_ignored_option_would_be_noticed() {
    // What the recorded answers are worth: a model without one of its options is far from its own answer.
    for (name, key) in [
        ("llama-linear", "rope.scaling.factor"),
        ("llama-yarn", "rope.scaling.type"),
        ("llama-yarn", "rope.scaling.original_context_length"),
        ("qwen2", "rope.freq_base"),
        ("gemma3-window", "attention.sliding_window"),
        ("gemma3-window-linear", "rope.freq_base_swa"),
        ("gemma3-window-linear", "rope.scaling.factor"),
        ("gemma3-softcap", "final_logit_softcapping"),
        ("granite", "embedding_scale"),
        ("granite", "residual_scale"),
        ("granite", "attention.scale"),
    ] {
        let mut recipe = recipes::all().into_iter().find(|recipe| recipe.name == name).expect("a recipe");
        recipe.metadata.retain(|(present, _)| *present != key);
        let ours = logits(&model(recipe.build()), &recipe.tokens(PROMPT), Way::PLAIN, KvType::F32);
        let error = normalised_error(&recorded(name), &at_recorded_positions(&ours));
        assert!(error > 1e-4, "{name} without {key}: normalised error {error:.2e}");
    }
}
