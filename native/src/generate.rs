//! One answer: feed the prompt, then sample, print and feed token after token until something stops it.

use std::iter::zip;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use woolly_engine::sampler::Sampler;
use woolly_engine::session::{Continuation, Finish, Piece, Session, Until};

use crate::error::{Error, Result};
use crate::grammar::{self, Matcher, Stuck};
use crate::interrupt::Interrupt;

/// How many tokens of a prompt are fed between two looks at Ctrl-C.
const PIECE: usize = 512;

/// When to stop, besides the model's own end.
pub struct Limits<'a> {
    /// Tokens to generate at most.
    pub max_tokens: Option<usize>,
    /// Texts that end the answer and are not part of it.
    pub stops: &'a [String],
    /// Ctrl-C.
    pub interrupt: &'a Interrupt,
}

/// Where text goes as it comes.
pub type Print<'a> = &'a mut dyn FnMut(&str) -> Result<()>;

/// What was generated, and how fast.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The text.
    pub text: String,
    /// The tokens, without the one that ended it.
    pub tokens: Vec<u32>,
    /// Why it ended; `None` where the user stopped it.
    pub finish: Option<Finish>,
    /// How long each part took.
    pub timings: Timings,
}

/// How many tokens were computed, and how long it took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timings {
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Those of them that were in the KV cache already.
    pub reused: usize,
    /// Time for the others.
    pub prompt_time: Duration,
    /// Tokens that were fed while generating: all but the last one.
    pub decoded: usize,
    /// Time for these.
    pub decode_time: Duration,
}

/// A session, and how to choose its next token.
pub struct Generator<'a> {
    /// Computes logits.
    pub session: &'a mut Session,
    /// Chooses tokens.
    pub sampler: Sampler,
    /// Says which ones it may choose from, where not all.
    pub matcher: Option<Matcher>,
}

impl Generator<'_> {
    /// Answers `prompt`; `print` gets the text as it comes.
    pub fn answer(&mut self, prompt: &[u32], limits: &Limits, print: Print) -> Result<Answer> {
        let start = Instant::now();
        let fed = self.feed_prompt(prompt, limits.interrupt)?;
        let (prompt_tokens, prompt_time) = (prompt.len(), start.elapsed());
        let timings = Timings { prompt_tokens, reused: fed.reused, prompt_time, ..Timings::default() };
        let mut answer = Answer { text: String::new(), tokens: Vec::new(), finish: None, timings };
        if fed.complete {
            prompt.iter().for_each(|token| self.sampler.accept(*token));
            let start = Instant::now();
            self.decode(limits, &mut answer, print)?;
            answer.timings.decode_time = start.elapsed();
            answer.timings.decoded = answer.tokens.len().saturating_sub(1);
        }
        Ok(answer)
    }

    /// Feeds what the KV cache does not hold already, in pieces, so that Ctrl-C is heard between them.
    fn feed_prompt(&mut self, prompt: &[u32], interrupt: &Interrupt) -> Result<Fed> {
        check_length(prompt, self.session.context())?;
        let common = zip(self.session.tokens(), prompt).take_while(|(a, b)| a == b).count();
        // The last token is fed again even where the cache holds it: its logits are needed.
        let reused = common.min(prompt.len() - 1);
        let mut end = reused;
        while end < prompt.len() {
            if interrupt.asked() {
                return Ok(Fed { reused, complete: false });
            }
            end = (end + PIECE).min(prompt.len());
            let failed = |cause| Error::other("cannot compute the prompt").because(cause);
            self.session.prompt(&prompt[..end]).map_err(failed)?;
        }
        Ok(Fed { reused, complete: true })
    }

    fn decode(&mut self, limits: &Limits, answer: &mut Answer, print: Print) -> Result<()> {
        let until = Until { max_tokens: limits.max_tokens, stop: limits.stops.to_vec(), ..Until::default() };
        let mut continuation = Continuation::new(self.session.model().tokenizer(), until);
        let mut last = None;
        while !limits.interrupt.asked() && continuation.finish().is_none() {
            let piece = self.step(&mut continuation, last)?;
            last = piece.token;
            answer.tokens.extend(piece.token);
            answer.text.push_str(&piece.text);
            if !piece.text.is_empty() {
                print(&piece.text)?;
            }
        }
        answer.finish = continuation.finish();
        Ok(())
    }

    /// The token behind the last one, which is fed only now: logits that nobody asks for are never computed.
    fn step(&mut self, continuation: &mut Continuation, last: Option<u32>) -> Result<Piece> {
        if let Some(token) = last {
            if self.session.tokens().len() == self.session.context() {
                return Ok(continuation.end(Finish::Context));
            }
            let failed = |cause| Error::other("cannot compute the next token").because(cause);
            self.session.feed(&[token]).map_err(failed)?;
        }
        let token = grammar::sample(&mut self.matcher, &mut self.sampler, self.session.logits()).map_err(stuck)?;
        let Some(token) = token else { return Ok(continuation.end(Finish::End)) };
        let mut piece = continuation.accept(self.session.model().tokenizer(), token);
        if piece.token.is_none() {
            return Ok(piece);
        }
        self.sampler.accept(token);
        let is_complete = grammar::accept(&mut self.matcher, token).map_err(stuck)?;
        if is_complete && continuation.finish() != Some(Finish::Stop) {
            piece.text += &continuation.end(Finish::End).text;
        }
        Ok(piece)
    }
}

