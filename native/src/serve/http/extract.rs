//! Requests into values, with errors of this server's shape.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use serde_json::Value;
use utoipa::ToSchema;

use super::App;
use super::error::{ApiError, Result};
use super::options::Options;

/// How long a client may take to send a body.
const BODY_TIME: Duration = Duration::from_secs(60);

/// A body of JSON.
pub struct Body<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Arc<App>> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self> {
        parse(&json(request, app.settings.body_limit).await?).map(Self)
    }
}

/// A body of JSON, or none: then the value is the default one.
pub struct MaybeBody<T>(pub T);

impl<T: DeserializeOwned + Default> FromRequest<Arc<App>> for MaybeBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self> {
        check_content_type(request.headers())?;
        let bytes = bytes(request, app.settings.body_limit).await?;
        if bytes.is_empty() { Ok(Self(T::default())) } else { parse(&read_json(&bytes)?).map(Self) }
    }
}

/// What an endpoint is asked to continue, with the options that all such endpoints share.
#[derive(ToSchema)]
pub struct Asked<T> {
    /// The fields of this endpoint.
    #[serde(flatten)]
    pub own: T,
    /// The fields of every one.
    #[serde(flatten)]
    pub options: Options,
}

impl<T: DeserializeOwned> FromRequest<Arc<App>> for Asked<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self> {
        Self::from_json(&json(request, app.settings.body_limit).await?)
    }
}

impl<T: DeserializeOwned> Asked<T> {
    /// Both kinds of fields lie in one object.
    pub fn from_json(json: &Value) -> Result<Self> {
        Ok(Self { own: parse(json)?, options: parse(json)? })
    }
}

/// The parameters in a path.
#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Path), rejection(ApiError))]
pub struct Path<T>(pub T);

/// The parameters behind a path.
#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Query), rejection(ApiError))]
pub struct Query<T>(pub T);

impl From<PathRejection> for ApiError {
    fn from(rejection: PathRejection) -> Self {
        Self::not_found(format!("there is nothing at this path: {}", rejection.body_text()))
    }
}

impl From<QueryRejection> for ApiError {
    fn from(rejection: QueryRejection) -> Self {
        Self::invalid(rejection.body_text())
    }
}

/// A value from JSON; an error names the field.
pub fn parse<T: DeserializeOwned>(json: &Value) -> Result<T> {
    if !json.is_object() {
        return Err(ApiError::invalid("the request's body: expected a JSON object"));
    }
    serde_path_to_error::deserialize(json).map_err(|error| {
        let path = error.path().to_string();
        let cause = error.into_inner();
        if path == "." { ApiError::invalid(cause.to_string()) } else { ApiError::field(&path, cause) }
    })
}

async fn json(request: Request, limit: usize) -> Result<Value> {
    check_content_type(request.headers())?;
    read_json(&bytes(request, limit).await?)
}

fn read_json(bytes: &[u8]) -> Result<Value> {
    serde_json::from_slice(bytes).map_err(|cause| ApiError::invalid(format!("the request's body is no JSON: {cause}")))
}

/// Bodies may come without a content type, but not with that of anything else: a browser sends other types to any address
/// that a page from anywhere names, and asks the server first before it sends JSON.
fn check_content_type(headers: &HeaderMap) -> Result<()> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(()) };
    let essence = value.to_str().unwrap_or("").split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    let is_json = essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"));
    if is_json {
        return Ok(());
    }
    let message = format!("the content type is {value:?}, expected application/json");
    Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "invalid_request_error", message))
}

async fn bytes(request: Request, limit: usize) -> Result<axum::body::Bytes> {
    let whole = Limited::new(request.into_body(), limit).collect();
    let slow = |_| ApiError::new(StatusCode::REQUEST_TIMEOUT, "timeout_error", "the request's body took too long");
    match tokio::time::timeout(BODY_TIME, whole).await.map_err(slow)? {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(cause) if cause.is::<LengthLimitError>() => Err(ApiError::too_large(limit)),
        Err(cause) => Err(ApiError::invalid(format!("the request's body is broken: {cause}"))),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    struct Inner {
        #[expect(dead_code, reason = "only that it can be read is of interest")]
        numbers: Vec<u32>,
    }

    #[test]
    fn errors_name_the_field() {
        let error = parse::<Inner>(&serde_json::json!({ "numbers": [1, "x"] })).unwrap_err();
        assert!(error.message().starts_with("numbers[1]: "), "{}", error.message());
        assert!(parse::<Inner>(&serde_json::json!([[1]])).unwrap_err().message().contains("object"));
        assert!(parse::<Inner>(&serde_json::json!({})).unwrap_err().message().contains("numbers"));
    }

    #[test]
    fn content_types() {
        let check =
            |value: &str| check_content_type(&HeaderMap::from_iter([(header::CONTENT_TYPE, value.parse().unwrap())]));
        for good in ["application/json", "Application/JSON; charset=utf-8", "application/vnd.api+json"] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""] {
            assert!(check(bad).is_err(), "{bad}");
        }
        assert!(check_content_type(&HeaderMap::new()).is_ok());
    }
}
