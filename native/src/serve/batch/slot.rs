//! A slot: a sequence, and the job that it works on.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;
use woolly_engine::sampler::{Sampler, log_softmax_top};
use woolly_engine::session::{Continuation, Entry, Finish, Piece, Sequence};
use woolly_engine::tokenizer::Tokenizer;

use super::super::job::{Done, Event, Failure, Job, Probabilities, PromptProgress, SlotJob, SlotState, Timings, Token};
use super::super::metrics::{Metrics, Outcome};
use super::inbox::Queued;
use super::plan::Want;
use crate::grammar::{self, Matcher, Stuck};

/// A sequence, and the job that it works on.
pub struct Slot {
    /// What has been computed.
    pub sequence: Sequence,
    /// For whom; without a job, the content waits for one that begins alike.
    pub running: Option<Running>,
    /// When it was last used, counted in jobs.
    pub used: u64,
}

impl Slot {
    /// Its part in a pass, with so many of its tokens.
    pub fn entry(&mut self, share: usize) -> Option<Entry<'_>> {
        let running = self.running.as_ref().filter(|_| share > 0)?;
        Some(Entry { sequence: &mut self.sequence, tokens: running.tokens(share), logits: running.logits(share) })
    }

    /// Chooses the job's next token from the logits.
    pub fn choose(&mut self, logits: &[f32], tokenizer: &Tokenizer, metrics: &Metrics) -> Step {
        let room = self.sequence.context() - self.sequence.tokens().len();
        let Some(running) = &mut self.running else { return Step::On };
        let (before, generated) = (running.written, running.continuation.generated());
        let step = running.choose(logits, tokenizer, room);
        metrics.generated_tokens.inc_by((running.continuation.generated() - generated) as u64);
        match (before, running.written) {
            (Some((_, before)), Some((_, now))) => metrics.inter_token.observe((now - before).as_secs_f64()),
            (_, Some((now, _))) => metrics.first_token.observe((now - running.since).as_secs_f64()),
            _ => {}
        }
        step
    }
}

/// A job that has a slot.
pub struct Running {
    /// Its number.
    pub id: u64,
    /// What is asked for.
    pub job: Job,
    /// Where its events go.
    pub outbox: Outbox,
    /// How far it is.
    pub phase: Phase,
    /// Tokens of the prompt that need not be computed.
    pub cached: usize,
    /// Whom it waits for.
    pub lead: Option<Lead>,
    /// How long the sequence is when a snapshot of it shall be made, ascending.
    checkpoints: Vec<usize>,
    /// When it was accepted.
    pub since: Instant,
    /// When it got the slot.
    pub started: Instant,
    /// When the first token was chosen, and the last one so far.
    pub written: Option<(Instant, Instant)>,
    sampler: Sampler,
    matcher: Option<Matcher>,
    continuation: Continuation,
    /// Why it cannot go on.
    stuck: Option<Stuck>,
}

/// A slot that is reading what a job begins with.
#[derive(Clone, Copy, Debug)]
pub struct Lead {
    /// Its number.
    pub slot: usize,
    /// The job that it reads for.
    pub job: u64,
    /// How many tokens of the prompt it will have.
    pub tokens: usize,
}

/// How far a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// So many tokens of the prompt are in the sequence.
    Reading(usize),
    /// This token comes next.
    Writing([u32; 1]),
}

/// What a step made of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It goes on.
    On,
    /// It is over.
    Over,
}

impl Running {
    /// A job that begins, with so many of its tokens in the sequence of slot `slot` already.
    pub fn new(queued: Queued, slot: usize, cached: usize, checkpoints: Vec<usize>, lead: Option<Lead>) -> Self {
        let Queued { id, job, sampler, matcher, continuation, sender, since } = queued;
        let mut outbox = Outbox::new(sender);
        outbox.send(Event::Started(slot));
        let (started, phase) = (Instant::now(), Phase::Reading(cached));
        let mut running = Self {
            id,
            job,
            outbox,
            phase,
            cached,
            lead,
            checkpoints,
            since,
            started,
            written: None,
            sampler,
            matcher,
            continuation,
            stuck: None,
        };
        if lead.is_none() {
            running.report(cached, Duration::ZERO);
        }
        running
    }

    /// What it has for the next pass.
    pub fn want(&self) -> Want {
        if !self.outbox.is_empty() || self.lead.is_some() {
            return Want::Nothing;
        }
        match self.phase {
            Phase::Writing(_) => Want::Token,
            Phase::Reading(done) => {
                let left = self.job.prompt.len() - done;
                let ready = self.checkpoints.first().map_or(left, |at| at - done);
                Want::Prompt { ready, left, age: self.id }
            }
        }
    }

