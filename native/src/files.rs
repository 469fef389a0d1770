//! Model files as memory.
//!
//! A model is mapped, never read: its pages come from the file when they are first used and belong to the system's
//! cache, so a model opens at once, several processes share it, and it costs no memory of its own.
//!
//! Linux is advised to take huge pages, of 2 MB instead of 4 kB: weights are then read up to half as fast again (25 GB/s
//! instead of 17 on the development machine), because the processor looks up fewer addresses. File systems that can (ext4
//! since Linux 6.16) fill the cache with them as the model is read from the disk; what is in the cache already stays as it
//! is, which is why a finished download leaves the cache ([`leave_cache`]).
//!
//! The system gets no other advice. Weights are read nearly in the order of the file, and its own readahead then keeps a
//! disk busy: measured with a cold cache and with a model larger than its memory, MADV_SEQUENTIAL was up to twice as
//! slow, MADV_WILLNEED for the layer ahead four times (it reads in small pages), and none was faster.

#![allow(unsafe_code)]

#[cfg(target_os = "linux")]
use crate::bus::Guard;
use crate::error::{Error, Result};
use memmap2::{Mmap, MmapOptions};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;
use woolly_engine::bytes::Bytes;

/// Maps the parts of a model, in order. The memory starts at a page boundary, so any alignment that a GGUF asks for
/// inside the file holds in memory too.
pub fn open_model(paths: &[PathBuf]) -> Result<Vec<Bytes>> {
    paths.iter().map(|path| Ok(Bytes::new(map(&open(path)?, path)?))).collect()
}

/// Maps the parts of a model, and can tell later whether somebody has changed them. On Linux a part that is cut short reads
/// as zeros where it has ended; elsewhere the process ends when that is touched between two looks.
pub fn open_watched(paths: &[PathBuf]) -> Result<(Vec<Bytes>, Watch)> {
    let mut watch = Watch { files: Vec::new() };
    let mut parts = Vec::new();
    for path in paths {
        let file = open(path)?;
        let mark = Mark::of(&file).map_err(|cause| Error::io(format!("open {}", path.display()), cause))?;
        let map = Arc::new(Guarded::new(map(&file, path)?));
        parts.push(Bytes::new(Shared(map.clone())));
        watch.files.push(Watched { path: path.clone(), file, mark, map });
    }
    Ok((parts, watch))
}

/// The files of a model that is in use. One that is replaced by another of its name stays as it was; one that is cut short
/// or written over does not.
#[derive(Debug)]
pub struct Watch {
    files: Vec<Watched>,
}

#[derive(Debug)]
struct Watched {
    path: PathBuf,
    file: File,
    mark: Mark,
    map: Arc<Guarded>,
}

/// A mapping, with what keeps the process alive when the file is cut short. Fields are dropped in their order.
#[derive(Debug)]
struct Guarded {
    #[cfg(target_os = "linux")]
    guard: Option<Guard>,
    map: Mmap,
}

impl Guarded {
    fn new(map: Mmap) -> Self {
        Self {
            #[cfg(target_os = "linux")]
            guard: Guard::new(&map),
            map,
        }
    }

    /// Whether a page was missing.
    fn was_cut(&self) -> bool {
        #[cfg(target_os = "linux")]
        let cut = self.guard.as_ref().is_some_and(Guard::was_cut);
        #[cfg(not(target_os = "linux"))]
        let cut = false;
        cut
    }
}

/// One owner of a mapping.
struct Shared(Arc<Guarded>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0.map
    }
}

/// What changes with a file's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    len: u64,
    modified: Option<SystemTime>,
}

impl Mark {
    fn of(file: &File) -> std::io::Result<Self> {
        let metadata = file.metadata()?;
        Ok(Self { len: metadata.len(), modified: metadata.modified().ok() })
    }
}

impl Watch {
    /// Of a model that is in memory alone.
    #[cfg(test)]
    pub fn nothing() -> Self {
        Self { files: Vec::new() }
    }

