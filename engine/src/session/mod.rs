//! One conversation with a model: the tokens in its KV cache, and the logits behind them.

mod generate;
mod snapshot;
mod staged;

pub use crate::model::{Memory, Model, Options, Stage};
pub use crate::transformer::KvType;
pub use generate::{Continuation, Finish, Generation, Piece, Until};
pub use snapshot::SnapshotError;
pub use staged::Progress;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

use crate::bytes::{Crew, OutOfMemory};
use crate::model::LOGIT_ROWS;
use crate::pool::Pool;
use crate::simd::Level;
use crate::transformer::{self, Cpu, Limits, State};
use staged::StagedPrompt;

/// Why a session cannot do what it is asked to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// More tokens than the context has room for.
    #[error("{tokens} tokens do not fit: {free} of {context} positions of the context are free")]
    ContextFull {
        /// Tokens to be fed.
        tokens: usize,
        /// Positions left.
        free: usize,
        /// Positions in all.
        context: usize,
    },
    /// A token that is not in the vocabulary.
    #[error("token {token} is not in the vocabulary of {vocabulary} tokens")]
    Token {
        /// The token.
        token: u32,
        /// Size of the vocabulary.
        vocabulary: usize,
    },
    /// Nothing to compute logits from.
    #[error("the prompt is empty: expected at least one token")]
    EmptyPrompt,
    /// What takes the whole model while it is still being received.
    #[error("the model is still being received: {arrived} of its {size} bytes are there")]
    Receiving {
        /// Bytes that are there.
        arrived: u64,
        /// Bytes of all files.
        size: u64,
    },
    /// What cannot be done while a staged prompt is under way.
    #[error("a staged prompt is under way, with {0} as its next stage: expected it to be done or cancelled")]
    StagedPrompt(Stage),
    /// A step of a staged prompt that was not begun.
    #[error("no staged prompt is under way: expected one to be begun")]
    NoStagedPrompt,
    /// An instruction set that this machine lacks.
    #[error("this machine does not have the instruction set '{0}'")]
    Level(Level),
    /// Memory for the KV cache or scratch.
    #[error(transparent)]
    OutOfMemory(#[from] OutOfMemory),
}

/// A KV cache and everything that is needed to go on from it.
pub struct Session {
    model: Arc<Model>,
    pool: Arc<dyn Pool>,
    crew: Crew,
    state: State,
    limits: Limits,
    level: Level,
    tokens: Vec<u32>,
    /// Positions that the KV cache has held since it was last empty.
    written: usize,
    /// The first position that what was loaded can be rewound to.
    floor: usize,
    staged: Option<StagedPrompt>,
}

impl Session {
    /// An empty session. All memory that it will use is laid out here.
    pub fn new(model: Arc<Model>, pool: Arc<dyn Pool>, options: &Options) -> Result<Self, Error> {
        if !options.level.is_available() {
            return Err(Error::Level(options.level));
        }
        let limits = model.limits(options);
        let crew = Crew::new(transformer::operations(model.spec()));
        let state = State::new(&crew, model.spec(), limits, options.kv)?;
        let (tokens, staged) = (reserved(limits.context)?, None);
        Ok(Self { model, pool, crew, state, limits, level: options.level, tokens, written: 0, floor: 0, staged })
    }

    /// The model.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// Positions in the KV cache.
    pub fn context(&self) -> usize {
        self.limits.context
    }

    /// The tokens that are in the KV cache.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Appends tokens to the KV cache; the logits behind the last one can then be had from [`Session::logits`].
    pub fn feed(&mut self, tokens: &[u32]) -> Result<(), Error> {
        self.check_ready()?;
        self.check(tokens)?;
        let batches = tokens.chunks(self.limits.batch);
        let last = batches.len().saturating_sub(1);
        for (index, batch) in batches.enumerate() {
            let wanted = if index == last { batch.len() - 1..batch.len() } else { 0..0 };
            self.pass(batch, wanted);
            self.tokens.extend_from_slice(batch);
        }
        Ok(())
    }

    /// The logits behind the last token that was fed: one for each token of the vocabulary.
    pub fn logits(&mut self) -> &[f32] {
        self.state.logits(0)
    }

