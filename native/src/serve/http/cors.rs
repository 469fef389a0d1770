//! Which web pages may use the server: by default, only its own.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, Method, header};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

/// How long a browser may remember what it was told.
const MAX_AGE: Duration = Duration::from_secs(3600);

/// Pages from where may use the server.
#[derive(Clone, Debug, Default)]
pub struct Origins {
    /// As the user named them.
    allowed: Vec<String>,
}

impl Origins {
    /// Origins such as `https://example.org`; `*` for all, `localhost` for pages of this machine.
    pub fn new(allowed: Vec<String>) -> Self {
        Self { allowed: allowed.into_iter().map(|origin| origin.trim_end_matches('/').to_string()).collect() }
    }

    /// Whether pages from here may.
    pub fn allow(&self, origin: &str) -> bool {
        self.allowed.iter().any(|allowed| match allowed.as_str() {
            "*" => true,
            "localhost" => is_local(origin),
            allowed => allowed == origin,
        })
    }

    /// Whether a request comes from a page that may not make it. Browsers say where a page is from; other clients say
    /// nothing, and are no page.
    pub fn refuse(&self, headers: &HeaderMap) -> bool {
        let Some(origin) = headers.get(header::ORIGIN) else { return false };
        let Ok(origin) = origin.to_str() else { return true };
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("");
        let own = origin.split_once("://").is_some_and(|(_, authority)| !host.is_empty() && authority == host);
        !own && !self.allow(origin)
    }

    /// What tells browsers so; `None` where no other pages may.
    pub fn layer(&self) -> Option<CorsLayer> {
        if self.allowed.is_empty() {
            return None;
        }
        let origins = self.clone();
        let allow = move |origin: &HeaderValue, _: &_| origin.to_str().is_ok_and(|origin| origins.allow(origin));
        let layer = CorsLayer::new()
            .allow_origin(AllowOrigin::predicate(allow))
            .allow_methods([Method::GET, Method::POST, Method::OPTIONS])
            .allow_headers(AllowHeaders::mirror_request())
            .expose_headers([super::router::REQUEST_ID.clone()])
            .max_age(MAX_AGE);
        Some(layer)
    }
}

fn is_local(origin: &str) -> bool {
    let Some((_, authority)) = origin.split_once("://") else { return false };
    let is_port = |rest: &str| rest.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
    let hosts = ["localhost", "127.0.0.1", "[::1]"];
    hosts.iter().filter_map(|host| authority.strip_prefix(host)).any(|rest| rest.is_empty() || is_port(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(origins: &[&str], origin: &str) -> bool {
        let origins = Origins::new(origins.iter().map(|origin| origin.to_string()).collect());
        let headers = [(header::ORIGIN, origin), (header::HOST, "127.0.0.1:8080")];
        origins.refuse(&headers.into_iter().map(|(name, value)| (name, value.parse().unwrap())).collect())
    }

    #[test]
    fn pages_from_elsewhere() {
        assert!(!refused(&[], "http://127.0.0.1:8080"));
        for other in ["http://127.0.0.1:8081", "https://evil.example", "null", "http://127.0.0.1:8080.evil.example"] {
            assert!(refused(&[], other), "{other}");
        }
        assert!(!refused(&["https://example.org/"], "https://example.org"));
        assert!(refused(&["https://example.org"], "http://example.org"));
        assert!(!refused(&["*"], "null"));
        assert!(!Origins::default().refuse(&HeaderMap::new()));
    }

    #[test]
    fn pages_of_this_machine() {
        for good in ["http://localhost", "http://localhost:3000", "http://[::1]:3000", "tauri://localhost"] {
            assert!(!refused(&["localhost"], good), "{good}");
        }
        for bad in ["http://localhost.evil.com", "http://notlocalhost", "http://localhost:80x", "localhost"] {
            assert!(refused(&["localhost"], bad), "{bad}");
        }
    }
}
