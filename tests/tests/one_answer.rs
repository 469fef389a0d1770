//! One model, one answer: every path gives the same bits of every logit.

use std::collections::HashMap;
use std::sync::Arc;
use woolly_engine::model::Options;
use woolly_engine::quant::TensorType;
use woolly_engine::session::{Entry, Runner, Session};
use woolly_engine::transformer::KvType;
use woolly_tests::random_model::Recipe;
use woolly_tests::recipes;
use woolly_tests::run::{Way, levels, logits, model, session};
use woolly_tests::threads::Threads;

/// Longer than a multiple of the chunks that attention and matrix products work in.
const PROMPT: usize = 77;
const CHUNKS: [usize; 4] = [1, 7, 32, usize::MAX];

fn bits(logits: &[f32]) -> Vec<u32> {
    logits.iter().map(|x| x.to_bits()).collect()
}

/// All ways must answer as the plainest does.
fn check(recipe: &Recipe, ways: impl Iterator<Item = (Way, KvType)>) {
    let (model, tokens) = (model(recipe.build()), recipe.tokens(PROMPT));
    let plain = KvType::ALL.iter().map(|kv| (*kv, bits(&logits(&model, &tokens, Way::PLAIN, *kv))));
    let plain: HashMap<_, _> = plain.collect();
    for (kv, logits) in &plain {
        assert!(logits.iter().all(|bits| f32::from_bits(*bits).is_finite()), "{} {kv:?}: not finite", recipe.name);
        let same = plain.values().filter(|other| *other == logits).count();
        assert_eq!(same, 1, "the type of the cache has no effect");
    }
    for (way, kv) in ways {
        let expected = &plain[&kv];
        let found = bits(&logits(&model, &tokens, way, kv));
        let differing = expected.iter().zip(&found).filter(|(a, b)| a != b).count();
        assert!(differing == 0 && found.len() == expected.len(), "{} {way:?} {kv:?}: {differing} differ", recipe.name);
    }
}

fn ways(threads: &[usize]) -> impl Iterator<Item = (Way, KvType)> {
    let all = move |level, kv| {
        let of_threads = move |&threads| CHUNKS.map(|chunk| (Way { level, threads, chunk }, kv));
        threads.iter().flat_map(of_threads).collect::<Vec<_>>()
    };
    levels().into_iter().flat_map(move |level| KvType::ALL.iter().map(move |kv| all(level, *kv))).flatten()
}

#[test]
fn of_every_tensor_type() {
    for kind in TensorType::ALL {
        check(&Recipe::of_type(*kind), ways(&[1, 2]));
    }
}

#[test]
fn of_every_architecture() {
    for recipe in recipes::all() {
        check(&recipe, ways(&[1]));
    }
}

#[test]
fn with_many_threads() {
    for kind in [TensorType::F32, TensorType::Q4_1, TensorType::Q4_K] {
        check(&Recipe::of_type(kind), ways(&[3, 8]));
    }
}

#[test]
fn after_rewinding() {
    for recipe in [Recipe::of_type(TensorType::Q4_K), recipes::all().remove(9)] {
        let (model, tokens) = (model(recipe.build()), recipe.tokens(PROMPT));
        for level in levels() {
            let mut session = session(&model, Way { level, ..Way::PLAIN }, KvType::F16, PROMPT);
            session.feed(&tokens).expect("fits");
            let straight = bits(session.logits());
            session.rewind(20);
            session.feed(&recipe.tokens(40)[10..]).expect("fits");
            assert_ne!(bits(session.logits()), straight);
            let kept = session.prompt(&tokens).expect("fits");
            assert_eq!(kept, 20, "the common prefix");
            assert_eq!(bits(session.logits()), straight);
        }
    }
}

/// Positions beyond a span of attention, fed in ways that share out the spans among threads, and in ways that do not.
#[test]
fn over_several_spans() {
    for recipe in [Recipe::of_type(TensorType::F32), recipes::all().remove(9)] {
        let (model, tokens) = (model(recipe.build()), recipe.tokens(1100));
        for kv in KvType::ALL {
            let whole = {
                let mut session = session(&model, Way::PLAIN, *kv, tokens.len());
                session.feed(&tokens).expect("fits");
                bits(session.logits())
            };
            for level in levels() {
                for threads in [1, 3] {
                    let mut session = session(&model, Way { level, threads, chunk: 1 }, *kv, tokens.len());
                    session.feed(&tokens[..1090]).expect("fits");
                    session.feed(&tokens[1090..1094]).expect("fits");
                    tokens[1094..].iter().for_each(|token| session.feed(&[*token]).expect("fits"));
                    assert!(bits(session.logits()) == whole, "{} {level} {kv:?} {threads} threads", recipe.name);
                }
            }
        }
    }
}

