//! Conversations, and the prompts that a model's chat template makes of them.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use woolly_engine::chat::{Request, Template};
use woolly_engine::tokenizer::Tokenizer;

use super::error::{ApiError, Result};
use crate::conversation::special;
use crate::time;

/// Something said.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Message {
    /// By whom: `system`, `user`, `assistant`, or another role that the model's template knows.
    #[schema(min_length = 1)]
    pub role: String,
    /// What. It may be absent where the assistant called tools.
    pub content: Option<Content>,
    /// Tools that the assistant called.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<Object>>)]
    pub tool_calls: Option<Vec<Map<String, Value>>>,
    /// Whatever else the template knows.
    #[serde(flatten)]
    #[schema(ignore)]
    pub other: Map<String, Value>,
}

/// What is said: a text, or the parts of one.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(untagged, expecting = "expected a text or a list of parts such as {\"type\": \"text\", \"text\": \"Hi\"}")]
pub enum Content {
    /// A text.
    Text(String),
    /// Parts of a text.
    Parts(Vec<Part>),
}

/// A part of what is said.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Part {
    /// What it is: `text`. This server takes no pictures or sounds.
    pub r#type: String,
    /// The text.
    pub text: Option<String>,
}

/// A conversation, and how to turn it into a prompt.
#[derive(Clone, Debug, Default)]
pub struct Conversation {
    /// What was said.
    pub messages: Vec<Message>,
    /// Tools that the template may show.
    pub tools: Option<Value>,
    /// Further variables of the template.
    pub variables: Map<String, Value>,
    /// Whether the prompt ends with the beginning of an answer.
    pub add_generation_prompt: Option<bool>,
    /// Whether the last message, which is the assistant's, is to be continued.
    pub continue_final_message: Option<bool>,
}

impl Content {
    fn text(self) -> Result<String> {
        let parts = match self {
            Self::Text(text) => return Ok(text),
            Self::Parts(parts) => parts,
        };
        let texts: Vec<String> = parts.into_iter().map(Part::text).collect::<Result<_>>()?;
        Ok(texts.join("\n"))
    }
}

impl Part {
    fn text(self) -> Result<String> {
        match (self.r#type.as_str(), self.text) {
            ("text" | "input_text", Some(text)) => Ok(text),
            ("text" | "input_text", None) => {
                Err(ApiError::field("messages", "a part of type text: expected a field text"))
            }
            (other, _) => {
                let message = format!("a part of type {other:?}: this model reads text alone, expected type \"text\"");
                Err(ApiError::field("messages", message))
            }
        }
    }
}

impl Conversation {
    /// The prompt, by a template's source.
    pub fn render(mut self, template: &str, tokenizer: &Tokenizer) -> Result<String> {
        if self.add_generation_prompt == Some(true) && self.continue_final_message == Some(true) {
            let both = "it cannot be true together with continue_final_message";
            return Err(ApiError::field("add_generation_prompt", both));
        }
        self.check_roles()?;
        let begun = self.take_begun_answer()?;
        let adds = self.add_generation_prompt.unwrap_or(true) || begun.is_some();
        let messages: Vec<Value> = self.messages.drain(..).map(plain).collect::<Result<_>>()?;
        let messages = Value::Array(messages);
        let template = Template::new(template)?;
        let request = Request {
            tools: self.tools.as_ref().filter(|tools| tools.as_array().is_some_and(|tools| !tools.is_empty())),
            add_generation_prompt: adds,
            bos_token: special(tokenizer, tokenizer.bos()),
            eos_token: special(tokenizer, tokenizer.eos()),
            now: Some(time::now()),
            extra: Some(&self.variables),
            ..Request::new(&messages)
        };
        Ok(template.render(&request)? + begun.as_deref().unwrap_or(""))
    }

    fn check_roles(&self) -> Result<()> {
        if self.messages.is_empty() {
            return Err(ApiError::field("messages", "expected at least one message"));
        }
        let mut trailing = self.messages.iter().rev().take_while(|message| is_answer(message));
        if trailing.nth(1).is_some() {
            return Err(ApiError::field("messages", "expected at most one assistant's message at the end"));
        }
        Ok(())
    }

