//! Writes a few small valid inputs for each target, from which fuzzing starts.

use std::fs;
use std::path::Path;

use woolly_engine::gguf::{Array, Writer};
use woolly_engine::quant::TensorType;

fn main() -> std::io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    save(&corpus.join("gguf"), &gguf_files())?;
    save(&corpus.join("template"), &templates()?)
}

/// The templates and snippets whose output is compared with Jinja's.
fn templates() -> std::io::Result<Vec<Vec<u8>>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/chat");
    let snippets: Vec<String> = serde_json::from_str(&fs::read_to_string(folder.join("snippets.json"))?)?;
    let mut all: Vec<Vec<u8>> = snippets.into_iter().map(String::into_bytes).collect();
    for name in ["macros.jinja", "tools.jinja", "whitespace.jinja"] {
        all.push(fs::read(folder.join(name))?);
    }
    Ok(all)
}

fn save(folder: &Path, inputs: &[Vec<u8>]) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    for (i, input) in inputs.iter().enumerate() {
        fs::write(folder.join(format!("seed-{i}")), input)?;
    }
    Ok(())
}

fn gguf_files() -> Vec<Vec<u8>> {
    let scalars = Writer::new()
        .value("a", 1u8)
        .value("b", -1i8)
        .value("c", 1u16)
        .value("d", -1i16)
        .u32("e", 1)
        .value("f", -1i32)
        .f32("g", 1.0)
        .bool("h", true)
        .string("i", "text")
        .value("j", 1u64)
        .value("k", -1i64)
        .value("l", 1.0f64);
    let arrays = Writer::new()
        .strings("a", ["x", "yz", ""])
        .i32s("b", [1, 2])
        .f32s("c", [1.0])
        .value("d", vec![true, false])
        .value("e", vec![Array::from(vec![1u8]), Array::from(vec![Array::from(vec![2u64])])]);
    let tensors = TensorType::ALL.iter().fold(Writer::new().u32("general.alignment", 8), |writer, kind| {
        writer.tensor(kind.name(), &[kind.block_len() as u64, 2], *kind, vec![0; 2 * kind.block_bytes()])
    });
    let split = Writer::new().value("split.no", 0u16).value("split.count", 1u16).value("split.tensors.count", 1i32);
    let split = split.tensor("a", &[1, 1, 1, 1], TensorType::F32, [0; 4]);
    [scalars, arrays, tensors, split, Writer::new()].map(Writer::finish).to_vec()
}
