//! `woolly serve`

use std::ffi::OsString;

use crate::error::Result;
use crate::serve::{self, config};

/// Serves models until it is told to stop.
pub fn run() -> Result<()> {
    // All layers of options are looked at together, so the command line is read once more.
    let line: Vec<OsString> = std::env::args_os().collect();
    let (global, args) = config::settle(&line, |name| std::env::var_os(name))?;
    serve::log::start(args.network.log_format, global.verbose);
    serve::run(args, &global)
}
