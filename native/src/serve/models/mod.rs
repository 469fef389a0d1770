//! The models of a server, by name.
//!
//! ```text
//! Unloaded ──get──► Loading ──► Ready ──► Unloaded      for another model's sake, or because somebody says so
//!                      │          │
//!                      └─────► Failed                   for a while; then a request tries again
//! ```
//!
//! A model that is asked for is loaded, on a thread of its own; all who ask meanwhile wait for it. What its file, its KV
//! cache and its scratch memory take has to fit into a budget. Where it does not, models that nobody is using go first,
//! the one that was used longest ago before the others.

mod folder;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::Notify;
use tracing::{error, info};
use woolly_engine::gguf::Gguf;
use woolly_engine::session::Model;

use super::batch::{Batch, BatchOptions};
use super::metrics::Metrics;
use crate::error::{Error, Kind, Result};
use crate::files::open_watched;
use crate::grammar::Vocabulary;
use crate::load::unusable;
use crate::output::size;
use crate::store::{Advice, Source, Store, parts_of, stem};
use folder::Folder;

/// How long a model that cannot be loaded is not tried again.
const RETRY: Duration = Duration::from_secs(10);
/// How long a model that is to be loaded waits for others to become idle, so that they can go.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long running jobs get when their model is unloaded.
const GRACE: Duration = Duration::from_secs(10);

/// Which models there are, and how they are run.
#[derive(Clone, Debug)]
pub struct ModelsOptions {
    /// Models as the user names them, the default one first. They are loaded from the start.
    pub models: Vec<String>,
    /// A folder with further ones.
    pub folder: Option<PathBuf>,
    /// Bytes that all loaded models may take; 0: no limit.
    pub budget: u64,
    /// How each is run.
    pub batch: BatchOptions,
    /// Whether nothing may be downloaded.
    pub offline: bool,
}

/// A model that is ready.
pub struct Served {
    /// Its name.
    pub name: String,
    /// Its file, or the first one.
    pub path: PathBuf,
    /// The model.
    pub model: Arc<Model>,
    /// Answers.
    pub batch: Batch,
    /// Prepares grammars of answers.
    pub vocabulary: Vocabulary,
    /// How the catalogue advises to run it.
    pub advice: Option<Advice>,
    /// When it was loaded.
    pub loaded_at: SystemTime,
    /// Bytes that it takes.
    pub memory: u64,
}

/// Why there is no such model now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// No model has this name.
    #[error("there is no model \"{0}\"")]
    Unknown(String),
    /// The name or path is none that may be used.
    #[error("{0}")]
    Invalid(String),
    /// There is no memory for it while others are in use.
    #[error("{0}")]
    NoMemory(String),
    /// It cannot be loaded, or cannot go on.
    #[error("{0}")]
    Failed(String),
}

/// A model, loaded or not.
#[derive(Clone, Debug)]
pub struct ModelInfo {
    /// Its name.
    pub name: String,
    /// Its file, or the first one, where that is known.
    pub path: Option<PathBuf>,
    /// Bytes of the file; 0 where that is not known yet.
    pub size: u64,
    /// Whether it is loaded.
    pub state: ModelState,
    /// What is known of a loaded one.
    pub details: Option<ModelDetails>,
    /// When it was last asked for.
    pub last_used: Option<SystemTime>,
}

/// What is known of a loaded model.
#[derive(Clone, Debug)]
pub struct ModelDetails {
    /// Architecture by its GGUF name.
    pub architecture: String,
    /// Positions of a slot.
    pub context: usize,
    /// Positions that it was trained for.
    pub trained_context: usize,
    /// Numbers in its tensors.
    pub parameters: u64,
    /// The type of most of them.
    pub quantization: String,
    /// Tokens of its vocabulary.
    pub vocabulary: usize,
    /// Length of the vector of a token.
    pub embedding: usize,
    /// Bytes that it takes.
    pub memory: u64,
    /// When it was loaded.
    pub loaded_at: SystemTime,
}

