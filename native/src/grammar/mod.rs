//! Answers of a form: what a grammar or a JSON schema allows, and nothing else.
//!
//! ```text
//! Form ─► Vocabulary::compile ─► Grammar ─► Matcher     one for each answer
//! gbnf: GBNF ─► Lark                        sample: logits without what is forbidden ─► a token
//! ```
//!
//! llguidance does the parsing. It is told the bytes of each token, and says before each token which ones may come.

mod gbnf;
mod matcher;
#[cfg(test)]
mod tests;
mod vocabulary;

pub use matcher::{Matcher, Stuck};
pub use vocabulary::Vocabulary;

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use woolly_engine::sampler::Sampler;

use crate::cli;
use crate::error::Error;

/// What an answer has to look like.
#[derive(Clone, Debug, PartialEq)]
pub enum Form {
    /// What a grammar in GBNF describes.
    Gbnf(String),
    /// JSON that conforms to a schema.
    Schema(Value),
}

/// Why there can be no answers of a form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// The grammar is none.
    #[error("no grammar in GBNF: {0}")]
    Gbnf(#[from] gbnf::Error),
    /// The schema is none, or asks for what cannot be checked while an answer is written.
    #[error("no schema that answers can be held to: {0}")]
    Schema(String),
    /// The grammar is too large, or has no meaning.
    #[error("no grammar that answers can be held to: {0}")]
    Grammar(String),
}

/// A form that is ready to be matched. Clones are the same one.
#[derive(Clone)]
pub struct Grammar {
    beginning: Arc<Mutex<llguidance::Matcher>>,
    vocabulary: Vocabulary,
}

/// Chooses a token, one of those that `matcher` allows where there is one; `None`: the answer is complete.
pub fn sample(matcher: &mut Option<Matcher>, sampler: &mut Sampler, logits: &[f32]) -> Result<Option<u32>, Stuck> {
    match matcher {
        None => Ok(Some(sampler.sample(logits))),
        Some(matcher) => matcher.sample(logits, sampler),
    }
}

/// Goes on behind a token that was chosen: whether the answer is complete with it, and nothing may follow.
pub fn accept(matcher: &mut Option<Matcher>, token: u32) -> Result<bool, Stuck> {
    let Some(matcher) = matcher else { return Ok(false) };
    matcher.accept(token)?;
    Ok(matcher.is_complete())
}

impl Form {
    /// Any JSON object.
    pub fn any_object() -> Self {
        Self::Schema(json!({ "type": "object" }))
    }

    /// What the options of the command line ask for.
    pub fn read(args: &cli::Form) -> Result<Option<Self>, Error> {
        let text = |path: &Path| {
            std::fs::read_to_string(path).map_err(|cause| Error::io(format!("read {}", path.display()), cause))
        };
        if let Some(path) = &args.grammar_file {
            return Ok(Some(Self::Gbnf(text(path)?)));
        }
        if let Some(path) = &args.json_schema_file {
            let no_json = |cause| Error::bad_file(format!("{} is no JSON", path.display())).because(cause);
            return Ok(Some(Self::Schema(serde_json::from_str(&text(path)?).map_err(no_json)?)));
        }
        let grammar = args.grammar.clone().map(Self::Gbnf);
        Ok(grammar.or_else(|| args.json_schema.clone().map(Self::Schema)))
    }
}

impl Grammar {
    /// What follows an answer from its beginning.
    pub fn matcher(&self) -> Matcher {
        // Copies share nothing, so that answers do not wait for each other.
        let copy = self.beginning.lock().unwrap_or_else(PoisonError::into_inner).deep_clone();
        Matcher::new(copy, self.vocabulary.clone())
    }
}

impl fmt::Debug for Grammar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Grammar")
    }
}
