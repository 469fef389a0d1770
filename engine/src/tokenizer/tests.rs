//! Small vocabularies with results worked out by hand.

use super::*;
use crate::gguf::{Array, Header, Metadata, Parsed, Strings, Value, Writer, parse};
use alloc::{borrow::ToOwned, format, string::ToString, vec};
use proptest::prelude::*;

const NORMAL: i32 = 1;
const UNKNOWN: i32 = 2;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;
const BYTE: i32 = 6;

fn metadata(writer: Writer) -> Metadata {
    match parse(&writer.finish()) {
        Ok(Parsed::Ready(Header { metadata, .. })) => metadata,
        other => panic!("{other:?}"),
    }
}

fn tokenizer(writer: Writer) -> Tokenizer {
    Tokenizer::from_metadata(&metadata(writer)).unwrap()
}

fn error(writer: Writer) -> String {
    Tokenizer::from_metadata(&metadata(writer)).unwrap_err().to_string()
}

/// An SPM vocabulary: unknown, BOS, EOS, the bytes at 3 to 258, and then these pieces with descending scores.
fn spm_writer(pieces: &[&str]) -> Writer {
    let bytes = (0..=255u8).map(|byte| format!("<0x{byte:02X}>"));
    let names = ["<unk>", "<s>", "</s>"].map(ToOwned::to_owned).into_iter().chain(bytes);
    let tokens: Strings = names.chain(pieces.iter().map(|piece| piece.to_string())).collect();
    let mut kinds = vec![NORMAL; tokens.len()];
    kinds[..3].copy_from_slice(&[UNKNOWN, CONTROL, CONTROL]);
    kinds[3..259].fill(BYTE);
    let scores: Vec<f32> = (0..tokens.len()).map(|id| -(id as f32)).collect();
    Writer::new()
        .string("tokenizer.ggml.model", "llama")
        .value("tokenizer.ggml.tokens", tokens)
        .f32s("tokenizer.ggml.scores", scores)
        .i32s("tokenizer.ggml.token_type", kinds)
}

/// The pieces of [`spm_writer`] begin here.
const PIECES: u32 = 259;

/// A BPE vocabulary: the bytes at 0 to 255, then what these merges make in order, then the control token `<|end|>`.
fn bpe_writer(pre: &str, merges: &[&str]) -> Writer {
    let alphabet = unicode::byte_alphabet().into_iter().map(|letter| letter.to_string());
    let made = merges.iter().map(|merge| merge.replacen(' ', "", 1));
    let tokens: Strings = alphabet.chain(made).chain(["<|end|>".to_owned()]).collect();
    let mut kinds = vec![NORMAL; tokens.len()];
    *kinds.last_mut().unwrap() = CONTROL;
    Writer::new()
        .string("tokenizer.ggml.model", "gpt2")
        .string("tokenizer.ggml.pre", pre)
        .value("tokenizer.ggml.tokens", tokens)
        .i32s("tokenizer.ggml.token_type", kinds)
        .strings("tokenizer.ggml.merges", merges)
}

/// What [`spm_writer`] or [`bpe_writer`] wrote, with one entry replaced or added.
fn with(writer: Writer, key: &str, value: impl Into<Value>) -> Writer {
    let found = metadata(writer);
    let others = found.iter().filter(|(other, _)| *other != key);
    let writer = others.fold(Writer::new(), |writer, (key, value)| writer.value(key, value.clone()));
    writer.value(key, value)
}

#[test]
fn spm_merges_by_score_and_falls_back_to_bytes() {
    // "▁ab" can only be reached through "▁a" or "ab"; "bc" would win over both, were it not for its lower score.
    let spm = tokenizer(spm_writer(&["▁", "a", "b", "c", "▁ab", "ab", "bc"]));
    let [space, a, b, c, space_ab, ab, bc] = core::array::from_fn(|i| PIECES + i as u32);
    assert_eq!(spm.encode(b"abc", false, false), [space_ab, c]);
    assert_eq!(spm.encode(b"bcab", true, false), [1, space, bc, ab]);
    assert_eq!(spm.encode(b"a b", false, false), [space, a, space, b]);
    // No token for é: its bytes. Broken UTF-8 too.
    assert_eq!(spm.encode("aé\u{ff}".as_bytes(), false, false)[1..], [a, 3 + 0xC3, 3 + 0xA9, 3 + 0xC3, 3 + 0xBF]);
    assert_eq!(spm.encode(b"a\xff\x80", false, false), [space, a, 3 + 0xFF, 3 + 0x80]);
    assert_eq!(spm.encode(b"", true, true), [1]);
    assert_eq!(spm.encode(b"", false, true), [0u32; 0]);
}

