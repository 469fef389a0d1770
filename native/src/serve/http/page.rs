//! The page to chat on: one file, which asks for nothing from elsewhere.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::App;
use super::error::{ApiError, Result};

const PAGE: &str = include_str!("page.html");

/// What stands in the page for the word that only this answer's own script and style know.
const NONCE: &str = "{{nonce}}";

/// The page.
pub async fn page(State(app): State<Arc<App>>) -> Result<Response> {
    if !app.settings.page {
        return Err(ApiError::not_found("this server was started with --no-ui"));
    }
    let nonce = getrandom::u64().map_err(|cause| ApiError::internal(format!("no randomness: {cause}")))?;
    let nonce = format!("{nonce:016x}");
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8".to_string()),
        (header::CONTENT_SECURITY_POLICY, policy(&nonce)),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_string()),
        (header::REFERRER_POLICY, "no-referrer".to_string()),
        (header::CACHE_CONTROL, "no-store".to_string()),
    ];
    Ok((headers, PAGE.replace(NONCE, &nonce)).into_response())
}

/// Nothing runs but the page's own script, and nothing is asked but this server.
fn policy(nonce: &str) -> String {
    format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src data:; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}
