//! `cargo xtask COMMAND`: everything that is done to the workspace rather than by it.
//!
//! Each command is one module with one `run` function. Outside programs are started through [`process`], and what a
//! machine lacks is installed where that is possible without asking, or named with the command that installs it.

mod accuracy;
mod golden;
mod isa;
mod logits;
mod no_std;
mod process;
mod real_models;
mod reference;
mod test;
mod tidy;

use std::process::ExitCode;

/// What a command returns; the error is printed as it is.
type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

struct Command {
    name: &'static str,
    help: &'static str,
    run: fn() -> Outcome,
}

const COMMANDS: &[Command] = &[
    Command { name: "test", help: "everything that has to pass before a change is merged", run: test::run },
    Command { name: "tidy", help: "the rules of ARCHITECTURE.md that a compiler does not check", run: tidy::run },
    Command { name: "isa", help: "the golden and one-answer tests, once per instruction set", run: isa::run },
    Command { name: "no_std", help: "build the engine for a target without an operating system", run: no_std::run },
    Command {
        name: "models",
        help: "fetch the real models that tests use, print where they are",
        run: real_models::run,
    },
    Command { name: "golden", help: "make tests/fixtures again from the reference implementation", run: golden::run },
    Command {
        name: "accuracy",
        help: "compare with the reference: full KL divergence, all architectures",
        run: accuracy::run,
    },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name] = arguments.as_slice() else { return usage() };
    let Some(command) = COMMANDS.iter().find(|command| command.name == name) else { return usage() };
    match (command.run)() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask {name}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn usage() -> ExitCode {
    eprintln!("usage: cargo xtask COMMAND\n");
    for command in COMMANDS {
        eprintln!("  {:<9} {}", command.name, command.help);
    }
    ExitCode::from(2)
}
