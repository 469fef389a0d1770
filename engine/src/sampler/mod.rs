//! Chooses the next token from the logits.
//!
//! A [`Sampler`] is a chain of stages over the tokens that may come next: biases are added, recent tokens penalised,
//! improbable ones dropped, the rest spread or sharpened by a temperature, and one drawn by its probability. Stages,
//! their order, parameters and defaults are those of llama.cpp, so that settings carry over; see [`Params`].
//!
//! All arithmetic is [`crate::math`]'s, sums run in a fixed order, ties go to the lower token id, and random numbers are
//! PCG XSH RR 64/32: the same seed, logits and history give the same token on every machine. Buffers are kept, so a
//! token costs no allocation after the first; with the default chain it costs one pass over the logits.
//!
//! ```
//! use woolly_engine::sampler::{Params, Sampler};
//!
//! let mut sampler = Sampler::new(&Params { seed: 7, ..Params::default() }, &3usize)?;
//! let token = sampler.sample(&[0.5, 9.0, -1.0]);
//! sampler.accept(token);
//! assert_eq!(token, 1);
//! # Ok::<(), woolly_engine::sampler::Error>(())
//! ```

mod dry;
mod filters;
mod mirostat;
mod params;
mod pool;

use alloc::borrow::Cow;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use rand_pcg::Pcg32;
use rand_pcg::rand_core::Rng;

pub use params::{Error, Params, Stage};
pub use pool::Candidate;

use crate::math;
use dry::{Breakers, Dry};
use mirostat::Mirostat;
use pool::Pool;

/// What a sampler asks of a tokenizer.
pub trait Vocabulary {
    /// How many tokens there are; ids are below it.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes that a token prints as, special tokens included.
    fn piece(&self, id: u32) -> Cow<'_, [u8]>;

    /// The tokens of a text, without any added at its ends, special tokens not recognised.
    fn encode(&self, text: &[u8]) -> Vec<u32>;

    /// Whether a token ends the generation.
    fn is_end(&self, id: u32) -> bool;
}

/// A vocabulary of so many tokens that print as nothing: for samplers that use neither DRY nor `ignore_eos`.
impl Vocabulary for usize {
    fn len(&self) -> usize {
        *self
    }

    fn piece(&self, _id: u32) -> Cow<'_, [u8]> {
        Cow::Borrowed(&[])
    }

    fn encode(&self, _text: &[u8]) -> Vec<u32> {
        Vec::new()
    }

    fn is_end(&self, _id: u32) -> bool {
        false
    }
}

/// Chooses tokens; remembers the last ones and where it is in its random numbers.
#[derive(Debug, Clone)]
pub struct Sampler {
    params: Params,
    stages: Vec<Stage>,
    bias: Vec<(u32, f32)>,
    dry: Option<Dry>,
    mirostat: Option<Mirostat>,
    random: Pcg32,
    history: VecDeque<u32>,
    /// How many tokens of history the stages look at.
    memory: usize,
    /// Recent tokens with their counts, ascending by token; a buffer of the penalties.
    counts: Vec<(u32, u32)>,
    pool: Pool,
}

/// Tokens of history that have room from the start. A longer memory grows as it fills.
const RESERVED_HISTORY: usize = 8192;

impl Sampler {
    /// Prepares the chain of `params` for a vocabulary.
    pub fn new(params: &Params, vocabulary: &dyn Vocabulary) -> Result<Sampler, Error> {
        params.check()?;
        let dry = Dry::new(params, || Breakers::new(&params.dry_sequence_breakers, vocabulary));
        Sampler::with_dry(params, vocabulary, dry)
    }

    fn with_dry(params: &Params, vocabulary: &dyn Vocabulary, dry: Option<Dry>) -> Result<Sampler, Error> {
        let mut params = params.clone();
        if params.mirostat > 0 {
            params.samplers = [Stage::Temperature].to_vec();
            params.dynatemp_range = 0.0;
        }
        let stages = active_stages(&params, dry.is_some());
        let uses = |stage| stages.contains(&stage);
        let penalties = if uses(Stage::Penalties) { params.penalty_last_n } else { 0 };
        let repeats = dry.as_ref().filter(|_| uses(Stage::Dry)).map_or(0, |dry| dry.last_n);
        let memory = penalties.max(repeats);
        Ok(Sampler {
            bias: biases(&params, vocabulary)?,
            dry,
            mirostat: Mirostat::new(&params),
            random: generator(params.seed),
            history: VecDeque::with_capacity(memory.min(RESERVED_HISTORY)),
            memory,
            counts: Vec::with_capacity(penalties.min(RESERVED_HISTORY)),
            pool: Pool::with_capacity(vocabulary.len()),
            params,
            stages,
        })
    }

