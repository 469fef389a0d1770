//! `/props`

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use woolly_engine::session::Until;

use super::settings::{GenerationSettings, Reported};
use crate::serve::http::error::Result;
use crate::serve::http::extract::Query;
use crate::serve::http::{App, work};

/// Which model is meant.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Which {
    /// The model's name; without it the default one.
    pub model: Option<String>,
}

/// What a server is.
#[derive(Serialize, ToSchema)]
pub struct Props {
    default_generation_settings: Defaults,
    /// Answers that are computed at the same time.
    total_slots: usize,
    model_alias: String,
    model_path: String,
    /// The chat template's source.
    chat_template: String,
    bos_token: String,
    eos_token: String,
    modalities: Modalities,
    build_info: String,
}

/// How answers are made where a request does not say.
#[derive(Serialize, ToSchema)]
pub struct Defaults {
    /// Positions of a slot.
    n_ctx: usize,
    params: GenerationSettings,
}

/// What a model reads besides text.
#[derive(Serialize, ToSchema)]
pub struct Modalities {
    vision: bool,
    audio: bool,
}

/// Tell about the server and its model
#[utoipa::path(get, path = "/props", tag = "llama-server", params(Which), responses(
    (status = 200, description = "Its properties", body = Props),
))]
pub async fn props(State(app): State<Arc<App>>, Query(which): Query<Which>) -> Result<Json<Props>> {
    let served = app.named(which.model.as_deref()).await?;
    let tokenizer = served.model.tokenizer();
    let params = app.defaults(&served)?;
    let until = Until { max_tokens: app.settings.max_tokens, ..Until::default() };
    let text = |id: Option<u32>| id.and_then(|id| tokenizer.text(id)).unwrap_or("").to_string();
    Ok(Json(Props {
        default_generation_settings: Defaults {
            n_ctx: served.batch.context(),
            params: GenerationSettings::new(&params, &until, Reported::default(), tokenizer),
        },
        total_slots: served.batch.parallel(),
        model_alias: app.title(&served.name),
        model_path: served.path.display().to_string(),
        chat_template: app.template(&served),
        bos_token: text(tokenizer.bos()),
        eos_token: text(tokenizer.eos()),
        modalities: Modalities { vision: false, audio: false },
        build_info: work::fingerprint(&served),
    }))
}
