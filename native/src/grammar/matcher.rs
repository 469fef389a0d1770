//! An answer that follows a grammar.

use std::time::Instant;

use llguidance::toktrie::SimpleVob;
use tracing::trace;
use woolly_engine::sampler::Sampler;

use super::Vocabulary;

/// What may come next in an answer.
pub struct Matcher {
    state: llguidance::Matcher,
    vocabulary: Vocabulary,
    /// The logits that the sampler sees.
    logits: Vec<f32>,
}

/// An answer cannot go on, though the grammar does.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer cannot go on by the grammar: {0}")]
pub struct Stuck(String);

impl Matcher {
    /// At this state.
    pub(super) fn new(state: llguidance::Matcher, vocabulary: Vocabulary) -> Self {
        Self { state, vocabulary, logits: Vec::new() }
    }

    /// Chooses one of the tokens that may come; `None`: the answer is complete, and nothing may.
    pub fn sample(&mut self, logits: &[f32], sampler: &mut Sampler) -> Result<Option<u32>, Stuck> {
        if self.is_complete() {
            return Ok(None);
        }
        let start = Instant::now();
        let may_end = self.state.is_accepting().map_err(|cause| stuck(&cause))?;
        let allowed = match self.state.compute_mask() {
            Ok(allowed) => allowed,
            Err(_) if may_end => return Ok(None),
            Err(cause) => return Err(stuck(&cause)),
        };
        trace!(time = ?start.elapsed(), tokens = allowed.num_set(), "mask");
        // Which of several ends it is makes no difference, not even where ends are not wanted.
        if self.is_end_alone(&allowed) {
            return Ok(None);
        }
        self.logits.clear();
        self.logits.extend(
            logits.iter().zip(0..).map(|(logit, id)| if allowed.is_allowed(id) { *logit } else { f32::NEG_INFINITY }),
        );
        let token = sampler.sample(&self.logits);
        // So it is where biases leave none of the tokens.
        if allowed.is_allowed(token) { Ok(Some(token)) } else { Err(Stuck("no token is left to choose from".into())) }
    }

    /// Goes on behind a token that was chosen. Tokens that end an answer are none.
    pub fn accept(&mut self, token: u32) -> Result<(), Stuck> {
        self.state.consume_token(token).map_err(|cause| stuck(&cause))
    }

    /// Whether the answer is complete, and nothing may follow.
    pub fn is_complete(&self) -> bool {
        self.state.is_stopped() && !self.state.is_error()
    }

    fn is_end_alone(&self, allowed: &SimpleVob) -> bool {
        let tokenizer = self.vocabulary.tokenizer();
        allowed.iter().all(|token| tokenizer.is_end(token))
    }
}

fn stuck(cause: &impl std::fmt::Display) -> Stuck {
    Stuck(cause.to_string().lines().next().unwrap_or_default().to_owned())
}
