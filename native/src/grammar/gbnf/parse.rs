//! The text of a grammar to rules.

use std::collections::HashMap;

use super::{Class, Error, Item, Rule, Rules, Symbol};

/// The most bytes of a grammar, rules and groups in it, groups within groups, and repetitions of a part.
const MAX_BYTES: usize = 128 << 10;
const MAX_RULES: usize = 4096;
const MAX_DEPTH: usize = 64;
const MAX_REPEATS: u32 = 2000;

/// Reads a grammar, whose names all have to be there.
pub fn parse(text: &str) -> Result<Rules, Error> {
    if text.len() > MAX_BYTES {
        let what = format!("the grammar has {} bytes, expected at most {MAX_BYTES}", text.len());
        return Err(Error { line: 1, what });
    }
    let mut parser = Parser { rest: text, line: 1, rules: Vec::new(), names: HashMap::new() };
    parser.skip_space(true);
    while !parser.rest.is_empty() {
        parser.rule()?;
    }
    parser.finish()
}

struct Parser<'a> {
    rest: &'a str,
    line: usize,
    /// Those that have only been mentioned have no alternatives yet.
    rules: Vec<Rule>,
    names: HashMap<&'a str, usize>,
}

impl<'a> Parser<'a> {
    /// `name ::= alternatives`, and the end of the line.
    fn rule(&mut self) -> Result<(), Error> {
        let line = self.line;
        let name = self.name().ok_or_else(|| self.expected("the name of a rule, of letters, digits and dashes"))?;
        self.skip_space(false);
        if !self.eat("::=") {
            return Err(self.expected(format!("::= behind the name {name}")));
        }
        self.skip_space(true);
        let number = self.number(name)?;
        if !self.rules[number].alternatives.is_empty() {
            return Err(Error { line, what: format!("there are two rules {name}, expected one") });
        }
        let alternatives = self.alternatives(name, 0)?;
        self.rules[number] = Rule { name: name.to_owned(), line, alternatives };
        if !self.rest.is_empty() && !self.rest.starts_with(['\n', '\r']) {
            return Err(self.expected(format!("the end of rule {name}, or more of it")));
        }
        self.skip_space(true);
        Ok(())
    }

    /// Sequences with `|` between them, in a group where `depth` is above 0.
    fn alternatives(&mut self, name: &str, depth: usize) -> Result<Vec<Vec<Item>>, Error> {
        let mut all = vec![self.sequence(name, depth)?];
        while self.eat("|") {
            self.skip_space(true);
            all.push(self.sequence(name, depth)?);
        }
        Ok(all)
    }

    fn sequence(&mut self, name: &str, depth: usize) -> Result<Vec<Item>, Error> {
        let mut sequence = Vec::new();
        while let Some(mut part) = self.part(name, depth)? {
            self.skip_space(depth > 0);
            while let Some((least, most)) = self.repetition()? {
                part = vec![Item { symbol: self.symbol_of(part, name)?, least, most }];
                self.skip_space(depth > 0);
            }
            sequence.append(&mut part);
        }
        Ok(sequence)
    }

    /// What may be repeated: a text, a class, a rule or a group; `None`: none of these is here.
    fn part(&mut self, name: &str, depth: usize) -> Result<Option<Vec<Item>>, Error> {
        let one = |class| Ok(Some(vec![Item::once(Symbol::Class(class))]));
        match self.rest.chars().next() {
            Some('"') => Ok(Some(self.text()?)),
            Some('[') => one(self.class()?),
            Some('.') => {
                self.bump();
                one(Class { ranges: vec![('\0', char::MAX)], negated: false })
            }
            Some('(') => Ok(Some(vec![Item::once(self.group(name, depth + 1)?)])),
            Some('<' | '!') => Err(self.expected("characters or rules: tokens are not supported")),
            _ => {
                let Some(other) = self.name() else { return Ok(None) };
                Ok(Some(vec![Item::once(Symbol::Rule(self.number(other)?))]))
            }
        }
    }

