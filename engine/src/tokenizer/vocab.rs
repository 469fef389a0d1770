//! The tokens: their texts, kinds and scores, and the way from a text to its token.

use super::Error;
use crate::gguf::{Metadata, Strings};
use alloc::{format, string::String, vec, vec::Vec};
use core::hash::BuildHasher;
use hashbrown::{DefaultHashBuilder, HashTable};

/// What a token is, as bits: more than one may be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind(u8);

impl Kind {
    pub const UNDEFINED: Self = Self(0);
    pub const NORMAL: Self = Self(1);
    pub const UNKNOWN: Self = Self(2);
    pub const CONTROL: Self = Self(4);
    pub const USER_DEFINED: Self = Self(8);
    pub const UNUSED: Self = Self(16);
    pub const BYTE: Self = Self(32);

    /// The kind that a number in `tokenizer.ggml.token_type` stands for.
    fn from_number(number: i32) -> Self {
        match number {
            1 => Self::NORMAL,
            2 => Self::UNKNOWN,
            3 => Self::CONTROL,
            4 => Self::USER_DEFINED,
            5 => Self::UNUSED,
            6 => Self::BYTE,
            _ => Self::UNDEFINED,
        }
    }

    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub const fn is_any_of(self, others: Self) -> bool {
        self.0 & others.0 != 0
    }
}

/// All tokens of a vocabulary, and an index of their texts.
#[derive(Clone, Debug)]
pub(super) struct Vocab {
    texts: Strings,
    kinds: Vec<Kind>,
    /// Empty when the file has none: every score is 0 then.
    scores: Vec<f32>,
    index: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

const TOKENS: &str = "tokenizer.ggml.tokens";

impl Vocab {
    pub fn from_metadata(metadata: &Metadata) -> Result<Self, Error> {
        let texts = name_empty_tokens(metadata.require_strings(TOKENS)?);
        if texts.is_empty() {
            return Err(Error::EmptyVocabulary);
        }
        let kinds = match metadata.i32s("tokenizer.ggml.token_type")? {
            Some(numbers) => numbers.iter().map(|&number| Kind::from_number(number)).collect(),
            None => vec![Kind::NORMAL; texts.len()],
        };
        check_len("tokenizer.ggml.token_type", kinds.len(), texts.len())?;
        let scores = read_scores(metadata)?;
        if let Some(scores) = &scores {
            check_len("tokenizer.ggml.scores", scores.len(), texts.len())?;
        }
        let mut vocab = Self {
            index: HashTable::with_capacity(texts.len()),
            texts,
            kinds,
            scores: scores.unwrap_or_default(),
            hasher: DefaultHashBuilder::default(),
        };
        vocab.fill_index()?;
        Ok(vocab)
    }

    fn fill_index(&mut self) -> Result<(), Error> {
        let Self { texts, index, hasher, .. } = self;
        let hash = |text: &[u8]| hasher.hash_one(text);
        for (id, text) in texts.iter().enumerate() {
            let same_text = |&other: &u32| texts.get(other as usize) == Some(text);
            let key = hash(text);
            if let Some(&first) = index.find(key, same_text) {
                let text = String::from_utf8_lossy(text).into_owned();
                return Err(Error::DuplicateToken { first, second: id as u32, text });
            }
            index.insert_unique(key, id as u32, |&id| hash(texts.get(id as usize).unwrap_or_default()));
        }
        Ok(())
    }

    pub fn len(&self) -> usize {
        self.texts.len()
    }

    pub fn text(&self, id: u32) -> Option<&[u8]> {
        self.texts.get(id as usize)
    }

    pub fn texts(&self) -> impl Iterator<Item = (u32, &[u8])> {
        (0..).zip(self.texts.iter())
    }

    pub fn kind(&self, id: u32) -> Kind {
        self.kinds.get(id as usize).copied().unwrap_or(Kind::UNDEFINED)
    }

    /// Changes the kind of a token of this vocabulary.
    pub fn set_kind(&mut self, id: u32, kind: Kind) {
        self.kinds[id as usize] = kind;
    }

    pub fn score(&self, id: u32) -> f32 {
        self.scores.get(id as usize).copied().unwrap_or(0.0)
    }

    /// The token with this text.
    pub fn find(&self, text: &[u8]) -> Option<u32> {
        let same_text = |&id: &u32| self.texts.get(id as usize) == Some(text);
        self.index.find(self.hasher.hash_one(text), same_text).copied()
    }

    /// Those of some texts that are tokens.
    pub fn find_all(&self, texts: &[&str]) -> Vec<u32> {
        texts.iter().filter_map(|text| self.find(text.as_bytes())).collect()
    }

    /// The token that stands for a byte that no token covers: `<0x0A>`, or where that is missing, the byte as text.
    pub fn byte_token(&self, byte: u8) -> Option<u32> {
        self.find(format!("<0x{byte:02X}>").as_bytes()).or_else(|| self.find(&[byte]))
    }
}

/// Tokens without text would all be the same one: they are named after their ids.
fn name_empty_tokens(texts: &Strings) -> Strings {
    if texts.iter().all(|text| !text.is_empty()) {
        return texts.clone();
    }
    let mut named = Strings::default();
    for (id, text) in texts.iter().enumerate() {
        match text {
            [] => named.push(format!("[EMPTY_{id}]").as_bytes()),
            text => named.push(text),
        }
    }
    named
}

/// Scores are floating-point numbers, or in some files integers.
fn read_scores(metadata: &Metadata) -> Result<Option<Vec<f32>>, Error> {
    const KEY: &str = "tokenizer.ggml.scores";
    match metadata.f32s(KEY) {
        Ok(scores) => Ok(scores.map(|scores| scores.into_owned())),
        Err(error) => match metadata.i32s(KEY) {
            Ok(Some(scores)) => Ok(Some(scores.iter().map(|&score| score as f32).collect())),
            _ => Err(error.into()),
        },
    }
}

/// Lists of properties may go on beyond the vocabulary, but not end before it does.
fn check_len(key: &'static str, len: usize, tokens: usize) -> Result<(), Error> {
    if len < tokens { Err(Error::TooShort { key, len, tokens }) } else { Ok(()) }
}
