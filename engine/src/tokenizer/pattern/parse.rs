//! From the text of an expression to instructions: a recursive-descent parser makes a tree, which is then written out.

use super::{Category, Class, Op, Pattern};
use alloc::vec::Vec;
use core::{iter::Peekable, str::Chars};

/// Compiles an expression; see [`Pattern::new`].
pub(super) fn compile(source: &str) -> Pattern {
    let mut parser = Parser { source, rest: source.chars().peekable() };
    let tree = parser.alternatives();
    assert!(parser.rest.next().is_none(), "unbalanced ) in {source}");
    let mut pattern = Pattern { ops: Vec::new(), classes: Vec::new() };
    pattern.write_alternatives(&tree);
    pattern.ops.push(Op::Match);
    pattern
}

/// What an expression is made of.
enum Node {
    Repeat { class: Class, min: usize, max: usize },
    Look { class: Class, negative: bool },
    Group { alternatives: Vec<Vec<Node>>, min: usize, max: usize },
}

impl Pattern {
    fn write_alternatives(&mut self, alternatives: &[Vec<Node>]) {
        let Some((last, others)) = alternatives.split_last() else { return };
        let mut jumps = Vec::new();
        for nodes in others {
            let fork = self.write(Op::Fork { second: 0 });
            nodes.iter().for_each(|node| self.write_node(node));
            jumps.push(self.write(Op::Jump(0)));
            self.ops[fork] = Op::Fork { second: self.ops.len() };
        }
        last.iter().for_each(|node| self.write_node(node));
        for jump in jumps {
            self.ops[jump] = Op::Jump(self.ops.len());
        }
    }

    fn write_node(&mut self, node: &Node) {
        match node {
            Node::Repeat { class, min, max } => {
                let class = self.add_class(class);
                self.write(Op::Repeat { class, min: *min, max: *max });
            }
            Node::Look { class, negative } => {
                let class = self.add_class(class);
                self.write(Op::Look { class, negative: *negative });
            }
            Node::Group { alternatives, min, max } => self.write_group(alternatives, *min, *max),
        }
    }

    fn write_group(&mut self, alternatives: &[Vec<Node>], min: usize, max: usize) {
        let start = self.ops.len();
        if min == 0 {
            self.write(Op::Fork { second: 0 });
        }
        self.write_alternatives(alternatives);
        match (min, max) {
            (1, 1) | (0, 1) => {}
            (0, _) => drop(self.write(Op::Jump(start))),
            _ => {
                self.write(Op::Fork { second: self.ops.len() + 2 });
                self.write(Op::Jump(start));
            }
        }
        if min == 0 {
            self.ops[start] = Op::Fork { second: self.ops.len() };
        }
    }

    fn write(&mut self, op: Op) -> usize {
        self.ops.push(op);
        self.ops.len() - 1
    }

    fn add_class(&mut self, class: &Class) -> usize {
        let known = self.classes.iter().position(|known| known == class);
        known.unwrap_or_else(|| {
            self.classes.push(class.clone());
            self.classes.len() - 1
        })
    }
}

struct Parser<'a> {
    source: &'a str,
    rest: Peekable<Chars<'a>>,
}

