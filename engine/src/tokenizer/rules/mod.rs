//! The pre-tokenizers: how text is cut into words before merging, by the name in `tokenizer.ggml.pre`.
//!
//! A [`Rule`] is one row of [`RULES`]: its names and the steps that cut the text, each step applied to the pieces that the
//! steps before it left. The expressions are the published ones of the models' tokenizers in the dialect of
//! [`pattern`](super::pattern); where llama.cpp, which made the files, differs from a published expression (in it,
//! capital and small letters beyond ASCII are alike), its reading is the one here.

use super::{
    pattern::Pattern,
    unicode::{Category, Char, classify},
};
use alloc::{vec, vec::Vec};
use core::fmt;

/// One row of the table: what goes with the names of a pre-tokenizer.
#[derive(Debug)]
pub(super) struct Rule {
    /// The values of `tokenizer.ggml.pre`.
    pub names: &'static [&'static str],
    steps: &'static [Step],
    /// How the vocabulary spells a text.
    pub spelling: Spelling,
    /// A word that is a token as a whole is that token, whatever the merges say.
    pub ignore_merges: bool,
    /// Text begins with the BOS token unless the metadata says otherwise.
    pub add_bos: bool,
    /// Decoded text loses spaces before punctuation and in contractions.
    pub clean_spaces: bool,
}

/// How the tokens of a BPE vocabulary are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spelling {
    /// Each byte as a character of the byte alphabet.
    Bytes,
    /// As UTF-8 with U+2581 for spaces, and `<0x0A>` for bytes. A run of line ends that is a token is not merged.
    Metaspace,
}

