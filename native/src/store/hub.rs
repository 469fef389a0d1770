//! The model hub: what a repository holds, and which of its files a user means.
//!
//! One request lists a repository at its newest commit, with sizes and hashes; files are then fetched from that very
//! commit, so the parts of a split model belong together even if someone uploads new ones meanwhile.

use super::download::Remote;
use super::http::{Fault, Http, cut};
use super::names::{gguf_name, safe_components, split_number};
use super::source::{Hub, is_sha256};
use crate::error::{Error, Result};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use std::collections::BTreeMap;

/// A file of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubFile {
    /// Its path in the repository.
    pub path: String,
    /// Its size in bytes.
    pub size: Option<u64>,
    /// Its hash, in lower-case hexadecimal.
    pub sha256: Option<String>,
}

/// Where the hub answers and with which token.
pub struct Endpoint<'a> {
    /// The address, without a slash at the end.
    pub address: &'a str,
    /// The user's token.
    pub token: Option<&'a str>,
}

/// Asks the hub what `hub` means: the files of one model, in order.
pub fn find(http: &Http, endpoint: &Endpoint, hub: &Hub) -> Result<Vec<(Remote, HubFile)>> {
    let info = http.with_retries(|| ask(http, endpoint, hub)).map_err(|error| explain(error, endpoint, hub))?;
    let is_commit = |text: &String| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let revision = info.sha.filter(is_commit).unwrap_or_else(|| "main".to_owned());
    let files: Vec<HubFile> = info.siblings.into_iter().map(HubFile::from).collect();
    let chosen = choose(hub, &files)?;
    chosen.into_iter().map(|file| Ok((remote(endpoint, hub, &revision, file)?, file.clone()))).collect()
}

/// Whether a file's name says that it has this quantization: the word stands by itself, in any case of letters.
fn has_quant(path: &str, quant: &str) -> bool {
    let (path, quant) = (path.to_ascii_lowercase(), quant.to_ascii_lowercase());
    let stands_alone = |(start, found): (usize, &str)| {
        let before = path[..start].chars().next_back();
        let after = path[start + found.len()..].chars().next();
        before.is_none_or(|c| !c.is_ascii_alphanumeric())
            && after.is_none_or(|c| !c.is_ascii_alphanumeric() && c != '_')
    };
    path.match_indices(&quant).any(stands_alone)
}

/// Whether `select` means this file: its path, its name, or its quantization.
pub fn is_selected(path: &str, select: &str) -> bool {
    is_named(path, select) || has_quant(path, select)
}

/// The path without the number of a split file's part: what all parts share.
fn without_number(path: &str) -> &str {
    let stem = path.get(..path.len().saturating_sub(5)).unwrap_or(path);
    split_number(stem).map_or(path, |(stem, _, _)| stem)
}

/// Tried in this order where the user names no quantization and there are several.
const PREFERRED: [&str; 4] = ["Q4_K_M", "Q4_0", "Q4_1", "Q8_0"];

#[derive(Deserialize)]
struct Info {
    sha: Option<String>,
    #[serde(default)]
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    sha256: Option<String>,
    size: Option<u64>,
}

impl From<Sibling> for HubFile {
    fn from(sibling: Sibling) -> Self {
        let lfs = sibling.lfs.unwrap_or(Lfs { sha256: None, size: None });
        let sha256 = lfs.sha256.map(|hash| hash.to_ascii_lowercase()).filter(|hash| is_sha256(hash));
        HubFile { path: sibling.rfilename, size: lfs.size.or(sibling.size), sha256 }
    }
}

fn ask(http: &Http, endpoint: &Endpoint, hub: &Hub) -> Result<Info, Fault> {
    let url = format!("{}/api/models/{}/{}?blobs=true", endpoint.address, hub.owner, hub.repo);
    let authorization = endpoint.token.map(|token| ("authorization", format!("Bearer {token}")));
    let response = http.get(&url, authorization.as_slice())?;
    let body = response.into_body().into_with_config().limit(64 << 20).read_to_vec();
    let body = body.map_err(|cause| cut(&url, cause.into_io()))?;
    serde_json::from_slice(&body)
        .map_err(|cause| Error::network(format!("{url} answers with no list of files")).because(cause).into())
}

