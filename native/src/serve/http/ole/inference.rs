//! `/api/v1/inference`

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::serve::http::App;
use crate::serve::http::error::{ApiError, Result};
use crate::serve::http::extract::Asked;
use crate::serve::http::messages::{Conversation, Message};
use crate::serve::http::openai;
use crate::serve::http::openai::chat::{Chat, ChatCompletion};
use crate::serve::http::openai::completions::{Completion, CompletionAnswer};
use crate::serve::http::pieces::Piece;
use crate::serve::http::sse::{self, Writer};
use crate::serve::http::timings::{Timings, Usage};
use crate::serve::http::work::{Report, Work};
use crate::serve::job::{self, Done};

/// A text or a conversation that is to go on.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[schema(example = json!({ "prompt": "Once upon a time", "max_tokens": 16 }))]
pub struct Streamed {
    /// The text.
    pub prompt: Option<String>,
    /// The conversation, in place of a text.
    pub messages: Option<Vec<Message>>,
}

/// Continue a conversation, as `/v1/chat/completions` does
#[utoipa::path(post, path = "/api/v1/inference/chat", tag = "Ole", request_body = Asked<Chat>, responses(
    (status = 200, description = "The answers", content((ChatCompletion = "application/json"), (String = "text/event-stream"))),
))]
pub async fn chat(app: State<Arc<App>>, asked: Asked<Chat>) -> Result<Response> {
    openai::chat::chat(app, asked).await
}

/// Continue texts, as `/v1/completions` does
#[utoipa::path(post, path = "/api/v1/inference/complete", tag = "Ole", request_body = Asked<Completion>, responses(
    (status = 200, description = "The answers", content((CompletionAnswer = "application/json"), (String = "text/event-stream"))),
))]
pub async fn complete(app: State<Arc<App>>, asked: Asked<Completion>) -> Result<Response> {
    openai::completions::completions(app, asked).await
}

/// Continue a text or a conversation, as a stream
///
/// Events are `{"type": "token", "content": …}`, and `{"type": "done", "finish_reason": …, "usage": …}` at the end, as on
/// the WebSocket `/v1/stream`.
#[utoipa::path(post, path = "/api/v1/inference/stream", tag = "Ole", request_body = Asked<Streamed>, responses(
    (status = 200, description = "The answer", content_type = "text/event-stream", body = String),
))]
pub async fn stream(State(app): State<Arc<App>>, asked: Asked<Streamed>) -> Result<Response> {
    let work = app.ole_work(asked).await?;
    Ok(sse::response(OleWriter, work))
}

impl App {
    /// Sets the batch to work on one text or conversation.
    pub async fn ole_work(&self, asked: Asked<Streamed>) -> Result<Work> {
        let Asked { own, options } = asked;
        if options.choices()? != 1 {
            return Err(ApiError::field("n", "a stream of this kind has one answer, expected 1"));
        }
        let served = self.served(&options).await?;
        let prompt = match (own.prompt, own.messages) {
            (Some(text), None) => self.prompt_tokens(&served, crate::serve::http::prompt::Prompt::Text(text)).await?.0,
            (None, Some(messages)) => {
                let conversation = Conversation { messages, ..Conversation::default() };
                vec![self.conversation_tokens(&served, conversation).await?]
            }
            _ => return Err(ApiError::invalid("expected either a field prompt or a field messages")),
        };
        self.work(served, prompt, &options, Report::default()).await
    }
}

/// A piece of an answer.
pub fn token_event(text: &str) -> Value {
    json!({ "type": "token", "content": text })
}

/// The end of an answer.
pub fn done_event(finish_reason: &str, timings: &job::Timings) -> Value {
    json!({
        "type": "done",
        "finish_reason": finish_reason,
        "usage": Usage::new([timings], 1),
        "timings": Timings::from(timings),
    })
}

/// Writes the events of a stream.
struct OleWriter;

impl Writer for OleWriter {
    const ENDS_WITH_DONE: bool = false;

    fn piece(&mut self, _: usize, piece: Piece) -> Value {
        token_event(&piece.text)
    }

    fn done(&mut self, _: usize, _: Piece, done: &Done) -> Option<Value> {
        Some(done_event(done.finish.reason(), &done.timings))
    }
}