#[derive(Debug)]
enum Step {
    /// Matches of the expression are pieces, and what lies between them.
    Match(&'static str),
    /// Cuts after each third digit of a number, counted from its end: 1234567 ends pieces after 1, 4 and 7.
    Thousands,
}
use Step::{Match, Thousands};

/// What most rows share.
const USUAL: Rule = Rule {
    names: &[],
    steps: &[],
    spelling: Spelling::Bytes,
    ignore_merges: false,
    add_bos: false,
    clean_spaces: false,
};

macro_rules! contraction {
    () => {
        r"('[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
    };
}
macro_rules! words {
    () => {
        r"[^\r\n\p{L}\p{N}]?\p{L}+"
    };
}
macro_rules! spaces {
    () => {
        r"\s*[\r\n]+|\s+(?!\S)|\s+"
    };
}
macro_rules! rest {
    () => {
        concat!(r" ?[^\s\p{L}\p{N}]+[\r\n]*|", spaces!())
    };
}

const DIGIT: &str = r"\p{N}";
const DIGITS: &str = r"\p{N}+";
const UP_TO_THREE_DIGITS: &str = r"\p{N}{1,3}";
const THREE_ASCII_DIGITS: &str = "[0-9][0-9][0-9]";
const LINES: &str = r"[^\n]+|[\n]+";
const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
const LLAMA3: &str = concat!(contraction!(), "|", words!(), r"|\p{N}{1,3}|", rest!());
const QWEN2: &str = concat!(contraction!(), "|", words!(), r"|\p{N}|", rest!());
const MINICPM5: &str = concat!(contraction!(), "|", words!(), r"|\p{N}+|", rest!());
const UFAKZEKA: &str = concat!(words!(), r"|\p{N}|", rest!());
const QWEN35: &str =
    concat!(contraction!(), r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|", spaces!());
const JAIS2: &str = concat!(
    contraction!(),
    "|",
    words!(),
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s{512}(?!\S)|\s{256}(?!\S)|\s{128}(?!\S)|\s{64}(?!\S)",
    r"|\s{32}(?!\S)|\s{16}(?!\S)|\s{8}(?!\S)|\s{4}(?!\S)|\s{1,2}(?!\S)|\s{1}"
);
const BAILING: &str = concat!(
    r"'([sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])|",
    words!(),
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
);
const SEED_CODER: &str = concat!(contraction!(), "|", words!(), r"|\p{N}| ?[^\s\p{L}\p{N}\r\n]+|", spaces!());
const EXAONE_MOE: &str = concat!(
    contraction!(),
    r"|[^\r\n\p{L}\p{N}]?(\p{L}\p{M}*( \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+"
);

/// Words of letters whose capitals come first: `[capitals]*[smalls]+` or `[capitals]+[smalls]*`, where letters beyond
/// ASCII count as both.
const TEKKEN: &str = concat!(
    r"[^\r\n\p{L}\p{N}]?[\p{L}--[a-z]]*[\p{L}--[A-Z]]+|[^\r\n\p{L}\p{N}]?[\p{L}--[a-z]]+[\p{L}--[A-Z]]*",
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|",
    spaces!()
);
const GPT4O: &str = concat!(
    r"[^\r\n\p{L}\p{N}]?[\p{L}--[a-z]]*[\p{L}--[A-Z]]+",
    contraction!(),
    r"?|[^\r\n\p{L}\p{N}]?[\p{L}--[a-z]]+[\p{L}--[A-Z]]*",
    contraction!(),
    r"?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|",
    spaces!()
);
const GPT4O_MARKS: &str = concat!(
    r"[^\r\n\p{L}\p{N}]?[\p{L}\p{M}--[a-z]]*[\p{L}\p{M}--[A-Z]]+",
    contraction!(),
    r"?|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}--[a-z]]+[\p{L}\p{M}--[A-Z]]*",
    contraction!(),
    r"?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|",
    spaces!()
);
const TINY_AYA: &str =
    concat!(r"[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+", contraction!(), r"?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|", spaces!());
const YOUTU: &str =
    concat!(r"[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+", contraction!(), r"?|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|", spaces!());

macro_rules! deepseek_words {
    () => {
        concat!(r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|"##, r"[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+")
    };
}
const DEEPSEEK3: &str = concat!(deepseek_words!(), r"| ?[\p{P}\p{S}]+[\r\n]*|", spaces!());
const SPARK: &str = concat!(deepseek_words!(), r"| ?[\p{P}\p{S}]+|[\r\n]|\s+(?!\S)|\s+");

macro_rules! han {
    () => {
        "[\u{4e00}-\u{9fff}\u{3400}-\u{4dbf}\u{20000}-\u{2a6df}\u{2a700}-\u{2ebef}\u{f900}-\u{faff}\u{2f800}-\u{2fa1f}]"
    };
}
const KIMI: &str =
    concat!(han!(), r"+|[^\r\n\p{L}\p{N}]?((?!", han!(), r")\p{L})+", contraction!(), r"?|\p{N}{1,3}|", rest!());

const LINE_ENDS: &str = r"[\r\n]";
/// `\\s?[…]+` over the letters with case of Unicode 12.
const CASED_LETTERS: &str = "\\s?[\
     A-Za-z\u{b5}\u{c0}-\u{d6}\u{d8}-\u{f6}\u{f8}-\u{1ba}\u{1bc}-\u{1bf}\u{1c4}-\u{293}\u{295}-\u{2af}\
     \u{370}-\u{373}\u{376}\u{377}\u{37b}-\u{37d}\u{37f}\u{386}\u{388}-\u{38a}\u{38c}\u{38e}-\u{3a1}\
     \u{3a3}-\u{3f5}\u{3f7}-\u{481}\u{48a}-\u{52f}\u{531}-\u{556}\u{10a0}-\u{10c5}\u{13a0}-\u{13f5}\
     \u{13f8}-\u{13fd}\u{1c90}-\u{1cba}\u{1cbd}-\u{1cbf}\u{1d00}-\u{1d2b}\u{1d6b}-\u{1d77}\u{1d79}-\u{1d9a}\
     \u{1e00}-\u{1f15}\u{1f18}-\u{1f1d}\u{1f20}-\u{1f45}\u{1f48}-\u{1f4d}\u{1f50}-\u{1f57}\u{1f59}\u{1f5b}\
     \u{1f5d}\u{1f5f}-\u{1f7d}\u{1f80}-\u{1fb4}\u{1fb6}-\u{1fbc}\u{1fbe}\u{1fc2}-\u{1fc4}\u{1fc6}-\u{1fcc}\
     \u{1fd0}-\u{1fd3}\u{1fd6}-\u{1fdb}\u{1fe0}-\u{1fec}\u{1ff2}-\u{1ff4}\u{1ff6}-\u{1ffc}\u{2102}\u{2107}\
     \u{210a}-\u{2113}\u{2115}\u{2119}-\u{211d}\u{2124}\u{2126}\u{2128}\u{212a}-\u{212d}\u{212f}-\u{2134}\
     \u{2139}\u{213c}-\u{213f}\u{2145}-\u{2149}\u{214e}\u{2183}\u{2184}\u{2c00}-\u{2c7b}\u{2c7e}-\u{2ce4}\
     \u{2ceb}-\u{2cee}\u{2cf2}\u{2cf3}\u{a640}-\u{a66d}\u{a680}-\u{a69b}\u{a722}-\u{a76f}\u{a771}-\u{a787}\
     \u{a78b}-\u{a78e}\u{ab70}-\u{abbf}\u{fb00}-\u{fb06}\u{fb13}-\u{fb17}\u{ff21}-\u{ff3a}\u{ff41}-\u{ff5a}\
     \u{10400}-\u{1044f}\u{104b0}-\u{104d3}\u{104d8}-\u{104fb}\u{10c80}-\u{10cb2}\u{10cc0}-\u{10cf2}\
     \u{118a0}-\u{118df}\u{1e900}-\u{1e943}]+";
const DEEPSEEK_PUNCTUATION: &str = "\\s?[!-/:-~\u{ff01}-\u{ff0f}\u{ff1a}-\u{ff5e}\u{2018}-\u{201f}\u{3000}-\u{3002}]+";
const DEEPSEEK_CJK: &str = "[\u{4e00}-\u{9fa5}\u{800}-\u{4e00}\u{ac00}-\u{d7ff}]+";
const HAN_AND_KANA: &str = "[\u{4e00}-\u{9fa5}\u{3040}-\u{309f}\u{30a0}-\u{30ff}]+";
const YOUTU_SCRIPTS: &str = "[\u{ac00}-\u{d7a3}\u{3131}-\u{318e}]+\
     |[\u{ff01}\u{2026}\u{201c}\u{201d}\u{2018}\u{2019}\u{2014}\u{ff1a}\u{ff1b}\u{ff0c}\u{3001}-\u{303f}\u{fe30}-\u{fe4f}]+\
     |[\u{3105}-\u{312f}]+|[\u{4e00}-\u{9fa5}\u{3040}-\u{309f}\u{30a0}-\u{30ff}]+";
const ASIAN_SCRIPTS: &str = "[\u{4e00}-\u{9fff}\u{3400}-\u{4dbf}\u{8c48}-\u{faff}\u{3040}-\u{309f}\u{30a0}-\u{30ff}\
     \u{ff65}-\u{ff9f}\u{2f00}-\u{2fdf}\u{e40}-\u{e7f}\u{e80}-\u{eff}\u{1780}-\u{17ff}\u{1000}-\u{109f}\
     \u{aa60}-\u{aa7f}\u{a9e0}-\u{a9ff}\u{ac00}-\u{d7af}\u{1100}-\u{11ff}]+";
const BLOOM: &str = " ?[^(\\s|.,!?\u{2026}\u{3002}\u{ff0c}\u{3001}\u{964}\u{6d4}\u{60c})]+";

/// All pre-tokenizers. The first is for files that name none.
pub(super) static RULES: &[Rule] = &[
    Rule {
        names: &["default"],
        steps: &[Match(r"[\p{P}\$\+<=>\^~\|]+"), Match(GPT2), Match(DIGITS), Match(THREE_ASCII_DIGITS)],
        clean_spaces: true,
        ..USUAL
    },
    Rule {
        names: &[
            "gpt-2",
            "phi-2",
            "mpt",
            "olmo",
            "jais",
            "exaone4",
            "gigachat",
            "a.x-4.0",
            "mellum",
            "jina-es",
            "jina-de",
            "jina-v1-en",
            "roberta-bpe",
        ],
        steps: &[Match(GPT2)],
        clean_spaces: true,
        ..USUAL
    },
    Rule { names: &["trillion", "granite-docling"], steps: &[Match(GPT2)], ..USUAL },
    Rule {
        names: &["starcoder", "refact", "codeshell", "exaone", "minerva-7b", "mellum2"],
        steps: &[Match(DIGIT), Match(GPT2)],
        clean_spaces: true,
        ..USUAL
    },
    Rule { names: &["smollm", "command-r"], steps: &[Match(DIGIT), Match(GPT2)], ..USUAL },
    Rule {
        names: &[
            "llama-bpe",
            "llama3",
            "llama-v3",
            "falcon3",
            "falcon-h1",
            "pixtral",
            "midm-2.0",
            "lfm2",
            "jina-v5-nano",
        ],
        steps: &[Match(LLAMA3)],
        ignore_merges: true,
        add_bos: true,
        clean_spaces: true,
        ..USUAL
    },
    Rule { names: &["dbrx", "smaug-bpe", "chatglm-bpe"], steps: &[Match(LLAMA3)], clean_spaces: true, ..USUAL },
    Rule { names: &["glm4", "glm5"], steps: &[Match(LLAMA3)], ignore_merges: true, clean_spaces: true, ..USUAL },
    Rule { names: &["jais-2"], steps: &[Match(JAIS2)], clean_spaces: true, ..USUAL },
    Rule {
        names: &["minicpm5"],
        steps: &[Match(UP_TO_THREE_DIGITS), Match(MINICPM5)],
        ignore_merges: true,
        clean_spaces: true,
        ..USUAL
    },
    Rule {
        names: &["qwen2", "deepseek-r1-qwen", "kormo", "f2llmv2", "hunyuan", "solar-open", "grok-2"],
        steps: &[Match(QWEN2)],
        ..USUAL
    },
    Rule { names: &["stablelm2", "megrez"], steps: &[Match(QWEN2)], clean_spaces: true, ..USUAL },
    Rule { names: &["laguna"], steps: &[Match(LINES), Match(QWEN2)], ..USUAL },
    Rule { names: &["qwen35"], steps: &[Match(QWEN35)], ..USUAL },
    Rule { names: &["ufakzeka"], steps: &[Match(UFAKZEKA)], ..USUAL },
    Rule { names: &["bailingmoe", "bailingmoe2", "llada-moe"], steps: &[Match(BAILING)], ..USUAL },
    Rule { names: &["seed-coder"], steps: &[Match(SEED_CODER)], ..USUAL },
    Rule { names: &["exaone-moe"], steps: &[Match(EXAONE_MOE)], clean_spaces: true, ..USUAL },
    Rule { names: &["gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"], steps: &[Match(GPT4O)], ..USUAL },
    Rule { names: &["granite-embed-multi-97m"], steps: &[Match(GPT4O_MARKS)], ignore_merges: true, ..USUAL },
    Rule { names: &["tekken"], steps: &[Match(TEKKEN)], ignore_merges: true, add_bos: true, ..USUAL },
    Rule { names: &["tiny_aya", "cohere2moe"], steps: &[Thousands, Match(TINY_AYA)], ..USUAL },
    Rule { names: &["youtu"], steps: &[Match(YOUTU_SCRIPTS), Match(YOUTU)], ignore_merges: true, ..USUAL },
    Rule { names: &["kimi-k2"], steps: &[Match(KIMI)], ..USUAL },
    Rule { names: &["afmoe"], steps: &[Thousands, Match(ASIAN_SCRIPTS), Match(DEEPSEEK3)], ..USUAL },
    Rule {
        names: &["deepseek-llm"],
        steps: &[
            Match(LINE_ENDS),
            Match(CASED_LETTERS),
            Match(DEEPSEEK_PUNCTUATION),
            Match(r"\s+$"),
            Match(DEEPSEEK_CJK),
            Match(DIGITS),
        ],
        ..USUAL
    },
    Rule {
        names: &["deepseek-coder"],
        steps: &[Match(LINE_ENDS), Match(r"\s?\p{L}+"), Match(r"\s?\p{P}+"), Match(DEEPSEEK_CJK), Match(DIGIT)],
        ..USUAL
    },
    Rule {
        names: &["deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"],
        steps: &[Match(UP_TO_THREE_DIGITS), Match(HAN_AND_KANA), Match(DEEPSEEK3)],
        ..USUAL
    },
    Rule {
        names: &["spark2_5"],
        steps: &[Match(UP_TO_THREE_DIGITS), Match(HAN_AND_KANA), Match(SPARK), Match(DIGIT)],
        ..USUAL
    },
    Rule {
        names: &["falcon"],
        steps: &[Match(r"[\p{P}\$\+<=>\^~\|`]+"), Match(GPT2), Match(THREE_ASCII_DIGITS)],
        clean_spaces: true,
        ..USUAL
    },
    Rule { names: &["bloom", "gpt3-finnish"], steps: &[Match(BLOOM)], clean_spaces: true, ..USUAL },
    Rule { names: &["poro-chat"], steps: &[Match(BLOOM)], ..USUAL },
    Rule { names: &["viking"], steps: &[Match(BLOOM), Match(DIGIT)], ..USUAL },
    Rule {
        names: &["chameleon"],
        steps: &[
            Match("<sentinel:[0-9]+>"),
            Match("IMGIMG[A-I]{1,4}Z"),
            Match(r"[\t\n]|    |  "),
            Match(DIGIT),
            Match(r"[\p{P}!-/:-@\[-`{-~]"),
            Match(GPT2),
        ],
        add_bos: true,
        ..USUAL
    },
    Rule {
        names: &["gemma4", "granite-embed-multi-311m"],
        steps: &[Match(LINES)],
        spelling: Spelling::Metaspace,
        add_bos: true,
        clean_spaces: true,
        ..USUAL
    },
];

/// The row with this name.
pub(super) fn find(name: &str) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.names.contains(&name))
}

/// Shows the names of all rows.
pub(super) struct Names;

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, name) in RULES.iter().flat_map(|rule| rule.names).enumerate() {
            let separator = if i == 0 { "" } else { ", " };
            write!(f, "{separator}{name}")?;
        }
        Ok(())
    }
}

