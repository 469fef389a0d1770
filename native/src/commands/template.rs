//! `woolly template`

use std::io::Read;
use std::path::Path;

use serde_json::Value;
use woolly_engine::chat::{Request, Template};
use woolly_engine::tokenizer::Tokenizer;

use crate::conversation;
use crate::error::{Error, Result};
use crate::load::{self, Opened};
use crate::{cli, output, time};

/// The metadata key of a model's chat template.
const TEMPLATE_KEY: &str = "tokenizer.chat_template";

/// Renders a chat template.
pub fn run(args: &cli::Template, offline: bool) -> Result<()> {
    let source = Source::open(&args.source, offline)?;
    let (messages, own_tools) = split(read_json(&args.messages)?, &args.messages)?;
    let tools = args.tools.as_deref().map(read_json).transpose()?.or(own_tools);
    let request = Request {
        messages: &messages,
        tools: tools.as_ref(),
        add_generation_prompt: !args.no_generation_prompt,
        bos_token: source.bos.as_deref(),
        eos_token: source.eos.as_deref(),
        now: Some(time::now()),
        extra: args.chat_template_kwargs.as_ref(),
    };
    let failed = |cause| Error::other(format!("cannot render these messages with {}", args.source)).because(cause);
    output::print(source.template.render(&request).map_err(failed)?)
}

/// A template and the texts that it can ask for.
struct Source {
    template: Template,
    bos: Option<String>,
    eos: Option<String>,
}

impl Source {
    fn open(name: &str, offline: bool) -> Result<Self> {
        if is_template_file(Path::new(name)) {
            let template = conversation::read_template(Path::new(name))?;
            return Ok(Self { template, bos: None, eos: None });
        }
        let Opened { name, gguf, .. } = load::open(Some(name), offline)?;
        let unusable = || load::unusable(&name);
        let source = gguf.metadata().string(TEMPLATE_KEY).map_err(|cause| unusable().because(cause))?;
        let source = source.ok_or_else(|| {
            Error::bad_file(format!("{name} has no chat template: expected the metadata key {TEMPLATE_KEY}"))
        })?;
        let template = Template::new(source).map_err(|cause| unusable().because(cause))?;
        let tokenizer = Tokenizer::from_metadata(gguf.metadata()).map_err(|cause| unusable().because(cause))?;
        let special = |id| conversation::special(&tokenizer, id).map(str::to_string);
        Ok(Self { template, bos: special(tokenizer.bos()), eos: special(tokenizer.eos()) })
    }
}

fn is_template_file(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or("");
    ["jinja", "jinja2", "j2", "txt"].iter().any(|known| extension.eq_ignore_ascii_case(known))
}

fn read_json(path: &Path) -> Result<Value> {
    let is_stdin = path == Path::new("-");
    let name = if is_stdin { "standard input".to_string() } else { path.display().to_string() };
    let mut text = Vec::new();
    let read = if is_stdin {
        std::io::stdin().read_to_end(&mut text).map(|_| ())
    } else {
        std::fs::read(path).map(|all| text = all)
    };
    read.map_err(|cause| Error::io(format!("read {name}"), cause))?;
    serde_json::from_slice(&text).map_err(|cause| Error::bad_file(format!("{name} is no JSON")).because(cause))
}

/// Messages and tools: the file is an array of messages, or an object with both.
fn split(mut value: Value, path: &Path) -> Result<(Value, Option<Value>)> {
    let tools = value.get_mut("tools").map(Value::take).filter(|tools| !tools.is_null());
    let messages =
        if value.is_object() { value.get_mut("messages").map(Value::take).unwrap_or_default() } else { value };
    let shape = messages.as_array().is_some_and(|messages| messages.iter().all(Value::is_object));
    if shape {
        return Ok((messages, tools));
    }
    let expected =
        "an array of objects such as {\"role\": \"user\", \"content\": \"Hi\"}, or an object with a field messages";
    Err(Error::bad_file(format!("{} holds no messages: expected {expected}", path.display())))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn messages_alone_or_in_an_object() {
        let path = Path::new("x.json");
        let messages = json!([{ "role": "user", "content": "Hi" }]);
        assert_eq!(split(messages.clone(), path).unwrap(), (messages.clone(), None));
        let both = json!({ "messages": messages, "tools": [1] });
        assert_eq!(split(both, path).unwrap(), (messages, Some(json!([1]))));
        for bad in [json!({}), json!("x"), json!([1]), json!({ "messages": 1 })] {
            assert!(split(bad, path).unwrap_err().to_string().contains("x.json"));
        }
    }
}
