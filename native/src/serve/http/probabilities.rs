//! Tokens with their probabilities, in the shapes of OpenAI's two interfaces and of llama-server.

use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use woolly_engine::tokenizer::Tokenizer;

use crate::serve::job::Probabilities;

/// What stands for the logarithm of no probability at all: JSON has no infinity.
const LEAST: f32 = -9999.0;

/// A token and its probability.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TokenLogprob {
    /// The token's id.
    id: u32,
    /// Its text; where it is a part of a character, with a mark for what is missing.
    token: String,
    /// Its bytes.
    bytes: Vec<u8>,
    /// The natural logarithm of its probability.
    logprob: f32,
}

/// A token that was chosen, and the likeliest ones in its place.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ChosenLogprob {
    /// The token.
    #[serde(flatten)]
    chosen: TokenLogprob,
    /// The likeliest tokens, likeliest first.
    top_logprobs: Vec<TokenLogprob>,
}

/// Probabilities of an answer's tokens, as chats have them.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ChatLogprobs {
    /// Each token.
    pub content: Vec<ChosenLogprob>,
}

/// Probabilities of an answer's tokens, as completions have them.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct CompletionLogprobs {
    /// The tokens' texts.
    tokens: Vec<String>,
    /// The logarithms of their probabilities.
    token_logprobs: Vec<f32>,
    /// In each place, the likeliest tokens' texts with theirs.
    #[schema(value_type = Vec<std::collections::BTreeMap<String, f32>>)]
    top_logprobs: Vec<Map<String, Value>>,
    /// Where in the answer, in characters, each token begins.
    text_offset: Vec<usize>,
    /// The same as chats have it, as llama-server gives it.
    content: Vec<ChosenLogprob>,
}

impl TokenLogprob {
    fn new(id: u32, logprob: f32, tokenizer: &Tokenizer) -> Self {
        let bytes = tokenizer.piece(id, true);
        let token = String::from_utf8_lossy(&bytes).into_owned();
        Self { id, token, bytes, logprob: logprob.max(LEAST) }
    }

    /// As llama-server gives it with `post_sampling_probs`.
    fn as_probability(&self) -> Value {
        json!({ "id": self.id, "token": self.token, "bytes": self.bytes, "prob": self.logprob.exp() })
    }
}

impl ChosenLogprob {
    /// Token `id`, chosen among `probabilities`.
    pub fn new(id: u32, probabilities: &Probabilities, tokenizer: &Tokenizer) -> Self {
        let top = probabilities.top.iter().map(|(id, logprob)| TokenLogprob::new(*id, *logprob, tokenizer)).collect();
        Self { chosen: TokenLogprob::new(id, probabilities.chosen, tokenizer), top_logprobs: top }
    }

    /// As llama-server gives it: logarithms, or probabilities after sampling.
    pub fn for_llama(&self, post_sampling: bool) -> Value {
        if !post_sampling {
            return json!(self);
        }
        let top = self.top_logprobs.iter().filter(|token| token.logprob > LEAST).map(TokenLogprob::as_probability);
        let mut object = self.chosen.as_probability();
        object["top_probs"] = top.collect();
        object
    }
}

impl CompletionLogprobs {
    /// The tokens of an answer, or of a piece of one that begins `offset` characters behind the answer's beginning.
    pub fn new(content: Vec<ChosenLogprob>, mut offset: usize) -> Self {
        let mut all = Self::default();
        for token in &content {
            let text = &token.chosen.token;
            all.tokens.push(text.clone());
            all.token_logprobs.push(token.chosen.logprob);
            all.top_logprobs
                .push(token.top_logprobs.iter().map(|top| (top.token.clone(), top.logprob.into())).collect());
            all.text_offset.push(offset);
            offset += text.chars().count();
        }
        Self { content, ..all }
    }
}