fn stuck(cause: Stuck) -> Error {
    Error::other("cannot go on with the answer").because(cause)
}

/// What became of a prompt.
struct Fed {
    reused: usize,
    complete: bool,
}

fn check_length(prompt: &[u32], context: usize) -> Result<()> {
    if prompt.is_empty() {
        return Err(Error::usage("the prompt is empty: it has no tokens, and the model needs at least one"));
    }
    if prompt.len() > context {
        let tokens = prompt.len();
        return Err(Error::usage(format!(
            "the prompt has {tokens} tokens, and the context holds {context}; a larger one: -c N"
        )));
    }
    Ok(())
}

impl Answer {
    /// The speeds on one line, for people.
    pub fn line(&self) -> String {
        let Timings { prompt_tokens, reused, prompt_time, decoded, decode_time } = self.timings;
        let kept = if reused > 0 { format!(" (+ {reused} kept)") } else { String::new() };
        let fresh = prompt_tokens - reused;
        format!(
            "prompt: {fresh} tokens{kept}, {:.1} tokens/s · generated: {} tokens, {:.1} tokens/s",
            rate(fresh, prompt_time),
            self.tokens.len(),
            rate(decoded, decode_time)
        )
    }

    /// Why it ended, as JSON has it.
    pub fn reason(&self) -> &'static str {
        match self.finish {
            Some(Finish::End) => "end",
            Some(Finish::Stop) => "stop",
            Some(Finish::Length) => "length",
            Some(Finish::Context) => "context",
            None => "interrupted",
        }
    }

    /// The fields that `run --json` and `chat --json` share.
    pub fn json(&self) -> Value {
        let Timings { prompt_tokens, reused, prompt_time, decoded, decode_time } = self.timings;
        json!({
            "text": self.text,
            "stop_reason": self.reason(),
            "prompt_tokens": prompt_tokens,
            "reused_tokens": reused,
            "generated_tokens": self.tokens.len(),
            "tokens": self.tokens,
            "timings": {
                "prompt_ms": milliseconds(prompt_time),
                "prompt_tps": rate(prompt_tokens - reused, prompt_time),
                "generate_ms": milliseconds(decode_time),
                "generate_tps": rate(decoded, decode_time),
            },
        })
    }
}

fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

fn rate(tokens: usize, time: Duration) -> f64 {
    let seconds = time.as_secs_f64();
    if seconds > 0.0 { (tokens as f64 / seconds * 100.0).round() / 100.0 } else { 0.0 }
}
