//! Passes over several sequences at once.
//!
//! A [`Runner`] has the threads and the scratch of a pass, a [`Sequence`] the keys and values of one text. A pass takes tokens
//! of any sequences of the runner together: each weight is then read once for all of them. Which sequences share a pass
//! has no influence on the results.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{Error, reserved};
use crate::bytes::Crew;
use crate::model::{Model, Options};
use crate::pool::Pool;
use crate::simd::Level;
use crate::transformer::{self, Batch, Cpu, KvCache, KvType, Limits, Piece, State, ThreadScratch};

/// A model with the threads and the memory that passes take, apart from KV caches.
pub struct Runner {
    model: Arc<Model>,
    pool: Arc<dyn Pool>,
    crew: Crew,
    /// One for each thread.
    scratch: Box<[ThreadScratch]>,
    pub(super) state: State,
    limits: Limits,
    level: Level,
    kv: KvType,
}

/// The tokens of one text, with their keys and values.
pub struct Sequence {
    model: Arc<Model>,
    level: Level,
    limits: Limits,
    pub(super) cache: KvCache,
    pub(super) tokens: Vec<u32>,
    /// Positions that the KV cache has held since it was last empty.
    written: usize,
    /// The first position that what was loaded can be rewound to.
    floor: usize,
}

/// A sequence's part in a pass.
pub struct Entry<'a> {
    /// The sequence.
    pub sequence: &'a mut Sequence,
    /// Tokens to append, at least one.
    pub tokens: &'a [u32],
    /// Of how many of these, the last ones, logits are wanted.
    pub logits: usize,
}

impl Runner {
    /// A runner for sequences of up to `options.context` positions; passes take up to `options.batch` tokens, and compute
    /// logits of up to [`Runner::logit_rows`] of them. All memory but that of sequences is laid out here.
    pub fn new(model: Arc<Model>, pool: Arc<dyn Pool>, options: &Options) -> Result<Self, Error> {
        if !options.level.is_available() {
            return Err(Error::Level(options.level));
        }
        let limits = model.limits(options);
        let crew = Crew::new(transformer::operations(model.spec()));
        let state = State::new(&crew, model.spec(), limits, options.kv)?;
        let scratch = (0..pool.threads()).map(|_| ThreadScratch::default()).collect();
        Ok(Self { model, pool, crew, scratch, state, limits, level: options.level, kv: options.kv })
    }

    /// An empty sequence. Its memory is laid out here, and taken as positions are filled.
    pub fn sequence(&self) -> Result<Sequence, Error> {
        let cache = KvCache::new(&self.crew, self.model.spec(), self.limits, self.kv)?;
        let tokens = reserved(self.limits.context)?;
        let (model, level, limits) = (self.model.clone(), self.level, self.limits);
        Ok(Sequence { model, level, limits, cache, tokens, written: 0, floor: 0 })
    }

    /// The model.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// Tokens that one pass takes at most.
    pub fn batch(&self) -> usize {
        self.limits.batch
    }

    /// Tokens whose logits one pass computes at most.
    pub fn logit_rows(&self) -> usize {
        self.limits.logit_rows
    }

