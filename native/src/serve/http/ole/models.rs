//! `/api/v1/models`

use std::path::PathBuf;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::serve::http::App;
use crate::serve::http::error::{ApiError, Result};
use crate::serve::http::extract::{MaybeBody, Path};
use crate::serve::http::timings::seconds;
use crate::serve::models::{ModelInfo, ModelState};

/// The models.
#[derive(Serialize, ToSchema)]
pub struct OleModels {
    models: Vec<OleModel>,
}

/// A model.
#[derive(Serialize, ToSchema)]
pub struct OleModel {
    name: String,
    /// `unloaded`, `loading`, `ready` or `failed`.
    state: &'static str,
    /// Why it failed.
    reason: Option<String>,
    loaded: bool,
    /// The file's name.
    file: Option<String>,
    /// Bytes of the file; 0 where that is not known yet.
    size: u64,
    architecture: Option<String>,
    /// Tokens that the context of an answer holds.
    context_length: Option<usize>,
    parameters: Option<u64>,
    quantization: Option<String>,
    /// Bytes that it takes.
    memory: Option<u64>,
    /// When it was last asked for, in seconds since 1970.
    last_used: Option<u64>,
}

/// Which file to load.
#[derive(Default, Deserialize, ToSchema)]
pub struct Load {
    /// A file in the models folder; without it, the one that has the model's name.
    #[schema(example = "model.gguf")]
    path: Option<String>,
}

/// What became of a model.
#[derive(Serialize, ToSchema)]
pub struct Changed {
    name: String,
    /// `loaded` or `unloaded`.
    status: &'static str,
}

/// List the models
#[utoipa::path(get, path = "/api/v1/models", tag = "Ole", responses(
    (status = 200, description = "All of them, loaded or not", body = OleModels),
))]
pub async fn models(State(app): State<Arc<App>>) -> Json<OleModels> {
    Json(OleModels { models: app.models.list().into_iter().map(|model| entry(&app, model)).collect() })
}

/// Tell about a model
#[utoipa::path(get, path = "/api/v1/models/{name}", tag = "Ole", params(("name" = String, Path, description = "Its name")),
    responses((status = 200, description = "What is known of it", body = OleModel)))]
pub async fn model(State(app): State<Arc<App>>, Path(name): Path<String>) -> Result<Json<OleModel>> {
    let name = app.own_name(&name);
    let found = app.models.list().into_iter().find(|model| model.name == name);
    found
        .map(|model| Json(entry(&app, model)))
        .ok_or_else(|| ApiError::not_found(format!("there is no model {name:?}")))
}

/// Load a model
#[utoipa::path(post, path = "/api/v1/models/{name}/load", tag = "Ole", request_body(content = Option<Load>),
    params(("name" = String, Path, description = "Its name")),
    responses((status = 200, description = "It is loaded", body = Changed)))]
pub async fn load(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    MaybeBody(load): MaybeBody<Load>,
) -> Result<Json<Changed>> {
    let name = app.own_name(&name);
    let path = load.path.map(PathBuf::from);
    let served = app.models.load(&name, path.as_deref()).await?;
    Ok(Json(Changed { name: app.title(&served.name), status: "loaded" }))
}

/// Unload a model
#[utoipa::path(post, path = "/api/v1/models/{name}/unload", tag = "Ole",
    params(("name" = String, Path, description = "Its name")),
    responses((status = 200, description = "It is not loaded any more", body = Changed)))]
pub async fn unload(State(app): State<Arc<App>>, Path(name): Path<String>) -> Result<Json<Changed>> {
    let own = app.own_name(&name);
    app.models.unload(&own).await?;
    Ok(Json(Changed { name: app.title(&own), status: "unloaded" }))
}

impl App {
    /// The model's own name, by what clients call it.
    fn own_name(&self, name: &str) -> String {
        let is_alias = self.settings.aliases.iter().any(|alias| alias == name);
        let default = self.models.default_name().filter(|_| is_alias);
        default.unwrap_or_else(|| name.to_string())
    }
}

fn entry(app: &App, model: ModelInfo) -> OleModel {
    let (state, reason) = match model.state {
        ModelState::Unloaded => ("unloaded", None),
        ModelState::Loading => ("loading", None),
        ModelState::Ready => ("ready", None),
        ModelState::Failed(why) => ("failed", Some(why)),
    };
    let details = model.details.as_ref();
    OleModel {
        name: app.title(&model.name),
        state,
        reason,
        loaded: state == "ready",
        file: model.path.as_deref().and_then(|path| path.file_name()).map(|name| name.to_string_lossy().into_owned()),
        size: model.size,
        architecture: details.map(|details| details.architecture.clone()),
        context_length: details.map(|details| details.context),
        parameters: details.map(|details| details.parameters),
        quantization: details.map(|details| details.quantization.clone()),
        memory: details.map(|details| details.memory),
        last_used: model.last_used.map(seconds),
    }
}
