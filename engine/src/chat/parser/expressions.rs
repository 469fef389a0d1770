//! Expressions, from the loosest operator to the tightest.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::super::ast::{Args, Comparison, Expr, Link, Operator};
use super::super::lexer::Token;
use super::{Parser, Result};

impl<'s> Parser<'s> {
    pub(super) fn ends_tuple(&self, ends: &[&str]) -> bool {
        match self.peek() {
            None | Some(Token::PrintEnd | Token::BlockEnd | Token::Op(")" | "=")) => true,
            Some(Token::Name(name)) => ends.contains(name),
            _ => false,
        }
    }

    /// One expression, or several with commas between, which make a tuple.
    pub(super) fn tuple(&mut self, conditional: bool, ends: &[&str]) -> Result<Expr> {
        let mut items = Vec::new();
        let mut is_tuple = false;
        loop {
            if self.ends_tuple(ends) && is_tuple {
                break;
            }
            items.push(if conditional { self.expression()? } else { self.or()? });
            if !self.take_op(",") {
                break;
            }
            is_tuple = true;
        }
        match items.pop() {
            Some(item) if !is_tuple => Ok(item),
            last => {
                items.extend(last);
                Ok(Expr::Tuple(items))
            }
        }
    }

    pub(super) fn expression(&mut self) -> Result<Expr> {
        let mut arms = Vec::new();
        let mut value = self.or()?;
        while self.take_name("if") {
            arms.push((value, self.or()?));
            if !self.take_name("else") {
                return Ok(Expr::If(arms, None));
            }
            value = self.or()?;
        }
        Ok(if arms.is_empty() { value } else { Expr::If(arms, Some(Box::new(value))) })
    }

    pub(super) fn or(&mut self) -> Result<Expr> {
        let mut items = Vec::from([self.and()?]);
        while self.take_name("or") {
            items.push(self.and()?);
        }
        Ok(one_or(items, Expr::Or))
    }

    pub(super) fn and(&mut self) -> Result<Expr> {
        let mut items = Vec::from([self.not()?]);
        while self.take_name("and") {
            items.push(self.not()?);
        }
        Ok(one_or(items, Expr::And))
    }

    pub(super) fn not(&mut self) -> Result<Expr> {
        let mut count = 0;
        while self.take_name("not") {
            count += 1;
        }
        let value = self.compare()?;
        Ok(match count {
            0 => value,
            _ if count % 2 == 1 => Expr::Not(Box::new(value)),
            _ => Expr::Not(Box::new(Expr::Not(Box::new(value)))),
        })
    }

    pub(super) fn compare(&mut self) -> Result<Expr> {
        let first = self.sum()?;
        let mut rest = Vec::new();
        while let Some(comparison) = self.comparison() {
            rest.push((comparison, self.sum()?));
        }
        Ok(if rest.is_empty() { first } else { Expr::Compare(Box::new(first), rest) })
    }

    pub(super) fn comparison(&mut self) -> Option<Comparison> {
        let comparison = match self.peek()? {
            Token::Op("==") => Comparison::Equal,
            Token::Op("!=") => Comparison::NotEqual,
            Token::Op("<") => Comparison::Less,
            Token::Op("<=") => Comparison::LessOrEqual,
            Token::Op(">") => Comparison::Greater,
            Token::Op(">=") => Comparison::GreaterOrEqual,
            Token::Name("in") => Comparison::In,
            Token::Name("not") => {
                self.tokens.get(self.at + 1).filter(|(token, _)| *token == Token::Name("in"))?;
                self.at += 1;
                Comparison::NotIn
            }
            _ => return None,
        };
        self.at += 1;
        Some(comparison)
    }

    pub(super) fn sum(&mut self) -> Result<Expr> {
        self.binary(&[("+", Operator::Add), ("-", Operator::Subtract)], Self::concat)
    }

    pub(super) fn concat(&mut self) -> Result<Expr> {
        let mut items = Vec::from([self.product()?]);
        while self.take_op("~") {
            items.push(self.product()?);
        }
        Ok(one_or(items, Expr::Concat))
    }