fn explain(error: Error, endpoint: &Endpoint, hub: &Hub) -> Error {
    use crate::error::Kind;
    if error.kind() != Kind::NotFound {
        return error;
    }
    let advice = match endpoint.token {
        Some(_) => "the token in HF_TOKEN may not read it, or it does not exist",
        None => "it does not exist, or it is private or gated: accept its terms on its page, then set HF_TOKEN",
    };
    Error::not_found(format!("cannot list hf:{}/{}: {advice}", hub.owner, hub.repo)).because(error)
}

fn remote(endpoint: &Endpoint, hub: &Hub, revision: &str, file: &HubFile) -> Result<Remote> {
    const KEPT: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');
    let parts = safe_components(&file.path);
    let name = parts.and_then(|parts| gguf_name(parts.last()?)).ok_or_else(|| {
        let path = file.path.escape_debug();
        Error::bad_file(format!("hf:{}/{} lists \"{path}\", which is no safe file name", hub.owner, hub.repo))
    })?;
    let path = utf8_percent_encode(&file.path, &KEPT);
    Ok(Remote {
        url: format!("{}/{}/{}/resolve/{revision}/{path}", endpoint.address, hub.owner, hub.repo),
        name: name.to_owned(),
        size: file.size,
        sha256: file.sha256.clone(),
        token: endpoint.token.map(str::to_owned),
    })
}

/// The files that `hub` means, in order: one, or the parts of a split one.
fn choose<'a>(hub: &Hub, files: &'a [HubFile]) -> Result<Vec<&'a HubFile>> {
    let mut models: BTreeMap<&str, Vec<&HubFile>> = BTreeMap::new();
    for file in files.iter().filter(|file| file.path.to_ascii_lowercase().ends_with(".gguf")) {
        models.entry(without_number(&file.path)).or_default().push(file);
    }
    let mut candidates: Vec<&str> = models.keys().copied().filter(|path| is_model(path)).collect();
    if let Some(select) = &hub.select {
        candidates = selected(select, &models, candidates);
    } else if candidates.len() > 1 {
        let by_quant = |quant| candidates.iter().copied().filter(|path| has_quant(path, quant)).collect::<Vec<_>>();
        candidates = PREFERRED.map(by_quant).into_iter().find(|found| found.len() == 1).unwrap_or(candidates);
    }
    match candidates[..] {
        [path] => in_order(hub, path, &models[path]),
        [] => Err(nothing_fits(hub, models.keys())),
        _ => Err(Error::usage(format!(
            "hf:{}/{} has several models that fit: {}; name one after a colon",
            hub.owner,
            hub.repo,
            listed(candidates.iter())
        ))),
    }
}

/// A projector for images and a file of quantization statistics are no models by themselves.
fn is_model(path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    let name = path.rsplit('/').next().unwrap_or(&path);
    !name.contains("mmproj") && !name.contains("imatrix")
}

/// A file named exactly (by any of its parts) is meant, even one that is no model; otherwise a quantization.
fn selected<'a>(select: &str, models: &BTreeMap<&'a str, Vec<&HubFile>>, candidates: Vec<&'a str>) -> Vec<&'a str> {
    let is_meant = |files: &[&HubFile]| files.iter().any(|file| is_named(&file.path, select));
    let named: Vec<&str> = models.iter().filter(|(_, files)| is_meant(files)).map(|(path, _)| *path).collect();
    match named.is_empty() {
        true => candidates.into_iter().filter(|path| has_quant(path, select)).collect(),
        false => named,
    }
}

fn is_named(path: &str, select: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    path.eq_ignore_ascii_case(select) || name.eq_ignore_ascii_case(select)
}

fn in_order<'a>(hub: &Hub, path: &str, files: &[&'a HubFile]) -> Result<Vec<&'a HubFile>> {
    let numbers = |file: &&HubFile| {
        let stem = &file.path[..file.path.len() - 5];
        split_number(stem).map_or((1, 1), |(_, number, count)| (number, count))
    };
    let mut files = files.to_vec();
    files.sort_by_key(numbers);
    let count = files.len() as u32;
    let is_whole = files.iter().enumerate().all(|(at, file)| numbers(file) == (at as u32 + 1, count));
    if !is_whole {
        let repository = format!("hf:{}/{}", hub.owner, hub.repo);
        return Err(Error::bad_file(format!(
            "{repository} lacks parts of {path}: it has {}",
            listed(files.iter().map(|file| &file.path))
        )));
    }
    Ok(files)
}