    /// Whether its prompt is still being read.
    pub fn is_reading(&self) -> bool {
        matches!(self.phase, Phase::Reading(_))
    }

    /// It waits for nobody any more: so many tokens of the prompt are in the sequence.
    pub fn start_reading(&mut self, cached: usize) {
        (self.lead, self.cached, self.phase) = (None, cached, Phase::Reading(cached));
        self.checkpoints.retain(|at| *at > cached);
        self.report(cached, Duration::ZERO);
    }

    /// Whether a snapshot of the sequence shall be made now, before its next pass.
    pub fn take_checkpoint(&mut self) -> bool {
        let Phase::Reading(done) = self.phase else { return false };
        let is_due = self.checkpoints.first().is_some_and(|at| *at <= done);
        if is_due {
            self.checkpoints.remove(0);
        }
        is_due
    }

    /// Tells how far the prompt is: first before anything of it is computed, then after each piece.
    fn report(&mut self, processed: usize, time: Duration) {
        let total = self.job.prompt.len();
        self.outbox.send(Event::Prompt(PromptProgress { total, cached: self.cached, processed, time }));
    }

    /// So many tokens of it were computed: whether the logits behind them are wanted.
    pub fn computed(&mut self, count: usize) -> bool {
        let Phase::Reading(done) = &mut self.phase else { return true };
        *done += count;
        let (processed, total) = (*done, self.job.prompt.len());
        self.report(processed, self.started.elapsed());
        if processed < total {
            return false;
        }
        self.job.prompt.iter().for_each(|token| self.sampler.accept(*token));
        true
    }

    /// Chooses the next token from the logits; `room` is how many more tokens the sequence can take.
    fn choose(&mut self, logits: &[f32], tokenizer: &Tokenizer, room: usize) -> Step {
        let now = Instant::now();
        self.written = Some((self.written.map_or(now, |(first, _)| first), now));
        if self.continuation.finish().is_some() {
            return Step::Over;
        }
        match self.write(logits, tokenizer) {
            Ok(()) if self.continuation.finish().is_none() && room == 0 => self.end(Finish::Context),
            Ok(()) => {}
            Err(stuck) => self.stuck = Some(stuck),
        }
        if self.continuation.finish().is_some() || self.stuck.is_some() { Step::Over } else { Step::On }
    }

    /// Chooses the next token, where the grammar has one.
    fn write(&mut self, logits: &[f32], tokenizer: &Tokenizer) -> Result<(), Stuck> {
        let Some(token) = grammar::sample(&mut self.matcher, &mut self.sampler, logits)? else {
            self.end(Finish::End);
            return Ok(());
        };
        let probabilities = self.job.top.map(|top| self.probabilities(logits, token, top));
        let piece = self.continuation.accept(tokenizer, token);
        let goes_on = piece.token.is_some();
        self.phase = Phase::Writing([token]);
        self.say(piece, probabilities);
        if goes_on {
            self.sampler.accept(token);
        }
        if goes_on && grammar::accept(&mut self.matcher, token)? && self.continuation.finish() != Some(Finish::Stop) {
            self.end(Finish::End);
        }
        Ok(())
    }

    fn end(&mut self, finish: Finish) {
        let piece = self.continuation.end(finish);
        self.say(piece, None);
    }

    /// The last event of one that is over, and what has become of it.
    pub fn last(&self, cached: usize) -> (Event, Outcome) {
        match &self.stuck {
            Some(stuck) => (Event::Failed(Failure::Invalid(stuck.to_string())), Outcome::Failed),
            None => (self.done(cached), Outcome::Done),
        }
    }

    fn done(&self, cached: usize) -> Event {
        let finish = self.continuation.finish().unwrap_or(Finish::Length);
        let stop = self.continuation.stop().map(str::to_owned);
        Event::Done(Box::new(Done { finish, stop, timings: self.timings(), cached }))
    }

    /// How long everything took.
    pub fn timings(&self) -> Timings {
        let (first, last) = self.written.unwrap_or((self.started, self.started));
        Timings {
            prompt: self.job.prompt.len(),
            cached: self.cached,
            prompt_time: first - self.started,
            predicted: self.continuation.generated(),
            queued: self.started - self.since,
            predicted_time: last - first,
        }
    }

    /// Whether its time is over.
    pub fn is_late(&self, now: Instant) -> bool {
        self.job.deadline.is_some_and(|deadline| deadline <= now)
    }