/// Whether a model is loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelState {
    /// It is not.
    Unloaded,
    /// It is being loaded.
    Loading,
    /// It answers.
    Ready,
    /// It cannot be loaded or cannot go on, for this reason.
    Failed(String),
}

/// How the server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// The models that it starts with are still being loaded.
    Loading,
    /// It answers.
    Ready,
    /// Its default model does not answer, for this reason.
    Unhealthy(String),
}

/// The models of a server.
pub struct Models {
    options: ModelsOptions,
    folder: Option<Folder>,
    /// Name of the model that is meant where none is named; `None`: the first one of the folder.
    default: Option<String>,
    known: Mutex<BTreeMap<String, Known>>,
    /// Something about `known` has changed.
    changed: Notify,
    /// The same for threads.
    changed_for_threads: Condvar,
    metrics: Arc<Metrics>,
}

/// A model that has been asked for, or named at the start.
struct Known {
    origin: Origin,
    state: State,
    /// When it was last asked for.
    used: Option<SystemTime>,
}

#[derive(Clone)]
enum Origin {
    Source(Source),
    Path(PathBuf),
}

enum State {
    Unloaded,
    /// So many bytes are set aside for it.
    Loading(u64),
    Ready(Arc<Served>),
    Failed(ModelError, Instant),
}

impl Models {
    /// Begins to load the models that it starts with. Without any and without a folder, that is the default one.
    pub fn new(options: ModelsOptions, metrics: Arc<Metrics>) -> Result<Arc<Models>> {
        let folder = options.folder.as_deref().map(Folder::open).transpose()?;
        let mut sources = options.models.iter().map(|name| name.parse()).collect::<Result<Vec<Source>>>()?;
        if sources.is_empty() && folder.is_none() {
            sources.push(Source::default());
        }
        let mut known = BTreeMap::new();
        let mut names = Vec::new();
        for source in sources {
            let name = name_of(&source);
            names.push(name.clone());
            let clash = known.insert(name.clone(), Known::new(Origin::Source(source)));
            if clash.is_some() {
                return Err(Error::usage(format!(
                    "two models are called \"{name}\"; give one of their files another name"
                )));
            }
        }
        let models = Arc::new(Models {
            options,
            folder,
            default: names.first().cloned(),
            known: Mutex::new(known),
            changed: Notify::new(),
            changed_for_threads: Condvar::new(),
            metrics,
        });
        names.iter().for_each(|name| models.start(&mut models.lock(), name));
        Ok(models)
    }

    /// The name of the model that is meant where none is named.
    pub fn default_name(&self) -> Option<String> {
        let first = || self.folder.as_ref()?.models().into_keys().next();
        self.default.clone().or_else(first)
    }

    /// The model of this name, the default one without a name; loaded first where need be.
    pub async fn get(self: &Arc<Self>, name: Option<&str>) -> Result<Arc<Served>, ModelError> {
        let name = self.find(name)?;
        self.wait(&name, false).await
    }

    /// Loads a model, whether or not that has failed before. `path` says which file in the models folder it is.
    pub async fn load(self: &Arc<Self>, name: &str, path: Option<&Path>) -> Result<Arc<Served>, ModelError> {
        let Some(path) = path else {
            let name = self.find(Some(name))?;
            return self.wait(&name, true).await;
        };
        let folder =
            self.folder.as_ref().ok_or_else(|| ModelError::Invalid("the server has no models folder".into()))?;
        let path = folder.inside(path).map_err(|cause| ModelError::Invalid(cause.to_string()))?;
        let is_other = match self.lock().get(name).map(|known| &known.origin) {
            Some(Origin::Path(known)) if *known == path => false,
            Some(Origin::Source(_)) => {
                return Err(ModelError::Invalid(format!(
                    "\"{name}\" is the name of a model that the server was started with"
                )));
            }
            _ => true,
        };
        if is_other {
            self.unload_known(name).await;
            self.lock().insert(name.to_owned(), Known::new(Origin::Path(path)));
        }
        self.wait(name, true).await
    }

