//! A model, ready to run: the file, its spec, its weights and its tokenizer.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use crate::arch;
use crate::gguf::{self, Gguf, Place};
use crate::simd::Level;
use crate::spec::Spec;
use crate::tokenizer::{self, Tokenizer};
use crate::transformer::{KvCache, KvType, Limits, State, ThreadScratch};
use crate::weights::{self, Weights};

pub use crate::weights::Stage;

/// Rows of logits that one pass computes when all are wanted.
pub(crate) const LOGIT_ROWS: usize = 8;

/// A loaded model. Loading reads the header; the weights stay in the file, and may still be on their way: a pass needs
/// them all, a [`Stage`] of one its own.
#[derive(Debug)]
pub struct Model {
    gguf: Gguf,
    spec: Spec,
    weights: Weights,
    tokenizer: Tokenizer,
    /// Whether all weights are known to be there.
    complete: AtomicBool,
}

/// Why a file is not a model that the engine runs.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// The file's structure or an entry of its metadata.
    #[error(transparent)]
    Gguf(#[from] gguf::Error),
    /// The architecture.
    #[error(transparent)]
    Architecture(#[from] arch::Error),
    /// The tensors.
    #[error(transparent)]
    Weights(#[from] weights::Error),
    /// The vocabulary.
    #[error(transparent)]
    Tokenizer(#[from] tokenizer::Error),
}

/// How a session runs a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Positions in the KV cache; 0: as many as the model was trained for.
    pub context: usize,
    /// Tokens of a prompt that are computed together, at least 1. Has no influence on the results.
    pub batch: usize,
    /// Sequences that share a pass, for each of which it computes logits. Has no influence on the results.
    pub sequences: usize,
    /// How the KV cache stores its numbers.
    pub kv: KvType,
    /// The instruction set. Has no influence on the results.
    pub level: Level,
}

impl Default for Options {
    fn default() -> Self {
        Self { context: 0, batch: 256, sequences: 1, kv: KvType::F16, level: Level::best() }
    }
}

/// Bytes that a session needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// The file, mapped; it is shared with the system's cache.
    pub weights: u64,
    /// Keys and values of all positions. Taken as positions are filled.
    pub kv_cache: u64,
    /// Everything else that a pass writes.
    pub scratch: u64,
}

impl Model {
    /// Checks that `gguf` holds a model that the engine runs. Of a file that is still being received that takes the header,
    /// and the tensor `rope_freqs.weight` where there is one ([`gguf::Error::NotArrived`]: try again later).
    pub fn load(gguf: Gguf) -> Result<Self, Error> {
        let spec = arch::spec(&gguf)?;
        let tokenizer = Tokenizer::from_metadata(gguf.metadata())?;
        let weights = Weights::new(&gguf, &spec, tokenizer.vocab_len())?;
        let model = Self { gguf, spec, weights, tokenizer, complete: AtomicBool::new(false) };
        // Decodes the vectors of a file that is there.
        model.is_complete();
        Ok(model)
    }

    /// The stages of a pass, first to last.
    pub fn stages(&self) -> impl Iterator<Item = Stage> {
        let layers = self.spec.layers.len();
        core::iter::successors(Some(Stage::Embedding), move |stage| stage.next(layers))
    }

    /// Where in the files the weights of a stage lie, in no certain order.
    pub fn places(&self, stage: Stage) -> Vec<Place> {
        stage.places(&self.gguf)
    }

    /// Whether the weights of a stage are there.
    pub fn has_arrived(&self, stage: Stage) -> bool {
        self.complete.load(Ordering::Acquire) || stage.has_arrived(&self.gguf)
    }

    /// Whether the weights of all stages are there.
    pub fn is_complete(&self) -> bool {
        if self.complete.load(Ordering::Acquire) {
            return true;
        }
        let complete = self.gguf.arrived() == self.gguf.size() || self.stages().all(|stage| self.has_arrived(stage));
        if complete {
            self.weights.decode_vectors();
            self.complete.store(true, Ordering::Release);
        }
        complete
    }

    /// The file.
    pub fn gguf(&self) -> &Gguf {
        &self.gguf
    }

    /// What the model computes.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// The weights, as views of the file.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The chat template's source, where the file has one.
    pub fn chat_template(&self) -> Option<&str> {
        self.gguf.metadata().string("tokenizer.chat_template").ok().flatten()
    }

    /// What a session with these options takes, and one thread.
    pub fn memory(&self, options: &Options) -> Memory {
        Memory { weights: self.gguf.size(), ..needed(&self.spec, self.limits(options), options.kv) }
    }

    /// The longest context whose KV cache and scratch fit into `bytes`, at most the model's own.
    pub fn context_within(&self, bytes: u64, options: &Options) -> usize {
        let fits = |context| {
            let Memory { kv_cache, scratch, .. } = self.memory(&Options { context, ..*options });
            kv_cache + scratch <= bytes
        };
        let (mut fitting, mut too_long) = (0, self.spec.context + 1);
        while too_long - fitting > 1 {
            let middle = fitting.midpoint(too_long);
            *(if fits(middle) { &mut fitting } else { &mut too_long }) = middle;
        }
        fitting
    }

    /// The sizes that these options ask for.
    pub(crate) fn limits(&self, options: &Options) -> Limits {
        limits(&self.spec, self.tokenizer.vocab_len(), options)
    }
}

impl Memory {
    /// What a session with these options will take, when no more than [a header](Gguf::outline) is there; the weights are
    /// 0, since the header does not say how long the files are.
    pub fn estimate(outline: &Gguf, options: &Options) -> Result<Self, Error> {
        let spec = arch::spec(outline)?;
        let vocabulary = Tokenizer::from_metadata(outline.metadata())?.vocab_len();
        Ok(needed(&spec, limits(&spec, vocabulary, options), options.kv))
    }
}

/// What the KV cache and the scratch take.
fn needed(spec: &Spec, limits: Limits, kv: KvType) -> Memory {
    let scratch = State::bytes(spec, limits, kv) + size_of::<ThreadScratch>() as u64;
    Memory { weights: 0, kv_cache: KvCache::bytes(spec, limits, kv), scratch }
}

fn limits(spec: &Spec, vocabulary: usize, options: &Options) -> Limits {
    let context = if options.context == 0 { spec.context } else { options.context };
    // More tokens than all sequences have room for never share a pass.
    let batch = options.batch.clamp(1, context.saturating_mul(options.sequences.max(1)));
    Limits { context, batch, logit_rows: LOGIT_ROWS.max(options.sequences).min(batch), vocabulary }
}
