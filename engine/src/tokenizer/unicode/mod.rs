//! Characters as the splitting rules see them: a code point with its general category.
//!
//! Text that reaches a tokenizer may be broken UTF-8. It is read leniently: surrogates and overlong forms stand for the
//! code points they spell, and each byte that cannot be read becomes U+FFFD ([`repair`]). This is what the vocabularies'
//! reference implementation does, and so what decides which tokens such bytes become.

mod table;

use alloc::{borrow::Cow, vec, vec::Vec};

/// The part of Unicode's general categories that splitting rules tell apart. `Other` covers separators, control and
/// unassigned characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Category {
    Other,
    Letter,
    Number,
    Mark,
    Punctuation,
    Symbol,
}

impl Category {
    const ALL: [Self; 6] = [Self::Other, Self::Letter, Self::Number, Self::Mark, Self::Punctuation, Self::Symbol];
}

/// A character of a text that is to be split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Char {
    /// The code point, or U+000B for white space beyond ASCII: rules name no such character except by `\s`.
    pub code: u32,
    pub category: Category,
    /// How many bytes it takes in the text.
    pub bytes: u8,
}

/// For each run of [`table::RUNS`], its first code point times 8, plus its category.
static STARTS: [u32; table::RUNS.len()] = starts();

const fn starts() -> [u32; table::RUNS.len()] {
    let mut starts = [0; table::RUNS.len()];
    let (mut code, mut run) = (0, 0);
    while run < starts.len() {
        starts[run] = code << 3 | (table::RUNS[run] & 7) as u32;
        code += (table::RUNS[run] >> 3) as u32;
        run += 1;
    }
    starts
}

/// Code points are looked up in pages of so many.
const PAGE: usize = 512;

/// For each page, the run that its first code point belongs to; one more for the end.
static PAGES: [u16; 0x110000 / PAGE + 1] = pages();

const fn pages() -> [u16; 0x110000 / PAGE + 1] {
    let starts = starts();
    let mut pages = [0; 0x110000 / PAGE + 1];
    let (mut page, mut run) = (0, 0);
    while page < pages.len() {
        while run + 1 < starts.len() && (starts[run + 1] >> 3) as usize <= page * PAGE {
            run += 1;
        }
        pages[page] = run as u16;
        page += 1;
    }
    pages
}

/// The category of a code point.
pub(super) fn category(code: u32) -> Category {
    let page = code as usize / PAGE;
    let Some(&[first, last]) = PAGES.get(page..page + 2) else { return Category::Other };
    let runs = &STARTS[usize::from(first)..=usize::from(last)];
    let run = runs.partition_point(|start| start >> 3 <= code) - 1;
    Category::ALL[(runs[run] & 7) as usize]
}

/// The characters of a text that [`repair`] has seen.
pub(super) fn classify(text: &[u8]) -> Vec<Char> {
    let mut chars = Vec::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let (code, bytes) = decode(rest);
        let code = if is_wide_space(code) { 0x0B } else { code };
        chars.push(Char { code, category: category(code), bytes: bytes as u8 });
        rest = &rest[bytes..];
    }
    chars
}

fn is_wide_space(code: u32) -> bool {
    code >= 128 && char::from_u32(code).is_some_and(char::is_whitespace)
}

/// The text itself when it is UTF-8; else what remains of it when each unreadable byte is replaced by U+FFFD, and each
/// overlong form by its character. Surrogates stay, in their three bytes.
pub(super) fn repair(text: &[u8]) -> Cow<'_, [u8]> {
    if core::str::from_utf8(text).is_ok() {
        return Cow::Borrowed(text);
    }
    let mut repaired = Vec::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let (code, bytes) = decode(rest);
        encode(code, &mut repaired);
        rest = &rest[bytes..];
    }
    Cow::Owned(repaired)
}

/// The first code point of a text that is not empty, and how many bytes spell it; (U+FFFD, 1) for an unreadable byte.
pub(super) fn decode(text: &[u8]) -> (u32, usize) {
    let lead = u32::from(text[0]);
    let (bits, len) = match lead {
        0x00..=0x7F => return (lead, 1),
        0xC0..=0xDF => (lead & 0x1F, 2),
        0xE0..=0xEF => (lead & 0x0F, 3),
        0xF0..=0xF7 => (lead & 0x07, 4),
        _ => return (0xFFFD, 1),
    };
    let tail = text.get(1..len).filter(|tail| tail.iter().all(|byte| byte & 0xC0 == 0x80));
    let code = tail.map(|tail| tail.iter().fold(bits, |code, byte| code << 6 | u32::from(byte & 0x3F)));
    code.filter(|&code| code <= 0x10FFFF).map_or((0xFFFD, 1), |code| (code, len))
}

