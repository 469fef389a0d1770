//! The prefix cache: what it saves, that it changes nothing, and where it ends.

use std::path::{Path, PathBuf};

use woolly_tests::random_model::Extra;

use super::super::prefix::WORTH;
use super::*;

const CACHE: u64 = 64 << 20;

fn greedy(prompt: Vec<u32>) -> Job {
    job(prompt, 8, Params { temp: 0.0, ..Params::default() })
}

fn cached(options: BatchOptions) -> BatchOptions {
    BatchOptions { cache_bytes: CACHE, ..options }
}

/// A model whose layers look back 64 positions, but for every sixth.
fn windowed() -> Arc<Model> {
    let norms = [Extra::QueryKeyNorms, Extra::PostNorms];
    let recipe = Recipe::new("gemma3", "gemma3").extras(&norms).value("attention.sliding_window", 64u32);
    model(recipe.build())
}

#[test]
fn a_conversation_goes_on_in_its_slot() {
    let model = llama();
    let (batch, metrics) = start(&model, &options());
    let first = prompt(1, 100);
    let answered = answer(&batch, greedy(first.clone()));
    let other = answer(&batch, greedy(prompt(2, 50)));
    assert_eq!((answered.cached, other.cached), (0, 0));
    let next = [&first[..], &answered.tokens, &prompt(3, 20)].concat();
    let found = answer(&batch, greedy(next.clone()));
    assert!(found.cached >= first.len() + answered.tokens.len() - 1, "{}", found.cached);
    assert_eq!(found.answer(), alone(&model, &options(), &greedy(next.clone())).answer());
    assert_eq!(metrics.reused_tokens.get(), found.cached as u64);
    let fresh = answer(&batch, Job { cache_prompt: false, ..greedy(next) });
    assert_eq!((fresh.cached, fresh.answer()), (0, found.answer()));
}

#[test]
fn a_shared_beginning_is_copied_from_a_busy_slot() {
    let model = llama();
    let (batch, _) = start(&model, &options());
    let system = prompt(1, 100);
    let ask = |seed| [&system[..], &prompt(seed, 11)[1..]].concat();
    let endless = Job { until: Until { ignore_end: true, ..Until::default() }, ..greedy(ask(5)) };
    let mut busy = batch.submit(endless).unwrap();
    while !matches!(busy.events.blocking_recv(), Some(Event::Token(_))) {}
    // It is not fetched from any more, so it keeps its slot.
    let found = answer(&batch, greedy(ask(6)));
    assert_eq!(found.cached, 100);
    assert_eq!(found.answer(), alone(&model, &options(), &greedy(ask(6))).answer());
}

#[test]
fn what_is_overwritten_comes_back_from_the_pool() {
    let model = llama();
    let options = cached(BatchOptions { parallel: 1, ..options() });
    let (batch, metrics) = start(&model, &options);
    let prompts: Vec<Vec<u32>> = (1..4).map(|seed| prompt(seed, 90)).collect();
    let first: Vec<Outcome> = prompts.iter().map(|prompt| answer(&batch, greedy(prompt.clone()))).collect();
    let again: Vec<Outcome> = prompts.iter().map(|prompt| answer(&batch, greedy(prompt.clone()))).collect();
    for (first, again) in first.iter().zip(&again) {
        // All begin with the same token.
        assert!(first.cached <= 1 && again.cached == 89, "{} {}", first.cached, again.cached);
        assert_eq!(first.answer(), again.answer());
    }
    assert!(metrics.cache_bytes.get() > 0);
    batch.stop();
    assert_eq!(metrics.cache_bytes.get(), 0);
}

#[test]
fn answers_are_the_same_with_and_without_the_cache() {
    for model in [llama(), windowed()] {
        let with = cached(options());
        let (batch, metrics) = start(&model, &with);
        let shared = prompt(9, 120);
        for i in 0..24 {
            let tail = prompt(i % 5, 5 + 3 * (i as usize % 7));
            let sampling = Params { seed: i, temp: 1.0, ..Params::default() };
            let job = job([&shared[..60 + 20 * (i as usize % 3)], &tail].concat(), 20, sampling);
            assert_eq!(answer(&batch, job.clone()).answer(), alone(&model, &with, &job).answer(), "job {i}");
        }
        assert!(metrics.prefix_hits.get() > 10, "{}", metrics.prefix_hits.get());
    }
}

