//! `woolly list`

use std::time::UNIX_EPOCH;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::cli::List;
use crate::error::Result;
use crate::output;
use crate::store::{Entry, Store};
use crate::table::Table;

/// Lists the models in the cache.
pub fn run(args: &List, offline: bool) -> Result<()> {
    let entries = Store::open(offline)?.list()?;
    if args.json {
        return output::print_json(&entries.iter().map(describe).collect::<Vec<_>>());
    }
    if entries.is_empty() {
        output::note("no models here yet; `woolly pull` fetches one");
        return Ok(());
    }
    let mut table = Table::new(&["name", "size", "fetched", "source"]).right(&[1]);
    for entry in &entries {
        let state = if entry.is_complete() { date(entry) } else { "incomplete".into() };
        table.row([entry.name.clone(), output::size(entry.size), state, entry.source.clone()]);
    }
    output::print(table.plain())
}

fn describe(entry: &Entry) -> Value {
    let seconds = entry.modified.duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    json!({
        "name": entry.name,
        "source": entry.source,
        "size": entry.size,
        "complete": entry.is_complete(),
        "modified": seconds,
        "paths": entry.paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>(),
    })
}

/// The day, as people write it in a file listing.
fn date(entry: &Entry) -> String {
    let day = Timestamp::try_from(entry.modified).map(|time| time.strftime("%Y-%m-%d").to_string());
    day.unwrap_or_else(|_| "?".into())
}