    /// The parameters that it was made with.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Records a token that now stands in the text, of the prompt or generated: penalties look at it.
    pub fn accept(&mut self, token: u32) {
        if self.memory == 0 {
            return;
        }
        if self.history.len() == self.memory {
            self.history.pop_front();
        }
        self.history.push_back(token);
    }

    /// Forgets the history and starts the random numbers over.
    pub fn reset(&mut self) {
        self.history.clear();
        self.random = generator(self.params.seed);
        if let Some(mirostat) = &mut self.mirostat {
            mirostat.reset();
        }
    }

    /// Chooses a token. It is not recorded: [`Sampler::accept`] does that. NaN counts as -inf; without logits the
    /// answer is 0.
    pub fn sample(&mut self, logits: &[f32]) -> u32 {
        if self.takes_best() {
            let id = pool::argmax(logits);
            self.pool.fill_with(id as u32, logits.get(id).copied().unwrap_or(f32::NEG_INFINITY));
            return id as u32;
        }
        self.distribution(logits);
        let Some(chosen) = self.draw() else { return 0 };
        if let Some(mirostat) = &mut self.mirostat {
            mirostat.observe(chosen.p);
        }
        chosen.id
    }

    /// Runs the chain and gives the tokens left with their probabilities, in no particular order.
    ///
    /// XTC draws a random number each time, so this call moves a sampler with XTC on.
    pub fn distribution(&mut self, logits: &[f32]) -> &[Candidate] {
        self.pool.fill(logits);
        for &(token, bias) in &self.bias {
            self.pool.add(token, bias);
        }
        for i in 0..self.stages.len() {
            self.apply(self.stages[i]);
        }
        if let Some(mirostat) = &self.mirostat {
            mirostat.apply(&mut self.pool);
        }
        self.pool.softmax();
        self.pool.candidates()
    }

    /// The tokens that the last [`Sampler::sample`] or [`Sampler::distribution`] left, in no particular order.
    pub fn candidates(&self) -> &[Candidate] {
        self.pool.candidates()
    }

    /// The `n` most probable of [`Sampler::candidates`], best first.
    pub fn top(&self, n: usize) -> Vec<Candidate> {
        let mut all = self.pool.candidates().to_vec();
        all.sort_unstable_by(pool::by_rank);
        all.truncate(n);
        all
    }

    /// Whether the chain is nothing but "take the best logit".
    fn takes_best(&self) -> bool {
        let only_temperature = self.stages == [Stage::Temperature] && self.params.dynatemp_range <= 0.0;
        only_temperature && self.params.temp <= 0.0 && self.bias.is_empty()
    }

    fn apply(&mut self, stage: Stage) {
        let Params { min_keep, temp, .. } = self.params;
        let params = &self.params;
        let pool = &mut self.pool;
        match stage {
            Stage::Penalties => self.apply_penalties(),
            Stage::Dry => self.apply_dry(),
            Stage::TopNSigma => filters::top_n_sigma(pool, params.top_n_sigma),
            Stage::TopK => pool.keep_top(params.top_k),
            Stage::TypicalP => filters::typical(pool, params.typ_p, min_keep),
            Stage::TopP => filters::top_p(pool, params.top_p, min_keep),
            Stage::MinP => filters::min_p(pool, params.min_p, min_keep),
            Stage::Xtc => self.apply_xtc(),
            Stage::Temperature if params.dynatemp_range > 0.0 => {
                let (range, exponent) = (params.dynatemp_range, params.dynatemp_exponent);
                if let Some(temp) = filters::dynamic_temperature(pool, temp, range, exponent) {
                    filters::temperature(pool, temp);
                }
            }
            Stage::Temperature => filters::temperature(pool, temp),
        }
    }

    fn apply_penalties(&mut self) {
        let Params { penalty_last_n, penalty_repeat: repeat, penalty_freq, penalty_present, .. } = self.params;
        self.counts.clear();
        self.counts.extend(self.history.iter().rev().take(penalty_last_n).map(|&token| (token, 1)));
        self.counts.sort_unstable();
        self.counts.dedup_by(|next, first| {
            let same = next.0 == first.0;
            first.1 += u32::from(same);
            same
        });
        self.pool.change(&self.counts, |logit, count| {
            let scaled = if logit <= 0.0 { logit * repeat } else { logit / repeat };
            scaled - (count as f32 * penalty_freq + penalty_present)
        });
    }

