//! `woolly bench`: how fast prompts are read and tokens generated.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use woolly_engine::session::{Options, Session};
use woolly_engine::simd::Level;

use crate::cli::Bench;
use crate::error::{Error, Kind, Result};
use crate::interrupt::Interrupt;
use crate::load::{self, Loaded};
use crate::output;
use crate::pool::Threads;
use crate::table::Table;

/// Measures every combination that the command line asks for.
pub fn run(args: &Bench, offline: bool) -> Result<()> {
    let tests = tests(args)?;
    let loaded = load::load(Some(&args.model), offline)?;
    let interrupt = Interrupt::install()?;
    let mut results = Vec::new();
    for setup in setups(args) {
        let mut session = start(&loaded, args, &tests, setup)?;
        for test in &tests {
            output::note(format_args!("{} on {} threads, {}", test.name(), setup.threads, setup.level));
            results.push(Outcome {
                test: *test,
                setup,
                speeds: measure(&mut session, test, args.repeats, &interrupt)?,
            });
        }
    }
    report(args, &loaded, &results)
}

/// What one session runs on.
#[derive(Clone, Copy)]
struct Setup {
    threads: usize,
    level: Level,
}

/// One row of the table.
#[derive(Clone, Copy)]
struct Test {
    kind: Kinds,
    tokens: usize,
    depth: usize,
}

#[derive(Clone, Copy)]
enum Kinds {
    Prompt,
    Generate,
}

struct Outcome {
    test: Test,
    setup: Setup,
    /// Tokens per second of each repetition.
    speeds: Vec<f64>,
}

fn tests(args: &Bench) -> Result<Vec<Test>> {
    let mut tests = Vec::new();
    for &depth in &args.depth {
        for (kind, lengths) in [(Kinds::Prompt, &args.prompt), (Kinds::Generate, &args.generate)] {
            let lengths = lengths.iter().filter(|tokens| **tokens > 0);
            tests.extend(lengths.map(|&tokens| Test { kind, tokens, depth }));
        }
    }
    if tests.is_empty() { Err(Error::usage("nothing to measure: -p and -n are both 0")) } else { Ok(tests) }
}

fn setups(args: &Bench) -> Vec<Setup> {
    let threads = if args.threads.is_empty() { vec![Threads::default_count()] } else { args.threads.clone() };
    let levels = if args.isa.is_empty() { vec![Level::best()] } else { args.isa.clone() };
    let pairs = threads.iter().flat_map(|&threads| levels.iter().map(move |&level| Setup { threads, level }));
    pairs.collect()
}

fn start(loaded: &Loaded, args: &Bench, tests: &[Test], setup: Setup) -> Result<Session> {
    let context = tests.iter().map(|test| test.depth + test.tokens).max().unwrap_or(1);
    loaded.session_with(setup.threads, &Options { context, kv: args.kv, level: setup.level, ..Options::default() })
}

/// Runs a test once to warm up and then as often as asked; tokens per second of each.
fn measure(session: &mut Session, test: &Test, repeats: usize, interrupt: &Interrupt) -> Result<Vec<f64>> {
    let vocabulary = session.model().tokenizer().vocab_len();
    session.rewind(0);
    feed(session, &tokens(test.depth, vocabulary))?;
    let tokens = tokens(test.tokens, vocabulary);
    let mut speeds = Vec::with_capacity(repeats);
    for repetition in 0..=repeats {
        if interrupt.asked() {
            return Err(Error::new(Kind::Interrupted, format!("stopped in {}", test.name())));
        }
        session.rewind(test.depth);
        let time = time(session, test.kind, &tokens)?;
        if repetition > 0 {
            speeds.push(tokens.len() as f64 / time.as_secs_f64().max(1e-9));
        }
    }
    Ok(speeds)
}

fn time(session: &mut Session, kind: Kinds, tokens: &[u32]) -> Result<Duration> {
    let start = Instant::now();
    match kind {
        Kinds::Prompt => feed(session, tokens)?,
        Kinds::Generate => tokens.chunks(1).try_for_each(|token| feed(session, token))?,
    }
    Ok(start.elapsed())
}

fn feed(session: &mut Session, tokens: &[u32]) -> Result<()> {
    if tokens.is_empty() {
        return Ok(());
    }
    session.feed(tokens).map_err(|cause| Error::other("cannot compute the tokens").because(cause))
}

/// Tokens without meaning, the same on every run: speed does not depend on them.
fn tokens(count: usize, vocabulary: usize) -> Vec<u32> {
    (0..count as u64).map(|i| ((i * 2_654_435_761 + 12_345) % vocabulary as u64) as u32).collect()
}

impl Test {
    fn name(&self) -> String {
        let kind = match self.kind {
            Kinds::Prompt => "pp",
            Kinds::Generate => "tg",
        };
        format!("{kind}{}", self.tokens)
    }

    /// As llama-bench writes it.
    fn label(&self) -> String {
        if self.depth == 0 { self.name() } else { format!("{} @ d{}", self.name(), self.depth) }
    }
}

fn report(args: &Bench, loaded: &Loaded, results: &[Outcome]) -> Result<()> {
    if args.json {
        return output::print_json(&results.iter().map(|result| describe(loaded, result)).collect::<Vec<_>>());
    }
    let mut table = Table::new(&["model", "size", "params", "threads", "isa", "test", "t/s"]).right(&[1, 2, 3, 5, 6]);
    let gguf = loaded.model.gguf();
    let parameters: u64 = gguf.tensors().map(|tensor| tensor.elements()).sum();
    for Outcome { test, setup, speeds } in results {
        table.row([
            loaded.title(),
            output::size(gguf.size()),
            format!("{:.2} M", parameters as f64 / 1e6),
            setup.threads.to_string(),
            setup.level.to_string(),
            test.label(),
            format!("{:.2} ± {:.2}", median(speeds), deviation(speeds)),
        ]);
    }
    output::print(table.markdown())
}

fn describe(loaded: &Loaded, Outcome { test, setup, speeds }: &Outcome) -> Value {
    json!({
        "model": loaded.title(),
        "test": test.name(),
        "depth": test.depth,
        "threads": setup.threads,
        "isa": setup.level.to_string(),
        "median_tps": median(speeds),
        "stddev_tps": deviation(speeds),
        "tps": speeds,
    })
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 }
}

/// The standard deviation, as of a sample.
fn deviation(values: &[f64]) -> f64 {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (squares / (count - 1.0).max(1.0)).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_and_deviation() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(deviation(&[7.0]), 0.0);
        assert!((deviation(&[1.0, 2.0, 3.0]) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn tokens_are_in_the_vocabulary() {
        assert!(tokens(1000, 7).iter().all(|token| *token < 7));
    }
}
