//! `woolly completions`

use clap::CommandFactory;

use crate::cli::{Cli, Completions};
use crate::error::Result;
use crate::output;

/// Prints a shell's completion script.
pub fn run(args: &Completions) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "woolly", &mut script);
    output::print(script)
}