fn nothing_fits<'a>(hub: &Hub, paths: impl ExactSizeIterator<Item = &'a &'a str>) -> Error {
    let repository = format!("hf:{}/{}", hub.owner, hub.repo);
    match &hub.select {
        _ if paths.len() == 0 => Error::not_found(format!("{repository} has no .gguf files")),
        Some(select) => Error::not_found(format!("{repository} has no \"{select}\"; it has {}", listed(paths))),
        None => Error::not_found(format!("{repository} has no model; it has {}", listed(paths))),
    }
}

fn listed(paths: impl ExactSizeIterator<Item = impl std::fmt::Display>) -> String {
    const SHOWN: usize = 30;
    let more = paths.len().saturating_sub(SHOWN);
    let mut text = paths.take(SHOWN).map(|path| path.to_string()).collect::<Vec<_>>().join(", ");
    if more > 0 {
        text += &format!(" and {more} more");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    fn pick(source: &str, paths: &[&str]) -> Result<Vec<String>> {
        let hub: Hub = source.parse().unwrap();
        let file = |path: &&str| HubFile { path: path.to_string(), size: None, sha256: None };
        let files: Vec<HubFile> = paths.iter().map(file).collect();
        choose(&hub, &files).map(|chosen| chosen.into_iter().map(|file| file.path.clone()).collect())
    }

    const FILES: &[&str] = &[
        "README.md",
        "imatrix.gguf",
        "mmproj-m-Q8_0.gguf",
        "m-IQ4_XS.gguf",
        "m-Q4_K.gguf",
        "m-Q4_K_M.gguf",
        "m.Q8_0.gguf",
        "BF16/m-BF16-00002-of-00002.gguf",
        "BF16/m-BF16-00001-of-00002.gguf",
    ];

    #[test]
    fn quantizations_are_whole_words_in_any_case() {
        assert_eq!(pick("o/r:q4_k_m", FILES).unwrap(), ["m-Q4_K_M.gguf"]);
        assert_eq!(pick("o/r:Q4_K", FILES).unwrap(), ["m-Q4_K.gguf"]);
        assert_eq!(pick("o/r:Q8_0", FILES).unwrap(), ["m.Q8_0.gguf"]);
        assert_eq!(pick("o/r:Q4_XS", FILES).unwrap_err().kind(), Kind::NotFound);
    }

    #[test]
    fn split_files_come_whole_and_in_order() {
        let both = ["BF16/m-BF16-00001-of-00002.gguf", "BF16/m-BF16-00002-of-00002.gguf"];
        assert_eq!(pick("o/r:bf16", FILES).unwrap(), both);
        assert_eq!(pick("o/r:BF16/m-BF16-00001-of-00002.gguf", FILES).unwrap(), both);
        assert_eq!(pick("o/r", &both[1..]).unwrap_err().kind(), Kind::BadFile);
    }

    #[test]
    fn files_are_found_by_name() {
        assert_eq!(pick("o/r:M.q8_0.GGUF", FILES).unwrap(), ["m.Q8_0.gguf"]);
        assert_eq!(pick("o/r:mmproj-m-Q8_0.gguf", FILES).unwrap(), ["mmproj-m-Q8_0.gguf"]);
    }

    #[test]
    fn without_a_word_the_usual_one_is_taken() {
        assert_eq!(pick("o/r", FILES).unwrap(), ["m-Q4_K_M.gguf"]);
        assert_eq!(pick("o/r", &["odd.gguf"]).unwrap(), ["odd.gguf"]);
        let error = pick("o/r", &["a.gguf", "b.gguf"]).unwrap_err();
        assert_eq!(error.kind(), Kind::Usage);
        assert!(error.to_string().contains("a.gguf, b.gguf"), "{error}");
        assert_eq!(pick("o/r", &["README.md"]).unwrap_err().kind(), Kind::NotFound);
    }
}