    /// An answer at the end is one that has begun: the prompt is to end with it, as it is.
    fn take_begun_answer(&mut self) -> Result<Option<String>> {
        let is_begun = self.continue_final_message.unwrap_or(true) && self.messages.last().is_some_and(is_answer);
        match self.messages.pop_if(|_| is_begun) {
            Some(message) => message.content.unwrap_or(Content::Text(String::new())).text().map(Some),
            None if self.continue_final_message == Some(true) => {
                Err(ApiError::field("continue_final_message", "expected the last message to be the assistant's"))
            }
            None => Ok(None),
        }
    }
}

/// Whether it is text of the assistant's, which can be gone on with.
fn is_answer(message: &Message) -> bool {
    message.role == "assistant" && message.tool_calls.as_ref().is_none_or(Vec::is_empty)
}

/// A message as templates know them: its content is one text.
fn plain(message: Message) -> Result<Value> {
    if message.role.is_empty() {
        return Err(ApiError::field("messages", "a role is empty: expected one such as \"user\""));
    }
    let calls_tools = message.tool_calls.as_ref().is_some_and(|calls| !calls.is_empty());
    let content = match message.content {
        Some(content) => Value::String(content.text()?),
        None if calls_tools => Value::Null,
        None => {
            let expected = format!("a message of role {:?} has no content: expected a text", message.role);
            return Err(ApiError::field("messages", expected));
        }
    };
    let mut object = message.other;
    object.insert("role".into(), message.role.into());
    object.insert("content".into(), content);
    if let Some(calls) = message.tool_calls.filter(|calls| !calls.is_empty()) {
        object.insert("tool_calls".into(), calls.into_iter().map(with_parsed_arguments).collect());
    }
    Ok(Value::Object(object))
}

/// OpenAI's clients write a call's arguments as a text of JSON; templates expect what it says.
fn with_parsed_arguments(call: Map<String, Value>) -> Value {
    let mut call = Value::Object(call);
    let arguments = call.pointer("/function/arguments").and_then(Value::as_str);
    let parsed = arguments.and_then(|text| serde_json::from_str::<Map<String, Value>>(text).ok());
    if let (Some(parsed), Some(place)) = (parsed, call.pointer_mut("/function/arguments")) {
        *place = json!(parsed);
    }
    call
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conversation(messages: Value) -> Conversation {
        Conversation { messages: serde_json::from_value(messages).unwrap(), ..Conversation::default() }
    }

    fn render(conversation: Conversation) -> Result<String> {
        conversation.render(Template::CHATML, &crate::serve::http::tests::tokenizer())
    }

    #[test]
    fn parts_become_one_text() {
        let parts = json!([{ "type": "text", "text": "a" }, { "type": "text", "text": "b" }]);
        let prompt = render(conversation(json!([{ "role": "user", "content": parts }]))).unwrap();
        assert_eq!(prompt, "<|im_start|>user\na\nb<|im_end|>\n<|im_start|>assistant\n");
        let picture = json!([{ "role": "user", "content": [{ "type": "image_url", "image_url": { "url": "x" } }] }]);
        assert!(render(conversation(picture)).unwrap_err().message().contains("image_url"));
    }

    #[test]
    fn an_answer_that_has_begun_is_continued() {
        let messages = json!([{ "role": "user", "content": "Hi" }, { "role": "assistant", "content": "Hel" }]);
        let prompt = render(conversation(messages.clone())).unwrap();
        assert!(prompt.ends_with("<|im_start|>assistant\nHel"), "{prompt}");
        let whole = Conversation { continue_final_message: Some(false), ..conversation(messages) };
        assert!(render(whole).unwrap().contains("Hel<|im_end|>"));
    }

    #[test]
    fn what_is_no_conversation() {
        let user = json!({ "role": "user", "content": "Hi" });
        let answer = json!({ "role": "assistant", "content": "Hi" });
        for bad in [
            json!([]),
            json!([{ "role": "user" }]),
            json!([{ "role": "", "content": "x" }]),
            json!([user, answer, answer]),
        ] {
            assert!(render(conversation(bad.clone())).is_err(), "{bad}");
        }
        let both = Conversation {
            add_generation_prompt: Some(true),
            continue_final_message: Some(true),
            ..conversation(json!([user, answer]))
        };
        assert!(render(both).is_err());
    }

    #[test]
    fn arguments_of_calls_are_values() {
        let call = json!({ "function": { "name": "f", "arguments": "{\"x\": 1}" } });
        let call = with_parsed_arguments(call.as_object().unwrap().clone());
        assert_eq!(call["function"]["arguments"], json!({ "x": 1 }));
    }
}