    fn group(&mut self, name: &str, depth: usize) -> Result<Symbol, Error> {
        if depth > MAX_DEPTH {
            return Err(self.expected(format!("at most {MAX_DEPTH} groups within each other")));
        }
        self.bump();
        self.skip_space(true);
        let line = self.line;
        let alternatives = self.alternatives(name, depth)?;
        if !self.eat(")") {
            return Err(self.expected(format!("a ) for the ( of line {line}")));
        }
        self.add(Rule { name: name.to_owned(), line, alternatives }).map(Symbol::Rule)
    }

    /// A quoted text: its characters, one by one.
    fn text(&mut self) -> Result<Vec<Item>, Error> {
        let line = self.line;
        self.bump();
        let mut items = Vec::new();
        while !self.eat("\"") {
            let char = self.char(|| format!("a \" for the one of line {line}"))?;
            items.push(Item::once(Symbol::Class(Class { ranges: vec![(char, char)], negated: false })));
        }
        Ok(items)
    }

    fn class(&mut self) -> Result<Class, Error> {
        let line = self.line;
        self.bump();
        let negated = self.eat("^");
        let end = || format!("a ] for the [ of line {line}");
        let mut ranges = Vec::new();
        while !self.eat("]") {
            let first = self.char(end)?;
            let is_range = self.rest.starts_with('-') && !self.rest.starts_with("-]");
            let last = if is_range {
                self.bump();
                self.char(end)?
            } else {
                first
            };
            if last < first {
                return Err(self.wrong(format!("the range {first:?}-{last:?} is empty, expected the lower one first")));
            }
            ranges.push((first, last));
        }
        if ranges.is_empty() {
            return Err(self.wrong("the class is empty, expected characters between [ and ]".into()));
        }
        Ok(Class { ranges, negated })
    }

    /// A character of a text or class, which may be written as an escape.
    fn char(&mut self, missing: impl Fn() -> String) -> Result<char, Error> {
        let Some(char) = self.bump() else { return Err(self.expected(missing())) };
        if char != '\\' {
            return Ok(char);
        }
        match self.bump() {
            Some('n') => Ok('\n'),
            Some('r') => Ok('\r'),
            Some('t') => Ok('\t'),
            Some(char @ ('\\' | '"' | '[' | ']')) => Ok(char),
            Some('x') => self.code_point(2),
            Some('u') => self.code_point(4),
            Some('U') => self.code_point(8),
            Some(other) => Err(self
                .wrong(format!("unknown escape \\{other}, expected one of \\n \\r \\t \\\\ \\\" \\[ \\] \\x \\u \\U"))),
            None => Err(self.expected(missing())),
        }
    }

