//! `cargo xtask COMMAND`: everything that is done to the workspace rather than by it.
//!
//! Each command is one module with one `run` function. Outside programs are started through [`process`], and what a
//! machine lacks is installed where that is possible without asking, or named with the command that installs it.

mod accuracy;
mod arm;
mod bench;
mod browser;
mod cross;
mod golden;
mod isa;
mod logits;
mod no_std;
mod npm;
mod process;
mod real_models;
mod reference;
mod server;
mod test;
mod tidy;
mod wasm;
mod wasm_levels;
mod web;

use std::process::ExitCode;

/// What a command returns; the error is printed as it is.
type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

struct Command {
    name: &'static str,
    help: &'static str,
    run: Run,
}

enum Run {
    /// A command without arguments.
    Alone(fn() -> Outcome),
    /// A command that reads its own.
    With(fn(&[String]) -> Outcome),
}

const COMMANDS: &[Command] = &[
    Command { name: "test", help: "everything that has to pass before a change is merged", run: Run::Alone(test::run) },
    Command {
        name: "tidy",
        help: "the rules of ARCHITECTURE.md that a compiler does not check",
        run: Run::Alone(tidy::run),
    },
    Command {
        name: "isa",
        help: "the golden and one-answer tests, once per instruction set",
        run: Run::Alone(isa::run),
    },
    Command {
        name: "arm",
        help: "the tests of the instruction sets of 64-bit Arm, emulated",
        run: Run::Alone(arm::run),
    },
    Command { name: "wasm", help: "build the engine for browsers, four times", run: Run::Alone(wasm::run) },
    Command { name: "npm", help: "build the npm package into target/npm", run: Run::With(npm::run) },
    Command { name: "web", help: "serve the demo page, with the models given", run: Run::With(web::run) },
    Command { name: "browser", help: "test the npm package in browsers and in Node", run: Run::With(browser::run) },
    Command { name: "server", help: "test the server with real clients and faults", run: Run::With(server::run) },
    Command { name: "load", help: "measure the server with many clients (--help)", run: Run::With(server::load) },
    Command {
        name: "wasm_levels",
        help: "the tests of the instruction sets of WebAssembly, in Node",
        run: Run::Alone(wasm_levels::run),
    },
    Command {
        name: "no_std",
        help: "build the engine for a target without an operating system",
        run: Run::Alone(no_std::run),
    },
    Command {
        name: "models",
        help: "fetch the real models that tests use, print where they are",
        run: Run::Alone(real_models::run),
    },
    Command {
        name: "golden",
        help: "make tests/fixtures again from the reference implementation",
        run: Run::Alone(golden::run),
    },
    Command {
        name: "accuracy",
        help: "compare with the reference: full KL divergence, all architectures",
        run: Run::Alone(accuracy::run),
    },
    Command { name: "bench", help: "measure speed, alone or beside llama.cpp (--help)", run: Run::With(bench::run) },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((name, arguments)) = arguments.split_first() else { return usage() };
    let Some(command) = COMMANDS.iter().find(|command| command.name == name) else { return usage() };
    let outcome = match command.run {
        Run::Alone(run) if arguments.is_empty() => run(),
        Run::Alone(_) => return usage(),
        Run::With(run) => run(arguments),
    };
    match outcome {
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
        eprintln!("  {:<11} {}", command.name, command.help);
    }
    ExitCode::from(2)
}
