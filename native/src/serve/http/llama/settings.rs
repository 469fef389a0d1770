//! How a continuation was made, as llama-server reports it.

use serde::Serialize;
use utoipa::ToSchema;
use woolly_engine::sampler::Params;
use woolly_engine::session::Until;
use woolly_engine::tokenizer::Tokenizer;

/// llama-server's "no limit".
const UNLIMITED: i64 = -1;

/// How a continuation is made.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct GenerationSettings {
    n_predict: i64,
    max_tokens: i64,
    seed: u64,
    temperature: f32,
    dynatemp_range: f32,
    dynatemp_exponent: f32,
    top_k: usize,
    top_p: f32,
    min_p: f32,
    top_n_sigma: f32,
    xtc_probability: f32,
    xtc_threshold: f32,
    typical_p: f32,
    repeat_last_n: usize,
    repeat_penalty: f32,
    presence_penalty: f32,
    frequency_penalty: f32,
    dry_multiplier: f32,
    dry_base: f32,
    dry_allowed_length: usize,
    dry_penalty_last_n: usize,
    dry_sequence_breakers: Vec<String>,
    mirostat: u8,
    mirostat_tau: f32,
    mirostat_eta: f32,
    /// Negative: this sampler of llama-server's is off.
    adaptive_target: f32,
    adaptive_decay: f32,
    stop: Vec<String>,
    ignore_eos: bool,
    stream: bool,
    logit_bias: Vec<BiasEntry>,
    n_probs: usize,
    min_keep: usize,
    grammar: String,
    samplers: Vec<&'static str>,
    timings_per_token: bool,
    post_sampling_probs: bool,
}

/// A number that is added to a token's logit.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct BiasEntry {
    token: u32,
    /// `null`: the token is never chosen.
    bias: Option<f32>,
}

/// What is reported beside the sampling.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reported {
    /// Whether the answer is streamed.
    pub stream: bool,
    /// How many of the likeliest tokens are reported.
    pub top: usize,
    /// Whether timings come with each token.
    pub timings_per_token: bool,
    /// Whether probabilities are those after sampling.
    pub post_sampling: bool,
}

impl GenerationSettings {
    /// What `params` and `until` say.
    pub fn new(params: &Params, until: &Until, reported: Reported, tokenizer: &Tokenizer) -> Self {
        let limit = until.max_tokens.map_or(UNLIMITED, |n| i64::try_from(n).unwrap_or(i64::MAX));
        Self {
            n_predict: limit,
            max_tokens: limit,
            seed: params.seed,
            temperature: params.temp,
            dynatemp_range: params.dynatemp_range,
            dynatemp_exponent: params.dynatemp_exponent,
            top_k: params.top_k,
            top_p: params.top_p,
            min_p: params.min_p,
            top_n_sigma: params.top_n_sigma,
            xtc_probability: params.xtc_probability,
            xtc_threshold: params.xtc_threshold,
            typical_p: params.typ_p,
            repeat_last_n: params.penalty_last_n,
            repeat_penalty: params.penalty_repeat,
            presence_penalty: params.penalty_present,
            frequency_penalty: params.penalty_freq,
            dry_multiplier: params.dry_multiplier,
            dry_base: params.dry_base,
            dry_allowed_length: params.dry_allowed_length,
            dry_penalty_last_n: params.dry_penalty_last_n,
            dry_sequence_breakers: params.dry_sequence_breakers.clone(),
            mirostat: params.mirostat,
            mirostat_tau: params.mirostat_tau,
            mirostat_eta: params.mirostat_eta,
            adaptive_target: -1.0,
            adaptive_decay: 0.0,
            stop: until.stop.clone(),
            ignore_eos: params.ignore_eos,
            stream: reported.stream,
            logit_bias: biases(params, tokenizer),
            n_probs: reported.top,
            min_keep: params.min_keep,
            grammar: String::new(),
            samplers: params.samplers.iter().map(|stage| stage.name()).collect(),
            timings_per_token: reported.timings_per_token,
            post_sampling_probs: reported.post_sampling,
        }
    }

    /// The same, where a grammar holds the answer to a form.
    pub fn with_grammar(self, grammar: &str) -> Self {
        Self { grammar: grammar.to_owned(), ..self }
    }
}

/// With `ignore_eos`, the tokens that end an answer are among those that are never chosen.
fn biases(params: &Params, tokenizer: &Tokenizer) -> Vec<BiasEntry> {
    let given = params.logit_bias.iter().map(|(token, bias)| (*token, *bias));
    let ends = (0..tokenizer.vocab_len() as u32).filter(|id| params.ignore_eos && tokenizer.is_end(*id));
    let all = given.chain(ends.map(|token| (token, f32::NEG_INFINITY)));
    all.map(|(token, bias)| BiasEntry { token, bias: Some(bias).filter(|bias| bias.is_finite()) }).collect()
}
