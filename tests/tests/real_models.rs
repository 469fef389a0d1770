//! Real models against recorded answers of the reference implementation.
//!
//! `cargo xtask test` fetches the models and runs these; `WOOLLY_TEST_MODELS` names their folder.

use serde_json::Value;
use std::path::PathBuf;
use std::sync::Arc;
use woolly_engine::model::Model;
use woolly_engine::transformer::KvType;
use woolly_tests::run::{Way, levels, logits, model_file, session};

const REAL_MODELS: [(&str, &str); 2] =
    [("smollm2-135m-q4_1", "SmolLM2-135M-Instruct.Q4_1.gguf"), ("gemma-3-270m-q4_k_m", "gemma-3-270m-q4_k_m.gguf")];
/// How much worse than the reference's own our divergence from f32 may be. Two equally exact ways of rounding differ by
/// 5% (one standard error) over so few tokens; `cargo xtask accuracy` shows more than the fixtures hold.
const MAX_RATIO: f64 = 1.15;
/// Where the reference's best logit is so little above its second, either is right: rounding moves the difference of two
/// logits by 0.15 (standard deviation; a divergence of d is an error of √2d in each).
const NEAR_TIE: f64 = 0.3;

struct Case {
    name: &'static str,
    model: Arc<Model>,
    recorded: Value,
}

fn cases() -> impl Iterator<Item = Case> {
    let folder = PathBuf::from(std::env::var_os("WOOLLY_TEST_MODELS").expect("WOOLLY_TEST_MODELS names a folder"));
    REAL_MODELS.into_iter().map(move |(name, file)| {
        let fixture = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/real").join(format!("{name}.json"));
        let text = std::fs::read(&fixture).unwrap_or_else(|error| panic!("{}: {error}", fixture.display()));
        let recorded = serde_json::from_slice(&text).expect("the fixture is JSON");
        Case { name, model: model_file(&folder.join(file)), recorded }
    })
}

fn ids(value: &Value) -> Vec<u32> {
    let ids = value.as_array().expect("an array of ids");
    ids.iter().map(|id| id.as_u64().expect("an id") as u32).collect()
}

/// The fastest way that is tested.
fn best() -> Way {
    Way { level: *levels().last().expect("at least one"), threads: 2, chunk: 128 }
}

fn log_softmax(row: &[f32]) -> Vec<f64> {
    let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = row.iter().map(|x| f64::from(x - max).exp()).sum();
    row.iter().map(|x| f64::from(x - max) - sum.ln()).collect()
}

/// KL divergence from recorded `[token, log probability]` pairs, all other tokens counted as one.
fn coarse_divergence(pairs: &Value, row: &[f32]) -> f64 {
    let ours = log_softmax(row);
    let (mut sum, mut rest, mut our_rest) = (0.0, 1.0, 1.0);
    for pair in pairs.as_array().expect("pairs") {
        let (id, log) = (pair[0].as_u64().expect("an id") as usize, pair[1].as_f64().expect("a logarithm"));
        sum += log.exp() * (log - ours[id]);
        rest -= log.exp();
        our_rest -= ours[id].exp();
    }
    sum + rest * (rest / our_rest).ln()
}

#[test]
#[ignore = "needs the real models: cargo xtask test"]
fn quantized_arithmetic_is_as_exact_as_the_reference() {
    for case in cases() {
        let tokens = ids(&case.recorded["tokens"]);
        let top = case.recorded["top"].as_array().expect("rows");
        assert_eq!(top.len(), tokens.len());
        let mut session = session(&case.model, best(), KvType::F16, tokens.len());
        let mut sum = 0.0;
        let mut add = |position: usize, logits: &[f32]| sum += coarse_divergence(&top[position], logits);
        session.feed_each(&tokens, &mut add).expect("fits");
        let ours = sum / tokens.len() as f64;
        let theirs = case.recorded["mean_coarse_kl"].as_f64().expect("a number");
        assert!(ours > 0.0 && ours <= MAX_RATIO * theirs, "{}: {ours:.4e}, the reference has {theirs:.4e}", case.name);
    }
}

#[test]
#[ignore = "needs the real models: cargo xtask test"]
fn greedy_continuations_agree_until_a_near_tie() {
    for case in cases() {
        for greedy in case.recorded["greedy"].as_array().expect("continuations") {
            let (prompt, expected) = (ids(&greedy["prompt"]), ids(&greedy["ids"]));
            let mut session = session(&case.model, best(), KvType::F16, prompt.len() + expected.len());
            session.feed(&prompt).expect("fits");
            for (at, id) in expected.into_iter().enumerate() {
                let best = (0u32..).zip(session.logits()).max_by(|a, b| a.1.total_cmp(b.1)).expect("a vocabulary").0;
                if best != id {
                    let margin = greedy["margins"][at].as_f64().expect("a margin");
                    assert!(margin < NEAR_TIE, "{} token {at}: {best}, recorded {id} by {margin}", case.name);
                    break;
                }
                session.feed(&[id]).expect("fits");
            }
        }
    }
}

#[test]
#[ignore = "needs the real models: cargo xtask test"]
fn one_answer() {
    for case in cases() {
        let tokens = &ids(&case.recorded["tokens"])[..24];
        let plain = logits(&case.model, tokens, Way::PLAIN, KvType::F16);
        for level in levels() {
            for (threads, chunk) in [(1, 1), (2, 7), (2, usize::MAX)] {
                let way = Way { level, threads, chunk };
                let found = logits(&case.model, tokens, way, KvType::F16);
                let same = plain.iter().zip(&found).all(|(a, b)| a.to_bits() == b.to_bits());
                assert!(same && plain.len() == found.len(), "{} {way:?}", case.name);
            }
        }
    }
}

#[test]
#[ignore = "needs the real models: cargo xtask test"]
fn the_prose_tokenizes_as_recorded() {
    let prose = std::fs::read(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/prose.txt")).expect("the prose");
    for case in cases() {
        let found = case.model.tokenizer().encode(&prose, true, true);
        assert_eq!(found, ids(&case.recorded["tokens"]), "{}", case.name);
    }
}
