//! What the streams of both of OpenAI's endpoints have in common: everything around the choices.

use serde_json::{Value, json};

use crate::serve::http::options::Options;
use crate::serve::http::sse;
use crate::serve::http::timings::{Timings, Usage};
use crate::serve::http::work::Work;
use crate::serve::job::{self, Done, PromptProgress};

/// Writes chunks around choices.
pub struct Chunks {
    id: String,
    created: u64,
    model: String,
    fingerprint: String,
    object: &'static str,
    /// Answers to each prompt.
    choices: usize,
    usage: bool,
    progress: bool,
    clock: Option<sse::Clock>,
}

impl Chunks {
    /// For what comes of `work`; `id` is its name, `object` what a chunk is called.
    pub fn new(work: &Work, options: &Options, id: String, object: &'static str) -> Self {
        Self {
            id,
            created: work.created,
            model: work.model.clone(),
            fingerprint: work.fingerprint(),
            object,
            choices: work.choices,
            usage: options.includes_usage(),
            progress: options.return_progress.unwrap_or(false),
            clock: options.timings_per_token.unwrap_or(false).then(|| sse::Clock::new(work.jobs.len())),
        }
    }

    /// A chunk with one choice.
    pub fn chunk(&self, choice: Value) -> Value {
        self.with_choices(json!([choice]))
    }

    /// The chunk that tells how far a prompt is, where that was asked for.
    pub fn progress(&mut self, answer: usize, progress: &PromptProgress, choice: Value) -> Option<Value> {
        let timings = self.clock.as_mut().map(|clock| clock.prompt(answer, progress));
        if !self.progress {
            return None;
        }
        let mut chunk = self.chunk(choice);
        chunk["prompt_progress"] = sse::progress(progress);
        sse::add_timings(&mut chunk, timings);
        Some(chunk)
    }

    /// The chunk of a choice with so many more tokens.
    pub fn piece(&mut self, answer: usize, tokens: usize, choice: Value) -> Value {
        let timings = self.clock.as_mut().map(|clock| clock.tokens(answer, tokens));
        let mut chunk = self.chunk(choice);
        sse::add_timings(&mut chunk, timings);
        chunk
    }

    /// The last chunk of an answer.
    pub fn done(&self, choice: Value, done: &Done) -> Value {
        let mut chunk = self.chunk(choice);
        if !self.usage {
            chunk["timings"] = json!(Timings::from(&done.timings));
        }
        chunk
    }

    /// The chunk after all answers, where it was asked for.
    pub fn finished(&self, timings: &[job::Timings]) -> Option<Value> {
        if !self.usage {
            return None;
        }
        let mut chunk = self.with_choices(json!([]));
        chunk["usage"] = json!(Usage::new(timings, self.choices));
        chunk["timings"] = json!(timings.first().map(Timings::from));
        Some(chunk)
    }

    fn with_choices(&self, choices: Value) -> Value {
        json!({
            "choices": choices,
            "created": self.created,
            "id": self.id,
            "model": self.model,
            "system_fingerprint": self.fingerprint,
            "object": self.object,
        })
    }
}