#[test]
fn spm_prefixes_a_space_at_the_start_and_after_special_tokens() {
    let spm = tokenizer(spm_writer(&["▁", "a"]));
    let (space, a) = (PIECES, PIECES + 1);
    assert_eq!(spm.encode(b"a</s>a", false, true), [space, a, 2, space, a]);
    assert_eq!(spm.encode(b"a</s>a", false, false).len(), 2 + 4 + 1, "<, /, s and > as bytes");
    let bare = tokenizer(spm_writer(&["▁", "a"]).bool("tokenizer.ggml.add_space_prefix", false));
    assert_eq!(bare.encode(b"a</s> a", false, true), [a, 2, space, a]);
}

#[test]
fn spm_without_a_byte_token_is_unknown() {
    let tokens = ["<unk>", "<s>", "</s>", "a"];
    let spm = tokenizer(Writer::new().string("tokenizer.ggml.model", "llama").strings("tokenizer.ggml.tokens", tokens));
    assert_eq!(spm.encode("aß".as_bytes(), false, false), [0, 0, 0, 3, 0, 0]);
}

/// A vocabulary in which a token goes on after a letter with a space: stretches must not be cut there.
#[test]
fn spm_merges_across_spaces_where_a_token_does() {
    let spm = tokenizer(spm_writer(&["▁", "a", "b", "a▁b", "a▁"]));
    let [space, a, b, a_b, a_] = core::array::from_fn(|i| PIECES + i as u32);
    assert_eq!(spm.encode(b"a b a", false, false), [space, a_b, space, a]);
    assert_eq!(spm.encode(b"a b", false, false), [space, a_b]);
    assert_eq!(spm.encode(b"b a ", false, false), [space, b, space, a_]);
}

#[test]
fn bpe_merges_by_rank_inside_of_words() {
    let bpe = tokenizer(bpe_writer("gpt-2", &["b c", "a b", "Ġ a", "Ġa bc"]));
    let id = |byte: u8| u32::from(byte);
    assert_eq!(bpe.encode(b"abc", false, false), [id(b'a'), 256]);
    assert_eq!(bpe.encode(b" abc", false, false), [259]);
    assert_eq!(bpe.encode(b"ab ab", false, false), [257, id(b' '), 257]);
    assert_eq!(bpe.encode(b"b1c", false, false), [id(b'b'), id(b'1'), id(b'c')], "b and c are in different words");
    assert_eq!(bpe.encode("é".as_bytes(), false, false), [0xC3, 0xA9]);
    assert_eq!(bpe.encode(b"\xff", false, false), [0xEF, 0xBF, 0xBD], "what cannot be read is U+FFFD");
}

#[test]
fn whole_words_may_ignore_merges() {
    let merges = ["a b", "b c", "c d", "ab cd"];
    let id = |byte: u8| u32::from(byte);
    // "bcd" is a token that merging does not reach: b + c goes first, and there is no bc + d.
    let writer = |pre| {
        let found = metadata(bpe_writer(pre, &merges));
        let tokens = found.require_strings("tokenizer.ggml.tokens").unwrap().iter();
        let tokens: Strings = tokens.map(|text| if text == b"abcd" { b"bcd" } else { text }).collect();
        with(with(bpe_writer(pre, &merges), "tokenizer.ggml.tokens", tokens), "tokenizer.ggml.merges", {
            merges[..3].iter().collect::<Strings>()
        })
    };
    assert_eq!(tokenizer(writer("gpt-2")).encode(b"bcd", false, false), [257, id(b'd')]);
    assert_eq!(tokenizer(writer("llama-bpe")).encode(b"bcd", false, false), [259]);
}

