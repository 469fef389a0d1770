//! All routes, and what surrounds them.

use std::any::Any;
use std::sync::Arc;

use axum::extract::{OriginalUri, Request};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use tower::ServiceBuilder;
use tower_http::ServiceBuilderExt;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::request_id::{MakeRequestId, RequestId};
use tower_http::trace::TraceLayer;
use tracing::{Span, error, info, info_span};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};
use utoipa_axum::routes;

use super::error::ApiError;
use super::{App, guard, llama, ole, openai, openapi, page};

/// The header that names a request, in answers and in the log.
pub static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The service that answers all requests.
pub fn router(app: Arc<App>) -> Router {
    let (routes, document) = api().split_for_parts();
    let document = Arc::new(openapi::finish(document));
    let cors = app.origins.layer();
    let routes = routes
        .route("/openapi.json", get(move || async move { Json(document.as_ref().clone()) }))
        .route("/", get(page::page))
        .method_not_allowed_fallback(wrong_method)
        .fallback(nothing_here)
        .with_state(app.clone());
    let around = ServiceBuilder::new()
        .set_request_id(REQUEST_ID.clone(), MakeId)
        .layer(TraceLayer::new_for_http().make_span_with(span).on_response(log_response).on_request(()).on_failure(()))
        .propagate_request_id(REQUEST_ID.clone())
        .layer(CatchPanicLayer::custom(panicked))
        .option_layer(cors)
        .layer(middleware::from_fn_with_state(app, guard::guard));
    routes.layer(around)
}

/// The routes that the document describes.
pub fn api() -> OpenApiRouter<Arc<App>> {
    let groups = [openai_routes(), llama_routes(), ole_routes()];
    groups.into_iter().flatten().fold(OpenApiRouter::new(), |router, (routes, paths)| {
        let router = paths.iter().fold(router, |router, path| router.routes(also(&routes, path)));
        router.routes(routes)
    })
}

/// Routes, and the other paths that lead to them.
type Entry = (UtoipaMethodRouter<Arc<App>>, &'static [&'static str]);

fn openai_routes() -> Vec<Entry> {
    vec![
        (routes!(openai::chat::chat), &["/chat/completions"]),
        (routes!(openai::chat::input_tokens), &["/chat/completions/input_tokens"]),
        (routes!(openai::completions::completions), &[]),
        (routes!(openai::models::models), &["/models"]),
        (routes!(openai::models::model), &[]),
    ]
}

fn llama_routes() -> Vec<Entry> {
    vec![
        (routes!(llama::completion::completion), &["/completions"]),
        (routes!(llama::tokens::tokenize), &[]),
        (routes!(llama::tokens::detokenize), &[]),
        (routes!(llama::template::apply_template), &[]),
        (routes!(llama::props::props), &[]),
        (routes!(llama::slots::slots), &[]),
        (routes!(llama::slots::slot_action), &[]),
        (routes!(llama::health::health), &["/v1/health", "/api/v1/health/ready"]),
        (routes!(llama::health::metrics), &["/api/v1/metrics"]),
    ]
}

fn ole_routes() -> Vec<Entry> {
    vec![
        (routes!(ole::health::health), &[]),
        (routes!(ole::health::live), &[]),
        (routes!(ole::models::models), &[]),
        (routes!(ole::models::model), &[]),
        (routes!(ole::models::load), &[]),
        (routes!(ole::models::unload), &[]),
        (routes!(ole::inference::chat), &[]),
        (routes!(ole::inference::complete), &[]),
        (routes!(ole::inference::stream), &[]),
        (routes!(ole::socket::socket), &[]),
    ]
}

/// The same routes at another path.
fn also(routes: &UtoipaMethodRouter<Arc<App>>, path: &str) -> UtoipaMethodRouter<Arc<App>> {
    let (schemas, paths, methods) = routes;
    let mut other = paths.clone();
    other.paths = paths.paths.values().map(|item| (path.to_string(), openapi::unnamed(item.clone()))).collect();
    (schemas.clone(), other, methods.clone())
}

/// Names requests that come without a name.
#[derive(Clone)]
struct MakeId;

impl MakeRequestId for MakeId {
    fn make_request_id<B>(&mut self, _: &axum::http::Request<B>) -> Option<RequestId> {
        let id = format!("{:016x}", getrandom::u64().ok()?);
        HeaderValue::from_str(&id).ok().map(RequestId::new)
    }
}

/// What the log says about a request. What clients send beyond the path stays out of it.
fn span(request: &Request) -> Span {
    let id = request.headers().get(&REQUEST_ID).and_then(|id| id.to_str().ok()).unwrap_or("");
    // A client may send an id of its own, of any length.
    let id: String = id.chars().take(64).collect();
    info_span!("request", id, method = %request.method(), path = request.uri().path())
}

fn log_response<B>(response: &axum::http::Response<B>, latency: std::time::Duration, _: &Span) {
    info!(status = response.status().as_u16(), ms = latency.as_millis() as u64, "answered");
}

/// A defect in an endpoint must not end the process, nor other requests.
fn panicked(cause: Box<dyn Any + Send>) -> Response {
    let text = cause.downcast_ref::<&str>().map(ToString::to_string);
    let text = text.or_else(|| cause.downcast_ref::<String>().cloned()).unwrap_or_default();
    error!("a request panicked: {text}");
    ApiError::internal("a defect of the server: see its log").into_response()
}

async fn nothing_here(OriginalUri(uri): OriginalUri) -> ApiError {
    ApiError::not_found(format!("there is nothing at {}", uri.path()))
}

async fn wrong_method(method: Method, OriginalUri(uri): OriginalUri) -> ApiError {
    let message = format!("{} does not take the method {method}", uri.path());
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "invalid_request_error", message)
}
