//! One answer: feed the prompt, then sample, print and feed token after token until something stops it.

use std::iter::zip;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use woolly_engine::sampler::Sampler;
use woolly_engine::session::Session;
use woolly_engine::tokenizer::{Decoder, Tokenizer};

use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::stops::Stops;

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

/// Why an answer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The model ended it.
    End,
    /// A stop string came.
    Stop(String),
    /// It has as many tokens as were asked for.
    Length,
    /// The context is full.
    Context,
    /// The user stopped it.
    Interrupted,
}

impl Reason {
    /// The reason's name in JSON.
    pub fn name(&self) -> &'static str {
        match self {
            Self::End => "end",
            Self::Stop(_) => "stop",
            Self::Length => "length",
            Self::Context => "context",
            Self::Interrupted => "interrupted",
        }
    }
}

/// What was generated, and how fast.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The text.
    pub text: String,
    /// The tokens, without the one that ended it.
    pub tokens: Vec<u32>,
    /// Why it ended.
    pub reason: Reason,
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
    /// The tokenizer of the session's model.
    pub tokenizer: &'a Tokenizer,
    /// Chooses tokens.
    pub sampler: Sampler,
}

impl Generator<'_> {
    /// Answers `prompt`; `print` gets the text as it comes.
    pub fn answer(&mut self, prompt: &[u32], limits: &Limits, print: Print) -> Result<Answer> {
        let start = Instant::now();
        let fed = self.feed_prompt(prompt, limits.interrupt)?;
        let (prompt_tokens, prompt_time) = (prompt.len(), start.elapsed());
        let mut timings = Timings { prompt_tokens, reused: fed.reused, prompt_time, ..Timings::default() };
        let mut writer = Writer::new(self.tokenizer, limits.stops, print);
        let mut reason = Reason::Interrupted;
        if fed.complete {
            prompt.iter().for_each(|token| self.sampler.accept(*token));
            let start = Instant::now();
            reason = self.decode(limits, &mut writer)?;
            timings.decode_time = start.elapsed();
            timings.decoded = writer.tokens.len().saturating_sub(1);
            writer.finish(&reason)?;
        }
        Ok(Answer { text: writer.text, tokens: writer.tokens, reason, timings })
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

    fn decode(&mut self, limits: &Limits, writer: &mut Writer) -> Result<Reason> {
        loop {
            if limits.interrupt.asked() {
                return Ok(Reason::Interrupted);
            }
            let token = self.sampler.sample(self.session.logits());
            self.sampler.accept(token);
            if self.tokenizer.is_end(token) {
                return Ok(Reason::End);
            }
            if let Some(stop) = writer.push(self.tokenizer, token)? {
                return Ok(Reason::Stop(stop));
            }
            if Some(writer.tokens.len()) == limits.max_tokens {
                return Ok(Reason::Length);
            }
            if self.session.tokens().len() == self.session.context() {
                return Ok(Reason::Context);
            }
            let failed = |cause| Error::other("cannot compute the next token").because(cause);
            self.session.feed(&[token]).map_err(failed)?;
        }
    }
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

/// Where text goes as it comes.
pub type Print<'a> = &'a mut dyn FnMut(&str) -> Result<()>;

/// Tokens on their way to text.
struct Writer<'a> {
    tokens: Vec<u32>,
    text: String,
    decoder: Decoder,
    stops: Stops,
    print: Print<'a>,
}

impl<'a> Writer<'a> {
    fn new(tokenizer: &Tokenizer, stops: &[String], print: Print<'a>) -> Self {
        let (decoder, stops) = (tokenizer.decoder(false), Stops::new(stops));
        Self { tokens: Vec::new(), text: String::new(), decoder, stops, print }
    }

    /// Takes a token; returns the stop string that it completed.
    fn push(&mut self, tokenizer: &Tokenizer, token: u32) -> Result<Option<String>> {
        self.tokens.push(token);
        let piece = self.decoder.push(tokenizer, token);
        let passed = self.stops.push(&piece);
        self.write(&passed.text)?;
        Ok(passed.stop)
    }

    /// Writes what was held back, unless a stop string came.
    fn finish(&mut self, reason: &Reason) -> Result<()> {
        if matches!(reason, Reason::Stop(_)) {
            return Ok(());
        }
        let passed = self.stops.push(&self.decoder.finish());
        let rest = passed.text + &self.stops.finish();
        self.write(&rest)
    }

    fn write(&mut self, text: &str) -> Result<()> {
        self.text.push_str(text);
        if text.is_empty() { Ok(()) } else { (self.print)(text) }
    }
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

    /// The fields that `run --json` and `chat --json` share.
    pub fn json(&self) -> Value {
        let stop = if let Reason::Stop(text) = &self.reason { Some(text) } else { None };
        let Timings { prompt_tokens, reused, prompt_time, decoded, decode_time } = self.timings;
        json!({
            "text": self.text,
            "stop_reason": self.reason.name(),
            "stop_string": stop,
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
