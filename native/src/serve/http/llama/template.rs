//! `/apply-template`

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::serve::http::error::Result;
use crate::serve::http::extract::Asked;
use crate::serve::http::openai::chat::Chat;
use crate::serve::http::{App, blocking};

/// The prompt of a conversation.
#[derive(Debug, Serialize, ToSchema)]
pub struct Templated {
    prompt: String,
}

/// Turn a conversation into a prompt, by the model's chat template
#[utoipa::path(post, path = "/apply-template", tag = "llama-server", request_body = Asked<Chat>, responses(
    (status = 200, description = "The prompt", body = Templated),
))]
pub async fn apply_template(State(app): State<Arc<App>>, asked: Asked<Chat>) -> Result<Json<Templated>> {
    let served = app.served(&asked.options).await?;
    let template = app.template(&served);
    let conversation = app.with_variables(asked.own.conversation());
    blocking(move || {
        let prompt = conversation.render(&template, served.model.tokenizer())?;
        Ok(Json(Templated { prompt }))
    })
    .await
}
