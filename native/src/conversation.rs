//! Messages, and the tokens that a model gets for them.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tracing::{debug, trace};
use woolly_engine::chat::{self, Request, Template};
use woolly_engine::tokenizer::Tokenizer;

use crate::cli::Generation;
use crate::error::{Error, Result};
use crate::load::Loaded;
use crate::time;

/// Who says something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Whoever sets the rules.
    System,
    /// The person.
    User,
    /// The model.
    Assistant,
}

impl Role {
    /// The name that templates know.
    fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

/// Something said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// By whom.
    pub role: Role,
    /// What.
    pub content: String,
}

impl Message {
    /// `role` says `content`.
    pub fn new(role: Role, content: &str) -> Self {
        Self { role, content: content.to_string() }
    }

    fn for_template(&self) -> chat::Message {
        chat::Message::new(self.role.name(), &self.content)
    }
}

/// Turns messages into prompts for one model.
pub struct Prompter<'a> {
    tokenizer: &'a Tokenizer,
    /// Absent where the messages are continued as plain text.
    template: Option<Template>,
    /// Further variables of the template.
    extra: Option<Map<String, Value>>,
}

impl<'a> Prompter<'a> {
    /// With the template that the command line names, else the model's own, else none.
    pub fn new(loaded: &'a Loaded, args: &Generation) -> Result<Self> {
        let tokenizer = loaded.model.tokenizer();
        let template = if args.raw { None } else { template(loaded, args.chat_template.as_deref())? };
        debug!(template = template.is_some(), "preparing prompts");
        Ok(Self { tokenizer, template, extra: args.chat_template_kwargs.clone() })
    }

    /// Whether a chat template says who speaks.
    pub fn has_template(&self) -> bool {
        self.template.is_some()
    }

    /// The tokens of a conversation, up to where the assistant begins to speak.
    pub fn tokens(&self, messages: &[Message]) -> Result<Vec<u32>> {
        let Some(template) = &self.template else {
            let text: String = messages.iter().map(|message| message.content.as_str()).collect();
            return Ok(self.tokenizer.encode(text.as_bytes(), true, true));
        };
        let prompt = self.render(template, messages)?;
        trace!(prompt);
        Ok(self.tokenizer.encode_prompt(&prompt))
    }

    fn render(&self, template: &Template, messages: &[Message]) -> Result<String> {
        let messages: Vec<_> = messages.iter().map(Message::for_template).collect();
        let messages = chat::Message::list(&messages);
        let request = Request {
            add_generation_prompt: true,
            bos_token: special(self.tokenizer, self.tokenizer.bos()),
            eos_token: special(self.tokenizer, self.tokenizer.eos()),
            now: Some(time::now()),
            extra: self.extra.as_ref(),
            ..Request::new(&messages)
        };
        template.render(&request).map_err(|cause| Error::other("cannot render these messages").because(cause))
    }
}

/// The text of a special token.
pub fn special(tokenizer: &Tokenizer, id: Option<u32>) -> Option<&str> {
    id.and_then(|id| tokenizer.text(id))
}

fn template(loaded: &Loaded, file: Option<&Path>) -> Result<Option<Template>> {
    if let Some(path) = file {
        return read_template(path).map(Some);
    }
    let parsed = loaded.model.chat_template().map(Template::new).transpose();
    parsed.map_err(|cause| {
        Error::bad_file(format!("the chat template of {} is broken (--raw goes without)", loaded.name)).because(cause)
    })
}

/// A template from a file of its own.
pub fn read_template(path: &Path) -> Result<Template> {
    let source = std::fs::read_to_string(path).map_err(|cause| Error::io(format!("read {}", path.display()), cause))?;
    Template::new(&source)
        .map_err(|cause| Error::bad_file(format!("the template {} is broken", path.display())).because(cause))
}
