//! What a sampler can be told, its ranges and defaults, and what is wrong with a value.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

/// Why a sampler cannot be made.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A parameter is outside its range.
    #[error("sampling parameter {name} is {value}, expected {expected}")]
    Range {
        /// The field of [`Params`].
        name: &'static str,
        /// What it was set to.
        value: f64,
        /// The values that it may take.
        expected: &'static str,
    },
    /// A name in the list of samplers is unknown.
    #[error(
        "unknown sampler {0:?}, expected penalties, dry, top_n_sigma, top_k, typ_p, top_p, min_p, xtc or temperature"
    )]
    UnknownStage(String),
    /// A bias names a token that the vocabulary lacks.
    #[error("logit bias for token {token}, but the vocabulary has {vocabulary} tokens")]
    BiasToken {
        /// The token id.
        token: u32,
        /// Size of the vocabulary.
        vocabulary: usize,
    },
}

/// One step of the sampling chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "chat", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "chat", serde(try_from = "String", into = "&'static str"))]
pub enum Stage {
    /// Repetition, frequency and presence penalties.
    Penalties,
    /// DRY: a penalty for tokens that would continue a repeated sequence.
    Dry,
    /// Keeps tokens within some standard deviations of the best logit.
    TopNSigma,
    /// Keeps the k best tokens.
    TopK,
    /// Keeps tokens whose surprise is near the expected one.
    TypicalP,
    /// Keeps the best tokens that together have a probability.
    TopP,
    /// Keeps tokens at least some fraction as probable as the best.
    MinP,
    /// Now and then drops the most probable tokens.
    Xtc,
    /// Divides the logits by a temperature, fixed or by entropy.
    Temperature,
}

impl Stage {
    /// The usual order.
    pub const DEFAULT_ORDER: [Stage; 9] = [
        Stage::Penalties,
        Stage::Dry,
        Stage::TopNSigma,
        Stage::TopK,
        Stage::TypicalP,
        Stage::TopP,
        Stage::MinP,
        Stage::Xtc,
        Stage::Temperature,
    ];

    /// The name that [`FromStr`] reads and [`fmt::Display`] writes.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Penalties => "penalties",
            Stage::Dry => "dry",
            Stage::TopNSigma => "top_n_sigma",
            Stage::TopK => "top_k",
            Stage::TypicalP => "typ_p",
            Stage::TopP => "top_p",
            Stage::MinP => "min_p",
            Stage::Xtc => "xtc",
            Stage::Temperature => "temperature",
        }
    }

    /// Reads a list of names separated by `;` or `,`.
    pub fn parse_list(names: &str) -> Result<Vec<Stage>, Error> {
        names.split([';', ',']).map(str::trim).filter(|name| !name.is_empty()).map(str::parse).collect()
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Stage {
    type Err = Error;

    /// Letter case, `_` and `-` do not matter; `temp`, `typ`, `typical`, `typical_p` and `nucleus` are known too.
    fn from_str(name: &str) -> Result<Stage, Error> {
        let plain: String = name.chars().filter(|c| !matches!(c, '_' | '-')).flat_map(char::to_lowercase).collect();
        let by_name = |stage: &Stage| stage.name().chars().filter(|&c| c != '_').eq(plain.chars());
        if let Some(stage) = Stage::DEFAULT_ORDER.into_iter().find(|stage| by_name(stage)) {
            return Ok(stage);
        }
        match plain.as_str() {
            "temp" => Ok(Stage::Temperature),
            "typ" | "typical" | "typicalp" => Ok(Stage::TypicalP),
            "nucleus" => Ok(Stage::TopP),
            _ => Err(Error::UnknownStage(name.to_string())),
        }
    }
}

impl TryFrom<String> for Stage {
    type Error = Error;

    fn try_from(name: String) -> Result<Stage, Error> {
        name.parse()
    }
}

impl From<Stage> for &'static str {
    fn from(stage: Stage) -> &'static str {
        stage.name()
    }
}

