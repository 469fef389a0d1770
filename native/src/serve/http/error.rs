//! What a client is told when something is wrong: OpenAI's shape, with llama-server's fields where it has some.

use axum::Json;
use axum::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;
use woolly_engine::chat;

use crate::serve::job::Failure;
use crate::serve::models::ModelError;

/// The result of whatever an endpoint does.
pub type Result<T, E = ApiError> = std::result::Result<T, E>;

/// Seconds after which a client may try again.
const RETRY_SECONDS: &str = "1";

/// An answer that says what is wrong.
#[derive(Debug)]
pub struct ApiError(Box<Parts>);

#[derive(Debug)]
struct Parts {
    status: StatusCode,
    headers: HeaderMap,
    body: ErrorBody,
}

/// The body of an error.
#[derive(Debug, Serialize, ToSchema)]
pub struct ErrorBody {
    /// What is wrong.
    error: Detail,
}

/// What is wrong.
#[derive(Debug, Serialize, ToSchema)]
pub struct Detail {
    /// For people: what is wrong, where, and what was expected.
    message: String,
    /// For programs: the kind of error.
    r#type: &'static str,
    /// The status, as of HTTP.
    code: u16,
    /// The field of the request that is wrong, where it is one.
    param: Option<String>,
    /// Tokens of a prompt that is too long.
    #[serde(skip_serializing_if = "Option::is_none")]
    n_prompt_tokens: Option<usize>,
    /// Tokens that the context has room for.
    #[serde(skip_serializing_if = "Option::is_none")]
    n_ctx: Option<usize>,
}

impl ApiError {
    /// An error with a status, a type and a message.
    pub fn new(status: StatusCode, r#type: &'static str, message: impl Into<String>) -> Self {
        let detail = Detail {
            message: message.into(),
            r#type,
            code: status.as_u16(),
            param: None,
            n_prompt_tokens: None,
            n_ctx: None,
        };
        Self(Box::new(Parts { status, headers: HeaderMap::new(), body: ErrorBody { error: detail } }))
    }

    /// A request that has no meaning.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", message)
    }

    /// A field of a request that has no meaning.
    pub fn field(name: &str, message: impl std::fmt::Display) -> Self {
        let mut error = Self::invalid(format!("{name}: {message}"));
        error.0.body.error.param = Some(name.to_string());
        error
    }

    /// Something that does not exist.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found_error", message)
    }

    /// Something that this server was told not to do.
    pub fn disabled(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, "not_supported_error", message)
    }

    /// A missing or wrong key.
    pub fn unauthenticated(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "authentication_error", message)
            .with(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
    }

    /// A request that this client may not make.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "permission_error", message)
    }

    /// Something that will be there later.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable_error", message)
            .with(RETRY_AFTER, HeaderValue::from_static(RETRY_SECONDS))
    }

    /// A defect.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "server_error", message)
    }

    /// A body that is larger than the server takes.
    pub fn too_large(limit: usize) -> Self {
        let message = format!("the request's body is larger than the {limit} bytes that this server takes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "invalid_request_error", message)
    }

    /// The message.
    pub fn message(&self) -> &str {
        &self.0.body.error.message
    }

    /// The body.
    pub fn body(&self) -> &ErrorBody {
        &self.0.body
    }

    fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.insert(name, value);
        self
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let Parts { status, headers, body } = *self.0;
        (status, headers, Json(body)).into_response()
    }
}

impl From<Failure> for ApiError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::ContextExceeded { tokens, context } => context_exceeded(tokens, context),
            Failure::QueueFull(_) | Failure::Closing => Self::unavailable(failure.to_string()),
            Failure::Timeout => Self::new(StatusCode::GATEWAY_TIMEOUT, "timeout_error", failure.to_string()),
            Failure::Invalid(message) => Self::invalid(message),
            Failure::Internal(message) => Self::internal(message),
        }
    }
}

fn context_exceeded(tokens: usize, context: usize) -> ApiError {
    let message = format!("the prompt of {tokens} tokens exceeds the available context size of {context} tokens");
    let mut error = ApiError::new(StatusCode::BAD_REQUEST, "exceed_context_size_error", message);
    error.0.body.error.n_prompt_tokens = Some(tokens);
    error.0.body.error.n_ctx = Some(context);
    error
}

impl From<ModelError> for ApiError {
    fn from(error: ModelError) -> Self {
        let message = error.to_string();
        match error {
            ModelError::Unknown(_) => Self::not_found(message),
            ModelError::Invalid(_) => Self::invalid(message),
            ModelError::NoMemory(_) | ModelError::Failed(_) => Self::unavailable(message),
        }
    }
}

impl From<chat::Error> for ApiError {
    fn from(cause: chat::Error) -> Self {
        Self::field("messages", cause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_openais_shape() {
        let error = ApiError::field("temperature", "expected a number");
        let body = serde_json::to_value(error.body()).unwrap();
        let expected = serde_json::json!({ "error": {
            "message": "temperature: expected a number",
            "type": "invalid_request_error",
            "code": 400,
            "param": "temperature",
        }});
        assert_eq!(body, expected);
    }

    #[test]
    fn prompts_that_are_too_long_say_by_how_much() {
        let error = ApiError::from(Failure::ContextExceeded { tokens: 300, context: 256 });
        let body = serde_json::to_value(error.body()).unwrap();
        assert_eq!(body["error"]["type"], "exceed_context_size_error");
        assert_eq!((&body["error"]["n_prompt_tokens"], &body["error"]["n_ctx"]), (&300.into(), &256.into()));
    }

    #[test]
    fn a_full_queue_says_when_to_come_again() {
        let response = ApiError::from(Failure::QueueFull(3)).into_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[RETRY_AFTER], RETRY_SECONDS);
    }
}