#[test]
fn a_vocabulary_without_an_encoder_still_prints() {
    let tokenizer = tokenizer(
        Writer::new()
            .string("tokenizer.ggml.model", "test")
            .strings("tokenizer.ggml.tokens", ["one ", "two", "<end>"])
            .i32s("tokenizer.ggml.token_type", vec![NORMAL, NORMAL, CONTROL]),
    );
    assert_eq!(tokenizer.encode(b"one two<end>", true, true), [2]);
    assert_eq!(tokenizer.decode(&[0, 1], false), b"one two");
}

#[test]
fn special_tokens_are_found_longest_first() {
    let writer = spm_writer(&["▁", "a", "<x>", "<x><y>", "<y><z>!", "\n\n"]);
    let mut kinds = vec![NORMAL; 3 + 256 + 6];
    kinds[261..264].fill(CONTROL);
    kinds[264] = USER_DEFINED;
    let spm =
        tokenizer(with(writer, "tokenizer.ggml.token_type", kinds).bool("tokenizer.ggml.add_space_prefix", false));
    let [a, x, xy, yz, lines] = core::array::from_fn(|i| PIECES + 1 + i as u32);
    assert_eq!(spm.encode(b"a<x>a", false, true), [a, x, a]);
    assert_eq!(spm.encode(b"<x><y>", false, true), [xy]);
    // <y><z>! is longer than <x><y> and goes first; what is left of that is <x>.
    assert_eq!(spm.encode(b"<x><y><z>!", false, true), [x, yz]);
    assert_eq!(spm.encode(b"a\n\n\na", false, false)[..2], [a, lines], "user-defined tokens are always found");
}

#[test]
fn phi_3_takes_the_spaces_after_special_tokens() {
    let phi = tokenizer(spm_writer(&["▁", "a"]).string("general.name", "Phi-3 mini"));
    assert_eq!(phi.encode(b"</s> \n a<s> ", false, true), [2, PIECES, PIECES + 1, 1, PIECES, PIECES]);
}

#[test]
fn bos_and_eos_as_the_metadata_say() {
    let writer =
        || bpe_writer("gpt-2", &[]).u32("tokenizer.ggml.bos_token_id", 7).u32("tokenizer.ggml.eos_token_id", 8);
    assert_eq!(tokenizer(writer()).encode(b"a", true, false), [97]);
    let both = writer().bool("tokenizer.ggml.add_bos_token", true).bool("tokenizer.ggml.add_eos_token", true);
    let both = tokenizer(both);
    assert_eq!(both.encode(b"a", true, false), [7, 97, 8]);
    assert_eq!(both.encode(b"a", false, false), [97]);
    assert!(both.adds_bos() && both.adds_eos());
    let llama = tokenizer(with(writer(), "tokenizer.ggml.pre", "llama3"));
    assert_eq!(llama.encode(b"a", true, false), [7, 97]);
    // Without ids there is nothing to add.
    let none = tokenizer(bpe_writer("llama3", &[]));
    assert_eq!((none.bos(), none.adds_bos(), none.encode(b"a", true, false)), (None, false, vec![97]));
}

#[test]
fn tokens_that_end_generation() {
    let spm = tokenizer(spm_writer(&["<end_of_turn>", "<|im_end|>", "<|end|>", "<PAD>"]));
    let [turn, im_end, end, padding] = core::array::from_fn(|i| PIECES + i as u32);
    assert_eq!((spm.eos(), spm.eot()), (Some(2), Some(im_end)));
    let ends: Vec<u32> = (0..spm.vocab_len() as u32).filter(|&id| spm.is_end(id)).collect();
    assert_eq!(ends, [2, turn, im_end, end, padding]);
    assert_eq!(spm.piece(turn, false), b"", "found by name, it is a control token");
    let told = tokenizer(spm_writer(&["<|im_end|>", "x"]).u32("tokenizer.ggml.eot_token_id", PIECES + 1));
    assert_eq!(told.eot(), Some(PIECES + 1));
    assert!(told.is_end(PIECES) && told.is_end(PIECES + 1));
}

#[test]
fn some_names_end_generation_only_in_other_company() {
    let harmony = tokenizer(spm_writer(&["<|end|>", "<|return|>", "<|call|>", "<|channel|>"]));
    assert_eq!([0, 1, 2].map(|i| harmony.is_end(PIECES + i)), [false, true, true]);
    assert_eq!(harmony.piece(PIECES, false), b"<|end|>");
    assert_eq!(harmony.piece(PIECES + 3, false), b"<|channel|>");
    let gemma = tokenizer(spm_writer(&["<|tool_response>"]).u32("tokenizer.ggml.eos_token_id", 1));
    assert!(!gemma.is_end(2) && gemma.is_end(PIECES));
    assert_eq!(gemma.piece(2, false), b"</s>");
}

