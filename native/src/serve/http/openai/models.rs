//! `/v1/models`

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::serve::http::App;
use crate::serve::http::error::{ApiError, Result};
use crate::serve::http::extract::Path;
use crate::serve::http::timings::seconds;
use crate::serve::models::{ModelDetails, ModelInfo, ModelState};

/// The models.
#[derive(Serialize, ToSchema)]
pub struct ModelList {
    object: &'static str,
    data: Vec<ModelEntry>,
}

/// A model.
#[derive(Serialize, ToSchema)]
pub struct ModelEntry {
    id: String,
    /// Other names that it answers to.
    aliases: Vec<String>,
    object: &'static str,
    /// When it was loaded, in seconds since 1970; 0 where it is not.
    created: u64,
    owned_by: &'static str,
    status: Status,
    /// What is known of a loaded model.
    meta: Option<Meta>,
}

/// Whether a model is loaded.
#[derive(Serialize, ToSchema)]
pub struct Status {
    /// `unloaded`, `loading`, `loaded` or `failed`.
    value: &'static str,
}

/// What is known of a loaded model.
#[derive(Serialize, ToSchema)]
pub struct Meta {
    n_vocab: usize,
    n_ctx: usize,
    n_ctx_train: usize,
    n_embd: usize,
    n_params: u64,
    size: u64,
    architecture: String,
    quantization: String,
}

/// List the models
#[utoipa::path(get, path = "/v1/models", tag = "OpenAI", responses(
    (status = 200, description = "All of them, loaded or not", body = ModelList),
))]
pub async fn models(State(app): State<Arc<App>>) -> Json<ModelList> {
    let data = app.models.list().into_iter().map(|model| entry(&app, model)).collect();
    Json(ModelList { object: "list", data })
}

/// Tell about a model
#[utoipa::path(get, path = "/v1/models/{name}", tag = "OpenAI", params(("name" = String, Path, description = "Its name")),
    responses((status = 200, description = "What is known of it", body = ModelEntry)))]
pub async fn model(State(app): State<Arc<App>>, Path(name): Path<String>) -> Result<Json<ModelEntry>> {
    let found = app.models.list().into_iter().find(|model| model.name == name || app.title(&model.name) == name);
    match found {
        Some(model) => Ok(Json(entry(&app, model))),
        None => Err(ApiError::not_found(format!("there is no model {name:?}"))),
    }
}

fn entry(app: &App, model: ModelInfo) -> ModelEntry {
    let id = app.title(&model.name);
    let is_renamed = id != model.name;
    ModelEntry {
        aliases: if is_renamed { app.settings.aliases.clone() } else { Vec::new() },
        id,
        object: "model",
        created: model.details.as_ref().map_or(0, |details| seconds(details.loaded_at)),
        owned_by: "woolly",
        status: Status { value: state(&model.state) },
        meta: model.details.map(|details| meta(details, model.size)),
    }
}

fn meta(details: ModelDetails, size: u64) -> Meta {
    Meta {
        n_vocab: details.vocabulary,
        n_ctx: details.context,
        n_ctx_train: details.trained_context,
        n_embd: details.embedding,
        n_params: details.parameters,
        size,
        architecture: details.architecture,
        quantization: details.quantization,
    }
}

fn state(state: &ModelState) -> &'static str {
    match state {
        ModelState::Unloaded => "unloaded",
        ModelState::Loading => "loading",
        ModelState::Ready => "loaded",
        ModelState::Failed(_) => "failed",
    }
}
