//! `/tokenize` and `/detokenize`

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use woolly_engine::tokenizer::Tokenizer;

use crate::serve::http::error::{ApiError, Result};
use crate::serve::http::extract::Body;
use crate::serve::http::{App, blocking};

/// A text that is to become tokens.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(example = json!({ "content": "Hello, world" }))]
pub struct Tokenize {
    /// The text.
    content: String,
    /// Whether to add the tokens that begin and end a text.
    add_special: Option<bool>,
    /// Whether names of special tokens in the text mean these.
    parse_special: Option<bool>,
    /// Whether to tell each token's text.
    with_pieces: Option<bool>,
    /// The model.
    model: Option<String>,
}

/// The tokens of a text.
#[derive(Debug, Serialize, ToSchema)]
pub struct Tokenized {
    tokens: Vec<TokenOrPiece>,
}

/// A token, with its text where that was asked for.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum TokenOrPiece {
    /// Its id.
    Id(u32),
    /// Its id and text.
    Piece {
        /// Its id.
        id: u32,
        /// Its text.
        piece: Piece,
    },
}

/// A token's text, or its bytes where they are none.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Piece {
    /// A text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
}

/// Tokens that are to become a text.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(example = json!({ "tokens": [1, 2, 3] }))]
pub struct Detokenize {
    /// Their ids.
    tokens: Vec<u32>,
    /// The model.
    model: Option<String>,
}

/// The text of tokens.
#[derive(Debug, Serialize, ToSchema)]
pub struct Detokenized {
    content: String,
}

/// Turn a text into tokens
#[utoipa::path(post, path = "/tokenize", tag = "llama-server", request_body = Tokenize, responses(
    (status = 200, description = "The tokens", body = Tokenized),
))]
pub async fn tokenize(State(app): State<Arc<App>>, Body(asked): Body<Tokenize>) -> Result<Json<Tokenized>> {
    let served = app.named(asked.model.as_deref()).await?;
    blocking(move || {
        let tokenizer = served.model.tokenizer();
        let (special, parse) = (asked.add_special.unwrap_or(false), asked.parse_special.unwrap_or(true));
        let tokens = tokenizer.encode(asked.content.as_bytes(), special, parse);
        let with_pieces = asked.with_pieces.unwrap_or(false);
        let token = |id: u32| if with_pieces { with_piece(id, tokenizer) } else { TokenOrPiece::Id(id) };
        Ok(Json(Tokenized { tokens: tokens.into_iter().map(token).collect() }))
    })
    .await
}

/// Turn tokens into a text
#[utoipa::path(post, path = "/detokenize", tag = "llama-server", request_body = Detokenize, responses(
    (status = 200, description = "The text", body = Detokenized),
))]
pub async fn detokenize(State(app): State<Arc<App>>, Body(asked): Body<Detokenize>) -> Result<Json<Detokenized>> {
    let served = app.named(asked.model.as_deref()).await?;
    let tokenizer = served.model.tokenizer();
    if let Some(id) = asked.tokens.iter().find(|id| **id as usize >= tokenizer.vocab_len()) {
        let expected = format!("{id} is no token: expected less than {}", tokenizer.vocab_len());
        return Err(ApiError::field("tokens", expected));
    }
    let text = tokenizer.decode(&asked.tokens, true);
    Ok(Json(Detokenized { content: String::from_utf8_lossy(&text).into_owned() }))
}

fn with_piece(id: u32, tokenizer: &Tokenizer) -> TokenOrPiece {
    let piece = match String::from_utf8(tokenizer.piece(id, true)) {
        Ok(text) => Piece::Text(text),
        Err(error) => Piece::Bytes(error.into_bytes()),
    };
    TokenOrPiece::Piece { id, piece }
}
