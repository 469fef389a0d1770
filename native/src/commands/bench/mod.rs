//! `woolly bench`: how fast prompts are read and tokens generated, and how fast they could be.

mod peaks;
mod report;
mod statistics;

use std::time::{Duration, Instant};

use woolly_engine::session::{KvType, Options, Session};
use woolly_engine::simd::Level;

use crate::cli::Bench;
use crate::cores::default_threads;
use crate::error::{Error, Kind, Result};
use crate::interrupt::Interrupt;
use crate::load::{self, Loaded};
use crate::output;
use peaks::Peak;
use report::Report;

/// Measures every combination that the command line asks for.
pub fn run(args: &Bench, offline: bool) -> Result<()> {
    let tests = tests(args)?;
    let loaded = args.model.as_ref().map(|model| load::load(Some(model), offline)).transpose()?;
    let interrupt = Interrupt::install()?;
    let peaks = if args.peaks { measure_peaks(args, &interrupt)? } else { Vec::new() };
    let Some(loaded) = loaded else { return report::print_peaks(&peaks, args.format()) };
    let mut results = Vec::new();
    for setup in setups(args) {
        let mut bench = Running { session: start(&loaded, &tests, setup)?, filled: 0, args, interrupt: &interrupt };
        for &test in &tests {
            output::note(format_args!("{} on {} threads, {}", test.label(), setup.threads, setup.level));
            results.push(Outcome { test, setup, times: bench.measure(test)? });
        }
    }
    Report { loaded: &loaded, results: &results, peaks: &peaks }.print(args.format())
}

/// What one session runs on.
#[derive(Clone, Copy)]
struct Setup {
    threads: usize,
    level: Level,
    kv: KvType,
    batch: usize,
}

/// What is fed to it.
#[derive(Clone, Copy)]
struct Test {
    kind: Kinds,
    tokens: usize,
    depth: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum Kinds {
    Prompt,
    Generate,
}

struct Outcome {
    test: Test,
    setup: Setup,
    /// The time that each repetition took.
    times: Vec<Duration>,
}

impl Outcome {
    /// Tokens per second of each repetition.
    fn speeds(&self) -> Vec<f64> {
        self.times.iter().map(|time| self.test.tokens as f64 / time.as_secs_f64().max(1e-9)).collect()
    }
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
    let levels = given_or(&args.isa, Level::best());
    let batches = given_or(&args.batch, Options::default().batch);
    let mut setups = Vec::new();
    for threads in threads(args) {
        for &level in &levels {
            for &kv in &args.kv {
                setups.extend(batches.iter().map(|&batch| Setup { threads, level, kv, batch }));
            }
        }
    }
    setups
}

fn threads(args: &Bench) -> Vec<usize> {
    given_or(&args.threads, default_threads())
}

fn given_or<T: Clone>(given: &[T], default: T) -> Vec<T> {
    if given.is_empty() { vec![default] } else { given.to_vec() }
}

/// The peaks of everything that is measured; without a model, of everything that there is.
fn measure_peaks(args: &Bench, interrupt: &Interrupt) -> Result<Vec<Peak>> {
    let levels = match (&args.isa[..], &args.model) {
        ([], None) => Level::available(),
        (given, _) => given_or(given, Level::best()),
    };
    peaks::measure(&threads(args), &levels, interrupt)
}

fn start(loaded: &Loaded, tests: &[Test], setup: Setup) -> Result<Session> {
    let context = tests.iter().map(|test| test.depth + test.tokens).max().unwrap_or(1);
    let Setup { threads, level, kv, batch } = setup;
    loaded.session_with(threads, &Options { context, kv, level, batch, ..Options::default() })
}

/// A session with tests to be run in it.
struct Running<'a> {
    session: Session,
    /// How many tokens of its context are those that tests come after.
    filled: usize,
    args: &'a Bench,
    interrupt: &'a Interrupt,
}

