//! One model, one answer, on every machine: the bits of logits are those that are recorded in `fixtures/bits.txt`.
//!
//! After an intended change of the arithmetic, the text that the failure prints is the new file.

use std::fmt::Write;
use std::path::Path;
use woolly_engine::quant::TensorType;
use woolly_engine::transformer::KvType;
use woolly_tests::random_model::Recipe;
use woolly_tests::recipes::{self, PROMPT};
use woolly_tests::run::{Way, levels, logits, model};

/// FNV-1a over the bits.
fn hash(logits: &[f32]) -> u64 {
    let bytes = logits.iter().flat_map(|x| x.to_bits().to_le_bytes());
    bytes.fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3))
}

#[test]
fn bits_are_the_same_on_every_machine() {
    check(usize::MAX);
}

/// One token at a time goes another way through the kernels.
#[test]
fn token_by_token_too() {
    check(1);
}

/// Feeds every model so many tokens at a time, at each level.
fn check(chunk: usize) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/bits.txt");
    let recorded = std::fs::read_to_string(path).expect("fixtures/bits.txt can be read");
    for level in levels() {
        let mut found = String::new();
        for recipe in TensorType::ALL.iter().map(|&kind| Recipe::of_type(kind)).chain(recipes::all()) {
            let way = Way { level, chunk, ..Way::PLAIN };
            let logits = logits(&model(recipe.build()), &recipe.tokens(PROMPT), way, KvType::F16);
            writeln!(found, "{} {:016x}", recipe.name, hash(&logits)).expect("a string takes everything");
        }
        assert!(found == recorded, "at {level}, {chunk} tokens at a time at most, the bits are\n{found}");
    }
}