/// A window's ring of positions is written over many times, and rewound within and beyond what it still holds.
#[test]
fn with_windows_that_are_written_over() {
    let recipe = recipes::all().remove(9);
    let (model, tokens) = (model(recipe.build()), recipe.tokens(700));
    let start = |batch, kv| {
        let options = Options { context: tokens.len(), batch, kv, ..Options::default() };
        Session::new(model.clone(), Arc::new(Threads(2)), &options).expect("fits")
    };
    for kv in KvType::ALL {
        let mut large = start(700, *kv);
        let mut expected = Vec::new();
        large.feed_each(&tokens, &mut |_, logits| expected.push(bits(logits))).expect("fits");
        for batch in [1, 10, 64, 100] {
            let mut session = start(batch, *kv);
            session.feed(&tokens[..650]).expect("fits");
            assert!(bits(session.logits()) == expected[649], "batch {batch}");
            assert_eq!(session.rewind(640), 640, "batch {batch}: the window is still there");
            session.feed(&tokens[640..660]).expect("fits");
            assert!(bits(session.logits()) == expected[659], "batch {batch}, rewound");
            let kept = session.prompt(&tokens[..100]).expect("fits");
            assert_eq!(kept, 0, "batch {batch}: too far back");
            assert!(bits(session.logits()) == expected[99], "batch {batch}, begun again");
            session.feed(&tokens[100..300]).expect("fits");
            assert!(bits(session.logits()) == expected[299], "batch {batch}, gone on");
        }
    }
}

/// Sequences that share passes: each has its own prompt, in pieces of its own, and some are done before others begin.
#[test]
fn among_other_sequences() {
    for recipe in [Recipe::of_type(TensorType::Q4_K), recipes::all().remove(9)] {
        let model = model(recipe.build());
        let all = recipe.tokens(700);
        // First token, length, tokens of a pass, passes to wait.
        let texts = [(0, 600, 64, 0), (3, 77, 1, 0), (50, 40, 40, 2), (7, 130, 5, 1), (0, 90, 3, 4)];
        for kv in KvType::ALL {
            let alone = texts.map(|(first, len, ..)| logits(&model, &all[first..first + len], Way::PLAIN, *kv));
            for level in levels() {
                for threads in [1, 3] {
                    let texts = texts.map(|(first, len, step, wait)| (&all[first..first + len], step, wait));
                    let options = Options { context: 640, batch: 120, sequences: 5, kv: *kv, level };
                    let runner = Runner::new(model.clone(), Arc::new(Threads(threads)), &options).expect("fits");
                    let together = feed_together(runner, &texts);
                    for ((found, alone), (tokens, ..)) in together.iter().zip(&alone).zip(&texts) {
                        let vocabulary = alone.len() / tokens.len();
                        for (position, logits) in found {
                            let expected = &alone[position * vocabulary..][..vocabulary];
                            let which = format!("{} {level} {kv:?} {threads} threads", recipe.name);
                            assert!(bits(logits) == bits(expected), "{which}: {} tokens, {position}", tokens.len());
                        }
                    }
                }
            }
        }
    }
}

/// The logits behind the last token of each pass, with its position.
fn feed_together(mut runner: Runner, texts: &[(&[u32], usize, usize)]) -> Vec<Vec<(usize, Vec<f32>)>> {
    let mut sequences: Vec<_> = texts.iter().map(|_| runner.sequence().expect("fits")).collect();
    let mut found = vec![Vec::new(); texts.len()];
    for pass in 0.. {
        let mut entries = Vec::new();
        let mut those = Vec::new();
        for (index, (sequence, (tokens, step, wait))) in sequences.iter_mut().zip(texts).enumerate() {
            let start = sequence.tokens().len();
            if pass >= *wait && start < tokens.len() {
                let tokens = &tokens[start..(start + step).min(tokens.len())];
                entries.push(Entry { sequence, tokens, logits: 1 });
                those.push((index, start + tokens.len() - 1));
            }
        }
        if entries.is_empty() {
            return found;
        }
        runner.decode(&mut entries).expect("fits");
        for (row, (index, position)) in those.into_iter().enumerate() {
            found[index].push((position, runner.logits(row).to_vec()));
        }
    }
    found
}
