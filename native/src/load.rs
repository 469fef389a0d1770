//! From what the user calls a model to a session that runs it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracing::{debug, info};
use woolly_engine::gguf::{Gguf, Value};
use woolly_engine::session::{Model, Options, Session};
use woolly_engine::simd::Level;

use crate::cli::{Compute, Generation};
use crate::cores::default_threads;
use crate::error::{Error, Kind, Result};
use crate::files::open_model;
use crate::grammar::{Form, Grammar, Vocabulary};
use crate::memory;
use crate::output::{self, size};
use crate::pool::Threads;
use crate::store::{Advice, Source, Store};

/// An opened model file.
pub struct Opened {
    /// How messages call it.
    pub name: String,
    /// The file, or the parts of a split one.
    pub paths: Vec<PathBuf>,
    /// What is in it.
    pub gguf: Gguf,
    /// How the catalogue advises to run it.
    pub advice: Option<Advice>,
}

/// Opens the model that `name` means (the default one where there is none), fetching it first where need be.
pub fn open(name: Option<&str>, offline: bool) -> Result<Opened> {
    let source: Source = name.map(str::parse).transpose()?.unwrap_or_default();
    let store = Store::open(offline)?;
    let paths = store.resolve(&source)?;
    info!(%source, files = paths.len(), "opening {}", paths[0].display());
    let parts = open_model(&paths)?;
    let name = paths[0].display().to_string();
    let gguf = Gguf::open(parts).map_err(|cause| unusable(&name).because(cause))?;
    Ok(Opened { name, paths, gguf, advice: store.advice(&source) })
}

/// A model that is ready to run.
pub struct Loaded {
    /// How messages call it.
    pub name: String,
    /// The model.
    pub model: Arc<Model>,
    /// How the catalogue advises to run it.
    pub advice: Option<Advice>,
}

/// Opens and checks a model.
pub fn load(name: Option<&str>, offline: bool) -> Result<Loaded> {
    let Opened { name, gguf, advice, .. } = open(name, offline)?;
    let model = Model::load(gguf).map_err(|cause| unusable(&name).because(cause))?;
    Ok(Loaded { name, model: Arc::new(model), advice })
}

/// The error of a model file that cannot be used, still without its cause.
pub fn unusable(name: &str) -> Error {
    Error::bad_file(format!("cannot use the model {name}"))
}

impl Loaded {
    /// The system prompt: the user's, else the advised one, unless the text is raw.
    pub fn system(&self, args: &Generation) -> Option<String> {
        let advised = || self.advice.filter(|_| !args.raw)?.system.map(str::to_string);
        args.system.clone().or_else(advised)
    }

    /// What the model is called: by itself, else by its file.
    pub fn title(&self) -> String {
        let own = self.model.gguf().metadata().get("general.name").and_then(Value::as_str);
        let stem = || Path::new(&self.name).file_stem().map(|stem| stem.to_string_lossy().into_owned());
        own.map(str::to_string).or_else(stem).unwrap_or_default()
    }

    /// What answers of the form that is asked for are matched with.
    pub fn grammar(&self, args: &Generation) -> Result<Option<Grammar>> {
        let Some(form) = Form::read(&args.form)? else { return Ok(None) };
        let refused = |cause| Error::usage("cannot answer in this form").because(cause);
        Vocabulary::new(self.model.clone()).compile(&form).map(Some).map_err(refused)
    }

    /// A session whose context holds `context` tokens, or as many as the model was trained for and memory allows.
    pub fn session(&self, compute: &Compute, context: Option<usize>) -> Result<Session> {
        let threads = compute.threads.unwrap_or_else(default_threads);
        let level = compute.isa.unwrap_or_else(Level::best);
        self.session_with(
            threads,
            &Options { context: context.unwrap_or(0), kv: compute.kv, level, ..Options::default() },
        )
    }

    /// A session with `options`, whose context may be 0 for the best that memory allows.
    pub fn session_with(&self, threads: usize, options: &Options) -> Result<Session> {
        let mut options = *options;
        if options.context == 0 {
            options.context = memory::fitting_context(&self.model, &options, 1);
        }
        let trained = self.model.spec().context;
        if options.context > trained {
            let asked = options.context;
            output::note(format_args!(
                "the model was trained for {trained} tokens of context; beyond, up to {asked}, it may ramble"
            ));
        }
        self.check_memory(&options)?;
        debug!(threads, level = %options.level, context = options.context, "starting a session");
        let pool = Arc::new(Threads::new(threads)?);
        Session::new(self.model.clone(), pool, &options).map_err(|cause| {
            let what = format!("cannot start {} with a context of {} tokens", self.name, options.context);
            Error::new(Kind::Memory, what).because(cause)
        })
    }

    /// Linux hands out memory that it does not have, and ends the process that uses it: better to know before.
    fn check_memory(&self, options: &Options) -> Result<()> {
        let needed = self.model.memory(options);
        let (needed, available) = (needed.kv_cache + needed.scratch, memory::available());
        if needed <= available {
            return Ok(());
        }
        let message = format!(
            "a context of {} tokens needs {} of memory, and {} are free; a smaller one: -c N",
            options.context,
            size(needed),
            size(available)
        );
        Err(Error::new(Kind::Memory, message))
    }
}