/// A rule that is ready to cut text.
#[derive(Clone, Debug)]
pub(super) struct Splitter {
    /// The expressions of the steps; `None` cuts at thousands.
    steps: Vec<Option<Pattern>>,
}

impl Splitter {
    pub fn new(rule: &Rule) -> Self {
        let compile = |step: &Step| match step {
            Match(expression) => Some(Pattern::new(expression)),
            Thousands => None,
        };
        Self { steps: rule.steps.iter().map(compile).collect() }
    }

    /// Cuts a repaired text into words and gives each of them to `word`.
    pub fn split<'t>(&self, text: &'t [u8], mut word: impl FnMut(&'t [u8])) {
        let chars = classify(text);
        let mut pieces = vec![chars.len()];
        for step in &self.steps {
            let (mut rest, mut cut) = (chars.as_slice(), Vec::with_capacity(pieces.len()));
            for len in pieces {
                let (piece, others) = rest.split_at(len);
                rest = others;
                match step {
                    Some(pattern) => pattern.split(piece, |len| cut.push(len)),
                    None => split_thousands(piece, |len| cut.push(len)),
                }
            }
            pieces = cut;
        }
        let (mut rest, mut chars) = (text, chars.as_slice());
        for len in pieces {
            let bytes = chars[..len].iter().map(|char| usize::from(char.bytes)).sum();
            word(&rest[..bytes]);
            (rest, chars) = (&rest[bytes..], &chars[len..]);
        }
    }
}

/// See [`Step::Thousands`].
fn split_thousands(chars: &[Char], mut piece: impl FnMut(usize)) {
    let is_digit = |char: &Char| char.category == Category::Number;
    let (mut cut, mut at) = (0, 0);
    while at < chars.len() {
        let digits = chars[at..].iter().take_while(|char| is_digit(char)).count();
        let first = if digits % 3 == 0 { 3 } else { digits % 3 };
        for end in (at + first..=at + digits).step_by(3) {
            piece(end - cut);
            cut = end;
        }
        at += digits.max(1);
    }
    if cut < chars.len() {
        piece(chars.len() - cut);
    }
}

#[cfg(test)]
mod tests;
