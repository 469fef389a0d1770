//! Lines of the user: with an editor and a history at a terminal, plain ones from anything else.

use std::io::{IsTerminal, StdinLock};
use std::path::PathBuf;

use etcetera::BaseStrategy;
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Context, Editor, Helper, Highlighter, Hinter};
use tracing::warn;

use super::command;
use crate::error::{Error, Result};

/// Where lines come from.
pub enum Input {
    /// A person.
    Terminal(Box<Terminal>),
    /// A pipe or a file.
    Piped(StdinLock<'static>),
}

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// A message or command, of several lines perhaps.
    Text(String),
    /// Ctrl-C while typing: the line is given up.
    Interrupted,
    /// Ctrl-D, or the end of the file.
    End,
}

impl Input {
    /// Stdin.
    pub fn open() -> Self {
        let terminal = std::io::stdin().is_terminal().then(Terminal::open).flatten();
        terminal.map_or_else(|| Self::Piped(std::io::stdin().lock()), |terminal| Self::Terminal(Box::new(terminal)))
    }

    /// Whether a person types.
    pub fn is_terminal(&self) -> bool {
        matches!(self, Self::Terminal(_))
    }

    /// Waits for the next message or command.
    pub fn next(&mut self) -> Result<Line> {
        match self {
            Self::Terminal(terminal) => terminal.next(),
            Self::Piped(stdin) => read_piped(stdin),
        }
    }
}

/// The editor.
pub struct Terminal {
    editor: Editor<Rules, FileHistory>,
    history: Option<PathBuf>,
}

impl Terminal {
    fn open() -> Option<Self> {
        let mut editor = Editor::new().inspect_err(|cause| warn!("no line editing: {cause}")).ok()?;
        editor.set_helper(Some(Rules {}));
        let history = history_file();
        if let Some(path) = &history {
            // There is none before the first chat.
            let _ = editor.load_history(path);
        }
        Some(Self { editor, history })
    }

    fn next(&mut self) -> Result<Line> {
        match self.editor.readline("> ") {
            Ok(text) => {
                self.remember(&text);
                Ok(Line::Text(joined(&text)))
            }
            Err(ReadlineError::Interrupted) => Ok(Line::Interrupted),
            Err(ReadlineError::Eof) => Ok(Line::End),
            Err(cause) => Err(Error::other("cannot read from the terminal").because(cause)),
        }
    }

    /// A history that cannot be kept is no reason to stop a conversation.
    fn remember(&mut self, text: &str) {
        let added = self.editor.add_history_entry(text);
        let saved = match &self.history {
            Some(path) if added.as_ref().is_ok_and(|new| *new) => self.editor.append_history(path),
            _ => added.map(|_| ()),
        };
        if let Err(cause) = saved {
            warn!("the history is not kept: {cause}");
        }
    }
}

/// In the user's folder for state, made where it is missing.
fn history_file() -> Option<PathBuf> {
    let folders = etcetera::choose_base_strategy().ok()?;
    let folder = folders.state_dir().unwrap_or_else(|| folders.data_dir()).join("woolly");
    std::fs::create_dir_all(&folder).inspect_err(|cause| warn!("no history: {}: {cause}", folder.display())).ok()?;
    Some(folder.join("history"))
}

/// How the editor tells that more lines belong to a message, and completes commands.
#[derive(Helper, Highlighter, Hinter)]
struct Rules {}

impl Validator for Rules {
    fn validate(&self, context: &mut ValidationContext) -> rustyline::Result<ValidationResult> {
        let complete = is_complete(context.input());
        Ok(if complete { ValidationResult::Valid(None) } else { ValidationResult::Incomplete })
    }
}

impl Completer for Rules {
    type Candidate = String;

    fn complete(&self, line: &str, at: usize, _: &Context) -> rustyline::Result<(usize, Vec<String>)> {
        let typed = &line[..at];
        let names = command::NAMES.iter().filter(|name| typed.starts_with('/') && name.starts_with(typed));
        Ok((0, names.map(ToString::to_string).collect()))
    }
}

const FENCE: &str = "\"\"\"";

fn read_piped(stdin: &mut impl std::io::BufRead) -> Result<Line> {
    let mut text = String::new();
    loop {
        let length = text.len();
        let read = stdin.read_line(&mut text);
        let count = read.map_err(|cause| Error::io("read standard input", cause))?;
        if count == 0 {
            // The newline that was put where one more line was expected.
            let text = text.strip_suffix('\n').unwrap_or(&text);
            return Ok(if length == 0 { Line::End } else { Line::Text(joined(text)) });
        }
        if text.ends_with('\n') {
            text.truncate(text.strip_suffix("\r\n").or(text.strip_suffix('\n')).map_or(text.len(), str::len));
        }
        if is_complete(&text) {
            return Ok(Line::Text(joined(&text)));
        }
        text.push('\n');
    }
}

/// Whether no further line belongs to the text.
fn is_complete(text: &str) -> bool {
    match text.strip_prefix(FENCE) {
        Some(block) => block.contains(FENCE),
        None => !text.ends_with('\\'),
    }
}

/// The message that was meant: without fences, and without the backslashes that joined lines.
fn joined(text: &str) -> String {
    match text.strip_prefix(FENCE) {
        Some(block) => {
            let end = block.find(FENCE).unwrap_or(block.len());
            block[..end].trim_matches('\n').to_string()
        }
        None => text.replace("\\\n", "\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        let mut input = text.as_bytes();
        std::iter::from_fn(|| match read_piped(&mut input).unwrap() {
            Line::Text(text) => Some(text),
            _ => None,
        })
        .collect()
    }

    #[test]
    fn one_line_is_one_message() {
        assert_eq!(lines("a\nb\r\n\nc"), ["a", "b", "", "c"]);
        assert_eq!(lines(""), [""; 0]);
    }

    #[test]
    fn lines_that_go_on() {
        assert_eq!(lines("a\\\nb\nc\n"), ["a\nb", "c"]);
        assert_eq!(lines("a\\"), ["a\\"]);
        assert_eq!(lines("\"\"\"\na\n\nb\n\"\"\"\nc\n"), ["a\n\nb", "c"]);
        assert_eq!(lines("\"\"\"one\"\"\"\nc\n"), ["one", "c"]);
        assert_eq!(lines("\"\"\"never ends\nc"), ["never ends\nc"]);
    }
}
