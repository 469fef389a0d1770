//! Fetching one file over HTTP so that a cut costs nothing and a wrong byte is noticed.
//!
//! Each attempt asks for the bytes that are missing and appends them to the [`Part`]. What makes the old bytes and the
//! new ones belong together is the file's hash, where it is known beforehand; otherwise the server is asked for the
//! rest only if the file is still the one it was (If-Range). A server that answers with the whole file starts the part
//! over. Passing troubles are tried again with growing pauses, as long as bytes keep coming.

use super::cache::FileRecord;
use super::http::{Fault, Http, Retry, cut, host};
use super::part::Part;
use super::ui::{Progress, Ui};
use crate::error::{Error, Result};
use std::io::Read;
use std::path::Path;
use ureq::Body;
use ureq::http::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, LAST_MODIFIED};
use ureq::http::{HeaderMap, Response, StatusCode};

/// A file on a server, and what is known of it beforehand.
#[derive(Clone, Debug)]
pub struct Remote {
    /// The address.
    pub url: String,
    /// The name to save it under: a plain file name.
    pub name: String,
    /// Its size in bytes.
    pub size: Option<u64>,
    /// Its hash, in lower-case hexadecimal.
    pub sha256: Option<String>,
    /// A token that the server asks for.
    pub token: Option<String>,
}

/// Fetches `remote` into `folder`, going on where an earlier run was cut.
pub fn fetch(http: &Http, remote: &Remote, folder: &Path, ui: &Ui) -> Result<FileRecord> {
    let content = remote.sha256.as_deref().unwrap_or(&remote.url);
    let part = Part::open(&folder.join(&remote.name), content)?;
    let progress = ui.progress(&remote.name, remote.size);
    let resumed = part.len() > 0;
    if resumed {
        progress.note(&format!("{}: going on after {} bytes", remote.name, part.len()));
    }
    let mut download = Download { http, remote, part, progress, total: remote.size, seen: false };
    download.run()?;
    if download.check().is_err() && resumed {
        // What the earlier run left may have been damaged since, by a crash for one.
        download.progress.note(&format!("{}: the resumed download is damaged; starting over", remote.name));
        download.part.restart()?;
        download.run()?;
    }
    download.land()
}

/// Checks a complete part against what is known of the file, and that it can be a model at all.
pub fn check(part: &mut Part, name: &str, size: Option<u64>, sha256: Option<&str>) -> Result<()> {
    let found = part.sha256();
    if let Some(size) = size.filter(|size| *size != part.len()) {
        return Err(Error::bad_file(format!("{name} has {} bytes; expected {size}", part.len())));
    }
    if let Some(expected) = sha256.filter(|expected| *expected != found) {
        return Err(Error::bad_file(format!("{name} has the sha256 {found}; expected {expected}")));
    }
    let magic = part.magic()?;
    if magic != b"GGUF" {
        let start = magic.escape_ascii();
        return Err(Error::bad_file(format!("{name} is no GGUF model: it starts with \"{start}\", expected \"GGUF\"")));
    }
    Ok(())
}

/// More bytes than this between two failures count as progress.
const PROGRESS: u64 = 1 << 20;

/// Attempts in all, for a server that lets every one of them get somewhere and none of them finish.
const ATTEMPTS: u32 = 1000;

struct Download<'a> {
    http: &'a Http,
    remote: &'a Remote,
    part: Part,
    progress: Progress,
    total: Option<u64>,
    /// The server has answered in this run.
    seen: bool,
}

