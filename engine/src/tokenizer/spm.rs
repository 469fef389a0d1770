//! SentencePiece-style tokens: neighbours merge when their joint text is a token, those with the highest score first.
//!
//! A text is merged as a whole in principle. But where no token goes across two bytes, the text can as well be cut between
//! them, and short stretches merge faster than long ones. Most vocabularies have no token with a letter before a space.

use super::{
    merge::{Chain, Merger, NONE},
    unicode::claimed_len,
    vocab::Vocab,
};
use alloc::{vec, vec::Vec};

/// U+2581, which stands for a space in vocabularies.
pub(super) const SPACE: &[u8] = "\u{2581}".as_bytes();

/// What merges a text into tokens of an SPM vocabulary.
#[derive(Clone, Debug)]
pub(super) struct Spm {
    /// The token of each byte, for characters that are no token; [`NONE`] where the vocabulary lacks it.
    bytes: Vec<u32>,
    /// Which bytes some token has before a U+2581.
    before_space: Vec<bool>,
}

impl Spm {
    /// `unknown` is the token for bytes that have none of their own.
    pub fn new(vocab: &Vocab, unknown: Option<u32>) -> Self {
        let token = |byte| vocab.byte_token(byte).or(unknown).unwrap_or(NONE);
        let mut before_space = vec![false; 256];
        for (_, text) in vocab.texts() {
            for pair in text.windows(1 + SPACE.len()).filter(|pair| pair.ends_with(SPACE)) {
                before_space[usize::from(pair[0])] = true;
            }
        }
        Self { bytes: (0..=255).map(token).collect(), before_space }
    }

    /// Appends the tokens of `text`, with a space before it if `prefixed`.
    pub fn encode(&self, vocab: &Vocab, text: &[u8], prefixed: bool, out: &mut Vec<u32>) {
        let mut escaped = Vec::with_capacity(text.len() + text.len() / 2);
        if prefixed {
            escaped.extend_from_slice(SPACE);
        }
        escape_spaces(text, &mut escaped);
        let mut chain = Chain::default();
        let mut start = 0;
        while start < escaped.len() {
            let end = self.stretch(&escaped, start, &mut chain, vocab);
            self.encode_stretch(vocab, &escaped[start..end], &mut chain, out);
            start = end;
        }
    }

    /// Fills `chain` with the characters from `start` to a place where the text can be cut: the end of the stretch.
    fn stretch(&self, text: &[u8], start: usize, chain: &mut Chain, vocab: &Vocab) -> usize {
        chain.clear();
        let mut end = start;
        while let Some(&lead) = text.get(end) {
            let cut = end > start && !self.before_space[usize::from(text[end - 1])] && text[end..].starts_with(SPACE);
            if cut {
                break;
            }
            let len = claimed_len(lead).min(text.len() - end);
            chain.push(len, vocab.find(&text[end..end + len]).unwrap_or(NONE));
            end += len;
        }
        end
    }

    fn encode_stretch(&self, vocab: &Vocab, text: &[u8], chain: &mut Chain, out: &mut Vec<u32>) {
        chain.merge(|left, right| {
            let id = vocab.find(&text[left.start..right.end])?;
            Some(Merger { rank: rank(vocab.score(id)), id })
        });
        for symbol in chain.symbols() {
            if symbol.id != NONE {
                out.push(symbol.id);
            } else {
                let bytes = text[symbol.start..symbol.end].iter();
                out.extend(bytes.map(|&byte| self.bytes[usize::from(byte)]).filter(|&id| id != NONE));
            }
        }
    }
}

/// Appends `text` with U+2581 for each space.
pub(super) fn escape_spaces(text: &[u8], out: &mut Vec<u8>) {
    for &byte in text {
        if byte == b' ' {
            out.extend_from_slice(SPACE);
        } else {
            out.push(byte);
        }
    }
}

/// Appends `text` with a space for each U+2581.
pub(super) fn unescape_spaces(mut text: &[u8], out: &mut Vec<u8>) {
    while let Some((&first, others)) = text.split_first() {
        if let Some(rest) = text.strip_prefix(SPACE) {
            out.push(b' ');
            text = rest;
        } else {
            out.push(first);
            text = others;
        }
    }
}

/// Ranks that ascend as scores descend.
fn rank(score: f32) -> u32 {
    // Adding zero makes -0 and 0 equal. The bits of floats ascend with their values, negative ones in reverse.
    let bits = (score + 0.0).to_bits();
    let ascending = if bits >> 31 == 1 { !bits } else { bits | 1 << 31 };
    !ascending
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_descend_with_scores() {
        let scores = [f32::INFINITY, 1e30, 1.0, 0.5, 1e-40, 0.0, -1e-40, -0.5, -1000.0, f32::NEG_INFINITY];
        assert!(scores.windows(2).all(|pair| rank(pair[0]) < rank(pair[1])));
        assert_eq!(rank(0.0), rank(-0.0));
    }

    #[test]
    fn spaces_go_to_u2581_and_back() {
        let (mut escaped, mut back) = (Vec::new(), Vec::new());
        escape_spaces(b" a  \xe2\x96b", &mut escaped);
        assert_eq!(escaped, b"\xe2\x96\x81a\xe2\x96\x81\xe2\x96\x81\xe2\x96b");
        unescape_spaces(&escaped, &mut back);
        assert_eq!(back, b" a  \xe2\x96b");
    }
}