impl Parser<'_> {
    /// `a|b|c`, up to the end or an unopened `)`.
    fn alternatives(&mut self) -> Vec<Vec<Node>> {
        let mut alternatives = Vec::new();
        loop {
            alternatives.push(self.sequence());
            if self.rest.next_if_eq(&'|').is_none() {
                return alternatives;
            }
        }
    }

    fn sequence(&mut self) -> Vec<Node> {
        let mut nodes = Vec::new();
        while let Some(&next) = self.rest.peek() {
            nodes.push(match next {
                '|' | ')' => break,
                '(' => self.group(),
                '$' => {
                    self.rest.next();
                    let any = Class { ascii: u128::MAX, negated: true, ..Class::default() };
                    Node::Look { class: any, negative: true }
                }
                _ => {
                    let class = self.class();
                    let (min, max) = self.quantifier();
                    Node::Repeat { class, min, max }
                }
            });
        }
        nodes
    }

    /// `( … )` with a quantifier, or a look-ahead.
    fn group(&mut self) -> Node {
        self.expect('(');
        if self.rest.next_if_eq(&'?').is_some() {
            let negative = self.next() == '!';
            let class = self.class();
            self.expect(')');
            return Node::Look { class, negative };
        }
        let alternatives = self.alternatives();
        self.expect(')');
        let (min, max) = self.quantifier();
        assert!(min <= 1 && (max == 1 || max == usize::MAX), "a group with a counted quantifier in {}", self.source);
        Node::Group { alternatives, min, max }
    }

    /// The bounds that the quantifier here sets, if there is one.
    fn quantifier(&mut self) -> (usize, usize) {
        let bounds = match self.rest.peek() {
            Some('?') => (0, 1),
            Some('*') => (0, usize::MAX),
            Some('+') => (1, usize::MAX),
            Some('{') => {
                self.rest.next();
                let min = self.number();
                let max = if self.rest.next_if_eq(&',').is_some() { self.number() } else { min };
                assert_eq!(self.rest.peek(), Some(&'}'), "quantifier in {}", self.source);
                (min, max)
            }
            _ => return (1, 1),
        };
        self.rest.next();
        bounds
    }

    fn number(&mut self) -> usize {
        let mut number = 0;
        while let Some(digit) = self.rest.peek().and_then(|c| c.to_digit(10)) {
            number = number * 10 + digit as usize;
            self.rest.next();
        }
        number
    }

    /// A single character, an escape or a bracketed class.
    fn class(&mut self) -> Class {
        let mut class = Class::default();
        if self.rest.next_if_eq(&'[').is_some() {
            return self.bracketed();
        }
        self.item(&mut class);
        class
    }

    /// `[ … ]`, the opening bracket being read.
    fn bracketed(&mut self) -> Class {
        let negated = self.rest.next_if_eq(&'^').is_some();
        let mut class = Class::default();
        let mut less = 0;
        while self.rest.next_if_eq(&']').is_none() {
            let taken_away = self.rest.clone().take(3).eq("--[".chars());
            if taken_away {
                self.rest.nth(2);
                less |= self.bracketed().ascii;
            } else {
                self.item(&mut class);
            }
        }
        if negated {
            class.ascii = !class.ascii;
            class.negated = true;
        }
        class.ascii &= !less;
        merge_ranges(&mut class.ranges);
        class
    }

    /// One item of a class: a named set, a character, or a range of characters.
    fn item(&mut self, class: &mut Class) {
        let first = match self.next() {
            '\\' => match self.next() {
                's' => return class.ascii |= WHITE,
                'S' => {
                    class.ascii |= !WHITE;
                    return class.categories |= ALL_CATEGORIES;
                }
                'd' => return add_range(class, '0', '9'),
                'p' => return self.category(class),
                escaped => unescape(escaped),
            },
            plain => plain,
        };
        let mut ahead = self.rest.clone();
        let is_range = ahead.next() == Some('-') && !matches!(ahead.next(), Some(']' | '-') | None);
        if !is_range {
            return add_range(class, first, first);
        }
        self.rest.next();
        let last = match self.next() {
            '\\' => unescape(self.next()),
            plain => plain,
        };
        add_range(class, first, last);
    }

    /// `\p{X}`, the `\p` being read.
    fn category(&mut self, class: &mut Class) {
        self.expect('{');
        let (category, ascii) = match self.next() {
            'L' => (Category::Letter, LETTERS),
            'N' => (Category::Number, DIGITS),
            'M' => (Category::Mark, 0),
            'P' => (Category::Punctuation, PRINTABLE & !LETTERS & !DIGITS & !SYMBOLS),
            'S' => (Category::Symbol, SYMBOLS),
            other => panic!("category {other} in {}", self.source),
        };
        self.expect('}');
        class.ascii |= ascii;
        class.categories |= 1 << category as u8;
    }

    fn next(&mut self) -> char {
        self.rest.next().unwrap_or_else(|| panic!("unfinished: {}", self.source))
    }

    fn expect(&mut self, expected: char) {
        assert_eq!(self.rest.next(), Some(expected), "in {}", self.source);
    }
}

const fn bits(first: u8, last: u8) -> u128 {
    (u128::MAX >> (127 - (last - first))) << first
}

const WHITE: u128 = bits(b'\t', b'\r') | bits(b' ', b' ');
const DIGITS: u128 = bits(b'0', b'9');
const LETTERS: u128 = bits(b'A', b'Z') | bits(b'a', b'z');
const PRINTABLE: u128 = bits(b'!', b'~');
const SYMBOLS: u128 = bits(b'$', b'$')
    | bits(b'+', b'+')
    | bits(b'<', b'>')
    | bits(b'^', b'^')
    | bits(b'`', b'`')
    | bits(b'|', b'|')
    | bits(b'~', b'~');
const ALL_CATEGORIES: u8 = 0b11_1111;

fn unescape(escaped: char) -> char {
    match escaped {
        'r' => '\r',
        'n' => '\n',
        't' => '\t',
        other => {
            assert!(other.is_ascii_punctuation(), "escape \\{other}");
            other
        }
    }
}

/// Sorts ranges and joins those that meet, so that they can be searched.
fn merge_ranges(ranges: &mut Vec<(u32, u32)>) {
    ranges.sort_unstable();
    ranges.dedup_by(|next, kept| {
        let meet = next.0 <= kept.1 + 1;
        if meet {
            kept.1 = kept.1.max(next.1);
        }
        meet
    });
}

fn add_range(class: &mut Class, first: char, last: char) {
    let (first, last) = (first as u32, last as u32);
    if first < 128 {
        class.ascii |= bits(first as u8, last.min(127) as u8);
    }
    if last >= 128 {
        class.ranges.push((first.max(128), last));
    }
}
