//! `/completion`

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use woolly_engine::session::Finish;

use super::settings::{GenerationSettings, Reported};
use crate::serve::http::App;
use crate::serve::http::error::{ApiError, Result};
use crate::serve::http::extract::Asked;
use crate::serve::http::openai::is_truncated;
use crate::serve::http::options::Options;
use crate::serve::http::pieces::Piece;
use crate::serve::http::probabilities::ChosenLogprob;
use crate::serve::http::prompt::Prompt;
use crate::serve::http::sse::{self, Writer};
use crate::serve::http::timings::Timings;
use crate::serve::http::work::{Report, Whole, Work};
use crate::serve::job::{Done, Job, PromptProgress};
use crate::serve::models::Served;

/// The most fields that an answer can be cut down to.
const MAX_FIELDS: usize = 64;

/// What is to be continued.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[schema(example = json!({ "prompt": "Once upon a time", "n_predict": 16 }))]
pub struct Prompted {
    /// What to continue.
    pub prompt: Prompt,
    /// The fields that the answer is to have, such as `content` or `generation_settings/n_predict`.
    #[schema(max_items = 64)]
    pub response_fields: Option<Vec<String>>,
}

/// A continuation. A field may be missing where `response_fields` says so.
#[derive(Serialize, ToSchema)]
pub struct CompletionResult {
    index: usize,
    content: String,
    /// The tokens, where they were asked for.
    tokens: Vec<u32>,
    id_slot: usize,
    stop: bool,
    model: String,
    tokens_predicted: usize,
    tokens_evaluated: usize,
    generation_settings: GenerationSettings,
    /// The prompt, with special tokens.
    prompt: String,
    has_new_line: bool,
    truncated: bool,
    /// `eos`, `limit` or `word`.
    stop_type: &'static str,
    stopping_word: String,
    tokens_cached: usize,
    timings: Timings,
    /// The tokens' probabilities, where they were asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<Object>)]
    completion_probabilities: Vec<Value>,
}

/// Continue texts, as llama-server does
///
/// Several prompts, or several answers to one, give a list of results. With `stream`, the answer comes as server-sent
/// events.
#[utoipa::path(post, path = "/completion", tag = "llama-server", request_body = Asked<Prompted>, responses(
    (status = 200, description = "A result, or a list of them", content((Value = "application/json"), (String = "text/event-stream"))),
))]
pub async fn completion(State(app): State<Arc<App>>, asked: Asked<Prompted>) -> Result<Response> {
    let Asked { own, options } = asked;
    let fields = own.response_fields.filter(|fields| !fields.is_empty());
    if fields.as_ref().is_some_and(|fields| fields.len() > MAX_FIELDS) {
        return Err(ApiError::field("response_fields", format!("expected at most {MAX_FIELDS}")));
    }
    let report = Report { top: options.top()?, post_sampling: options.post_sampling_probs.unwrap_or(false) };
    let served = app.served(&options).await?;
    let (prompts, several) = app.prompt_tokens(&served, own.prompt).await?;
    let work = app.work(served, prompts, &options, report).await?;
    if options.streams() {
        return Ok(sse::response(LlamaWriter::new(&work, &options, fields), work));
    }
    whole(work, &options, fields, several).await
}

async fn whole(mut work: Work, options: &Options, fields: Option<Vec<String>>, several: bool) -> Result<Response> {
    let is_list = several || work.choices > 1;
    let results = Results::new(&work, options, fields);
    let wholes = work.whole().await?;
    let result = |(index, Whole { mut piece, done, slot })| {
        if !results.wants_tokens {
            piece.tokens.clear();
        }
        let has_new_line = piece.text.contains('\n');
        results.last(index, piece, &done, Place { slot, has_new_line })
    };
    let mut all: Vec<Value> = wholes.into_iter().enumerate().map(result).collect();
    let body = if is_list { Value::Array(all) } else { all.swap_remove(0) };
    Ok(Json(body).into_response())
}

/// What results of one request have in common.
struct Results {
    served: Arc<Served>,
    model: String,
    jobs: Vec<Job>,
    reported: Reported,
    grammar: String,
    wants_tokens: bool,
    fields: Option<Vec<String>>,
}

/// What is known of an answer besides its text.
#[derive(Clone, Copy, Default)]
struct Place {
    slot: usize,
    has_new_line: bool,
}

impl Results {
    fn new(work: &Work, options: &Options, fields: Option<Vec<String>>) -> Self {
        let reported = Reported {
            stream: options.streams(),
            top: work.jobs[0].top.unwrap_or(0),
            timings_per_token: options.timings_per_token.unwrap_or(false),
            post_sampling: work.jobs[0].post_sampling,
        };
        Self {
            served: work.served.clone(),
            model: work.model.clone(),
            jobs: work.jobs.clone(),
            reported,
            grammar: options.grammar.clone().unwrap_or_default(),
            wants_tokens: options.return_tokens.unwrap_or(false),
            fields,
        }
    }

