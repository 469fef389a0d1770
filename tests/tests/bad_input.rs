//! Broken files and snapshots: an error each, or what works; never a panic, never memory beyond the input's size.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};
use woolly_engine::bytes::{Bytes, checksum};
use woolly_engine::gguf::{Gguf, Value};
use woolly_engine::model::Model;
use woolly_engine::session::Session;
use woolly_engine::transformer::KvType;
use woolly_tests::counting_allocator::CountingAllocator;
use woolly_tests::random::Random;
use woolly_tests::random_model::{Extra, Recipe, VOCABULARY};
use woolly_tests::run::{Way, model, session};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator::new();

/// Held by every test: the allocator counts what all threads do.
fn alone() -> MutexGuard<'static, ()> {
    static LOCK: Mutex<()> = Mutex::new(());
    LOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

fn recipe() -> Recipe {
    Recipe { layers: 1, embedding: 32, heads: 2, kv_heads: 1, hidden: 32, ..Recipe::new("bad input", "gemma3") }
        .extras(&[Extra::QueryKeyNorms, Extra::PostNorms])
        .value("attention.sliding_window", 4u32)
}

/// Loads the file and, if it is a model, feeds it some tokens; its error otherwise.
fn load_and_run(file: &[u8]) -> Result<(), String> {
    let gguf = Gguf::open(vec![Bytes::new(file.to_vec())]).map_err(|error| error.to_string())?;
    let model = std::sync::Arc::new(Model::load(gguf).map_err(|error| error.to_string())?);
    let mut session = session(&model, Way::PLAIN, KvType::F16, 8);
    session.feed(&[1, 5, 9]).map_err(|error| error.to_string())
}

/// [`load_and_run`], failing the test on a panic and on memory beyond some times the file's size.
fn survives(file: &[u8], what: &str) -> Result<(), String> {
    let mut result = Ok(());
    let most = ALLOCATOR.most_during(|| {
        let caught = catch_unwind(AssertUnwindSafe(|| load_and_run(file)));
        result = caught.unwrap_or_else(|_| panic!("{what}: panicked, see above"));
    });
    let bound = 8 * file.len() + (1 << 20);
    assert!(most <= bound, "{what}: {most} bytes allocated for a file of {}", file.len());
    result
}

/// The start of the tensor's description behind its name: count and lengths of its dimensions, type, offset.
fn description(file: &[u8], tensor: &str) -> usize {
    let start = file.windows(tensor.len()).position(|window| window == tensor.as_bytes());
    start.expect("the tensor is in the file") + tensor.len()
}

/// The file with the bytes of `number` at an offset.
fn patched(file: &[u8], offset: usize, number: &[u8]) -> Vec<u8> {
    let mut file = file.to_vec();
    file[offset..offset + number.len()].copy_from_slice(number);
    file
}

/// Asserts that the error exists and names the culprit.
fn assert_error(file: &[u8], names: &str) {
    let error = survives(file, names).expect_err(names);
    assert!(error.contains(names), "{error:?} does not name {names}");
}

#[test]
fn the_file_itself_is_good() {
    let _alone = alone();
    assert_eq!(survives(&recipe().build(), "good"), Ok(()));
}

#[test]
fn cut_anywhere() {
    let _alone = alone();
    let file = recipe().build();
    for length in (0..file.len()).step_by(1024).chain(file.len() - 40..file.len()) {
        assert!(survives(&file[..length], "cut").is_err(), "cut at {length} of {}", file.len());
    }
}

#[test]
fn with_any_byte_of_the_header_flipped() {
    let _alone = alone();
    let mut file = recipe().build();
    // The last tensor's description is the end of the header.
    let header = file.windows(4).rposition(|window| window == b"blk.").expect("tensors") + 64;
    let mut refused = 0;
    for at in 0..header {
        for mask in [0x01, 0x80, 0xFF] {
            file[at] ^= mask;
            refused += usize::from(survives(&file, &format!("byte {at} flipped by {mask:#x}")).is_err());
            file[at] ^= mask;
        }
    }
    // The rest are flips inside names and values that nothing depends on.
    assert!(refused > header / 2, "only {refused} of {} were refused", 3 * header);
}

#[test]
fn with_absurd_counts() {
    let _alone = alone();
    let file = recipe().build();
    for count in [1 << 20, 1 << 32, 1 << 62, u64::MAX] {
        for (offset, what) in [(8, "tensors"), (16, "metadata")] {
            assert!(survives(&patched(&file, offset, &count.to_le_bytes()), what).is_err(), "{count} {what}");
        }
        let dims = description(&file, "token_embd.weight") + 4;
        assert!(survives(&patched(&file, dims, &count.to_le_bytes()), "rows").is_err(), "{count} columns");
        let array = description(&file, "tokenizer.ggml.tokens") + 8;
        assert!(survives(&patched(&file, array, &count.to_le_bytes()), "array").is_err(), "{count} strings");
    }
}

#[test]
fn with_tensors_in_wrong_places() {
    let _alone = alone();
    let file = recipe().build();
    let name = "blk.0.ffn_up.weight";
    let offset = description(&file, name) + 4 + 16 + 4;
    for wrong in [0u64, 7, 32, file.len() as u64, 1 << 40, u64::MAX - 31, u64::MAX] {
        assert_error(&patched(&file, offset, &wrong.to_le_bytes()), name);
    }
    assert_error(&patched(&file, offset - 4, &9999u32.to_le_bytes()), name);
}