/// How to choose the next token. Names and defaults are llama.cpp's.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "chat", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "chat", serde(default, deny_unknown_fields))]
pub struct Params {
    /// Seed of the random numbers. The same seed, logits and history give the same tokens. A host that wants another
    /// answer each time draws one: the engine has no entropy of its own. Default 0.
    pub seed: u64,
    /// The chain, in order. A stage that is left out is not applied. Default [`Stage::DEFAULT_ORDER`].
    pub samplers: Vec<Stage>,
    /// Added to the logits of these tokens before everything else; -inf bans a token. Default none.
    pub logit_bias: Vec<(u32, f32)>,
    /// Ban every token that ends the generation. Default false.
    pub ignore_eos: bool,
    /// Stages that drop tokens leave at least this many. Default 0.
    pub min_keep: usize,
    /// Temperature, any finite number; 0 or less takes the best token. Default 0.8.
    pub temp: f32,
    /// With a value above 0 the temperature moves by entropy in `temp ± dynatemp_range`. 0 or more, default 0.
    pub dynatemp_range: f32,
    /// Exponent on the normalised entropy for the dynamic temperature. Above 0, default 1.
    pub dynatemp_exponent: f32,
    /// Keep the k best tokens; 0 keeps all. Default 40.
    pub top_k: usize,
    /// Keep the best tokens that together reach this probability. In [0, 1]; 1 keeps all. Default 0.95.
    pub top_p: f32,
    /// Keep tokens with at least this fraction of the best one's probability. In [0, 1]; 0 keeps all. Default 0.05.
    pub min_p: f32,
    /// Keep tokens nearest to the expected surprise that together reach this probability. In [0, 1]; 1 keeps all.
    /// Default 1.
    pub typ_p: f32,
    /// Keep tokens within this many standard deviations of the best logit; 0 or less keeps all. Default -1.
    pub top_n_sigma: f32,
    /// Chance that XTC acts on a token. In [0, 1], default 0.
    pub xtc_probability: f32,
    /// XTC drops all tokens this probable but the least of them. In [0, 1]; above 0.5 it never acts. Default 0.1.
    pub xtc_threshold: f32,
    /// How many of the last tokens the penalties look at; 0 turns them off. Default 64.
    pub penalty_last_n: usize,
    /// Divides positive and multiplies negative logits of recent tokens. Above 0; 1 does nothing. Default 1.
    pub penalty_repeat: f32,
    /// Subtracted from a recent token's logit once per occurrence. Finite, default 0.
    pub penalty_freq: f32,
    /// Subtracted from a recent token's logit once. Finite, default 0.
    pub penalty_present: f32,
    /// Scale of the DRY penalty `multiplier * base^(length - allowed_length)`. 0 turns it off. Default 0.
    pub dry_multiplier: f32,
    /// Base of the DRY penalty. Below 1 turns it off. Default 1.75.
    pub dry_base: f32,
    /// Repeats shorter than this are free. Default 2.
    pub dry_allowed_length: usize,
    /// How many of the last tokens DRY looks at; 0 turns it off. Default 64.
    pub dry_penalty_last_n: usize,
    /// Texts that a repeat does not cross. Default `"\n"`, `":"`, `"\""` and `"*"`.
    pub dry_sequence_breakers: Vec<String>,
    /// 0: the chain above. 1 or 2: Mirostat of that version, which replaces all stages but the bias and `temp`.
    /// Default 0.
    pub mirostat: u8,
    /// Mirostat's target surprise in bits. 0 or more, default 5.
    pub mirostat_tau: f32,
    /// Mirostat's learning rate. Finite, default 0.1.
    pub mirostat_eta: f32,
}

impl Default for Params {
    fn default() -> Params {
        Params {
            seed: 0,
            samplers: Stage::DEFAULT_ORDER.to_vec(),
            logit_bias: Vec::new(),
            ignore_eos: false,
            min_keep: 0,
            temp: 0.8,
            dynatemp_range: 0.0,
            dynatemp_exponent: 1.0,
            top_k: 40,
            top_p: 0.95,
            min_p: 0.05,
            typ_p: 1.0,
            top_n_sigma: -1.0,
            xtc_probability: 0.0,
            xtc_threshold: 0.1,
            penalty_last_n: 64,
            penalty_repeat: 1.0,
            penalty_freq: 0.0,
            penalty_present: 0.0,
            dry_multiplier: 0.0,
            dry_base: 1.75,
            dry_allowed_length: 2,
            dry_penalty_last_n: 64,
            dry_sequence_breakers: ["\n", ":", "\"", "*"].map(String::from).to_vec(),
            mirostat: 0,
            mirostat_tau: 5.0,
            mirostat_eta: 0.1,
        }
    }
}

impl Params {
    /// The best token every time.
    pub fn greedy() -> Params {
        Params { temp: 0.0, ..Params::default() }
    }

    /// Says what is wrong with the first bad field.
    pub fn check(&self) -> Result<(), Error> {
        let finite = |x: f32| x.is_finite();
        let positive = |x: f32| x.is_finite() && x > 0.0 && (1.0 / x).is_finite();
        let not_negative = |x: f32| x.is_finite() && x >= 0.0;
        let unit = |x: f32| (0.0..=1.0).contains(&x);
        let rows = [
            ("temp", self.temp, finite(self.temp), "a finite number"),
            ("dynatemp_range", self.dynatemp_range, not_negative(self.dynatemp_range), "0 or more"),
            ("dynatemp_exponent", self.dynatemp_exponent, positive(self.dynatemp_exponent), "a number above 0"),
            ("top_p", self.top_p, unit(self.top_p), "a number from 0 to 1"),
            ("min_p", self.min_p, unit(self.min_p), "a number from 0 to 1"),
            ("typ_p", self.typ_p, unit(self.typ_p), "a number from 0 to 1"),
            ("top_n_sigma", self.top_n_sigma, finite(self.top_n_sigma), "a finite number"),
            ("xtc_probability", self.xtc_probability, unit(self.xtc_probability), "a number from 0 to 1"),
            ("xtc_threshold", self.xtc_threshold, unit(self.xtc_threshold), "a number from 0 to 1"),
            ("penalty_repeat", self.penalty_repeat, positive(self.penalty_repeat), "a number above 0"),
            ("penalty_freq", self.penalty_freq, finite(self.penalty_freq), "a finite number"),
            ("penalty_present", self.penalty_present, finite(self.penalty_present), "a finite number"),
            ("dry_multiplier", self.dry_multiplier, not_negative(self.dry_multiplier), "0 or more"),
            ("dry_base", self.dry_base, finite(self.dry_base), "a finite number"),
            ("mirostat", f32::from(self.mirostat), self.mirostat <= 2, "0, 1 or 2"),
            ("mirostat_tau", self.mirostat_tau, not_negative(self.mirostat_tau), "0 or more"),
            ("mirostat_eta", self.mirostat_eta, finite(self.mirostat_eta), "a finite number"),
        ];
        if let Some((name, value, _, expected)) = rows.into_iter().find(|(_, _, fits, _)| !fits) {
            return Err(Error::Range { name, value: f64::from(value), expected });
        }
        match self.logit_bias.iter().find(|(_, bias)| bias.is_nan()) {
            Some(_) => Err(Error::Range { name: "logit_bias", value: f64::NAN, expected: "a number" }),
            None => Ok(()),
        }
    }
}
