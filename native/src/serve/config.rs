//! Options from the command line, from a file, and from the environment; what comes first in this list counts.
//!
//! All of them become words of one command line, so an option has the same name, the same values and the same checks
//! wherever it comes from.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, CommandFactory, FromArgMatches};
use toml::Value;

use crate::cli::{self, Cli, Global, Serve};
use crate::error::{Error, Result};

/// What begins the names of the environment's variables.
const PREFIX: &str = "WOOLLY_";

/// The options that hold, by the process's arguments (`line`), the file that they name, and the environment.
pub fn settle(line: &[OsString], env: impl Fn(&str) -> Option<OsString>) -> Result<(Global, Box<Serve>)> {
    let command = Cli::command();
    // What the line itself says has been checked by the time that anyone comes here.
    let matches = command.clone().try_get_matches_from(line).map_err(|cause| Error::usage(cause.to_string()))?;
    let given = matches.subcommand_matches("serve").ok_or_else(|| Error::usage("expected the command serve"))?;
    let options = options(&command);
    let file = match config_path(given, &env) {
        Some(path) => read_file(&path, &options)?,
        None => Vec::new(),
    };
    let on_line = |id: &str| given.value_source(id) == Some(ValueSource::CommandLine);
    // Models on the line are instead of those elsewhere, with or without the option's name before them.
    let missing = |option: &&Arg| {
        let id = option.get_id().as_str();
        let is_on_line = on_line(id) || (id == "more_models" && on_line("models"));
        !is_on_line
    };
    let mut words = Vec::new();
    for option in options.iter().filter(missing) {
        let name = name(option);
        let from_file = file.iter().find(|(key, _)| key == name).map(|(_, words)| words.clone());
        words.extend(from_file.map_or_else(|| from_env(option, &env), Ok)?);
    }
    parse(with_words(line, words))
}

/// The arguments of `woolly serve` that a file and the environment may set.
fn options(command: &Command) -> Vec<Arg> {
    let serve = command.find_subcommand("serve").into_iter().flat_map(Command::get_arguments);
    let is_option =
        |option: &&Arg| option.get_long().is_some_and(|long| !["config", "help", "version"].contains(&long));
    serve.filter(is_option).cloned().collect()
}

fn name(option: &Arg) -> &str {
    option.get_long().unwrap_or_default()
}

fn config_path(given: &ArgMatches, env: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let from_env = || env(&format!("{PREFIX}CONFIG")).filter(|path| !path.is_empty()).map(PathBuf::from);
    given.get_one::<PathBuf>("config").cloned().or_else(from_env)
}

/// The words that a file stands for, by the option.
fn read_file(path: &Path, options: &[Arg]) -> Result<Vec<(String, Vec<OsString>)>> {
    let text = std::fs::read_to_string(path).map_err(|cause| Error::io(format!("read {}", path.display()), cause))?;
    let table: toml::Table = text
        .parse()
        .map_err(|cause: toml::de::Error| Error::usage(format!("{} is no TOML: {cause}", path.display())))?;
    let mut entries = Vec::new();
    for (key, value) in table {
        let place = format!("{}, {key}", path.display());
        let long = key.replace('_', "-");
        let option =
            options.iter().find(|option| option.get_long_and_visible_aliases().unwrap_or_default().contains(&&*long));
        let option = option.ok_or_else(|| Error::usage(format!("{place}: there is no such option")))?;
        let words = words(option, &texts(&value).map_err(|message| Error::usage(format!("{place}: {message}")))?);
        check(&words, &place)?;
        entries.push((name(option).to_string(), words));
    }
    Ok(entries)
}

fn from_env(option: &Arg, env: impl Fn(&str) -> Option<OsString>) -> Result<Vec<OsString>> {
    let variable = format!("{PREFIX}{}", name(option).to_ascii_uppercase().replace('-', "_"));
    let Some(value) = env(&variable).filter(|value| !value.is_empty()) else { return Ok(Vec::new()) };
    let words = words(option, &[value]);
    check(&words, &variable)?;
    Ok(words)
}

/// The texts of a value of a file.
fn texts(value: &Value) -> Result<Vec<OsString>, String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Boolean(flag) => flag.to_string(),
        Value::Table(table) => serde_json::to_string(table).map_err(|cause| cause.to_string())?,
        Value::Datetime(_) => return Err("expected a text, a number, true or false, or a list".to_string()),
        Value::Array(items) => {
            let all: Result<Vec<Vec<OsString>>, String> = items.iter().map(texts).collect();
            return Ok(all?.concat());
        }
    };
    Ok(vec![text.into()])
}

