//! `cargo xtask golden`: makes the recorded answers in `tests/fixtures` again, from the reference implementation.
//!
//! - `tiny/NAME.f32`: logits of the tiny random models that `woolly-tests` defines, at every [`STRIDE`]th position.
//! - `real/NAME.json`: for a real model, the tokens of the prose; at every position the likeliest tokens with their log
//!   probabilities from the same weights in f32 (full logits would be 60 to 300 MB); the divergence of the reference's
//!   own quantized arithmetic from that; and greedy continuations with the margin of each choice.
//! - `tokenizer/NAME.gguf`: parts of real vocabularies with texts and their tokens.

use crate::Outcome;
use crate::logits::{Logits, log_softmax};
use crate::process::{cargo, output, root};
use crate::real_models::REAL_MODELS;
use crate::reference::{Evaluation, Prompt, Reference};
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// The text that real models read.
pub const PROSE: &str = "prose.txt";
/// Tiny models keep one position in so many, the last one included.
const STRIDE: usize = 4;
/// Likeliest tokens kept of a position.
const TOP: usize = 16;
/// Tokens of a greedy continuation.
const GREEDY: usize = 48;
const GREEDY_PROMPTS: [&str; 3] = [
    "The capital of France is",
    "Once upon a time, in a village by the sea, there lived",
    "To make bread you need flour, water, salt and",
];

/// The folder of recorded answers.
pub fn fixtures() -> PathBuf {
    root().join("tests/fixtures")
}

/// Makes all of them.
pub fn run() -> Outcome {
    let reference = Reference::open()?;
    tiny_models(&reference)?;
    for model in REAL_MODELS {
        let json = real_model(&reference, &reference.model(model.file))?;
        write(&fixtures().join("real").join(model.name).with_extension("json"), json.as_bytes())?;
    }
    let mut vocabularies = cargo(&["run", "-q", "-p", "woolly-tests", "--bin", "write_vocabularies", "--"]);
    print!("{}", output(vocabularies.arg(reference.folder()).arg(fixtures().join("tokenizer")))?);
    Ok(())
}

fn tiny_models(reference: &Reference) -> Outcome {
    let folder = root().join("target/golden");
    std::fs::create_dir_all(&folder)?;
    let mut generator = cargo(&["run", "-q", "-p", "woolly-tests", "--bin", "write_tiny_models", "--"]);
    for line in output(generator.arg(&folder))?.lines() {
        let (name, tokens) = line.split_once(": ").ok_or(format!("expected NAME: TOKENS, found {line}"))?;
        let tokens: Vec<u32> = tokens.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        let model = folder.join(format!("{name}.gguf"));
        let logits = reference.evaluate(&model, Prompt::Tokens(&tokens), 0)?.logits;
        let kept = logits.rows().skip(STRIDE - 1).step_by(STRIDE).flatten().flat_map(|x| x.to_le_bytes());
        write(&fixtures().join("tiny").join(format!("{name}.f32")), &kept.collect::<Vec<u8>>())?;
    }
    Ok(())
}

fn real_model(reference: &Reference, model: &Path) -> Outcome<String> {
    let exact = reference.f32_copy(model)?;
    let prose = std::fs::read_to_string(fixtures().join(PROSE))?;
    let truth = reference.evaluate(&exact, Prompt::Text(&prose), 0)?;
    let quantized = reference.evaluate(model, Prompt::Tokens(&truth.tokens), 0)?;
    let mut json = String::from("{\n");
    writeln!(json, "  \"tokens\": {:?},", truth.tokens)?;
    writeln!(json, "  \"mean_kl\": {:.6e},", truth.logits.mean_divergence(&quantized.logits))?;
    writeln!(json, "  \"mean_coarse_kl\": {:.6e},", mean_coarse_divergence(&truth.logits, &quantized.logits))?;
    let rows: Vec<String> = truth.logits.rows().map(|row| format!("    {}", top_json(row))).collect();
    writeln!(json, "  \"top\": [\n{}\n  ],", rows.join(",\n"))?;
    let mut greedy = Vec::new();
    for prompt in GREEDY_PROMPTS {
        greedy.push(greedy_json(&reference.evaluate(model, Prompt::Text(prompt), GREEDY)?));
    }
    writeln!(json, "  \"greedy\": [\n{}\n  ]\n}}", greedy.join(",\n"))?;
    Ok(json)
}

/// The likeliest tokens of a position with the natural logarithms of their probabilities.
fn top(row: &[f32]) -> Vec<(usize, f64)> {
    let mut all: Vec<(usize, f64)> = log_softmax(row).into_iter().enumerate().collect();
    all.select_nth_unstable_by(TOP, |a, b| b.1.total_cmp(&a.1));
    all.truncate(TOP);
    all.sort_by(|a, b| b.1.total_cmp(&a.1));
    all
}

fn top_json(row: &[f32]) -> String {
    let pairs: Vec<String> = top(row).iter().map(|(id, log)| format!("[{id}, {log:.5}]")).collect();
    format!("[{}]", pairs.join(", "))
}

/// The divergence after all but the likeliest tokens are counted as one: what a test can compute from the fixture.
fn mean_coarse_divergence(truth: &Logits, other: &Logits) -> f64 {
    let row = |(p, q): (&[f32], &[f32])| {
        let q = log_softmax(q);
        let (mut sum, mut p_rest, mut q_rest) = (0.0, 1.0, 1.0);
        for (id, log) in top(p) {
            sum += log.exp() * (log - q[id]);
            p_rest -= log.exp();
            q_rest -= q[id].exp();
        }
        sum + p_rest * (p_rest / q_rest).ln()
    };
    truth.rows().zip(other.rows()).map(row).sum::<f64>() / truth.rows().len() as f64
}

fn greedy_json(evaluation: &Evaluation) -> String {
    let first = evaluation.tokens.len() - 1;
    let rows = evaluation.logits.rows().skip(first).take(evaluation.greedy.len());
    let margins: Vec<String> = rows.map(|row| format!("{:.3}", margin(row))).collect();
    let (prompt, ids) = (&evaluation.tokens, &evaluation.greedy);
    format!("    {{ \"prompt\": {prompt:?}, \"ids\": {ids:?},\n      \"margins\": [{}] }}", margins.join(", "))
}

/// How far the best logit is above the second.
fn margin(row: &[f32]) -> f32 {
    let better = |(first, second): (f32, f32), &x: &f32| if x > first { (x, first) } else { (first, second.max(x)) };
    let (first, second) = row.iter().fold((f32::NEG_INFINITY, f32::NEG_INFINITY), better);
    first - second
}

fn write(path: &Path, bytes: &[u8]) -> Outcome {
    std::fs::create_dir_all(path.parent().expect("a file in a folder"))?;
    std::fs::write(path, bytes)?;
    println!("{} ({} bytes)", path.strip_prefix(root())?.display(), bytes.len());
    Ok(())
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn margin_of_ties_and_of_order() {
        assert_eq!(margin(&[1.0, 4.0, 2.5]), 1.5);
        assert_eq!(margin(&[4.0, 1.0, 4.0]), 0.0);
    }

    #[test]
    fn top_is_sorted_and_normalised() {
        let row: Vec<f32> = (0..64).map(|i| ((i * 29) % 64) as f32).collect();
        let top = top(&row);
        assert_eq!(top.len(), TOP);
        assert!(top.windows(2).all(|pair| pair[0].1 > pair[1].1));
        assert_eq!(row[top[0].0], 63.0);
        assert!((top[0].1 - top[1].1 - 1.0).abs() < 1e-6);
    }
}
