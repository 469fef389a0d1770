//! What may be said with everything that is to be continued: how to sample, when to end, what to report.

use serde::Deserialize;
use utoipa::ToSchema;
use woolly_engine::sampler::{self, Params, Stage};
use woolly_engine::tokenizer::Tokenizer;

use super::error::{ApiError, Result};
use super::form::ResponseFormat;

/// The most answers that one request may ask for.
pub const MAX_CHOICES: usize = 128;

/// The most likely tokens whose probabilities can be asked for.
const MAX_TOP: usize = 1000;

/// The most stop strings, and the longest one's bytes.
const MAX_STOPS: usize = 64;
const MAX_STOP_BYTES: usize = 4096;

/// Options of every request for a continuation. Names are OpenAI's, and llama-server's where that has more. Absent, or
/// `null`: as the server was started.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[schema(example = json!({ "max_tokens": 16, "temperature": 0.7 }))]
pub struct Options {
    /// The model, by its name.
    pub model: Option<String>,
    /// Whether to send the answer as it comes, as server-sent events.
    pub stream: Option<bool>,
    /// What to send at the end of a stream.
    pub stream_options: Option<StreamOptions>,
    /// How many answers.
    #[schema(minimum = 1, maximum = 128)]
    pub n: Option<usize>,
    /// llama-server's name for `n`.
    #[schema(minimum = 1, maximum = 128)]
    pub n_cmpl: Option<usize>,
    /// The most tokens to generate; -1: until the model ends or the context is full.
    #[schema(minimum = -1)]
    pub max_tokens: Option<i64>,
    /// OpenAI's newer name for `max_tokens`.
    #[schema(minimum = -1)]
    pub max_completion_tokens: Option<i64>,
    /// llama-server's name for `max_tokens`.
    #[schema(minimum = -1)]
    pub n_predict: Option<i64>,
    /// Texts that end the answer, which does not contain them.
    pub stop: Option<Texts>,
    /// Ole's name for `stop`.
    pub stop_sequences: Option<Texts>,
    /// The seed of the random choices; negative: a random one.
    pub seed: Option<i64>,
    /// Temperature; 0 always takes the likeliest token.
    pub temperature: Option<f32>,
    /// The temperature moves within ± this with the entropy.
    #[schema(minimum = 0)]
    pub dynatemp_range: Option<f32>,
    /// How entropy maps to the dynamic temperature.
    pub dynatemp_exponent: Option<f32>,
    /// Keep the likeliest tokens; 0 or less: all.
    pub top_k: Option<i64>,
    /// Keep the likeliest tokens that together have this probability.
    #[schema(minimum = 0, maximum = 1)]
    pub top_p: Option<f32>,
    /// Keep tokens with at least this share of the likeliest one's probability.
    #[schema(minimum = 0, maximum = 1)]
    pub min_p: Option<f32>,
    /// Keep tokens that are about as surprising as expected.
    #[schema(minimum = 0, maximum = 1)]
    pub typical_p: Option<f32>,
    /// Keep tokens whose logit is within so many standard deviations of the highest.
    pub top_n_sigma: Option<f32>,
    /// Probability of removing the likeliest tokens (XTC).
    #[schema(minimum = 0, maximum = 1)]
    pub xtc_probability: Option<f32>,
    /// What XTC may remove.
    #[schema(minimum = 0, maximum = 1)]
    pub xtc_threshold: Option<f32>,
    /// Divides the logits of tokens seen lately.
    pub repeat_penalty: Option<f32>,
    /// Ole's name for `repeat_penalty`.
    pub repetition_penalty: Option<f32>,
    /// How many of the last tokens count as seen; -1: all.
    #[schema(minimum = -1)]
    pub repeat_last_n: Option<i64>,
    /// Subtracted from the logits of tokens seen lately.
    pub presence_penalty: Option<f32>,
    /// Subtracted from the logits of tokens, for each time seen lately.
    pub frequency_penalty: Option<f32>,
    /// Scale of the penalty for going on with a repeated sequence (DRY).
    #[schema(minimum = 0)]
    pub dry_multiplier: Option<f32>,
    /// DRY: the factor for each repeated token.
    pub dry_base: Option<f32>,
    /// DRY: the longest sequence that may repeat.
    #[schema(minimum = 0)]
    pub dry_allowed_length: Option<usize>,
    /// DRY: how many of the last tokens to look at; -1: all.
    #[schema(minimum = -1)]
    pub dry_penalty_last_n: Option<i64>,
    /// DRY: texts that end a sequence.
    pub dry_sequence_breakers: Option<Vec<String>>,
    /// Mirostat: 0 is off, 1, or 2 for version 2.0.
    #[schema(minimum = 0, maximum = 2)]
    pub mirostat: Option<u8>,
    /// Mirostat: target entropy.
    #[schema(minimum = 0)]
    pub mirostat_tau: Option<f32>,
    /// Mirostat: learning rate.
    pub mirostat_eta: Option<f32>,
    /// The samplers, in order.
    pub samplers: Option<Texts>,
    /// Samplers that drop tokens leave at least so many.
    #[schema(minimum = 0)]
    pub min_keep: Option<usize>,
    /// Added to the logits of tokens.
    pub logit_bias: Option<LogitBias>,
    /// Never choose a token that ends the answer.
    pub ignore_eos: Option<bool>,
    /// With each token, report so many of the likeliest ones with their probabilities.
    #[schema(minimum = 0, maximum = 1000)]
    pub n_probs: Option<usize>,
    /// Report the probabilities that the sampler drew from, rather than the model's.
    pub post_sampling_probs: Option<bool>,
    /// Whether what the prompt has in common with an earlier one may be taken from the cache.
    pub cache_prompt: Option<bool>,
    /// The slot to use; -1: any.
    #[schema(minimum = -1)]
    pub id_slot: Option<i64>,
    /// Report the tokens' ids.
    pub return_tokens: Option<bool>,
    /// In a stream, report how far the prompt is.
    pub return_progress: Option<bool>,
    /// In a stream, report timings with each token.
    pub timings_per_token: Option<bool>,
    /// In a stream, seconds of silence after which a comment is sent; -1: none.
    #[schema(minimum = -1)]
    pub sse_ping_interval: Option<i64>,
    /// Report what the model was asked, in `__verbose`.
    pub verbose: Option<bool>,
    /// The form of the answer.
    pub response_format: Option<ResponseFormat>,
    /// The answer matches this grammar, in llama.cpp's notation, GBNF.
    pub grammar: Option<String>,
    /// The answer is JSON that conforms to this JSON schema.
    pub json_schema: Option<serde_json::Value>,
    /// Adapters; this server has none.
    pub lora: Option<Vec<serde_json::Value>>,
}

