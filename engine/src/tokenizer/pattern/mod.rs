//! A small regular-expression engine for splitting rules.
//!
//! The rules of pre-tokenizers are published as regular expressions with look-ahead and first-alternative-wins matching.
//! A [`Pattern`] is such an expression compiled to a few instructions ([`Op`]); [`Pattern::split`] cuts a text into its
//! matches and what lies between them.
//!
//! **Syntax**: characters, escapes (`\r \n \t`, and any punctuation), classes (`\s \S \d`, `\p{L}` and the other one-letter
//! categories L N M P S, `[a-z]`, `[^a-z]`, `[\p{L}--[a-z]]` where what is taken away is ASCII), groups `(a|b)`,
//! quantifiers `? * + {n} {m,n}` (the last two on single characters only), look-ahead `(?=x) (?!x)` at a single character,
//! and `$` for the end of the text. Matching is greedy, and sensitive to case. A match is never empty.
//!
//! **Matching** backtracks, with an explicit stack. A quantified class is one instruction, `Repeat`: it runs to the end of
//! the class's characters in a tight loop and leaves one entry on the stack for all the shorter runs that could be tried
//! instead. What would make this quadratic is to try the same long run again from each of its characters: `\s+$` on
//! a million spaces before a letter. So when every length of an unbounded run has failed, its bounds are remembered, and
//! a later attempt that starts inside of them fails at once. Whether the instructions from here on match at a position
//! does not depend on how that position was reached (there are no captures), so the memory stays valid for the whole text.

mod parse;

use super::unicode::{Category, Char};
use alloc::{vec, vec::Vec};

/// A compiled regular expression.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    ops: Vec<Op>,
    classes: Vec<Class>,
}

/// An instruction. Positions in a program are indices of `Pattern::ops`.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Op {
    /// Takes `min` to `max` characters of a class, as many as there are.
    Repeat { class: usize, min: usize, max: usize },
    /// Goes on if the next character is of the class (not of it, or at the end, when `negative`). Takes nothing.
    Look { class: usize, negative: bool },
    /// Goes on with the next instruction, and if that fails, with `second`.
    Fork { second: usize },
    /// Goes on at another instruction.
    Jump(usize),
    /// The expression has matched.
    Match,
}

/// A set of characters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Class {
    /// One bit for each ASCII character, with negation and subtraction applied.
    ascii: u128,
    /// One bit for each [`Category`] whose characters beyond ASCII belong to the set.
    categories: u8,
    /// Ranges beyond ASCII that belong to the set, bounds included, ascending and apart.
    ranges: Vec<(u32, u32)>,
    /// Whether `categories` and `ranges` say what does not belong to the set.
    negated: bool,
}

impl Class {
    fn has(&self, char: Char) -> bool {
        if char.code < 128 {
            return self.ascii >> char.code & 1 == 1;
        }
        let in_range = || {
            let at = self.ranges.partition_point(|&(_, last)| last < char.code);
            self.ranges.get(at).is_some_and(|&(first, _)| first <= char.code)
        };
        let listed = self.categories >> (char.category as u8) & 1 == 1 || in_range();
        listed != self.negated
    }

    /// How many of the characters at the front belong to the set.
    fn run(&self, chars: &[Char]) -> usize {
        chars.iter().position(|&char| !self.has(char)).unwrap_or(chars.len())
    }
}

/// What to try when matching fails: `op` at each position from `last` down to `first`.
struct Retry {
    op: usize,
    first: usize,
    last: usize,
    /// Not something to try, but a mark: the run that the `Repeat` at `op` found from `first` to `last` is of no use.
    exhausted: bool,
}

/// Shorter runs are cheaper to try again than to remember.
const WORTH_REMEMBERING: usize = 16;

