//! What an answer has to look like: OpenAI's field for it, and llama-server's.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::blocking;
use super::error::{ApiError, Result};
use super::options::Options;
use crate::grammar::{Form, Grammar};
use crate::serve::models::Served;

/// The form of an answer.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ResponseFormat {
    /// Any text.
    Text,
    /// A JSON object.
    JsonObject {
        /// The JSON schema that it conforms to, as llama-server takes it.
        schema: Option<Value>,
    },
    /// JSON that conforms to a schema.
    JsonSchema {
        /// The schema.
        json_schema: Option<NamedSchema>,
        /// The schema itself, as llama-server takes it.
        schema: Option<Value>,
    },
}

/// A JSON schema, as OpenAI's clients send it. Its `name` makes no difference, and `strict` none either: the answer
/// always conforms.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct NamedSchema {
    /// The schema.
    pub schema: Option<Value>,
}

/// The grammar of a request's answers, ready to be matched.
pub async fn grammar(served: &Arc<Served>, options: &Options) -> Result<Option<Grammar>> {
    let Some((field, form)) = form(options)? else { return Ok(None) };
    let vocabulary = served.vocabulary.clone();
    let refused = move |cause| ApiError::field(field, cause);
    blocking(move || vocabulary.compile(&form).map_err(refused)).await.map(Some)
}

/// The form that a request asks for, and the field that says so.
fn form(options: &Options) -> Result<Option<(&'static str, Form)>> {
    let format = options.response_format.as_ref().map(ResponseFormat::form).transpose()?.flatten();
    let grammar = options.grammar.as_ref().filter(|text| !text.is_empty());
    let forms = [
        format.map(|form| ("response_format", form)),
        grammar.map(|text| ("grammar", Form::Gbnf(text.clone()))),
        options.json_schema.as_ref().map(|schema| ("json_schema", Form::Schema(schema.clone()))),
    ];
    let mut forms = forms.into_iter().flatten();
    match (forms.next(), forms.next()) {
        (Some((one, _)), Some((other, _))) => {
            Err(ApiError::field(other, format!("expected one form of the answer, and {one} is another")))
        }
        (form, _) => Ok(form),
    }
}

impl ResponseFormat {
    fn form(&self) -> Result<Option<Form>> {
        match self {
            Self::Text => Ok(None),
            Self::JsonObject { schema } => Ok(Some(schema.clone().map_or_else(Form::any_object, Form::Schema))),
            Self::JsonSchema { json_schema, schema } => {
                let named = json_schema.as_ref().and_then(|named| named.schema.as_ref());
                let missing = || ApiError::field("response_format", "expected a schema in json_schema.schema");
                named.or(schema.as_ref()).ok_or_else(missing).map(|schema| Some(Form::Schema(schema.clone())))
            }
        }
    }
}