    /// Appends tokens to sequences, in one pass. The logits that were asked for can then be had from [`Runner::logits`].
    /// Where one entry is refused, nothing is done.
    ///
    /// # Panics
    /// Where a sequence is another runner's.
    pub fn decode(&mut self, entries: &mut [Entry<'_>]) -> Result<(), Error> {
        self.check(entries)?;
        if entries.is_empty() {
            return Ok(());
        }
        let mut pieces = reserved(entries.len())?;
        for Entry { sequence, tokens, logits } in &mut *entries {
            sequence.begin(tokens.len());
            pieces.push(sequence.piece(tokens, *logits));
        }
        self.pass(&pieces);
        for Entry { sequence, tokens, .. } in entries {
            sequence.tokens.extend_from_slice(tokens);
        }
        Ok(())
    }

    /// Logits that the last pass computed, one for each token of the vocabulary: those that the first entry asked for come
    /// first.
    ///
    /// # Panics
    /// Where `row` is not below [`Runner::logit_rows`].
    pub fn logits(&mut self, row: usize) -> &[f32] {
        self.state.logits(row)
    }

    /// [`Runner::logits`] row by row, for several threads at a time.
    pub fn rows(&mut self) -> impl Iterator<Item = &[f32]> {
        self.state.all_logits().chunks_exact(self.limits.vocabulary)
    }

    pub(super) fn limits(&self) -> Limits {
        self.limits
    }

    /// Whether a pass can be run.
    pub(super) fn check_complete(&self) -> Result<(), Error> {
        if self.model.is_complete() {
            return Ok(());
        }
        let gguf = self.model.gguf();
        Err(Error::Receiving { arrived: gguf.arrived(), size: gguf.size() })
    }

    fn check(&self, entries: &[Entry<'_>]) -> Result<(), Error> {
        self.check_complete()?;
        for Entry { sequence, tokens, .. } in entries {
            if tokens.is_empty() {
                return Err(Error::EmptyPrompt);
            }
            sequence.check(sequence.tokens.len(), tokens)?;
        }
        let Limits { batch, logit_rows, .. } = self.limits;
        let tokens = entries.iter().map(|entry| entry.tokens.len()).sum();
        if tokens > batch {
            return Err(Error::BatchFull { tokens, batch });
        }
        let wanted = entries.iter().map(|entry| entry.logits.min(entry.tokens.len())).sum();
        if wanted > logit_rows {
            return Err(Error::TooManyLogits { wanted, rows: logit_rows });
        }
        Ok(())
    }

    /// A pass through all layers, with the logits that are wanted.
    pub(super) fn pass(&mut self, pieces: &[Piece<'_>]) {
        self.run(pieces, &|backend, model| {
            transformer::forward(backend, model.spec(), model.weights());
            if backend.batch.wanted() > 0 {
                transformer::logits(backend, model.spec(), model.weights());
            }
        });
    }

    /// Runs `work`, on all threads, for a batch.
    pub(super) fn run(&mut self, pieces: &[Piece<'_>], work: &(dyn Fn(&Cpu<'_>, &Model) + Sync)) {
        let (model, state, level, scratch) = (&*self.model, &self.state, self.level, &self.scratch);
        let batch = &Batch::new(pieces);
        self.crew.run(&*self.pool, &|team| {
            work(&Cpu { team, level, state, ropes: &model.spec().ropes, batch, scratch }, model);
        });
    }
}

impl Sequence {
    /// Its tokens.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Positions that it has room for.
    pub fn context(&self) -> usize {
        self.limits.context
    }

    /// The model.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
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

    /// The least number of tokens, apart from 0, that it can be rewound to.
    pub fn oldest(&self) -> usize {
        KvCache::oldest(self.model.spec(), self.limits, self.written).max(self.floor)
    }

    /// Whether `tokens` can stand from `position` on.
    pub(super) fn check(&self, position: usize, tokens: &[u32]) -> Result<(), Error> {
        let Limits { context, vocabulary, .. } = self.limits;
        let free = context - position;
        if tokens.len() > free {
            return Err(Error::ContextFull { tokens: tokens.len(), free, context });
        }
        match tokens.iter().find(|token| **token as usize >= vocabulary) {
            Some(&token) => Err(Error::Token { token, vocabulary }),
            None => Ok(()),
        }
    }

    /// Notes that a pass will fill so many more positions.
    pub(super) fn begin(&mut self, tokens: usize) {
        self.written = self.written.max(self.tokens.len() + tokens);
    }

    /// A pass's part that appends `tokens`.
    pub(super) fn piece<'a>(&'a self, tokens: &'a [u32], wanted: usize) -> Piece<'a> {
        Piece { tokens, position: self.tokens.len(), cache: &self.cache, wanted: wanted.min(tokens.len()) }
    }

    pub(super) fn level(&self) -> Level {
        self.level
    }

    pub(super) fn limits(&self) -> Limits {
        self.limits
    }

    /// Makes `tokens`, whose keys and values were loaded, its content.
    pub(super) fn set_loaded(&mut self, tokens: impl Iterator<Item = u32>, oldest: usize) {
        self.tokens.clear();
        self.tokens.extend(tokens);
        (self.written, self.floor) = (self.tokens.len(), oldest);
    }
}