/// The words that set an option to these values. A flag is there or not.
fn words(option: &Arg, values: &[OsString]) -> Vec<OsString> {
    let name = name(option);
    let with = |value: &OsString| {
        let mut word = OsString::from(format!("--{name}="));
        word.push(value);
        word
    };
    if !matches!(option.get_action(), ArgAction::SetTrue) {
        return values.iter().map(with).collect();
    }
    match values {
        [value] if value == "true" || value == "1" => vec![format!("--{name}").into()],
        [value] if value == "false" || value == "0" => Vec::new(),
        // A flag with a value is refused, with a message that says so.
        values => values.iter().map(with).collect(),
    }
}

/// Says where a wrong value comes from.
fn check(words: &[OsString], place: &str) -> Result<()> {
    let line = ["woolly", "serve"].map(OsString::from).into_iter().chain(words.iter().cloned());
    match Cli::command().try_get_matches_from(line) {
        Ok(_) => Ok(()),
        Err(cause) => {
            let message = cause.to_string();
            let first = message.lines().next().unwrap_or_default();
            Err(Error::usage(format!("{place}: {}", first.strip_prefix("error: ").unwrap_or(first))))
        }
    }
}

/// The line, with more words behind the command's name.
fn with_words(line: &[OsString], words: Vec<OsString>) -> Vec<OsString> {
    let at = line.iter().skip(1).position(|word| word == OsStr::new("serve")).map_or(line.len(), |at| at + 2);
    [&line[..at], &words, &line[at..]].concat()
}

fn parse(line: Vec<OsString>) -> Result<(Global, Box<Serve>)> {
    let matches = Cli::command().try_get_matches_from(line).map_err(|cause| Error::usage(cause.to_string()))?;
    let Cli { global, command } = Cli::from_arg_matches(&matches).map_err(|cause| Error::usage(cause.to_string()))?;
    match command {
        cli::Command::Serve(serve) => Ok((global, serve)),
        _ => Err(Error::usage("expected the command serve")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(line: &str, file: &str, env: &[(&str, &str)]) -> Result<Box<Serve>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("woolly.toml");
        std::fs::write(&path, file).unwrap();
        let mut words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        words.extend([OsString::from("--config"), path.into()]);
        let env = |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value));
        settle(&words, env).map(|(_, serve)| serve)
    }

    #[test]
    fn the_line_counts_before_the_file_and_that_before_the_environment() {
        let env = [("WOOLLY_PORT", "1"), ("WOOLLY_QUEUE", "1"), ("WOOLLY_TIMEOUT", "1")];
        let serve = settled("woolly serve --port 3", "port = 2\nqueue = 2", &env).unwrap();
        assert_eq!((serve.network.port, serve.limits.queue, serve.limits.timeout), (3, 2, 1));
        assert_eq!(serve.serving.parallel, 4);
    }

    #[test]
    fn values_of_a_file() {
        let file = "models = []\n";
        assert!(settled("woolly serve", file, &[]).unwrap_err().to_string().contains("models"));
        let file = "model = ['a.gguf', 'b.gguf']\nctx_size = 512\ntemp = 0.5\nno-ui = true\nno_slots = false\n\
                    cache-ram = '2G'\n[chat-template-kwargs]\nenable_thinking = false\n";
        let serve = settled("woolly serve", file, &[]).unwrap();
        assert_eq!(serve.more_models, ["a.gguf", "b.gguf"]);
        assert_eq!((serve.serving.context, serve.sampling.temp), (Some(512), Some(0.5)));
        assert!(serve.network.no_ui && !serve.network.no_slots);
        assert_eq!(serve.serving.cache_ram, 2 << 30);
        assert_eq!(serve.prompts.chat_template_kwargs.unwrap()["enable_thinking"], false);
    }

    #[test]
    fn wrong_values_say_where_they_come_from() {
        let message = |file: &str, env: &[(&str, &str)]| settled("woolly serve", file, env).unwrap_err().to_string();
        assert!(message("prot = 1", &[]).contains("woolly.toml, prot: there is no such option"));
        assert!(message("port = 'x'", &[]).contains("woolly.toml, port: "));
        assert!(message("config = 'other.toml'", &[]).contains("config"));
        assert!(message("port = 2024-01-01", &[]).contains("woolly.toml, port: "));
        assert!(message("port", &[]).contains("is no TOML"));
        assert!(message("", &[("WOOLLY_CTX", "none")]).contains("WOOLLY_CTX: "));
    }

    #[test]
    fn words_after_the_command_stay_behind() {
        let env = [("WOOLLY_MODEL", "./b.gguf")];
        let serve = settled("woolly --offline serve --no-ui ./a.gguf", "port = 2", &env).unwrap();
        assert_eq!((serve.models, serve.network.port), (vec!["./a.gguf".to_string()], 2));
        assert!(serve.more_models.is_empty());
    }
}
