//! How many tokens were used and how long they took, in the clients' terms.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use utoipa::ToSchema;

use crate::serve::job;

/// Tokens that were used.
#[derive(Clone, Copy, Debug, Default, Serialize, ToSchema)]
pub struct Usage {
    /// Of all answers.
    completion_tokens: usize,
    /// Of the prompt.
    prompt_tokens: usize,
    /// Of both.
    total_tokens: usize,
    /// More about the prompt.
    prompt_tokens_details: PromptDetails,
}

/// More about a prompt.
#[derive(Clone, Copy, Debug, Default, Serialize, ToSchema)]
pub struct PromptDetails {
    /// Tokens that the cache had.
    cached_tokens: usize,
}

impl Usage {
    /// What `jobs` used. Answers to the same prompt count its tokens once: `prompts` says how many there are for each.
    pub fn new<'a>(jobs: impl IntoIterator<Item = &'a job::Timings>, answers_per_prompt: usize) -> Self {
        let mut usage = Self::default();
        for (index, timings) in jobs.into_iter().enumerate() {
            usage.completion_tokens += timings.predicted;
            if index % answers_per_prompt == 0 {
                usage.prompt_tokens += timings.prompt;
                usage.prompt_tokens_details.cached_tokens += timings.cached;
            }
        }
        usage.total_tokens = usage.prompt_tokens + usage.completion_tokens;
        usage
    }
}

/// Speed of an answer.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct Timings {
    /// Tokens of the prompt that the cache had.
    cache_n: usize,
    /// Tokens of the prompt that were computed.
    prompt_n: usize,
    prompt_ms: f64,
    prompt_per_token_ms: f64,
    prompt_per_second: f64,
    /// Tokens that were generated.
    predicted_n: usize,
    /// Time from the first one to the last one.
    predicted_ms: f64,
    predicted_per_token_ms: f64,
    predicted_per_second: f64,
    /// Time in the queue.
    queued_ms: f64,
}

impl From<&job::Timings> for Timings {
    fn from(timings: &job::Timings) -> Self {
        let computed = timings.prompt.saturating_sub(timings.cached);
        // The first token comes out of the prompt's last pass.
        let steps = timings.predicted.saturating_sub(1);
        Self {
            cache_n: timings.cached,
            prompt_n: computed,
            prompt_ms: milliseconds(timings.prompt_time),
            prompt_per_token_ms: each(computed, timings.prompt_time),
            prompt_per_second: rate(computed, timings.prompt_time),
            predicted_n: timings.predicted,
            predicted_ms: milliseconds(timings.predicted_time),
            predicted_per_token_ms: each(steps, timings.predicted_time),
            predicted_per_second: rate(steps, timings.predicted_time),
            queued_ms: milliseconds(timings.queued),
        }
    }
}

/// A duration in milliseconds.
pub fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Seconds since 1970.
pub fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn each(count: usize, time: Duration) -> f64 {
    if count > 0 { milliseconds(time) / count as f64 } else { 0.0 }
}

fn rate(count: usize, time: Duration) -> f64 {
    if time.is_zero() { 0.0 } else { 1e3 / milliseconds(time) * count as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_prompt_counts_once() {
        let timings = job::Timings { prompt: 10, cached: 4, predicted: 3, ..Default::default() };
        let usage = Usage::new(&[timings; 4], 2);
        assert_eq!((usage.prompt_tokens, usage.completion_tokens, usage.total_tokens), (20, 12, 32));
        assert_eq!(usage.prompt_tokens_details.cached_tokens, 8);
    }

    #[test]
    fn rates_are_finite() {
        let timings = Timings::from(&job::Timings { prompt: 4, cached: 4, predicted: 1, ..Default::default() });
        assert_eq!((timings.predicted_per_second, timings.prompt_per_token_ms), (0.0, 0.0));
    }
}
