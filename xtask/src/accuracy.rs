//! `cargo xtask accuracy`: Woolly and the reference side by side, on everything the fixtures only sample.
//!
//! For each real model the truth is the reference's answer with the same weights in f32; both implementations are
//! measured by the mean KL divergence from it over the prose of the fixtures. For each architecture the reference's tiny
//! random model is answered by both, and the normalised error of ours is shown.

use crate::Outcome;
use crate::golden::{PROSE, fixtures};
use crate::logits::Logits;
use crate::process::{output, program, woolly};
use crate::real_models::REAL_MODELS;
use crate::reference::{Prompt, Reference, join};
use std::path::{Path, PathBuf};

/// How much worse than the reference's our divergence may be.
const MAX_RATIO: f64 = 1.05;
/// The largest normalised error with f32 weights.
const MAX_ERROR: f64 = 1e-6;
const ARCHITECTURES: [&str; 5] = ["llama", "qwen2", "qwen3", "gemma3", "granite"];

/// Prints the figures; fails if one is over its limit.
pub fn run() -> Outcome {
    let reference = Reference::open()?;
    let woolly = Woolly(woolly()?);
    let mut fine = true;
    println!("{:<24} {:>10} {:>10} {:>10} {:>7}", "mean KL from f32", "reference", "kv f32", "kv f16", "ratio");
    for model in REAL_MODELS {
        fine &= real_model(&reference, &woolly, model.name, &reference.model(model.file))?;
    }
    println!("\n{:<24} {:>10}", "normalised error", "kv f32");
    for arch in ARCHITECTURES {
        fine &= architecture(&reference, &woolly, arch)?;
    }
    if fine { Ok(()) } else { Err("over the limit, see above".into()) }
}

fn real_model(reference: &Reference, woolly: &Woolly, name: &str, model: &Path) -> Outcome<bool> {
    let prose = std::fs::read_to_string(fixtures().join(PROSE))?;
    let truth = reference.evaluate(&reference.f32_copy(model)?, Prompt::Text(&prose), 0)?;
    let divergence = |logits: Logits| truth.logits.mean_divergence(&logits);
    let theirs = divergence(reference.evaluate(model, Prompt::Tokens(&truth.tokens), 0)?.logits);
    let ours = divergence(woolly.logits(model, &truth.tokens, "f32")?);
    let ours_f16 = divergence(woolly.logits(model, &truth.tokens, "f16")?);
    let ratio = ours.max(ours_f16) / theirs;
    println!("{name:<24} {theirs:>10.3e} {ours:>10.3e} {ours_f16:>10.3e} {ratio:>7.3}");
    Ok(ratio <= MAX_RATIO)
}

fn architecture(reference: &Reference, woolly: &Woolly, arch: &str) -> Outcome<bool> {
    let model = reference.arch_model(arch);
    let tokens: Vec<u32> = (0..64).map(|i| (i * 37 + 11) % 128).collect();
    let theirs = reference.evaluate(&model, Prompt::Tokens(&tokens), 0)?.logits;
    let error = theirs.normalised_error(&woolly.logits(&model, &tokens, "f32")?);
    println!("{arch:<24} {error:>10.1e}");
    Ok(error <= MAX_ERROR)
}

/// Woolly's command line.
struct Woolly(PathBuf);

impl Woolly {
    fn logits(&self, model: &Path, tokens: &[u32], kv: &str) -> Outcome<Logits> {
        let file = std::env::temp_dir().join(format!("woolly-accuracy-{}.f32", std::process::id()));
        let mut command = program(&self.0);
        output(command.arg("logits").arg(model).args(["--tokens", &join(tokens), "--kv", kv, "--out"]).arg(&file))?;
        let positions = tokens.len() as u64;
        let bytes = std::fs::metadata(&file)?.len();
        let logits = Logits::read(&file, (bytes / 4 / positions) as usize)?;
        std::fs::remove_file(&file)?;
        Ok(logits)
    }
}
