//! Vocabularies cut down to what some texts need, as fixtures: a real vocabulary has megabytes.
//!
//! A token stays if its text occurs in one of the texts as the vocabulary spells it, if it stands for a byte, or if the
//! metadata name it; a merge stays if its tokens do. So on these texts, merging finds the same candidates in the same
//! order as with the whole vocabulary, and the results differ in nothing but the numbering of tokens, which keeps its
//! order. Cases are kept in the fixture's metadata.

mod texts;

pub use texts::texts;

use std::collections::{BTreeMap, BTreeSet};
use woolly_engine::gguf::{self, Metadata, Parsed, Strings, Writer};
use woolly_engine::tokenizer::Tokenizer;

/// A text and the tokens that it becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// What is encoded.
    pub text: Vec<u8>,
    /// The arguments of `Tokenizer::encode`.
    pub add_special: bool,
    /// The same.
    pub parse_special: bool,
    /// The expected result.
    pub ids: Vec<u32>,
}

impl Case {
    /// What the tokenizer makes of the text now.
    pub fn encode(&self, tokenizer: &Tokenizer) -> Vec<u32> {
        tokenizer.encode(&self.text, self.add_special, self.parse_special)
    }
}

/// The metadata of a GGUF file.
///
/// # Panics
/// When it is none.
pub fn metadata(file: &[u8]) -> Metadata {
    match gguf::parse(file) {
        Ok(Parsed::Ready(header)) => header.metadata,
        other => panic!("not a header: {other:?}"),
    }
}

/// The cases that llama.cpp has beside a vocabulary: texts in a file `.inp`, a line of tokens for each of them in `.out`.
pub fn listed_cases(inp: &[u8], out: &str) -> Vec<Case> {
    const BETWEEN: &[u8] = b"\n__ggml_vocab_test__\n";
    let mut texts = Vec::new();
    let mut rest = inp;
    while let Some(at) = rest.windows(BETWEEN.len()).position(|window| window == BETWEEN) {
        texts.push(&rest[..at]);
        rest = &rest[at + BETWEEN.len()..];
    }
    if !rest.is_empty() {
        texts.push(rest);
    }
    let ids = |line: &str| line.split_whitespace().map(|id| id.parse().expect("an id")).collect();
    assert_eq!(texts.len(), out.lines().count(), "as many texts as lines of tokens");
    let case = |(text, line): (&[u8], &str)| Case {
        text: text.to_vec(),
        add_special: false,
        parse_special: false,
        ids: ids(line),
    };
    texts.into_iter().zip(out.lines()).map(case).collect()
}

/// Cases of random texts with what the tokenizer makes of them, in all four ways of calling it.
pub fn random_cases(tokenizer: &Tokenizer, seed: u64, count: usize) -> Vec<Case> {
    let texts = texts(tokenizer, seed, count);
    let cases = texts.into_iter().enumerate().map(|(index, text)| {
        let (add_special, parse_special) = (index % 2 == 0, index % 4 < 2);
        let ids = tokenizer.encode(&text, add_special, parse_special);
        Case { text, add_special, parse_special, ids }
    });
    cases.collect()
}

const TEXTS: &str = "cases.texts";
const FLAGS: &str = "cases.flags";
const COUNTS: &str = "cases.counts";
const IDS: &str = "cases.ids";
const TOKENS: &str = "tokenizer.ggml.tokens";
const KINDS: &str = "tokenizer.ggml.token_type";
const SCORES: &str = "tokenizer.ggml.scores";
const MERGES: &str = "tokenizer.ggml.merges";

/// The cases in a fixture.
///
/// # Panics
/// When the metadata are no fixture's.
pub fn cases(fixture: &Metadata) -> Vec<Case> {
    let list = |key| fixture.require_u32s(key).expect("a fixture").into_owned();
    let (flags, counts, ids) = (list(FLAGS), list(COUNTS), list(IDS));
    let mut ids = ids.into_iter();
    let texts = fixture.require_strings(TEXTS).expect("a fixture").iter();
    let cases = texts.zip(flags).zip(counts).map(|((text, flags), count)| Case {
        text: text.to_vec(),
        add_special: flags & 1 != 0,
        parse_special: flags & 2 != 0,
        ids: ids.by_ref().take(count as usize).collect(),
    });
    cases.collect()
}

