//! One conversation with a model: the tokens in its KV cache, and the logits behind them. [`Runner`] is for several.

mod generate;
mod runner;
mod snapshot;
mod staged;

pub use crate::model::{Memory, Model, Options, Stage};
pub use crate::transformer::KvType;
pub use generate::{Continuation, Finish, Generation, Piece, Until};
pub use runner::{Entry, Runner, Sequence};
pub use snapshot::SnapshotError;
pub use staged::Progress;

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::bytes::OutOfMemory;
use crate::model::LOGIT_ROWS;
use crate::pool::Pool;
use crate::simd::Level;
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
    /// More tokens than one pass takes.
    #[error("a pass over {tokens} tokens, expected at most {batch}")]
    BatchFull {
        /// Tokens of all entries.
        tokens: usize,
        /// Tokens that a pass takes.
        batch: usize,
    },
    /// More logits than one pass computes.
    #[error("a pass with logits of {wanted} tokens, expected at most {rows}")]
    TooManyLogits {
        /// Tokens whose logits are wanted.
        wanted: usize,
        /// Rows of logits that a pass computes.
        rows: usize,
    },
    /// Tokens that cannot be saved without those behind them: what their window saw is no longer there.
    #[error("the first {len} tokens cannot be had by themselves: expected none, or at least {oldest}")]
    Forgotten {
        /// Tokens to be saved.
        len: usize,
        /// The least number that can be.
        oldest: usize,
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
    runner: Runner,
    sequence: Sequence,
    staged: Option<StagedPrompt>,
}

impl Session {
    /// An empty session. All memory that it will use is laid out here.
    pub fn new(model: Arc<Model>, pool: Arc<dyn Pool>, options: &Options) -> Result<Self, Error> {
        let runner = Runner::new(model, pool, options)?;
        let sequence = runner.sequence()?;
        Ok(Self { runner, sequence, staged: None })
    }

    /// The model.
    pub fn model(&self) -> &Arc<Model> {
        self.runner.model()
    }

    /// Positions in the KV cache.
    pub fn context(&self) -> usize {
        self.sequence.context()
    }

    /// The tokens that are in the KV cache.
    pub fn tokens(&self) -> &[u32] {
        self.sequence.tokens()
    }

    /// Appends tokens to the KV cache; the logits behind the last one can then be had from [`Session::logits`].
    pub fn feed(&mut self, tokens: &[u32]) -> Result<(), Error> {
        self.check_ready()?;
        self.check(tokens)?;
        let batches = tokens.chunks(self.runner.batch());
        let last = batches.len().saturating_sub(1);
        for (index, batch) in batches.enumerate() {
            self.pass(batch, usize::from(index == last));
        }
        Ok(())
    }

    /// The logits behind the last token that was fed: one for each token of the vocabulary.
    pub fn logits(&mut self) -> &[f32] {
        self.runner.logits(0)
    }

    /// Appends tokens to the KV cache and calls `each` with every one's position and the logits behind it.
    pub fn feed_each(&mut self, tokens: &[u32], each: &mut dyn FnMut(usize, &[f32])) -> Result<(), Error> {
        self.check_ready()?;
        self.check(tokens)?;
        let rows = self.runner.batch().min(LOGIT_ROWS);
        for batch in tokens.chunks(rows) {
            let position = self.tokens().len();
            self.pass(batch, batch.len());
            for row in 0..batch.len() {
                each(position + row, self.runner.logits(row));
            }
        }
        // The logits of the last token stay where `logits` looks for them.
        if let Some(last) = tokens.len().checked_sub(1) {
            self.runner.state.move_logits(last % rows);
        }
        Ok(())
    }

    /// [`Sequence::rewind`]. A staged prompt is dropped.
    pub fn rewind(&mut self, len: usize) -> usize {
        self.staged = None;
        self.sequence.rewind(len)
    }

    /// Makes `tokens` the content of the KV cache: keeps what they have in common with it (as far as [`Session::rewind`]
    /// can), feeds the rest. Returns how many were kept. At least the last one is fed, for its logits.
    pub fn prompt(&mut self, tokens: &[u32]) -> Result<usize, Error> {
        self.check_ready()?;
        let last = tokens.len().checked_sub(1).ok_or(Error::EmptyPrompt)?;
        let common = self.tokens().iter().zip(tokens).take_while(|(a, b)| a == b).count().min(last);
        self.sequence.check(common, &tokens[common..])?;
        let kept = self.rewind(common);
        self.feed(&tokens[kept..])?;
        Ok(kept)
    }

    /// Whether a pass can be run.
    fn check_ready(&self) -> Result<(), Error> {
        self.check_unstaged()?;
        self.runner.check_complete()
    }

    fn check_unstaged(&self) -> Result<(), Error> {
        match &self.staged {
            Some(staged) => Err(Error::StagedPrompt(staged.next)),
            None => Ok(()),
        }
    }

    fn check(&self, tokens: &[u32]) -> Result<(), Error> {
        self.sequence.check(self.tokens().len(), tokens)
    }

    /// One pass over a batch, with the logits of so many of its last tokens.
    fn pass(&mut self, tokens: &[u32], wanted: usize) {
        self.sequence.begin(tokens.len());
        self.runner.pass(&[self.sequence.piece(tokens, wanted)]);
        self.sequence.tokens.extend_from_slice(tokens);
    }
}

/// An empty list with room for so many.
fn reserved<T>(len: usize) -> Result<Vec<T>, OutOfMemory> {
    let mut list = Vec::new();
    list.try_reserve_exact(len).map_err(|_| OutOfMemory(len.saturating_mul(size_of::<T>())))?;
    Ok(list)
}
