//! `woolly logits`

use std::io::{self, Write};

use woolly_engine::session::Session;

use crate::cli::Logits;
use crate::error::{Error, Result};
use crate::{load, output};

/// Writes the logits of every position to a file.
pub fn run(args: &Logits, offline: bool) -> Result<()> {
    let tokens = &args.tokens.0;
    let loaded = load::load(Some(&args.model), offline)?;
    check_ids(tokens, loaded.model.tokenizer().vocab_len())?;
    let mut session = loaded.session(&args.compute, Some(tokens.len()))?;
    let chunk = args.chunk.unwrap_or(tokens.len());
    output::write_file(&args.out, |file| tokens.chunks(chunk).try_for_each(|piece| feed(&mut session, piece, file)))
}

fn check_ids(tokens: &[u32], vocabulary: usize) -> Result<()> {
    match tokens.iter().find(|id| **id as usize >= vocabulary) {
        None => Ok(()),
        Some(id) => {
            Err(Error::usage(format!("--tokens: {id} is no token of the model: expected ids below {vocabulary}")))
        }
    }
}

/// Feeds tokens and writes a row for each.
fn feed(session: &mut Session, tokens: &[u32], file: &mut dyn Write) -> Result<()> {
    let mut written = Ok(());
    let mut row = Vec::new();
    let computed = session.feed_each(tokens, &mut |_, logits| {
        if written.is_ok() {
            written = write_row(file, logits, &mut row);
        }
    });
    computed.map_err(|cause| Error::other("cannot compute the logits").because(cause))?;
    written.map_err(|cause| Error::io("write the logits", cause))
}

fn write_row(file: &mut dyn Write, logits: &[f32], row: &mut Vec<u8>) -> io::Result<()> {
    row.clear();
    row.extend(logits.iter().flat_map(|logit| logit.to_le_bytes()));
    file.write_all(row)
}