/// A file with the part of a vocabulary that the cases need, and the cases.
///
/// # Panics
/// When the metadata are no vocabulary, or the smaller one does not do what the whole one does.
pub fn reduce(whole: &Metadata, cases: &[Case]) -> Vec<u8> {
    let tokens = whole.require_strings(TOKENS).expect("a vocabulary");
    let kept = kept_tokens(whole, tokens, cases);
    let new_ids: BTreeMap<u32, u32> = kept.iter().copied().zip(0..).collect();
    let texts: BTreeSet<&[u8]> = kept.iter().filter_map(|&id| tokens.get(id as usize)).collect();

    let mut writer = Writer::new();
    for (key, value) in whole.iter() {
        writer = match key {
            TOKENS => writer.strings(key, kept.iter().filter_map(|&id| tokens.get(id as usize))),
            KINDS => writer.i32s(key, pick(&whole.require_i32s(key).expect("kinds"), &kept)),
            SCORES => writer.f32s(key, pick(&whole.require_f32s(key).expect("scores"), &kept)),
            MERGES => writer.value(key, kept_merges(whole.require_strings(key).expect("merges"), &texts)),
            _ if key.starts_with("tokenizer.ggml.") && key.ends_with("_token_id") => {
                let id = whole.require_u32(key).expect("an id");
                new_ids.get(&id).into_iter().fold(writer, |writer, &id| writer.u32(key, id))
            }
            "general.name" => writer.value(key, value.clone()),
            _ if key.starts_with("tokenizer.ggml.") => writer.value(key, value.clone()),
            _ => writer,
        };
    }
    let renumbered =
        cases.iter().map(|case| Case { ids: case.ids.iter().map(|id| new_ids[id]).collect(), ..case.clone() });
    let renumbered: Vec<Case> = renumbered.collect();
    let file = write_cases(writer, &renumbered).finish();
    let tokenizer = Tokenizer::from_metadata(&metadata(&file)).expect("a smaller vocabulary");
    for case in &renumbered {
        assert_eq!(case.encode(&tokenizer), case.ids, "{:?}", String::from_utf8_lossy(&case.text));
    }
    file
}

fn write_cases(writer: Writer, cases: &[Case]) -> Writer {
    let flags = cases.iter().map(|case| u32::from(case.add_special) | u32::from(case.parse_special) << 1);
    let counts = cases.iter().map(|case| case.ids.len() as u32);
    writer
        .strings(TEXTS, cases.iter().map(|case| &case.text))
        .value(FLAGS, flags.collect::<Vec<u32>>())
        .value(COUNTS, counts.collect::<Vec<u32>>())
        .value(IDS, cases.iter().flat_map(|case| case.ids.clone()).collect::<Vec<u32>>())
}

fn pick<T: Copy>(values: &[T], ids: &BTreeSet<u32>) -> Vec<T> {
    ids.iter().map(|&id| values[id as usize]).collect()
}

fn kept_tokens(whole: &Metadata, tokens: &Strings, cases: &[Case]) -> BTreeSet<u32> {
    let spelled: Vec<u8> = cases.iter().flat_map(|case| spellings(&case.text)).collect();
    // Where each two bytes occur: a text is looked for there only.
    let mut places: BTreeMap<&[u8], Vec<usize>> = BTreeMap::new();
    for (at, pair) in spelled.windows(2).enumerate() {
        places.entry(pair).or_default().push(at);
    }
    let occurs = |text: &[u8]| match text.get(..2) {
        Some(pair) => places.get(pair).is_some_and(|places| places.iter().any(|&at| spelled[at..].starts_with(text))),
        None => true,
    };
    let is_byte = |text: &[u8]| (text.len() == 6 && text.starts_with(b"<0x")) || text.len() <= 2;
    let occurring = (0..).zip(tokens.iter()).filter(|(_, text)| occurs(text) || is_byte(text)).map(|(id, _)| id);
    let named = whole.iter().filter(|(key, _)| key.ends_with("_token_id")).filter_map(|(_, value)| value.as_integer());
    let tokenizer = Tokenizer::from_metadata(whole).expect("a vocabulary");
    let ends = (0..tokens.len() as u32).filter(|&id| tokenizer.is_end(id));
    let used = cases.iter().flat_map(|case| case.ids.iter().copied());
    occurring.chain(named.filter(|&id| (id as usize) < tokens.len())).chain(ends).chain(used).collect()
}

/// A text in the ways that vocabularies spell it, with and without mending of broken UTF-8, separated by a byte that
/// no token has.
fn spellings(text: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    for text in [text, String::from_utf8_lossy(text).as_bytes()] {
        let metaspace: Vec<u8> =
            text.iter().flat_map(|&b| if b == b' ' { "▁".as_bytes().to_vec() } else { vec![b] }).collect();
        let letters: String = text.iter().map(|&byte| letter(byte)).collect();
        for spelling in [text, &[SPACE, metaspace.as_slice()].concat(), letters.as_bytes()] {
            all.extend_from_slice(spelling);
            all.push(0xFF);
        }
    }
    all
}

const SPACE: &[u8] = "▁".as_bytes();

/// Whether there is a token for a byte. Some vocabularies lack a few, and leave them out of texts.
pub fn has_byte(tokenizer: &Tokenizer, byte: u8) -> bool {
    [letter(byte).to_string(), format!("<0x{byte:02X}>")].iter().any(|name| tokenizer.find(name).is_some())
}

/// The letter for a byte in byte-level vocabularies.
fn letter(byte: u8) -> char {
    match byte {
        0x00..=0x20 => char::from_u32(0x100 + u32::from(byte)),
        0x7F..=0xA0 => char::from_u32(0x121 + u32::from(byte - 0x7F)),
        0xAD => Some('\u{143}'),
        printable => Some(char::from(printable)),
    }
    .expect("a letter")
}

fn kept_merges(merges: &Strings, texts: &BTreeSet<&[u8]>) -> Strings {
    let kept = merges.iter().filter(|merge| {
        let space = 1 + merge[1..].iter().position(|&byte| byte == b' ').expect("a merge");
        let (left, right) = (&merge[..space], &merge[space + 1..]);
        texts.contains(left) && texts.contains(right) && texts.contains([left, right].concat().as_slice())
    });
    kept.collect()
}