    pub(super) fn product(&mut self) -> Result<Expr> {
        const OPERATORS: [(&str, Operator); 4] = [
            ("*", Operator::Multiply),
            ("/", Operator::Divide),
            ("//", Operator::FloorDivide),
            ("%", Operator::Modulo),
        ];
        self.binary(&OPERATORS, Self::power)
    }

    pub(super) fn power(&mut self) -> Result<Expr> {
        self.binary(&[("**", Operator::Power)], Self::unary)
    }

    pub(super) fn binary(&mut self, level: &[(&str, Operator)], next: fn(&mut Self) -> Result<Expr>) -> Result<Expr> {
        let first = next(self)?;
        let mut rest = Vec::new();
        while let Some((op, operator)) = level.iter().find(|(op, _)| self.is_op(op)) {
            self.take_op(op);
            rest.push((*operator, next(self)?));
        }
        Ok(if rest.is_empty() { first } else { Expr::Binary(Box::new(first), rest) })
    }

    /// Signs, then a value with subscripts and calls; filters and tests apply to all of it.
    pub(super) fn unary(&mut self) -> Result<Expr> {
        let (mut signs, mut negative) = (0, false);
        while self.is_op("-") || self.is_op("+") {
            negative ^= self.take_op("-");
            self.take_op("+");
            signs += 1;
        }
        let mut value = self.primary()?;
        let mut links = Vec::new();
        self.postfix(&mut links)?;
        if signs > 0 {
            value = chain(value, core::mem::take(&mut links));
            value = if negative { Expr::Negate(Box::new(value)) } else { Expr::Plus(Box::new(value)) };
        }
        self.filters_and_tests(&mut links)?;
        Ok(chain(value, links))
    }

    pub(super) fn primary(&mut self) -> Result<Expr> {
        let Some(token) = self.peek() else { return self.unexpected("an expression") };
        let value = match token {
            Token::Name("true" | "True") => Expr::Bool(true),
            Token::Name("false" | "False") => Expr::Bool(false),
            Token::Name("none" | "None") => Expr::None,
            &Token::Name(name) => Expr::Name(self.symbol(name)),
            Token::Int(value) => Expr::Int(*value),
            Token::Float(value) => Expr::Float(*value),
            Token::Text(_) => return Ok(self.text()),
            Token::Op("(" | "[" | "{") => return self.nested(Self::bracket),
            _ => return self.unexpected("an expression"),
        };
        self.at += 1;
        Ok(value)
    }

    /// String literals next to each other are one.
    pub(super) fn text(&mut self) -> Expr {
        let mut text = String::new();
        while let Some(Token::Text(part)) = self.peek() {
            text.push_str(part);
            self.at += 1;
        }
        Expr::Text(text.into())
    }

    pub(super) fn bracket(&mut self) -> Result<Expr> {
        if self.take_op("[") {
            return Ok(Expr::List(self.items("]")?));
        }
        if self.take_op("{") {
            return self.dict();
        }
        self.expect_op("(")?;
        if self.take_op(")") {
            return Ok(Expr::Tuple(Vec::new()));
        }
        let value = self.tuple(true, &[])?;
        self.expect_op(")")?;
        Ok(value)
    }

    pub(super) fn items(&mut self, end: &str) -> Result<Vec<Expr>> {
        let mut items = Vec::new();
        while !self.take_op(end) {
            if !items.is_empty() {
                self.expect_op(",")?;
                if self.take_op(end) {
                    break;
                }
            }
            items.push(self.expression()?);
        }
        Ok(items)
    }

    pub(super) fn dict(&mut self) -> Result<Expr> {
        let mut pairs = Vec::new();
        while !self.take_op("}") {
            if !pairs.is_empty() {
                self.expect_op(",")?;
                if self.take_op("}") {
                    break;
                }
            }
            let key = self.expression()?;
            self.expect_op(":")?;
            pairs.push((key, self.expression()?));
        }
        Ok(Expr::Dict(pairs))
    }

    /// Attributes, subscripts and calls.
    pub(super) fn postfix(&mut self, links: &mut Vec<Link>) -> Result<()> {
        loop {
            if self.take_op(".") {
                links.push(self.attribute()?);
            } else if self.take_op("[") {
                links.push(self.nested(Self::subscript)?);
            } else if self.is_op("(") {
                links.push(Link::Call(self.args()?));
            } else {
                return Ok(());
            }
        }
    }

