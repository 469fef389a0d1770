//! The HTTP client: requests with timeouts, and the meaning of what goes wrong.

use super::config::{Config, Patience};
use crate::error::{Error, Kind, Result};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use ureq::config::RedirectAuthHeaders;
use ureq::http::{Response, StatusCode};
use ureq::tls::{RootCerts, TlsConfig, TlsProvider};
use ureq::{Agent, Body, Proxy, Timeout};

/// A client that keeps connections open between requests.
pub struct Http {
    agent: Agent,
    /// How often to try again.
    pub patience: Patience,
}

/// A failed request, and whether it is worth another.
pub struct Fault {
    /// What went wrong.
    pub error: Error,
    /// When trying again makes sense.
    pub retry: Retry,
}

/// When trying again makes sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// The same request will fail in the same way.
    Never,
    /// The server cannot be reached: only where it could be before.
    IfSeen,
    /// It is a passing trouble.
    Always,
}

impl From<Error> for Fault {
    /// An error on this machine: no request will mend it.
    fn from(error: Error) -> Self {
        Self { error, retry: Retry::Never }
    }
}

impl Http {
    /// A client for these settings.
    pub fn new(config: &Config) -> Self {
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .root_certs(RootCerts::PlatformVerifier)
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        let patience = config.patience;
        let agent = Agent::config_builder()
            .tls_config(tls)
            .proxy(if config.proxy { Proxy::try_from_env() } else { None })
            .http_status_as_error(false)
            .redirect_auth_headers(RedirectAuthHeaders::Never)
            .user_agent(concat!("woolly/", env!("CARGO_PKG_VERSION")))
            .timeout_resolve(Some(patience.connect))
            .timeout_connect(Some(patience.connect))
            .timeout_recv_response(Some(patience.read))
            .timeout_per_read(Some(patience.read))
            .timeout_per_write(Some(patience.read))
            .build()
            .new_agent();
        Self { agent, patience }
    }

    /// Sends a GET request. Any status that is not an error counts as an answer, 416 too.
    pub fn get(&self, url: &str, headers: &[(&str, String)]) -> Result<Response<Body>, Fault> {
        let request = self.agent.get(url).header("accept-encoding", "identity");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, value));
        let response = request.call().map_err(|cause| fault(url, cause))?;
        match response.status() {
            status if status.is_success() || status == StatusCode::RANGE_NOT_SATISFIABLE => Ok(response),
            status => Err(refused(url, status)),
        }
    }

    /// Runs `attempt` again, with growing pauses, while it makes sense.
    pub fn with_retries<T>(&self, mut attempt: impl FnMut() -> Result<T, Fault>) -> Result<T> {
        let mut failures = 0;
        loop {
            match attempt() {
                Ok(value) => return Ok(value),
                Err(fault) if fault.retry != Retry::Always => return Err(fault.error),
                Err(fault) => {
                    failures += 1;
                    if failures >= self.patience.attempts.min(3) {
                        return Err(fault.error);
                    }
                    std::thread::sleep(self.pause(failures));
                }
            }
        }
    }

    /// The pause after so many failures in a row.
    pub fn pause(&self, failures: u32) -> Duration {
        self.patience.pause * 2u32.pow(failures.saturating_sub(1).min(6))
    }
}

/// The host of an address, for messages.
pub fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    authority.rsplit('@').next().unwrap_or(authority)
}

/// What a failed read of an answer's body means.
pub fn cut(url: &str, cause: io::Error) -> Fault {
    let error = match cause.downcast::<ureq::Error>() {
        Ok(ureq::Error::Timeout(_)) => Error::network(format!("{} stopped sending", host(url))),
        Ok(cause) => Error::network(format!("the connection to {} broke", host(url))).because(cause),
        Err(cause) => Error::network(format!("the connection to {} broke", host(url))).because(cause),
    };
    Fault { error, retry: Retry::Always }
}

fn refused(url: &str, status: StatusCode) -> Fault {
    let code = status.as_u16();
    let (kind, retry, text) = match code {
        401 | 403 => (Kind::NotFound, Retry::Never, "does not exist, or this user may not read it"),
        404 | 410 => (Kind::NotFound, Retry::Never, "does not exist"),
        408 | 429 | 500..=599 => (Kind::Network, Retry::Always, "cannot be had now"),
        _ => (Kind::Network, Retry::Never, "was not given: expected the file or a redirect to it"),
    };
    Fault { error: Error::new(kind, format!("{url} {text} (HTTP status {code})")), retry }
}

fn fault(url: &str, cause: ureq::Error) -> Fault {
    let host = host(url);
    let unreachable = |why: &str| Error::network(format!("cannot reach {host}: {why}"));
    let (error, retry) = match cause {
        ureq::Error::HostNotFound => (unreachable("no address is known for this name"), Retry::IfSeen),
        ureq::Error::Timeout(Timeout::Resolve | Timeout::Connect) => (unreachable("no answer in time"), Retry::IfSeen),
        ureq::Error::Timeout(_) => (Error::network(format!("{host} does not answer")), Retry::Always),
        ureq::Error::BadUri(_) | ureq::Error::Http(_) => {
            (Error::usage(format!("{url} is no valid address")).because(cause), Retry::Never)
        }
        ureq::Error::Io(cause) if is_connecting(&cause) => {
            (Error::network(format!("cannot reach {host}")).because(cause), Retry::IfSeen)
        }
        ureq::Error::Io(_) => (Error::network(format!("the connection to {host} broke")).because(cause), Retry::Always),
        cause => (Error::network(format!("cannot fetch from {host}")).because(cause), Retry::Never),
    };
    Fault { error, retry }
}

fn is_connecting(cause: &io::Error) -> bool {
    use io::ErrorKind as Io;
    !matches!(
        cause.kind(),
        Io::ConnectionReset
            | Io::ConnectionAborted
            | Io::BrokenPipe
            | Io::UnexpectedEof
            | Io::TimedOut
            | Io::WouldBlock
    )
}