#[test]
fn with_values_of_wrong_types_or_sizes() {
    let _alone = alone();
    let wrong: [(&'static str, Value); 6] = [
        ("rope.freq_base", "ten".into()),
        ("rope.freq_base", 0.0f32.into()),
        ("rope.freq_base_swa", f32::NAN.into()),
        ("rope.scaling.type", 3u32.into()),
        ("attention.sliding_window_pattern", "all".into()),
        ("final_logit_softcapping", f32::INFINITY.into()),
    ];
    for (key, value) in wrong {
        assert_error(&recipe().value(key, value).build(), key);
    }
}

#[test]
fn with_shapes_that_do_not_fit() {
    let _alone = alone();
    for (wrong, names) in [
        (Recipe { kv_heads: 3, ..recipe() }, "head_count_kv"),
        (Recipe { hidden: 0, ..recipe() }, "ffn_"),
        (Recipe { layers: 0, ..recipe() }, "block_count"),
        (Recipe { arch: "mystery", ..recipe() }, "mystery"),
    ] {
        assert_error(&wrong.build(), names);
    }
    let file = recipe().build();
    for (key, number) in [("embedding_length", 64u32), ("feed_forward_length", 31), ("block_count", 2)] {
        // Behind the key: the type of the value, then the value.
        let value = description(&file, &format!("gemma3.{key}")) + 4;
        assert!(survives(&patched(&file, value, &number.to_le_bytes()), key).is_err(), "{key} = {number}");
    }
}

#[test]
fn with_weights_that_are_no_numbers() {
    let _alone = alone();
    let file = recipe().build();
    let data = file.len() - 4 * 32;
    assert_eq!(survives(&patched(&file, data, &[0xFF; 128]), "NaN"), Ok(()));
}

/// Loads a snapshot and goes on with it; whether it was accepted.
fn load_and_go_on(session: &mut Session, snapshot: &[u8], what: &str) -> bool {
    let mut accepted = false;
    let most = ALLOCATOR.most_during(|| {
        let caught = catch_unwind(AssertUnwindSafe(|| match session.load(snapshot) {
            Ok(tokens) => accepted = tokens == session.tokens().len(),
            Err(error) => assert!(!error.to_string().is_empty()),
        }));
        caught.unwrap_or_else(|_| panic!("{what}: panicked, see above"));
    });
    assert!(most <= 1 << 16, "{what}: {most} bytes allocated");
    if accepted {
        let left = session.rewind(session.tokens().len().min(session.context() - 1));
        session.feed(&[5]).unwrap_or_else(|error| panic!("{what}, {left} tokens: {error}"));
    }
    accepted
}

/// Snapshots with random bytes changed, with and without the checksum that goes with them.
#[test]
fn snapshots_with_random_changes() {
    let _alone = alone();
    let model = model(recipe().build());
    let mut random = Random::new(7);
    let mut accepted = [0, 0];
    for kv in KvType::ALL {
        let mut session = session(&model, Way::PLAIN, *kv, 8);
        session.feed(&[1, 5, 9, 30, 31]).expect("fits");
        let snapshot = session.save().expect("memory");
        for round in 0..2000 {
            let mut changed = snapshot.clone();
            for _ in 0..1 + random.below(3) {
                // Half of the changes are in the header and the tokens behind it.
                let end = if random.below(2) == 0 { 48 + 5 * 4 } else { snapshot.len() };
                changed[random.below(end as u32) as usize] ^= 1 + random.below(255) as u8;
            }
            let mended = round % 2;
            if mended == 1 {
                let end = changed.len() - 8;
                let sum = checksum(0, &changed[..end]);
                changed[end..].copy_from_slice(&sum.to_le_bytes());
            }
            let fine = load_and_go_on(&mut session, &changed, &format!("{kv:?}, round {round}"));
            accepted[mended] += usize::from(fine);
        }
    }
    assert_eq!(accepted[0], 0, "a change is always found by the checksum");
    // Keys, values, logits and valid tokens can be anything.
    assert!((300..2500).contains(&accepted[1]), "{} accepted", accepted[1]);
}

/// What a snapshot says of its length is not believed.
#[test]
fn snapshots_of_absurd_lengths() {
    let _alone = alone();
    let model = model(recipe().build());
    let mut session = session(&model, Way::PLAIN, KvType::F16, 8);
    session.feed(&[1, 5, 9]).expect("fits");
    let snapshot = session.save().expect("memory");
    for offset in [24, 32, 40] {
        for count in [0, 1, 4, 8, 9, 1 << 20, 1 << 32, 1 << 61, 1 << 62, u64::MAX] {
            let changed = patched(&snapshot, offset, &count.to_le_bytes());
            assert!(!load_and_go_on(&mut session, &changed, "a length") || changed == snapshot, "{count} at {offset}");
        }
    }
    for length in 0..snapshot.len().min(48 + 4 * VOCABULARY) {
        assert!(!load_and_go_on(&mut session, &snapshot[..length], "cut"), "cut at {length}");
    }
}
