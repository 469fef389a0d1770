//! Mirostat: holds the surprise of the chosen tokens near a target `tau` by moving a bound `mu` on it after each token.
//!
//! Version 2 drops every token more surprising than `mu`. Version 1 estimates the exponent of a Zipf distribution from
//! the best tokens and derives from it and `mu` how many to keep.
//!
//! Source: "Mirostat: A Neural Text Decoding Algorithm that Directly Controls Perplexity" (Basu et al., 2021).

use core::f32::consts::LN_2;

use crate::math;

use super::Params;
use super::pool::{Candidate, Pool};

/// How many of the best tokens version 1 fits its exponent to.
const FITTED: usize = 100;

#[derive(Debug, Clone)]
pub(super) struct Mirostat {
    version: u8,
    tau: f32,
    eta: f32,
    mu: f32,
}

/// Surprise of an event of probability `p`, in bits.
fn surprise(p: f32) -> f32 {
    -math::ln(p) / LN_2
}

impl Mirostat {
    pub fn new(params: &Params) -> Option<Mirostat> {
        let tau = params.mirostat_tau;
        (params.mirostat > 0).then_some(Mirostat {
            version: params.mirostat,
            tau,
            eta: params.mirostat_eta,
            mu: 2.0 * tau,
        })
    }

    pub fn reset(&mut self) {
        self.mu = 2.0 * self.tau;
    }

    /// Drops the tokens that are too surprising.
    pub fn apply(&self, pool: &mut Pool) {
        let vocabulary = pool.len();
        pool.softmax();
        if self.version == 1 {
            pool.sort_front(FITTED);
            let front = vocabulary.min(FITTED);
            let keep = self.count_to_keep(&pool.list()[..front], vocabulary);
            return pool.keep_top(keep);
        }
        let mu = self.mu;
        if pool.list().iter().any(|c| surprise(c.p) <= mu) {
            pool.list().retain(|c| surprise(c.p) <= mu);
            pool.sort();
        } else {
            pool.keep_best();
        }
    }

    fn count_to_keep(&self, best: &[Candidate], vocabulary: usize) -> usize {
        let (mut products, mut squares) = (0.0, 0.0);
        for (i, pair) in best.windows(2).enumerate() {
            let t = math::ln((i + 2) as f32 / (i + 1) as f32);
            products += t * math::ln(pair[0].p / pair[1].p);
            squares += t * t;
        }
        let s = f64::from(products / squares);
        let epsilon = s - 1.0;
        let scale = 1.0 - math::pow(vocabulary as f64, -epsilon);
        let k = math::pow(epsilon * math::pow(2.0, f64::from(self.mu)) / scale, 1.0 / s);
        (k as usize).max(1)
    }

    /// Learns from the probability of the token that was chosen.
    pub fn observe(&mut self, p: f32) {
        self.mu -= self.eta * (surprise(p) - self.tau);
    }
}
