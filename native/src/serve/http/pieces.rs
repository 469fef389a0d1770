//! An answer's tokens, put together to pieces that have text.

use woolly_engine::tokenizer::Tokenizer;

use super::probabilities::ChosenLogprob;
use crate::serve::job::Token;

/// Text that is certain, with the tokens that led to it.
#[derive(Debug, Default)]
pub struct Piece {
    /// The text.
    pub text: String,
    /// The tokens since the last piece.
    pub tokens: Vec<u32>,
    /// Their probabilities, where they were asked for.
    pub logprobs: Vec<ChosenLogprob>,
}

impl Piece {
    /// Adds a step of the answer.
    pub fn add(&mut self, token: Token, tokenizer: &Tokenizer) {
        self.text += &token.text;
        self.tokens.extend(token.id);
        if let (Some(id), Some(probabilities)) = (token.id, token.probabilities) {
            self.logprobs.push(ChosenLogprob::new(id, &probabilities, tokenizer));
        }
    }

    /// Adds a step of the answer, and gives the piece away once it has text.
    pub fn push(&mut self, token: Token, tokenizer: &Tokenizer) -> Option<Piece> {
        self.add(token, tokenizer);
        (!self.text.is_empty()).then(|| std::mem::take(self))
    }
}