    /// Unloads a model; what runs is finished, within a limit.
    pub async fn unload(&self, name: &str) -> Result<(), ModelError> {
        let name = self.find(Some(name))?;
        self.unload_known(&name).await;
        Ok(())
    }

    /// Unloads all models, for the end of the server: what runs is finished `within` this time.
    pub async fn close(&self, within: Duration) {
        let names: Vec<String> = self.lock().keys().cloned().collect();
        let batches: Vec<Batch> =
            names.iter().filter_map(|name| self.take(name)).map(|served| served.batch.clone()).collect();
        let end = Instant::now() + within;
        // Each begins to end now, so that waiting for one after the other takes no longer than for all at once.
        batches.iter().for_each(|batch| batch.begin_close(within));
        for batch in batches {
            batch.close(end.saturating_duration_since(Instant::now())).await;
        }
    }

    /// All models that can be had.
    pub fn list(&self) -> Vec<ModelInfo> {
        let in_folder = self.folder.as_ref().map(Folder::models).unwrap_or_default();
        let known = self.lock();
        let mut all: Vec<ModelInfo> = known.iter().map(|(name, known)| known.info(name)).collect();
        drop(known);
        let named: Vec<String> = all.iter().map(|info| info.name.clone()).collect();
        let others = in_folder.into_iter().filter(|(name, _)| !named.contains(name));
        all.extend(others.map(|(name, path)| Known::new(Origin::Path(path)).info(&name)));
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// How the server is.
    pub fn health(&self) -> Health {
        let known = self.lock();
        let Some(default) = self.default.as_ref().and_then(|name| known.get(name)) else { return Health::Ready };
        match default.seen() {
            ModelState::Failed(why) => Health::Unhealthy(why),
            ModelState::Loading => Health::Loading,
            ModelState::Ready | ModelState::Unloaded => Health::Ready,
        }
    }

    /// The name as it is known, after the models folder was looked at.
    fn find(&self, name: Option<&str>) -> Result<String, ModelError> {
        let default = || self.default_name().ok_or_else(|| ModelError::Unknown("default".into()));
        let name = name.map_or_else(default, |name| Ok(name.to_owned()))?;
        let mut known = self.lock();
        if known.contains_key(&name) {
            return Ok(name);
        }
        let short = stem(&name);
        if known.contains_key(short) {
            return Ok(short.to_owned());
        }
        let path = self.folder.as_ref().and_then(|folder| folder.models().remove(short));
        let path = path.ok_or_else(|| ModelError::Unknown(name.clone()))?;
        known.insert(short.to_owned(), Known::new(Origin::Path(path)));
        Ok(short.to_owned())
    }

    /// The model when it is ready; `again`: even where it has just failed.
    async fn wait(self: &Arc<Self>, name: &str, mut again: bool) -> Result<Arc<Served>, ModelError> {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if let Some(result) = self.look(name, std::mem::take(&mut again)) {
                return result;
            }
            changed.await;
        }
    }

    /// The model, or why there is none; `None` while it is being loaded, which is begun here.
    fn look(self: &Arc<Self>, name: &str, again: bool) -> Option<Result<Arc<Served>, ModelError>> {
        let mut all = self.lock();
        let Some(known) = all.get_mut(name) else { return Some(Err(ModelError::Unknown(name.to_owned()))) };
        known.used = Some(SystemTime::now());
        known.notice_fault(&self.metrics);
        match &known.state {
            State::Ready(served) => return Some(Ok(served.clone())),
            State::Failed(error, since) if !again && since.elapsed() < RETRY => return Some(Err(error.clone())),
            State::Loading(_) => return None,
            State::Failed(..) | State::Unloaded => {}
        }
        self.start(&mut all, name);
        None
    }

