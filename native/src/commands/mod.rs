//! What each command does.

mod bench;
mod chat;
mod completions;
mod inspect;
mod list;
mod logits;
mod perplexity;
mod pull;
mod rm;
mod run;
mod serve;
mod template;
mod tokenize;

use std::process::ExitCode;

use crate::cli::{Cli, Command};
use crate::error::Result;

/// Does what the command line says.
pub fn run(cli: Cli) -> Result<ExitCode> {
    let offline = cli.global.offline;
    let done = match cli.command {
        Command::Run(args) => return run::run(&args, offline),
        Command::Chat(args) => return chat::run(&args, offline),
        Command::Serve(_) => serve::run(),
        Command::Pull(args) => pull::run(&args, offline),
        Command::List(args) => list::run(&args, offline),
        Command::Rm(args) => rm::run(&args),
        Command::Inspect(args) => inspect::run(&args, offline),
        Command::Tokenize(args) => tokenize::run(&args, offline),
        Command::Template(args) => template::run(&args, offline),
        Command::Perplexity(args) => perplexity::run(&args, offline),
        Command::Logits(args) => logits::run(&args, offline),
        Command::Bench(args) => bench::run(&args, offline),
        Command::Completions(args) => completions::run(&args),
    };
    done.map(|()| ExitCode::SUCCESS)
}
