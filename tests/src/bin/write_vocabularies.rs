//! Writes the fixtures of vocabularies: for `cargo xtask golden`.
//!
//! The first argument is a folder with llama.cpp's `vocab/ggml-vocab-*.gguf` and `models/*.gguf`, the second one the folder
//! to write to. Cases are those that llama.cpp lists, and random ones whose results are this tokenizer's own: make these
//! fixtures only with one that has been compared with llama.cpp on many more of them.

use std::path::{Path, PathBuf};
use woolly_engine::tokenizer::Tokenizer;
use woolly_tests::vocabulary::{listed_cases, metadata, random_cases, reduce};

/// Random cases of each vocabulary.
const RANDOM: usize = 36;

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(from), Some(to)) = (arguments.next(), arguments.next()) else {
        panic!("usage: write_vocabularies REFERENCE FOLDER");
    };
    let mut files = gguf_files(&from.join("vocab"))?;
    files.append(&mut gguf_files(&from.join("models"))?);
    for path in files.iter().filter(|path| !path.to_string_lossy().contains(".f32.")) {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().replace("ggml-vocab-", "").to_lowercase();
        match fixture(path)? {
            Some(file) => {
                std::fs::write(to.join(format!("{name}.gguf")), &file)?;
                println!("{name}: {} bytes", file.len());
            }
            None => println!("{name}: of a kind that is not supported"),
        }
    }
    Ok(())
}

fn gguf_files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path()));
    let mut paths = entries.collect::<std::io::Result<Vec<_>>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "gguf"));
    paths.sort();
    Ok(paths)
}

fn fixture(path: &Path) -> std::io::Result<Option<Vec<u8>>> {
    let whole = metadata(&std::fs::read(path)?);
    let Ok(tokenizer) = Tokenizer::from_metadata(&whole) else { return Ok(None) };
    let (inp, out) = (path.with_extension("gguf.inp"), path.with_extension("gguf.out"));
    let listed = if inp.exists() { listed_cases(&std::fs::read(inp)?, &std::fs::read_to_string(out)?) } else { vec![] };
    let random = random_cases(&tokenizer, 1, RANDOM);
    Ok(Some(reduce(&whole, &[listed, random].concat())))
}
