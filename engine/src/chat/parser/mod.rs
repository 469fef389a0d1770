//! Builds the program of a template from its tokens: Jinja's grammar by recursive descent.

mod expressions;
mod statements;

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::ast::{Program, Symbol};
use super::lexer::{SyntaxError, Token, normalize, tokenize};

/// How deep brackets and blocks may nest. Real templates stay below 20.
const MAX_NESTING: usize = 100;
/// Longer templates are refused. The largest real ones have some 20 kB.
const MAX_SOURCE: usize = 1 << 20;

type Result<T> = core::result::Result<T, SyntaxError>;

/// Parses a whole template.
pub(super) fn parse(source: &str) -> Result<Program> {
    if source.len() > MAX_SOURCE {
        return Err((1, format!("the template has {} bytes, the limit is {MAX_SOURCE}", source.len())));
    }
    let source = normalize(source);
    let tokens = tokenize(&source)?;
    let mut parser =
        Parser { tokens, at: 0, nesting: 0, loops: 0, symbols: BTreeMap::new(), program: Program::default() };
    let body = parser.statements(&[])?;
    Ok(Program { body, ..parser.program })
}

struct Parser<'s> {
    tokens: Vec<(Token<'s>, u32)>,
    at: usize,
    nesting: usize,
    /// Loops around the current statement, within the current macro.
    loops: usize,
    symbols: BTreeMap<&'s str, Symbol>,
    program: Program,
}

/// Tokens.
impl<'s> Parser<'s> {
    pub(super) fn peek(&self) -> Option<&Token<'s>> {
        self.tokens.get(self.at).map(|(token, _)| token)
    }

    pub(super) fn line(&self) -> u32 {
        self.tokens.get(self.at).or(self.tokens.last()).map_or(1, |(_, line)| *line)
    }

    pub(super) fn is_op(&self, op: &str) -> bool {
        matches!(self.peek(), Some(Token::Op(found)) if *found == op)
    }

    pub(super) fn is_name(&self, name: &str) -> bool {
        matches!(self.peek(), Some(Token::Name(found)) if *found == name)
    }

    pub(super) fn take_op(&mut self, op: &str) -> bool {
        let found = self.is_op(op);
        self.at += usize::from(found);
        found
    }

    pub(super) fn take_name(&mut self, name: &str) -> bool {
        let found = self.is_name(name);
        self.at += usize::from(found);
        found
    }

    pub(super) fn fail<T>(&self, message: String) -> Result<T> {
        Err((self.line(), message))
    }

    /// "unexpected this, expected that".
    pub(super) fn unexpected<T>(&self, expected: &str) -> Result<T> {
        let found = match self.peek() {
            None => "end of template".to_string(),
            Some(Token::Data(_)) => "text".to_string(),
            Some(Token::PrintBegin) => "{{".to_string(),
            Some(Token::PrintEnd) => "}}".to_string(),
            Some(Token::BlockBegin) => "{%".to_string(),
            Some(Token::BlockEnd) => "%}".to_string(),
            Some(Token::Name(name)) => format!("{name:?}"),
            Some(Token::Text(_)) => "string".to_string(),
            Some(Token::Int(value)) => format!("{value}"),
            Some(Token::Float(value)) => format!("{value}"),
            Some(Token::Op(op)) => format!("{op:?}"),
        };
        self.fail(format!("unexpected {found}, expected {expected}"))
    }

    pub(super) fn expect_op(&mut self, op: &str) -> Result<()> {
        if self.take_op(op) { Ok(()) } else { self.unexpected(&format!("{op:?}")) }
    }

    pub(super) fn expect(&mut self, token: &Token<'_>, shown: &str) -> Result<()> {
        if self.peek() != Some(token) {
            return self.unexpected(shown);
        }
        self.at += 1;
        Ok(())
    }

    pub(super) fn name(&mut self) -> Result<&'s str> {
        let Some(&Token::Name(name)) = self.peek() else { return self.unexpected("a name") };
        self.at += 1;
        Ok(name)
    }

    pub(super) fn symbol(&mut self, name: &'s str) -> Symbol {
        let names = &mut self.program.names;
        *self.symbols.entry(name).or_insert_with(|| {
            names.push(name.into());
            names.len() as Symbol - 1
        })
    }

    /// Parses something one level further in.
    pub(super) fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.nesting == MAX_NESTING {
            return self.fail(format!("brackets or blocks are nested more than {MAX_NESTING} deep"));
        }
        self.nesting += 1;
        let parsed = parse(self);
        self.nesting -= 1;
        parsed
    }
}
