//! The batch of a model: one thread that computes the tokens of many answers together.
//!
//! ```text
//! submit ─► inbox ─► slots ─► plan ─► pass ─► sample ─► events
//!           queue    one      whose   over    per slot   one bounded channel
//!           (FIFO)   sequence tokens  all                for each job
//! ```
//!
//! Each turn of the thread is one pass: a token of every answer that is being written, and pieces of the prompts that are
//! still being read ([`plan`]). So jobs join and leave between any two tokens. What a job gets depends on nothing that
//! happens beside it: a pass gives every sequence the bits that it would have alone, and everything else (sampler,
//! decoder, stop strings) is the job's own.
//!
//! A job whose events are not fetched stands still, and one whose [`Answer`] is dropped is out before the next pass.

mod disk;
mod inbox;
mod plan;
mod prefix;
mod reuse;
mod setup;
mod slot;
mod worker;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot, watch};
use tracing::warn;
use woolly_engine::sampler::Sampler;
use woolly_engine::session::{Continuation, KvType, Model};
use woolly_engine::simd::Level;

use super::job::{Answer, Failure, Job, SlotAction, SlotDone, SlotState};
use super::metrics::Metrics;
use crate::error::{Error, Result};
use crate::files::Watch;
use crate::grammar::Grammar;
use disk::Disk;
use inbox::{Inbox, Order, Queued};
use prefix::Pool;
use setup::Engine;

/// Events of a job that wait to be fetched; with more, it stands still.
const EVENTS: usize = 64;

/// How a model's batch is run.
#[derive(Clone, Debug)]
pub struct BatchOptions {
    /// Answers that are computed at the same time.
    pub parallel: usize,
    /// Positions of each; 0: as many as the model was trained for and memory allows.
    pub context: usize,
    /// How the KV cache stores its numbers.
    pub kv: KvType,
    /// Threads that compute.
    pub threads: usize,
    /// The instruction set.
    pub level: Level,
    /// Tokens of one pass at most.
    pub batch: usize,
    /// Jobs that may wait for a slot.
    pub queue: usize,
    /// Bytes that the prefix cache may take in memory; 0: there is none.
    pub cache_bytes: u64,
    /// The folder of the prefix cache on the disk, where it is wanted.
    pub cache_dir: Option<PathBuf>,
}

/// The batch of one model. Clones are the same batch; it ends when the last one is dropped.
#[derive(Clone)]
pub struct Batch {
    shared: Arc<Shared>,
    _owner: Arc<Owner>,
}

/// What the handle and the thread have in common.
struct Shared {
    inbox: Inbox,
    board: slot::Board,
    model: Arc<Model>,
    context: usize,
    ended: watch::Sender<bool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Ends the batch when nobody can ask it any more.
struct Owner(Arc<Shared>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.inbox.close(Instant::now());
    }
}

impl Batch {
    /// Starts the thread. All memory that passes need is laid out here. When `watch` says that the model's files have
    /// changed, the batch has a fault and ends.
    pub fn start(model: Arc<Model>, watch: Watch, options: &BatchOptions, metrics: Arc<Metrics>) -> Result<Batch> {
        let engine = setup::start(&model, options)?;
        Self::launch(model, watch, engine, options, metrics)
    }

    fn launch(
        model: Arc<Model>,
        watch: Watch,
        engine: Engine,
        options: &BatchOptions,
        metrics: Arc<Metrics>,
    ) -> Result<Batch> {
        let (slots, context) = (engine.sequences.len(), engine.sequences[0].context());
        let shared = Arc::new(Shared {
            inbox: Inbox::new(slots, options.queue, metrics.clone()),
            board: slot::Board::new(slots, context),
            model,
            context,
            ended: watch::Sender::new(false),
            thread: Mutex::default(),
        });
        let pool = pool(&shared.model, options, context, &metrics);
        let worker = worker::Worker::new(shared.clone(), watch, engine, pool, metrics);
        let thread = std::thread::Builder::new().name("woolly-batch".into());
        let failed = |cause| Error::other("cannot start the thread of the batch").because(cause);
        let thread = thread.spawn(move || worker.run()).map_err(failed)?;
        *shared.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        Ok(Batch { _owner: Arc::new(Owner(shared.clone())), shared })
    }

    /// Bytes that a batch with these options takes beside the model's file.
    pub fn memory(model: &Model, options: &BatchOptions) -> u64 {
        setup::memory(model, options) + options.cache_bytes
    }

    /// Accepts a job, or says at once why not.
    pub fn submit(&self, job: Job) -> Result<Answer, Failure> {
        let shared = &*self.shared;
        self.check(&job)?;
        let tokenizer = shared.model.tokenizer();
        let sampler = Sampler::new(&job.sampling, tokenizer).map_err(|cause| Failure::Invalid(cause.to_string()))?;
        let matcher = job.grammar.as_ref().map(Grammar::matcher);
        let continuation = Continuation::new(tokenizer, job.until.clone());
        let (sender, events) = mpsc::channel(EVENTS);
        shared.inbox.submit(Queued { id: 0, job, sampler, matcher, continuation, sender, since: Instant::now() })?;
        Ok(Answer { events })
    }

