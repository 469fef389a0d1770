//! The thread of a batch.

use std::iter::zip;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::{debug, error};
use woolly_engine::pool::Pool as _;
use woolly_engine::session::{self, Entry, Runner};

use super::super::job::{Event, Failure};
use super::super::metrics::{Metrics, Outcome, add};
use super::inbox::{Order, Queued};
use super::prefix::Pool;
use super::setup::Engine;
use super::slot::{Outbox, Running, Slot, Step};
use super::{Shared, plan};
use crate::error::{Error, Result};
use crate::files::Watch;
use crate::pool::Threads;

/// How often it looks whether a job that stands still can go on, while no other one can.
const TICK: Duration = Duration::from_millis(5);

/// After so long without a job, what the slots hold is written to the disk.
const LULL: Duration = Duration::from_secs(1);

/// What the thread owns.
pub struct Worker {
    pub(super) shared: Arc<Shared>,
    pub(super) metrics: Arc<Metrics>,
    watch: Watch,
    threads: Arc<Threads>,
    runner: Runner,
    pub(super) slots: Vec<Slot>,
    pub(super) pool: Pool,
    /// Events of jobs that are over and have left their slots, where nobody has fetched them yet.
    leaving: Vec<Outbox>,
    /// Whether the last turn computed something.
    busy: bool,
    /// Tokens in the sequences, as the metrics have it.
    tokens: i64,
}

impl Worker {
    /// The thread's beginning.
    pub fn new(shared: Arc<Shared>, watch: Watch, engine: Engine, pool: Pool, metrics: Arc<Metrics>) -> Self {
        let Engine { runner, sequences, threads } = engine;
        let slots: Vec<Slot> =
            sequences.into_iter().map(|sequence| Slot { sequence, running: None, used: 0 }).collect();
        metrics.kv_capacity.inc_by((slots.len() * shared.context) as i64);
        Self { shared, metrics, watch, threads, runner, slots, pool, leaving: Vec::new(), busy: false, tokens: 0 }
    }

    /// Works until the batch is closed or cannot go on.
    pub fn run(mut self) {
        // What a panic leaves behind is dropped, but for the channels, on which failures are then sent.
        while let Ok(Turn::Next) = catch_unwind(AssertUnwindSafe(|| self.turn())).inspect_err(|panic| self.fault(panic))
        {
        }
        self.end();
    }

    /// One pass and what belongs to it.
    fn turn(&mut self) -> Turn {
        self.wait();
        if self.is_over() {
            return Turn::Last;
        }
        self.obey();
        self.dismiss();
        self.admit();
        self.follow();
        self.count_tokens();
        match self.pass() {
            Ok(computed) => {
                self.busy = computed > 0;
                Turn::Next
            }
            Err(fault) => {
                error!("{fault}");
                self.shared.inbox.fail(&fault.to_string());
                Turn::Last
            }
        }
    }

    /// Returns when there is something to do.
    fn wait(&mut self) {
        let stands_still = !self.leaving.is_empty() || self.slots.iter().any(|slot| slot.running.is_some());
        let longest = if self.busy { Some(Duration::ZERO) } else { stands_still.then_some(TICK) };
        let longest = longest.or_else(|| self.pool.is_on_disk().then_some(LULL));
        let came = self.shared.inbox.wait(longest);
        if !came && !self.busy && !stands_still {
            self.keep_all();
        }
    }

    /// Whether the batch is closed, and what ran is done or has had its time.
    fn is_over(&self) -> bool {
        let running = self.slots.iter().any(|slot| slot.running.is_some()) || !self.leaving.is_empty();
        self.shared.inbox.closing().is_some_and(|by| !running || by <= Instant::now())
    }

    /// Carries out the orders whose slots are free. Who gets the answer sees the slot as it then is.
    fn obey(&mut self) {
        let (slots, board) = (&mut self.slots, &self.shared.board);
        for order in self.shared.inbox.orders(|order| slots[order.slot()].running.is_none()) {
            let id = order.slot();
            let slot = &mut slots[id];
            match order {
                Order::Erase(_, reply) => {
                    let tokens = slot.sequence.tokens().len();
                    slot.sequence.rewind(0);
                    board.update(id, slot);
                    reply.send(Ok(tokens)).ok();
                }
                Order::Save(_, reply) => {
                    let tokens = slot.sequence.tokens().len();
                    let failed = |cause| Failure::Internal(format!("cannot save slot {id}: {cause}"));
                    reply.send(slot.sequence.save(tokens).map(|bytes| (tokens, bytes)).map_err(failed)).ok();
                }
                Order::Restore(_, bytes, reply) => {
                    let failed = |cause| Failure::Invalid(format!("cannot restore slot {id}: {cause}"));
                    let loaded = slot.sequence.load(&bytes).map_err(failed);
                    board.update(id, slot);
                    reply.send(loaded).ok();
                }
            }
        }
    }

