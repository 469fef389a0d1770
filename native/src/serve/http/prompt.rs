//! Prompts in all the forms that clients write them.

use serde::Deserialize;
use utoipa::ToSchema;
use woolly_engine::tokenizer::Tokenizer;

use super::error::{ApiError, Result};

/// The most prompts in one request.
const MAX_PROMPTS: usize = 128;

/// What to continue: a text, a list of texts, the tokens of a text, or a list that has all of them.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(untagged, expecting = "expected a text, a list of texts, a list of tokens, or a list of such lists")]
pub enum Prompt {
    /// A text.
    Text(String),
    /// A text in an object.
    Object(PromptObject),
    /// With a token in it, the parts of one prompt; else a prompt each.
    List(Vec<Item>),
}

/// An element of a list of prompts.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(untagged, expecting = "expected a text, a token or a list of them")]
pub enum Item {
    /// A token's id.
    Token(u32),
    /// A text.
    Text(String),
    /// A text in an object.
    Object(PromptObject),
    /// The parts of one prompt.
    Parts(Vec<Part>),
}

/// A part of a prompt.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(untagged, expecting = "expected a text or a token")]
pub enum Part {
    /// A token's id.
    Token(u32),
    /// A text.
    Text(String),
}

/// A text in an object, as clients write it who may send pictures with it.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct PromptObject {
    /// The text.
    pub prompt_string: String,
    /// Pictures and sounds; this server takes none.
    pub multimodal_data: Option<Vec<String>>,
}

impl Prompt {
    /// The tokens of each prompt, and whether there may be several: then the answer is a list.
    pub fn tokens(&self, tokenizer: &Tokenizer) -> Result<(Vec<Vec<u32>>, bool)> {
        let (prompts, several) = match self {
            Self::Text(text) => (vec![of_text(text, tokenizer)], false),
            Self::Object(object) => (vec![of_text(object.text()?, tokenizer)], false),
            Self::List(items) if items.iter().any(|item| matches!(item, Item::Token(_))) => {
                (vec![of_parts(&parts(items)?, tokenizer)], false)
            }
            Self::List(items) => (of_items(items, tokenizer)?, true),
        };
        for prompt in &prompts {
            check(prompt, tokenizer)?;
        }
        Ok((prompts, several))
    }
}

impl PromptObject {
    fn text(&self) -> Result<&str> {
        if self.multimodal_data.as_ref().is_some_and(|data| !data.is_empty()) {
            return Err(ApiError::field("prompt", "this model reads text alone, not pictures or sounds"));
        }
        Ok(&self.prompt_string)
    }
}

fn of_items(items: &[Item], tokenizer: &Tokenizer) -> Result<Vec<Vec<u32>>> {
    if items.is_empty() || items.len() > MAX_PROMPTS {
        return Err(ApiError::field(
            "prompt",
            format!("expected from 1 to {MAX_PROMPTS} prompts, found {}", items.len()),
        ));
    }
    let of_item = |item: &Item| match item {
        Item::Token(id) => Ok(vec![*id]),
        Item::Text(text) => Ok(of_text(text, tokenizer)),
        Item::Object(object) => Ok(of_text(object.text()?, tokenizer)),
        Item::Parts(parts) => Ok(of_parts(parts, tokenizer)),
    };
    items.iter().map(of_item).collect()
}

fn parts(items: &[Item]) -> Result<Vec<Part>> {
    let part = |item: &Item| match item {
        Item::Token(id) => Ok(Part::Token(*id)),
        Item::Text(text) => Ok(Part::Text(text.clone())),
        Item::Object(_) | Item::Parts(_) => {
            Err(ApiError::field("prompt", "beside tokens, expected tokens and texts alone"))
        }
    };
    items.iter().map(part).collect()
}

fn of_text(text: &str, tokenizer: &Tokenizer) -> Vec<u32> {
    tokenizer.encode(text.as_bytes(), true, true)
}

/// A prompt that begins with a text begins as texts do in this vocabulary.
fn of_parts(parts: &[Part], tokenizer: &Tokenizer) -> Vec<u32> {
    let mut tokens = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        match part {
            Part::Token(id) => tokens.push(*id),
            Part::Text(text) => tokens.extend(tokenizer.encode(text.as_bytes(), index == 0, true)),
        }
    }
    tokens
}

fn check(prompt: &[u32], tokenizer: &Tokenizer) -> Result<()> {
    if prompt.is_empty() {
        return Err(ApiError::field("prompt", "it is empty: expected at least one token"));
    }
    match prompt.iter().find(|id| **id as usize >= tokenizer.vocab_len()) {
        Some(id) => {
            let expected = format!("{id} is no token: expected less than {}", tokenizer.vocab_len());
            Err(ApiError::field("prompt", expected))
        }
        None => Ok(()),
    }
}
