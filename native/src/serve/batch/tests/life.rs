//! How jobs, slots and batches end.

use std::time::Instant;

use super::*;
use crate::serve::job::{Answer, SlotAction};
use crate::serve::metrics::Outcome as Ended;

/// A job that would go on until the context is full, with more events than the channel holds.
fn endless() -> Job {
    Job { until: Until { ignore_end: true, ..Until::default() }, ..job(prompt(1, 4), 1, Params::default()) }
}

fn begun(batch: &Batch) -> Answer {
    let mut answer = batch.submit(endless()).unwrap();
    while !matches!(answer.events.blocking_recv(), Some(Event::Token(_))) {}
    answer
}

fn block<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

#[test]
fn who_goes_away_frees_the_slot() {
    let (batch, metrics) = start(&llama(), &options());
    let answers: Vec<Answer> = (0..4).map(|_| begun(&batch)).collect();
    assert!(batch.slots().iter().all(|slot| slot.job.is_some()));
    drop(answers);
    settle(&batch);
    assert!(batch.slots().iter().all(|slot| slot.job.is_none()));
    assert_eq!((metrics.count(Ended::Cancelled), metrics.running.get()), (4, 0));
    // Those that wait may go too.
    let running: Vec<Answer> = (0..4).map(|_| begun(&batch)).collect();
    drop(batch.submit(endless()).unwrap());
    drop(running);
    settle(&batch);
    assert_eq!((metrics.count(Ended::Cancelled), metrics.queued.get()), (9, 0));
}

#[test]
fn who_does_not_fetch_stands_still_alone() {
    let model = llama();
    let (batch, _) = start(&model, &options());
    let mut slow = batch.submit(endless()).unwrap();
    let quick = job(prompt(2, 30), 100, Params::default());
    for _ in 0..3 {
        assert_eq!(answer(&batch, quick.clone()).answer(), alone(&model, &options(), &quick).answer());
    }
    let state = batch.slots().into_iter().find_map(|slot| slot.job).unwrap();
    assert!(state.predicted < 100, "{}", state.predicted);
    // Then it goes on as if nothing had been.
    let mut tokens = Vec::new();
    while let Some(event) = slow.events.blocking_recv() {
        if let Event::Token(token) = event {
            tokens.extend(token.id);
        }
    }
    assert_eq!(tokens, alone(&model, &options(), &endless()).tokens);
}

#[test]
fn a_full_queue_refuses_at_once() {
    let options = BatchOptions { parallel: 1, queue: 2, ..options() };
    let (batch, metrics) = start(&llama(), &options);
    let running = begun(&batch);
    let waiting = [(); 2].map(|_| batch.submit(endless()).unwrap());
    assert_eq!(batch.submit(endless()).err(), Some(Failure::QueueFull(2)));
    assert_eq!((metrics.queued.get(), metrics.count(Ended::Refused)), (2, 1));
    drop((running, waiting));
    settle(&batch);
    assert_eq!(answer(&batch, job(prompt(1, 3), 2, Params::default())).failure, None);
}

#[test]
fn what_has_no_meaning_is_refused_at_once() {
    let (batch, _) = start(&llama(), &options());
    let submit = |job: Job| batch.submit(job).err();
    let good = || job(prompt(1, 5), 3, Params::default());
    assert_eq!(submit(good()), None);
    let long = Job { prompt: prompt(1, 257), ..good() };
    assert_eq!(submit(long), Some(Failure::ContextExceeded { tokens: 257, context: 256 }));
    let bad = [
        Job { prompt: Vec::new(), ..good() },
        Job { prompt: vec![1, VOCABULARY as u32], ..good() },
        Job { slot: Some(4), ..good() },
        Job { sampling: Params { logit_bias: vec![(u32::MAX, 1.0)], ..Params::default() }, ..good() },
    ];
    for job in bad {
        assert!(matches!(submit(job.clone()), Some(Failure::Invalid(_))), "{job:?}");
    }
}

#[test]
fn time_is_limited() {
    let (batch, metrics) = start(&llama(), &BatchOptions { parallel: 1, ..options() });
    let late = Job { deadline: Some(Instant::now()), ..endless() };
    assert_eq!(answer(&batch, late.clone()).failure, Some(Failure::Timeout));
    let running = begun(&batch);
    assert_eq!(answer(&batch, late).failure, Some(Failure::Timeout));
    drop(running);
    settle(&batch);
    // One that stands still is over too.
    let short = Job { deadline: Some(Instant::now() + Duration::from_millis(50)), ..endless() };
    let mut slow = batch.submit(short).unwrap();
    settle(&batch);
    let mut last = None;
    while let Some(event) = slow.events.blocking_recv() {
        last = Some(event);
    }
    assert!(matches!(last, Some(Event::Failed(Failure::Timeout))), "{last:?}");
    assert_eq!(metrics.count(Ended::TimedOut), 3);
}

#[test]
fn nothing_to_generate_is_done_after_the_prompt() {
    let (batch, _) = start(&llama(), &options());
    let outcome = answer(&batch, job(prompt(1, 30), 0, Params::default()));
    assert_eq!((outcome.finish, outcome.tokens.len()), (Some(Finish::Length), 0));
    assert_eq!(batch.slots().iter().map(|slot| slot.tokens).max(), Some(30));
}

#[test]
fn stop_strings_are_told() {
    let (batch, _) = start(&llama(), &options());
    let free = answer(&batch, job(prompt(1, 10), 20, Params::default()));
    let stop: String = free.text.chars().skip(3).take(2).collect();
    let mut stopped = job(prompt(1, 10), 20, Params::default());
    stopped.until.stop = vec!["never there".into(), stop.clone()];
    let outcome = answer(&batch, stopped);
    assert_eq!((outcome.finish, outcome.stop), (Some(Finish::Stop), Some(stop.clone())));
    assert_eq!(outcome.text, free.text[..free.text.find(&stop).unwrap()]);
}