    /// Sends what waits to be sent, and ends the jobs whose client is gone or whose time is over.
    fn dismiss(&mut self) {
        self.leaving.iter_mut().for_each(Outbox::flush);
        self.leaving.retain(|outbox| !outbox.is_empty() && !outbox.is_closed());
        let (now, closing) = (Instant::now(), self.shared.inbox.closing().is_some());
        for id in 0..self.slots.len() {
            let Some(running) = &mut self.slots[id].running else { continue };
            running.outbox.flush();
            if running.outbox.is_closed() {
                self.leave(id, None, Outcome::Cancelled);
            } else if running.is_late(now) {
                self.leave(id, Some(Event::Failed(Failure::Timeout)), Outcome::TimedOut);
            }
        }
        let late = |queued: &Queued| queued.job.deadline.is_some_and(|deadline| deadline <= now);
        for queued in self.shared.inbox.remove(|queued| closing || queued.sender.is_closed() || late(queued)) {
            let (outcome, failure) = match late(&queued) {
                true => (Outcome::TimedOut, Failure::Timeout),
                false if queued.sender.is_closed() => (Outcome::Cancelled, Failure::Closing),
                false => (Outcome::Failed, Failure::Closing),
            };
            self.refuse(queued, failure, outcome);
        }
    }

    /// Gives free slots to the jobs that wait.
    fn admit(&mut self) {
        loop {
            let free = |slot: &Slot| slot.running.is_none();
            let slots = &self.slots;
            let fits = |slot: Option<usize>| slot.map_or_else(|| slots.iter().any(free), |id| free(&slots[id]));
            let Some(queued) = self.shared.inbox.next(|job| fits(job.slot)) else { return };
            self.begin(queued);
        }
    }

    /// Computes the next tokens of all jobs: how many. An error is the end of the batch.
    fn pass(&mut self) -> Result<usize> {
        let want = |slot: &Slot| slot.running.as_ref().map_or(plan::Want::Nothing, Running::want);
        let wants: Vec<_> = self.slots.iter().map(want).collect();
        let shares = plan::shares(&wants, self.runner.batch());
        if shares.iter().all(|share| *share == 0) {
            return Ok(0);
        }
        // Before, because what is gone must not be touched; after, because what was computed may be wrong.
        self.watch.check()?;
        let start = Instant::now();
        self.decode(&shares).map_err(|cause| Error::other("cannot compute the next tokens").because(cause))?;
        self.watch.check()?;
        self.count_pass(&wants, &shares, start.elapsed());
        let read: Vec<bool> =
            shares.iter().enumerate().map(|(id, share)| *share > 0 && self.advance(id, *share)).collect();
        for id in self.choose(&read) {
            let slot = &mut self.slots[id];
            let last = slot.running.as_ref().map(|running| running.last(slot.sequence.tokens().len()));
            let (last, outcome) = last.unzip();
            self.leave(id, last, outcome.unwrap_or(Outcome::Done));
        }
        Ok(shares.iter().sum())
    }

    fn decode(&mut self, shares: &[usize]) -> std::result::Result<(), session::Error> {
        let slots = zip(&mut self.slots, shares);
        let mut entries: Vec<Entry> = slots.filter_map(|(slot, share)| slot.entry(*share)).collect();
        self.runner.decode(&mut entries)
    }

    /// So many tokens of a slot were computed: whether there are logits behind them.
    fn advance(&mut self, id: usize, share: usize) -> bool {
        let Some(running) = &mut self.slots[id].running else { return false };
        let is_read = running.computed(share);
        if running.take_checkpoint() {
            self.keep(id);
        }
        self.shared.board.update(id, &self.slots[id]);
        is_read
    }

