//! The reference implementation: llama.cpp's tools and models in a cache outside the repository.
//!
//! Only `golden`, `accuracy` and `bench` use it. The cache is named by `WOOLLY_REFERENCE`, else
//! `~/.cache/woolly-reference`: `bin/` holds `llama-bench`, `llama-quantize` and `dump_logits` (`dump_logits MODEL OUT.f32 [--greedy N] --tokens "1 2 3"` writes the
//! logits of all positions as little-endian f32 and prints `tokens:`, `greedy:` and `n_vocab:` lines), `models/` the
//! [real models](crate::real_models), `archs/` what `test-llama-archs -o` writes.

use crate::Outcome;
use crate::logits::Logits;
use crate::process::{check, output, program};
use std::path::{Path, PathBuf};

pub struct Reference {
    folder: PathBuf,
}

/// What the reference makes of some tokens.
pub struct Evaluation {
    /// The prompt's tokens.
    pub tokens: Vec<u32>,
    /// The tokens it then chose greedily.
    pub greedy: Vec<u32>,
    /// A row for every position of both.
    pub logits: Logits,
}

/// What to evaluate.
#[derive(Clone, Copy)]
pub enum Prompt<'a> {
    Tokens(&'a [u32]),
    Text(&'a str),
}

impl Reference {
    pub fn open() -> Outcome<Self> {
        let folder = folder()?;
        if !folder.join("bin/dump_logits").exists() {
            return Err(format!("no bin/dump_logits in {} (set WOOLLY_REFERENCE)", folder.display()).into());
        }
        Ok(Self { folder })
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn model(&self, file: &str) -> PathBuf {
        self.folder.join("models").join(file)
    }

    pub fn arch_model(&self, arch: &str) -> PathBuf {
        self.folder.join("archs").join(format!("{arch}-dense.gguf"))
    }

    /// The same weights in f32, converted once.
    pub fn f32_copy(&self, model: &Path) -> Outcome<PathBuf> {
        let copy = model.with_extension("f32.gguf");
        if !copy.exists() {
            let part = model.with_extension("f32.part");
            let tool = self.folder.join("bin/llama-quantize");
            check(program(tool).arg("--allow-requantize").arg(model).arg(&part).arg("F32"))?;
            std::fs::rename(part, &copy)?;
        }
        Ok(copy)
    }

    /// Evaluates a prompt and `greedy` tokens after it, with an f32 KV cache.
    pub fn evaluate(&self, model: &Path, prompt: Prompt, greedy: usize) -> Outcome<Evaluation> {
        let file = std::env::temp_dir().join(format!("woolly-reference-{}.f32", std::process::id()));
        let mut command = program(self.folder.join("bin/dump_logits"));
        command.arg(model).arg(&file).arg("--greedy").arg(greedy.to_string());
        match prompt {
            Prompt::Tokens(tokens) => command.arg("--tokens").arg(join(tokens)),
            Prompt::Text(text) => command.arg("--text").arg(text),
        };
        let printed = output(&mut command)?;
        let vocabulary = numbers(&printed, "n_vocab:")?[0] as usize;
        let logits = Logits::read(&file, vocabulary)?;
        std::fs::remove_file(&file)?;
        let greedy = if greedy == 0 { Vec::new() } else { numbers(&printed, "greedy:")? };
        Ok(Evaluation { tokens: numbers(&printed, "tokens:")?, greedy, logits })
    }
}

/// A program of the reference: the one given, else the one in its folder.
pub fn program_at(given: Option<&Path>, name: &str) -> Outcome<PathBuf> {
    let path = match given {
        Some(path) => path.to_path_buf(),
        None => folder()?.join("bin").join(format!("{name}{}", std::env::consts::EXE_SUFFIX)),
    };
    path.canonicalize().map_err(|error| {
        let build = format!("cmake -B build && cmake --build build --config Release --target {name}");
        let help = format!("build llama.cpp ({build}), then name the program with --peer-bin PATH");
        format!("{}: {error}\n{help}, or a folder that has it in bin/ with WOOLLY_REFERENCE", path.display()).into()
    })
}

/// Where the reference is, if it is anywhere.
fn folder() -> Outcome<PathBuf> {
    match (std::env::var_os("WOOLLY_REFERENCE"), std::env::var_os("HOME")) {
        (Some(folder), _) => Ok(PathBuf::from(folder)),
        (None, Some(home)) => Ok(Path::new(&home).join(".cache/woolly-reference")),
        (None, None) => Err("neither WOOLLY_REFERENCE nor HOME is set".into()),
    }
}

/// Numbers separated by spaces.
pub fn join(tokens: &[u32]) -> String {
    tokens.iter().map(u32::to_string).collect::<Vec<_>>().join(" ")
}

/// The numbers on the line that starts with `label`.
fn numbers(printed: &str, label: &str) -> Outcome<Vec<u32>> {
    let line = printed.lines().find_map(|line| line.strip_prefix(label)).ok_or(format!("no {label} printed"))?;
    let numbers: Vec<u32> = line.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    if numbers.is_empty() { Err(format!("nothing after {label}").into()) } else { Ok(numbers) }
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn a_missing_program_comes_with_what_to_do() {
        let error = program_at(Some(Path::new("no/such/llama-bench")), "llama-bench").unwrap_err().to_string();
        assert!(error.contains("no/such/llama-bench") && error.contains("--target llama-bench"), "{error}");
        assert!(error.contains("--peer-bin") && error.contains("WOOLLY_REFERENCE"), "{error}");
    }
}