    fn code_point(&mut self, digits: usize) -> Result<char, Error> {
        let hex = self.rest.get(..digits).filter(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let Some(hex) = hex else { return Err(self.expected(format!("{digits} hexadecimal digits"))) };
        self.rest = &self.rest[digits..];
        let code = u32::from_str_radix(hex, 16).ok().and_then(char::from_u32);
        code.ok_or_else(|| self.wrong(format!("there is no character {hex}, expected one of Unicode's")))
    }

    /// `*`, `+`, `?` or numbers in braces: how often.
    fn repetition(&mut self) -> Result<Option<(u32, Option<u32>)>, Error> {
        for (sign, bounds) in [("*", (0, None)), ("+", (1, None)), ("?", (0, Some(1)))] {
            if self.eat(sign) {
                return Ok(Some(bounds));
            }
        }
        if !self.eat("{") {
            return Ok(None);
        }
        self.skip_space(false);
        let least = self.count()?;
        let exact = !self.eat(",");
        self.skip_space(false);
        let most = if exact { least } else { self.count()? };
        if !self.eat("}") || (exact && least.is_none()) {
            return Err(self.expected("{m}, {m,}, {,n} or {m,n}"));
        }
        let least = least.unwrap_or(0);
        if most.is_some_and(|most| most < least) {
            return Err(self
                .wrong(format!("{{{least},{}}} allows nothing, expected the lower number first", most.unwrap_or(0))));
        }
        Ok(Some((least, most)))
    }

    /// A number in braces, where one is.
    fn count(&mut self) -> Result<Option<u32>, Error> {
        let digits = self.rest.len() - self.rest.trim_start_matches(|char: char| char.is_ascii_digit()).len();
        if digits == 0 {
            return Ok(None);
        }
        let (number, rest) = self.rest.split_at(digits);
        let number = number.parse().ok().filter(|number| *number <= MAX_REPEATS);
        let number = number.ok_or_else(|| self.expected(format!("at most {MAX_REPEATS} repetitions")))?;
        self.rest = rest;
        self.skip_space(false);
        Ok(Some(number))
    }

    /// One symbol for parts that are repeated together.
    fn symbol_of(&mut self, part: Vec<Item>, name: &str) -> Result<Symbol, Error> {
        match part.as_slice() {
            [Item { symbol, least: 1, most: Some(1) }] => Ok(symbol.clone()),
            _ => {
                let line = self.line;
                self.add(Rule { name: name.to_owned(), line, alternatives: vec![part] }).map(Symbol::Rule)
            }
        }
    }

    /// The number of the rule of this name, which may still come.
    fn number(&mut self, name: &'a str) -> Result<usize, Error> {
        if let Some(number) = self.names.get(name) {
            return Ok(*number);
        }
        let number = self.add(Rule { name: name.to_owned(), line: self.line, alternatives: Vec::new() })?;
        self.names.insert(name, number);
        Ok(number)
    }

    fn add(&mut self, rule: Rule) -> Result<usize, Error> {
        if self.rules.len() == MAX_RULES {
            return Err(self.expected(format!("at most {MAX_RULES} rules and groups")));
        }
        self.rules.push(rule);
        Ok(self.rules.len() - 1)
    }

    fn name(&mut self) -> Option<&'a str> {
        let rest = self.rest.trim_start_matches(|char: char| char.is_ascii_alphanumeric() || char == '-');
        let (name, rest) = self.rest.split_at(self.rest.len() - rest.len());
        self.rest = rest;
        (!name.is_empty()).then_some(name)
    }

    /// Skips spaces and comments, and the ends of lines where the rule may go on behind them.
    fn skip_space(&mut self, over_lines: bool) {
        while let Some(char) = self.rest.chars().next() {
            match char {
                '#' => self.rest = &self.rest[self.rest.find(['\n', '\r']).unwrap_or(self.rest.len())..],
                ' ' | '\t' => drop(self.bump()),
                '\n' | '\r' if over_lines => drop(self.bump()),
                _ => return,
            }
        }
    }

    fn eat(&mut self, sign: &str) -> bool {
        let rest = self.rest.strip_prefix(sign);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn bump(&mut self) -> Option<char> {
        let char = self.rest.chars().next()?;
        self.rest = &self.rest[char.len_utf8()..];
        self.line += usize::from(char == '\n');
        Some(char)
    }

    /// An error where something else was expected than what is here.
    fn expected(&self, what: impl std::fmt::Display) -> Error {
        let found = match self.rest.chars().next() {
            None => "the end".to_owned(),
            Some('\n' | '\r') => "the end of the line".to_owned(),
            Some(_) => format!("{:?}", self.rest.lines().next().unwrap_or("").chars().take(20).collect::<String>()),
        };
        self.wrong(format!("expected {what}, found {found}"))
    }

    fn wrong(&self, what: String) -> Error {
        Error { line: self.line, what }
    }

    fn finish(self) -> Result<Rules, Error> {
        // Groups are never without alternatives.
        if let Some(rule) = self.rules.iter().find(|rule| rule.alternatives.is_empty()) {
            let what = format!("there is no rule {}, expected {} ::= … somewhere", rule.name, rule.name);
            return Err(Error { line: rule.line, what });
        }
        let missing =
            || Error { line: 1, what: "there is no rule root, expected one: it is what a text has to match".into() };
        let root = self.names.get("root").copied().ok_or_else(missing)?;
        Ok(Rules { list: self.rules, root })
    }
}
