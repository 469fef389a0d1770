//! The command line: `woolly run`, `chat`, `pull`, `serve` and the tools.
//!
//! ```text
//! cli -> commands -> load -> store, files        (a name becomes a session)
//!                 -> generate                    (a session becomes text)
//!                 -> output                      (text becomes bytes on stdout)
//!                 -> serve                       (requests become answers)
//! ```

#[cfg(all(target_os = "linux", not(test)))]
mod allocator;
#[cfg(target_os = "linux")]
mod bus;
mod cli;
mod commands;
mod conversation;
mod cores;
mod error;
mod files;
mod generate;
mod grammar;
mod interrupt;
mod load;
mod memory;
mod output;
mod pool;
mod sampling;
mod serve;
mod store;
mod table;
mod time;
#[cfg(target_os = "linux")]
mod turns;

use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::filter::LevelFilter;

#[cfg(all(target_os = "linux", not(test)))]
#[global_allocator]
static ALLOCATOR: allocator::HugePages = allocator::HugePages;

#[cfg(test)]
#[global_allocator]
static ALLOCATOR: woolly_tests::counting_allocator::CountingAllocator =
    woolly_tests::counting_allocator::CountingAllocator::new();

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    // The server starts its own, by its own options.
    if !matches!(cli.command, cli::Command::Serve(_)) {
        start_log(cli.global.verbose);
    }
    match commands::run(cli) {
        Ok(code) => code,
        Err(error) if output::reader_left(&error) => ExitCode::SUCCESS,
        Err(error) => {
            output::error(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

/// The log goes to stderr, and says nothing unless asked.
fn start_log(verbose: u8) {
    let level = match verbose {
        0 => LevelFilter::WARN,
        1 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let colours = anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never;
    let log = tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).with_ansi(colours);
    if verbose < 2 { log.without_time().with_target(false).init() } else { log.init() }
}
