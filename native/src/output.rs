//! What is printed: results on stdout, everything else on stderr.
//!
//! A reader of stdout that has left (`woolly … | head`) is no failure: the error that the write returns is told apart by
//! [`reader_left`], and the process ends quietly.

use std::error::Error as _;
use std::fmt;
use std::io::{self, Write};
use std::path::Path;

use clap::builder::styling::Style;
use serde::Serialize;

use crate::error::{Error, Result};

/// Writes to stdout and flushes.
pub fn print(bytes: impl AsRef<[u8]>) -> Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes.as_ref()).and_then(|()| stdout.flush()).map_err(write_error)
}

/// Writes one JSON value and a newline to stdout, indented where a person reads it.
pub fn print_json(value: &impl Serialize) -> Result<()> {
    let text = match io::IsTerminal::is_terminal(&io::stdout()) {
        true => serde_json::to_string_pretty(value),
        false => serde_json::to_string(value),
    };
    print(text.map_err(|cause| Error::other("cannot write JSON").because(cause))? + "\n")
}

/// Writes a line to stderr, dimmed where it is a terminal that shows colours. A stderr that is closed is no reason to fail.
pub fn note(line: impl fmt::Display) {
    let dim = Style::new().dimmed();
    let _ = writeln!(anstream::stderr(), "{dim}{line}{dim:#}");
}

/// Writes an error to stderr.
pub fn error(error: &Error) {
    let red = clap::builder::styling::AnsiColor::Red.on_default().bold();
    let _ = writeln!(anstream::stderr(), "{red}error{red:#}: {error}");
}

/// Whether this error only says that the reader of stdout has left.
pub fn reader_left(error: &Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

/// Creates `path` whole or not at all: `write` fills a file beside it, which then takes its name.
pub fn write_file(path: &Path, write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let failed = |cause| Error::io(format!("write {}", path.display()), cause);
    let file = temporary(folder).map_err(failed)?;
    let mut buffered = io::BufWriter::with_capacity(1 << 20, file);
    write(&mut buffered)?;
    let file = buffered.into_inner().map_err(|cause| failed(cause.into_error()))?;
    file.persist(path).map_err(|cause| failed(cause.error))?;
    Ok(())
}

/// `1234567` as `1,234,567`.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number of bytes for people, as llama-bench writes it.
pub fn size(bytes: u64) -> String {
    const KIB: f64 = 1024.0;
    match bytes as f64 {
        b if b < KIB => format!("{bytes} B"),
        b if b < KIB * KIB => format!("{:.2} KiB", b / KIB),
        b if b < KIB * KIB * KIB => format!("{:.2} MiB", b / KIB / KIB),
        b => format!("{:.2} GiB", b / KIB / KIB / KIB),
    }
}

/// The error of a failed write to stdout.
pub fn write_error(cause: io::Error) -> Error {
    Error::other("cannot write to standard output").because(cause)
}

/// A file with the permissions of any new file: the default of temporary ones is to be private.
#[cfg(unix)]
fn temporary(folder: &Path) -> io::Result<tempfile::NamedTempFile> {
    use std::os::unix::fs::PermissionsExt;
    tempfile::Builder::new().prefix(".woolly-").permissions(std::fs::Permissions::from_mode(0o666)).tempfile_in(folder)
}

#[cfg(not(unix))]
fn temporary(folder: &Path) -> io::Result<tempfile::NamedTempFile> {
    tempfile::Builder::new().prefix(".woolly-").tempfile_in(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people() {
        let grouped = [0, 999, 1000, 1234567].map(thousands);
        assert_eq!(grouped, ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([1023, 1536, 3 << 20, 5 << 29].map(size), ["1023 B", "1.50 KiB", "3.00 MiB", "2.50 GiB"]);
    }

    #[test]
    fn a_failed_write_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        std::fs::write(&path, "old").unwrap();
        let result = write_file(&path, |out| {
            out.write_all(b"new").unwrap();
            Err(Error::other("no"))
        });
        assert!(result.is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        write_file(&path, |out| out.write_all(b"new").map_err(write_error)).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn a_reader_that_left_is_told_apart() {
        assert!(reader_left(&write_error(io::ErrorKind::BrokenPipe.into())));
        assert!(!reader_left(&write_error(io::ErrorKind::StorageFull.into())));
        assert!(!reader_left(&Error::other("x")));
    }
}
