//! Errors as JavaScript sees them: an `Error` with the package's `code`.

use js_sys::Reflect;
use wasm_bindgen::JsValue;
use woolly_engine::{arch, bytes, chat, gguf, model, sampler, session};

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// The bytes of a model.
    #[error(transparent)]
    Model(#[from] model::Error),
    /// What a session was asked to do.
    #[error(transparent)]
    Session(#[from] session::Error),
    /// A saved session.
    #[error(transparent)]
    Snapshot(#[from] session::SnapshotError),
    /// The parameters of the sampler.
    #[error(transparent)]
    Sampler(#[from] sampler::Error),
    /// A chat template, or what it was given.
    #[error(transparent)]
    Template(#[from] chat::Error),
    /// Memory for a file.
    #[error(transparent)]
    OutOfMemory(#[from] bytes::OutOfMemory),
    /// An argument.
    #[error("{0}")]
    Argument(String),
}

/// What calls return.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// The package's name for this kind of error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Model(model::Error::Gguf(gguf::Error::NotGguf { .. })) => "not_gguf",
            Self::Model(model::Error::Architecture(arch::Error::Unsupported { .. })) => "unsupported_architecture",
            Self::Model(_) => "bad_model",
            Self::Session(session::Error::ContextFull { .. }) => "context_full",
            Self::Session(session::Error::OutOfMemory(_)) | Self::OutOfMemory(_) => "out_of_memory",
            Self::Session(_) | Self::Snapshot(_) | Self::Sampler(_) | Self::Template(_) | Self::Argument(_) => {
                "bad_argument"
            }
        }
    }
}

impl From<gguf::Error> for Error {
    fn from(error: gguf::Error) -> Self {
        Self::Model(error.into())
    }
}

impl From<Error> for JsValue {
    fn from(error: Error) -> Self {
        let value: JsValue = js_sys::Error::new(&error.to_string()).into();
        // It cannot fail: the object was made just above.
        let _ = Reflect::set(&value, &"code".into(), &error.code().into());
        value
    }
}
