//! The cache folder: one folder for each model, with its files and a note of where they came from.
//!
//! ```text
//! models/SmolLM2-135M-Instruct-Q4_K_M-1f3a9c02/SmolLM2-135M-Instruct-Q4_K_M.gguf
//!                                              woolly.json
//! models/.locks/SmolLM2-135M-Instruct-Q4_K_M-1f3a9c02
//! ```
//!
//! `woolly.json` is written first without files, which marks an unfinished model, and again when all files are there.
//! Whoever writes into a model's folder holds the lock of its name. Locks lie elsewhere and are never deleted, so
//! that two processes cannot hold different files for the same lock. The system frees a dead process's lock.

use super::names::gguf_name;
use super::part::write_whole;
use super::ui::Ui;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, SystemTime};

const MANIFEST: &str = "woolly.json";

/// The cache folder.
pub struct Cache {
    root: PathBuf,
}

/// Where a model came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The exact source, one file or split file.
    pub source: String,
    /// What users asked for that led here.
    pub requests: Vec<String>,
    /// When it was complete (RFC 3339).
    pub fetched: String,
    /// The files, in order; none while it is unfinished.
    pub files: Vec<FileRecord>,
}

/// A file of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    /// Its name in the model's folder.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its hash, in lower-case hexadecimal.
    pub sha256: String,
}

/// A model's folder.
#[derive(Clone, Debug)]
pub struct Cached {
    /// The folder's name.
    pub folder: String,
    /// Where the model came from.
    pub manifest: Manifest,
}

/// The right to write into a model's folder, until dropped.
pub struct Lock {
    _file: File,
}

impl Cache {
    /// The cache in this folder, which need not exist yet.
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// The path of a model's folder.
    pub fn path(&self, folder: &str) -> PathBuf {
        self.root.join(folder)
    }

    /// All models, finished or not, by folder.
    pub fn all(&self) -> Result<Vec<Cached>> {
        let failed = |cause| Error::io(format!("read the cache folder {}", self.root.display()), cause);
        let entries = match fs::read_dir(&self.root) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed)?,
        };
        let mut found = Vec::new();
        for entry in entries {
            let name = entry.map_err(failed)?.file_name();
            found.extend(name.to_str().and_then(|name| self.get(name)));
        }
        found.sort_by(|a, b| a.folder.cmp(&b.folder));
        Ok(found)
    }

    /// The model in this folder. A folder without a readable note is not ours.
    pub fn get(&self, folder: &str) -> Option<Cached> {
        let text = fs::read(self.path(folder).join(MANIFEST)).ok()?;
        let manifest: Manifest = serde_json::from_slice(&text).ok()?;
        let names_are_plain = manifest.files.iter().all(|file| gguf_name(&file.name).is_some());
        names_are_plain.then(|| Cached { folder: folder.to_owned(), manifest })
    }

    /// The model's files, if it is complete: all there, with the sizes they should have.
    pub fn files(&self, cached: &Cached) -> Option<Vec<PathBuf>> {
        let folder = self.path(&cached.folder);
        let whole = |file: &FileRecord| {
            let path = folder.join(&file.name);
            let found = path.metadata().ok()?;
            (found.is_file() && found.len() == file.size).then_some(path)
        };
        let paths = cached.manifest.files.iter().map(whole).collect::<Option<Vec<_>>>()?;
        (!paths.is_empty()).then_some(paths)
    }

    /// The bytes that a model's folder takes on the disk, and when it was last written to.
    pub fn usage(&self, folder: &str) -> (u64, SystemTime) {
        let entries = fs::read_dir(self.path(folder)).into_iter().flatten().flatten();
        let files = entries.filter_map(|entry| entry.metadata().ok());
        files.fold((0, SystemTime::UNIX_EPOCH), |(size, newest), file| {
            (size + file.len(), newest.max(file.modified().unwrap_or(SystemTime::UNIX_EPOCH)))
        })
    }

    /// Writes the note of a model; its folder is created where it is missing.
    pub fn write(&self, folder: &str, manifest: &Manifest) -> Result<()> {
        let path = self.path(folder);
        create_folder(&path)?;
        let text = serde_json::to_vec_pretty(manifest).map_err(io::Error::from);
        let path = path.join(MANIFEST);
        text.and_then(|text| write_whole(&path, &text))
            .map_err(|cause| Error::io(format!("write {}", path.display()), cause))
    }

    /// Deletes a model's folder; the note last, so that a deletion which fails half-way can be repeated.
    pub fn delete(&self, folder: &str) -> Result<()> {
        let path = self.path(folder);
        let failed = |cause| Error::io(format!("delete {}", path.display()), cause);
        for entry in fs::read_dir(&path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let is_folder = entry.file_type().map_err(failed)?.is_dir();
            match is_folder {
                true => fs::remove_dir_all(entry.path()).map_err(failed)?,
                false if entry.file_name() != MANIFEST => fs::remove_file(entry.path()).map_err(failed)?,
                false => {}
            }
        }
        fs::remove_dir_all(&path).map_err(failed)
    }

    /// Waits until nobody else writes into this model's folder.
    pub fn lock(&self, folder: &str, ui: &Ui) -> Result<Lock> {
        let mut waiting = false;
        loop {
            if let Some(lock) = self.try_lock(folder)? {
                return Ok(lock);
            }
            if !waiting {
                ui.note(&format!("waiting: another process is fetching {folder}"));
            }
            waiting = true;
            sleep(Duration::from_millis(100));
        }
    }

    /// The right to write into this model's folder, or `None` while another process has it.
    pub fn try_lock(&self, folder: &str) -> Result<Option<Lock>> {
        let locks = self.root.join(".locks");
        create_folder(&locks)?;
        let path = locks.join(folder);
        let failed = |cause| Error::io(format!("lock {}", path.display()), cause);
        let file = File::options().write(true).create(true).truncate(false).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Lock { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            // Some network file systems have no locks: better to go on alone than not at all.
            Err(TryLockError::Error(cause)) if cause.kind() == io::ErrorKind::Unsupported => {
                Ok(Some(Lock { _file: file }))
            }
            Err(TryLockError::Error(cause)) => Err(failed(cause)),
        }
    }
}

fn create_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(|cause| Error::io(format!("create the folder {}", path.display()), cause))
}
