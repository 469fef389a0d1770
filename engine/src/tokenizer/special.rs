//! Special tokens: which ones a vocabulary has, and finding them in a text.

use super::vocab::{Kind, Vocab};
use alloc::{collections::BinaryHeap, vec, vec::Vec};
use core::{cmp::Reverse, ops::Range};

/// Names by which a vocabulary's token for a purpose is known when its metadata does not tell, the likeliest first.
pub(super) const END_OF_TURN: &[&str] = &[
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "<｜end▁of▁sentence｜>",
    "<end_of_utterance>",
];
pub(super) const END_OF_MESSAGE: &[&str] = &["<|eom_id|>"];
/// For filling in the middle of code: before the gap.
pub(super) const FILL_PREFIX: &[&str] = &[
    "<|fim_prefix|>",
    "<fim-prefix>",
    "<fim_prefix>",
    "<｜fim▁begin｜>",
    "<PRE>",
    "▁<PRE>",
    "<|code_prefix|>",
    "<|prefix|>",
];
/// After the gap.
pub(super) const FILL_SUFFIX: &[&str] = &[
    "<|fim_suffix|>",
    "<fim-suffix>",
    "<fim_suffix>",
    "<｜fim▁hole｜>",
    "<SUF>",
    "▁<SUF>",
    "<|code_suffix|>",
    "<|suffix|>",
];
/// The gap itself.
pub(super) const FILL_MIDDLE: &[&str] = &[
    "<|fim_middle|>",
    "<fim-middle>",
    "<fim_middle>",
    "<｜fim▁end｜>",
    "<MID>",
    "▁<MID>",
    "<|code_middle|>",
    "<|middle|>",
];
pub(super) const FILL_PADDING: &[&str] = &["<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"];
pub(super) const FILL_REPOSITORY: &[&str] = &["<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"];
pub(super) const FILL_FILE: &[&str] = &["<|file_sep|>"];

/// Tokens that end an answer, whatever the metadata say.
pub(super) const END: &[&str] = &[
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<eos>",
    "<turn|>",
    "<|tool_response>",
    "<｜end▁of▁sentence｜>",
    "[e~[",
];

/// Control tokens that are shown all the same: they structure an answer (gpt-oss).
pub(super) const SHOWN: &[&str] = &["<|channel|>", "<|message|>", "<|start|>", "<|constrain|>"];

/// A part of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part<'t> {
    Text(&'t [u8]),
    Token(u32),
}

/// The tokens that are looked for in a text before it is tokenized.
///
/// Longer tokens are found before shorter ones that overlap them, and of overlapping occurrences of one token the first.
/// So each place begins with the longest token that occurs there; the longest of all places is taken first; and a place
/// whose token has been cut off by one that was taken looks for a shorter one.
#[derive(Clone, Debug)]
pub(super) struct Finder {
    /// In ascending order of their texts.
    tokens: Vec<Special>,
    /// By first byte, where in `tokens` the texts with it begin; one more for the end.
    starts: Vec<usize>,
    /// White space after a token belongs to it, except after these.
    strips_right: Option<Vec<u32>>,
}

/// A token with its text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Special {
    text: Vec<u8>,
    id: u32,
    /// User-defined: a token even where special tokens are plain text.
    always: bool,
}

/// A token at a place in a text, in the order in which they are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Occurrence {
    len: usize,
    id: Reverse<u32>,
    at: Reverse<usize>,
}

const SPECIAL: Kind = Kind::CONTROL.or(Kind::UNKNOWN);

impl Finder {
    pub fn new(vocab: &Vocab) -> Self {
        let special = |&(id, _): &(u32, &[u8])| vocab.kind(id).is_any_of(SPECIAL.or(Kind::USER_DEFINED));
        let with_kind = |(id, text): (u32, &[u8])| {
            let always = !vocab.kind(id).is_any_of(SPECIAL);
            Special { text: text.to_vec(), id, always }
        };
        let mut tokens: Vec<_> = vocab.texts().filter(special).map(with_kind).collect();
        tokens.sort_unstable();
        let start = |byte| tokens.partition_point(|token| usize::from(token.text[0]) < byte);
        Self { starts: (0..=256).map(start).collect(), tokens, strips_right: None }
    }

    /// Makes all tokens but the named ones take the white space that follows them.
    pub fn strip_right_except(&mut self, names: &[&str], vocab: &Vocab) {
        self.strips_right = Some(vocab.find_all(names));
    }

    /// Cuts a text at special tokens. Without `parse_special`, at user-defined ones only.
    pub fn parts<'t>(&self, text: &'t [u8], parse_special: bool) -> Vec<Part<'t>> {
        let mut parts = Vec::new();
        let mut rest = 0;
        for (taken, id) in self.take(text, parse_special) {
            if taken.start > rest {
                parts.push(Part::Text(&text[rest..taken.start]));
            }
            parts.push(Part::Token(id));
            rest = taken.end;
        }
        if rest < text.len() {
            parts.push(Part::Text(&text[rest..]));
        }
        parts
    }

    /// The tokens in a text with what they take of it, in order.
    fn take(&self, text: &[u8], parse_special: bool) -> Vec<(Range<usize>, u32)> {
        let longest = |at: usize, end: usize| {
            let (len, id) = self.longest(&text[at..end], parse_special)?;
            Some(Occurrence { len, id: Reverse(id), at: Reverse(at) })
        };
        let mut waiting: BinaryHeap<_> = (0..text.len()).filter_map(|at| longest(at, text.len())).collect();
        let mut taken = if waiting.is_empty() { Vec::new() } else { vec![false; text.len()] };
        let mut chosen = Vec::new();
        while let Some(Occurrence { len, id: Reverse(id), at: Reverse(at) }) = waiting.pop() {
            let free = taken[at..at + len].iter().position(|&taken| taken).unwrap_or(len);
            if free < len {
                waiting.extend(longest(at, at + free));
                continue;
            }
            let mut end = at + len;
            if self.strips_right.as_ref().is_some_and(|except| !except.contains(&id)) {
                end += text[end..]
                    .iter()
                    .zip(&taken[end..])
                    .take_while(|&(&byte, &taken)| !taken && is_space(byte))
                    .count();
            }
            taken[at..end].fill(true);
            chosen.push((at..end, id));
        }
        chosen.sort_unstable_by_key(|(range, _)| range.start);
        chosen
    }

    /// The longest token that the text begins with, and its length.
    fn longest(&self, text: &[u8], parse_special: bool) -> Option<(usize, u32)> {
        let first = usize::from(*text.first()?);
        let mut tokens = &self.tokens[self.starts[first]..self.starts[first + 1]];
        let mut longest = None;
        // Keeps the tokens that agree with the text so far, a byte at a time. One that ends here comes first.
        for len in 1.. {
            let Some((token, others)) = tokens.split_first() else { break };
            if token.text.len() == len {
                if parse_special || token.always {
                    longest = Some((len, token.id));
                }
                tokens = others;
            }
            let Some(&next) = text.get(len) else { break };
            let low = tokens.partition_point(|token| token.text[len] < next);
            let high = tokens.partition_point(|token| token.text[len] <= next);
            tokens = &tokens[low..high];
        }
        longest
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b'\t'..=b'\r' | b' ')
}
