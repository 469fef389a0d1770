//! What a batch answers, held against what each job gets alone.

mod answers;
mod cache;
mod life;

use std::sync::Arc;
use std::time::Duration;

use woolly_engine::sampler::{Params, Sampler};
use woolly_engine::session::{Finish, KvType, Model, Options, Session, Until};
use woolly_engine::simd::Level;
use woolly_tests::random_model::{Recipe, VOCABULARY};
use woolly_tests::run::model;

use super::super::job::{Done, Event, Failure, Job};
use super::super::metrics::Metrics;
use super::{Batch, BatchOptions};
use crate::files::Watch;
use crate::pool::Threads;

/// A small model.
fn llama() -> Arc<Model> {
    model(Recipe::new("llama", "llama").build())
}

/// Four slots of a small context, without a prefix cache.
fn options() -> BatchOptions {
    BatchOptions {
        parallel: 4,
        context: 256,
        kv: KvType::F16,
        threads: 2,
        level: Level::best(),
        batch: 64,
        queue: 100,
        cache_bytes: 0,
        cache_dir: None,
    }
}

fn start(model: &Arc<Model>, options: &BatchOptions) -> (Batch, Arc<Metrics>) {
    let metrics = Arc::new(Metrics::new());
    (Batch::start(model.clone(), Watch::nothing(), options, metrics.clone()).unwrap(), metrics)
}

/// A prompt of random tokens that never end an answer.
fn prompt(seed: u64, len: usize) -> Vec<u32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        3 + (state >> 33) as u32 % (VOCABULARY as u32 - 3)
    };
    std::iter::once(1).chain(std::iter::repeat_with(next)).take(len).collect()
}

fn job(prompt: Vec<u32>, max_tokens: usize, sampling: Params) -> Job {
    Job {
        prompt,
        sampling,
        until: Until { max_tokens: Some(max_tokens), ..Until::default() },
        grammar: None,
        top: None,
        post_sampling: false,
        cache_prompt: true,
        slot: None,
        deadline: None,
    }
}

/// Everything that came of a job.
#[derive(Clone, Debug, Default, PartialEq)]
struct Outcome {
    text: String,
    tokens: Vec<u32>,
    finish: Option<Finish>,
    stop: Option<String>,
    failure: Option<Failure>,
    cached: usize,
}

impl Outcome {
    /// All but what the cache did.
    fn answer(&self) -> (&str, &[u32], Option<Finish>, &Option<Failure>) {
        (&self.text, &self.tokens, self.finish, &self.failure)
    }
}

/// Submits a job and fetches all of its events.
fn answer(batch: &Batch, job: Job) -> Outcome {
    let mut outcome = Outcome::default();
    let mut answer = match batch.submit(job) {
        Ok(answer) => answer,
        Err(failure) => return Outcome { failure: Some(failure), ..outcome },
    };
    while let Some(event) = answer.events.blocking_recv() {
        match event {
            Event::Started(_) | Event::Prompt(_) => {}
            Event::Token(token) => {
                outcome.tokens.extend(token.id);
                outcome.text.push_str(&token.text);
            }
            Event::Done(done) => {
                let Done { finish, stop, timings, .. } = *done;
                (outcome.finish, outcome.stop, outcome.cached) = (Some(finish), stop, timings.cached);
            }
            Event::Failed(failure) => outcome.failure = Some(failure),
        }
    }
    outcome
}

/// What the job gets from a session of its own.
fn alone(model: &Arc<Model>, options: &BatchOptions, job: &Job) -> Outcome {
    let pool = Arc::new(Threads::new(1).unwrap());
    let session = Options { context: options.context, kv: options.kv, level: options.level, batch: 32, sequences: 1 };
    let mut session = Session::new(model.clone(), pool, &session).unwrap();
    let mut sampler = Sampler::new(&job.sampling, model.tokenizer()).unwrap();
    session.prompt(&job.prompt).unwrap();
    job.prompt.iter().for_each(|token| sampler.accept(*token));
    let mut outcome = Outcome::default();
    let mut generation = session.generate(&mut sampler, job.until.clone());
    for piece in generation.by_ref() {
        let piece = piece.unwrap();
        outcome.tokens.extend(piece.token);
        outcome.text.push_str(&piece.text);
    }
    outcome.finish = generation.finish();
    outcome
}

/// Returns when no job runs or waits.
fn settle(batch: &Batch) {
    while !batch.is_idle() {
        std::thread::sleep(Duration::from_millis(1));
    }
}
