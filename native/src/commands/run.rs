//! `woolly run`

use std::io::{IsTerminal, Read};
use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use serde_json::json;
use tracing::info;
use woolly_engine::session::Finish;

use crate::cli::Run;
use crate::conversation::{Message, Prompter, Role};
use crate::error::{Error, Kind, Result};
use crate::generate::{Answer, Generator, Limits};
use crate::grammar::Grammar;
use crate::interrupt::Interrupt;
use crate::{load, output, sampling};

/// Answers one prompt.
pub fn run(args: &Run, offline: bool) -> Result<ExitCode> {
    let request = Request::read(args)?;
    let generation = &args.generation;
    let seed = sampling::seed(generation.sampling.seed)?;
    let loaded = load::load(request.model.as_deref(), offline)?;
    let prompter = Prompter::new(&loaded, generation)?;
    let prompt = prompter.tokens(&request.messages(loaded.system(generation).as_deref()))?;
    let grammar = loaded.grammar(generation)?;
    let mut session = loaded.session(&generation.compute, generation.context)?;
    info!(seed, prompt_tokens = prompt.len(), context = session.context(), "generating");
    let interrupt = Interrupt::install()?;
    let limits = Limits { max_tokens: generation.max_tokens, stops: &generation.stop, interrupt: &interrupt };
    let sampler = sampling::sampler(&generation.sampling, seed, session.context(), &loaded)?;
    let matcher = grammar.as_ref().map(Grammar::matcher);
    let mut generator = Generator { session: &mut session, sampler, matcher };
    let answer =
        generator.answer(&prompt, &limits, &mut |text| if args.json { Ok(()) } else { output::print(text) })?;
    report(args, &answer, seed, &loaded.name)?;
    let code = if answer.finish.is_none() { Kind::Interrupted.exit_code() } else { 0 };
    Ok(ExitCode::from(code))
}

fn report(args: &Run, answer: &Answer, seed: u64, model: &str) -> Result<()> {
    if args.json {
        let mut object = answer.json();
        object["model"] = json!(model);
        object["seed"] = json!(seed);
        output::print_json(&object)?;
    } else if !answer.text.ends_with('\n') {
        output::print("\n")?;
    }
    if answer.finish == Some(Finish::Context) {
        output::note("the context is full: the answer is cut off (a larger one: -c N)");
    }
    output::note(answer.line());
    Ok(())
}

/// What the user wants answered, and by which model.
#[derive(Debug, PartialEq, Eq)]
struct Request {
    model: Option<String>,
    prompt: String,
}

impl Request {
    fn read(args: &Run) -> Result<Self> {
        let (model, prompt) = words(args)?;
        let piped = if wants_stdin(prompt.is_some()) { Some(read_stdin(prompt.is_some())?) } else { None };
        match joined(prompt, piped) {
            Some(prompt) => Ok(Self { model, prompt }),
            None => {
                Err(Error::usage("there is no prompt; expected `woolly run [MODEL] PROMPT`, or the prompt from a pipe"))
            }
        }
    }

    fn messages(&self, system: Option<&str>) -> Vec<Message> {
        let system = system.map(|text| Message::new(Role::System, text));
        system.into_iter().chain([Message::new(Role::User, &self.prompt)]).collect()
    }
}

/// The model and the prompt among the arguments.
fn words(args: &Run) -> Result<(Option<String>, Option<String>)> {
    match (&args.model, args.words.as_slice()) {
        (model, []) => Ok((model.clone(), None)),
        // A model alone, whose prompt comes from a pipe: no prompt is the name of a model's file.
        (None, [word]) if is_model_file(word) => Ok((Some(word.clone()), None)),
        (model, [prompt]) => Ok((model.clone(), Some(prompt.clone()))),
        (None, [model, prompt, ..]) => Ok((Some(model.clone()), Some(prompt.clone()))),
        (Some(model), [word, ..]) => {
            Err(Error::usage(format!("two models are given, '{model}' with --model and '{word}'; expected one")))
        }
    }
}

fn is_model_file(word: &str) -> bool {
    let path = Path::new(word);
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gguf")) && path.is_file()
}

/// Without a prompt, anything but a terminal is read. Beside a prompt only a pipe or a file is: programs that start this
/// one often leave a socket or a device there, which never ends.
fn wants_stdin(have_prompt: bool) -> bool {
    if have_prompt { is_piped() } else { !std::io::stdin().is_terminal() }
}

#[cfg(unix)]
fn is_piped() -> bool {
    use std::os::fd::AsFd;
    use std::os::unix::fs::FileTypeExt;
    let duplicate = std::io::stdin().as_fd().try_clone_to_owned().map(std::fs::File::from);
    let kind = duplicate.and_then(|file| file.metadata()).map(|metadata| metadata.file_type());
    kind.is_ok_and(|kind| kind.is_fifo() || kind.is_file())
}

#[cfg(not(unix))]
fn is_piped() -> bool {
    !std::io::stdin().is_terminal()
}

/// All of stdin. Where that takes long, someone may have forgotten that it is connected, and is told.
fn read_stdin(have_prompt: bool) -> Result<String> {
    let (done, waiting) = channel::<()>();
    std::thread::spawn(move || {
        if waiting.recv_timeout(Duration::from_secs(2)) == Err(RecvTimeoutError::Timeout) && have_prompt {
            output::note("waiting for the end of standard input, which follows the prompt (</dev/null leaves it out)");
        }
    });
    let mut text = String::new();
    let read = std::io::stdin().read_to_string(&mut text);
    drop(done);
    match read {
        Ok(_) => Ok(text),
        Err(cause) if cause.kind() == std::io::ErrorKind::InvalidData => {
            Err(Error::usage("standard input is no text in UTF-8"))
        }
        Err(cause) => Err(Error::io("read standard input", cause)),
    }
}

/// The prompt, an empty line, the piped text without the newline at its end.
fn joined(prompt: Option<String>, piped: Option<String>) -> Option<String> {
    let piped = piped.map(|text| text.strip_suffix('\n').unwrap_or(&text).to_string()).filter(|text| !text.is_empty());
    match (prompt, piped) {
        (Some(prompt), Some(piped)) if !prompt.is_empty() => Some(format!("{prompt}\n\n{piped}")),
        (prompt, piped) => piped.or(prompt),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_and_pipes() {
        let join = |prompt: Option<&str>, piped: Option<&str>| joined(prompt.map(Into::into), piped.map(Into::into));
        assert_eq!(join(Some("Sum up:"), Some("a\nb\n")).unwrap(), "Sum up:\n\na\nb");
        assert_eq!(join(Some("Hi"), Some("")).unwrap(), "Hi");
        assert_eq!(join(Some("Hi"), None).unwrap(), "Hi");
        assert_eq!(join(Some(""), Some("x")).unwrap(), "x");
        assert_eq!(join(None, Some("x\n")).unwrap(), "x");
        assert_eq!(join(None, Some("\n")), None);
    }
}
