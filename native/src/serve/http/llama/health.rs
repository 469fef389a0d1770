//! `/health` and `/metrics`

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderName, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::serve::http::App;
use crate::serve::http::error::{ApiError, Result};
use crate::serve::http::timings::seconds;
use crate::serve::models;

/// Prometheus's text format.
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// How the server is.
#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    /// `ok`
    status: &'static str,
}

/// Whether the server answers
///
/// While the models that it starts with are being loaded, and when the default one cannot answer, the status is 503.
#[utoipa::path(get, path = "/health", tag = "llama-server", responses(
    (status = 200, description = "It answers", body = Health),
))]
pub async fn health(State(app): State<Arc<App>>) -> Result<Json<Health>> {
    match app.models.health() {
        models::Health::Ready => Ok(Json(Health { status: "ok" })),
        models::Health::Loading => Err(ApiError::unavailable("Loading model")),
        models::Health::Unhealthy(why) => Err(ApiError::unavailable(why)),
    }
}

/// What has been done, and how fast, for Prometheus
#[utoipa::path(get, path = "/metrics", tag = "llama-server", responses(
    (status = 200, description = "In Prometheus's text format", content_type = "text/plain", body = String),
))]
pub async fn metrics(State(app): State<Arc<App>>) -> Result<Response> {
    if !app.settings.metrics {
        return Err(ApiError::disabled("this server was started with --no-metrics"));
    }
    let started = (HeaderName::from_static("process-start-time-unix"), seconds(app.started).to_string());
    Ok(([(header::CONTENT_TYPE, PROMETHEUS.to_string()), started], app.metrics.encode()).into_response())
}
