//! `woolly rm`

use crate::cli::Rm;
use crate::error::Result;
use crate::output;
use crate::store::Store;

/// Removes a model from the cache.
pub fn run(args: &Rm) -> Result<()> {
    let entry = Store::open(true)?.remove(&args.name)?;
    output::note(format_args!("removed {} ({})", entry.name, output::size(entry.size)));
    Ok(())
}