/// What to send at the end of a stream.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
pub struct StreamOptions {
    /// How many tokens were used.
    pub include_usage: Option<bool>,
}

/// A text, or several.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(untagged, expecting = "expected a text or a list of texts")]
pub enum Texts {
    /// One.
    One(String),
    /// Several.
    Many(Vec<String>),
}

impl Texts {
    /// All of them.
    pub fn list(&self) -> &[String] {
        match self {
            Self::One(text) => std::slice::from_ref(text),
            Self::Many(texts) => texts,
        }
    }
}

/// Numbers that are added to the logits of tokens: OpenAI's object, or llama-server's list of pairs.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(untagged, expecting = "expected an object such as {\"15043\": 1.5}, or a list of pairs such as [15043, 1.5]")]
pub enum LogitBias {
    /// By token id, or by text.
    Object(std::collections::BTreeMap<String, Bias>),
    /// Pairs of a token's id or a text, and a number.
    List(Vec<(Tokens, Bias)>),
}

/// A token, or the tokens of a text.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(untagged, expecting = "expected a token id or a text")]
pub enum Tokens {
    /// A token's id.
    Id(u32),
    /// A text.
    Text(String),
}

/// What is added to a logit.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(untagged, expecting = "expected a number, or false for a token that is never to be chosen")]
pub enum Bias {
    /// A number.
    Number(f32),
    /// `false`: the token is never chosen.
    Never(bool),
}

impl Options {
    /// Says what is asked for that this server does not have, rather than leave it out silently.
    pub fn check(&self) -> Result<()> {
        if self.lora.as_ref().is_some_and(|adapters| !adapters.is_empty()) {
            return Err(ApiError::field("lora", "adapters are not supported"));
        }
        Ok(())
    }

    /// How many answers.
    pub fn choices(&self) -> Result<usize> {
        let (name, n) = match (self.n, self.n_cmpl) {
            (None, Some(n)) => ("n_cmpl", n),
            (n, _) => ("n", n.unwrap_or(1)),
        };
        if (1..=MAX_CHOICES).contains(&n) {
            Ok(n)
        } else {
            Err(ApiError::field(name, format!("expected a number from 1 to {MAX_CHOICES}")))
        }
    }

    /// Whether to stream.
    pub fn streams(&self) -> bool {
        self.stream.unwrap_or(false)
    }

    /// Whether a stream ends with the number of tokens.
    pub fn includes_usage(&self) -> bool {
        self.stream_options.as_ref().and_then(|options| options.include_usage).unwrap_or(false)
    }

