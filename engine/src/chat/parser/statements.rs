//! Tags and what they enclose.

use alloc::format;
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::super::ast::{Expr, For, Link, Macro, Stmt, StmtKind, Symbol, Target};
use super::super::lexer::Token;
use super::{Parser, Result};

impl<'s> Parser<'s> {
    /// Parses statements up to a tag with one of the names in `ends`, and that tag's `{%` and name.
    pub(super) fn statements(&mut self, ends: &[&str]) -> Result<Vec<Stmt>> {
        let mut body = Vec::new();
        while let Some((token, line)) = self.tokens.get(self.at) {
            let line = *line;
            let kind = match token {
                Token::Data(text) => {
                    let text = Arc::from(*text);
                    self.at += 1;
                    StmtKind::Data(text)
                }
                Token::PrintBegin => {
                    self.at += 1;
                    let value = self.tuple(true, &[])?;
                    self.expect(&Token::PrintEnd, "}}")?;
                    StmtKind::Print(value)
                }
                Token::BlockBegin => {
                    self.at += 1;
                    let name = self.name()?;
                    if ends.contains(&name) {
                        return Ok(body);
                    }
                    self.nested(|parser| parser.statement(name))?
                }
                _ => return self.unexpected("text or a tag"),
            };
            body.push(Stmt { line, kind });
        }
        match ends {
            [] => Ok(body),
            _ => self.fail(format!("the template ends, expected {{% {} %}}", ends.join(" %} or {% "))),
        }
    }

    pub(super) fn statement(&mut self, name: &'s str) -> Result<StmtKind> {
        match name {
            "if" => self.if_block(),
            "for" => self.for_block(),
            "set" => self.set(),
            "macro" => self.macro_block(),
            "call" => self.call_block(),
            "filter" => self.filter_block(),
            "with" => self.with_block(),
            "generation" => Ok(StmtKind::Scope(self.body("endgeneration")?)),
            "block" => self.named_block(),
            "break" | "continue" => self.loop_control(name),
            "extends" | "include" | "import" | "from" => {
                self.fail(format!("{name:?} needs other templates, and a chat template stands alone"))
            }
            _ => self.fail(format!("unknown tag {name:?}")),
        }
    }

    pub(super) fn end_of_tag(&mut self) -> Result<()> {
        self.expect(&Token::BlockEnd, "%}")
    }

    /// The rest of a tag, its statements, and the end tag.
    pub(super) fn body(&mut self, end: &str) -> Result<Vec<Stmt>> {
        self.end_of_tag()?;
        let body = self.statements(&[end])?;
        self.end_of_tag()?;
        Ok(body)
    }

    /// The name in the tag that ended [`Parser::statements`].
    pub(super) fn ended_by(&self) -> &str {
        match self.tokens.get(self.at - 1) {
            Some((Token::Name(name), _)) => name,
            _ => "",
        }
    }

    pub(super) fn if_block(&mut self) -> Result<StmtKind> {
        let mut arms = Vec::new();
        loop {
            let condition = self.tuple(false, &[])?;
            self.end_of_tag()?;
            arms.push((condition, self.statements(&["elif", "else", "endif"])?));
            match self.ended_by() {
                "elif" => continue,
                "else" => return Ok(StmtKind::If(arms, self.body("endif")?)),
                _ => self.end_of_tag()?,
            }
            return Ok(StmtKind::If(arms, Vec::new()));
        }
    }

    pub(super) fn for_block(&mut self) -> Result<StmtKind> {
        let target = self.target(false, &["in"])?;
        if !self.take_name("in") {
            return self.unexpected("\"in\"");
        }
        let items = self.tuple(false, &["recursive"])?;
        let condition = if self.take_name("if") { Some(self.expression()?) } else { None };
        let recursive = self.take_name("recursive");
        self.end_of_tag()?;
        self.loops += 1;
        let body = self.statements(&["else", "endfor"])?;
        self.loops -= 1;
        let otherwise = if self.ended_by() == "else" {
            self.body("endfor")?
        } else {
            self.end_of_tag()?;
            Vec::new()
        };
        self.program.loops.push(For { target, items, condition, recursive, body, otherwise });
        Ok(StmtKind::For(self.program.loops.len() - 1))
    }

    pub(super) fn loop_control(&mut self, name: &str) -> Result<StmtKind> {
        if self.loops == 0 {
            return self.fail(format!("{name:?} outside of a loop"));
        }
        self.end_of_tag()?;
        Ok(if name == "break" { StmtKind::Break } else { StmtKind::Continue })
    }

