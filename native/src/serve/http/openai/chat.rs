//! `/v1/chat/completions`

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::chunks::Chunks;
use super::reason;
use crate::serve::http::App;
use crate::serve::http::error::{ApiError, Result};
use crate::serve::http::extract::Asked;
use crate::serve::http::messages::{Conversation, Message};
use crate::serve::http::options::Options;
use crate::serve::http::pieces::Piece;
use crate::serve::http::probabilities::ChatLogprobs;
use crate::serve::http::sse::{self, Writer};
use crate::serve::http::timings::{Timings, Usage};
use crate::serve::http::work::{Report, Whole, Work};
use crate::serve::job::{self, Done, PromptProgress};
use crate::serve::models::Served;

/// The most likely tokens whose probabilities a chat reports.
const MAX_TOP: usize = 20;

/// A conversation that is to go on.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[schema(example = json!({ "messages": [{ "role": "user", "content": "Hi" }] }))]
pub struct Chat {
    /// What was said so far. Where the last message is the assistant's, the answer goes on from it.
    #[schema(min_items = 1)]
    pub messages: Vec<Message>,
    /// Whether to report the tokens' probabilities.
    pub logprobs: Option<bool>,
    /// With each token, report so many of the likeliest ones.
    #[schema(minimum = 0, maximum = 20)]
    pub top_logprobs: Option<usize>,
    /// Tools that the model may call. Answers with calls are not supported yet: this needs `tool_choice` to be `none`.
    #[schema(value_type = Option<Vec<Object>>)]
    pub tools: Option<Vec<Map<String, Value>>>,
    /// Which tools the model may call.
    pub tool_choice: Option<Value>,
    /// Further variables of the chat template, such as `enable_thinking`.
    pub chat_template_kwargs: Option<Map<String, Value>>,
    /// How much the model is to think, where its template asks for it.
    pub reasoning_effort: Option<String>,
    /// Whether the prompt ends with the beginning of the assistant's message.
    pub add_generation_prompt: Option<bool>,
    /// Whether the last message, which is the assistant's, is to be continued.
    pub continue_final_message: Option<bool>,
}

/// Answers to a conversation.
#[derive(Serialize, ToSchema)]
pub struct ChatCompletion {
    choices: Vec<ChatChoice>,
    created: u64,
    model: String,
    system_fingerprint: String,
    object: &'static str,
    usage: Usage,
    id: String,
    timings: Timings,
    /// What the model was asked, where `verbose` asks for it.
    #[serde(rename = "__verbose", skip_serializing_if = "Option::is_none")]
    verbose: Option<Verbose>,
}

/// What the model was asked.
#[derive(Serialize, ToSchema)]
pub struct Verbose {
    /// The prompt.
    prompt: String,
    /// The answer.
    content: String,
    /// The answer's tokens.
    tokens: Vec<u32>,
}

/// An answer.
#[derive(Serialize, ToSchema)]
pub struct ChatChoice {
    finish_reason: &'static str,
    index: usize,
    message: Answer,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<ChatLogprobs>,
}

/// What the assistant says.
#[derive(Serialize, ToSchema)]
pub struct Answer {
    role: &'static str,
    content: String,
}

/// Tokens of a conversation.
#[derive(Serialize, ToSchema)]
pub struct InputTokens {
    /// How many.
    input_tokens: usize,
}

/// Continue a conversation
///
/// With `stream`, the answer comes as server-sent events: chunks as OpenAI describes them, then `[DONE]`.
#[utoipa::path(post, path = "/v1/chat/completions", tag = "OpenAI", request_body = Asked<Chat>, responses(
    (status = 200, description = "The answers", content((ChatCompletion = "application/json"), (String = "text/event-stream"))),
))]
pub async fn chat(State(app): State<Arc<App>>, asked: Asked<Chat>) -> Result<Response> {
    let (work, options) = start(&app, asked).await?;
    if options.streams() {
        Ok(sse::response(ChatWriter::new(&work, &options), work))
    } else {
        whole(work, &options).await
    }
}

/// Count the tokens of a conversation
#[utoipa::path(post, path = "/v1/chat/completions/input_tokens", tag = "OpenAI", request_body = Asked<Chat>, responses(
    (status = 200, description = "How many tokens the prompt has", body = InputTokens),
))]
pub async fn input_tokens(State(app): State<Arc<App>>, asked: Asked<Chat>) -> Result<Json<InputTokens>> {
    let served = app.served(&asked.options).await?;
    let tokens = app.conversation_tokens(&served, asked.own.conversation()).await?;
    Ok(Json(InputTokens { input_tokens: tokens.len() }))
}

impl Chat {
    /// The conversation, with whatever its template wants to know.
    pub fn conversation(self) -> Conversation {
        let mut variables = Map::new();
        variables.extend(self.reasoning_effort.map(|effort| ("reasoning_effort".to_string(), effort.into())));
        variables.extend(self.chat_template_kwargs.unwrap_or_default());
        Conversation {
            messages: self.messages,
            tools: self.tools.map(|tools| tools.into_iter().map(Value::Object).collect()),
            variables,
            add_generation_prompt: self.add_generation_prompt,
            continue_final_message: self.continue_final_message,
        }
    }

