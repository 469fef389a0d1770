//! `woolly serve`. Names are llama-server's where it has them.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};

use super::{Compute, MODEL_HELP, Sampling, parse};

/// What follows the help of `woolly serve`.
pub const SERVE_EXAMPLES: &str = "\
Interfaces: OpenAI's (/v1/chat/completions, /v1/completions, /v1/models), llama-server's (/completion, /tokenize, \
/slots, …) and Ole's (/api/v1, WebSocket /v1/stream). /openapi.json describes them all; / is a page to chat on.

Every option can also come from a file, --config woolly.toml, with the option's name as its key (port = 8080), and from \
the environment, as WOOLLY_ and its name (WOOLLY_PORT=8080). The command line counts first, then the file, then the \
environment.

Examples:
  woolly serve
  woolly serve ./model.gguf --parallel 8 --ctx 4096
  woolly serve --models-dir ~/models --memory 16G --api-key-file keys.txt --host 0.0.0.0
  woolly serve --config /etc/woolly.toml --log-format json";

/// `woolly serve`
#[derive(Debug, Args)]
pub struct Serve {
    /// The models, the default one first; without any, and without a folder, the default model
    #[arg(value_name = "MODEL", value_hint = ValueHint::FilePath, long_help = MODEL_HELP)]
    pub models: Vec<String>,
    /// The same, for those who are used to llama-server
    #[arg(short = 'm', long = "model", value_name = "MODEL", value_hint = ValueHint::FilePath, hide = true)]
    pub more_models: Vec<String>,
    /// Options from this file
    #[arg(long, value_name = "FILE.toml", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
    /// Where to listen.
    #[command(flatten)]
    pub network: Network,
    /// Which models, and how many answers at once.
    #[command(flatten)]
    pub serving: Serving,
    /// What a request may take.
    #[command(flatten)]
    pub limits: RequestLimits,
    /// How chats become prompts.
    #[command(flatten)]
    pub prompts: Prompts,
    /// How to choose tokens where a request does not say.
    #[command(flatten)]
    pub sampling: Sampling,
    /// On what to compute.
    #[command(flatten)]
    pub compute: Compute,
}

/// Where to listen, and to whom.
#[derive(Debug, Args)]
#[command(next_help_heading = "Network")]
pub struct Network {
    /// The address to listen at (repeat for several); 0.0.0.0 and :: are all of this machine's
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1", value_delimiter = ',', value_parser = parse::host)]
    pub host: Vec<IpAddr>,
    /// The port to listen at; 0: any that is free
    #[arg(long, value_name = "PORT", default_value = "8080")]
    pub port: u16,
    /// Ask clients for a key (repeat for several); better in a file, where other programs do not see it
    #[arg(long, value_name = "KEY", value_parser = parse::key)]
    pub api_key: Vec<String>,
    /// Ask clients for one of the keys in this file, one in each line
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub api_key_file: Option<PathBuf>,
    /// Let web pages of this origin use this server; * for all, localhost for this machine's
    #[arg(long, visible_alias = "cors-origins", value_name = "ORIGIN", value_delimiter = ',')]
    pub cors_origin: Vec<String>,
    /// Connections at the same time, at most
    #[arg(long, value_name = "N", default_value = "4096", value_parser = parse::positive)]
    pub connections: usize,
    /// How the log is written
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// No page to chat on at /
    #[arg(long, visible_alias = "no-webui")]
    pub no_ui: bool,
    /// No /slots
    #[arg(long)]
    pub no_slots: bool,
    /// No /metrics
    #[arg(long)]
    pub no_metrics: bool,
    /// When asked to stop, finish what is under way within so many seconds
    #[arg(long, value_name = "SECONDS", default_value = "30")]
    pub shutdown_timeout: u64,
}

/// How a log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people
    Text,
    /// A JSON object in each line
    Json,
}

/// Which models, and how many answers at once.
#[derive(Debug, Args)]
#[command(next_help_heading = "Serving")]
pub struct Serving {
    /// A folder of .gguf files, which are loaded when a request names them
    #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath)]
    pub models_dir: Option<PathBuf>,
    /// Names of the default model, separated by commas; the first one is what clients are told
    #[arg(short = 'a', long, value_name = "NAME,…", value_delimiter = ',')]
    pub alias: Vec<String>,
    /// Memory that loaded models may take together, such as 16G [default: no limit]
    #[arg(long, value_name = "SIZE", value_parser = parse::size)]
    pub memory: Option<u64>,
    /// Answers that are computed at the same time, for each model
    #[arg(long, visible_alias = "np", value_name = "N", default_value = "4", value_parser = parse::positive)]
    pub parallel: usize,
    /// Tokens that the context of each answer holds [default: as the model was trained for, as far as memory allows]
    #[arg(short = 'c', long = "ctx", visible_alias = "ctx-size", value_name = "N", value_parser = parse::positive)]
    pub context: Option<usize>,
    /// Tokens that are computed together, at most
    #[arg(short = 'b', long, visible_alias = "batch-size", value_name = "N", default_value = "256", value_parser = parse::positive)]
    pub batch: usize,
    /// Memory for beginnings of prompts that may come again, such as 2G; 0: none
    #[arg(long, value_name = "SIZE", default_value = "1G", value_parser = parse::size)]
    pub cache_ram: u64,
    /// Keep beginnings of prompts in this folder too, for after a restart
    #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath)]
    pub cache_dir: Option<PathBuf>,
    /// Let clients save slots to this folder, and restore them from there
    #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath)]
    pub slot_save_path: Option<PathBuf>,
}

/// What a request may take.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
pub struct RequestLimits {
    /// Answers that may wait for their turn, for each model; what comes then is refused
    #[arg(long, value_name = "N", default_value = "256")]
    pub queue: usize,
    /// Seconds that an answer may take; 0: no limit
    #[arg(long, value_name = "SECONDS", default_value = "600")]
    pub timeout: u64,
    /// The largest body of a request
    #[arg(long, value_name = "SIZE", default_value = "16M", value_parser = parse::size)]
    pub body_limit: u64,
    /// Generate at most N tokens where a request does not say; -1: until the model ends or the context is full
    #[arg(short = 'n', long, visible_aliases = ["predict", "max-tokens"], value_name = "N", default_value = "-1", allow_negative_numbers = true, value_parser = parse::limit)]
    pub n_predict: parse::Limit,
}

/// How chats become prompts.
#[derive(Debug, Args)]
#[command(next_help_heading = "Chats")]
pub struct Prompts {
    /// Use this chat template instead of the model's own: `chatml`, or a template's text
    #[arg(long, value_name = "TEMPLATE", conflicts_with = "chat_template_file")]
    pub chat_template: Option<String>,
    /// Use the chat template in this file
    #[arg(long, value_name = "FILE.jinja", value_hint = ValueHint::FilePath)]
    pub chat_template_file: Option<PathBuf>,
    /// Further variables of the chat template, such as {"enable_thinking": false}
    #[arg(long, value_name = "JSON", value_parser = parse::object)]
    pub chat_template_kwargs: Option<parse::Object>,
}
