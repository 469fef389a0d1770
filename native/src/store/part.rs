//! A file that is being fetched: `x.gguf.part`, with what is needed to go on with it later.
//!
//! Bytes are appended in order and hashed as they come; bytes from an earlier run are hashed when the part is opened.
//! Beside it, `x.gguf.part.json` says which content it is a part of: written before the first byte, so that a process
//! killed at any moment leaves a part that can be trusted or is thrown away. When it is complete it is forced to the
//! disk and renamed: a file without `.part` is always whole.

use super::names::hex;
use crate::error::{Error, Result};
use crate::files;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

/// A file that is being fetched.
pub struct Part {
    target: PathBuf,
    file: File,
    len: u64,
    hash: Sha256,
    origin: Origin,
}

/// What a part is a part of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Origin {
    /// The content's hash where it is known, otherwise the address.
    content: String,
    /// The server's ETag or date for it, to be sent as If-Range.
    validator: Option<String>,
}

impl Part {
    /// Opens the part of `target` that an earlier run left, if it is of the same `content`, or an empty one.
    pub fn open(target: &Path, content: &str) -> Result<Self> {
        let path = with_suffix(target, ".part");
        let opened = File::options().read(true).write(true).create(true).truncate(false).open(&path);
        let file = opened.map_err(|cause| Error::io(format!("open {}", path.display()), cause))?;
        let origin = fs::read(origin_path(target)).ok().and_then(|text| serde_json::from_slice::<Origin>(&text).ok());
        let fresh = Origin { content: content.to_owned(), validator: None };
        let mut part = Part { target: target.to_owned(), file, len: 0, hash: Sha256::new(), origin: fresh };
        match origin.filter(|origin| origin.content == content) {
            Some(origin) => {
                part.origin = origin;
                part.hash_prefix().map_err(|cause| Error::io(format!("read {}", path.display()), cause))?;
            }
            None => part.restart()?,
        }
        Ok(part)
    }

    /// Bytes that are there.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// The server's ETag or date for the bytes that are there.
    pub fn validator(&self) -> Option<&str> {
        self.origin.validator.as_deref()
    }

    /// Throws away what is there.
    pub fn restart(&mut self) -> Result<()> {
        let emptied = self.file.set_len(0).and_then(|()| self.file.rewind());
        emptied.map_err(|cause| self.failed("empty", cause))?;
        (self.len, self.hash) = (0, Sha256::new());
        self.remember(None)
    }

    /// Notes the server's ETag or date for the bytes to come.
    pub fn remember(&mut self, validator: Option<String>) -> Result<()> {
        self.origin.validator = validator;
        let path = origin_path(&self.target);
        let text = serde_json::to_vec(&self.origin).map_err(io::Error::from);
        text.and_then(|text| fs::write(&path, text))
            .map_err(|cause| Error::io(format!("write {}", path.display()), cause))
    }

    /// Adds bytes at the end.
    pub fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(|cause| self.failed("write", cause))?;
        self.hash.update(bytes);
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// The hash of the bytes that are there, in lower-case hexadecimal.
    pub fn sha256(&self) -> String {
        hex(&self.hash.clone().finalize())
    }

    /// The first bytes, at most four.
    pub fn magic(&mut self) -> Result<Vec<u8>> {
        let mut magic = Vec::new();
        let read = self.file.rewind().and_then(|()| (&self.file).take(4).read_to_end(&mut magic));
        read.and_then(|_| self.file.seek(io::SeekFrom::End(0))).map_err(|cause| self.failed("read", cause))?;
        Ok(magic)
    }

    /// Makes the complete part the file itself.
    pub fn land(self) -> Result<()> {
        self.file.sync_all().map_err(|cause| self.failed("write", cause))?;
        let Part { target, file, .. } = self;
        files::leave_cache(&file);
        drop(file);
        fs::rename(with_suffix(&target, ".part"), &target)
            .and_then(|()| sync_folder(&target))
            .map_err(|cause| Error::io(format!("rename a finished download to {}", target.display()), cause))?;
        // A note that stays behind speaks of a part that is no longer there: harmless.
        fs::remove_file(origin_path(&target)).ok();
        Ok(())
    }

    /// Deletes the part.
    pub fn discard(self) -> Result<()> {
        let Part { target, file, .. } = self;
        drop(file);
        let path = with_suffix(&target, ".part");
        fs::remove_file(&path).map_err(|cause| Error::io(format!("delete {}", path.display()), cause))?;
        fs::remove_file(origin_path(&target)).ok();
        Ok(())
    }

    fn hash_prefix(&mut self) -> io::Result<()> {
        let mut buffer = vec![0; 1 << 20];
        loop {
            match self.file.read(&mut buffer)? {
                0 => return Ok(()),
                count => {
                    self.hash.update(&buffer[..count]);
                    self.len += count as u64;
                }
            }
        }
    }

    fn failed(&self, doing: &str, cause: io::Error) -> Error {
        Error::io(format!("{doing} {}", with_suffix(&self.target, ".part").display()), cause)
    }
}

/// Writes a small file so that it is there whole or not at all.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = with_suffix(path, ".new");
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    drop(file);
    fs::rename(&temporary, path)?;
    sync_folder(path)
}

/// The name of `file` is on the disk, not only its bytes. Windows has no such call and needs none.
fn sync_folder(file: &Path) -> io::Result<()> {
    match file.parent() {
        Some(folder) if cfg!(unix) => File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}

fn origin_path(target: &Path) -> PathBuf {
    with_suffix(target, ".part.json")
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