impl Download<'_> {
    fn run(&mut self) -> Result<()> {
        let mut failures = 0;
        for _ in 0..ATTEMPTS {
            let before = self.part.len();
            let Err(fault) = self.attempt() else { return Ok(()) };
            let gained = self.part.len().saturating_sub(before);
            failures = if gained >= PROGRESS { 1 } else { failures + 1 };
            let worth = fault.retry == Retry::Always || (fault.retry == Retry::IfSeen && self.seen);
            if !worth || failures >= self.http.patience.attempts {
                return Err(fault.error);
            }
            let pause = self.http.pause(failures);
            self.progress.note(&format!("{}; trying again in {:.1} s", fault.error, pause.as_secs_f32()));
            std::thread::sleep(pause);
        }
        Err(Error::network(format!(
            "{}: the connection to {} breaks again and again",
            self.remote.name,
            host(&self.remote.url)
        )))
    }

    fn attempt(&mut self) -> Result<(), Fault> {
        if self.part.len() > 0 && (self.is_too_long() || !self.can_resume()) {
            self.part.restart()?;
        }
        if self.part.len() > 0 && Some(self.part.len()) == self.remote.size {
            return Ok(());
        }
        let response = self.request()?;
        self.seen = true;
        match response.status() {
            StatusCode::PARTIAL_CONTENT => self.accept_rest(&response)?,
            StatusCode::RANGE_NOT_SATISFIABLE => return self.accept_end(&response),
            _ => self.accept_whole(&response)?,
        }
        self.progress.set_total(self.total);
        self.progress.start_at(self.part.len());
        self.copy(response)
    }

    fn request(&self) -> Result<Response<Body>, Fault> {
        let mut headers = Vec::new();
        if let Some(token) = &self.remote.token {
            headers.push(("authorization", format!("Bearer {token}")));
        }
        if self.part.len() > 0 {
            headers.push(("range", format!("bytes={}-", self.part.len())));
            let validator = self.part.validator().filter(|_| self.remote.sha256.is_none());
            headers.extend(validator.map(|validator| ("if-range", validator.to_owned())));
        }
        self.http.get(&self.remote.url, &headers)
    }

    /// 206: the bytes that were asked for, if it is true.
    fn accept_rest(&mut self, response: &Response<Body>) -> Result<(), Fault> {
        let headers = response.headers();
        let (start, total) = content_range(headers).unwrap_or((None, None));
        let is_other = self.remote.sha256.is_none() && validator(headers).as_deref() != self.part.validator();
        if start != Some(self.part.len()) || is_other {
            self.part.restart()?;
            return Err(self.again("sent another part of the file than it was asked for"));
        }
        self.learn_total(total)
    }

    /// 416: there is nothing after the bytes that are here: either they are all, or they are not of this file.
    fn accept_end(&mut self, response: &Response<Body>) -> Result<(), Fault> {
        let total = content_range(response.headers()).and_then(|(_, total)| total);
        if self.part.len() > 0 && total == Some(self.part.len()) {
            return self.learn_total(total);
        }
        self.part.restart()?;
        Err(self.again("has fewer bytes than are here already"))
    }

    /// 200: the whole file, whatever was asked for.
    fn accept_whole(&mut self, response: &Response<Body>) -> Result<(), Fault> {
        if self.part.len() > 0 {
            let name = &self.remote.name;
            self.progress.note(&format!("{name}: {} sends it from the start again", host(&self.remote.url)));
            self.part.restart()?;
        }
        self.part.remember(validator(response.headers()))?;
        self.learn_total(header(response.headers(), CONTENT_LENGTH.as_str()).and_then(|text| text.parse().ok()))
    }

    fn learn_total(&mut self, total: Option<u64>) -> Result<(), Fault> {
        match (self.remote.size, total) {
            (Some(expected), Some(total)) if expected != total => {
                let Remote { name, url, .. } = self.remote;
                let host = host(url);
                Err(Error::bad_file(format!("{name} has {total} bytes at {host}; expected {expected}")).into())
            }
            _ => {
                self.total = self.remote.size.or(total);
                Ok(())
            }
        }
    }

    fn copy(&mut self, response: Response<Body>) -> Result<(), Fault> {
        let mut body = response.into_body().into_reader();
        let mut buffer = vec![0; 256 << 10];
        loop {
            let count = body.read(&mut buffer).map_err(|cause| cut(&self.remote.url, cause))?;
            if count == 0 {
                break;
            }
            self.part.append(&buffer[..count])?;
            self.progress.set(self.part.len());
            if self.is_too_long() {
                return Ok(());
            }
        }
        match self.total {
            Some(total) if self.part.len() < total => Err(self.again("ended too early")),
            _ => Ok(()),
        }
    }

    /// The bytes here are more than the file has; the check names both numbers.
    fn is_too_long(&self) -> bool {
        self.total.is_some_and(|total| self.part.len() > total)
    }

    fn can_resume(&self) -> bool {
        self.remote.sha256.is_some() || self.part.validator().is_some()
    }

    fn again(&self, what: &str) -> Fault {
        let Remote { name, url, .. } = self.remote;
        Fault { error: Error::network(format!("{name}: {} {what}", host(url))), retry: Retry::Always }
    }

    fn check(&mut self) -> Result<()> {
        check(&mut self.part, &self.remote.name, self.total, self.remote.sha256.as_deref())
    }

    fn land(mut self) -> Result<FileRecord> {
        if let Err(error) = self.check() {
            self.part.discard()?;
            return Err(error);
        }
        let record = FileRecord { name: self.remote.name.clone(), size: self.part.len(), sha256: self.part.sha256() };
        self.part.land()?;
        Ok(record)
    }
}

/// What If-Range takes: a strong ETag, or else the date of the last change.
fn validator(headers: &HeaderMap) -> Option<String> {
    let strong = header(headers, ETAG.as_str()).filter(|tag| tag.starts_with('"'));
    strong.or_else(|| header(headers, LAST_MODIFIED.as_str())).map(str::to_owned)
}

/// Where the bytes of an answer start, and how many the file has: `bytes 5-9/10` or `bytes */10`.
fn content_range(headers: &HeaderMap) -> Option<(Option<u64>, Option<u64>)> {
    let (range, total) = header(headers, CONTENT_RANGE.as_str())?.trim().strip_prefix("bytes ")?.split_once('/')?;
    let start = range.split_once('-').and_then(|(start, _)| start.trim().parse().ok());
    Some((start, total.trim().parse().ok()))
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}
