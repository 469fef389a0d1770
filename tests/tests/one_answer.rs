//! One model, one answer: every path gives the same bits of every logit.

use woolly_engine::quant::TensorType;
use woolly_engine::transformer::KvType;
use woolly_tests::random_model::Recipe;
use woolly_tests::recipes;
use woolly_tests::run::{Way, levels, logits, model, session};

/// Longer than a multiple of the chunks that attention and matrix products work in.
const PROMPT: usize = 77;
const CHUNKS: [usize; 4] = [1, 7, 32, usize::MAX];

fn bits(logits: &[f32]) -> Vec<u32> {
    logits.iter().map(|x| x.to_bits()).collect()
}

/// All ways must answer as the plainest does.
fn check(recipe: &Recipe, ways: impl Iterator<Item = (Way, KvType)>) {
    let (model, tokens) = (model(recipe.build()), recipe.tokens(PROMPT));
    let plain = |kv| bits(&logits(&model, &tokens, Way::PLAIN, kv));
    let (plain_f16, plain_f32) = (plain(KvType::F16), plain(KvType::F32));
    assert_ne!(plain_f16, plain_f32, "the type of the cache has no effect");
    assert!(plain_f32.iter().all(|bits| f32::from_bits(*bits).is_finite()), "{}: not finite", recipe.name);
    for (way, kv) in ways {
        let expected = if kv == KvType::F16 { &plain_f16 } else { &plain_f32 };
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
    levels().into_iter().flat_map(move |level| [KvType::F16, KvType::F32].map(|kv| all(level, kv))).flatten()
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