/// Appends a code point, which may be a surrogate, as one to four bytes.
fn encode(code: u32, out: &mut Vec<u8>) {
    let tail = |shift: u32| 0x80 | (code >> shift & 0x3F) as u8;
    match code {
        0..=0x7F => out.push(code as u8),
        0x80..=0x7FF => out.extend([0xC0 | (code >> 6) as u8, tail(0)]),
        0x800..=0xFFFF => out.extend([0xE0 | (code >> 12) as u8, tail(6), tail(0)]),
        _ => out.extend([0xF0 | (code >> 18) as u8, tail(12), tail(6), tail(0)]),
    }
}

/// How many bytes a character with this first byte claims, by the byte alone: continuation bytes count as 1.
pub(super) fn claimed_len(lead: u8) -> usize {
    match lead {
        0x00..=0xBF => 1,
        0xC0..=0xDF => 2,
        0xE0..=0xEF => 3,
        0xF0..=0xFF => 4,
    }
}

/// Byte-level vocabularies write each byte as a printable character. The characters of all 256 bytes, in order.
///
/// Printable bytes of Latin-1 stand for themselves; the 68 others take U+0100 and up, in order.
pub(super) fn byte_alphabet() -> Vec<char> {
    let mut alphabet = vec!['\0'; 256];
    let mut spare = (0x100..).filter_map(char::from_u32);
    for (byte, letter) in (0..=255u8).zip(&mut alphabet) {
        let printable = matches!(byte, 0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF);
        *letter = if printable { char::from(byte) } else { spare.next().unwrap_or_default() };
    }
    alphabet
}

/// The byte that a character of [`byte_alphabet`] stands for.
pub(super) fn byte_of(letter: u32) -> Option<u8> {
    match letter {
        0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF => Some(letter as u8),
        0x100..=0x120 => Some((letter - 0x100) as u8),
        0x121..=0x142 => Some((letter - 0x121 + 0x7F) as u8),
        0x143 => Some(0xAD),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_covers_all_code_points() {
        let total: usize = table::RUNS.iter().map(|run| usize::from(run >> 3)).sum();
        assert_eq!(total, 0x110000);
    }

    #[test]
    fn a_look_up_finds_what_the_table_says() {
        let runs = table::RUNS.iter().flat_map(|&run| core::iter::repeat_n(run & 7, usize::from(run >> 3)));
        for (code, expected) in (0..).zip(runs) {
            assert_eq!(category(code) as u16, expected, "U+{code:04X}");
        }
    }

    #[test]
    fn categories_of_known_characters() {
        for (letters, category) in [
            ("aZéßЖ中あกﬁ𝔸", Category::Letter),
            ("09²½Ⅷ٣", Category::Number),
            ("\u{301}\u{903}\u{20dd}", Category::Mark),
            ("!_-«。„", Category::Punctuation),
            ("$+<=>^`|~€°😀", Category::Symbol),
            (" \n\u{200b}\u{ad}\u{378}\u{e000}", Category::Other),
        ] {
            for letter in letters.chars() {
                assert_eq!(super::category(letter as u32), category, "{letter:?}");
            }
        }
        assert_eq!(category(0x110000), Category::Other);
    }

    #[test]
    fn broken_text_is_read_byte_by_byte() {
        assert_eq!(repair(b"a\xffb").as_ref(), "a\u{fffd}b".as_bytes());
        assert_eq!(repair(b"\xe2\x82").as_ref(), "\u{fffd}\u{fffd}".as_bytes());
        assert_eq!(repair(b"\xc1\x81\xff").as_ref(), "A\u{fffd}".as_bytes());
        assert_eq!(repair(b"\xed\xa0\x80").as_ref(), b"\xed\xa0\x80");
        assert_eq!(repair(b"\xf4\x90\x80\x80").as_ref(), "\u{fffd}\u{fffd}\u{fffd}\u{fffd}".as_bytes());
        assert!(matches!(repair("a\u{1f600}".as_bytes()), Cow::Borrowed(_)));
    }

    #[test]
    fn white_space_beyond_ascii_looks_like_a_vertical_tab() {
        let chars = classify("\u{3000}x\u{a0}".as_bytes());
        assert_eq!(chars.iter().map(|c| (c.code, c.bytes)).collect::<Vec<_>>(), [(0x0B, 3), (120, 1), (0x0B, 2)]);
    }

    #[test]
    fn the_byte_alphabet_is_a_bijection() {
        let alphabet = byte_alphabet();
        for (byte, &letter) in alphabet.iter().enumerate() {
            assert_eq!(byte_of(letter as u32), Some(byte as u8), "{letter:?}");
        }
        assert_eq!(alphabet[usize::from(b' ')], 'Ġ');
        assert_eq!(alphabet[usize::from(b'\n')], 'Ċ');
    }
}
