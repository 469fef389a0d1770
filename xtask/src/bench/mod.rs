//! `cargo xtask bench`: how fast `woolly bench` is, alone or side by side with llama.cpp's `llama-bench`.
//!
//! The two run in turn, one repetition each, on the same file with the same settings, so that what else the machine does
//! meets both. A test's result is the ratio of the medians, and its spread that of the ratios within the rounds.
//! llama-bench runs with and without flash attention, and the faster of the two counts.

mod machine;
mod page;
mod plot;
mod report;
mod runs;
mod statistics;

use crate::process::woolly;
use crate::{Outcome, real_models, reference};
use clap::{Parser, ValueEnum};
use machine::Machine;
use runs::{Programs, Settings};
use std::path::{Path, PathBuf};
use std::str::FromStr;

const EXAMPLES: &str = "\
Examples:
  cargo xtask bench
  cargo xtask bench --peer llama.cpp --case ./model.gguf:2 --depth 0,4096
  cargo xtask bench --peer llama.cpp --write docs/speed.md";

/// Measures speed: Woolly's, or Woolly's and a peer's in turn
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench", after_help = EXAMPLES, max_term_width = 110)]
struct Options {
    /// What to compare with
    #[arg(long)]
    peer: Option<Peer>,
    /// The peer's program [default: bin/llama-bench of the reference folder]
    #[arg(long, value_name = "PATH", requires = "peer")]
    peer_bin: Option<PathBuf>,
    /// A model and its number of threads [default: the models that tests use, with one thread and with all]
    #[arg(long = "case", value_name = "[NAME=]FILE:THREADS")]
    cases: Vec<Case>,
    /// Tokens of the prompt
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "512")]
    prompt: Vec<usize>,
    /// Tokens to generate
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "64")]
    r#gen: Vec<usize>,
    /// Tokens in the context before the test
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "0")]
    depth: Vec<usize>,
    /// How often to repeat each test
    #[arg(long, value_name = "N", default_value = "5", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// The type of the keys and values that are kept
    #[arg(long, value_name = "TYPE", default_value = "f16")]
    kv: String,
    /// Write the results as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write a plot of the ratios
    #[arg(long, value_name = "FILE", requires = "peer")]
    svg: Option<PathBuf>,
    /// Replace the results in a page, and the plot that lies beside it
    #[arg(long, value_name = "FILE.md", requires = "peer")]
    write: Option<PathBuf>,
}

/// What Woolly is compared with.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Peer {
    #[value(name = "llama.cpp")]
    LlamaCpp,
}

/// A model to run, and how.
#[derive(Clone, Debug, PartialEq)]
struct Case {
    name: String,
    file: PathBuf,
    threads: usize,
}

impl FromStr for Case {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("expected [NAME=]FILE:THREADS, found {text}");
        let (model, threads) = text.rsplit_once(':').ok_or_else(expected)?;
        let (name, file) = model.split_once('=').unwrap_or(("", model));
        let threads = threads.parse().ok().filter(|threads| *threads > 0).ok_or_else(expected)?;
        let file = PathBuf::from(file);
        let stem = file.file_stem().ok_or_else(expected)?.to_string_lossy().into_owned();
        Ok(Self { name: if name.is_empty() { stem } else { name.to_string() }, file, threads })
    }
}

