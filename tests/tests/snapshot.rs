//! Snapshots of sessions: what is loaded goes on with the bits that it would have had, and bad bytes change nothing.

use std::sync::Arc;
use woolly_engine::bytes::checksum;
use woolly_engine::model::Options;
use woolly_engine::quant::TensorType;
use woolly_engine::session::{KvType, Model, Session, SnapshotError};
use woolly_engine::simd::Level;
use woolly_tests::random_model::{Recipe, VOCABULARY};
use woolly_tests::recipes;
use woolly_tests::run::{levels, model};
use woolly_tests::threads::Threads;

/// Offsets of what a snapshot's header has.
const VERSION: usize = 8;
const KV: usize = 12;
const LOGITS: usize = 24;
const TOKENS: usize = 32;
const OLDEST: usize = 40;
const HEADER: usize = 48;

fn bits(session: &mut Session) -> Vec<u32> {
    session.logits().iter().map(|x| x.to_bits()).collect()
}

fn windowed() -> Recipe {
    let recipe = recipes::all().remove(9);
    assert_eq!(recipe.name, "gemma3-window");
    recipe
}

fn start(model: &Arc<Model>, threads: usize, options: Options) -> Session {
    Session::new(model.clone(), Arc::new(Threads(threads)), &options).expect("the session fits")
}

/// A session that has been fed `tokens`, in a few pieces.
fn fed(model: &Arc<Model>, threads: usize, options: Options, tokens: &[u32]) -> Session {
    let mut session = start(model, threads, options);
    tokens.chunks(150).for_each(|piece| session.feed(piece).expect("fits"));
    session
}

/// Saved at one level and loaded at every other, with other threads, batches and contexts.
#[test]
fn what_was_loaded_goes_on_with_the_same_bits() {
    for recipe in [Recipe::of_type(TensorType::Q4_K), windowed()] {
        let (model, tokens) = (model(recipe.build()), recipe.tokens(720));
        // Within a chunk and at its end, in the first span and in a ring that has begun anew.
        for (length, kv) in [1, 64, 130, 700].into_iter().flat_map(|n| KvType::ALL.iter().map(move |kv| (n, *kv))) {
            let options = |level, batch, context| Options { level, batch, context, kv, ..Options::default() };
            let mut original = fed(&model, 2, options(Level::best(), 64, 720), &tokens[..length]);
            let snapshot = original.save().expect("memory");
            let before = bits(&mut original);
            original.feed(&tokens[length..][..20]).expect("fits");
            let after = bits(&mut original);
            for (at, level) in levels().into_iter().enumerate() {
                let [batch, context] = [[1, 720], [64, 1500], [300, length + 20]][at % 3];
                let mut session = fed(&model, 1 + at % 3, options(level, batch, context), &tokens[50..60]);
                let what = format!("{} {kv:?} {length} tokens, {level}, batch {batch}", recipe.name);
                assert_eq!(session.load(&snapshot), Ok(length), "{what}");
                assert_eq!(session.tokens(), &tokens[..length]);
                assert!(bits(&mut session) == before, "{what}: logits");
                session.feed(&tokens[length..][..7]).expect("fits");
                tokens[length + 7..][..13].iter().for_each(|token| session.feed(&[*token]).expect("fits"));
                assert!(bits(&mut session) == after, "{what}: gone on");
            }
        }
    }
}

#[test]
fn a_snapshot_depends_on_the_tokens_alone() {
    let recipe = Recipe::of_type(TensorType::Q8_0);
    let (model, tokens) = (model(recipe.build()), recipe.tokens(100));
    for kv in KvType::ALL.iter().copied() {
        let options = |level, batch, context| Options { level, batch, context, kv, ..Options::default() };
        let expected = fed(&model, 1, options(Level::Scalar, 100, 100), &tokens).save().expect("memory");
        for level in levels() {
            // What is dropped by rewinding leaves no trace.
            let mut session = fed(&model, 3, options(level, 7, 200), &recipe.tokens(190)[20..]);
            session.rewind(0);
            session.feed(&recipe.tokens(170)).expect("fits");
            assert_eq!(session.rewind(99), 99);
            session.feed(&tokens[99..]).expect("fits");
            assert!(session.save().expect("memory") == expected, "{level} {kv:?}");
        }
    }
}

