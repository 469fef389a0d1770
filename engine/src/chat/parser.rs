//! Builds the program of a template from its tokens: Jinja's grammar by recursive descent.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::ast::{Args, Comparison, Expr, For, Link, Macro, Operator, Program, Stmt, StmtKind, Symbol, Target};
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
    fn peek(&self) -> Option<&Token<'s>> {
        self.tokens.get(self.at).map(|(token, _)| token)
    }

    fn line(&self) -> u32 {
        self.tokens.get(self.at).or(self.tokens.last()).map_or(1, |(_, line)| *line)
    }

    fn is_op(&self, op: &str) -> bool {
        matches!(self.peek(), Some(Token::Op(found)) if *found == op)
    }

    fn is_name(&self, name: &str) -> bool {
        matches!(self.peek(), Some(Token::Name(found)) if *found == name)
    }

    fn take_op(&mut self, op: &str) -> bool {
        let found = self.is_op(op);
        self.at += usize::from(found);
        found
    }

    fn take_name(&mut self, name: &str) -> bool {
        let found = self.is_name(name);
        self.at += usize::from(found);
        found
    }

    fn fail<T>(&self, message: String) -> Result<T> {
        Err((self.line(), message))
    }

    /// "unexpected this, expected that".
    fn unexpected<T>(&self, expected: &str) -> Result<T> {
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

    fn expect_op(&mut self, op: &str) -> Result<()> {
        if self.take_op(op) { Ok(()) } else { self.unexpected(&format!("{op:?}")) }
    }

    fn expect(&mut self, token: &Token<'_>, shown: &str) -> Result<()> {
        if self.peek() != Some(token) {
            return self.unexpected(shown);
        }
        self.at += 1;
        Ok(())
    }

    fn name(&mut self) -> Result<&'s str> {
        let Some(&Token::Name(name)) = self.peek() else { return self.unexpected("a name") };
        self.at += 1;
        Ok(name)
    }

    fn symbol(&mut self, name: &'s str) -> Symbol {
        let names = &mut self.program.names;
        *self.symbols.entry(name).or_insert_with(|| {
            names.push(name.into());
            names.len() as Symbol - 1
        })
    }

    /// Parses something one level further in.
    fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.nesting == MAX_NESTING {
            return self.fail(format!("brackets or blocks are nested more than {MAX_NESTING} deep"));
        }
        self.nesting += 1;
        let parsed = parse(self);
        self.nesting -= 1;
        parsed
    }
}

