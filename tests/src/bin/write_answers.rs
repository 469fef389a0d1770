//! Writes models and the logits that they must give everywhere, computed by the portable code: for the suite of the npm
//! package. `write_answers FOLDER [NAME=MODEL.gguf]…` leaves for each tensor type and each architecture a tiny `NAME.gguf`,
//! and for these and the models given the tokens `NAME.ids` and the logits `NAME.f32`, positions × vocabulary,
//! little-endian.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use woolly_engine::model::Model;
use woolly_engine::quant::TensorType;
use woolly_engine::transformer::KvType;
use woolly_tests::random_model::Recipe;
use woolly_tests::recipes::{self, PROMPT};
use woolly_tests::run::{Way, logits, model, model_file};

/// What the models given are fed.
const TEXT: &str = "The quick brown fox jumps over the lazy dog. 1, 2, 3";

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().expect("usage: write_answers FOLDER [NAME=MODEL.gguf]…"));
    for recipe in TensorType::ALL.iter().map(|&kind| Recipe::of_type(kind)).chain(recipes::all()) {
        let file = recipe.build();
        std::fs::write(folder.join(format!("{}.gguf", recipe.name)), &file)?;
        write(&folder, &recipe.name, &model(file), &recipe.tokens(PROMPT))?;
    }
    for argument in arguments {
        let (name, path) = argument.split_once('=').expect("NAME=MODEL.gguf");
        let model = model_file(Path::new(path));
        let tokens = model.tokenizer().encode(TEXT.as_bytes(), true, false);
        write(&folder, name, &model, &tokens)?;
    }
    Ok(())
}

fn write(folder: &Path, name: &str, model: &Arc<Model>, tokens: &[u32]) -> std::io::Result<()> {
    let ids: Vec<String> = tokens.iter().map(u32::to_string).collect();
    std::fs::write(folder.join(format!("{name}.ids")), ids.join(" "))?;
    let logits = logits(model, tokens, Way::PLAIN, KvType::F16);
    let bytes: Vec<u8> = logits.iter().flat_map(|logit| logit.to_le_bytes()).collect();
    std::fs::write(folder.join(format!("{name}.f32")), bytes)
}
