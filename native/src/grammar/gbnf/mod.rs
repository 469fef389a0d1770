//! GBNF, llama.cpp's notation of grammars, to the notation that llguidance reads.
//!
//! ```text
//! text ─► parse ─► rules ─► check ─► lark
//! ```
//!
//! llguidance cuts a text into terminals first, the longest ones that it can, and only then parses; GBNF knows no such
//! cut. So each terminal is one character here, and there is nothing to be greedy about. A grammar whose rules do not
//! contain themselves has no need of a parser at all: it becomes one terminal, which is matched as a whole, and much
//! faster.

mod check;
mod lark;
mod parse;
#[cfg(test)]
mod tests;

/// What is wrong with a grammar, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct Error {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong, and what was expected.
    pub what: String,
}

/// The rules of a grammar; the first symbols of a text are those of rule [`Rules::root`].
#[derive(Debug)]
struct Rules {
    list: Vec<Rule>,
    root: usize,
}

/// A rule, or a group within one.
#[derive(Debug)]
struct Rule {
    /// Its name; that of the rule around it where it is a group.
    name: String,
    line: usize,
    alternatives: Vec<Vec<Item>>,
}

/// A part of a sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Item {
    symbol: Symbol,
    /// How often it has to be there.
    least: u32,
    /// How often it may be there; `None`: without limit.
    most: Option<u32>,
}

/// What a part of a sequence is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Symbol {
    /// The rule with this number.
    Rule(usize),
    /// A character.
    Class(Class),
}

/// A character of certain ranges, or of none of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Class {
    ranges: Vec<(char, char)>,
    negated: bool,
}

/// The Lark grammar that llguidance reads, of the same language.
pub fn to_lark(text: &str) -> Result<String, Error> {
    let rules = parse::parse(text)?;
    check::left_recursion(&rules)?;
    Ok(lark::write(&rules, check::is_flat(&rules)))
}

impl Item {
    /// What has to be there once.
    fn once(symbol: Symbol) -> Self {
        Self { symbol, least: 1, most: Some(1) }
    }
}

impl Rule {
    /// The numbers of the rules in it.
    fn references(&self) -> impl Iterator<Item = usize> {
        self.alternatives.iter().flatten().filter_map(|item| match item.symbol {
            Symbol::Rule(rule) => Some(rule),
            Symbol::Class(_) => None,
        })
    }
}