    /// Has the slots that have logits choose their next tokens, on all threads, since a large vocabulary takes its time:
    /// which of them are done.
    fn choose(&mut self, read: &[bool]) -> Vec<usize> {
        let (shared, metrics) = (&*self.shared, &*self.metrics);
        let with_logits = self.slots.iter_mut().enumerate().zip(read).filter(|(_, read)| **read).map(|(slot, _)| slot);
        let choices = zip(with_logits, self.runner.rows());
        let choices: Vec<_> = choices.map(|((id, slot), logits)| Mutex::new((id, slot, logits, Step::On))).collect();
        let next = AtomicUsize::new(0);
        let work = |_| {
            while let Some(choice) = choices.get(next.fetch_add(1, Ordering::Relaxed)) {
                let (id, slot, logits, step) = &mut *choice.lock().unwrap_or_else(PoisonError::into_inner);
                *step = slot.choose(logits, shared.model.tokenizer(), metrics);
                shared.board.update(*id, slot);
            }
        };
        if choices.len() > 1 {
            self.threads.broadcast(&work)
        } else {
            work(0)
        }
        let choices = choices.into_iter().map(|choice| choice.into_inner().unwrap_or_else(PoisonError::into_inner));
        choices.filter(|(.., step)| *step == Step::Over).map(|(id, ..)| id).collect()
    }

    /// Keeps the gauge of all tokens in KV caches up to date.
    fn count_tokens(&mut self) {
        let tokens = self.slots.iter().map(|slot| slot.sequence.tokens().len()).sum::<usize>() as i64;
        self.metrics.kv_tokens.inc_by(tokens - self.tokens);
        self.tokens = tokens;
    }

    fn count_pass(&self, wants: &[plan::Want], shares: &[usize], time: Duration) {
        let slots = shares.iter().filter(|share| **share > 0).count();
        let total: usize = shares.iter().sum();
        let generated = wants.iter().filter(|want| **want == plan::Want::Token).count();
        let part = |tokens: usize| time.mul_f64(tokens as f64 / total as f64);
        self.metrics.passes.inc();
        self.metrics.pass_slots.inc_by(slots as u64);
        self.metrics.prompt_tokens.inc_by((total - generated) as u64);
        add(&self.metrics.prompt_seconds, part(total - generated));
        add(&self.metrics.generated_seconds, part(generated));
    }

    /// A job leaves its slot, with this as its last event.
    fn leave(&mut self, id: usize, last: Option<Event>, outcome: Outcome) {
        let Some(mut running) = self.slots[id].running.take() else { return };
        debug!(job = running.id, slot = id, ?outcome, "over");
        self.shared.board.set_job(id, None);
        self.shared.inbox.left();
        self.metrics.ended(outcome);
        if let Some(last) = last {
            running.outbox.send(last);
            if !running.outbox.is_empty() {
                self.leaving.push(running.outbox);
            }
        }
    }

    /// A job ends before it has had a slot.
    fn refuse(&mut self, queued: Queued, failure: Failure, outcome: Outcome) {
        self.metrics.ended(outcome);
        // The channel has room: nothing was ever sent on it.
        queued.sender.try_send(Event::Failed(failure)).ok();
    }

    /// A defect has made itself known.
    fn fault(&self, panic: &(dyn std::any::Any + Send)) {
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message");
        error!("the thread of the batch panicked: {text}");
        self.shared.inbox.fail(&format!("the model cannot go on after a defect: {text}"));
    }

    /// Tells everybody who still waits that the batch is over.
    fn end(&mut self) {
        let failure = self.shared.inbox.fault().map_or(Failure::Closing, Failure::Internal);
        self.shared.inbox.close(Instant::now());
        for id in 0..self.slots.len() {
            self.leave(id, Some(Event::Failed(failure.clone())), Outcome::Failed);
        }
        for queued in self.shared.inbox.remove(|_| true) {
            self.refuse(queued, failure.clone(), Outcome::Failed);
        }
        drop(self.shared.inbox.orders(|_| true));
        if self.shared.inbox.fault().is_none() {
            self.keep_all();
        }
        self.metrics.kv_capacity.dec_by((self.slots.len() * self.shared.context) as i64);
        self.slots.clear();
        self.count_tokens();
        self.pool.finish();
        self.shared.ended.send_replace(true);
    }
}

/// Whether another turn follows.
enum Turn {
    Next,
    Last,
}
