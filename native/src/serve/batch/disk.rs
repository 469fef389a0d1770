//! The prefix cache on the disk: a file for each snapshot, in a folder for each model.
//!
//! ```text
//! "woollypf"  tokens: u64  oldest: u64
//! tokens × u32
//! the snapshot
//! ```
//!
//! Numbers are little-endian. The beginning says what the snapshot is good for, so that files need not be read before
//! they are used; the snapshot itself is checked when it is loaded. Files are written under another name and then renamed,
//! on a thread of its own: whoever ends this process at any moment leaves whole files, and at worst one that is swept up
//! later. A file that is no good is removed.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};
use tracing::{debug, warn};

use crate::error::{Error, Result};

const MAGIC: [u8; 8] = *b"woollypf";
const HEADER: usize = 24;
/// Snapshots that wait to be written; further ones stay in memory alone.
const WAITING: usize = 4;
/// Unfinished files that are this old are nobody's any more.
const STALE: Duration = Duration::from_secs(3600);
const EXTENSION: &str = "prefix";

/// The folder of a model, and the thread that writes there.
pub struct Disk {
    folder: PathBuf,
    /// The most that tokens may be, as a model's context has it.
    context: usize,
    tasks: Option<Sender<Task>>,
    /// Snapshots that wait to be written.
    waiting: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

/// A file with a snapshot, or one that is about to be written.
#[derive(Debug)]
pub struct Stored {
    path: PathBuf,
    /// Its length.
    pub bytes: u64,
}

enum Task {
    Write { path: PathBuf, head: Vec<u8>, snapshot: Arc<Vec<u8>> },
    Remove(PathBuf),
}

/// What a file begins with: its tokens, the first position that it can be rewound to, and the file.
pub type Found = (Vec<u32>, usize, Stored);

impl Disk {
    /// The folder `name` in `parent`, made where it is not there.
    pub fn open(parent: &Path, name: &str, context: usize) -> Result<Self> {
        let folder = parent.join(name);
        let doing = || format!("use {} for the prefix cache", folder.display());
        fs::create_dir_all(&folder).map_err(|cause| Error::io(doing(), cause))?;
        let (tasks, work) = channel::<Task>();
        let waiting = Arc::new(AtomicUsize::new(0));
        let left = waiting.clone();
        let work = move || work.iter().for_each(|task| task.perform(&left));
        let thread = std::thread::Builder::new().name("woolly-cache".into()).spawn(work);
        let thread = thread.map_err(|cause| Error::io(doing(), cause))?;
        Ok(Self { folder, context, tasks: Some(tasks), waiting, thread: Some(thread) })
    }

