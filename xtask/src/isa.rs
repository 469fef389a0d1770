//! `cargo xtask isa`: the tests whose answer must not depend on the instruction set, once per set this machine has.
//!
//! The tests read the level from `WOOLLY_ISA`; the engine itself reads no environment.

use crate::Outcome;
use crate::process::{cargo, check, output};
use std::process::Command;

/// Runs the tests at every level.
pub fn run() -> Outcome {
    for mut command in tests()? {
        check(&mut command)?;
    }
    Ok(())
}

/// The `cargo test` commands, one per level.
pub fn tests() -> Outcome<Vec<Command>> {
    let mut commands = Vec::new();
    for level in levels(cargo(&LEVELS))? {
        let mut command = cargo(&["test", "-p", "woolly-tests"]);
        command.args(["--test", "golden", "--test", "bits", "--test", "one_answer"]);
        command.env("WOOLLY_ISA", level);
        commands.push(command);
    }
    Ok(commands)
}

/// What to give cargo to have it print the levels of the machine that it runs programs on. With the tests' profile,
/// nothing is built that they do not need as well.
pub const LEVELS: [&str; 7] = ["run", "--quiet", "--profile=test", "-p", "woolly-tests", "--bin", "levels"];

/// The names that such a command prints, slowest level first.
pub fn levels(mut command: Command) -> Outcome<Vec<String>> {
    Ok(output(&mut command)?.lines().map(String::from).collect())
}
