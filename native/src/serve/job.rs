//! What endpoints ask of a model, and what comes back: the seam between HTTP and the batch.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use woolly_engine::sampler::Params;
use woolly_engine::session::{Finish, Until};

use crate::grammar::Grammar;

/// A continuation that is asked for.
#[derive(Clone, Debug)]
pub struct Job {
    /// The prompt, at least one token.
    pub prompt: Vec<u32>,
    /// How to choose tokens; the seed is given already.
    pub sampling: Params,
    /// When to end.
    pub until: Until,
    /// What the answer has to look like, where that matters.
    pub grammar: Option<Grammar>,
    /// With each token, how many of the likeliest to report with their log-probabilities; `None`: nothing of the kind.
    pub top: Option<usize>,
    /// Whether probabilities are those that the sampler drew from, rather than the model's.
    pub post_sampling: bool,
    /// Whether what the prompt has in common with an earlier one may be taken from the cache.
    pub cache_prompt: bool,
    /// The slot to use; `None`: any.
    pub slot: Option<usize>,
    /// When it has to be over.
    pub deadline: Option<Instant>,
}

/// What comes of a job, in this order: `Started`, `Prompt` (again and again), `Token` (again and again), and `Done` or
/// `Failed` at the end.
#[derive(Clone, Debug)]
pub enum Event {
    /// It has a slot.
    Started(usize),
    /// So much of the prompt has been computed.
    Prompt(PromptProgress),
    /// A token was chosen, or text that was held back is certain.
    Token(Token),
    /// It is over.
    Done(Box<Done>),
    /// It cannot go on.
    Failed(Failure),
}

/// How far a prompt is.
#[derive(Clone, Copy, Debug)]
pub struct PromptProgress {
    /// Its tokens.
    pub total: usize,
    /// Those that the cache had.
    pub cached: usize,
    /// Those that have been computed, with the cached ones.
    pub processed: usize,
    /// Time since it began.
    pub time: Duration,
}

/// A step of an answer.
#[derive(Clone, Debug)]
pub struct Token {
    /// The token; `None` for text that was held back until the end.
    pub id: Option<u32>,
    /// The text that is now certain.
    pub text: String,
    /// Where they were asked for, the chosen token's log-probability and the likeliest tokens with theirs.
    pub probabilities: Option<Probabilities>,
}

/// Natural logarithms of probabilities.
#[derive(Clone, Debug)]
pub struct Probabilities {
    /// Of the chosen token.
    pub chosen: f32,
    /// Of the likeliest tokens, likeliest first.
    pub top: Vec<(u32, f32)>,
}

/// An answer's end.
#[derive(Clone, Debug)]
pub struct Done {
    /// Why.
    pub finish: Finish,
    /// The stop string that ended it.
    pub stop: Option<String>,
    /// How long it took.
    pub timings: Timings,
    /// Tokens that the slot's cache holds now.
    pub cached: usize,
}

/// How many tokens were computed, and how long it took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timings {
    /// Tokens of the prompt.
    pub prompt: usize,
    /// Those of them that the cache had.
    pub cached: usize,
    /// From the slot to the first token.
    pub prompt_time: Duration,
    /// Tokens that were generated.
    pub predicted: usize,
    /// From the first token to the last one.
    pub predicted_time: Duration,
    /// Time in the queue.
    pub queued: Duration,
}

/// Why a job is refused or ends early.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The prompt does not fit a slot's context.
    #[error("the prompt has {tokens} tokens, the context of a slot has room for {context}")]
    ContextExceeded {
        /// Of the prompt.
        tokens: usize,
        /// Positions of a slot.
        context: usize,
    },
    /// Too many wait already.
    #[error("{0} requests are waiting already: try again later")]
    QueueFull(usize),
    /// It has taken too long.
    #[error("the request was not done within its time")]
    Timeout,
    /// The model is being unloaded, or the server stopped.
    #[error("the model is being unloaded")]
    Closing,
    /// What was asked for has no meaning.
    #[error("{0}")]
    Invalid(String),
    /// A defect, or a model file that is no longer what it was.
    #[error("{0}")]
    Internal(String),
}

/// An accepted job. Dropping it cancels the job: its slot is free within a token. The channel is bounded, and a job whose
/// events are not fetched stands still: so memory stays bounded.
pub struct Answer {
    /// What comes of it.
    pub events: mpsc::Receiver<Event>,
}

/// What is done with a slot's content.
#[derive(Debug)]
pub enum SlotAction {
    /// Write it to a file. The file is there as a whole or not at all.
    Save(PathBuf),
    /// Read it from a file.
    Restore(PathBuf),
    /// Forget it.
    Erase,
}

/// What became of it.
#[derive(Clone, Copy, Debug)]
pub struct SlotDone {
    /// Tokens that were saved, restored or erased.
    pub tokens: usize,
    /// Bytes of the file.
    pub bytes: u64,
    /// Time that it took.
    pub time: Duration,
}

/// Asks something of the thread that runs the batch.
pub type Reply<T> = oneshot::Sender<Result<T, Failure>>;

/// A slot as it is at the moment.
#[derive(Clone, Debug)]
pub struct SlotState {
    /// Its number.
    pub id: usize,
    /// Positions.
    pub context: usize,
    /// Tokens in its cache.
    pub tokens: usize,
    /// The job that it works on.
    pub job: Option<SlotJob>,
}

/// What a slot works on.
#[derive(Clone, Debug)]
pub struct SlotJob {
    /// Number of the job, counted from the start of the model.
    pub id: u64,
    /// Tokens of the prompt.
    pub prompt: usize,
    /// Those that have been computed.
    pub processed: usize,
    /// Tokens that were generated.
    pub predicted: usize,
    /// When it ends.
    pub until: Until,
}
