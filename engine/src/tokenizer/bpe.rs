//! Byte-pair encoding: text is cut into words, and in each word neighbours merge that the list of merges names, those
//! named first going first.

use super::{
    Error,
    merge::{Chain, Merger, NONE},
    rules::{Rule, Spelling, Splitter},
    spm::escape_spaces,
    unicode::{byte_alphabet, decode, repair},
    vocab::Vocab,
};
use crate::gguf::Strings;
use alloc::{borrow::Cow, string::String, vec::Vec};
use hashbrown::HashMap;

/// What merges a text into tokens of a BPE vocabulary.
#[derive(Clone, Debug)]
pub(super) struct Bpe {
    splitter: Splitter,
    pub spelling: Spelling,
    ignore_merges: bool,
    /// By the tokens of two neighbours, what they become.
    merges: HashMap<(u32, u32), Merger>,
    /// The token of each byte: as a character of the byte alphabet, or `<0x0A>`, by the spelling; [`NONE`] where the
    /// vocabulary lacks it.
    bytes: Vec<u32>,
    /// How each byte is spelled.
    alphabet: Vec<char>,
}

impl Bpe {
    pub fn new(vocab: &Vocab, rule: &Rule, merges: &Strings) -> Result<Self, Error> {
        let alphabet = byte_alphabet();
        let byte_token = |byte: u8| match rule.spelling {
            Spelling::Bytes => vocab.find(alphabet[usize::from(byte)].encode_utf8(&mut [0; 4]).as_bytes()),
            Spelling::Metaspace => vocab.byte_token(byte),
        };
        Ok(Self {
            splitter: Splitter::new(rule),
            spelling: rule.spelling,
            ignore_merges: rule.ignore_merges,
            merges: read_merges(vocab, merges)?,
            bytes: (0..=255).map(|byte| byte_token(byte).unwrap_or(NONE)).collect(),
            alphabet,
        })
    }

    /// Appends the tokens of `text`. Bytes that have no token are left out, as in llama.cpp.
    pub fn encode(&self, vocab: &Vocab, text: &[u8], out: &mut Vec<u32>) {
        let mut text = repair(text);
        if self.spelling == Spelling::Metaspace {
            let mut escaped = Vec::with_capacity(text.len() + text.len() / 2);
            escape_spaces(&text, &mut escaped);
            text = Cow::Owned(escaped);
        }
        let mut chain = Chain::default();
        self.splitter.split(&text, |word| match self.whole_word(vocab, word) {
            Some(id) => out.push(id),
            None => self.encode_word(vocab, word, &mut chain, out),
        });
    }

    /// The token that a word is without any merging.
    fn whole_word(&self, vocab: &Vocab, word: &[u8]) -> Option<u32> {
        match self.spelling {
            Spelling::Bytes if self.ignore_merges => {
                let letters = word.iter().map(|&byte| self.alphabet[usize::from(byte)]);
                vocab.find(letters.collect::<String>().as_bytes())
            }
            Spelling::Metaspace if word.iter().all(|&byte| byte == b'\n') => vocab.find(word),
            _ => None,
        }
    }

    fn encode_word(&self, vocab: &Vocab, word: &[u8], chain: &mut Chain, out: &mut Vec<u32>) {
        chain.clear();
        match self.spelling {
            Spelling::Bytes => word.iter().for_each(|&byte| chain.push(1, self.bytes[usize::from(byte)])),
            Spelling::Metaspace => {
                let mut rest = word;
                while !rest.is_empty() {
                    let (letter, others) = rest.split_at(decode(rest).1);
                    chain.push(letter.len(), vocab.find(letter).unwrap_or(NONE));
                    rest = others;
                }
            }
        }
        chain.merge(|left, right| self.merges.get(&(left.id, right.id)).copied());
        for symbol in chain.symbols() {
            if symbol.id != NONE {
                out.push(symbol.id);
            } else if self.spelling == Spelling::Metaspace {
                let bytes = word[symbol.start..symbol.end].iter();
                out.extend(bytes.map(|&byte| self.bytes[usize::from(byte)]).filter(|&id| id != NONE));
            }
        }
    }
}

/// Each merge is two tokens with a space between; their joint text is a token too.
fn read_merges(vocab: &Vocab, merges: &Strings) -> Result<HashMap<(u32, u32), Merger>, Error> {
    let mut map = HashMap::with_capacity(merges.len());
    let mut joint = Vec::new();
    for (rank, merge) in (0..).zip(merges.iter()) {
        let lossy = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
        // A token may begin with a space, but not be one.
        let space = merge.iter().skip(1).position(|&byte| byte == b' ').map(|at| at + 1);
        let Some(space) = space else {
            return Err(Error::MalformedMerge { rank, merge: lossy(merge) });
        };
        let (left, right) = (&merge[..space], &merge[space + 1..]);
        joint.clear();
        joint.extend_from_slice(left);
        joint.extend_from_slice(right);
        let token = |text: &[u8]| {
            let unknown = || Error::UnknownMerge { rank, merge: lossy(merge), token: lossy(text) };
            vocab.find(text).ok_or_else(unknown)
        };
        let pair = (token(left)?, token(right)?);
        let id = token(&joint)?;
        map.entry(pair).or_insert(Merger { rank, id });
    }
    Ok(map)
}