    /// Says what is asked for that this server does not have.
    fn check(&self) -> Result<()> {
        let has_tools = self.tools.as_ref().is_some_and(|tools| !tools.is_empty());
        if has_tools && self.tool_choice.as_ref().and_then(Value::as_str) != Some("none") {
            return Err(ApiError::field(
                "tools",
                "calls of tools are not supported, expected tool_choice to be \"none\"",
            ));
        }
        Ok(())
    }

    fn report(&self, options: &Options) -> Result<Report> {
        let top = match (self.logprobs.unwrap_or(false), self.top_logprobs) {
            (_, Some(top)) if top > MAX_TOP => {
                return Err(ApiError::field("top_logprobs", format!("expected at most {MAX_TOP}")));
            }
            (false, Some(top)) if top > 0 => {
                return Err(ApiError::field("top_logprobs", "it needs logprobs to be true"));
            }
            (true, top) => Some(top.unwrap_or(0)),
            (false, _) => options.top()?,
        };
        Ok(Report { top, post_sampling: options.post_sampling_probs.unwrap_or(false) })
    }
}

impl App {
    /// The tokens of the prompt that a model's chat template makes of a conversation.
    pub async fn conversation_tokens(&self, served: &Arc<Served>, conversation: Conversation) -> Result<Vec<u32>> {
        let (served, template) = (served.clone(), self.template(served));
        let conversation = self.with_variables(conversation);
        super::super::blocking(move || {
            let tokenizer = served.model.tokenizer();
            let tokens = tokenizer.encode_prompt(&conversation.render(&template, tokenizer)?);
            if tokens.is_empty() {
                Err(ApiError::field("messages", "the chat template makes an empty prompt of them"))
            } else {
                Ok(tokens)
            }
        })
        .await
    }
}

async fn start(app: &App, asked: Asked<Chat>) -> Result<(Work, Options)> {
    let Asked { own, mut options } = asked;
    own.check()?;
    options.verbose.get_or_insert(app.settings.verbose);
    let report = own.report(&options)?;
    let served = app.served(&options).await?;
    let prompt = app.conversation_tokens(&served, own.conversation()).await?;
    Ok((app.work(served, vec![prompt], &options, report).await?, options))
}

async fn whole(mut work: Work, options: &Options) -> Result<Response> {
    let wholes = work.whole().await?;
    let usage = Usage::new(wholes.iter().map(|whole| &whole.done.timings), work.choices);
    let timings = Timings::from(&wholes[0].done.timings);
    let verbose = options.verbose.unwrap_or(false).then(|| Verbose {
        prompt: work.prompt_text(0),
        content: wholes[0].piece.text.clone(),
        tokens: wholes[0].piece.tokens.clone(),
    });
    let wants = work.jobs[0].top.is_some();
    let choices = wholes.into_iter().enumerate().map(|(index, whole)| choice(index, whole, wants)).collect();
    let completion = ChatCompletion {
        choices,
        created: work.created,
        model: work.model.clone(),
        system_fingerprint: work.fingerprint(),
        object: "chat.completion",
        usage,
        id: format!("chatcmpl-{}", work.id),
        timings,
        verbose,
    };
    Ok(Json(completion).into_response())
}

fn choice(index: usize, whole: Whole, wants_logprobs: bool) -> ChatChoice {
    ChatChoice {
        finish_reason: reason(&whole.done),
        index,
        message: Answer { role: "assistant", content: whole.piece.text },
        logprobs: wants_logprobs.then_some(ChatLogprobs { content: whole.piece.logprobs }),
    }
}

/// Writes chunks of answers.
struct ChatWriter {
    chunks: Chunks,
    logprobs: bool,
}

impl ChatWriter {
    fn new(work: &Work, options: &Options) -> Self {
        let chunks = Chunks::new(work, options, format!("chatcmpl-{}", work.id), "chat.completion.chunk");
        Self { chunks, logprobs: work.jobs[0].top.is_some() }
    }

    fn choice(&self, index: usize, delta: Value, finish_reason: Option<&str>, piece: Piece) -> Value {
        let mut choice = json!({ "finish_reason": finish_reason, "index": index, "delta": delta });
        if self.logprobs && !piece.logprobs.is_empty() {
            choice["logprobs"] = json!({ "content": piece.logprobs });
        }
        choice
    }
}

impl Writer for ChatWriter {
    const ENDS_WITH_DONE: bool = true;

    fn started(&mut self, answer: usize, _slot: usize) -> Option<Value> {
        let delta = json!({ "role": "assistant", "content": null });
        Some(self.chunks.chunk(self.choice(answer, delta, None, Piece::default())))
    }

    fn progress(&mut self, answer: usize, progress: &PromptProgress) -> Option<Value> {
        let choice = self.choice(answer, json!({}), None, Piece::default());
        self.chunks.progress(answer, progress, choice)
    }

    fn piece(&mut self, answer: usize, piece: Piece) -> Value {
        let tokens = piece.tokens.len();
        let choice = self.choice(answer, json!({ "content": piece.text }), None, piece);
        self.chunks.piece(answer, tokens, choice)
    }

    fn done(&mut self, answer: usize, rest: Piece, done: &Done) -> Option<Value> {
        let choice = self.choice(answer, json!({}), Some(reason(done)), rest);
        Some(self.chunks.done(choice, done))
    }

    fn finished(&mut self, timings: &[job::Timings]) -> Option<Value> {
        self.chunks.finished(timings)
    }
}
