//! From the options of the command line to the engine's sampler.

use woolly_engine::sampler::{Params, Sampler, Stage};

use crate::cli::Sampling;
use crate::error::{Error, Result};
use crate::load::Loaded;
use crate::store::Advice;

/// The seed: the one given, or one from the system's source of randomness. Of 32 bits, so that people can type it.
pub fn seed(given: Option<u64>) -> Result<u64> {
    let random = || getrandom::u32().map_err(|cause| Error::other("the system gives no random seed").because(cause));
    given.map_or_else(|| random().map(u64::from), Ok)
}

/// A sampler for a model that `seed` starts.
pub fn sampler(args: &Sampling, seed: u64, context: usize, loaded: &Loaded) -> Result<Sampler> {
    let params = params(args, seed, context, loaded.advice)?;
    Sampler::new(&params, loaded.model.tokenizer())
        .map_err(|cause| Error::usage("cannot sample like this").because(cause))
}

/// What the options say; where they say nothing, what suits the model.
pub fn params(args: &Sampling, seed: u64, context: usize, advice: Option<Advice>) -> Result<Params> {
    let stages = args.samplers.as_deref().map(Stage::parse_list).transpose();
    let defaults = Params::default();
    Ok(Params {
        seed,
        samplers: stages.map_err(|cause| Error::usage("--samplers").because(cause))?.unwrap_or(defaults.samplers),
        logit_bias: args.logit_bias.clone(),
        ignore_eos: args.ignore_eos,
        min_keep: defaults.min_keep,
        temp: args.temp.or(advice.map(|advice| advice.temp)).unwrap_or(defaults.temp),
        dynatemp_range: args.dynatemp_range,
        dynatemp_exponent: args.dynatemp_exp,
        top_k: args.top_k,
        top_p: args.top_p.or(advice.map(|advice| advice.top_p)).unwrap_or(defaults.top_p),
        min_p: args.min_p,
        typ_p: args.typical_p,
        top_n_sigma: args.top_n_sigma,
        xtc_probability: args.xtc_probability,
        xtc_threshold: args.xtc_threshold,
        penalty_last_n: args.repeat_last_n.0.min(context),
        penalty_repeat: args.repeat_penalty,
        penalty_freq: args.frequency_penalty,
        penalty_present: args.presence_penalty,
        dry_multiplier: args.dry_multiplier,
        dry_base: args.dry_base,
        dry_allowed_length: args.dry_allowed_length,
        dry_penalty_last_n: args.dry_penalty_last_n.0.min(context),
        dry_sequence_breakers: breakers(&args.dry_sequence_breaker).unwrap_or(defaults.dry_sequence_breakers),
        mirostat: args.mirostat,
        mirostat_tau: args.mirostat_ent,
        mirostat_eta: args.mirostat_lr,
    })
}

/// The sequence breakers that were given, if any were; the first one makes the default ones go.
fn breakers(given: &[String]) -> Option<Vec<String>> {
    let texts = given.iter().filter(|text| *text != "none").cloned().collect();
    (!given.is_empty()).then_some(texts)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        sampling: Sampling,
    }

    fn parse(words: &[&str]) -> Params {
        parse_for(None, words)
    }

    fn parse_for(advice: Option<Advice>, words: &[&str]) -> Params {
        let line = Line::try_parse_from([&["test"], words].concat()).unwrap();
        params(&line.sampling, 1, 100, advice).unwrap()
    }

    #[test]
    fn advice_gives_way_to_options() {
        let advice = Some(Advice { temp: 0.2, top_p: 0.9, system: None });
        let both = |params: Params| (params.temp, params.top_p);
        assert_eq!(both(parse_for(advice, &[])), (0.2, 0.9));
        assert_eq!(both(parse_for(advice, &["--temp=1"])), (1.0, 0.9));
        assert_eq!(both(parse_for(None, &[])), (0.8, 0.95));
    }

    #[test]
    fn defaults_are_the_engines() {
        assert_eq!(parse(&[]), Params { seed: 1, ..Params::default() });
    }

    #[test]
    fn options_reach_the_sampler() {
        let params = parse(&[
            "--temp=0",
            "--samplers=top_k;temperature",
            "--dry-sequence-breaker=none",
            "--repeat-last-n=-1",
            "-l7-inf",
        ]);
        assert_eq!(params.temp, 0.0);
        assert_eq!(params.samplers, [Stage::TopK, Stage::Temperature]);
        assert_eq!(params.dry_sequence_breakers, [""; 0]);
        assert_eq!((params.penalty_last_n, params.dry_penalty_last_n), (100, 64));
        assert_eq!(params.logit_bias, [(7, f32::NEG_INFINITY)]);
    }

    #[test]
    fn seeds_are_random_unless_given() {
        assert_eq!(seed(Some(7)).unwrap(), 7);
        assert_ne!([0; 4].map(|_| seed(None).unwrap()), [0; 4].map(|_| seed(None).unwrap()));
    }
}
