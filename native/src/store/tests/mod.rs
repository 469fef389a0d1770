//! The store against servers and programs that misbehave.

mod cached;
mod downloads;
mod hubs;
mod server;
mod sources;
#[cfg(unix)]
mod wheels;

use super::config::{Config, Patience};
use super::names::hex;
use super::ui::Ui;
use super::{Entry, Source, Store};
use crate::error::{Error, Result};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;

/// A store in a folder of its own, with what it said.
struct Bench {
    folder: TempDir,
    config: Config,
    said: Arc<Mutex<Vec<String>>>,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let said = Arc::new(Mutex::new(Vec::new()));
        let sink = said.clone();
        let patience = Patience {
            connect: Duration::from_secs(5),
            read: Duration::from_secs(10),
            pip: Duration::from_secs(20),
            attempts: 4,
            pause: Duration::from_millis(1),
        };
        let config = Config {
            root: folder.path().join("models"),
            offline: false,
            hub: "http://127.0.0.1:1".into(),
            token: None,
            pip: Vec::new(),
            patience,
            proxy: false,
            ui: Ui::lines(move |line| sink.lock().unwrap().push(line.to_owned())),
        };
        Bench { folder, config, said }
    }

    fn store(&self) -> Store {
        Store::with(self.config.clone())
    }

    fn offline(&self) -> Store {
        Store::with(Config { offline: true, ..self.config.clone() })
    }

    fn pull(&self, source: &str) -> Result<Entry> {
        self.store().pull(&source.parse()?)
    }

    fn error(&self, source: &str) -> Error {
        self.pull(source).unwrap_err()
    }

    fn said(&self, text: &str) -> bool {
        self.said.lock().unwrap().iter().any(|line| line.contains(text))
    }

    /// All files under the cache folder but notes and locks.
    fn files(&self) -> Vec<String> {
        let mut names = Vec::new();
        walk(self.folder.path(), &mut |path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if path.parent().unwrap().file_name().unwrap() != ".locks" && !name.ends_with(".json") {
                names.push(name);
            }
        });
        names.sort();
        names
    }

    /// The path of the part of an unfinished download.
    fn part(&self) -> PathBuf {
        let mut found = None;
        walk(self.folder.path(), &mut |path| {
            if path.extension().is_some_and(|extension| extension == "part") {
                found = Some(path.to_owned());
            }
        });
        found.expect("no .part file")
    }
}

fn walk(folder: &Path, visit: &mut dyn FnMut(&Path)) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { walk(&path, visit) } else { visit(&path) }
    }
}

/// The bytes of a pretended model; another `seed` gives others.
fn model(len: usize, seed: u32) -> Vec<u8> {
    let noise = (0..len as u32).map(|at| (at.wrapping_add(seed).wrapping_mul(2_654_435_761) >> 24) as u8);
    b"GGUF".iter().copied().chain(noise).take(len).collect()
}

fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn content(entry: &Entry) -> Vec<u8> {
    entry.paths.iter().flat_map(|path| fs::read(path).unwrap()).collect()
}