    /// Begins to load a model.
    fn start(self: &Arc<Self>, all: &mut BTreeMap<String, Known>, name: &str) {
        let Some(known) = all.get_mut(name) else { return };
        let origin = known.origin.clone();
        known.state = State::Loading(0);
        let (models, name) = (self.clone(), name.to_owned());
        let thread = std::thread::Builder::new().name("woolly-load".into());
        let started = thread.spawn(move || models.load_now(&name, &origin));
        if let Err(cause) = started {
            known.state = State::Failed(ModelError::Failed(format!("cannot start a thread: {cause}")), Instant::now());
        }
    }

    /// Loads a model, on a thread that may take its time.
    fn load_now(&self, name: &str, origin: &Origin) {
        let start = Instant::now();
        let state = match self.open(name, origin) {
            Ok(served) => {
                info!(model = name, seconds = start.elapsed().as_secs_f64(), "loaded {}", served.path.display());
                self.metrics.models.inc();
                State::Ready(Arc::new(served))
            }
            Err(cause) => {
                error!(model = name, "{cause}");
                let is_memory = cause.kind() == Kind::Memory;
                let (as_error, text) =
                    (if is_memory { ModelError::NoMemory } else { ModelError::Failed }, cause.to_string());
                State::Failed(as_error(text), Instant::now())
            }
        };
        self.set(name, state);
    }

    fn open(&self, name: &str, origin: &Origin) -> Result<Served> {
        let (paths, advice) = match origin {
            Origin::Path(path) => (parts_of(path), None),
            Origin::Source(source) => {
                let store = Store::open(self.options.offline)?;
                (store.resolve(source)?, store.advice(source))
            }
        };
        let path = paths.first().cloned().unwrap_or_default();
        let shown = path.display().to_string();
        let (parts, watch) = open_watched(&paths)?;
        let gguf = Gguf::open(parts).map_err(|cause| unusable(&shown).because(cause))?;
        let model = Arc::new(Model::load(gguf).map_err(|cause| unusable(&shown).because(cause))?);
        let memory = model.gguf().size() + Batch::memory(&model, &self.options.batch);
        self.make_room(name, memory)?;
        let batch = Batch::start(model.clone(), watch, &self.options.batch, self.metrics.clone())?;
        let (name, vocabulary) = (name.to_owned(), Vocabulary::new(model.clone()));
        Ok(Served { name, path, model, batch, vocabulary, advice, loaded_at: SystemTime::now(), memory })
    }

