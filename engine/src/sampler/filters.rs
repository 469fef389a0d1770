//! The stages that drop candidates or reshape their distribution.

use crate::math;

use super::pool::Pool;

/// Masks tokens more than `n` standard deviations below the best logit. Tokens already masked do not count.
///
/// Source: "Top-nσ: Not All Logits Are You Need" (2024).
pub(super) fn top_n_sigma(pool: &mut Pool, n: f32) {
    if pool.len() <= 1 {
        return;
    }
    let (mut best, mut sum, mut count) = (f32::NEG_INFINITY, 0.0f64, 0.0f64);
    for logit in pool.logits_mut().filter(|logit| **logit != f32::NEG_INFINITY) {
        best = if *logit > best { *logit } else { best };
        sum += f64::from(*logit);
        count += 1.0;
    }
    if count == 0.0 {
        return;
    }
    let mean = sum / count;
    let square = |logit: f32| (f64::from(logit) - mean) * (f64::from(logit) - mean);
    let finite = pool.logits_mut().filter(|logit| **logit != f32::NEG_INFINITY);
    let variance = finite.map(|logit| square(*logit)).sum::<f64>() / count;
    let least = best - n * math::sqrt(variance as f32);
    for logit in pool.logits_mut() {
        if *logit < least {
            *logit = f32::NEG_INFINITY;
        }
    }
}

/// Keeps the fewest best tokens whose probabilities reach `p`, at least `min_keep` (nucleus sampling).
///
/// The nucleus is nearly always small, so the best 256 are tried before all are sorted.
pub(super) fn top_p(pool: &mut Pool, p: f32, min_keep: usize) {
    pool.softmax();
    for front in [256, usize::MAX] {
        pool.sort_front(front);
        let front = if pool.is_sorted() { pool.len() } else { front.min(pool.len()) };
        let mut sum = 0.0;
        for (i, candidate) in pool.list()[..front].iter().enumerate() {
            sum += candidate.p;
            if sum >= p && i + 1 >= min_keep {
                return pool.keep_front(i + 1);
            }
        }
    }
}

/// Keeps tokens at least `p` times as probable as the best, and the `min_keep` best ones.
pub(super) fn min_p(pool: &mut Pool, p: f32, min_keep: usize) {
    let best = pool.logits_mut().fold(f32::NEG_INFINITY, |best, logit| if *logit > best { *logit } else { best });
    let least = best + math::ln(p);
    let passing = pool.logits_mut().filter(|logit| **logit >= least).count();
    if passing < min_keep {
        return pool.keep_top(min_keep);
    }
    if passing > 0 {
        pool.list().retain(|candidate| candidate.logit >= least);
    }
}

/// Keeps the tokens whose surprise is nearest to the entropy until they reach the probability `p`.
///
/// Source: "Locally Typical Sampling" (Meister et al., 2022).
pub(super) fn typical(pool: &mut Pool, p: f32, min_keep: usize) {
    pool.softmax();
    let entropy = pool.entropy();
    pool.keep_by_score(|c| (-math::ln(c.p) - entropy).abs(), |kept, sum| sum > p && kept >= min_keep);
}

/// "Exclude top choices": drops all tokens at least as probable as `threshold` but the least of them, unless that
/// leaves fewer than `min_keep`.
pub(super) fn xtc(pool: &mut Pool, threshold: f32, min_keep: usize) {
    pool.softmax();
    pool.sort();
    let list = pool.list();
    let above = list.iter().take_while(|c| c.p >= threshold).count();
    let dropped = above.saturating_sub(1);
    if list.len() - dropped >= min_keep {
        list.drain(..dropped);
    }
}

/// Divides the logits by the temperature; 0 or less keeps the best token alone.
pub(super) fn temperature(pool: &mut Pool, temperature: f32) {
    if temperature <= 0.0 {
        return pool.keep_best();
    }
    for logit in pool.logits_mut() {
        *logit /= temperature;
    }
}

/// The temperature within `temp ± range` that goes with the entropy of the candidates: the lower bound for a certain
/// token, the upper for a uniform distribution, and `exponent` bends the way between them.
pub(super) fn dynamic_temperature(pool: &mut Pool, temp: f32, range: f32, exponent: f32) -> Option<f32> {
    if pool.len() <= 1 {
        return None;
    }
    pool.softmax();
    let most = math::ln(pool.len() as f32);
    let share = f64::from(pool.entropy() / most).max(0.0);
    let low = (temp - range).max(0.0);
    Some(low + (temp + range - low) * math::pow(share, f64::from(exponent)) as f32)
}