    /// The most tokens to generate, where `default` holds if nothing is said; `None`: no limit.
    pub fn max_tokens(&self, default: Option<usize>) -> Result<Option<usize>> {
        let names = [
            ("max_completion_tokens", self.max_completion_tokens),
            ("max_tokens", self.max_tokens),
            ("n_predict", self.n_predict),
        ];
        let Some((name, wanted)) = names.into_iter().find_map(|(name, value)| Some((name, value?))) else {
            return Ok(default);
        };
        match usize::try_from(wanted) {
            Ok(wanted) => Ok(Some(wanted)),
            Err(_) if wanted == -1 => Ok(None),
            Err(_) => Err(ApiError::field(name, "expected -1 (no limit), 0 or a number of tokens")),
        }
    }

    /// The texts that end the answer.
    pub fn stops(&self) -> Result<Vec<String>> {
        let (name, texts) = match (&self.stop, &self.stop_sequences) {
            (None, Some(texts)) => ("stop_sequences", texts.list()),
            (stop, _) => ("stop", stop.as_ref().map_or(&[][..], Texts::list)),
        };
        if texts.len() > MAX_STOPS || texts.iter().any(|text| text.len() > MAX_STOP_BYTES) {
            let expected = format!("expected at most {MAX_STOPS} texts of at most {MAX_STOP_BYTES} bytes");
            return Err(ApiError::field(name, expected));
        }
        Ok(texts.iter().filter(|text| !text.is_empty()).cloned().collect())
    }

    /// How many of the likeliest tokens to report, as llama-server's clients ask for it.
    pub fn top(&self) -> Result<Option<usize>> {
        match self.n_probs {
            Some(n) if n > MAX_TOP => Err(ApiError::field("n_probs", format!("expected at most {MAX_TOP}"))),
            n => Ok(n.filter(|n| *n > 0)),
        }
    }

    /// The slot.
    pub fn slot(&self) -> Result<Option<usize>> {
        match self.id_slot {
            None | Some(-1) => Ok(None),
            Some(id) => usize::try_from(id)
                .map(Some)
                .map_err(|_| ApiError::field("id_slot", "expected -1 (any) or the number of a slot")),
        }
    }

    /// How to choose tokens, where `defaults` says what is not said here. The seed is drawn where none is given.
    pub fn params(&self, defaults: &Params, tokenizer: &Tokenizer, context: usize) -> Result<Params> {
        let or = |value: Option<f32>, default: f32| value.unwrap_or(default);
        let params = Params {
            seed: self.seed(defaults.seed)?,
            samplers: self.stages()?.unwrap_or_else(|| defaults.samplers.clone()),
            logit_bias: self.biases(tokenizer)?.unwrap_or_else(|| defaults.logit_bias.clone()),
            ignore_eos: self.ignore_eos.unwrap_or(defaults.ignore_eos),
            min_keep: self.min_keep.unwrap_or(defaults.min_keep),
            temp: or(self.temperature, defaults.temp),
            dynatemp_range: or(self.dynatemp_range, defaults.dynatemp_range),
            dynatemp_exponent: or(self.dynatemp_exponent, defaults.dynatemp_exponent),
            top_k: self.top_k.map_or(defaults.top_k, |k| usize::try_from(k).unwrap_or(0)),
            top_p: or(self.top_p, defaults.top_p),
            min_p: or(self.min_p, defaults.min_p),
            typ_p: or(self.typical_p, defaults.typ_p),
            top_n_sigma: or(self.top_n_sigma, defaults.top_n_sigma),
            xtc_probability: or(self.xtc_probability, defaults.xtc_probability),
            xtc_threshold: or(self.xtc_threshold, defaults.xtc_threshold),
            penalty_last_n: last_n("repeat_last_n", self.repeat_last_n, defaults.penalty_last_n, context)?,
            penalty_repeat: or(self.repeat_penalty.or(self.repetition_penalty), defaults.penalty_repeat),
            penalty_freq: or(self.frequency_penalty, defaults.penalty_freq),
            penalty_present: or(self.presence_penalty, defaults.penalty_present),
            dry_multiplier: or(self.dry_multiplier, defaults.dry_multiplier),
            dry_base: or(self.dry_base, defaults.dry_base),
            dry_allowed_length: self.dry_allowed_length.unwrap_or(defaults.dry_allowed_length),
            dry_penalty_last_n: last_n(
                "dry_penalty_last_n",
                self.dry_penalty_last_n,
                defaults.dry_penalty_last_n,
                context,
            )?,
            dry_sequence_breakers: self.breakers()?.unwrap_or_else(|| defaults.dry_sequence_breakers.clone()),
            mirostat: self.mirostat.unwrap_or(defaults.mirostat),
            mirostat_tau: or(self.mirostat_tau, defaults.mirostat_tau),
            mirostat_eta: or(self.mirostat_eta, defaults.mirostat_eta),
        };
        params.check().map_err(refused)?;
        Ok(params)
    }

