//! Conversations in files: `{"model": …, "system": …, "messages": [{"role": …, "content": …}, …]}`.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::conversation::{Message, Role};
use crate::error::{Error, Result};
use crate::output;

/// A conversation as a file has it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// The model's title.
    pub model: String,
    /// The system prompt.
    pub system: Option<String>,
    /// Messages of the user and the assistant, in turn, the user's first.
    pub messages: Vec<Message>,
}

impl Saved {
    /// Writes the conversation to a file.
    pub fn write(&self, path: &str) -> Result<()> {
        let text = serde_json::to_string_pretty(self)
            .map_err(|cause| Error::other("cannot write the conversation as JSON").because(cause))?;
        output::write_file(Path::new(path), |file| {
            writeln!(file, "{text}").map_err(|cause| Error::io(format!("write {path}"), cause))
        })
    }

    /// Reads a conversation, and checks it.
    pub fn read(path: &str) -> Result<Self> {
        let text = std::fs::read(path).map_err(|cause| Error::io(format!("read {path}"), cause))?;
        let saved: Self = serde_json::from_slice(&text).map_err(|cause| {
            Error::bad_file(format!("{path} is no saved conversation; expected model, system and messages"))
                .because(cause)
        })?;
        saved.check(path)?;
        Ok(saved)
    }

    fn check(&self, path: &str) -> Result<()> {
        let turns = [Role::User, Role::Assistant].into_iter().cycle();
        match self.messages.iter().zip(turns).position(|(message, expected)| message.role != expected) {
            None => Ok(()),
            Some(index) => Err(Error::bad_file(format!(
                "{path} is no saved conversation: message {} is by the {:?}, expected user and assistant in turn",
                index + 1,
                self.messages[index].role
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("talk.json").display().to_string();
        let messages = vec![Message::new(Role::User, "Hi \"you\"\n"), Message::new(Role::Assistant, "é")];
        let saved = Saved { model: "m".into(), system: None, messages };
        saved.write(&path).unwrap();
        assert_eq!(Saved::read(&path).unwrap(), saved);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("talk.json").display().to_string();
        for (text, hint) in [
            ("{", "EOF"),
            ("[]", "expected model"),
            (r#"{"model":"m","messages":[{"role":"robot","content":""}]}"#, "robot"),
            (r#"{"model":"m","messages":[{"role":"assistant","content":"x"}]}"#, "message 1"),
            (r#"{"model":"m","messages":[{"role":"user"}]}"#, "content"),
        ] {
            std::fs::write(&path, text).unwrap();
            let message = Saved::read(&path).unwrap_err().to_string();
            assert!(message.contains(hint) && message.contains("talk.json"), "{message}");
        }
    }
}