    /// Whether all files are what they were when they were opened.
    pub fn check(&self) -> Result<()> {
        self.files.iter().try_for_each(|Watched { path, file, mark, map }| {
            let now = Mark::of(file).map_err(|cause| Error::io(format!("look at {}", path.display()), cause))?;
            if now == *mark && !map.was_cut() {
                return Ok(());
            }
            let is_whole = now.len == mark.len && !map.was_cut();
            let message = if is_whole { "it was written over" } else { "its length has changed" };
            Err(Error::bad_file(format!(
                "the model file {} was changed while it was in use: {message}",
                path.display()
            )))
        })
    }
}

fn open(path: &Path) -> Result<File> {
    let failed = |cause| Error::io(format!("open {}", path.display()), cause);
    let kind = path.metadata().map_err(failed)?.file_type();
    if kind.is_dir() {
        return Err(Error::usage(format!("{} is a folder; name the .gguf file in it", path.display())));
    }
    if !kind.is_file() {
        return Err(Error::usage(format!("{} is no regular file; a model must be one, to be mapped", path.display())));
    }
    File::open(path).map_err(failed)
}

fn map(file: &File, path: &Path) -> Result<Mmap> {
    let failed = |cause| Error::io(format!("open {}", path.display()), cause);
    let len = file.metadata().map_err(failed)?.len();
    if len == 0 {
        return Err(Error::bad_file(format!("{} is empty; expected a GGUF model", path.display())));
    }
    // SAFETY: The bytes must not change while they are mapped. The store writes a model's file once, under another
    // name, and afterwards only replaces or unlinks it, which leaves a mapping intact; every other process is asked to
    // do the same. One that cuts the file short regardless ends this process with a bus error when it touches a page
    // that is gone (Windows refuses the cut, and `open_watched` survives it on Linux); one that overwrites it changes the
    // model's answers. The engine checks header lengths and copies what it decodes, so neither leads to an access outside
    // the mapping.
    let map = unsafe { MmapOptions::new().map(file) };
    let map = map.map_err(|cause| Error::io(format!("map {}", path.display()), cause))?;
    // A system without huge pages refuses, and all works as well without.
    #[cfg(target_os = "linux")]
    map.advise(memmap2::Advice::HugePage).ok();
    Ok(map)
}

/// Lets the system's cache forget a file that is written and synchronized, so that it is read anew, in huge pages, when it
/// is mapped. Elsewhere than on Linux nothing happens.
pub fn leave_cache(file: &File) {
    #[cfg(target_os = "linux")]
    rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed).ok();
    #[cfg(not(target_os = "linux"))]
    let _ = file;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[test]
    fn parts_are_mapped_in_order_and_aligned() {
        let folder = tempfile::tempdir().unwrap();
        let paths = ["b", "a"].map(|name| folder.path().join(name));
        std::fs::write(&paths[0], b"first").unwrap();
        std::fs::write(&paths[1], vec![7; 100_000]).unwrap();
        let parts = open_model(&paths).unwrap();
        assert_eq!(&*parts[0], b"first");
        assert_eq!(parts[1].len(), 100_000);
        assert!(parts.iter().all(|part| part.as_ptr().align_offset(4096) == 0));
        std::fs::remove_file(&paths[0]).unwrap();
        assert_eq!(&*parts[0], b"first");
    }

    #[test]
    fn what_is_no_file_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let open = |path: PathBuf| open_model(&[path]).unwrap_err();
        assert_eq!(open(folder.path().into()).kind(), Kind::Usage);
        let missing = open(folder.path().join("none.gguf"));
        assert_eq!(missing.kind(), Kind::NotFound);
        assert!(missing.to_string().contains("none.gguf"), "{missing}");
        let empty = folder.path().join("empty.gguf");
        std::fs::write(&empty, b"").unwrap();
        let error = open(empty);
        assert_eq!(error.kind(), Kind::BadFile);
        assert!(error.to_string().contains("is empty"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn what_is_no_regular_file_is_not_opened() {
        assert_eq!(open_model(&["/dev/null".into()]).unwrap_err().kind(), Kind::Usage);
    }
}
