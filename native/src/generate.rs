//! One answer: feed the prompt, then sample, print and feed token after token until something stops it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use woolly_engine::sampler::Sampler;
use woolly_engine::session::Session;

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

/// Answers `prompt`; `print` gets the text as it comes.
pub fn answer(
    session: &mut Session,
    sampler: &mut Sampler,
    prompt: &[u32],
    limits: &Limits,
    print: &mut dyn FnMut(&str) -> Result<()>,
) -> Result<Answer> {
    let start = Instant::now();
    let fed = feed_prompt(session, prompt, limits.interrupt)?;
    let mut timings = Timings {
        prompt_tokens: prompt.len(),
        reused: fed.reused,
        prompt_time: start.elapsed(),
        ..Timings::default()
    };
    if !fed.complete {
        return Ok(Answer { text: String::new(), tokens: Vec::new(), reason: Reason::Interrupted, timings });
    }
    for &token in prompt {
        sampler.accept(token);
    }
    let start = Instant::now();
    let mut writer = Writer::new(session, limits.stops, print);
    let reason = decode(session, sampler, limits, &mut writer)?;
    timings.decode_time = start.elapsed();
    timings.decoded = writer.tokens.len().saturating_sub(1);
    writer.finish(&reason)?;
    Ok(Answer { text: writer.text, tokens: writer.tokens, reason, timings })
}

/// What became of a prompt.
struct Fed {
    reused: usize,
    complete: bool,
}

/// Feeds what the KV cache does not hold already, in pieces, so that Ctrl-C is heard between them.
fn feed_prompt(session: &mut Session, prompt: &[u32], interrupt: &Interrupt) -> Result<Fed> {
    if prompt.is_empty() {
        return Err(Error::usage("the prompt is empty: it has no tokens, and the model needs at least one"));
    }
    if prompt.len() > session.context() {
        return Err(Error::usage(format!(
            "the prompt has {} tokens, and the context holds {}; a larger one: -c N",
            prompt.len(),
            session.context()
        )));
    }
    let common = session.tokens().iter().zip(prompt).take_while(|(a, b)| a == b).count();
    // The last token is fed again even where the cache holds it: its logits are needed.
    let reused = common.min(prompt.len() - 1);
    let mut end = reused;
    while end < prompt.len() {
        if interrupt.asked() {
            return Ok(Fed { reused, complete: false });
        }
        end = (end + PIECE).min(prompt.len());
        session.prompt(&prompt[..end]).map_err(|cause| Error::other("cannot compute the prompt").because(cause))?;
    }
    Ok(Fed { reused, complete: true })
}

fn decode(session: &mut Session, sampler: &mut Sampler, limits: &Limits, writer: &mut Writer) -> Result<Reason> {
    loop {
        if limits.interrupt.asked() {
            return Ok(Reason::Interrupted);
        }
        let token = sampler.sample(session.logits());
        sampler.accept(token);
        if session.model().tokenizer().is_end(token) {
            return Ok(Reason::End);
        }
        if let Some(stop) = writer.push(session, token)? {
            return Ok(Reason::Stop(stop));
        }
        if Some(writer.tokens.len()) == limits.max_tokens {
            return Ok(Reason::Length);
        }
        if session.tokens().len() == session.context() {
            return Ok(Reason::Context);
        }
        session.feed(&[token]).map_err(|cause| Error::other("cannot compute the next token").because(cause))?;
    }
}

/// Tokens on their way to text.
struct Writer<'a> {
    tokens: Vec<u32>,
    text: String,
    decoder: Decoder,
    stops: Stops,
    print: &'a mut dyn FnMut(&str) -> Result<()>,
}

impl<'a> Writer<'a> {
    fn new(session: &Session, stops: &[String], print: &'a mut dyn FnMut(&str) -> Result<()>) -> Self {
        let decoder = session.model().tokenizer().decoder(false);
        Self { tokens: Vec::new(), text: String::new(), decoder, stops: Stops::new(stops), print }
    }

    /// Takes a token; returns the stop string that it completed.
    fn push(&mut self, session: &Session, token: u32) -> Result<Option<String>> {
        self.tokens.push(token);
        let piece = self.decoder.push(session.model().tokenizer(), token);
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

impl Timings {
    /// One line for people.
    pub fn line(&self) -> String {
        let fresh = self.prompt_tokens - self.reused;
        let reused = if self.reused > 0 { format!(" (+ {} kept)", self.reused) } else { String::new() };
        format!(
            "prompt: {fresh} tokens{reused}, {:.1} tokens/s · generated: {} tokens, {:.1} tokens/s",
            rate(fresh, self.prompt_time),
            self.decoded + 1,
            rate(self.decoded, self.decode_time)
        )
    }

    /// The same for programs.
    pub fn json(&self) -> Value {
        let fresh = self.prompt_tokens - self.reused;
        json!({
            "prompt_ms": milliseconds(self.prompt_time),
            "prompt_tps": rate(fresh, self.prompt_time),
            "generate_ms": milliseconds(self.decode_time),
            "generate_tps": rate(self.decoded, self.decode_time),
        })
    }
}

impl Answer {
    /// The fields that `run --json` and `chat --json` share.
    pub fn json(&self) -> Value {
        let stop = if let Reason::Stop(text) = &self.reason { Some(text) } else { None };
        json!({
            "text": self.text,
            "stop_reason": self.reason.name(),
            "stop_string": stop,
            "prompt_tokens": self.timings.prompt_tokens,
            "reused_tokens": self.timings.reused,
            "generated_tokens": self.tokens.len(),
            "tokens": self.tokens,
            "timings": self.timings.json(),
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