    /// Sets memory aside for a model, and has others go for that.
    fn make_room(&self, name: &str, needed: u64) -> Result<()> {
        let budget = self.options.budget;
        let too_much = |why: &str| {
            let message = format!("the model \"{name}\" needs {} of memory, of {}: {why}", size(needed), size(budget));
            Err(Error::new(Kind::Memory, message))
        };
        if budget != 0 && needed > budget {
            return too_much("a smaller context or fewer slots need less");
        }
        let end = Instant::now() + PATIENCE;
        let mut all = self.lock();
        loop {
            let used: u64 = all.values().map(Known::memory).sum();
            if budget == 0 || used + needed <= budget {
                if let Some(known) = all.get_mut(name) {
                    known.state = State::Loading(needed);
                }
                return Ok(());
            }
            if let Some(served) = take_idle(&mut all) {
                drop(all);
                info!(model = served.name, "unloading, for {name}");
                self.metrics.models.dec();
                served.batch.stop();
                drop(served);
                all = self.lock();
            } else if Instant::now() >= end {
                return too_much("all others are in use");
            } else {
                let waited = self.changed_for_threads.wait_timeout(all, Duration::from_millis(50));
                all = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
        }
    }

    async fn unload_known(&self, name: &str) {
        if let Some(served) = self.take(name) {
            served.batch.close(GRACE).await;
        }
    }

    /// Makes a model that is ready, or has failed, one that is not loaded.
    fn take(&self, name: &str) -> Option<Arc<Served>> {
        let mut all = self.lock();
        let known = all.get_mut(name)?;
        if matches!(known.state, State::Loading(_)) {
            return None;
        }
        match std::mem::replace(&mut known.state, State::Unloaded) {
            State::Ready(served) => {
                self.metrics.models.dec();
                Some(served)
            }
            _ => None,
        }
    }

    fn set(&self, name: &str, state: State) {
        if let Some(known) = self.lock().get_mut(name) {
            known.state = state;
        }
        self.changed.notify_waiters();
        self.changed_for_threads.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes out the model that was used longest ago, of those that nobody is using.
fn take_idle(all: &mut BTreeMap<String, Known>) -> Option<Arc<Served>> {
    let idle = |known: &&mut Known| match &known.state {
        State::Ready(served) => Arc::strong_count(served) == 1 && served.batch.is_idle(),
        _ => false,
    };
    let known = all.values_mut().filter(idle).min_by_key(|known| known.used)?;
    match std::mem::replace(&mut known.state, State::Unloaded) {
        State::Ready(served) => Some(served),
        _ => None,
    }
}

impl Known {
    fn new(origin: Origin) -> Self {
        Self { origin, state: State::Unloaded, used: None }
    }

    /// Bytes that it takes.
    fn memory(&self) -> u64 {
        match &self.state {
            State::Ready(served) => served.memory,
            State::Loading(memory) => *memory,
            State::Unloaded | State::Failed(..) => 0,
        }
    }

    /// A model whose batch can answer no more has failed.
    fn notice_fault(&mut self, metrics: &Metrics) {
        if let State::Ready(served) = &self.state
            && let Some(fault) = served.batch.fault()
        {
            metrics.models.dec();
            self.state = State::Failed(ModelError::Failed(fault), Instant::now());
        }
    }

    fn seen(&self) -> ModelState {
        match &self.state {
            State::Unloaded => ModelState::Unloaded,
            State::Loading(_) => ModelState::Loading,
            State::Failed(error, _) => ModelState::Failed(error.to_string()),
            State::Ready(served) => served.batch.fault().map_or(ModelState::Ready, ModelState::Failed),
        }
    }

    fn info(&self, name: &str) -> ModelInfo {
        let served = if let State::Ready(served) = &self.state { Some(served) } else { None };
        let known_path = match &self.origin {
            Origin::Path(path) | Origin::Source(Source::Path(path)) => Some(path.clone()),
            Origin::Source(_) => None,
        };
        let path = served.map(|served| served.path.clone()).or(known_path);
        let on_disk =
            || path.iter().flat_map(|path| parts_of(path)).filter_map(|part| Some(part.metadata().ok()?.len())).sum();
        ModelInfo {
            name: name.to_owned(),
            size: served.map_or_else(on_disk, |served| served.model.gguf().size()),
            path,
            state: self.seen(),
            details: served.map(|served| served.details()),
            last_used: self.used,
        }
    }
}

impl Served {
    /// What is known of it.
    pub fn details(&self) -> ModelDetails {
        let (gguf, spec) = (self.model.gguf(), self.model.spec());
        let elements = |dims: &[u64]| dims.iter().product::<u64>();
        let mut types: BTreeMap<&str, u64> = BTreeMap::new();
        for tensor in gguf.tensors() {
            *types.entry(tensor.kind.name()).or_default() += elements(&tensor.dims);
        }
        ModelDetails {
            architecture: spec.architecture.clone(),
            context: self.batch.context(),
            trained_context: spec.context,
            parameters: types.values().sum(),
            quantization: types
                .iter()
                .max_by_key(|(_, count)| **count)
                .map(|(name, _)| (*name).to_owned())
                .unwrap_or_default(),
            vocabulary: self.model.tokenizer().vocab_len(),
            embedding: spec.embedding,
            memory: self.memory,
            loaded_at: self.loaded_at,
        }
    }
}

/// What requests call the model of a source: what the user calls it, or its file.
fn name_of(source: &Source) -> String {
    let text = match source {
        Source::Path(path) => path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
        source => source.to_string(),
    };
    stem(&text).to_owned()
}

#[cfg(test)]
mod tests;