    /// Does something with the content of a slot, as soon as it works on nothing.
    pub async fn slot(&self, id: usize, action: SlotAction) -> Result<SlotDone, Failure> {
        if id >= self.parallel() {
            return Err(no_slot(id, self.parallel()));
        }
        let start = Instant::now();
        let (tokens, bytes) = match action {
            SlotAction::Erase => (self.ask(|reply| Order::Erase(id, reply)).await?, 0),
            SlotAction::Save(path) => {
                let (tokens, bytes) = self.ask(|reply| Order::Save(id, reply)).await?;
                (tokens, on_disk(move || save(&path, &bytes)).await?)
            }
            SlotAction::Restore(path) => {
                let bytes = on_disk(move || restore(&path)).await?;
                let length = bytes.len() as u64;
                (self.ask(|reply| Order::Restore(id, bytes, reply)).await?, length)
            }
        };
        Ok(SlotDone { tokens, bytes, time: start.elapsed() })
    }

    /// The slots as they are.
    pub fn slots(&self) -> Vec<SlotState> {
        self.shared.board.states()
    }

    /// Positions of each slot.
    pub fn context(&self) -> usize {
        self.shared.context
    }

    /// How many slots there are.
    pub fn parallel(&self) -> usize {
        self.shared.board.len()
    }

    /// Whether no job runs or waits.
    pub fn is_idle(&self) -> bool {
        self.shared.inbox.is_idle()
    }

    /// Why it can answer no more; `None` while it can.
    pub fn fault(&self) -> Option<String> {
        self.shared.inbox.fault()
    }

    /// Accepts no more jobs, finishes those that run, as far as they are done `within` this time, and ends.
    pub async fn close(&self, within: Duration) {
        self.shared.inbox.close(Instant::now() + within);
        // The sender lives as long as `self`.
        self.shared.ended.subscribe().wait_for(|ended| *ended).await.ok();
    }

    /// Accepts no more jobs, as [`Batch::close`] does, without waiting for the end.
    pub fn begin_close(&self, within: Duration) {
        self.shared.inbox.close(Instant::now() + within);
    }

    /// Ends at once, and returns when its memory is free; the thread that calls it waits.
    pub fn stop(&self) {
        self.shared.inbox.close(Instant::now());
        let thread = self.shared.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        // A panic has been told to those who asked.
        thread.map(JoinHandle::join);
    }

    /// Sends an order to the thread and waits for what comes of it.
    async fn ask<T>(&self, order: impl FnOnce(oneshot::Sender<Result<T, Failure>>) -> Order) -> Result<T, Failure> {
        let (reply, answer) = oneshot::channel();
        self.shared.inbox.order(order(reply))?;
        answer.await.unwrap_or(Err(Failure::Closing))
    }

    fn check(&self, job: &Job) -> Result<(), Failure> {
        let vocabulary = self.shared.model.tokenizer().vocab_len();
        let (tokens, context) = (job.prompt.len(), self.context());
        if tokens == 0 {
            return Err(Failure::Invalid(
                "the prompt is empty: it has no tokens, and the model needs at least one".into(),
            ));
        }
        if tokens > context {
            return Err(Failure::ContextExceeded { tokens, context });
        }
        if let Some(token) = job.prompt.iter().find(|token| **token as usize >= vocabulary) {
            let message = format!("token {token} of the prompt is not in the vocabulary of {vocabulary} tokens");
            return Err(Failure::Invalid(message));
        }
        match job.slot {
            Some(id) if id >= self.parallel() => Err(no_slot(id, self.parallel())),
            _ => Ok(()),
        }
    }
}

/// Works with files on a thread that may wait for them.
async fn on_disk<T: Send + 'static>(work: impl FnOnce() -> Result<T, Failure> + Send + 'static) -> Result<T, Failure> {
    let failed = |_| Failure::Internal("a thread that works with files has panicked".into());
    tokio::task::spawn_blocking(work).await.map_err(failed)?
}

fn save(path: &Path, bytes: &[u8]) -> Result<u64, Failure> {
    let failed = |cause| Failure::Internal(format!("cannot write {}: {cause}", path.display()));
    disk::write_whole(path, &[bytes]).map_err(failed)?;
    Ok(bytes.len() as u64)
}

fn restore(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|cause| Failure::Invalid(format!("cannot read {}: {cause}", path.display())))
}

/// The prefix cache of a model. One on the disk that cannot be used is done without.
fn pool(model: &Model, options: &BatchOptions, context: usize, metrics: &Arc<Metrics>) -> Pool {
    let name = model.gguf().fingerprint().map(|fingerprint| format!("{fingerprint:016x}-{}", options.kv.name()));
    let open = |folder: &PathBuf| {
        let opened = Disk::open(folder, &name?, context);
        opened.inspect_err(|cause| warn!("the prefix cache is in memory alone: {cause}")).ok()
    };
    let disk = options.cache_dir.as_ref().filter(|_| options.cache_bytes > 0).and_then(open);
    Pool::new(options.cache_bytes, disk, metrics.clone())
}

fn no_slot(id: usize, slots: usize) -> Failure {
    Failure::Invalid(format!("there is no slot {id}: expected one below {slots}"))
}

#[cfg(test)]
mod tests;
