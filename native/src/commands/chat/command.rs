//! What can be typed besides messages.

use crate::error::{Error, Result};

/// The list that `/help` shows.
pub const HELP: &str = "\
/help          this list
/reset         forget the conversation, but keep the system prompt
/system TEXT   set the system prompt (/system shows it, /system off removes it)
/regen         answer the last message anew
/undo          forget the last message and its answer
/save FILE     write the conversation to a file
/load FILE     go on with a conversation from a file
/stats         speed of the last answer, and how full the context is
/exit          leave (or Ctrl-D)
Ctrl-C stops an answer. A line that ends with \\ goes on in the next; \"\"\" begins and ends a block of lines.
A line that begins with a blank is no command: ' /help' is a message.";

/// Names of all commands, for completion.
pub const NAMES: [&str; 9] = ["/exit", "/help", "/load", "/regen", "/reset", "/save", "/stats", "/system", "/undo"];

/// A command.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    /// List the commands.
    Help,
    /// Forget the conversation.
    Reset,
    /// Show or set the system prompt.
    System(Option<String>),
    /// Write the conversation to a file.
    Save(String),
    /// Read one from a file.
    Load(String),
    /// Say how fast and how full.
    Stats,
    /// Answer again.
    Regenerate,
    /// Forget the last turn.
    Undo,
    /// Leave.
    Exit,
}

impl Command {
    /// The command that a line is, where it is one.
    pub fn parse(line: &str) -> Result<Option<Self>> {
        if !line.starts_with('/') {
            return Ok(None);
        }
        let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let argument = Some(rest.trim()).filter(|rest| !rest.is_empty()).map(str::to_string);
        let file = || argument.clone().ok_or_else(|| Error::usage(format!("{name} needs the name of a file")));
        Ok(Some(match name {
            "/help" | "/?" => Self::Help,
            "/reset" => Self::Reset,
            "/system" => Self::System(argument),
            "/save" => Self::Save(file()?),
            "/load" => Self::Load(file()?),
            "/stats" => Self::Stats,
            "/regen" => Self::Regenerate,
            "/undo" => Self::Undo,
            "/exit" | "/quit" | "/bye" => Self::Exit,
            _ => return Err(Error::usage(format!("there is no command {name}; /help lists them"))),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_and_messages() {
        let parse = |line| Command::parse(line).unwrap();
        assert_eq!(parse("hello"), None);
        assert_eq!(parse(" /help"), None);
        assert_eq!(parse("/help"), Some(Command::Help));
        assert_eq!(parse("/system  Be brief. "), Some(Command::System(Some("Be brief.".into()))));
        assert_eq!(parse("/system"), Some(Command::System(None)));
        assert_eq!(parse("/save my talk.json"), Some(Command::Save("my talk.json".into())));
        assert!(Command::parse("/save").is_err() && Command::parse("/nope").is_err());
    }

    #[test]
    fn every_name_is_a_command_and_in_the_help() {
        for name in NAMES {
            assert!(Command::parse(&format!("{name} x")).unwrap().is_some(), "{name}");
            assert!(HELP.contains(name), "{name}");
        }
    }
}