    /// The files that are there, longest unused first. Those that are none of ours are removed.
    pub fn scan(&mut self) -> Vec<Found> {
        let mut found = Vec::new();
        for entry in self.folder.read_dir().into_iter().flatten().flatten() {
            let path = entry.path();
            let modified = entry.metadata().and_then(|metadata| metadata.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
            if path.extension().is_none_or(|extension| extension != EXTENSION) {
                sweep(&path, modified);
                continue;
            }
            match read_head(&path, self.context) {
                Ok((tokens, oldest, bytes)) => found.push((modified, (tokens, oldest, Stored { path, bytes }))),
                Err(cause) => {
                    warn!("{} is no snapshot for the prefix cache and is removed: {cause}", path.display());
                    fs::remove_file(&path).ok();
                }
            }
        }
        found.sort_by_key(|(modified, _)| *modified);
        found.into_iter().map(|(_, found)| found).collect()
    }

    /// Has a snapshot written, unless too many wait for that already.
    pub fn write(&mut self, tokens: &[u32], oldest: usize, snapshot: &Arc<Vec<u8>>) -> Option<Stored> {
        let head = head(tokens, oldest);
        let hash = Sha256::digest(&head);
        let name: String = hash[..16].iter().map(|byte| format!("{byte:02x}")).collect();
        let path = self.folder.join(name).with_extension(EXTENSION);
        let bytes = (head.len() + snapshot.len()) as u64;
        if self.waiting.load(Ordering::Relaxed) >= WAITING {
            return None;
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.tasks.as_ref()?.send(Task::Write { path: path.clone(), head, snapshot: snapshot.clone() }).ok()?;
        Some(Stored { path, bytes })
    }

    /// Has a file removed, behind what waits to be written.
    pub fn remove(&mut self, stored: Stored) {
        if let Some(tasks) = &self.tasks {
            // The thread lives as long as `self`.
            tasks.send(Task::Remove(stored.path)).ok();
        }
    }
}

impl Drop for Disk {
    /// Returns when all is written.
    fn drop(&mut self) {
        self.tasks = None;
        self.thread.take().map(JoinHandle::join);
    }
}

impl Stored {
    /// The snapshot, where the file is that of these tokens.
    pub fn read(&self, tokens: &[u32]) -> Result<Vec<u8>> {
        let failed = |cause| Error::io(format!("read {}", self.path.display()), cause);
        let mut bytes = fs::read(&self.path).map_err(failed)?;
        // When files are scanned again, those that were of use come last.
        File::options().append(true).open(&self.path).and_then(|file| file.set_modified(SystemTime::now())).ok();
        let expected = head(tokens, 0);
        let is_ours = bytes.len() > expected.len()
            && bytes[..16] == expected[..16]
            && bytes[HEADER..].starts_with(&expected[HEADER..]);
        if !is_ours {
            return Err(Error::bad_file(format!("{} is not what it was", self.path.display())));
        }
        bytes.drain(..expected.len());
        Ok(bytes)
    }
}

impl Task {
    fn perform(self, waiting: &AtomicUsize) {
        let (path, done) = match self {
            Self::Write { path, head, snapshot } => {
                let done = write_whole(&path, &[&head, &snapshot]);
                waiting.fetch_sub(1, Ordering::Relaxed);
                (path, done)
            }
            Self::Remove(path) => {
                let done = fs::remove_file(&path);
                (path, done)
            }
        };
        match done {
            Ok(()) => debug!("{} is up to date", path.display()),
            Err(cause) => warn!("the prefix cache cannot write or remove {}: {cause}", path.display()),
        }
    }
}

/// Writes a file that is there as a whole or not at all.
pub fn write_whole(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix(".woolly-").tempfile_in(folder)?;
    parts.iter().try_for_each(|part| file.write_all(part))?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

fn head(tokens: &[u32], oldest: usize) -> Vec<u8> {
    let numbers = [tokens.len() as u64, oldest as u64];
    let numbers = numbers.iter().flat_map(|number| number.to_le_bytes());
    MAGIC.into_iter().chain(numbers).chain(tokens.iter().flat_map(|token| token.to_le_bytes())).collect()
}

/// The tokens of a file, the first position that it can be rewound to, and its length.
fn read_head(path: &Path, context: usize) -> Result<(Vec<u32>, usize, u64)> {
    let failed = |cause| Error::io(format!("read {}", path.display()), cause);
    let mut file = File::open(path).map_err(failed)?;
    let bytes = file.metadata().map_err(failed)?.len();
    let mut header = [0; HEADER];
    file.read_exact(&mut header).map_err(failed)?;
    let (magic, numbers) = header.split_at(MAGIC.len());
    let numbers = numbers.as_chunks().0;
    let [count, oldest] = [0, 1].map(|at| u64::from_le_bytes(numbers[at]));
    if magic != MAGIC || count > context as u64 || oldest > count {
        return Err(Error::bad_file(format!("its header says {count} tokens, rewound to {oldest} at most")));
    }
    let mut tokens = vec![0; 4 * count as usize];
    file.read_exact(&mut tokens).map_err(failed)?;
    let tokens = tokens.as_chunks().0.iter().map(|token| u32::from_le_bytes(*token)).collect();
    Ok((tokens, oldest as usize, bytes))
}

/// Removes an unfinished file that nobody writes any more.
fn sweep(path: &Path, modified: SystemTime) {
    let is_ours = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(".woolly-"));
    if is_ours && modified.elapsed().is_ok_and(|age| age > STALE) {
        fs::remove_file(path).ok();
    }
}
