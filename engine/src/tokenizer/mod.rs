//! Text to tokens and back, by the vocabulary in a GGUF file's metadata.
//!
//! Encoding goes through these stages:
//!
//! 1. the text is cut at special tokens ([`special`]);
//! 2. a BPE vocabulary cuts the text between them into words ([`rules`], which run on [`pattern`] over [`unicode`]'s
//!    categories); an SPM vocabulary takes it whole;
//! 3. characters merge into tokens ([`merge`], with the ranks of [`bpe`] or [`spm`]).
//!
//! [`decode`] goes back. [`load`] reads the metadata into the parts above. The model for all of it is llama.cpp, whose
//! files these are: same tokens for the same bytes, broken UTF-8 included.
//!
//! Two kinds of vocabulary are known: `llama` (SentencePiece: SPM with byte fallback) and `gpt2` (BPE, with the
//! pre-tokenizers of [`rules::RULES`]; `gemma4` is one of them under a name of its own). A third, `test`, has names of
//! tokens and no way to encode a text: random models come with it.

mod bpe;
mod decode;
mod load;
mod merge;
mod pattern;
mod rules;
mod special;
mod spm;
mod unicode;
mod vocab;

pub use decode::Decoder;

use crate::gguf;
use alloc::{boxed::Box, collections::BTreeSet, string::String, vec::Vec};
use special::{Finder, Part};

/// A vocabulary, ready to encode and decode.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    vocab: vocab::Vocab,
    coder: Coder,
    specials: Finder,
    bos: Option<u32>,
    eos: Option<u32>,
    eot: Option<u32>,
    end: BTreeSet<u32>,
    adds_bos: bool,
    adds_eos: bool,
    add_space_prefix: bool,
    clean_spaces: bool,
}

/// How text without special tokens becomes tokens.
#[derive(Clone, Debug)]
enum Coder {
    Spm(spm::Spm),
    Bpe(Box<bpe::Bpe>),
    /// It does not: only special tokens are found.
    None,
}

impl Tokenizer {
    /// The tokens of a prompt that a chat template rendered. Templates often write the BOS token that is added anyway: one
    /// is enough.
    pub fn encode_prompt(&self, prompt: &str) -> Vec<u32> {
        let bos = self.bos.filter(|_| self.adds_bos).and_then(|id| self.text(id)).unwrap_or("");
        self.encode(prompt.strip_prefix(bos).unwrap_or(prompt).as_bytes(), true, true)
    }

    /// The tokens of `text`, which may be broken UTF-8.
    ///
    /// `add_special` adds the tokens that a text begins and ends with in this vocabulary (BOS, EOS). `parse_special` takes
    /// names of special tokens in the text, such as `<|im_end|>`, for those tokens; else they are text like any other.
    pub fn encode(&self, text: &[u8], add_special: bool, parse_special: bool) -> Vec<u32> {
        let mut tokens = Vec::with_capacity(text.len() / 3 + 2);
        tokens.extend(self.bos.filter(|_| add_special && self.adds_bos));
        let mut after_special = true;
        for part in self.specials.parts(text, parse_special) {
            match (part, &self.coder) {
                (Part::Token(id), _) => tokens.push(id),
                (Part::Text(_), Coder::None) => {}
                (Part::Text(text), Coder::Bpe(bpe)) => bpe.encode(&self.vocab, text, &mut tokens),
                (Part::Text(text), Coder::Spm(spm)) => {
                    spm.encode(&self.vocab, text, self.add_space_prefix && after_special, &mut tokens);
                }
            }
            after_special = matches!(part, Part::Token(_));
        }
        tokens.extend(self.eos.filter(|_| add_special && self.adds_eos));
        tokens
    }

    /// How many tokens there are: ids are 0 to this, exclusive.
    pub fn vocab_len(&self) -> usize {
        self.vocab.len()
    }

    /// The token that begins a text.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// The token that ends a text.
    pub fn eos(&self) -> Option<u32> {
        self.eos
    }

    /// The token that ends a turn of a conversation.
    pub fn eot(&self) -> Option<u32> {
        self.eot
    }

    /// Whether generation ends with this token: EOS, EOT, and others that vocabularies have for the purpose.
    pub fn is_end(&self, id: u32) -> bool {
        self.end.contains(&id)
    }

    /// Whether `encode` with `add_special` begins with BOS.
    pub fn adds_bos(&self) -> bool {
        self.adds_bos && self.bos.is_some()
    }

    /// Whether `encode` with `add_special` ends with EOS.
    pub fn adds_eos(&self) -> bool {
        self.adds_eos && self.eos.is_some()
    }

    /// A token as the vocabulary writes it, with its marks for spaces and bytes. None for an id outside the vocabulary, or
    /// a text that is not UTF-8.
    pub fn text(&self, id: u32) -> Option<&str> {
        core::str::from_utf8(self.vocab.text(id)?).ok()
    }

    /// The token that the vocabulary writes like this.
    pub fn find(&self, text: &str) -> Option<u32> {
        self.vocab.find(text.as_bytes())
    }
}

/// Why metadata do not make a tokenizer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // the messages say it
pub enum Error {
    #[error(transparent)]
    Metadata(#[from] gguf::Error),
    #[error(
        "tokenizer.ggml.model is {name:?}{}, expected \"llama\" (SPM), \"gpt2\" or \"gemma4\" (BPE)",
        load::about_model(name)
    )]
    Model { name: String },
    #[error("tokenizer.ggml.pre is {name:?}, a pre-tokenizer that is not supported; supported: {}", rules::Names)]
    PreTokenizer { name: String },
    #[error("tokenizer.ggml.tokens is empty")]
    EmptyVocabulary,
    #[error("{key} has {len} elements, expected at least {tokens}: one for each of tokenizer.ggml.tokens")]
    TooShort { key: &'static str, len: usize, tokens: usize },
    #[error("tokenizer.ggml.tokens has {text:?} twice, as {first} and {second}")]
    DuplicateToken { first: u32, second: u32, text: String },
    #[error("{key} is {id}, expected a token: less than {tokens}")]
    OutOfRange { key: &'static str, id: u32, tokens: usize },
    #[error("tokenizer.ggml.merges[{rank}] is {merge:?}, expected two tokens with a space between")]
    MalformedMerge { rank: u32, merge: String },
    #[error("tokenizer.ggml.merges[{rank}] is {merge:?}, but {token:?} is no token")]
    UnknownMerge { rank: u32, merge: String, token: String },
}

#[cfg(test)]
mod tests;