    fn apply_dry(&mut self) {
        if let Some(dry) = &mut self.dry {
            let penalty = dry.penalty();
            let repeats = dry.find_repeats(self.history.iter().rev().copied());
            self.pool.change(repeats, |logit, length| logit - penalty(length));
        }
    }

    fn apply_xtc(&mut self) {
        let Params { xtc_probability, xtc_threshold, min_keep, .. } = self.params;
        if self.pool.len() >= 2 && self.uniform() <= f64::from(xtc_probability) {
            filters::xtc(&mut self.pool, xtc_threshold, min_keep);
        }
    }

    /// A random number in [0, 1).
    fn uniform(&mut self) -> f64 {
        (self.random.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Draws one of the candidates by probability. The shares need not add up to exactly 1.
    fn draw(&mut self) -> Option<Candidate> {
        let point = self.uniform();
        let candidates = self.pool.candidates();
        let total: f64 = candidates.iter().map(|c| f64::from(c.p)).sum();
        let mut sum = 0.0;
        let reaches = |c: &&Candidate| {
            sum += f64::from(c.p);
            c.p > 0.0 && sum >= point * total
        };
        candidates.iter().find(reaches).or(candidates.last()).copied()
    }
}

/// A generator whose sequence is fixed by the seed for ever: the PCG reference stream, started at the seed.
fn generator(seed: u64) -> Pcg32 {
    const STREAM: u64 = 0x0a02_bdbf_7bb3_c0a7;
    Pcg32::new(seed, STREAM)
}

/// The stages that do something with these parameters, in order.
fn active_stages(params: &Params, dry: bool) -> Vec<Stage> {
    let penalizes = params.penalty_repeat != 1.0 || params.penalty_freq != 0.0 || params.penalty_present != 0.0;
    let active = |stage: &Stage| match stage {
        Stage::Penalties => params.penalty_last_n > 0 && penalizes,
        Stage::Dry => dry,
        Stage::TopNSigma => params.top_n_sigma > 0.0,
        Stage::TopK => params.top_k > 0,
        Stage::TypicalP => params.typ_p < 1.0,
        Stage::TopP => params.top_p < 1.0,
        Stage::MinP => params.min_p > 0.0,
        Stage::Xtc => params.xtc_probability > 0.0 && params.xtc_threshold <= 0.5,
        Stage::Temperature => params.temp != 1.0 || params.dynatemp_range > 0.0,
    };
    let mut stages: Vec<Stage> = params.samplers.iter().copied().filter(active).collect();
    let greedy = params.temp <= 0.0 && params.dynatemp_range <= 0.0;
    if let (true, Some(mut at)) = (greedy, stages.iter().position(|&stage| stage == Stage::Temperature)) {
        // These keep the best token, and so change nothing just before it is taken.
        let keeps_best = |stage| matches!(stage, Stage::TopNSigma | Stage::TopK | Stage::TopP | Stage::MinP);
        while at > 0 && keeps_best(stages[at - 1]) {
            at -= 1;
            stages.remove(at);
        }
        stages.truncate(at + 1);
    }
    stages
}

/// The biases of `params`, with those that `ignore_eos` asks for.
fn biases(params: &Params, vocabulary: &dyn Vocabulary) -> Result<Vec<(u32, f32)>, Error> {
    let len = vocabulary.len();
    if let Some(&(token, _)) = params.logit_bias.iter().find(|(token, _)| *token as usize >= len) {
        return Err(Error::BiasToken { token, vocabulary: len });
    }
    let mut biases = params.logit_bias.clone();
    if params.ignore_eos {
        biases.extend((0..len as u32).filter(|&id| vocabulary.is_end(id)).map(|id| (id, f32::NEG_INFINITY)));
    }
    Ok(biases)
}

/// The `n` best tokens with the natural logarithms of their probabilities, best first, straight from the logits.
pub fn log_softmax_top(logits: &[f32], n: usize) -> Vec<(u32, f32)> {
    let mut pool = Pool::default();
    pool.fill(logits);
    let best = logits.get(pool::argmax(logits)).copied().unwrap_or(0.0);
    let share = |logit: &mut f32| if *logit == best { 1.0 } else { f64::from(math::exp(*logit - best)) };
    let log_sum = libm::log(pool.logits_mut().map(share).sum());
    pool.keep_top(n);
    let log_share = |c: &Candidate| if c.logit == best { 0.0 } else { f64::from(c.logit) - f64::from(best) };
    pool.candidates().iter().map(|c| (c.id, (log_share(c) - log_sum) as f32)).collect()
}

#[cfg(test)]
mod tests;
