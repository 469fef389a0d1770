//! Model architectures: how each one's GGUF metadata becomes a [`Spec`].

mod gemma3;
mod granite;
mod llama;
mod qwen2;
mod qwen3;
mod reader;

use alloc::string::String;
use alloc::vec::Vec;

use crate::gguf::{self, Gguf};
use crate::spec::Spec;
use reader::Reader;

/// Turns a model's metadata into its spec.
type ReadSpec = fn(&Reader<'_>) -> Result<Spec, Error>;

/// The architectures that the engine runs, by their name in `general.architecture`.
const ARCHITECTURES: &[(&str, ReadSpec)] = &[
    ("llama", llama::spec),
    ("qwen2", qwen2::spec),
    ("qwen3", qwen3::spec),
    ("gemma3", gemma3::spec),
    ("granite", granite::spec),
];

/// Why a file's metadata does not describe a model that the engine runs.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// An architecture that is not in the table.
    #[error("architecture '{found}' is not supported; supported are: {}", supported())]
    Unsupported {
        /// What `general.architecture` says.
        found: String,
    },
    /// A feature of a supported architecture that the engine does not have.
    #[error("{key}: {what} is not supported")]
    Feature {
        /// The metadata key.
        key: String,
        /// The feature.
        what: String,
    },
    /// A value that makes no sense.
    #[error("{key} is {found}, expected {expected}")]
    Value {
        /// The metadata key.
        key: String,
        /// Its value.
        found: String,
        /// What would make sense.
        expected: &'static str,
    },
    /// A key that is missing or has another type.
    #[error(transparent)]
    Metadata(#[from] gguf::Error),
}

/// The names of the supported architectures, separated by commas.
pub fn supported() -> String {
    ARCHITECTURES.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

/// The spec of the model in `gguf`.
pub fn spec(gguf: &Gguf) -> Result<Spec, Error> {
    let name = gguf.metadata().require_string("general.architecture")?;
    let Some((name, read)) = ARCHITECTURES.iter().find(|(known, _)| *known == name) else {
        return Err(Error::Unsupported { found: name.into() });
    };
    read(&Reader::new(gguf, name))
}