#[test]
fn pieces_print_what_they_stand_for() {
    let spm = tokenizer(spm_writer(&["▁a▁b"]));
    assert_eq!(spm.piece(PIECES, false), b" a b");
    assert_eq!(spm.piece(3 + 0x0A, false), b"\n");
    assert_eq!((spm.piece(1, false), spm.piece(1, true)), (vec![], b"<s>".to_vec()));
    assert_eq!(spm.piece(100_000, true), b"");
    assert_eq!((spm.text(PIECES), spm.text(100_000)), (Some("▁a▁b"), None));
    assert_eq!(spm.find("▁a▁b"), Some(PIECES));
    let bpe = tokenizer(bpe_writer("gpt-2", &["Ġ é", "Ġé é"]));
    assert_eq!(bpe.piece(257, false), b" \xe9\xe9");
    assert_eq!((bpe.piece(258, false), bpe.piece(258, true)), (vec![], b"<|end|>".to_vec()));
}

#[test]
fn decoding_undoes_encoding() {
    let spm = tokenizer(spm_writer(&["▁", "a"]));
    for text in ["a a", " a", "é\n", ""] {
        assert_eq!(spm.decode(&spm.encode(text.as_bytes(), false, false), false), text.as_bytes());
    }
    let bpe = tokenizer(bpe_writer("qwen2", &["a b"]));
    assert_eq!(bpe.decode(&bpe.encode(b"ab , it 's", false, false), false), b"ab , it 's");
    let cleaning = tokenizer(bpe_writer("gpt-2", &["a b"]));
    assert_eq!(cleaning.decode(&cleaning.encode(b"ab , it 's", false, false), false), b"ab, it's");
}

#[test]
fn a_decoder_never_cuts_a_character() {
    let bpe = tokenizer(bpe_writer("gpt-2", &[]));
    let mut decoder = bpe.decoder(false);
    let mut stream = |bytes: &[u8]| bytes.iter().map(|&b| decoder.push(&bpe, b.into())).collect::<Vec<_>>();
    assert_eq!(stream("é😀".as_bytes()), ["", "é", "", "", "", "😀"]);
    assert_eq!(stream(b"\xf0\x9fa\xff"), ["", "", "\u{fffd}a", "\u{fffd}"]);
    assert_eq!(stream(b"\xe2\x82"), ["", ""]);
    assert_eq!(decoder.finish(), "\u{fffd}");
    assert_eq!(decoder.finish(), "");
}

#[test]
fn vocabularies_of_other_kinds_are_refused_by_name() {
    for (model, name) in
        [("bert", "WordPiece"), ("t5", "Unigram"), ("rwkv", "RWKV"), ("plamo2", "PLaMo-2"), ("x", "\"x\"")]
    {
        let message = error(with(spm_writer(&[]), "tokenizer.ggml.model", model));
        assert!(message.contains(name) && message.contains("expected \"llama\""), "{message}");
    }
    let message = error(bpe_writer("gpt-9", &[]));
    assert!(message.contains("\"gpt-9\"") && message.contains("supported: default, gpt-2, "), "{message}");
    let missing = error(Writer::new());
    assert!(missing.contains("tokenizer.ggml.model"), "{missing}");
}

