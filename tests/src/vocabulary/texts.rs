//! Texts that are hard on tokenizers, at random.

use crate::random::Random;
use woolly_engine::tokenizer::Tokenizer;

const SPACES: &[&str] = &[
    " ", "  ", "   ", "    ", "\n", "\n\n", "\r\n", "\t", "\t\t", " \n", "\n ", "\u{a0}", "\u{3000}", "\u{2003}",
    "\u{85}", "\u{2028}", "\u{b}", "\u{c}", "\u{200b}", "\u{1680}",
];

const WORDS: &[&str] = &[
    "'s",
    "'S",
    "'t",
    "'re",
    "'RE",
    "'Ve",
    "'ll",
    "'m",
    "'d",
    "'x",
    "’s",
    "don't",
    "I'VE",
    "123",
    "12345678",
    "3.14",
    "1,000,000",
    "٣٤٥",
    "²³",
    "½",
    "Ⅷ",
    "hello",
    "Hello",
    "WORLD",
    "camelCase",
    "HTTPServer",
    "naïve",
    "Ünïcödé",
    "straße",
    "ЖукИ",
    "привет",
    "中文",
    "日本語テキスト",
    "カタカナ",
    "한국어",
    "ไทย",
    "हिन्दी",
    "বাংলা",
    "עברית",
    "العربية",
    "😀",
    "👨‍👩‍👧‍👦",
    "🏳️‍🌈",
    "🇩🇪",
    "e\u{301}",
    "(",
    ")",
    "[",
    "]",
    "{}",
    "...",
    "!!!",
    "?!",
    "==",
    "->",
    "=>",
    "//",
    "/*",
    "#include",
    "$x",
    "`code`",
    "~",
    "|",
    "\\",
    "\"",
    "«»",
    "…",
    "。",
    "、",
    "،",
    "।",
    "http://",
    "@user",
    "_snake_case_",
    "ſ",
    "K",
    "İ",
    "ǅ",
    "ʰ",
    "ª",
    "ㄅㄆ",
    "￥",
    "€",
    "™",
    "\0",
    "\u{1}",
    "\u{7f}",
    "\u{feff}",
];

/// First and last code points of blocks of many scripts, twice those of ASCII.
const BLOCKS: &[(u32, u32)] = &[
    (0x20, 0x7E),
    (0x20, 0x7E),
    (0xA0, 0x24F),
    (0x300, 0x36F),
    (0x370, 0x52F),
    (0x590, 0x6FF),
    (0x900, 0x9FF),
    (0xE00, 0xE7F),
    (0x1000, 0x11FF),
    (0x1E00, 0x22FF),
    (0x2C00, 0x2C7F),
    (0x3000, 0x318F),
    (0x3400, 0x9FFF),
    (0xAC00, 0xD7A3),
    (0xF900, 0xFAFF),
    (0xFE00, 0xFFEF),
    (0x10400, 0x104FF),
    (0x1D400, 0x1D7FF),
    (0x1F300, 0x1FAFF),
    (0x20000, 0x2EE5D),
    (0, 0x10FFFF),
];

/// `count` texts of many kinds in turn: scripts, words, tokens and parts of them, special tokens, broken UTF-8, spaces,
/// digits, letters, long runs.
pub fn texts(tokenizer: &Tokenizer, seed: u64, count: usize) -> Vec<Vec<u8>> {
    let special: Vec<String> = (0..tokenizer.vocab_len() as u32)
        .filter(|&id| tokenizer.piece(id, false) != tokenizer.piece(id, true))
        .filter_map(|id| tokenizer.text(id).map(String::from))
        .collect();
    let mut writer = Writer { random: Random::new(seed), tokenizer, special };
    (0..count).map(|index| writer.text(index % 9)).collect()
}

struct Writer<'a> {
    random: Random,
    tokenizer: &'a Tokenizer,
    special: Vec<String>,
}

impl Writer<'_> {
    fn text(&mut self, kind: usize) -> Vec<u8> {
        match kind {
            0 => self.some(30, |writer| writer.character().to_string().into_bytes()),
            1 => self.some(20, |writer| writer.pick(WORDS).into()),
            2 => self.some(16, |writer| {
                let id = writer.below(writer.tokenizer.vocab_len());
                writer.tokenizer.piece(id as u32, true)
            }),
            3 => self.some(8, Self::special),
            4 => self.broken(),
            5 => self.some(20, |writer| writer.pick(SPACES).into()),
            6 => self.some(8, |writer| {
                let digits = writer.random.bits().to_string();
                digits.as_bytes()[writer.below(digits.len())..].to_vec()
            }),
            7 => self.some(20, |writer| writer.letters()),
            _ => {
                let unit = if self.below(2) == 0 { self.pick(WORDS) } else { self.pick(SPACES) };
                let mut text = unit.repeat(1 + self.below(40 / unit.len().min(40)));
                text.push_str(self.pick(WORDS));
                text.into_bytes()
            }
        }
    }

    /// Up to `most` parts, some with white space between.
    fn some(&mut self, most: usize, mut part: impl FnMut(&mut Self) -> Vec<u8>) -> Vec<u8> {
        let mut text = Vec::new();
        for _ in 0..=self.below(most) {
            text.append(&mut part(self));
            if self.below(3) == 0 {
                text.extend_from_slice(self.pick(SPACES).as_bytes());
            }
        }
        text
    }

    fn character(&mut self) -> char {
        let (first, last) = BLOCKS[self.below(BLOCKS.len())];
        char::from_u32(first + self.random.below(last - first + 1)).unwrap_or('\u{d7ff}')
    }

    fn letters(&mut self) -> Vec<u8> {
        (0..=self.below(9)).map(|_| if self.below(5) == 0 { b'A' } else { b'a' } + self.below(26) as u8).collect()
    }

    /// The name of a special token, whole or cut short, or a word.
    fn special(&mut self) -> Vec<u8> {
        let index = self.below(self.special.len().max(1));
        let name = self.special.get(index).cloned().unwrap_or_else(|| "<s>".into());
        match self.below(3) {
            0 => self.pick(WORDS).into(),
            1 => name.as_bytes()[..self.below(name.len())].to_vec(),
            _ => name.into_bytes(),
        }
    }

    /// A text with some of its bytes removed, replaced or added. No bytes that begin a character past U+10FFFF: the
    /// reference implementation does not survive them.
    fn broken(&mut self) -> Vec<u8> {
        let kind = self.below(2);
        let mut text = self.text(kind);
        for _ in 0..=self.below(5) {
            let at = self.below(text.len());
            let byte = self.random.bits() as u8;
            let byte = if (0xF4..=0xF7).contains(&byte) { 0xF3 } else { byte };
            match self.below(3) {
                0 => drop(text.remove(at)),
                1 => text[at] = byte,
                _ => text.insert(at, byte),
            }
            text.push(byte);
        }
        text
    }

    fn below(&mut self, bound: usize) -> usize {
        self.random.below(bound as u32) as usize
    }

    fn pick(&mut self, choices: &[&'static str]) -> &'static str {
        choices[self.below(choices.len())]
    }
}
