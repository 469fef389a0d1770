//! Tokens to text.

use super::{
    Coder, Tokenizer,
    rules::Spelling,
    spm::unescape_spaces,
    unicode::{byte_of, decode},
    vocab::Kind,
};
use alloc::{string::String, vec::Vec};

impl Tokenizer {
    /// The bytes that a token prints as, which need not be whole characters. Control tokens and the unknown token print
    /// nothing unless `special`, and then their names. Ids outside the vocabulary print nothing.
    pub fn piece(&self, id: u32, special: bool) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.append_piece(id, special, &mut bytes);
        bytes
    }

    fn append_piece(&self, id: u32, special: bool, out: &mut Vec<u8>) {
        let Some(text) = self.vocab.text(id) else { return };
        let kind = self.vocab.kind(id);
        if kind.is_any_of(Kind::CONTROL.or(Kind::UNKNOWN)) {
            if special {
                out.extend_from_slice(text);
            }
        } else if kind.is_any_of(Kind::USER_DEFINED) {
            out.extend_from_slice(text);
        } else if kind.is_any_of(Kind::NORMAL) {
            match &self.coder {
                Coder::Bpe(bpe) if bpe.spelling == Spelling::Bytes => unspell(text, out),
                _ => unescape_spaces(text, out),
            }
        } else if kind.is_any_of(Kind::BYTE) {
            out.extend(named_byte(text));
        }
    }

    /// The text of `tokens` as a whole, special tokens by name if `special`. Unlike the pieces one after another, it lacks
    /// the space that encoding put before it, and, where the vocabulary's kind asks for it, spaces before punctuation.
    pub fn decode(&self, tokens: &[u32], special: bool) -> Vec<u8> {
        let mut text = Vec::new();
        for (index, &id) in tokens.iter().enumerate() {
            self.append_piece(id, special, &mut text);
            if index == 0 && self.add_space_prefix && text.first() == Some(&b' ') {
                text.remove(0);
            }
        }
        if self.clean_spaces { clean_spaces(&text) } else { text }
    }

    /// For tokens that arrive one at a time.
    pub fn decoder(&self, special: bool) -> Decoder {
        Decoder { special, pending: Vec::new() }
    }
}

/// Turns a stream of tokens into text, never cutting a character in two.
#[derive(Clone, Debug)]
pub struct Decoder {
    special: bool,
    /// The beginning of a character whose rest is still to come.
    pending: Vec<u8>,
}

impl Decoder {
    /// The text that is complete with this token. Bytes that are no UTF-8 become U+FFFD.
    pub fn push(&mut self, tokenizer: &Tokenizer, id: u32) -> String {
        tokenizer.append_piece(id, self.special, &mut self.pending);
        let mut text = String::new();
        loop {
            let error = match core::str::from_utf8(&self.pending) {
                Ok(valid) => {
                    text.push_str(valid);
                    self.pending.clear();
                    return text;
                }
                Err(error) => error,
            };
            let valid = error.valid_up_to();
            text.push_str(&String::from_utf8_lossy(&self.pending[..valid]));
            self.pending.drain(..valid);
            let Some(invalid) = error.error_len() else { return text };
            text.push(char::REPLACEMENT_CHARACTER);
            self.pending.drain(..invalid);
        }
    }

    /// What is left at the end of the stream: U+FFFD for a character that never became complete, else nothing.
    pub fn finish(&mut self) -> String {
        let text = String::from_utf8_lossy(&self.pending).into_owned();
        self.pending.clear();
        text
    }
}

/// Appends the bytes that the characters of a byte-level token stand for. Characters outside the byte alphabet, which
/// some vocabularies have in tokens that are not marked as special, stand for themselves.
fn unspell(mut text: &[u8], out: &mut Vec<u8>) {
    while !text.is_empty() {
        let (letter, len) = decode(text);
        match byte_of(letter) {
            Some(byte) => out.push(byte),
            None => out.extend_from_slice(&text[..len]),
        }
        text = &text[len..];
    }
}

/// The byte that `<0x0A>` names.
fn named_byte(name: &[u8]) -> Option<u8> {
    let digits = name.strip_prefix(b"<0x")?.strip_suffix(b">")?;
    u8::from_str_radix(core::str::from_utf8(digits).ok()?, 16).ok()
}

/// Undoes the spaces of tokenized English: none before `? ! . ,`, none around a lone apostrophe, none before the
/// contractions `'s 'm 're 've`. Three passes, each on the result of the one before.
fn clean_spaces(text: &[u8]) -> Vec<u8> {
    let mut first = Vec::with_capacity(text.len());
    for &byte in text {
        if matches!(byte, b'?' | b'!' | b'.' | b',') {
            drop_last_space(&mut first);
        }
        first.push(byte);
    }
    let mut second = Vec::with_capacity(first.len());
    let mut rest = first.as_slice();
    while let Some((&byte, others)) = rest.split_first() {
        rest = others;
        if byte == b'\'' && second.last() == Some(&b' ') && rest.first() == Some(&b' ') {
            second.pop();
            rest = &rest[1..];
        }
        second.push(byte);
    }
    let mut third = Vec::with_capacity(second.len());
    for (at, &byte) in second.iter().enumerate() {
        let contracted = matches!(second[at..], [b'\'', b's' | b'm', ..] | [b'\'', b'r' | b'v', b'e', ..]);
        if contracted {
            drop_last_space(&mut third);
        }
        third.push(byte);
    }
    third
}

fn drop_last_space(text: &mut Vec<u8>) {
    if text.last() == Some(&b' ') {
        text.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaces_are_cleaned_as_in_english() {
        for (text, clean) in [
            ("Hi , you . Who ?  !", "Hi, you. Who? !"),
            ("it 's I 'm we 're they 've", "it's I'm we're they've"),
            ("can 't I 'd she 'll 'x", "can 't I 'd she 'll 'x"),
            ("a ' b", "a'b"),
            (" 's", "'s"),
            ("", ""),
        ] {
            assert_eq!(String::from_utf8_lossy(&clean_spaces(text.as_bytes())), clean, "{text}");
        }
    }

    #[test]
    fn byte_names() {
        assert_eq!(named_byte(b"<0x0A>"), Some(10));
        assert_eq!(named_byte(b"<0xff>"), Some(255));
        assert_eq!(named_byte(b"<0x100>"), None);
        assert_eq!(named_byte(b"a"), None);
    }
}
