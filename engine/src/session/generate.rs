//! Text from a session: sample, decode, stop.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

use super::{Error, Session};
use crate::sampler::{Sampler, Vocabulary};
use crate::tokenizer::{Decoder, Tokenizer};

/// When a generation ends, besides the model's own end.
#[derive(Debug, Clone, Default)]
pub struct Until {
    /// After this many tokens; `None`: when the context is full.
    pub max_tokens: Option<usize>,
    /// Before any of these strings.
    pub stop: Vec<String>,
    /// Whether the model's end-of-generation tokens are generated over.
    pub ignore_end: bool,
}

/// Why a generation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// The model said so.
    End,
    /// A stop string.
    Stop,
    /// The number of tokens.
    Length,
    /// The context is full.
    Context,
}

impl Finish {
    /// The name that the OpenAI API gives it.
    pub fn reason(self) -> &'static str {
        match self {
            Self::End | Self::Stop => "stop",
            Self::Length | Self::Context => "length",
        }
    }
}

/// A step of a generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The token; `None` for text that was held back until the end.
    pub token: Option<u32>,
    /// The text that is now certain: empty while a character, or what may be a stop string, is incomplete.
    pub text: String,
}

/// A generation that owns what it knows, and is lent a session and a sampler for each token: for hosts that step from
/// outside. [`Generation`] is the same as an iterator.
pub struct Continuation {
    until: Until,
    decoder: Decoder,
    held: String,
    pending: Option<u32>,
    generated: usize,
    finish: Option<Finish>,
    /// Which of the stop strings ended it.
    stopped_by: Option<usize>,
}

/// The continuation of what is in a session's KV cache, token by token.
pub struct Generation<'a> {
    session: &'a mut Session,
    sampler: &'a mut Sampler,
    continuation: Continuation,
}

impl Session {
    /// Generates from the logits that the last [`Session::feed`] or [`Session::prompt`] left.
    pub fn generate<'a>(&'a mut self, sampler: &'a mut Sampler, until: Until) -> Generation<'a> {
        let continuation = Continuation::new(self.model().tokenizer(), until);
        Generation { session: self, sampler, continuation }
    }
}

impl Generation<'_> {
    /// How many tokens have been generated.
    pub fn generated(&self) -> usize {
        self.continuation.generated()
    }

    /// Why the generation ended; `None` while it goes on.
    pub fn finish(&self) -> Option<Finish> {
        self.continuation.finish()
    }
}

impl Iterator for Generation<'_> {
    type Item = Result<Piece, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.continuation.next(self.session, self.sampler)
    }
}

impl Continuation {
    /// The beginning of a generation, whose tokens are `tokenizer`'s.
    pub fn new(tokenizer: &Tokenizer, until: Until) -> Self {
        let finish = (until.max_tokens == Some(0)).then_some(Finish::Length);
        let decoder = tokenizer.decoder(false);
        Self { until, decoder, held: String::new(), pending: None, generated: 0, finish, stopped_by: None }
    }

    /// The next step; `None` after the end. The first samples from the logits that the last [`Session::feed`] or
    /// [`Session::prompt`] left, every other feeds the token before it: so nothing else may be fed in between, and session
    /// and sampler must be the same ones throughout.
    pub fn next(&mut self, session: &mut Session, sampler: &mut Sampler) -> Option<Result<Piece, Error>> {
        if self.finish.is_some() {
            return None;
        }
        Some(self.step(session, sampler))
    }

    /// How many tokens have been generated.
    pub fn generated(&self) -> usize {
        self.generated
    }

    /// Why the generation ended; `None` while it goes on.
    pub fn finish(&self) -> Option<Finish> {
        self.finish
    }

    /// The stop string that ended the text; `None` while none has.
    pub fn stop(&self) -> Option<&str> {
        self.stopped_by.map(|index| self.until.stop[index].as_str())
    }

    /// The step that a token is, for hosts that feed and sample themselves: nothing is fed here. A token that ends the
    /// generation is not in the piece, and no part of the text.
    pub fn accept(&mut self, tokenizer: &Tokenizer, token: u32) -> Piece {
        if tokenizer.is_end(token) && !self.until.ignore_end {
            return self.end(Finish::End);
        }
        self.generated += 1;
        self.held += &self.decoder.push(tokenizer, token);
        if let Some(at) = self.find_stop() {
            self.held.truncate(at);
            self.finish = Some(Finish::Stop);
            return Piece { token: Some(token), text: core::mem::take(&mut self.held) };
        }
        if self.until.max_tokens == Some(self.generated) {
            return Piece { token: Some(token), ..self.end(Finish::Length) };
        }
        let certain = self.held.len() - self.doubtful();
        let rest = self.held.split_off(certain);
        Piece { token: Some(token), text: core::mem::replace(&mut self.held, rest) }
    }

    /// Ends the generation with all text that was held back: where a token ends it, or a host that feeds itself has no
    /// room for the next one.
    pub fn end(&mut self, finish: Finish) -> Piece {
        self.finish = Some(finish);
        self.held += &self.decoder.finish();
        if let Some(at) = self.find_stop() {
            self.held.truncate(at);
        }
        Piece { token: None, text: core::mem::take(&mut self.held) }
    }

    /// The next token: fed lazily, so that a generation never computes logits that nobody asks for.
    fn step(&mut self, session: &mut Session, sampler: &mut Sampler) -> Result<Piece, Error> {
        if let Some(token) = self.pending.take() {
            if session.tokens().len() == session.context() {
                return Ok(self.end(Finish::Context));
            }
            session.feed(&[token])?;
        }
        let token = sampler.sample(session.logits());
        let piece = self.accept(session.runner.model().tokenizer(), token);
        if piece.token.is_some() {
            sampler.accept(token);
            self.pending = Some(token);
        }
        Ok(piece)
    }

    /// Where the first stop string begins.
    fn find_stop(&mut self) -> Option<usize> {
        let stops = self.until.stop.iter().enumerate().filter(|(_, stop)| !stop.is_empty());
        let (at, index) = stops.filter_map(|(index, stop)| Some((self.held.find(stop.as_str())?, index))).min()?;
        self.stopped_by = Some(index);
        Some(at)
    }

    /// Bytes at the end of the text that may be the beginning of a stop string.
    fn doubtful(&self) -> usize {
        let of_stop = |stop: &String| {
            let longest = stop.len().saturating_sub(1).min(self.held.len());
            (1..=longest).rev().find(|&n| self.held.as_bytes().ends_with(&stop.as_bytes()[..n])).unwrap_or(0)
        };
        let doubtful = self.until.stop.iter().map(of_stop).max().unwrap_or(0);
        // A byte-wise match may begin within a character: then that character cannot be the beginning.
        let start = self.held.len() - doubtful;
        if self.held.is_char_boundary(start) { doubtful } else { 0 }
    }
}

impl Vocabulary for Tokenizer {
    fn len(&self) -> usize {
        self.vocab_len()
    }

    fn piece(&self, id: u32) -> Cow<'_, [u8]> {
        Cow::Owned(self.piece(id, true))
    }

    fn encode(&self, text: &[u8]) -> Vec<u32> {
        self.encode(text, false, false)
    }

    fn is_end(&self, id: u32) -> bool {
        self.is_end(id)
    }
}