/// The state of matching one pattern on one text.
struct Matcher<'a> {
    pattern: &'a Pattern,
    chars: &'a [Char],
    stack: Vec<Retry>,
    /// For each instruction, the bounds of a run that failed at every length; empty ranges when there is none.
    failed: Vec<core::ops::Range<usize>>,
    /// Instructions run and characters looked at.
    #[cfg(test)]
    work: usize,
}

impl Pattern {
    /// Compiles an expression of the rule table.
    ///
    /// # Panics
    /// When the expression is malformed: the table is part of the program, and its tests compile every row.
    pub fn new(source: &str) -> Self {
        parse::compile(source)
    }

    /// Cuts `chars` into matches and the stretches between them, and gives the length of each piece to `piece`. No piece is
    /// empty, and their lengths add up to the text's.
    pub fn split(&self, chars: &[Char], piece: impl FnMut(usize)) {
        Matcher::new(self, chars).split(piece);
    }
}

impl<'a> Matcher<'a> {
    fn new(pattern: &'a Pattern, chars: &'a [Char]) -> Self {
        let failed = vec![0..0; pattern.ops.len()];
        Self {
            pattern,
            chars,
            stack: Vec::new(),
            failed,
            #[cfg(test)]
            work: 0,
        }
    }

    fn split(&mut self, mut piece: impl FnMut(usize)) {
        let (mut cut, mut start) = (0, 0);
        while start < self.chars.len() {
            let Some(end) = self.match_at(start) else {
                start += 1;
                continue;
            };
            if start > cut {
                piece(start - cut);
            }
            piece(end - start);
            (cut, start) = (end, end);
        }
        if start > cut {
            piece(start - cut);
        }
    }

    /// The end of the match that starts at `start`, if there is one.
    fn match_at(&mut self, start: usize) -> Option<usize> {
        self.stack.clear();
        let end = self.follow(0, start).or_else(|| self.backtrack())?;
        (end > start).then_some(end)
    }

    fn backtrack(&mut self) -> Option<usize> {
        while let Some(retry) = self.stack.pop() {
            if retry.exhausted {
                self.failed[retry.op] = retry.first..retry.last;
                continue;
            }
            let Retry { op, first, last, .. } = retry;
            if first < last {
                self.stack.push(Retry { last: last - 1, ..retry });
            }
            if let Some(end) = self.follow(op, last) {
                return Some(end);
            }
        }
        None
    }

    /// Runs instructions from `op` on, until the expression matches (the end) or this way of matching fails.
    fn follow(&mut self, mut op: usize, mut at: usize) -> Option<usize> {
        loop {
            #[cfg(test)]
            (self.work += 1);
            match self.pattern.ops[op] {
                Op::Repeat { class, min, max } => at = self.repeat(op, class, min, max, at)?,
                Op::Look { class, negative } => {
                    let next = self.chars.get(at);
                    if next.is_some_and(|&char| self.pattern.classes[class].has(char)) == negative {
                        return None;
                    }
                }
                Op::Fork { second } => self.stack.push(Retry { op: second, first: at, last: at, exhausted: false }),
                Op::Jump(target) => {
                    op = target;
                    continue;
                }
                Op::Match => return Some(at),
            }
            op += 1;
        }
    }

    /// Takes a run of a class at `at`: its end, the shorter runs being left on the stack.
    fn repeat(&mut self, op: usize, class: usize, min: usize, max: usize, at: usize) -> Option<usize> {
        if self.failed[op].contains(&at) {
            return None;
        }
        let rest = &self.chars[at..];
        let rest = &rest[..rest.len().min(max)];
        let len = self.pattern.classes[class].run(rest);
        #[cfg(test)]
        (self.work += len);
        if len < min {
            return None;
        }
        let end = at + len;
        if max == usize::MAX && len >= WORTH_REMEMBERING {
            self.stack.push(Retry { op, first: at, last: end, exhausted: true });
        }
        if len > min {
            self.stack.push(Retry { op: op + 1, first: at + min, last: end - 1, exhausted: false });
        }
        Some(end)
    }
}

#[cfg(test)]
pub(super) mod tests;
