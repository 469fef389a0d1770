//! The engine of a batch: a runner, a sequence for each slot, and the memory that they take.

use std::sync::Arc;

use woolly_engine::session::{Model, Options, Runner, Sequence};

use super::BatchOptions;
use crate::error::{Error, Kind, Result};
use crate::memory;
use crate::output::size;
use crate::pool::Threads;

/// What computes.
pub struct Engine {
    /// Runs passes.
    pub runner: Runner,
    /// One for each slot.
    pub sequences: Vec<Sequence>,
    /// The threads of the passes.
    pub threads: Arc<Threads>,
}

/// Lays out all memory of a batch.
pub fn start(model: &Arc<Model>, options: &BatchOptions) -> Result<Engine> {
    let run = run_options(model, options);
    let (slots, context) = (run.sequences, run.context);
    let (needed, available) = (needed(model, &run), memory::available());
    let what = format!("cannot start {slots} slots with a context of {context} tokens each");
    if needed > available {
        let message = format!("{what}: they need {} of memory, and {} are free", size(needed), size(available));
        return Err(Error::new(Kind::Memory, message));
    }
    let failed = |cause| Error::new(Kind::Memory, what.clone()).because(cause);
    let threads = Arc::new(Threads::new(options.threads)?);
    let runner = Runner::new(model.clone(), threads.clone(), &run).map_err(failed)?;
    let sequences = (0..slots).map(|_| runner.sequence()).collect::<Result<_, _>>().map_err(failed)?;
    Ok(Engine { runner, sequences, threads })
}

/// Bytes that a batch takes, apart from the model's file.
pub fn memory(model: &Model, options: &BatchOptions) -> u64 {
    needed(model, &run_options(model, options))
}

fn needed(model: &Model, run: &Options) -> u64 {
    let memory = model.memory(run);
    run.sequences as u64 * memory.kv_cache + memory.scratch
}

fn run_options(model: &Model, options: &BatchOptions) -> Options {
    let BatchOptions { context, kv, level, batch, parallel, .. } = *options;
    let sequences = parallel.max(1);
    // Beside a token of every slot there is room for some of a prompt.
    let mut run = Options { context, batch: batch.max(2 * sequences), sequences, kv, level };
    if context == 0 {
        run.context = memory::fitting_context(model, &run, sequences);
    }
    run
}
