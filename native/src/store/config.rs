//! What a store depends on outside itself: folders, servers, programs, patience. Read from the environment once.

use super::ui::Ui;
use crate::error::{Error, Result};
use etcetera::BaseStrategy;
use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// Settings of a store.
#[derive(Clone)]
pub struct Config {
    /// The cache folder.
    pub root: PathBuf,
    /// Never touch the network.
    pub offline: bool,
    /// Where the hub answers, without a slash at the end.
    pub hub: String,
    /// The user's token for the hub.
    pub token: Option<String>,
    /// Commands that run pip, the preferred one first.
    pub pip: Vec<Vec<OsString>>,
    /// How long to wait, and how often to try again.
    pub patience: Patience,
    /// Go through the proxy that the environment names.
    pub proxy: bool,
    /// Where progress is shown.
    pub ui: Ui,
}

/// How long to wait, and how often to try again.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For a name to be resolved, and again for a connection.
    pub connect: Duration,
    /// For the next bytes of an answer.
    pub read: Duration,
    /// For pip to end.
    pub pip: Duration,
    /// Failures in a row, without progress between them, after which a download is given up.
    pub attempts: u32,
    /// The pause after the first failure; each further one doubles it.
    pub pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(3),
            read: Duration::from_secs(30),
            pip: Duration::from_secs(3600),
            attempts: 6,
            pause: Duration::from_millis(500),
        }
    }
}

impl Config {
    /// The user's settings: `WOOLLY_MODELS`, `WOOLLY_HF_ENDPOINT` or `HF_ENDPOINT`, `HF_TOKEN`, `WOOLLY_PYTHON`.
    pub fn from_env(offline: bool) -> Result<Self> {
        let hub = set("WOOLLY_HF_ENDPOINT").or_else(|| set("HF_ENDPOINT")).unwrap_or("https://huggingface.co".into());
        Ok(Self {
            root: models_folder()?,
            offline,
            hub: hub.trim_end_matches('/').to_owned(),
            token: set("HF_TOKEN"),
            pip: pip_commands(env::var_os("WOOLLY_PYTHON")),
            patience: Patience::default(),
            proxy: true,
            ui: Ui::stderr(),
        })
    }
}

fn models_folder() -> Result<PathBuf> {
    if let Some(folder) = env::var_os("WOOLLY_MODELS").filter(|folder| !folder.is_empty()) {
        return std::path::absolute(&folder)
            .map_err(|cause| Error::io(format!("find the folder WOOLLY_MODELS={}", folder.display()), cause));
    }
    let strategy = etcetera::base_strategy::choose_native_strategy().map_err(|cause| {
        Error::other("this user has no home folder to keep models in; set WOOLLY_MODELS to a folder").because(cause)
    })?;
    Ok(strategy.cache_dir().join("woolly").join("models"))
}

fn pip_commands(python: Option<OsString>) -> Vec<Vec<OsString>> {
    let command = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
    match python {
        Some(python) => vec![vec![python, "-m".into(), "pip".into()]],
        None => vec![
            command(&["python3", "-m", "pip"]),
            command(&["python", "-m", "pip"]),
            command(&["pip3"]),
            command(&["pip"]),
        ],
    }
}

fn set(name: &str) -> Option<String> {
    env::var(name).ok().map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
}