    /// The next so many tokens.
    fn tokens(&self, count: usize) -> &[u32] {
        match &self.phase {
            Phase::Writing(token) => token,
            Phase::Reading(done) => &self.job.prompt[*done..done + count],
        }
    }

    /// How many rows of logits are wanted of the next so many tokens: those behind the last one, at the end of the prompt.
    fn logits(&self, count: usize) -> usize {
        match self.phase {
            Phase::Writing(_) => 1,
            Phase::Reading(done) => usize::from(done + count == self.job.prompt.len()),
        }
    }

    fn say(&mut self, piece: Piece, probabilities: Option<Probabilities>) {
        if piece.token.is_some() || !piece.text.is_empty() {
            self.outbox.send(Event::Token(Token { id: piece.token, text: piece.text, probabilities }));
        }
    }

    fn probabilities(&self, logits: &[f32], chosen: u32, top: usize) -> Probabilities {
        if self.job.post_sampling {
            let p_of = |id| self.sampler.candidates().iter().find(|c| c.id == id).map_or(0.0, |c| c.p);
            let top = self.sampler.top(top).iter().map(|c| (c.id, c.p.ln())).collect();
            return Probabilities { chosen: p_of(chosen).ln(), top };
        }
        let mut best = log_softmax_top(logits, top.max(1));
        let (first, of_first) = best[0];
        let known = best.iter().find(|(id, _)| *id == chosen).map(|(_, p)| *p);
        let chosen = known.unwrap_or_else(|| of_first + (logits[chosen as usize] - logits[first as usize]));
        best.truncate(top);
        Probabilities { chosen, top: best }
    }
}

/// Events on their way to whoever asked. The channel is bounded; what it has no room for waits here, and the job with it.
pub struct Outbox {
    sender: Sender<Event>,
    waiting: VecDeque<Event>,
}

impl Outbox {
    /// An empty one.
    pub fn new(sender: Sender<Event>) -> Self {
        Self { sender, waiting: VecDeque::new() }
    }

    /// Sends an event, behind those that wait.
    pub fn send(&mut self, event: Event) {
        self.waiting.push_back(event);
        self.flush();
    }

    /// Sends what waits, as far as there is room.
    pub fn flush(&mut self) {
        while let Some(event) = self.waiting.pop_front() {
            match self.sender.try_send(event) {
                Ok(()) => {}
                Err(TrySendError::Full(event)) => return self.waiting.push_front(event),
                Err(TrySendError::Closed(_)) => self.waiting.clear(),
            }
        }
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether nobody is there to fetch events any more.
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }
}

/// The slots as everybody can see them.
pub struct Board {
    context: usize,
    posts: Vec<Post>,
}

#[derive(Default)]
struct Post {
    tokens: AtomicUsize,
    processed: AtomicUsize,
    predicted: AtomicUsize,
    job: Mutex<Option<SlotJob>>,
}

impl Board {
    /// So many slots, with so many positions each.
    pub fn new(slots: usize, context: usize) -> Self {
        Self { context, posts: std::iter::repeat_with(Post::default).take(slots).collect() }
    }

    /// How many slots there are.
    pub fn len(&self) -> usize {
        self.posts.len()
    }

    /// How the slots are.
    pub fn states(&self) -> Vec<SlotState> {
        self.posts.iter().enumerate().map(|(id, post)| post.state(id, self.context)).collect()
    }

    /// A slot begins a job, or has none any more.
    pub fn set_job(&self, slot: usize, running: Option<&Running>) {
        let job = running.map(|running| SlotJob {
            id: running.id,
            prompt: running.job.prompt.len(),
            processed: running.cached,
            predicted: 0,
            until: running.job.until.clone(),
        });
        *self.posts[slot].job.lock().unwrap_or_else(PoisonError::into_inner) = job;
    }

    /// How far a slot is.
    pub fn update(&self, id: usize, slot: &Slot) {
        let post = &self.posts[id];
        post.tokens.store(slot.sequence.tokens().len(), Ordering::Relaxed);
        let Some(running) = &slot.running else { return };
        let processed = match running.phase {
            Phase::Reading(done) => done,
            Phase::Writing(_) => running.job.prompt.len(),
        };
        post.processed.store(processed, Ordering::Relaxed);
        post.predicted.store(running.continuation.generated(), Ordering::Relaxed);
    }
}

impl Post {
    fn state(&self, id: usize, context: usize) -> SlotState {
        let mut job = self.job.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(job) = &mut job {
            job.processed = self.processed.load(Ordering::Relaxed);
            job.predicted = self.predicted.load(Ordering::Relaxed);
        }
        SlotState { id, context, tokens: self.tokens.load(Ordering::Relaxed), job }
    }
}