    pub(super) fn set(&mut self) -> Result<StmtKind> {
        let target = self.target(true, &[])?;
        if self.take_op("=") {
            let value = self.tuple(true, &[])?;
            self.end_of_tag()?;
            return Ok(StmtKind::Set(target, value));
        }
        let mut filters = Vec::new();
        while self.take_op("|") {
            filters.push(self.filter()?);
        }
        Ok(StmtKind::SetBlock(target, filters, self.body("endset")?))
    }

    pub(super) fn macro_block(&mut self) -> Result<StmtKind> {
        let name = self.name()?;
        let name = self.symbol(name);
        self.expect_op("(")?;
        let params = self.params()?;
        Ok(StmtKind::Macro(self.macro_body(name, params, "endmacro")?))
    }

    /// Parses the body of a macro, which loops outside of it have no part in.
    pub(super) fn macro_body(&mut self, name: Symbol, params: Vec<(Symbol, Option<Expr>)>, end: &str) -> Result<usize> {
        let loops = core::mem::take(&mut self.loops);
        let body = self.body(end)?;
        self.loops = loops;
        self.program.macros.push(Macro { name, params, body });
        Ok(self.program.macros.len() - 1)
    }

    /// Parameters up to the closing parenthesis.
    pub(super) fn params(&mut self) -> Result<Vec<(Symbol, Option<Expr>)>> {
        let mut params: Vec<(Symbol, Option<Expr>)> = Vec::new();
        while !self.take_op(")") {
            if !params.is_empty() {
                self.expect_op(",")?;
            }
            if self.take_op(")") {
                break;
            }
            let name = self.name()?;
            let name = self.symbol(name);
            let default = if self.take_op("=") { Some(self.expression()?) } else { None };
            if default.is_none() && params.last().is_some_and(|(_, default)| default.is_some()) {
                return self.fail("a parameter without default follows one with a default".to_string());
            }
            params.push((name, default));
        }
        Ok(params)
    }

    pub(super) fn call_block(&mut self) -> Result<StmtKind> {
        let params = if self.take_op("(") { self.params()? } else { Vec::new() };
        let call = self.expression()?;
        if !matches!(&call, Expr::Chain(_, links) if matches!(links.last(), Some(Link::Call(_)))) {
            return self.fail("expected a call".to_string());
        }
        let caller = self.symbol("caller");
        Ok(StmtKind::Call(self.macro_body(caller, params, "endcall")?, call))
    }

    pub(super) fn filter_block(&mut self) -> Result<StmtKind> {
        let mut filters = Vec::from([self.filter()?]);
        while self.take_op("|") {
            filters.push(self.filter()?);
        }
        Ok(StmtKind::Filter(filters, self.body("endfilter")?))
    }

    pub(super) fn with_block(&mut self) -> Result<StmtKind> {
        let mut assignments = Vec::new();
        while self.peek() != Some(&Token::BlockEnd) {
            if !assignments.is_empty() {
                self.expect_op(",")?;
            }
            let target = self.target(false, &[])?;
            self.expect_op("=")?;
            assignments.push((target, self.expression()?));
        }
        Ok(StmtKind::With(assignments, self.body("endwith")?))
    }

    pub(super) fn named_block(&mut self) -> Result<StmtKind> {
        self.name()?;
        while self.take_name("scoped") || self.take_name("required") {}
        self.end_of_tag()?;
        let body = self.statements(&["endblock"])?;
        if let Some(Token::Name(_)) = self.peek() {
            self.at += 1;
        }
        self.end_of_tag()?;
        Ok(StmtKind::Scope(body))
    }

    /// Parses what is assigned to: one target, or several with commas between.
    pub(super) fn target(&mut self, attributes: bool, ends: &[&str]) -> Result<Target> {
        let mut targets = Vec::new();
        let mut is_tuple = false;
        loop {
            if self.ends_tuple(ends) && is_tuple {
                break;
            }
            targets.push(self.one_target(attributes)?);
            if !self.take_op(",") {
                break;
            }
            is_tuple = true;
        }
        match targets.pop() {
            Some(target) if !is_tuple => Ok(target),
            last => {
                targets.extend(last);
                Ok(Target::Tuple(targets))
            }
        }
    }

    pub(super) fn one_target(&mut self, attributes: bool) -> Result<Target> {
        if self.take_op("(") {
            let target = self.nested(|parser| parser.target(attributes, &[]))?;
            self.expect_op(")")?;
            return Ok(target);
        }
        let name = self.name()?;
        if matches!(name, "true" | "false" | "none" | "True" | "False" | "None") {
            return self.fail(format!("cannot assign to {name}"));
        }
        let symbol = self.symbol(name);
        if attributes && self.take_op(".") {
            return Ok(Target::Attr(symbol, self.name()?.into()));
        }
        Ok(Target::Name(symbol))
    }
}
