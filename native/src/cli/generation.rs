//! Options of the commands that generate text. Names and defaults are llama.cpp's where it has them.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::{Compute, parse};

/// How to generate.
#[derive(Clone, Debug, Args)]
pub struct Generation {
    /// Generate at most N tokens [default: until the model ends or the context is full]
    #[arg(short = 'n', long = "max-tokens", visible_alias = "predict", value_name = "N", value_parser = parse::positive)]
    pub max_tokens: Option<usize>,
    /// Tokens that the context holds [default: as the model was trained for, as far as memory allows]
    #[arg(short = 'c', long = "ctx", visible_alias = "ctx-size", value_name = "N", value_parser = parse::positive)]
    pub context: Option<usize>,
    /// Stop where the answer contains TEXT, which is not printed (repeat for several)
    #[arg(long, value_name = "TEXT", value_parser = parse::stop)]
    pub stop: Vec<String>,
    /// The system prompt [default: the chat template's, or what suits a known model]
    #[arg(long, value_name = "TEXT")]
    pub system: Option<String>,
    /// What the answer has to look like.
    #[command(flatten)]
    pub form: Form,
    /// Continue the text as it is, without a chat template
    #[arg(long)]
    pub raw: bool,
    /// Use this chat template instead of the model's own
    #[arg(long, value_name = "FILE.jinja", value_hint = ValueHint::FilePath, conflicts_with = "raw")]
    pub chat_template: Option<PathBuf>,
    /// Further variables of the chat template, such as {"enable_thinking": false}
    #[arg(long, value_name = "JSON", value_parser = parse::object, conflicts_with = "raw")]
    pub chat_template_kwargs: Option<parse::Object>,
    /// How to choose the next token.
    #[command(flatten)]
    pub sampling: Sampling,
    /// On what to compute.
    #[command(flatten)]
    pub compute: Compute,
}

/// What an answer has to look like.
#[derive(Clone, Debug, Default, Args)]
#[group(multiple = false)]
pub struct Form {
    /// Answer with what this grammar in GBNF, llama.cpp's notation, allows
    #[arg(long, value_name = "GBNF")]
    pub grammar: Option<String>,
    /// The same, with the grammar from a file
    #[arg(long, value_name = "FILE.gbnf", value_hint = ValueHint::FilePath)]
    pub grammar_file: Option<PathBuf>,
    /// Answer with JSON that conforms to this JSON schema; {"type": "object"}: any object
    #[arg(short = 'j', long, value_name = "JSON", value_parser = parse::json)]
    pub json_schema: Option<serde_json::Value>,
    /// The same, with the schema from a file
    #[arg(long, value_name = "FILE.json", value_hint = ValueHint::FilePath)]
    pub json_schema_file: Option<PathBuf>,
}