    /// A whole answer, or the last event of a stream.
    fn last(&self, index: usize, piece: Piece, done: &Done, place: Place) -> Value {
        let (job, tokenizer) = (&self.jobs[index], self.served.model.tokenizer());
        let result = CompletionResult {
            index,
            content: piece.text,
            tokens: piece.tokens,
            id_slot: place.slot,
            stop: true,
            model: self.model.clone(),
            tokens_predicted: done.timings.predicted,
            tokens_evaluated: done.timings.prompt,
            generation_settings: GenerationSettings::new(&job.sampling, &job.until, self.reported, tokenizer)
                .with_grammar(&self.grammar),
            prompt: String::from_utf8_lossy(&tokenizer.decode(&job.prompt, true)).into_owned(),
            has_new_line: place.has_new_line,
            truncated: is_truncated(done),
            stop_type: stop_type(done.finish),
            stopping_word: done.stop.clone().unwrap_or_default(),
            tokens_cached: done.cached,
            timings: Timings::from(&done.timings),
            completion_probabilities: self.probabilities(&piece.logprobs),
        };
        cut(json!(result), self.fields.as_deref())
    }

    fn probabilities(&self, tokens: &[ChosenLogprob]) -> Vec<Value> {
        tokens.iter().map(|token| token.for_llama(self.reported.post_sampling)).collect()
    }
}

/// Writes the events of a stream.
struct LlamaWriter {
    results: Results,
    places: Vec<Place>,
    predicted: Vec<usize>,
    progress: bool,
    clock: Option<sse::Clock>,
}

impl LlamaWriter {
    fn new(work: &Work, options: &Options, fields: Option<Vec<String>>) -> Self {
        let count = work.jobs.len();
        let results = Results::new(work, options, fields);
        let clock = results.reported.timings_per_token.then(|| sse::Clock::new(count));
        let progress = options.return_progress.unwrap_or(false);
        Self { results, places: vec![Place::default(); count], predicted: vec![0; count], progress, clock }
    }

    fn chunk(&self, index: usize, piece: &Piece) -> Value {
        json!({
            "index": index,
            "content": piece.text,
            "tokens": piece.tokens,
            "stop": false,
            "id_slot": self.places[index].slot,
            "tokens_predicted": self.predicted[index],
            "tokens_evaluated": self.results.jobs[index].prompt.len(),
        })
    }
}

impl Writer for LlamaWriter {
    const ENDS_WITH_DONE: bool = false;

    fn started(&mut self, answer: usize, slot: usize) -> Option<Value> {
        self.places[answer].slot = slot;
        None
    }

    fn progress(&mut self, answer: usize, progress: &PromptProgress) -> Option<Value> {
        let timings = self.clock.as_mut().map(|clock| clock.prompt(answer, progress));
        if !self.progress {
            return None;
        }
        let mut chunk = self.chunk(answer, &Piece::default());
        chunk["prompt_progress"] = sse::progress(progress);
        sse::add_timings(&mut chunk, timings);
        Some(chunk)
    }

    fn piece(&mut self, answer: usize, piece: Piece) -> Value {
        self.predicted[answer] += piece.tokens.len();
        self.places[answer].has_new_line |= piece.text.contains('\n');
        let timings = self.clock.as_mut().map(|clock| clock.tokens(answer, piece.tokens.len()));
        let mut chunk = self.chunk(answer, &piece);
        if !piece.logprobs.is_empty() {
            chunk["completion_probabilities"] = self.results.probabilities(&piece.logprobs).into();
        }
        sse::add_timings(&mut chunk, timings);
        chunk
    }

    fn done(&mut self, answer: usize, rest: Piece, done: &Done) -> Option<Value> {
        Some(self.results.last(answer, rest, done, self.places[answer]))
    }
}

fn stop_type(finish: Finish) -> &'static str {
    match finish {
        Finish::End => "eos",
        Finish::Stop => "word",
        Finish::Length | Finish::Context => "limit",
    }
}

/// The fields that were asked for, by their paths; those that do not exist are left out.
fn cut(result: Value, fields: Option<&[String]>) -> Value {
    let Some(fields) = fields else { return result };
    let found = fields.iter().filter_map(|field| {
        let value = field.split('/').try_fold(&result, |value, key| value.get(key))?;
        Some((field.clone(), value.clone()))
    });
    Value::Object(found.collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_by_their_paths() {
        let result = json!({ "content": "x", "settings": { "n": 1 }, "other": 2 });
        let fields = ["content", "settings/n", "settings/none"].map(String::from);
        assert_eq!(cut(result.clone(), Some(&fields)), json!({ "content": "x", "settings/n": 1 }));
        assert_eq!(cut(result.clone(), None), result);
    }
}
