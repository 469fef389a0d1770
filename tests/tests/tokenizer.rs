//! Tokenizers against llama.cpp: on parts of real vocabularies (`fixtures/tokenizer`), and on whole ones where
//! `WOOLLY_REFERENCE` names a folder with the reference implementation.

use std::path::{Path, PathBuf};
use woolly_engine::gguf::Metadata;
use woolly_engine::tokenizer::Tokenizer;
use woolly_tests::vocabulary::{Case, cases, has_byte, listed_cases, metadata, texts};

fn gguf_files(folder: &Path) -> Vec<(String, PathBuf)> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let ggufs = paths.filter(|path| path.extension().is_some_and(|extension| extension == "gguf"));
    ggufs.map(|path| (path.file_stem().expect("a name").to_string_lossy().into_owned(), path)).collect()
}

/// The fixtures: name, metadata, tokenizer.
fn fixtures() -> Vec<(String, Metadata, Tokenizer)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/tokenizer");
    let load = |(name, path): (String, PathBuf)| {
        let metadata = metadata(&std::fs::read(path).expect("a file"));
        let tokenizer = Tokenizer::from_metadata(&metadata).unwrap_or_else(|error| panic!("{name}: {error}"));
        (name, metadata, tokenizer)
    };
    gguf_files(&folder).into_iter().map(load).collect()
}

fn check(name: &str, tokenizer: &Tokenizer, cases: &[Case]) {
    for case in cases {
        assert_eq!(case.encode(tokenizer), case.ids, "{name}: {:?}", String::from_utf8_lossy(&case.text));
    }
}

#[test]
fn parts_of_real_vocabularies_do_as_the_whole() {
    let fixtures = fixtures();
    for (name, metadata, tokenizer) in &fixtures {
        let cases = cases(metadata);
        assert!(cases.len() >= 36, "{name} has {} cases", cases.len());
        check(name, tokenizer, &cases);
    }
    let names: Vec<_> = fixtures.iter().map(|(name, ..)| name.as_str()).collect();
    assert_eq!(fixtures.len(), 19, "{names:?}");
}

#[test]
fn text_comes_back_from_its_tokens() {
    for (name, metadata, tokenizer) in fixtures() {
        for case in cases(&metadata) {
            let Ok(text) = std::str::from_utf8(&case.text) else { continue };
            if !case.text.iter().all(|&byte| has_byte(&tokenizer, byte)) {
                continue;
            }
            let ids = tokenizer.encode(&case.text, false, false);
            let pieces: Vec<u8> = ids.iter().flat_map(|&id| tokenizer.piece(id, true)).collect();
            let prefixed = metadata.bool("tokenizer.ggml.add_space_prefix").expect("a bool");
            let spm = metadata.require_string("tokenizer.ggml.model").expect("a model") == "llama";
            let decoded = String::from_utf8_lossy(&pieces);
            let decoded =
                if spm && prefixed != Some(false) { decoded.strip_prefix(' ').unwrap_or(&decoded) } else { &decoded };
            // U+2581 is what vocabularies of these kinds have for a space.
            assert_eq!(decoded.replace('▁', " "), text.replace('▁', " "), "{name}");
        }
    }
}

#[test]
fn a_stream_says_what_the_pieces_say() {
    for (name, metadata, tokenizer) in fixtures() {
        for case in cases(&metadata) {
            for special in [false, true] {
                let mut decoder = tokenizer.decoder(special);
                let mut stream: String = case.ids.iter().map(|&id| decoder.push(&tokenizer, id)).collect();
                stream += &decoder.finish();
                let pieces: Vec<u8> = case.ids.iter().flat_map(|&id| tokenizer.piece(id, special)).collect();
                assert_eq!(stream, String::from_utf8_lossy(&pieces), "{name}");
            }
        }
    }
}

/// Who merges in quadratic time does not finish this.
#[test]
fn a_megabyte_in_one_word_is_no_trouble() {
    let some = ["gpt-2", "llama-bpe", "llama-spm", "gemma-4"];
    for (name, _, tokenizer) in fixtures().into_iter().filter(|(name, ..)| some.contains(&name.as_str())) {
        for unit in ["a", "ab", " "] {
            let text = unit.repeat((1 << 20) / unit.len());
            let ids = tokenizer.encode(text.as_bytes(), false, true);
            let len: usize = ids.iter().map(|&id| tokenizer.piece(id, true).len()).sum();
            assert!((text.len()..=text.len() + 1).contains(&len), "{name}: {unit:?} became {len} bytes");
        }
    }
}

/// With the reference at hand, its own vocabularies and cases in full; else their parts have been checked above, and
/// here, random texts on them.
#[test]
fn whole_vocabularies_pass_the_listed_cases() {
    let Some(folder) = std::env::var_os("WOOLLY_REFERENCE") else {
        for (name, _, tokenizer) in fixtures() {
            for text in texts(&tokenizer, 7, 90) {
                let ids = tokenizer.encode(&text, true, true);
                assert!(ids.iter().all(|&id| (id as usize) < tokenizer.vocab_len()), "{name}");
            }
        }
        return;
    };
    let mut passed = 0;
    for (name, path) in gguf_files(&Path::new(&folder).join("vocab")) {
        let (inp, out) = (path.with_extension("gguf.inp"), path.with_extension("gguf.out"));
        let metadata = metadata(&std::fs::read(&path).expect("a vocabulary"));
        let model = metadata.require_string("tokenizer.ggml.model").expect("a model").to_owned();
        match Tokenizer::from_metadata(&metadata) {
            Ok(tokenizer) if inp.exists() => {
                let inp = std::fs::read(inp).expect("texts");
                check(&name, &tokenizer, &listed_cases(&inp, &std::fs::read_to_string(out).expect("tokens")));
                passed += 1;
            }
            Ok(_) => {}
            Err(error) => assert!(["bert", "t5"].contains(&model.as_str()), "{name}: {error}"),
        }
    }
    assert!(passed >= 14, "{passed} vocabularies");
}
