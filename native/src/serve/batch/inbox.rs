//! What waits for the batch's thread: jobs in the order in which they came, and orders.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::Sender;
use woolly_engine::sampler::Sampler;
use woolly_engine::session::Continuation;

use super::super::job::{Event, Failure, Job, Reply};
use super::super::metrics::{Metrics, Outcome};
use crate::grammar::Matcher;

/// A job that waits for a slot.
pub struct Queued {
    /// Its number.
    pub id: u64,
    /// What is asked for.
    pub job: Job,
    /// Chooses its tokens.
    pub sampler: Sampler,
    /// Says which ones it may choose from, where not all.
    pub matcher: Option<Matcher>,
    /// Turns them to text.
    pub continuation: Continuation,
    /// Where its events go.
    pub sender: Sender<Event>,
    /// When it came.
    pub since: Instant,
}

/// What is asked of the thread besides jobs; the number is a slot's.
pub enum Order {
    /// Forget what a slot holds.
    Erase(usize, Reply<usize>),
    /// Give what a slot holds, as bytes.
    Save(usize, Reply<(usize, Vec<u8>)>),
    /// Make a slot hold what is in these bytes.
    Restore(usize, Vec<u8>, Reply<usize>),
}

impl Order {
    /// The slot that it is about.
    pub fn slot(&self) -> usize {
        match self {
            Self::Erase(slot, _) | Self::Save(slot, _) | Self::Restore(slot, _, _) => *slot,
        }
    }
}

/// What the handle puts in and the thread takes out.
pub struct Inbox {
    content: Mutex<Content>,
    news: Condvar,
    parallel: usize,
    queue: usize,
    metrics: Arc<Metrics>,
}

#[derive(Default)]
struct Content {
    /// Number of the last job.
    last: u64,
    waiting: VecDeque<Queued>,
    orders: Vec<Order>,
    /// Jobs that have a slot.
    running: usize,
    /// Whether something came since the thread last looked.
    news: bool,
    /// When the batch has to have ended; it accepts nothing more.
    closing: Option<Instant>,
    /// Why it cannot go on.
    fault: Option<String>,
}

impl Inbox {
    /// An empty one, of a batch with so many slots; so many jobs may wait for one.
    pub fn new(parallel: usize, queue: usize, metrics: Arc<Metrics>) -> Self {
        Self { content: Mutex::default(), news: Condvar::new(), parallel, queue, metrics }
    }

    /// Takes a job in, where there is room.
    pub fn submit(&self, queued: Queued) -> Result<(), Failure> {
        let mut content = self.open()?;
        let ahead = content.waiting.len() + content.running;
        if ahead >= self.parallel + self.queue {
            self.metrics.ended(Outcome::Refused);
            return Err(Failure::QueueFull(content.waiting.len()));
        }
        content.last += 1;
        let id = content.last;
        content.waiting.push_back(Queued { id, ..queued });
        self.metrics.queued.inc();
        self.tell(content);
        Ok(())
    }

    /// Takes an order in.
    pub fn order(&self, order: Order) -> Result<(), Failure> {
        let mut content = self.open()?;
        content.orders.push(order);
        self.tell(content);
        Ok(())
    }

    /// Takes nothing in any more; the thread shall have ended by then.
    pub fn close(&self, by: Instant) {
        let mut content = self.lock();
        content.closing = Some(content.closing.map_or(by, |earlier| earlier.min(by)));
        self.tell(content);
    }

    /// Takes nothing in any more, because of this.
    pub fn fail(&self, why: &str) {
        self.lock().fault.get_or_insert_with(|| why.to_owned());
    }

    /// Why nothing is taken in any more.
    pub fn fault(&self) -> Option<String> {
        self.lock().fault.clone()
    }

    /// When the thread has to have ended, where it has to.
    pub fn closing(&self) -> Option<Instant> {
        self.lock().closing
    }

    /// Whether nothing waits and nothing runs.
    pub fn is_idle(&self) -> bool {
        let content = self.lock();
        content.waiting.is_empty() && content.orders.is_empty() && content.running == 0
    }

    /// Returns when something has come, or this time is over: whether something has.
    pub fn wait(&self, longest: Option<Duration>) -> bool {
        let idle = |content: &mut Content| !content.news;
        let content = self.lock();
        let mut content = match longest {
            None => self.news.wait_while(content, idle).unwrap_or_else(PoisonError::into_inner),
            Some(longest) => {
                self.news.wait_timeout_while(content, longest, idle).unwrap_or_else(PoisonError::into_inner).0
            }
        };
        std::mem::take(&mut content.news)
    }

    /// The orders of which `ready` says that they can be carried out now.
    pub fn orders(&self, ready: impl Fn(&Order) -> bool) -> Vec<Order> {
        self.lock().orders.extract_if(.., |order| ready(order)).collect()
    }

    /// The first job of which `fits` says that it can have a slot now.
    pub fn next(&self, fits: impl Fn(&Job) -> bool) -> Option<Queued> {
        let mut content = self.lock();
        let at = content.waiting.iter().position(|queued| fits(&queued.job))?;
        content.running += 1;
        self.metrics.queued.dec();
        self.metrics.running.inc();
        content.waiting.remove(at)
    }

    /// The jobs that wait and of which `is_over` says that they need wait no more.
    pub fn remove(&self, is_over: impl Fn(&Queued) -> bool) -> Vec<Queued> {
        let mut content = self.lock();
        if !content.waiting.iter().any(&is_over) {
            return Vec::new();
        }
        let all = std::mem::take(&mut content.waiting).into_iter();
        let (over, waiting): (Vec<_>, Vec<_>) = all.partition(|queued| is_over(queued));
        content.waiting = waiting.into();
        self.metrics.queued.dec_by(over.len() as i64);
        over
    }

    /// A job has left its slot.
    pub fn left(&self) {
        self.lock().running -= 1;
        self.metrics.running.dec();
    }

    /// The content, unless nothing is taken in.
    fn open(&self) -> Result<MutexGuard<'_, Content>, Failure> {
        let content = self.lock();
        match &content.fault {
            Some(why) => Err(Failure::Internal(why.clone())),
            None if content.closing.is_some() => Err(Failure::Closing),
            None => Ok(content),
        }
    }

    fn tell(&self, mut content: MutexGuard<'_, Content>) {
        content.news = true;
        drop(content);
        self.news.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
