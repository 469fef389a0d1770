//! A prompt that is computed stage by stage, as the model's file arrives.
//!
//! A stage is run for all batches of the prompt as soon as its weights are there; between stages the residual stream of all
//! tokens is kept. Which batch a layer runs for when has no influence on the results, so they are those of
//! [`Session::feed`], bit for bit.

use alloc::vec::Vec;

use super::{Error, Session, reserved};
use crate::model::{Model, Stage};
use crate::transformer::{self, Cpu, Piece};

/// What [`Session::advance`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Nothing: the weights of this stage, which is next, have not all arrived.
    Waiting(Stage),
    /// It ran this stage; there are more.
    Ran(Stage),
    /// It ran the last stage. The prompt's tokens are in the KV cache, and the logits behind them are there.
    Done,
}

/// A prompt between two stages.
pub(super) struct StagedPrompt {
    tokens: Vec<u32>,
    /// The residual stream behind the last stage: tokens × embedding.
    residual: Vec<f32>,
    pub next: Stage,
}

impl Session {
    /// Begins what [`Session::feed`] does, without computing anything: [`Session::advance`] does that, a stage at a time,
    /// and need not have the whole model. Until it is done the tokens are not in the KV cache, and nothing else can be fed
    /// ([`Error::StagedPrompt`]). Takes memory for tokens × embedding floats, and gives it back when it is done.
    pub fn begin_staged(&mut self, tokens: &[u32]) -> Result<(), Error> {
        self.check_unstaged()?;
        if tokens.is_empty() {
            return Err(Error::EmptyPrompt);
        }
        self.check(tokens)?;
        let mut kept = reserved(tokens.len())?;
        kept.extend_from_slice(tokens);
        let floats = tokens.len().saturating_mul(self.model().spec().embedding);
        let mut residual = reserved(floats)?;
        residual.resize(floats, 0.0);
        self.staged = Some(StagedPrompt { tokens: kept, residual, next: Stage::Embedding });
        Ok(())
    }

    /// Runs the next stage of the prompt that [`Session::begin_staged`] began, if its weights have arrived.
    /// [`Error::NoStagedPrompt`] where there is none.
    pub fn advance(&mut self) -> Result<Progress, Error> {
        let mut staged = self.staged.take().ok_or(Error::NoStagedPrompt)?;
        let stage = staged.next;
        if !self.model().has_arrived(stage) {
            self.staged = Some(staged);
            return Ok(Progress::Waiting(stage));
        }
        self.run_stage(stage, &mut staged);
        match stage.next(self.model().spec().layers.len()) {
            Some(next) => {
                self.staged = Some(StagedPrompt { next, ..staged });
                Ok(Progress::Ran(stage))
            }
            None => {
                self.sequence.tokens.extend_from_slice(&staged.tokens);
                Ok(Progress::Done)
            }
        }
    }

    /// Drops the staged prompt, if there is one, and returns how many tokens are left in the KV cache. As with
    /// [`Session::rewind`] that may be none, where the prompt has written over what windows still see.
    pub fn cancel_staged(&mut self) -> usize {
        self.rewind(self.tokens().len())
    }

    fn run_stage(&mut self, stage: Stage, staged: &mut StagedPrompt) {
        let (width, batch, start) = (self.model().spec().embedding, self.runner.batch(), self.tokens().len());
        let StagedPrompt { tokens, residual, .. } = staged;
        if let Stage::Layer(_) = stage {
            self.sequence.begin(tokens.len());
        }
        // Logits are those behind the last token alone.
        let first = if stage == Stage::Output { tokens.len() - 1 } else { 0 };
        let batches = tokens[first..].chunks(batch).zip(residual[first * width..].chunks_mut(batch * width));
        for (index, (tokens, rows)) in batches.enumerate() {
            self.runner.state.residual()[..rows.len()].copy_from_slice(rows);
            let position = start + first + index * batch;
            let piece = Piece { tokens, position, cache: &self.sequence.cache, wanted: 1 };
            self.runner.run(&[piece], &|backend, model| run(stage, backend, model));
            rows.copy_from_slice(&self.runner.state.residual()[..rows.len()]);
        }
    }
}

/// Runs a stage for a batch.
fn run(stage: Stage, backend: &Cpu<'_>, model: &Model) {
    let (spec, weights) = (model.spec(), model.weights());
    match stage {
        Stage::Embedding => transformer::embed(backend, spec, weights),
        Stage::Layer(index) => transformer::layer(backend, spec, weights, index),
        Stage::Output => transformer::logits(backend, spec, weights),
    }
}
