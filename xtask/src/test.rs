//! `cargo xtask test`: every check there is, on a machine that has nothing but Rust and Git.
//!
//! A stage that fails does not stop the ones after it, so one run shows everything that is wrong.

use crate::process::{cargo, check, tee};
use crate::{Outcome, arm, browser, no_std, npm, real_models, server, tidy, wasm_levels};
use std::process::Command;
use std::time::Instant;

/// How many checks of a stage passed and failed: its tests, or the stage itself where it has none.
#[derive(Debug, Default, PartialEq, Eq)]
struct Count {
    passed: usize,
    failed: usize,
    /// What those that failed printed last.
    said: Vec<String>,
}

/// Lines of a failure that the end of a run shows again.
const SAID: usize = 60;

struct Stage {
    name: &'static str,
    run: fn() -> Outcome<Count>,
}

const STAGES: &[Stage] = &[
    Stage { name: "format", run: || whole(check(&mut cargo(&["fmt", "--all", "--check"]))) },
    Stage { name: "tidy", run: || whole(tidy::run()) },
    Stage { name: "clippy", run: || whole(clippy()) },
    Stage { name: "tests", run: || tests(&mut cargo(&["test", "--workspace", "--no-fail-fast"])) },
    Stage { name: "64-bit Arm", run: || all(arm::tests()?) },
    Stage { name: "WebAssembly", run: || all(wasm_levels::tests()?) },
    Stage { name: "real models", run: model_tests },
    Stage { name: "npm package", run: || whole(npm::test()) },
    Stage { name: "browsers", run: || tests(&mut browser::suite()?) },
    Stage { name: "server", run: || tests(&mut server::suite()?) },
    Stage { name: "documentation", run: || whole(documentation()) },
    Stage { name: "no_std", run: || whole(no_std::run()) },
];

/// Runs all stages; what failed is shown once more at the end, and the last line says how many checks passed and failed.
pub fn run() -> Outcome {
    let mut total = Count::default();
    let mut report = String::new();
    for stage in STAGES {
        println!("\n== {} ==", stage.name);
        let start = Instant::now();
        let count = (stage.run)().unwrap_or_else(|error| {
            eprintln!("{}: {error}", stage.name);
            Count { failed: 1, said: vec![format!("{}: {error}", stage.name)], ..Count::default() }
        });
        let verdict = if count.failed == 0 { "ok" } else { "FAILED" };
        report += &format!("{:<24} {verdict:<7} {:>6.1} s\n", stage.name, start.elapsed().as_secs_f64());
        total.add(count);
    }
    total.said.iter().for_each(|line| println!("{line}"));
    println!("\n{report}\n{} passed, {} failed", total.passed, total.failed);
    if total.failed == 0 { Ok(()) } else { Err("something failed, see above".into()) }
}

fn clippy() -> Outcome {
    check(&mut cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))
}

/// With private items, since modules explain themselves by naming them.
fn documentation() -> Outcome {
    let flags = "-D warnings -A rustdoc::private-intra-doc-links";
    check(cargo(&["doc", "--workspace", "--no-deps", "--document-private-items"]).env("RUSTDOCFLAGS", flags))
}

/// Runs some commands, all of them even where one fails.
fn all(commands: Vec<Command>) -> Outcome<Count> {
    let mut sum = Count::default();
    for mut command in commands {
        println!("-- {command:?}");
        sum.add(tests(&mut command)?);
    }
    Ok(sum)
}

fn model_tests() -> Outcome<Count> {
    tests(&mut real_models::tests(&real_models::fetch()?))
}

fn whole(outcome: Outcome) -> Outcome<Count> {
    outcome.map(|()| Count { passed: 1, ..Count::default() })
}

/// Runs a `cargo test` command, or one of the suites, and adds up the result lines.
fn tests(command: &mut Command) -> Outcome<Count> {
    let (success, mut lines) = tee(command)?;
    let mut count = Count::default();
    lines.iter().filter_map(|line| result_line(line)).for_each(|one| count.add(one));
    // A test binary that did not build, or died, has no result line of its own.
    if !success && count.failed == 0 {
        count.failed = 1;
    }
    if count.failed > 0 {
        count.said = lines.split_off(lines.len().saturating_sub(SAID));
        count.said.insert(0, format!("\n-- {command:?}"));
    }
    Ok(count)
}

impl Count {
    fn add(&mut self, other: Count) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.said.extend(other.said);
    }
}

/// Reads "test result: ok. 5 passed; 0 failed; …", or what the other suites end with: "5 passed, 0 failed".
fn result_line(line: &str) -> Option<Count> {
    let Some(line) = line.strip_prefix("test result: ") else {
        let (passed, failed) = line.strip_suffix(" failed")?.split_once(" passed, ")?;
        return Some(Count { passed: passed.parse().ok()?, failed: failed.parse().ok()?, said: Vec::new() });
    };
    let number_before = |word: &str| line[..line.find(word)?].split_whitespace().last()?.parse().ok();
    Some(Count { passed: number_before(" passed")?, failed: number_before(" failed")?, said: Vec::new() })
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn result_lines_are_counted_and_others_are_not() {
        let line = "test result: FAILED. 12 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s";
        let count = |passed, failed| Some(Count { passed, failed, said: Vec::new() });
        assert_eq!(result_line(line), count(12, 3));
        assert_eq!(result_line("test session::tests::rewind ... ok"), None);
        assert_eq!(result_line("12 passed; 3 failed"), None);
        assert_eq!(result_line("124 passed, 1 failed"), count(124, 1));
        assert_eq!(result_line("of them 124 passed, 1 failed"), None);
    }
}