#[test]
fn a_model_with_windows_learns_where_prompts_part() {
    let model = windowed();
    let options = cached(BatchOptions { context: 2048, parallel: 1, ..options() });
    let (batch, _) = start(&model, &options);
    let system = prompt(1, 100);
    // Longer than the windows can go back.
    let ask = |seed| greedy([&system[..], &prompt(seed, 1201)[1..]].concat());
    let cached: Vec<usize> = (5..8).map(|seed| answer(&batch, ask(seed)).cached).collect();
    assert_eq!(cached[0], 0);
    assert_eq!(cached[2], 100, "{cached:?}");
    assert_eq!(answer(&batch, ask(9)).answer(), alone(&model, &options, &ask(9)).answer());
}

/// The only file in the only folder of a cache.
fn only_file(folder: &Path) -> PathBuf {
    let only = |folder: &Path| {
        let mut entries = folder.read_dir().unwrap();
        let path = entries.next().expect("there is something in it").unwrap().path();
        assert!(entries.next().is_none());
        path
    };
    only(&only(folder))
}

#[test]
fn the_disk_outlives_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let model = llama();
    let options = BatchOptions { cache_dir: Some(folder.path().to_owned()), ..cached(options()) };
    let ask = || greedy(prompt(1, 100));
    let restarted = || {
        let (batch, _) = start(&model, &options);
        let outcome = answer(&batch, ask());
        settle(&batch);
        batch.stop();
        outcome
    };
    let first = restarted();
    assert_eq!(first.cached, 0);
    let second = restarted();
    assert_eq!((second.cached, second.answer()), (99, first.answer()));
    // Damaged in every part: refused, removed, and computed anew.
    let intact = std::fs::read(only_file(folder.path())).unwrap();
    for at in [0, 9, 17, 30, 24 + 4 * 107 + 3, intact.len() - 1] {
        let mut bytes = intact.clone();
        bytes[at] ^= 1;
        std::fs::write(only_file(folder.path()), bytes).unwrap();
        let outcome = restarted();
        assert_eq!(outcome.answer(), first.answer(), "byte {at}");
        assert_eq!(std::fs::read(only_file(folder.path())).unwrap(), intact, "byte {at}");
    }
    for len in [0, 5, 40, intact.len() / 2] {
        std::fs::write(only_file(folder.path()), &intact[..len]).unwrap();
        assert_eq!((restarted().cached, restarted().cached), (0, 99), "{len} bytes");
    }
}

#[test]
fn another_models_snapshots_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let options = BatchOptions { cache_dir: Some(folder.path().to_owned()), ..cached(options()) };
    for (model, cached) in [(llama(), 0), (windowed(), 0), (llama(), 99), (windowed(), 99)] {
        let (batch, _) = start(&model, &options);
        assert_eq!(answer(&batch, greedy(prompt(1, 100))).cached, cached);
        settle(&batch);
        batch.stop();
    }
}

#[test]
fn prompts_that_begin_alike_and_come_at_once_are_read_once() {
    let model = llama();
    let options = BatchOptions { batch: 16, ..options() };
    let (batch, metrics) = start(&model, &options);
    let system = prompt(1, 120);
    let ask = |seed: u64| greedy([&system[..], &prompt(seed, 6)[1..]].concat());
    // The first one is being read when the others come: they wait for it.
    let mut first = batch.submit(ask(10)).unwrap();
    while !matches!(first.events.blocking_recv(), Some(Event::Started(_))) {}
    let answers: Vec<Outcome> = std::thread::scope(|scope| {
        let asked: Vec<_> = (11..14).map(ask).map(|job| scope.spawn(|| answer(&batch, job))).collect();
        asked.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for (seed, found) in (11..14).zip(&answers) {
        // Wherever the first one was when they came: it takes no longer to compute the few that may be left than to wait.
        assert!((WORTH..=120).contains(&found.cached), "{seed}: {}", found.cached);
        assert_eq!(found.answer(), alone(&model, &options, &ask(seed)).answer(), "{seed}");
    }
    assert_eq!(metrics.prefix_hits.get(), 3);
}
