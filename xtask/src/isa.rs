//! `cargo xtask isa`: the tests whose answer must not depend on the instruction set, once per set this machine has.
//!
//! Without this, the tests go through all sets themselves; one at a time, it shows which one fails. The tests read the level
//! from `WOOLLY_ISA`; the engine itself reads no environment.

use crate::Outcome;
use crate::process::{beside_tests, cargo_test, check, output, program};
use std::process::Command;

/// Runs the tests at every level, one after the other.
pub fn run() -> Outcome {
    for level in levels(program(beside_tests("bits", "levels")?))? {
        let mut command = cargo_test("bits");
        command.args(["--test", "golden", "--test", "one_answer"]);
        check(command.env("WOOLLY_ISA", level))?;
    }
    Ok(())
}

/// The names of levels that a command prints, slowest level first.
pub fn levels(mut command: Command) -> Outcome<Vec<String>> {
    Ok(output(&mut command)?.lines().map(String::from).collect())
}
