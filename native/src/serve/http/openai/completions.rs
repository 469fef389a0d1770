//! `/v1/completions`

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::chunks::Chunks;
use super::reason;
use crate::serve::http::App;
use crate::serve::http::error::{ApiError, Result};
use crate::serve::http::extract::Asked;
use crate::serve::http::options::Options;
use crate::serve::http::pieces::Piece;
use crate::serve::http::probabilities::CompletionLogprobs;
use crate::serve::http::prompt::Prompt;
use crate::serve::http::sse::{self, Writer};
use crate::serve::http::timings::{Timings, Usage};
use crate::serve::http::work::{Report, Whole, Work};
use crate::serve::job::{self, Done, PromptProgress};

/// The most likely tokens whose probabilities a completion reports.
const MAX_TOP: usize = 20;

/// Prompts that are to be continued.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[schema(example = json!({ "prompt": "Once upon a time" }))]
pub struct Completion {
    /// What to continue.
    pub prompt: Prompt,
    /// With each token, report its probability and so many of the likeliest ones.
    #[schema(minimum = 0, maximum = 20)]
    pub logprobs: Option<usize>,
    /// Whether the answer repeats the prompt; this server does not do that.
    pub echo: Option<bool>,
    /// What is to follow the answer; this server does not fill in.
    pub suffix: Option<String>,
    /// How many answers the best are taken from; this server takes all that are generated.
    pub best_of: Option<usize>,
}

/// Continuations.
#[derive(Serialize, ToSchema)]
pub struct CompletionAnswer {
    choices: Vec<CompletionChoice>,
    created: u64,
    model: String,
    system_fingerprint: String,
    object: &'static str,
    usage: Usage,
    id: String,
    timings: Timings,
}

/// A continuation.
#[derive(Serialize, ToSchema)]
pub struct CompletionChoice {
    text: String,
    index: usize,
    logprobs: Option<CompletionLogprobs>,
    finish_reason: &'static str,
}

/// Continue texts
///
/// With `stream`, the answer comes as server-sent events: chunks as OpenAI describes them, then `[DONE]`.
#[utoipa::path(post, path = "/v1/completions", tag = "OpenAI", request_body = Asked<Completion>, responses(
    (status = 200, description = "The answers", content((CompletionAnswer = "application/json"), (String = "text/event-stream"))),
))]
pub async fn completions(State(app): State<Arc<App>>, asked: Asked<Completion>) -> Result<Response> {
    let Asked { own, options } = asked;
    own.check(&options)?;
    let report = own.report(&options)?;
    let served = app.served(&options).await?;
    let (prompts, _) = app.prompt_tokens(&served, own.prompt).await?;
    let work = app.work(served, prompts, &options, report).await?;
    if options.streams() { Ok(sse::response(CompletionWriter::new(&work, &options), work)) } else { whole(work).await }
}

impl Completion {
    /// Says what is asked for that this server does not have.
    fn check(&self, options: &Options) -> Result<()> {
        if self.echo == Some(true) {
            return Err(ApiError::field("echo", "it is not supported, expected false"));
        }
        if self.suffix.as_ref().is_some_and(|suffix| !suffix.is_empty()) {
            return Err(ApiError::field("suffix", "it is not supported, expected none"));
        }
        if self.best_of.is_some_and(|best_of| best_of != options.n.unwrap_or(1)) {
            return Err(ApiError::field("best_of", "expected the same number as n"));
        }
        Ok(())
    }

    fn report(&self, options: &Options) -> Result<Report> {
        let top = match self.logprobs {
            Some(top) if top > MAX_TOP => {
                return Err(ApiError::field("logprobs", format!("expected at most {MAX_TOP}")));
            }
            None => options.top()?,
            top => top,
        };
        Ok(Report { top, post_sampling: options.post_sampling_probs.unwrap_or(false) })
    }
}

async fn whole(mut work: Work) -> Result<Response> {
    let wholes = work.whole().await?;
    let usage = Usage::new(wholes.iter().map(|whole| &whole.done.timings), work.choices);
    let timings = Timings::from(&wholes[0].done.timings);
    let wants = work.jobs[0].top.is_some();
    let choices = wholes.into_iter().enumerate().map(|(index, whole)| choice(index, whole, wants)).collect();
    let answer = CompletionAnswer {
        choices,
        created: work.created,
        model: work.model.clone(),
        system_fingerprint: work.fingerprint(),
        object: "text_completion",
        usage,
        id: format!("cmpl-{}", work.id),
        timings,
    };
    Ok(Json(answer).into_response())
}

fn choice(index: usize, whole: Whole, wants_logprobs: bool) -> CompletionChoice {
    let Whole { piece, done, .. } = whole;
    let logprobs = wants_logprobs.then(|| CompletionLogprobs::new(piece.logprobs, 0));
    CompletionChoice { text: piece.text, index, logprobs, finish_reason: reason(&done) }
}

/// Writes chunks of answers.
struct CompletionWriter {
    chunks: Chunks,
    logprobs: bool,
    /// Characters of each answer so far.
    written: Vec<usize>,
}

impl CompletionWriter {
    fn new(work: &Work, options: &Options) -> Self {
        let chunks = Chunks::new(work, options, format!("cmpl-{}", work.id), "text_completion");
        Self { chunks, logprobs: work.jobs[0].top.is_some(), written: vec![0; work.jobs.len()] }
    }

    fn choice(&mut self, index: usize, piece: Piece, finish_reason: Option<&str>) -> Value {
        let offset = self.written[index];
        self.written[index] += piece.text.chars().count();
        let wants = self.logprobs && !piece.logprobs.is_empty();
        let logprobs = wants.then(|| CompletionLogprobs::new(piece.logprobs, offset));
        json!({ "text": piece.text, "index": index, "logprobs": logprobs, "finish_reason": finish_reason })
    }
}

impl Writer for CompletionWriter {
    const ENDS_WITH_DONE: bool = true;

    fn progress(&mut self, answer: usize, progress: &PromptProgress) -> Option<Value> {
        let choice = self.choice(answer, Piece::default(), None);
        self.chunks.progress(answer, progress, choice)
    }

    fn piece(&mut self, answer: usize, piece: Piece) -> Value {
        let tokens = piece.tokens.len();
        let choice = self.choice(answer, piece, None);
        self.chunks.piece(answer, tokens, choice)
    }

    fn done(&mut self, answer: usize, rest: Piece, done: &Done) -> Option<Value> {
        let choice = self.choice(answer, rest, Some(reason(done)));
        Some(self.chunks.done(choice, done))
    }

    fn finished(&mut self, timings: &[job::Timings]) -> Option<Value> {
        self.chunks.finished(timings)
    }
}
