//! The server's interfaces.
//!
//! ```text
//! listen     connections, their time limits, shutdown
//! router     guards (origin, keys) ─► routes                        openapi describes them
//! extract    a request's body ─► values                             error is what a client is told
//! options    how to continue ─► sampler::Params, Until      form     what answers look like ─► Grammar
//! prompt     texts and tokens ─► tokens          messages           a conversation ─► a prompt
//! work       prompts and options ─► jobs of a batch
//! sse        events of jobs ─► server-sent events                   pieces, probabilities, timings: parts of answers
//! openai     llama     ole     socket     page                      the interfaces themselves
//! ```

mod cors;
mod error;
mod extract;
mod form;
mod guard;
mod llama;
mod messages;
mod ole;
mod openai;
mod openapi;
mod options;
mod page;
mod pieces;
mod probabilities;
mod prompt;
mod router;
mod sse;
#[cfg(test)]
mod tests;
mod timings;
mod work;

pub use cors::Origins;
pub use guard::Keys;
pub use router::router;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value};
use woolly_engine::chat::Template;

use super::metrics::Metrics;
use super::models::{Models, Served};
use crate::cli::Sampling;
use crate::time;
use error::{ApiError, Result};
use messages::Conversation;
use prompt::Prompt;

/// What all requests share.
pub struct App {
    /// The models.
    pub models: Arc<Models>,
    /// What has been done.
    pub metrics: Arc<Metrics>,
    /// Who may use the server.
    pub keys: Keys,
    /// Pages from where may use the server.
    pub origins: Origins,
    /// What requests may take, and what holds where they do not say.
    pub settings: Settings,
    /// When the server began.
    pub started: SystemTime,
}

/// What requests may take, and what holds where they do not say.
pub struct Settings {
    /// Bytes of a body.
    pub body_limit: usize,
    /// Time of an answer; `None`: no limit.
    pub timeout: Option<Duration>,
    /// Tokens of an answer; `None`: no limit.
    pub max_tokens: Option<usize>,
    /// How to choose tokens.
    pub sampling: Sampling,
    /// Whether there is but one model.
    pub only_model: bool,
    /// Names of the default model.
    pub aliases: Vec<String>,
    /// A chat template instead of the models' own.
    pub template: Option<String>,
    /// Further variables of chat templates.
    pub variables: Map<String, Value>,
    /// Where slots are saved.
    pub slot_folder: Option<PathBuf>,
    /// Whether slots may be looked at.
    pub slots: bool,
    /// Whether metrics may be looked at.
    pub metrics: bool,
    /// Whether there is a page to chat on.
    pub page: bool,
    /// Whether answers say what the model was asked.
    pub verbose: bool,
}

impl App {
    /// The source of a model's chat template.
    fn template(&self, served: &Served) -> String {
        let own = self.settings.template.as_deref().or_else(|| served.model.chat_template());
        own.unwrap_or(Template::CHATML).to_string()
    }

    /// A conversation with the variables that hold where it does not say.
    fn with_variables(&self, conversation: Conversation) -> Conversation {
        let dates = time::dates().map(|(name, date)| (name.to_string(), date.into()));
        let mut variables = Map::from_iter(dates);
        variables.extend(self.settings.variables.clone());
        variables.extend(conversation.variables);
        Conversation { variables, ..conversation }
    }

    /// The tokens of prompts, and whether there may be several.
    async fn prompt_tokens(&self, served: &Arc<Served>, prompt: Prompt) -> Result<(Vec<Vec<u32>>, bool)> {
        let served = served.clone();
        blocking(move || prompt.tokens(served.model.tokenizer())).await
    }
}

/// Does what takes long on a thread of its own, so that other requests go on.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|cause| Err(ApiError::internal(format!("the request could not be worked on: {cause}"))))
}
