//! Models: what they are, their tokens and their chat templates.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use wasm_bindgen::prelude::wasm_bindgen;
use woolly_engine::chat::{DateTime, Request, Template};
use woolly_engine::gguf::{self, Gguf, Header, Parsed};
use woolly_engine::model::{self, Memory};
use woolly_engine::tokenizer::Tokenizer;

use crate::description::Description;
use crate::error::{Error, Result};
use crate::file::FileBytes;
use crate::session::Asked;

/// About what the program, its stack, a vocabulary and a sampler take.
const PROGRAM: u64 = 16 << 20;

/// A model, perhaps of files that are still arriving.
#[wasm_bindgen]
pub struct Model {
    model: Arc<model::Model>,
    files: Vec<FileBytes>,
}

#[wasm_bindgen]
impl Model {
    /// The model in these files, of which the headers must be there: one, or all parts of a split one in order.
    #[wasm_bindgen(constructor)]
    pub fn new(files: Vec<FileBytes>) -> Result<Model> {
        let gguf = Gguf::open(files.iter().map(|file| file.receiver().file()).collect())?;
        Ok(Self { model: Arc::new(model::Model::load(gguf)?), files })
    }

    /// Says that the first `length` bytes of a file are there.
    pub fn arrived(&mut self, file: usize, length: f64) -> Result<()> {
        let count = self.files.len();
        let expected = || Error::Argument(format!("file {file} of a model of {count}"));
        self.files.get_mut(file).ok_or_else(expected)?.arrived(length)
    }

    /// The package's `ModelInfo`, as JSON.
    #[wasm_bindgen(getter)]
    pub fn info(&self) -> String {
        let gguf = self.model.gguf();
        let tensors: Vec<_> = gguf.tensors().collect();
        json!(Description::new(gguf.metadata(), tensors.into_iter(), gguf.size())).to_string()
    }

    /// The tokens of a text.
    pub fn tokenize(&self, text: &str, add_special: bool, parse_special: bool) -> Vec<u32> {
        self.model.tokenizer().encode(text.as_bytes(), add_special, parse_special)
    }

    /// The text of some tokens; `special` includes those that print as nothing.
    pub fn detokenize(&self, ids: &[u32], special: bool) -> Result<String> {
        let tokenizer = self.model.tokenizer();
        if let Some(id) = ids.iter().find(|&&id| id as usize >= tokenizer.vocab_len()) {
            let vocabulary = tokenizer.vocab_len();
            return Err(Error::Argument(format!("token {id} is not in the vocabulary of {vocabulary} tokens")));
        }
        let mut decoder = tokenizer.decoder(special);
        let mut text: String = ids.iter().map(|&id| decoder.push(tokenizer, id)).collect();
        text += &decoder.finish();
        Ok(text)
    }

    /// The prompt of a conversation: `request` is JSON with `messages`, and perhaps `tools`, `add_generation_prompt` (true
    /// unless given), `chat_template` and `kwargs`.
    pub fn apply_chat_template(&self, request: &str) -> Result<String> {
        let chat: Chat = parse(request, "the request")?;
        let own = self.model.chat_template().unwrap_or(Template::CHATML);
        let template = Template::new(chat.chat_template.as_deref().unwrap_or(own))?;
        let tokenizer = self.model.tokenizer();
        let special = |id: Option<u32>| id.and_then(|id| tokenizer.text(id));
        let request = Request {
            tools: chat.tools.as_ref(),
            add_generation_prompt: chat.add_generation_prompt,
            bos_token: special(tokenizer.bos()),
            eos_token: special(tokenizer.eos()),
            now: Some(now()),
            extra: chat.kwargs.as_ref(),
            ..Request::new(&chat.messages)
        };
        Ok(template.render(&request)?)
    }

    /// The same as tokens.
    pub fn encode_chat(&self, request: &str) -> Result<Vec<u32>> {
        Ok(self.tokenizer().encode_prompt(&self.apply_chat_template(request)?))
    }
}

impl Model {
    /// The engine's model.
    pub fn shared(&self) -> &Arc<model::Model> {
        &self.model
    }

    fn tokenizer(&self) -> &Tokenizer {
        self.model.tokenizer()
    }
}

/// A conversation to be rendered.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Chat {
    messages: Value,
    #[serde(default)]
    tools: Option<Value>,
    #[serde(default = "yes")]
    add_generation_prompt: bool,
    #[serde(default)]
    chat_template: Option<String>,
    #[serde(default)]
    kwargs: Option<Map<String, Value>>,
}

fn yes() -> bool {
    true
}

/// What the header at the start of a file says, as JSON: `{ needed }` where more bytes must be there to tell, else
/// `{ info, parts, loadable }`, with the number of files that the model is split into, and how many bytes of this one must be
/// there for a [`Model`] to be made.
#[wasm_bindgen]
pub fn read_header(prefix: &[u8]) -> Result<String> {
    let header = match gguf::parse(prefix)? {
        Parsed::NeedMore { total } => return Ok(json!({ "needed": total }).to_string()),
        Parsed::Ready(header) => header,
    };
    let end = header.tensors.iter().map(|tensor| tensor.offset + tensor.bytes()).max().unwrap_or(0);
    let info = Description::new(&header.metadata, header.tensors.iter(), header.data_offset + end);
    let parts = header.metadata.u64("split.count").ok().flatten().unwrap_or(1).max(1);
    Ok(json!({ "info": info, "parts": parts, "loadable": loadable(&header) }).to_string())
}

/// Factors of the rotary embedding are a part of what a model computes: with them begins what it takes to load it.
fn loadable(header: &Header) -> u64 {
    let factors = header.tensors.iter().find(|tensor| tensor.name == "rope_freqs.weight");
    header.data_offset + factors.map_or(0, |tensor| tensor.offset + tensor.bytes())
}

/// What a session with these options takes, as the package's `Memory` in JSON, for a model of which `header` is there, the
/// start of its first file, and whose files have `size` bytes together.
#[wasm_bindgen]
pub fn estimate_memory(header: &[u8], size: f64, options: &str) -> Result<String> {
    let asked: Asked = parse(options, "the options")?;
    let outline = match gguf::parse(header)? {
        Parsed::NeedMore { total } => return Err(Error::Argument(format!("the header needs {total} bytes"))),
        Parsed::Ready(header) => Gguf::outline(header)?,
    };
    let trained = woolly_engine::arch::spec(&outline).map_err(model::Error::from)?.context;
    let Memory { kv_cache, scratch, .. } = Memory::estimate(&outline, &asked.options(trained)?)?;
    let weights = size as u64;
    let total = weights + kv_cache + scratch + PROGRAM;
    Ok(json!({ "weights": weights, "kv_cache": kv_cache, "scratch": scratch, "total": total }).to_string())
}

/// Reads a JSON argument.
pub fn parse<'a, T: Deserialize<'a>>(json: &'a str, what: &str) -> Result<T> {
    serde_json::from_str(json).map_err(|error| Error::Argument(format!("{what}: {error}")))
}

/// The local time.
fn now() -> DateTime {
    let now = js_sys::Date::new_0();
    let local = now.get_time() / 1000.0 - now.get_timezone_offset() * 60.0;
    DateTime::from_unix(local as i64)
}
