//! Who may use the server.

use std::path::Path;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::Response;
use subtle::{Choice, ConstantTimeEq};

use super::App;
use super::error::{ApiError, Result};
use crate::cli::key;
use crate::error;

/// What everybody may look at: whether the server lives, what it offers, and the page to chat on.
const PUBLIC: [&str; 7] =
    ["/", "/health", "/v1/health", "/api/v1/health", "/api/v1/health/live", "/api/v1/health/ready", "/openapi.json"];

/// The keys that clients may have; without any, everybody may use the server.
#[derive(Clone, Default)]
pub struct Keys {
    keys: Vec<String>,
}

impl Keys {
    /// Keys of the command line, and those in a file, one in each line; lines that begin with `#` are comments.
    pub fn new(mut keys: Vec<String>, file: Option<&Path>) -> error::Result<Self> {
        let Some(path) = file else { return Ok(Self { keys }) };
        let name = path.display();
        let text = std::fs::read_to_string(path).map_err(|cause| error::Error::io(format!("read {name}"), cause))?;
        let lines = text.lines().map(str::trim).enumerate();
        for (index, line) in lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
            let line =
                key(line).map_err(|expected| error::Error::usage(format!("{name}, line {}: {expected}", index + 1)))?;
            keys.push(line);
        }
        // An empty file is an accident: without keys everybody could use the server.
        if keys.is_empty() {
            return Err(error::Error::usage(format!("{name} holds no keys: expected one in each line")));
        }
        Ok(Self { keys })
    }

    /// Whether clients need one.
    pub fn are_needed(&self) -> bool {
        !self.keys.is_empty()
    }

    /// Compares with every key, in a time that depends on lengths alone.
    fn knows(&self, key: &[u8]) -> bool {
        let each = self.keys.iter().map(|known| known.as_bytes().ct_eq(key));
        each.fold(Choice::from(0), |any, this| any | this).into()
    }
}

/// Lets a request through if it comes from a page that may make it, with a key that is known.
pub async fn guard(State(app): State<Arc<App>>, request: Request, next: Next) -> Result<Response> {
    check_origin(&app, &request)?;
    let is_public = *request.method() == Method::OPTIONS || PUBLIC.contains(&request.uri().path());
    if app.keys.are_needed() && !is_public {
        check_key(&app.keys, request.headers())?;
    }
    Ok(next.run(request).await)
}

/// Reading is harmless, since browsers keep the answer from pages from elsewhere; a WebSocket is not.
fn check_origin(app: &App, request: &Request) -> Result<()> {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    let is_harmless = reads && !request.headers().contains_key(header::UPGRADE);
    if !is_harmless && app.origins.refuse(request.headers()) {
        return Err(ApiError::forbidden("pages from this origin may not use this server (see --cors-origin)"));
    }
    Ok(())
}

fn check_key(keys: &Keys, headers: &HeaderMap) -> Result<()> {
    match given(headers) {
        Some(key) if keys.knows(key) => Ok(()),
        Some(_) => Err(ApiError::unauthenticated("the API key is not known here")),
        None => Err(ApiError::unauthenticated("an API key is missing: expected the header Authorization: Bearer KEY")),
    }
}

fn given(headers: &HeaderMap) -> Option<&[u8]> {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| {
        let (scheme, key) = value.as_bytes().split_at_checked(7)?;
        scheme.eq_ignore_ascii_case(b"Bearer ").then_some(key)
    });
    bearer.or_else(|| headers.get("x-api-key").map(|value| value.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        std::fs::write(&path, "# ours\n\nfirst\n  second  \n").unwrap();
        let keys = Keys::new(vec!["third".into()], Some(&path)).unwrap();
        for good in ["first", "second", "third"] {
            assert!(keys.knows(good.as_bytes()), "{good}");
        }
        for bad in ["", "firs", "first ", "# ours", "fourth"] {
            assert!(!keys.knows(bad.as_bytes()), "{bad}");
        }
        std::fs::write(&path, "# none\n").unwrap();
        assert!(Keys::new(Vec::new(), Some(&path)).is_err());
        std::fs::write(&path, "one\ntwo words\n").unwrap();
        assert!(Keys::new(Vec::new(), Some(&path)).err().unwrap().to_string().contains("line 2"));
    }

    #[test]
    fn where_a_key_stands() {
        let headers =
            |name: &'static str, value: &str| HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())]);
        assert_eq!(given(&headers("authorization", "Bearer x")), Some(&b"x"[..]));
        assert_eq!(given(&headers("authorization", "bearer x")), Some(&b"x"[..]));
        assert_eq!(given(&headers("x-api-key", "x")), Some(&b"x"[..]));
        for other in ["Basic x", "Bearer", ""] {
            assert_eq!(given(&headers("authorization", other)), None, "{other}");
        }
    }
}