/// Keys and values of a window are written as far as they are there, so that what was loaded can be rewound.
#[test]
fn what_was_loaded_can_be_rewound() {
    let recipe = windowed();
    let (model, tokens) = (model(recipe.build()), recipe.tokens(700));
    let options = |batch| Options { batch, context: 700, ..Options::default() };
    let mut straight = Vec::new();
    let mut all = start(&model, 1, options(700));
    all.feed_each(&tokens, &mut |_, logits| straight.push(logits.iter().map(|x| x.to_bits()).collect::<Vec<_>>()))
        .expect("fits");
    let mut original = fed(&model, 1, options(64), &tokens[..690]);
    assert_eq!(original.rewind(685), 685);
    let snapshot = original.save().expect("memory");
    let whole = fed(&model, 1, options(700), &tokens[..685]).save().expect("memory");
    assert!(snapshot.len() < whole.len(), "a ring has fewer positions than all");
    for batch in [1, 64, 700] {
        for (back_to, snapshot) in [684, 640, 620, 300, 40].into_iter().flat_map(|n| [(n, &snapshot), (n, &whole)]) {
            let mut session = start(&model, 1, options(batch));
            session.load(snapshot).expect("fits");
            let left = session.rewind(back_to);
            assert!(left == back_to || left == 0 && back_to < 640, "batch {batch}, back to {back_to}: {left} left");
            session.feed(&tokens[left..690]).expect("fits");
            assert!(bits(&mut session) == straight[689], "batch {batch}, back to {back_to}");
            // Also by way of another snapshot.
            let again = session.save().expect("memory");
            session.rewind(0);
            session.load(&again).expect("fits");
            session.feed(&tokens[690..]).expect("fits");
            assert!(bits(&mut session) == straight[699], "batch {batch}, back to {back_to}, saved again");
        }
    }
}

#[test]
fn an_empty_session_can_be_saved() {
    let model = model(windowed().build());
    let options = Options { context: 40, ..Options::default() };
    let snapshot = start(&model, 1, options).save().expect("memory");
    let mut session = fed(&model, 1, options, &[1, 2, 3]);
    assert_eq!(session.load(&snapshot), Ok(0));
    assert_eq!(session.tokens(), [0; 0]);
    session.feed(&[5, 6]).expect("fits");
    assert_eq!(bits(&mut session), bits(&mut fed(&model, 1, options, &[5, 6])));
}

/// A session of 5 tokens to load into, and the snapshot of another one.
struct Bad {
    session: Session,
    untouched: Vec<u8>,
    snapshot: Vec<u8>,
}

impl Bad {
    fn new() -> Self {
        let model = model(windowed().build());
        let options = Options { context: 40, ..Options::default() };
        let mut session = fed(&model, 1, options, &[1, 2, 3, 4, 5]);
        let snapshot = fed(&model, 1, options, &[1, 30, 31, 32, 33, 34, 35]).save().expect("memory");
        assert_eq!(start(&model, 1, options).load(&snapshot), Ok(7), "it is good");
        Self { untouched: session.save().expect("memory"), session, snapshot }
    }

    /// Loads `bytes`, which must be refused and change nothing.
    fn refused(&mut self, bytes: &[u8]) -> SnapshotError {
        let error = self.session.load(bytes).expect_err("bad bytes");
        assert!(self.session.save().expect("memory") == self.untouched, "{error}: the session has changed");
        error
    }

    /// The snapshot with other bytes at an offset, and with the checksum that goes with them where that is asked for.
    fn patched(&self, offset: usize, bytes: &[u8], mended: bool) -> Vec<u8> {
        let mut snapshot = self.snapshot.clone();
        snapshot[offset..offset + bytes.len()].copy_from_slice(bytes);
        if mended {
            let end = snapshot.len() - 8;
            let sum = checksum(0, &snapshot[..end]);
            snapshot[end..].copy_from_slice(&sum.to_le_bytes());
        }
        snapshot
    }
}