    /// OpenAI's negative seeds do not exist; llama-server's -1 means a random one.
    fn seed(&self, default: u64) -> Result<u64> {
        match self.seed {
            None => Ok(default),
            Some(seed) => u64::try_from(seed).or_else(|_| random_seed()),
        }
    }

    fn stages(&self) -> Result<Option<Vec<Stage>>> {
        let Some(names) = &self.samplers else { return Ok(None) };
        let stages = match names {
            Texts::One(names) => Stage::parse_list(names),
            Texts::Many(names) => names.iter().map(|name| name.parse()).collect(),
        };
        stages.map(Some).map_err(|cause| ApiError::field("samplers", cause))
    }

    fn breakers(&self) -> Result<Option<Vec<String>>> {
        let Some(texts) = &self.dry_sequence_breakers else { return Ok(None) };
        if texts.len() > MAX_STOPS || texts.iter().any(|text| text.len() > MAX_STOP_BYTES) {
            let expected = format!("expected at most {MAX_STOPS} texts of at most {MAX_STOP_BYTES} bytes");
            return Err(ApiError::field("dry_sequence_breakers", expected));
        }
        Ok(Some(texts.clone()))
    }

    fn biases(&self, tokenizer: &Tokenizer) -> Result<Option<Vec<(u32, f32)>>> {
        let mut biases = Vec::new();
        let mut add = |tokens: Vec<u32>, bias: Bias| -> Result<()> {
            let bias = bias.value()?;
            let outside = tokens.iter().find(|id| **id as usize >= tokenizer.vocab_len());
            if let Some(id) = outside {
                let expected = format!("{id} is no token: expected less than {}", tokenizer.vocab_len());
                return Err(ApiError::field("logit_bias", expected));
            }
            biases.extend(tokens.into_iter().map(|id| (id, bias)));
            Ok(())
        };
        let encode = |text: &str| tokenizer.encode(text.as_bytes(), false, true);
        match &self.logit_bias {
            None => return Ok(None),
            Some(LogitBias::Object(entries)) => {
                for (key, bias) in entries {
                    add(key.parse().map_or_else(|_| encode(key), |id| vec![id]), *bias)?;
                }
            }
            Some(LogitBias::List(entries)) => {
                for (tokens, bias) in entries {
                    let tokens = match tokens {
                        Tokens::Id(id) => vec![*id],
                        Tokens::Text(text) => encode(text),
                    };
                    add(tokens, *bias)?;
                }
            }
        }
        Ok(Some(biases))
    }
}

impl Bias {
    fn value(self) -> Result<f32> {
        match self {
            Self::Number(number) if number.is_finite() => Ok(number),
            Self::Never(false) => Ok(f32::NEG_INFINITY),
            Self::Number(_) => Err(ApiError::field("logit_bias", "expected finite numbers")),
            Self::Never(true) => Err(ApiError::field("logit_bias", "expected a number or false, found true")),
        }
    }
}

/// A seed from the system's source of randomness. Of 32 bits, so that people can type it.
pub fn random_seed() -> Result<u64> {
    crate::sampling::seed(None).map_err(|cause| ApiError::internal(cause.to_string()))
}

fn last_n(name: &str, given: Option<i64>, default: usize, context: usize) -> Result<usize> {
    match given {
        None => Ok(default.min(context)),
        Some(-1) => Ok(context),
        Some(n) => usize::try_from(n)
            .map(|n| n.min(context))
            .map_err(|_| ApiError::field(name, "expected -1 (all), 0 (none) or a number of tokens")),
    }
}

/// The engine's names of parameters are llama.cpp's own; clients know those of its server.
fn refused(error: sampler::Error) -> ApiError {
    match error {
        sampler::Error::Range { name, value, expected } => {
            ApiError::field(field_of(name), format!("{value} is out of range, expected {expected}"))
        }
        other => ApiError::invalid(other.to_string()),
    }
}

fn field_of(parameter: &'static str) -> &'static str {
    match parameter {
        "temp" => "temperature",
        "typ_p" => "typical_p",
        "penalty_repeat" => "repeat_penalty",
        "penalty_freq" => "frequency_penalty",
        "penalty_present" => "presence_penalty",
        other => other,
    }
}
