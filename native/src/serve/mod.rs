//! The server: many users at once, over HTTP.
//!
//! ```text
//! config ─► run ─► listen ─► http ─► models ─► batch
//! ```
//!
//! ```text
//! http     the interfaces: OpenAI's, llama-server's, Ole's
//! models   by name: loaded when they are asked for, unloaded when memory is short
//! batch    of each model: a thread that computes the tokens of many answers in one pass
//! job      what is asked of a batch, and what comes back
//! metrics  what has been done, and how fast
//! ```

pub mod batch;
pub mod config;
mod http;
pub mod job;
mod listen;
pub mod log;
pub mod metrics;
pub mod models;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tracing::{error, info};
use woolly_engine::chat::Template;
use woolly_engine::simd::Level;

use crate::cli::{Global, Serve};
use crate::conversation;
use crate::cores::default_threads;
use crate::error::{Error, Result};
use batch::BatchOptions;
use http::{App, Keys, Origins, Settings};
use metrics::Metrics;
use models::{Models, ModelsOptions};

/// Threads that answer requests. What takes long is done elsewhere: by the threads of a batch, and by those below.
const THREADS: usize = 2;
/// Threads that tokenize, render and read files.
const BLOCKING_THREADS: usize = 16;

/// Serves until the process is told to stop.
pub fn run(args: Box<Serve>, global: &Global) -> Result<()> {
    #[cfg(all(target_os = "linux", target_env = "gnu", not(test)))]
    crate::allocator::free_at_once();
    let runtime = runtime()?;
    let done = runtime.block_on(serve(*args, global));
    // Whoever still tokenizes is not waited for.
    runtime.shutdown_background();
    done
}

fn runtime() -> Result<Runtime> {
    let built = Builder::new_multi_thread()
        .worker_threads(THREADS)
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_name("woolly-http")
        .enable_all()
        .build();
    built.map_err(|cause| Error::other("cannot start the threads of the server").because(cause))
}

async fn serve(args: Serve, global: &Global) -> Result<()> {
    let grace = Duration::from_secs(args.network.shutdown_timeout);
    let connections = args.network.connections;
    listen::raise_file_limit();
    let listeners = listen::bind(&args.network.host, args.network.port).await?;
    for listener in &listeners {
        let address = listener.local_addr().map_err(|cause| Error::io("listen", cause))?;
        info!("listening at http://{address}");
    }
    let app = Arc::new(app(args, global)?);
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(signals(stop));
    let left = listen::serve(listeners, http::router(app.clone()), connections, stopped, grace).await;
    // Answers over WebSockets are no longer requests; they have the rest of the time.
    app.models.close(left).await;
    Ok(())
}

fn app(args: Serve, global: &Global) -> Result<App> {
    let metrics = Arc::new(Metrics::new());
    let keys = Keys::new(args.network.api_key.clone(), args.network.api_key_file.as_deref())?;
    let origins = Origins::new(args.network.cors_origin.clone());
    warn_if_open(&args, &keys);
    let options = models_options(&args, global.offline);
    let settings = settings(args, global)?;
    let models = Models::new(options, metrics.clone())?;
    Ok(App { models, metrics, keys, origins, settings, started: SystemTime::now() })
}

fn warn_if_open(args: &Serve, keys: &Keys) {
    let is_open = args.network.host.iter().any(|host| !host.is_loopback());
    if is_open && !keys.are_needed() {
        tracing::warn!(
            "everybody who reaches this machine can use the server: there are no API keys (see --api-key-file)"
        );
    }
}

fn models_options(args: &Serve, offline: bool) -> ModelsOptions {
    let serving = &args.serving;
    ModelsOptions {
        models: args.models.iter().chain(&args.more_models).cloned().collect(),
        folder: serving.models_dir.clone(),
        budget: serving.memory.unwrap_or(0),
        batch: BatchOptions {
            parallel: serving.parallel,
            context: serving.context.unwrap_or(0),
            kv: args.compute.kv,
            threads: args.compute.threads.unwrap_or_else(default_threads),
            level: args.compute.isa.unwrap_or_else(Level::best),
            batch: serving.batch,
            queue: args.limits.queue,
            cache_bytes: serving.cache_ram,
            cache_dir: serving.cache_dir.clone(),
        },
        offline,
    }
}

fn settings(args: Serve, global: &Global) -> Result<Settings> {
    let prompts = args.prompts;
    let slot_folder = args.serving.slot_save_path.as_deref().map(folder).transpose()?;
    let models = args.models.len() + args.more_models.len();
    Ok(Settings {
        body_limit: usize::try_from(args.limits.body_limit).unwrap_or(usize::MAX),
        timeout: (args.limits.timeout > 0).then(|| Duration::from_secs(args.limits.timeout)),
        max_tokens: args.limits.n_predict.0,
        sampling: args.sampling,
        only_model: models <= 1 && args.serving.models_dir.is_none(),
        aliases: args.serving.alias,
        template: template(prompts.chat_template, prompts.chat_template_file.as_deref())?,
        variables: prompts.chat_template_kwargs.unwrap_or_default(),
        slot_folder,
        slots: !args.network.no_slots,
        metrics: !args.network.no_metrics,
        page: !args.network.no_ui,
        verbose: global.verbose > 0,
    })
}

fn folder(path: &Path) -> Result<std::path::PathBuf> {
    let found = path.canonicalize().map_err(|cause| Error::io(format!("open the folder {}", path.display()), cause))?;
    if found.is_dir() { Ok(found) } else { Err(Error::usage(format!("{} is no folder", path.display()))) }
}

/// The source of the template that the options name, checked: who starts a server wants to know at once.
fn template(text: Option<String>, file: Option<&Path>) -> Result<Option<String>> {
    let source = match (text, file) {
        (_, Some(path)) => {
            conversation::read_template(path)?;
            std::fs::read_to_string(path).map_err(|cause| Error::io(format!("read {}", path.display()), cause))?
        }
        (Some(text), None) if text == "chatml" => Template::CHATML.to_string(),
        (Some(text), None) => text,
        (None, None) => return Ok(None),
    };
    Template::new(&source).map_err(|cause| Error::usage("--chat-template is no template").because(cause))?;
    Ok(Some(source))
}

/// Waits for Ctrl-C or the system's wish that the process ends; the second one is obeyed at once.
async fn signals(stop: watch::Sender<bool>) {
    for first in [true, false] {
        if let Err(cause) = signal().await {
            error!("cannot listen for signals: {cause}");
            return;
        }
        if !first {
            std::process::exit(crate::error::Kind::Interrupted.exit_code().into());
        }
        stop.send_replace(true);
    }
}

#[cfg(unix)]
async fn signal() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    }
}

#[cfg(not(unix))]
async fn signal() -> std::io::Result<()> {
    tokio::signal::ctrl_c().await
}