impl Running<'_> {
    /// Runs a test as often as asked; the time of each run.
    fn measure(&mut self, test: Test) -> Result<Vec<Duration>> {
        let vocabulary = self.session.model().tokenizer().vocab_len();
        self.fill(&tokens(test.depth, vocabulary))?;
        let tokens = tokens(test.tokens, vocabulary);
        if !self.args.no_warmup {
            let warm_up = if test.kind == Kinds::Prompt { tokens.len() } else { 1 };
            self.time(test, &tokens[..warm_up])?;
        }
        (0..self.args.repeats).map(|_| self.time(test, &tokens)).collect()
    }

    /// Makes `tokens` the context, of which the tests before may have filled a part.
    fn fill(&mut self, tokens: &[u32]) -> Result<()> {
        let kept = self.session.rewind(self.filled.min(tokens.len()));
        feed(&mut self.session, &tokens[kept..])?;
        self.filled = tokens.len();
        Ok(())
    }

    /// Feeds tokens to the context as it was filled.
    fn time(&mut self, test: Test, tokens: &[u32]) -> Result<Duration> {
        if self.interrupt.asked() {
            return Err(Error::new(Kind::Interrupted, format!("stopped in {}", test.label())));
        }
        let vocabulary = self.session.model().tokenizer().vocab_len();
        self.fill(&self::tokens(test.depth, vocabulary))?;
        let start = Instant::now();
        match test.kind {
            Kinds::Prompt => feed(&mut self.session, tokens)?,
            Kinds::Generate => tokens.chunks(1).try_for_each(|token| feed(&mut self.session, token))?,
        }
        Ok(start.elapsed())
    }
}

fn feed(session: &mut Session, tokens: &[u32]) -> Result<()> {
    session.feed(tokens).map_err(|cause| Error::other("cannot compute the tokens").because(cause))
}

/// Tokens without meaning, the same on every run: speed does not depend on them.
fn tokens(count: usize, vocabulary: usize) -> Vec<u32> {
    (0..count as u64).map(|i| ((i * 2_654_435_761 + 12_345) % vocabulary as u64) as u32).collect()
}

impl Test {
    /// As llama-bench writes it.
    fn label(&self) -> String {
        let kind = if self.kind == Kinds::Prompt { "pp" } else { "tg" };
        let depth = if self.depth == 0 { String::new() } else { format!(" @ d{}", self.depth) };
        format!("{kind}{}{depth}", self.tokens)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        bench: Bench,
    }

    fn parse(words: &str) -> Bench {
        Line::try_parse_from(["bench"].into_iter().chain(words.split_whitespace())).unwrap().bench
    }

    #[test]
    fn tokens_are_in_the_vocabulary() {
        assert!(tokens(1000, 7).iter().all(|token| *token < 7));
        assert_eq!(tokens(1000, 7)[..10], tokens(10, 7));
    }

    #[test]
    fn every_combination_once() {
        let args = parse("m.gguf -t 1,3 --kv f16,f32 -b 32,64 --isa scalar -p 8,0 -n 2 -d 0,5");
        let setups = setups(&args);
        assert_eq!(setups.len(), 2 * 2 * 2);
        let of = |setup: &Setup| (setup.threads, setup.level, setup.kv.name(), setup.batch);
        assert_eq!(of(&setups[0]), (1, Level::Scalar, "f16", 32));
        assert_eq!(of(&setups[7]), (3, Level::Scalar, "f32", 64));
        let labels: Vec<String> = tests(&args).unwrap().iter().map(Test::label).collect();
        assert_eq!(labels, ["pp8", "tg2", "pp8 @ d5", "tg2 @ d5"]);
        assert!(tests(&parse("m.gguf -p 0 -n 0")).is_err());
    }

    #[test]
    fn defaults_are_those_of_every_command() {
        let setup = setups(&parse("m.gguf"))[0];
        let Options { kv, batch, level, .. } = Options::default();
        assert_eq!((setup.kv, setup.batch, setup.level, setup.threads), (kv, batch, level, default_threads()));
    }
}
