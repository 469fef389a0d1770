//! A Rust file as a flat list of tokens.

use crate::Outcome;
use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// A Rust file.
pub struct Source {
    pub path: String,
    pub lines: Vec<String>,
    pub tokens: Vec<Token>,
}

/// One token; a bracket is a token of its own.
pub struct Token {
    pub text: String,
    /// Counted from 1.
    pub line: usize,
    /// Whether it stands in a `#[cfg(test)]` module or file.
    pub test: bool,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Outcome<Self> {
        let stream: TokenStream = text.parse().map_err(|error| format!("{path}: {error}"))?;
        let mut tokens = Vec::new();
        flatten(stream, &mut tokens);
        let mut source = Self { path: path.to_string(), lines: text.lines().map(String::from).collect(), tokens };
        source.mark_tests();
        Ok(source)
    }

    /// The module of the engine that this file belongs to; `None` outside the engine and for its `lib.rs`.
    pub fn engine_module(&self) -> Option<&str> {
        let inside = self.path.strip_prefix("engine/src/")?;
        let module = inside.split('/').next()?.trim_end_matches(".rs");
        (module != "lib").then_some(module)
    }

    /// Whether the tokens from `at` on are these.
    pub fn matches(&self, at: usize, texts: &[&str]) -> bool {
        let found = self.tokens.get(at..at + texts.len());
        found.is_some_and(|found| found.iter().zip(texts).all(|(token, text)| token.text == *text))
    }

    /// The names that follow `first::` anywhere, such as `a` and `b` in `first::a::x` and `use first::{b}`, with the index
    /// of their token.
    pub fn names_after(&self, first: &str) -> Vec<usize> {
        let starts = (0..self.tokens.len()).filter(|&at| self.matches(at, &[first, ":", ":"])).map(|at| at + 3);
        starts.flat_map(|at| if self.matches(at, &["{"]) { self.names_in_group(at) } else { vec![at] }).collect()
    }

    /// In `{a::b, c, d::{e}}` the names `a`, `c` and `d`.
    fn names_in_group(&self, open: usize) -> Vec<usize> {
        let (mut depth, mut names) = (0, Vec::new());
        for at in open..=self.closing(open) {
            match self.tokens[at].text.as_str() {
                "{" => depth += 1,
                "}" => depth -= 1,
                _ => {}
            }
            if depth == 1 && matches!(self.tokens[at].text.as_str(), "{" | ",") {
                names.push(at + 1);
            }
        }
        names.retain(|&at| self.tokens[at].text != "}");
        names
    }

    /// The index of the bracket that closes the one at `open`; the last token if there is none.
    pub fn closing(&self, open: usize) -> usize {
        let mut depth = 0usize;
        for (at, token) in self.tokens.iter().enumerate().skip(open) {
            match token.text.as_str() {
                "{" | "(" | "[" => depth += 1,
                "}" | ")" | "]" => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return at;
            }
        }
        self.tokens.len() - 1
    }

    fn mark_tests(&mut self) {
        const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
        let whole =
            self.path.starts_with("tests/") || self.path.ends_with("/tests.rs") || self.path.contains("/tests/");
        self.tokens.iter_mut().for_each(|token| token.test = whole);
        for at in 0..self.tokens.len() {
            if !self.matches(at, &MARK) {
                continue;
            }
            let item = at + MARK.len();
            let ends = |token: &Token| token.text == "{" || token.text == ";";
            let Some(body) = self.tokens[item..].iter().position(ends).map(|i| item + i) else { continue };
            let end = if self.tokens[body].text == "{" { self.closing(body) } else { body };
            self.tokens[at..=end].iter_mut().for_each(|token| token.test = true);
        }
    }
}

fn flatten(stream: TokenStream, tokens: &mut Vec<Token>) {
    for tree in stream {
        let line = tree.span().start().line;
        let token = |text: &str, line| Token { text: text.to_string(), line, test: false };
        match tree {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::None => ("", ""),
                };
                tokens.push(token(open, line));
                flatten(group.stream(), tokens);
                tokens.push(token(close, group.span_close().end().line));
            }
            other => tokens.push(token(&other.to_string(), line)),
        }
    }
}
