//! Chat templates: the Jinja programs in model files that turn a conversation into a prompt.
//!
//! A [`Template`] is parsed once and rendered with a [`Request`]. What it sees and prints is what Hugging Face's
//! `transformers` library gives it: the same variables (`messages`, `tools`, `documents`, `add_generation_prompt`,
//! `bos_token`, `eos_token`, and any others), Jinja's filters and tests, Python's methods of strings, lists and dicts,
//! `raise_exception`, `strftime_now`, `tojson` as `json.dumps`, loop controls and the `generation` block. Beyond that,
//! lists and dicts can be changed (`append`, `pop`), and `from_json` reads JSON, as some templates want.
//!
//! Templates come with models and are not trusted. Parsing never recurses deeper than brackets and blocks may nest, and
//! a render has a budget of work, memory and depth: a template that loops for ever, recurses, or doubles strings ends
//! with an [`Error::Limit`] within seconds. This is why the interpreter is our own: `minijinja` overflows the stack on
//! a long chain of filters, operators or `elif`s, and the strings of a running template can outgrow memory.
//!
//! ```
//! use woolly_engine::chat::{Message, Request, Template};
//!
//! let template = Template::new(Template::CHATML)?;
//! let messages = Message::list(&[Message::new("user", "Hello")]);
//! let prompt = template.render(&Request { add_generation_prompt: true, ..Request::new(&messages) })?;
//! assert_eq!(prompt, "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n");
//! # Ok::<(), woolly_engine::chat::Error>(())
//! ```

mod ast;
mod checks;
mod eval;
mod filters;
mod format;
mod functions;
mod lexer;
mod meter;
mod methods;
mod ops;
mod parser;
mod print;
mod time;
mod value;

use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;

use serde_json::{Map, Value as Json, json};

pub use time::DateTime;

use ast::Program;
use eval::Machine;
use meter::{Fault, Meter, Outcome};
use value::Value;

/// Why a template cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The template is not Jinja.
    #[error("chat template, line {line}: {message}")]
    Syntax {
        /// Line of the template, from 1.
        line: u32,
        /// What was found and what was expected.
        message: String,
    },
    /// The template did something that cannot be done.
    #[error("chat template, line {line}: {message}")]
    Render {
        /// Line of the template's tag, from 1.
        line: u32,
        /// What it did.
        message: String,
    },
    /// The template refuses the conversation.
    #[error("the chat template refuses the conversation: {message}")]
    Raised {
        /// The template's own words.
        message: String,
    },
    /// The template runs too long, recurses too deep or needs too much memory.
    #[error("chat template, line {line}: {what}")]
    Limit {
        /// Line of the template's tag, from 1.
        line: u32,
        /// Which limit it went over.
        what: &'static str,
    },
}

/// A chat template, parsed.
#[derive(Debug)]
pub struct Template {
    program: Program,
}

/// What a template is rendered with.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The conversation: a list of objects with `role`, `content` and whatever else the template knows.
    pub messages: &'a Json,
    /// Tools as a list of JSON schemas, or none.
    pub tools: Option<&'a Json>,
    /// Whether to end with the start of an answer.
    pub add_generation_prompt: bool,
    /// The text of the token that begins a text, if the model has one.
    pub bos_token: Option<&'a str>,
    /// The text of the token that ends a text, if the model has one.
    pub eos_token: Option<&'a str>,
    /// The time for `strftime_now`. Without one, the template finds that function undefined.
    pub now: Option<DateTime>,
    /// Further variables, such as `enable_thinking`; they win over those above.
    pub extra: Option<&'a Map<String, Json>>,
}

impl<'a> Request<'a> {
    /// A request with nothing but messages.
    pub fn new(messages: &'a Json) -> Request<'a> {
        Request {
            messages,
            tools: None,
            add_generation_prompt: false,
            bos_token: None,
            eos_token: None,
            now: None,
            extra: None,
        }
    }
}

/// A message of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Who speaks: `system`, `user`, `assistant`, ….
    pub role: String,
    /// What is said.
    pub content: String,
}

impl Message {
    /// A message.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Message {
        Message { role: role.into(), content: content.into() }
    }

    /// Messages as [`Request::messages`] takes them.
    pub fn list(messages: &[Message]) -> Json {
        messages.iter().map(|message| json!({"role": message.role, "content": message.content})).collect()
    }
}

impl Template {
    /// ChatML, which serves where a model has no template of its own.
    pub const CHATML: &'static str = "{% for message in messages %}\
        {{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}\
        {% endfor %}\
        {% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

    /// Parses a template.
    pub fn new(source: &str) -> Result<Template, Error> {
        match parser::parse(source) {
            Ok(program) => Ok(Template { program }),
            Err((line, message)) => Err(Error::Syntax { line, message }),
        }
    }

    /// Renders the prompt of a conversation.
    pub fn render(&self, request: &Request<'_>) -> Result<String, Error> {
        let meter = Meter::new(request.bytes());
        let start = |fault| error(fault, 1);
        let variables = request.variables(&meter).map_err(start)?;
        let mut machine = Machine::new(&self.program, meter, request.now).map_err(start)?;
        let outcome = machine.run(&variables).and_then(|()| machine.output());
        outcome.map_err(|fault| error(fault, machine.line))
    }
}

fn error(fault: Fault, line: u32) -> Error {
    match fault {
        Fault::Failed(message) => Error::Render { line, message },
        Fault::Raised(message) => Error::Raised { message },
        Fault::Limit(what) => Error::Limit { line, what },
    }
}

impl Request<'_> {
    /// The size of the request, about as the bytes of its JSON.
    fn bytes(&self) -> usize {
        let tools = self.tools.map_or(0, json_bytes);
        let extra = self.extra.map_or(0, |extra| extra.values().map(json_bytes).sum());
        json_bytes(self.messages) + tools + extra
    }

    fn variables(&self, meter: &Rc<Meter>) -> Outcome<Vec<(&str, Value)>> {
        let mut variables = Vec::from([
            ("messages", Value::from_json(meter, self.messages)?),
            ("tools", Value::from_json(meter, self.tools.unwrap_or(&Json::Null))?),
            ("documents", Value::None),
            ("add_generation_prompt", Value::Bool(self.add_generation_prompt)),
        ]);
        for (name, token) in [("bos_token", self.bos_token), ("eos_token", self.eos_token)] {
            if let Some(token) = token {
                variables.push((name, Value::text(meter, token)?));
            }
        }
        for (name, value) in self.extra.into_iter().flatten() {
            variables.push((name, Value::from_json(meter, value)?));
        }
        Ok(variables)
    }
}

/// The size of a JSON value: its texts, and a few bytes for each of its parts.
fn json_bytes(json: &Json) -> usize {
    const PART: usize = 32;
    let mut bytes = 0;
    let mut rest = Vec::from([json]);
    while let Some(json) = rest.pop() {
        bytes += PART;
        match json {
            Json::String(text) => bytes += text.len(),
            Json::Array(items) => rest.extend(items),
            Json::Object(entries) => {
                bytes += entries.keys().map(|key| key.len() + PART).sum::<usize>();
                rest.extend(entries.values());
            }
            _ => {}
        }
    }
    bytes
}

#[cfg(test)]
mod tests;