#[test]
fn parts_that_do_not_fit_together_are_refused() {
    let spm = || spm_writer(&["a"]);
    let bpe = || bpe_writer("gpt-2", &["a b"]);
    for (writer, expected) in [
        (with(spm(), "tokenizer.ggml.tokens", Strings::default()), "tokenizer.ggml.tokens is empty"),
        (with(spm(), "tokenizer.ggml.tokens", 5u32), "\"tokenizer.ggml.tokens\" holds"),
        (
            with(spm(), "tokenizer.ggml.scores", vec![0.5f32; 9]),
            "tokenizer.ggml.scores has 9 elements, expected at least 260",
        ),
        (with(spm(), "tokenizer.ggml.scores", "high"), "\"tokenizer.ggml.scores\" holds"),
        (with(spm(), "tokenizer.ggml.token_type", vec![1i32; 9]), "tokenizer.ggml.token_type has 9 elements"),
        (
            spm().u32("tokenizer.ggml.eos_token_id", 260),
            "tokenizer.ggml.eos_token_id is 260, expected a token: less than 260",
        ),
        (spm().string("tokenizer.ggml.add_bos_token", "yes"), "\"tokenizer.ggml.add_bos_token\" holds"),
        (spm_writer(&["a", "b", "a"]), "has \"a\" twice, as 259 and 261"),
        (with(bpe(), "tokenizer.ggml.merges", 1u32), "\"tokenizer.ggml.merges\" holds"),
        (with(bpe(), "tokenizer.ggml.merges", strings(&["ab"])), "merges[0] is \"ab\", expected two tokens"),
        (
            with(bpe(), "tokenizer.ggml.merges", strings(&["a b", "a bb"])),
            "merges[1] is \"a bb\", but \"bb\" is no token",
        ),
        (with(bpe(), "tokenizer.ggml.merges", strings(&["b a"])), "but \"ba\" is no token"),
    ] {
        let message = error(writer);
        assert!(message.contains(expected), "{message:?} lacks {expected:?}");
    }
}

fn strings(texts: &[&str]) -> Strings {
    texts.iter().collect()
}

#[test]
fn what_other_programs_tolerate_is_tolerated() {
    let tokens = |last: &[&str]| ["<unk>", "<s>", "</s>"].iter().chain(last).copied().collect::<Strings>();
    let writer =
        |last| Writer::new().string("tokenizer.ggml.model", "llama").value("tokenizer.ggml.tokens", tokens(last));
    let empty = tokenizer(writer(&["", ""]));
    assert_eq!(empty.text(4), Some("[EMPTY_4]"));
    let whole = tokenizer(
        writer(&["a", "b", "ab", "bb"]).value("tokenizer.ggml.scores", Array::I32(vec![0, 0, 0, 0, 0, 1, 2])),
    );
    assert_eq!(
        whole.encode(b"abb", false, false)[3..],
        [3, 6],
        "scores that are integers; the space is unknown, thrice"
    );
    let tiny = tokenizer(Writer::new().string("tokenizer.ggml.model", "llama").strings("tokenizer.ggml.tokens", ["x"]));
    assert_eq!((tiny.bos(), tiny.encode(b"x", true, true)), (None, vec![0, 0, 0, 0]));
}

proptest! {
    /// Byte-level vocabularies keep every text that is UTF-8, whatever the rule.
    #[test]
    fn any_text_comes_back(text in "\\PC*|[a-zA-Z0-9' \\r\\n\\t.,!]*", row in 0..rules::RULES.len()) {
        let rule = &rules::RULES[row];
        let bpe = tokenizer(bpe_writer(rule.names[0], &["a b", "Ġ t", "e r", "Ċ Ċ"]));
        prop_assume!(rule.spelling == rules::Spelling::Bytes);
        let pieces: Vec<u8> = bpe.encode(text.as_bytes(), false, false).iter().flat_map(|&id| bpe.piece(id, false)).collect();
        prop_assert_eq!(pieces, text.as_bytes());
    }

    /// With byte fallback, SPM keeps every byte. (Not so spaces, which are U+2581 inside: after the first byte of
    /// a character that stays incomplete they come out as that. 0x96 is one of its bytes.)
    #[test]
    fn any_bytes_come_back(mut bytes: Vec<u8>) {
        bytes.retain(|byte| ![b' ', 0x96].contains(byte));
        let spm = tokenizer(spm_writer(&["▁", "a", "b", "ab", "▁a"]));
        prop_assert_eq!(spm.decode(&spm.encode(&bytes, false, false), false), bytes);
    }

    /// A decoder's parts make up the whole.
    #[test]
    fn a_decoder_loses_nothing(bytes: Vec<u8>) {
        let spm = tokenizer(spm_writer(&[]));
        let mut decoder = spm.decoder(false);
        let mut text: String = bytes.iter().map(|&byte| decoder.push(&spm, 3 + u32::from(byte))).collect();
        text += &decoder.finish();
        prop_assert_eq!(text, String::from_utf8_lossy(&bytes));
    }
}
