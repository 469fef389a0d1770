//! The seam to the engine: sequences, and passes over several of them.

use std::sync::Arc;

use woolly_engine::session::{self, Model, Options, Session};

use super::BatchOptions;
use crate::error::{Error, Kind, Result};
use crate::memory;
use crate::pool::Threads;

/// The tokens of a slot, with their keys and values.
pub struct Sequence {
    session: Session,
}

/// A sequence's part of a pass.
pub struct Entry<'a> {
    /// The sequence.
    pub sequence: &'a mut Sequence,
    /// What is appended to it.
    pub tokens: &'a [u32],
}

/// Runs passes.
pub struct Runner;

/// A runner, and the sequences of all slots.
pub fn start(model: &Arc<Model>, options: &BatchOptions) -> Result<(Runner, Vec<Sequence>)> {
    let pool = Arc::new(Threads::new(options.threads)?);
    let session_options = session_options(model, options);
    let failed = |cause| {
        let (slots, context) = (options.parallel, session_options.context);
        Error::new(Kind::Memory, format!("cannot start {slots} slots with a context of {context} tokens each"))
            .because(cause)
    };
    let sequence =
        |_| Ok(Sequence { session: Session::new(model.clone(), pool.clone(), &session_options).map_err(failed)? });
    let sequences = (0..options.parallel.max(1)).map(sequence).collect::<Result<_>>()?;
    Ok((Runner, sequences))
}

/// Positions of each slot.
pub fn context(model: &Model, options: &BatchOptions) -> usize {
    session_options(model, options).context
}

/// Bytes that runner and sequences take.
pub fn memory(model: &Model, options: &BatchOptions) -> u64 {
    let memory = model.memory(&session_options(model, options));
    options.parallel.max(1) as u64 * (memory.kv_cache + memory.scratch)
}

fn session_options(model: &Model, options: &BatchOptions) -> Options {
    let BatchOptions { context, kv, level, batch, parallel, .. } = *options;
    let mut session = Options { context, kv, level, batch: batch.max(parallel) };
    if context == 0 {
        session.context = memory::fitting_context(model, &session, parallel.max(1));
    }
    session
}

impl Runner {
    /// Appends the tokens of all entries, and computes the logits behind the last of each.
    pub fn decode(&mut self, entries: &mut [Entry]) -> Result<(), session::Error> {
        entries.iter_mut().try_for_each(|entry| entry.sequence.session.feed(entry.tokens))
    }

    /// The logits behind a sequence's last token, where it was in the last pass.
    pub fn logits<'a>(&'a mut self, sequence: &'a mut Sequence) -> &'a [f32] {
        sequence.session.logits()
    }
}

impl Sequence {
    /// Its tokens.
    pub fn tokens(&self) -> &[u32] {
        self.session.tokens()
    }

    /// Drops all but the first `len` tokens, if not all of them: how many are left.
    pub fn rewind(&mut self, len: usize) -> usize {
        self.session.rewind(len)
    }
}
