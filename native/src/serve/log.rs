//! The server's log: what happens, on stderr.

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use crate::cli::LogFormat;

/// Starts it. `verbose` asks for more, twice for all, that of libraries included.
pub fn start(format: LogFormat, verbose: u8) {
    let colours = anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match format {
        LogFormat::Text => lines.with_ansi(colours).with_target(false).boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    tracing_subscriber::registry().with(lines.with_filter(levels(verbose))).init();
}

fn levels(verbose: u8) -> Targets {
    let own = match verbose {
        0 => LevelFilter::INFO,
        1 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let others = if verbose > 1 { LevelFilter::TRACE } else { LevelFilter::WARN };
    Targets::new().with_default(others).with_target("woolly", own)
}