#[test]
fn cut_or_longer_ones_are_refused() {
    let mut bad = Bad::new();
    let snapshot = bad.snapshot.clone();
    let length = snapshot.len() as u64;
    for cut in (8..snapshot.len()).step_by(97).chain(snapshot.len() - 20..snapshot.len()) {
        let expected = if cut < HEADER + 8 { HEADER as u64 + 8 } else { length };
        let error = SnapshotError::Length { found: cut as u64, expected };
        assert_eq!(bad.refused(&snapshot[..cut]), error);
    }
    assert!(matches!(bad.refused(&[]), SnapshotError::NotSnapshot { .. }));
    let error = SnapshotError::Length { found: length + 1, expected: length };
    assert_eq!(bad.refused(&[&snapshot[..], &[0]].concat()), error);
}

#[test]
fn flipped_bits_are_found() {
    let mut bad = Bad::new();
    for at in (0..HEADER + 60).chain((HEADER + 60..bad.snapshot.len()).step_by(13)) {
        let mut flipped = bad.snapshot.clone();
        flipped[at] ^= 1 << (at % 8);
        let error = bad.refused(&flipped);
        // Where the snapshot begins may be any of its positions.
        assert_eq!(at >= HEADER || at == OLDEST, matches!(error, SnapshotError::Damaged { .. }), "byte {at}: {error}");
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let mut bad = Bad::new();
    let found = b"GGUFxxxx";
    let error = SnapshotError::NotSnapshot { found: Box::from(&found[..]) };
    assert_eq!(bad.refused(&bad.patched(0, found, true)), error);
    assert_eq!(bad.refused(&bad.patched(VERSION, &[2], true)), SnapshotError::Version(2));
    let error = SnapshotError::Kv { found: 8, expected: KvType::F16 };
    assert_eq!(bad.refused(&bad.patched(KV, &[8], true)), error);
    assert!(error.to_string().contains("q8_0") && error.to_string().contains("f16"), "{error}");
    let error = SnapshotError::Logits { found: 7, expected: VOCABULARY };
    assert_eq!(bad.refused(&bad.patched(LOGITS, &7u64.to_le_bytes(), true)), error);
    for tokens in [41, 1 << 32, u64::MAX] {
        let error = SnapshotError::ContextFull { tokens, context: 40 };
        assert_eq!(bad.refused(&bad.patched(TOKENS, &tokens.to_le_bytes(), true)), error);
    }
    let length = bad.snapshot.len() as u64;
    let error = bad.refused(&bad.patched(TOKENS, &[6], true));
    assert!(matches!(error, SnapshotError::Length { found, expected } if found == length && expected < length));
    for oldest in [8, u64::MAX] {
        let error = SnapshotError::Oldest { oldest, tokens: 7 };
        assert_eq!(bad.refused(&bad.patched(OLDEST, &oldest.to_le_bytes(), true)), error);
    }
    let error = SnapshotError::Token { token: u32::MAX, vocabulary: VOCABULARY };
    assert_eq!(bad.refused(&bad.patched(HEADER + 8, &[0xFF; 4], true)), error);
}

#[test]
fn other_models_are_told_apart() {
    let mut bad = Bad::new();
    let options = Options { context: 40, ..Options::default() };
    // Weights of other numbers in a file that is otherwise the same; another name; another window.
    let mut file = windowed().build();
    let length = file.len();
    file[length - 4] ^= 1;
    let last = model(file.clone());
    assert!(last.gguf().fingerprint().is_some());
    assert_eq!(last.gguf().fingerprint(), bad.session.model().gguf().fingerprint(), "not all weights are read");
    let matrix = file.len() - 4 * 64 * 32;
    file[matrix] ^= 1;
    let renamed = Recipe { name: "other".into(), ..windowed() }.build();
    let narrower = Recipe { metadata: vec![("attention.sliding_window", 11u32.into())], ..windowed() }.build();
    for file in [file, renamed, narrower] {
        let snapshot = fed(&model(file), 1, options, &[1, 30]).save().expect("memory");
        assert!(matches!(bad.refused(&snapshot), SnapshotError::Model { .. }));
    }
    let f32 = Options { kv: KvType::F32, ..options };
    let snapshot = fed(bad.session.model(), 1, f32, &[1, 30]).save().expect("memory");
    assert_eq!(bad.refused(&snapshot), SnapshotError::Kv { found: 0, expected: KvType::F16 });
    let long = Options { context: 60, ..options };
    let snapshot = fed(bad.session.model(), 1, long, &[3; 41]).save().expect("memory");
    assert_eq!(bad.refused(&snapshot), SnapshotError::ContextFull { tokens: 41, context: 40 });
}