/// How to choose the next token.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Sampling")]
pub struct Sampling {
    /// Temperature; 0 always takes the likeliest token [default: 0.8, or what suits a known model]
    #[arg(long, visible_alias = "temperature", value_name = "X", value_parser = parse::number)]
    pub temp: Option<f32>,
    /// Keep the K likeliest tokens (0 = all)
    #[arg(long, value_name = "K", default_value = "40")]
    pub top_k: usize,
    /// Keep the likeliest tokens that together have probability P (1 = all) [default: 0.95, or what suits a known model]
    #[arg(long, value_name = "P", value_parser = parse::probability)]
    pub top_p: Option<f32>,
    /// Keep tokens with at least P times the probability of the likeliest (0 = all)
    #[arg(long, value_name = "P", default_value = "0.05", value_parser = parse::probability)]
    pub min_p: f32,
    /// Keep the tokens that are about as surprising as expected, up to probability P (1 = all)
    #[arg(long, visible_alias = "typical", value_name = "P", default_value = "1", value_parser = parse::probability)]
    pub typical_p: f32,
    /// Keep tokens whose logit is within X standard deviations of the highest (negative = all)
    #[arg(long, visible_alias = "top-nsigma", value_name = "X", default_value = "-1", allow_negative_numbers = true, value_parser = parse::number)]
    pub top_n_sigma: f32,
    /// Probability of removing the likeliest tokens (XTC; 0 = off)
    #[arg(long, value_name = "P", default_value = "0", value_parser = parse::probability)]
    pub xtc_probability: f32,
    /// What XTC may remove: all but the last of the tokens above this probability (over 0.5 = off)
    #[arg(long, value_name = "P", default_value = "0.1", value_parser = parse::probability)]
    pub xtc_threshold: f32,
    /// The seed of the random choices; the same one gives the same answer [default: random]
    #[arg(short, long, value_name = "SEED")]
    pub seed: Option<u64>,
    /// Divide the logits of tokens seen lately by X (1 = off)
    #[arg(long, value_name = "X", default_value = "1", value_parser = parse::factor)]
    pub repeat_penalty: f32,
    /// How many of the last tokens count as seen (0 = none, -1 = the whole context)
    #[arg(long, value_name = "N", default_value = "64", allow_negative_numbers = true, value_parser = parse::last_n)]
    pub repeat_last_n: parse::LastN,
    /// Subtract X from the logits of tokens seen lately (0 = off)
    #[arg(long, value_name = "X", default_value = "0", allow_negative_numbers = true, value_parser = parse::number)]
    pub presence_penalty: f32,
    /// Subtract X from the logits of tokens, for each time seen lately (0 = off)
    #[arg(long, value_name = "X", default_value = "0", allow_negative_numbers = true, value_parser = parse::number)]
    pub frequency_penalty: f32,
    /// Penalize tokens that would go on with a repeated sequence (DRY; 0 = off)
    #[arg(long, value_name = "X", default_value = "0", value_parser = parse::number)]
    pub dry_multiplier: f32,
    /// DRY: the penalty grows by this factor with each repeated token
    #[arg(long, value_name = "X", default_value = "1.75", value_parser = parse::number)]
    pub dry_base: f32,
    /// DRY: repeated sequences up to this length are free
    #[arg(long, value_name = "N", default_value = "2")]
    pub dry_allowed_length: usize,
    /// DRY: how many of the last tokens to look at (0 = none, -1 = the whole context)
    #[arg(long, value_name = "N", default_value = "64", allow_negative_numbers = true, value_parser = parse::last_n)]
    pub dry_penalty_last_n: parse::LastN,
    /// DRY: a text that ends a sequence (repeat for several; `none` for none) [default: newline : " *]
    #[arg(long, value_name = "TEXT")]
    pub dry_sequence_breaker: Vec<String>,
    /// Let the temperature vary by ±X with the entropy (0 = off)
    #[arg(long, value_name = "X", default_value = "0", value_parser = parse::number)]
    pub dynatemp_range: f32,
    /// How entropy maps to the dynamic temperature
    #[arg(long, value_name = "X", default_value = "1", value_parser = parse::number)]
    pub dynatemp_exp: f32,
    /// Mirostat: 0 = off, 1, 2 = version 2.0; it replaces all samplers but the temperature
    #[arg(long, value_name = "VERSION", default_value = "0", value_parser = clap::value_parser!(u8).range(0..=2))]
    pub mirostat: u8,
    /// Mirostat: target entropy
    #[arg(long, value_name = "TAU", default_value = "5", value_parser = parse::number)]
    pub mirostat_ent: f32,
    /// Mirostat: learning rate
    #[arg(long, value_name = "ETA", default_value = "0.1", value_parser = parse::number)]
    pub mirostat_lr: f32,
    /// Add a number to a token's logit: 15043+1.5, 15043-1, 15043-inf (repeat for several)
    #[arg(short, long, value_name = "ID±X", value_parser = parse::logit_bias)]
    pub logit_bias: Vec<(u32, f32)>,
    /// Never choose a token that ends the answer
    #[arg(long)]
    pub ignore_eos: bool,
    /// The samplers and their order, separated by ; [default: penalties;dry;top_n_sigma;top_k;typ_p;top_p;min_p;xtc;temperature]
    #[arg(long, value_name = "NAME;…")]
    pub samplers: Option<String>,
}