/// Statements.
impl<'s> Parser<'s> {
    /// Parses statements up to a tag with one of the names in `ends`, and that tag's `{%` and name.
    fn statements(&mut self, ends: &[&str]) -> Result<Vec<Stmt>> {
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

    fn statement(&mut self, name: &'s str) -> Result<StmtKind> {
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

    fn end_of_tag(&mut self) -> Result<()> {
        self.expect(&Token::BlockEnd, "%}")
    }

    /// The rest of a tag, its statements, and the end tag.
    fn body(&mut self, end: &str) -> Result<Vec<Stmt>> {
        self.end_of_tag()?;
        let body = self.statements(&[end])?;
        self.end_of_tag()?;
        Ok(body)
    }

    /// The name in the tag that ended [`Parser::statements`].
    fn ended_by(&self) -> &str {
        match self.tokens.get(self.at - 1) {
            Some((Token::Name(name), _)) => name,
            _ => "",
        }
    }

    fn if_block(&mut self) -> Result<StmtKind> {
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

    fn for_block(&mut self) -> Result<StmtKind> {
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

    fn loop_control(&mut self, name: &str) -> Result<StmtKind> {
        if self.loops == 0 {
            return self.fail(format!("{name:?} outside of a loop"));
        }
        self.end_of_tag()?;
        Ok(if name == "break" { StmtKind::Break } else { StmtKind::Continue })
    }

    fn set(&mut self) -> Result<StmtKind> {
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

    fn macro_block(&mut self) -> Result<StmtKind> {
        let name = self.name()?;
        let name = self.symbol(name);
        self.expect_op("(")?;
        let params = self.params()?;
        Ok(StmtKind::Macro(self.macro_body(name, params, "endmacro")?))
    }

    /// Parses the body of a macro, which loops outside of it have no part in.
    fn macro_body(&mut self, name: Symbol, params: Vec<(Symbol, Option<Expr>)>, end: &str) -> Result<usize> {
        let loops = core::mem::take(&mut self.loops);
        let body = self.body(end)?;
        self.loops = loops;
        self.program.macros.push(Macro { name, params, body });
        Ok(self.program.macros.len() - 1)
    }

    /// Parameters up to the closing parenthesis.
    fn params(&mut self) -> Result<Vec<(Symbol, Option<Expr>)>> {
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

    fn call_block(&mut self) -> Result<StmtKind> {
        let params = if self.take_op("(") { self.params()? } else { Vec::new() };
        let call = self.expression()?;
        if !matches!(&call, Expr::Chain(_, links) if matches!(links.last(), Some(Link::Call(_)))) {
            return self.fail("expected a call".to_string());
        }
        let caller = self.symbol("caller");
        Ok(StmtKind::Call(self.macro_body(caller, params, "endcall")?, call))
    }

    fn filter_block(&mut self) -> Result<StmtKind> {
        let mut filters = Vec::from([self.filter()?]);
        while self.take_op("|") {
            filters.push(self.filter()?);
        }
        Ok(StmtKind::Filter(filters, self.body("endfilter")?))
    }

    fn with_block(&mut self) -> Result<StmtKind> {
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

    fn named_block(&mut self) -> Result<StmtKind> {
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
    fn target(&mut self, attributes: bool, ends: &[&str]) -> Result<Target> {
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

    fn one_target(&mut self, attributes: bool) -> Result<Target> {
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

/// Expressions, from the loosest operator to the tightest.
impl<'s> Parser<'s> {
    fn ends_tuple(&self, ends: &[&str]) -> bool {
        match self.peek() {
            None | Some(Token::PrintEnd | Token::BlockEnd | Token::Op(")" | "=")) => true,
            Some(Token::Name(name)) => ends.contains(name),
            _ => false,
        }
    }

    /// One expression, or several with commas between, which make a tuple.
    fn tuple(&mut self, conditional: bool, ends: &[&str]) -> Result<Expr> {
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

    fn expression(&mut self) -> Result<Expr> {
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

    fn or(&mut self) -> Result<Expr> {
        let mut items = Vec::from([self.and()?]);
        while self.take_name("or") {
            items.push(self.and()?);
        }
        Ok(one_or(items, Expr::Or))
    }

    fn and(&mut self) -> Result<Expr> {
        let mut items = Vec::from([self.not()?]);
        while self.take_name("and") {
            items.push(self.not()?);
        }
        Ok(one_or(items, Expr::And))
    }

    fn not(&mut self) -> Result<Expr> {
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

    fn compare(&mut self) -> Result<Expr> {
        let first = self.sum()?;
        let mut rest = Vec::new();
        while let Some(comparison) = self.comparison() {
            rest.push((comparison, self.sum()?));
        }
        Ok(if rest.is_empty() { first } else { Expr::Compare(Box::new(first), rest) })
    }

    fn comparison(&mut self) -> Option<Comparison> {
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

    fn sum(&mut self) -> Result<Expr> {
        self.binary(&[("+", Operator::Add), ("-", Operator::Subtract)], Self::concat)
    }

    fn concat(&mut self) -> Result<Expr> {
        let mut items = Vec::from([self.product()?]);
        while self.take_op("~") {
            items.push(self.product()?);
        }
        Ok(one_or(items, Expr::Concat))
    }

    fn product(&mut self) -> Result<Expr> {
        const OPERATORS: [(&str, Operator); 4] = [
            ("*", Operator::Multiply),
            ("/", Operator::Divide),
            ("//", Operator::FloorDivide),
            ("%", Operator::Modulo),
        ];
        self.binary(&OPERATORS, Self::power)
    }

    fn power(&mut self) -> Result<Expr> {
        self.binary(&[("**", Operator::Power)], Self::unary)
    }

    fn binary(&mut self, level: &[(&str, Operator)], next: fn(&mut Self) -> Result<Expr>) -> Result<Expr> {
        let first = next(self)?;
        let mut rest = Vec::new();
        while let Some((op, operator)) = level.iter().find(|(op, _)| self.is_op(op)) {
            self.take_op(op);
            rest.push((*operator, next(self)?));
        }
        Ok(if rest.is_empty() { first } else { Expr::Binary(Box::new(first), rest) })
    }

    /// Signs, then a value with subscripts and calls; filters and tests apply to all of it.
    fn unary(&mut self) -> Result<Expr> {
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

    fn primary(&mut self) -> Result<Expr> {
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
    fn text(&mut self) -> Expr {
        let mut text = String::new();
        while let Some(Token::Text(part)) = self.peek() {
            text.push_str(part);
            self.at += 1;
        }
        Expr::Text(text.into())
    }

    fn bracket(&mut self) -> Result<Expr> {
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

    fn items(&mut self, end: &str) -> Result<Vec<Expr>> {
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

    fn dict(&mut self) -> Result<Expr> {
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
    fn postfix(&mut self, links: &mut Vec<Link>) -> Result<()> {
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

    fn attribute(&mut self) -> Result<Link> {
        if let Some(&Token::Int(index)) = self.peek() {
            self.at += 1;
            return Ok(Link::Item(Expr::Int(index)));
        }
        Ok(Link::Attr(self.name()?.into()))
    }

    fn subscript(&mut self) -> Result<Link> {
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

    fn filters_and_tests(&mut self, links: &mut Vec<Link>) -> Result<()> {
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

    fn filter(&mut self) -> Result<Link> {
        let name = self.name()?.into();
        let args = if self.is_op("(") { self.args()? } else { Args::default() };
        Ok(Link::Filter(name, args))
    }

    fn test(&mut self) -> Result<Link> {
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
    fn args(&mut self) -> Result<Args> {
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

    fn arg(&mut self, args: &mut Args) -> Result<()> {
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
