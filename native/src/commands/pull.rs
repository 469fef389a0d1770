//! `woolly pull`

use crate::cli::Pull;
use crate::error::Result;
use crate::output;
use crate::store::Store;

/// Fetches a model and says what it is called.
pub fn run(args: &Pull, offline: bool) -> Result<()> {
    let source = args.source.parse()?;
    let entry = Store::open(offline)?.pull(&source)?;
    output::print(format!("{}\n", entry.name))?;
    output::note(format_args!("{} in {}", output::size(entry.size), entry.paths[0].display()));
    Ok(())
}