/// Measures and reports what the arguments ask for.
pub fn run(arguments: &[String]) -> Outcome {
    let options = Options::parse_from(["cargo xtask bench"].into_iter().chain(arguments.iter().map(String::as_str)));
    let page = options.write.as_deref().map(page::open).transpose()?;
    let llama_bench = |Peer::LlamaCpp| reference::program_at(options.peer_bin.as_deref(), "llama-bench");
    let peer = options.peer.map(llama_bench).transpose()?;
    let cases = if options.cases.is_empty() { default_cases()? } else { absolute(&options.cases)? };
    let programs = Programs { woolly: woolly()?, peer };
    let settings = Settings {
        prompt: options.prompt.clone(),
        generate: options.r#gen.clone(),
        kv: options.kv.clone(),
        rounds: options.rounds as usize,
    };
    let mut machine = Machine::default();
    let mut results = Vec::new();
    for case in &cases {
        leave_cache(&case.file);
        for &depth in &options.depth {
            results.extend(runs::measure(&programs, case, &settings, depth, &mut machine)?);
        }
    }
    let table = report::table(&results);
    println!("\n{}\n\n{table}", machine.describe());
    if let Some(path) = &options.json {
        std::fs::write(path, report::json(&results, &machine)?)?;
    }
    if let Some(path) = &options.svg {
        std::fs::write(path, plot::svg(&results))?;
    }
    match page {
        Some(page) => page.write(&results, &machine, &settings, &programs),
        None => Ok(()),
    }
}

/// Lets the system's cache forget a model: where it came there in small pieces, as copies and downloads write them, its pages lie
/// apart, and Woolly, which reads it where it lies, reads it at two thirds of the speed. Mapped anew, it comes in huge pages.
/// What is wrong with the file is for the programs to say.
fn leave_cache(file: &Path) {
    #[cfg(target_os = "linux")]
    if let Ok(file) = std::fs::File::open(file) {
        rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed).ok();
    }
    #[cfg(not(target_os = "linux"))]
    let _ = file;
}

/// The models of the tests, each with one thread and with one for every core.
fn default_cases() -> Outcome<Vec<Case>> {
    let folder = real_models::fetch()?;
    let mut threads = vec![1, num_cpus::get_physical()];
    threads.dedup();
    let of = |model: &real_models::RealModel| {
        let file = folder.join(model.file);
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        threads.iter().map(move |&threads| Case { name: name.clone(), file: file.clone(), threads }).collect::<Vec<_>>()
    };
    Ok(real_models::REAL_MODELS.iter().flat_map(of).collect())
}

/// The same cases with paths that hold in every folder; a file that is missing is an error now, not in the second round.
fn absolute(cases: &[Case]) -> Outcome<Vec<Case>> {
    let found = |case: &Case| {
        let file = case.file.canonicalize().map_err(|error| format!("{}: {error}", case.file.display()))?;
        Ok(Case { file, ..case.clone() })
    };
    cases.iter().map(found).collect()
}

#[cfg(test)]
mod unit {
    use super::*;

    fn parse(words: &str) -> Result<Options, String> {
        let words = ["bench"].into_iter().chain(words.split_whitespace());
        Options::try_parse_from(words).map_err(|error| error.to_string())
    }

    #[test]
    fn cases_have_a_file_and_threads() {
        let case: Case = "C:/models/a.Q4_0.gguf:12".parse().unwrap();
        assert_eq!(case, Case { name: "a.Q4_0".into(), file: "C:/models/a.Q4_0.gguf".into(), threads: 12 });
        assert_eq!("Big one=b.gguf:1".parse::<Case>().unwrap().name, "Big one");
        for bad in ["a.gguf", "a.gguf:0", "a.gguf:two", ":2", "a.gguf:"] {
            assert!(bad.parse::<Case>().unwrap_err().contains(bad), "{bad}");
        }
    }

    #[test]
    fn options() {
        let options = parse("--case a.gguf:1 --case b.gguf:2 --depth 0,8192 --rounds 3").unwrap();
        assert_eq!((options.cases.len(), options.depth, options.rounds), (2, vec![0, 8192], 3));
        assert_eq!((options.prompt, options.r#gen, options.kv.as_str()), (vec![512], vec![64], "f16"));
        assert!(options.peer.is_none());
        assert!(parse("--peer llama.cpp --write docs/speed.md").unwrap().peer.is_some());
        for bad in ["--write docs/speed.md", "--svg a.svg", "--peer-bin x", "--peer other", "--rounds 0", "extra"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_missing_model_is_named() {
        let error = absolute(&["no-such.gguf:1".parse().unwrap()]).unwrap_err().to_string();
        assert!(error.contains("no-such.gguf"), "{error}");
    }
}