    /// Appends tokens to the KV cache and calls `each` with every one's position and the logits behind it.
    pub fn feed_each(&mut self, tokens: &[u32], each: &mut dyn FnMut(usize, &[f32])) -> Result<(), Error> {
        self.check_ready()?;
        self.check(tokens)?;
        for batch in tokens.chunks(self.limits.batch.min(LOGIT_ROWS)) {
            self.pass(batch, 0..batch.len());
            for row in 0..batch.len() {
                each(self.tokens.len() + row, self.state.logits(row));
            }
            self.tokens.extend_from_slice(batch);
        }
        // The logits of the last token stay where `logits` looks for them.
        if let Some(last) = tokens.len().checked_sub(1) {
            self.state.move_logits(last % self.limits.batch.min(LOGIT_ROWS));
        }
        Ok(())
    }

    /// Drops all but the first `len` tokens, and returns how many are left. That may be none: layers with a window keep
    /// only what is still to be seen, and a few hundred positions more, so that going back further means to begin again.
    /// A staged prompt is dropped.
    pub fn rewind(&mut self, len: usize) -> usize {
        self.staged = None;
        if len < self.oldest() {
            self.tokens.clear();
        }
        self.tokens.truncate(len);
        if self.tokens.is_empty() {
            (self.written, self.floor) = (0, 0);
        }
        self.tokens.len()
    }

    /// The first position that the session can be [rewound](Self::rewind) to, other than 0.
    pub fn oldest(&self) -> usize {
        self.state.oldest(self.model.spec(), self.written).max(self.floor)
    }

    /// Makes `tokens` the content of the KV cache: keeps what they have in common with it (as far as [`Session::rewind`]
    /// can), feeds the rest. Returns how many were kept. At least the last one is fed, for its logits.
    pub fn prompt(&mut self, tokens: &[u32]) -> Result<usize, Error> {
        self.check_ready()?;
        let last = tokens.len().checked_sub(1).ok_or(Error::EmptyPrompt)?;
        let common = self.tokens.iter().zip(tokens).take_while(|(a, b)| a == b).count().min(last);
        self.check_from(common, &tokens[common..])?;
        let kept = self.rewind(common);
        self.feed(&tokens[kept..])?;
        Ok(kept)
    }

    /// Whether a pass can be run.
    fn check_ready(&self) -> Result<(), Error> {
        self.check_unstaged()?;
        if self.model.is_complete() {
            return Ok(());
        }
        let gguf = self.model.gguf();
        Err(Error::Receiving { arrived: gguf.arrived(), size: gguf.size() })
    }

    fn check_unstaged(&self) -> Result<(), Error> {
        match &self.staged {
            Some(staged) => Err(Error::StagedPrompt(staged.next)),
            None => Ok(()),
        }
    }

    fn check(&self, tokens: &[u32]) -> Result<(), Error> {
        self.check_from(self.tokens.len(), tokens)
    }

    /// Whether `tokens` can stand in the KV cache from `position` on.
    fn check_from(&self, position: usize, tokens: &[u32]) -> Result<(), Error> {
        let free = self.limits.context - position;
        if tokens.len() > free {
            return Err(Error::ContextFull { tokens: tokens.len(), free, context: self.limits.context });
        }
        let vocabulary = self.limits.vocabulary;
        match tokens.iter().find(|token| **token as usize >= vocabulary) {
            Some(&token) => Err(Error::Token { token, vocabulary }),
            None => Ok(()),
        }
    }

    /// One pass over a batch, with the logits of those of its tokens that are `wanted`.
    fn pass(&mut self, tokens: &[u32], wanted: Range<usize>) {
        let position = self.tokens.len();
        self.written = self.written.max(position + tokens.len());
        self.run(tokens, position, &|backend, model| {
            transformer::forward(backend, model.spec(), model.weights());
            if !wanted.is_empty() {
                transformer::logits(backend, model.spec(), model.weights(), wanted.clone());
            }
        });
    }

    /// Runs `work`, on all threads, for a batch of tokens from `position` on.
    fn run(&mut self, tokens: &[u32], position: usize, work: &(dyn Fn(&Cpu<'_>, &Model) + Sync)) {
        let (model, state, level) = (&*self.model, &self.state, self.level);
        self.crew.run(&*self.pool, &|team| {
            work(&Cpu { team, level, state, ropes: &model.spec().ropes, tokens, position }, model);
        });
    }
}

/// An empty list with room for so many.
fn reserved<T>(len: usize) -> Result<Vec<T>, OutOfMemory> {
    let mut list = Vec::new();
    list.try_reserve_exact(len).map_err(|_| OutOfMemory(len.saturating_mul(size_of::<T>())))?;
    Ok(list)
}