    pub(super) fn attribute(&mut self) -> Result<Link> {
        if let Some(&Token::Int(index)) = self.peek() {
            self.at += 1;
            return Ok(Link::Item(Expr::Int(index)));
        }
        Ok(Link::Attr(self.name()?.into()))
    }

    pub(super) fn subscript(&mut self) -> Result<Link> {
        let mut parts = [None, None, None];
        let mut colons = 0;
        for (i, part) in parts.iter_mut().enumerate() {
            if !self.is_op(":") && !self.is_op("]") {
                *part = Some(self.tuple(true, &[])?);
            }
            if i == 2 || !self.take_op(":") {
                break;
            }
            colons += 1;
        }
        self.expect_op("]")?;
        match parts {
            [Some(index), _, _] if colons == 0 => Ok(Link::Item(index)),
            _ if colons == 0 => self.fail("expected a subscript before \"]\"".to_string()),
            parts => Ok(Link::Slice(Box::new(parts))),
        }
    }

    pub(super) fn filters_and_tests(&mut self, links: &mut Vec<Link>) -> Result<()> {
        loop {
            if self.take_op("|") {
                links.push(self.filter()?);
            } else if self.take_name("is") {
                links.push(self.test()?);
            } else if self.is_op("(") {
                links.push(Link::Call(self.args()?));
            } else {
                return Ok(());
            }
        }
    }

    pub(super) fn filter(&mut self) -> Result<Link> {
        let name = self.name()?.into();
        let args = if self.is_op("(") { self.args()? } else { Args::default() };
        Ok(Link::Filter(name, args))
    }

    pub(super) fn test(&mut self) -> Result<Link> {
        let negated = self.take_name("not");
        let name = self.name()?.into();
        let mut args = Args::default();
        let takes_argument = match self.peek() {
            Some(Token::Op("(")) => {
                args = self.args()?;
                false
            }
            Some(Token::Name("is")) => return self.fail("tests cannot be chained".to_string()),
            Some(Token::Name(name)) => !matches!(*name, "else" | "or" | "and" | "if" | "in" | "not" | "recursive"),
            Some(Token::Text(_) | Token::Int(_) | Token::Float(_) | Token::Op("[" | "{")) => true,
            _ => false,
        };
        if takes_argument {
            let value = self.primary()?;
            let mut links = Vec::new();
            self.postfix(&mut links)?;
            args.positional.push(chain(value, links));
        }
        Ok(Link::Test { name, args, negated })
    }

    /// The arguments of a call, with their parentheses.
    pub(super) fn args(&mut self) -> Result<Args> {
        self.nested(|parser| {
            parser.expect_op("(")?;
            let mut args = Args::default();
            let mut first = true;
            while !parser.take_op(")") {
                if !first {
                    parser.expect_op(",")?;
                    if parser.take_op(")") {
                        break;
                    }
                }
                first = false;
                parser.arg(&mut args)?;
            }
            Ok(args)
        })
    }

    pub(super) fn arg(&mut self, args: &mut Args) -> Result<()> {
        if self.is_op("*") && args.rest.is_none() && args.named_rest.is_none() {
            self.at += 1;
            args.rest = Some(Box::new(self.expression()?));
        } else if self.is_op("**") && args.named_rest.is_none() {
            self.at += 1;
            args.named_rest = Some(Box::new(self.expression()?));
        } else if let [(Token::Name(name), _), (Token::Op("="), _), ..] = self.tokens[self.at..] {
            self.at += 2;
            args.named.push((name.into(), self.expression()?));
        } else if args.named.is_empty() && args.rest.is_none() && args.named_rest.is_none() {
            args.positional.push(self.expression()?);
        } else {
            return self.fail("a positional argument follows a named one".to_string());
        }
        Ok(())
    }
}

/// The only item, or a node of all.
fn one_or(mut items: Vec<Expr>, node: fn(Vec<Expr>) -> Expr) -> Expr {
    match items.pop() {
        Some(item) if items.is_empty() => item,
        last => {
            items.extend(last);
            node(items)
        }
    }
}

fn chain(value: Expr, links: Vec<Link>) -> Expr {
    if links.is_empty() { value } else { Expr::Chain(Box::new(value), links) }
}