#[test]
fn probabilities_are_the_models_or_the_samplers() {
    let (batch, _) = start(&llama(), &options());
    let probabilities = |post_sampling| {
        let sampling = Params { temp: 0.5, top_k: 3, ..Params::default() };
        let job = Job { top: Some(5), post_sampling, ..job(prompt(1, 10), 20, sampling) };
        let mut answer = batch.submit(job).unwrap();
        let mut all = Vec::new();
        while let Some(event) = answer.events.blocking_recv() {
            if let Event::Token(token) = event {
                all.extend(token.id.zip(token.probabilities));
            }
        }
        all
    };
    let sum = |top: &[(u32, f32)]| top.iter().map(|(_, p)| p.exp()).sum::<f32>();
    for (id, model) in probabilities(false) {
        assert_eq!(model.top.len(), 5);
        assert!(model.top.is_sorted_by(|a, b| a.1 >= b.1) && sum(&model.top) < 0.999);
        assert!(model.top.contains(&(id, model.chosen)));
    }
    for (id, sampler) in probabilities(true) {
        assert!(sampler.top.len() <= 3 && (sum(&sampler.top) - 1.0).abs() < 1e-4);
        assert!(sampler.top.contains(&(id, sampler.chosen)));
    }
}

#[test]
fn slots_are_saved_restored_and_erased() {
    let folder = tempfile::tempdir().unwrap();
    let (file, missing) = (folder.path().join("slot.bin"), folder.path().join("none.bin"));
    let (batch, _) = start(&llama(), &options());
    let ask = |slot| Job { slot: Some(slot), ..job(prompt(1, 80), 6, Params { temp: 0.0, ..Params::default() }) };
    let first = answer(&batch, ask(2));
    settle(&batch);
    let tokens = batch.slots()[2].tokens;
    let saved = block(batch.slot(2, SlotAction::Save(file.clone()))).unwrap();
    assert_eq!((saved.tokens, saved.bytes), (tokens, file.metadata().unwrap().len()));
    assert_eq!(block(batch.slot(2, SlotAction::Erase)).unwrap().tokens, tokens);
    assert_eq!(batch.slots()[2].tokens, 0);
    let restored = block(batch.slot(1, SlotAction::Restore(file.clone()))).unwrap();
    assert_eq!((restored.tokens, restored.bytes, batch.slots()[1].tokens), (tokens, saved.bytes, tokens));
    let again = answer(&batch, ask(1));
    assert_eq!((again.cached, again.answer()), (79, first.answer()));
    // What cannot be done changes nothing and leaves nothing behind.
    settle(&batch);
    std::fs::write(&file, b"something else").unwrap();
    for action in [SlotAction::Restore(file), SlotAction::Restore(missing)] {
        assert!(matches!(block(batch.slot(1, action)), Err(Failure::Invalid(_))));
    }
    assert!(matches!(block(batch.slot(4, SlotAction::Erase)), Err(Failure::Invalid(_))));
    let nowhere = folder.path().join("no/such/folder/slot.bin");
    assert!(matches!(block(batch.slot(1, SlotAction::Save(nowhere))), Err(Failure::Internal(_))));
    assert_eq!(batch.slots()[1].tokens, tokens);
    assert_eq!(folder.path().read_dir().unwrap().count(), 1);
}

#[test]
fn a_panic_fails_the_jobs_and_nothing_else() {
    let model = llama();
    let mut engine = super::super::setup::start(&model, &options()).unwrap();
    // A runner panics over the sequences of another one.
    let other = super::super::setup::start(&model, &BatchOptions { context: 512, ..options() }).unwrap();
    engine.sequences = other.sequences;
    let metrics = Arc::new(Metrics::new());
    let batch = Batch::launch(model, Watch::nothing(), engine, &options(), metrics.clone()).unwrap();
    let failure = answer(&batch, job(prompt(1, 5), 3, Params::default())).failure;
    assert!(matches!(failure, Some(Failure::Internal(_))), "{failure:?}");
    block(batch.close(Duration::ZERO));
    assert!(batch.fault().is_some());
    assert!(matches!(batch.submit(endless()).err(), Some(Failure::Internal(_))));
    assert_eq!((metrics.running.get(), metrics.count(Ended::Failed)), (0, 1));
}

#[test]
fn closing_finishes_what_runs() {
    let (batch, _) = start(&llama(), &BatchOptions { parallel: 1, ..options() });
    let mut running = batch.submit(job(prompt(1, 30), 100, Params::default())).unwrap();
    while !matches!(running.events.blocking_recv(), Some(Event::Token(_))) {}
    let mut waiting = batch.submit(endless()).unwrap();
    batch.begin_close(Duration::from_secs(60));
    assert_eq!(batch.submit(endless()).err(), Some(Failure::Closing));
    assert!(matches!(waiting.events.blocking_recv(), Some(Event::Failed(Failure::Closing))));
    let mut last = None;
    while let Some(event) = running.events.blocking_recv() {
        last = Some(event);
    }
    assert!(matches!(last, Some(Event::Done(_))), "{last:?}");
    block(batch.close(Duration::from_secs(60)));
}

#[test]
fn closing_does_not_wait_for_ever() {
    let (batch, _) = start(&llama(), &options());
    let mut running = begun(&batch);
    block(batch.close(Duration::ZERO));
    let mut last = None;
    while let Some(event) = running.events.blocking_recv() {
        last = Some(event);
    }
    // The channel may have been too full for the news; that it is closed says enough.
    assert!(matches!(last, Some(Event::Failed(Failure::Closing) | Event::Token(_))), "{last:?}");
}
