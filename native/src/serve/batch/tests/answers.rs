//! Answers are the same in company.

use super::*;

/// Jobs of all kinds: short and long prompts, greedy and not, with penalties, stop strings, and ends of all kinds.
fn mix(count: usize) -> Vec<Job> {
    let kind = |i: usize| {
        let seed = i as u64;
        let sampling = match i % 4 {
            0 => Params { temp: 0.0, ..Params::default() },
            1 => Params { seed, ..Params::default() },
            2 => Params { seed, temp: 1.5, top_k: 0, penalty_repeat: 1.2, ..Params::default() },
            _ => Params { seed, mirostat: 2, ..Params::default() },
        };
        let mut job = job(prompt(seed % 7, 1 + i * 37 % 150), 1 + i * 11 % 40, sampling);
        match i % 5 {
            0 => job.until.max_tokens = None,
            1 => job.until.stop = vec!["a".into(), "the".into()],
            2 => job.until.ignore_end = true,
            _ => {}
        }
        job.cache_prompt = !i.is_multiple_of(3);
        job
    };
    (0..count).map(kind).collect()
}

#[test]
fn fifty_jobs_at_once_get_what_each_gets_alone() {
    let model = llama();
    let options = options();
    let (batch, _) = start(&model, &options);
    let jobs = mix(50);
    let answers: Vec<Outcome> = std::thread::scope(|scope| {
        let threads: Vec<_> = jobs.iter().map(|job| scope.spawn(|| answer(&batch, job.clone()))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for (i, (job, found)) in jobs.iter().zip(&answers).enumerate() {
        assert_eq!(found.answer(), alone(&model, &options, job).answer(), "job {i}");
    }
    // The mix has ends of several kinds, or it would show less than it seems to.
    for finish in [Finish::Stop, Finish::Length, Finish::Context] {
        assert!(answers.iter().any(|answer| answer.finish == Some(finish)), "{finish:?}");
    }
}
