//! `cargo xtask isa`: the tests whose answer must not depend on the instruction set, once per set this machine has.
//!
//! The tests read the level from `WOOLLY_ISA`; the engine itself reads no environment.

use crate::Outcome;
use crate::process::{cargo, check};
use std::process::Command;

/// Runs the tests at every level.
pub fn run() -> Outcome {
    for level in levels() {
        println!("-- {level}");
        check(&mut tests(level))?;
    }
    Ok(())
}

/// The names of the levels that this machine can run, slowest first.
pub fn levels() -> Vec<&'static str> {
    let mut levels = vec!["scalar"];
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("f16c") {
        levels.push("avx2");
    }
    levels
}

/// The `cargo test` command for one level.
pub fn tests(level: &str) -> Command {
    let mut command = cargo(&["test", "-p", "woolly-tests", "--test", "golden", "--test", "one_answer"]);
    command.env("WOOLLY_ISA", level);
    command
}
