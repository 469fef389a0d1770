//! The one error type of the command line and the server: what went wrong, why, and the exit code it ends with.

use std::error::Error as StdError;
use std::fmt;

/// What kind of failure it is; this alone decides the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Anything that no other kind names.
    Other,
    /// The user asked for something that has no meaning.
    Usage,
    /// A file is damaged, or not what it should be.
    BadFile,
    /// A server cannot be reached, or stopped answering.
    Network,
    /// The memory does not suffice.
    Memory,
    /// A model or file does not exist, or may not be read.
    NotFound,
    /// The user stopped it.
    Interrupted,
}

impl Kind {
    /// The exit code of a process that ends with this kind of error.
    pub fn exit_code(self) -> u8 {
        match self {
            Kind::Other => 1,
            Kind::Usage => 2,
            Kind::BadFile => 3,
            Kind::Network => 4,
            Kind::Memory => 5,
            Kind::NotFound => 6,
            Kind::Interrupted => 130,
        }
    }
}

/// The result of whatever can fail in the native host.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure: the message says what, where and what was expected; the source, where there is one, says why.
///
/// `Display` prints the message with the whole chain of sources, so it is all that a user needs to see.
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of `kind`; `message` is a sentence without its full stop.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// Something that no other kind names.
    pub fn other(message: impl Into<String>) -> Self {
        Self::new(Kind::Other, message)
    }

    /// The user asked for something that has no meaning.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    /// A file is damaged, or not what it should be.
    pub fn bad_file(message: impl Into<String>) -> Self {
        Self::new(Kind::BadFile, message)
    }

    /// A server cannot be reached, or stopped answering.
    pub fn network(message: impl Into<String>) -> Self {
        Self::new(Kind::Network, message)
    }

    /// A model or file does not exist, or may not be read.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(Kind::NotFound, message)
    }

    /// A failed operation on a file or folder. `doing` completes "cannot …": "read /tmp/x".
    pub fn io(doing: impl fmt::Display, cause: std::io::Error) -> Self {
        use std::io::ErrorKind as Io;
        let (kind, advice) = match cause.kind() {
            Io::NotFound => (Kind::NotFound, ""),
            Io::PermissionDenied => (Kind::Other, " (see its permissions)"),
            Io::OutOfMemory => (Kind::Memory, ""),
            Io::Interrupted => (Kind::Interrupted, ""),
            Io::StorageFull | Io::QuotaExceeded => (Kind::Other, " (make room, or set WOOLLY_MODELS to another disk)"),
            _ => (Kind::Other, ""),
        };
        Self::new(kind, format!("cannot {doing}{advice}")).because(cause)
    }

    /// The same error with the cause that led to it.
    pub fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The exit code of a process that ends with this error.
    pub fn exit_code(&self) -> u8 {
        self.kind.exit_code()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        let mut said = self.message.clone();
        let mut next = self.source();
        while let Some(cause) = next {
            let text = cause.to_string();
            // Many libraries repeat their source in their own message.
            if !said.contains(&text) {
                write!(f, ": {text}")?;
            }
            said = text;
            next = cause.source();
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn exit_codes_differ() {
        let kinds =
            [Kind::Other, Kind::Usage, Kind::BadFile, Kind::Network, Kind::Memory, Kind::NotFound, Kind::Interrupted];
        let mut codes: Vec<u8> = kinds.iter().map(|kind| kind.exit_code()).collect();
        codes.sort();
        codes.dedup();
        assert_eq!(codes.len(), kinds.len());
        assert!(!codes.contains(&0));
    }

    #[test]
    fn display_says_the_whole_chain_once() {
        let inner = Error::network("no answer from example.org").because(io::Error::other("timed out"));
        let outer = Error::not_found("cannot fetch the model").because(inner);
        assert_eq!(outer.to_string(), "cannot fetch the model: no answer from example.org: timed out");
    }

    #[test]
    fn io_errors_keep_their_meaning() {
        let full = Error::io("write x.gguf", io::ErrorKind::StorageFull.into());
        assert!(full.to_string().contains("make room"), "{full}");
        assert_eq!(Error::io("read x", io::ErrorKind::NotFound.into()).kind(), Kind::NotFound);
        assert_eq!(Error::io("read x", io::ErrorKind::OutOfMemory.into()).exit_code(), 5);
    }
}
