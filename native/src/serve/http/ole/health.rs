//! `/api/v1/health`

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::serve::http::App;
use crate::serve::models;

/// How the server is.
#[derive(Serialize, ToSchema)]
pub struct ServerHealth {
    /// `ready`, `loading` or `unhealthy`.
    status: &'static str,
    /// Why it is unhealthy.
    reason: Option<String>,
    version: &'static str,
    /// Seconds since it began.
    uptime: u64,
}

/// Whether the process lives.
#[derive(Serialize, ToSchema)]
pub struct Live {
    /// `alive`
    status: &'static str,
}

/// Tell how the server is
///
/// The status is 503 while it does not answer.
#[utoipa::path(get, path = "/api/v1/health", tag = "Ole", responses(
    (status = 200, description = "It answers", body = ServerHealth),
    (status = 503, description = "It does not answer now", body = ServerHealth),
))]
pub async fn health(State(app): State<Arc<App>>) -> Response {
    let (code, status, reason) = match app.models.health() {
        models::Health::Ready => (StatusCode::OK, "ready", None),
        models::Health::Loading => (StatusCode::SERVICE_UNAVAILABLE, "loading", None),
        models::Health::Unhealthy(why) => (StatusCode::SERVICE_UNAVAILABLE, "unhealthy", Some(why)),
    };
    let uptime = app.started.elapsed().map_or(0, |time| time.as_secs());
    (code, Json(ServerHealth { status, reason, version: env!("CARGO_PKG_VERSION"), uptime })).into_response()
}

/// Whether the process lives
#[utoipa::path(get, path = "/api/v1/health/live", tag = "Ole", responses(
    (status = 200, description = "It does", body = Live),
))]
pub async fn live() -> Json<Live> {
    Json(Live { status: "alive" })
}
