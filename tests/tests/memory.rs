//! What a model and a session allocate, and when.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use woolly_engine::bytes::Bytes;
use woolly_engine::gguf::Gguf;
use woolly_engine::model::{Model, Options};
use woolly_engine::pool::SingleThread;
use woolly_engine::quant::TensorType;
use woolly_engine::session::{Progress, Session};
use woolly_engine::transformer::KvType;
use woolly_tests::counting_allocator::CountingAllocator;
use woolly_tests::random_model::{Recipe, VOCABULARY};
use woolly_tests::run::{Way, levels, model, session};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator::new();

/// Held by every test: the allocator counts what all threads do.
fn alone() -> MutexGuard<'static, ()> {
    static LOCK: Mutex<()> = Mutex::new(());
    LOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn loading_copies_no_weights() {
    let _alone = alone();
    let file = Recipe::of_type(TensorType::F32).build();
    let size = file.len();
    let gguf = Gguf::open(vec![Bytes::new(file)]).expect("a file");
    let most = ALLOCATOR.most_during(|| drop(Model::load(gguf).expect("a model")));
    assert!(most > VOCABULARY && most < size / 20, "{most} bytes for a file of {size}");
}

#[test]
fn a_session_takes_what_the_estimate_says() {
    let _alone = alone();
    let model = model(Recipe::of_type(TensorType::Q4_K).build());
    for kv in KvType::ALL.iter().copied() {
        let memory = model.memory(&Options { context: 200, kv, ..Options::default() });
        let estimate = (memory.kv_cache + memory.scratch) as usize;
        let most = ALLOCATOR.most_during(|| drop(session(&model, Way::PLAIN, kv, 200)));
        assert!(most.abs_diff(estimate) < estimate / 20, "{most} bytes, estimated {estimate}");
    }
}

#[test]
fn a_forward_pass_allocates_nothing() {
    let _alone = alone();
    let recipe = Recipe::of_type(TensorType::Q4_K);
    let (model, tokens) = (model(recipe.build()), recipe.tokens(60));
    for level in levels() {
        let options = Options { context: tokens.len(), level, ..Options::default() };
        let mut session = Session::new(model.clone(), Arc::new(SingleThread), &options).expect("fits");
        let most = ALLOCATOR.most_during(|| {
            session.feed(&tokens[..50]).expect("fits");
            tokens[50..].iter().for_each(|token| session.feed(&[*token]).expect("fits"));
        });
        assert_eq!(most, 0, "at {level}");
    }
}

/// A staged prompt takes its residual stream and gives it back; decoding behind it allocates nothing.
#[test]
fn a_staged_prompt_takes_its_residual_stream_alone() {
    let _alone = alone();
    let recipe = Recipe::of_type(TensorType::Q4_K);
    let (model, tokens) = (model(recipe.build()), recipe.tokens(60));
    let options = Options { context: 64, batch: 16, ..Options::default() };
    let mut session = Session::new(model, Arc::new(SingleThread), &options).expect("fits");
    let most = ALLOCATOR.most_during(|| {
        session.begin_staged(&tokens[..50]).expect("fits");
        while session.advance().expect("begun") != Progress::Done {}
    });
    assert_eq!(most, 50 * 4 * (256 + 1));
    let most = ALLOCATOR.most_during(|| tokens[50..].iter().for_each(|token| session.feed(&[*token]).expect("fits")));
    assert_eq!(most, 0);
}
