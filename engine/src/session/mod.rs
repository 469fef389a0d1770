//! One conversation with a model: the tokens in its KV cache, and the logits behind them.

mod generate;
mod snapshot;

pub use crate::model::{Memory, Model, Options};
pub use crate::transformer::KvType;
pub use generate::{Continuation, Finish, Generation, Piece, Until};
pub use snapshot::SnapshotError;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

use crate::bytes::{Crew, OutOfMemory};
use crate::model::LOGIT_ROWS;
use crate::pool::Pool;
use crate::simd::Level;
use crate::transformer::{self, Cpu, Limits, State};

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
        let mut tokens = Vec::new();
        tokens.try_reserve_exact(limits.context).map_err(|_| OutOfMemory(4 * limits.context))?;
        Ok(Self { model, pool, crew, state, limits, level: options.level, tokens, written: 0, floor: 0 })
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
    pub fn rewind(&mut self, len: usize) -> usize {
        if len < self.oldest() {
            self.tokens.clear();
        }
        self.tokens.truncate(len);
        if self.tokens.is_empty() {
            (self.written, self.floor) = (0, 0);
        }
        self.tokens.len()
    }

    /// Makes `tokens` the content of the KV cache: keeps what they have in common with it (as far as [`Session::rewind`]
    /// can), feeds the rest. Returns how many were kept. At least the last one is fed, for its logits.
    pub fn prompt(&mut self, tokens: &[u32]) -> Result<usize, Error> {
        let last = tokens.len().checked_sub(1).ok_or(Error::EmptyPrompt)?;
        let common = self.tokens.iter().zip(tokens).take_while(|(a, b)| a == b).count().min(last);
        self.check_from(common, &tokens[common..])?;
        let kept = self.rewind(common);
        self.feed(&tokens[kept..])?;
        Ok(kept)
    }

    /// The first position that the session can be rewound to, other than 0.
    fn oldest(&self) -> usize {
        self.state.oldest(self.model.spec(), self.written).max(self.floor)
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
        let (model, state) = (&*self.model, &self.state);
        let (level, position) = (self.level, self.tokens.len());
        self.written = self.written.max(position + tokens.len());
        self.crew.run(&*self.pool, &|team| {
            let backend = Cpu { team, level, state, ropes: &model.spec().ropes, tokens, position };
            transformer::forward(&backend, model.spec(), model.weights());
            if !wanted.is_empty() {
                transformer::logits(&backend, model.spec(), model.weights(), wanted.clone());
            }
        });
    }
}
