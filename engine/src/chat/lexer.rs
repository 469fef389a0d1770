//! Splits a template into tokens.
//!
//! Outside of tags everything is data. Whitespace next to a tag is dropped as the `transformers` library sets Jinja up:
//! `trim_blocks` (the line end after a block or comment), `lstrip_blocks` (blanks before a block or comment that starts
//! its line), no trailing newline, and on request by `-` and `+` inside the delimiters.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use alloc::{format, vec};

/// What is wrong, and on which line.
pub(super) type SyntaxError = (u32, String);

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token<'s> {
    /// Text to print as it is.
    Data(&'s str),
    PrintBegin,
    PrintEnd,
    BlockBegin,
    BlockEnd,
    Name(&'s str),
    Text(String),
    Int(i128),
    Float(f64),
    Op(&'static str),
}

/// Operators and delimiters; an earlier one wins over a shorter one that it starts with.
const OPERATORS: [&str; 26] = [
    "//", "**", "==", "!=", "<=", ">=", "+", "-", "*", "/", "%", "~", "(", ")", "[", "]", "{", "}", "<", ">", "=", ".",
    ":", "|", ",", ";",
];

#[derive(Clone, Copy, PartialEq)]
enum Tag {
    Print,
    Block,
    Comment,
}

/// Makes every line end `\n` and drops one at the end of the text.
pub(super) fn normalize(source: &str) -> String {
    let mut text = source.replace("\r\n", "\n").replace('\r', "\n");
    if text.ends_with('\n') {
        text.pop();
    }
    text
}

/// White space as Python's `str.isspace` has it.
pub(super) fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}

/// The tokens of a normalized source, each with its line (from 1).
pub(super) fn tokenize(source: &str) -> Result<Vec<(Token<'_>, u32)>, SyntaxError> {
    let mut lexer = Lexer { source, at: 0, line: 1, line_start: true, tokens: Vec::new() };
    while lexer.at < source.len() {
        lexer.data()?;
    }
    Ok(lexer.tokens)
}

struct Lexer<'s> {
    source: &'s str,
    at: usize,
    line: u32,
    /// Whether what came last ended a line.
    line_start: bool,
    tokens: Vec<(Token<'s>, u32)>,
}

impl<'s> Lexer<'s> {
    fn rest(&self) -> &'s str {
        &self.source[self.at..]
    }

    /// Moves on and counts lines.
    fn skip(&mut self, bytes: usize) -> &'s str {
        let text = &self.rest()[..bytes];
        self.line += text.bytes().filter(|&b| b == b'\n').count() as u32;
        self.at += bytes;
        text
    }

    fn skip_spaces(&mut self) -> &'s str {
        let rest = self.rest();
        self.skip(rest.len() - rest.trim_start_matches(is_space).len())
    }

    fn push(&mut self, token: Token<'s>) {
        self.tokens.push((token, self.line));
    }

    /// Reads data up to a tag, and the tag.
    fn data(&mut self) -> Result<(), SyntaxError> {
        let rest = self.rest();
        let Some((length, tag)) = find_tag(rest) else {
            self.push(Token::Data(rest));
            self.skip(rest.len());
            return Ok(());
        };
        let sign = rest[length + 2..].bytes().next().filter(|b| matches!(b, b'-' | b'+'));
        let text = self.before_tag(&rest[..length], tag, sign);
        if !text.is_empty() {
            self.push(Token::Data(text));
        }
        self.skip(length + 2 + usize::from(sign.is_some()));
        match tag {
            Tag::Comment => self.comment(),
            Tag::Block if self.raw_begin() => self.raw(),
            Tag::Block => self.tag(Tag::Block),
            Tag::Print => self.tag(Tag::Print),
        }
    }

    /// The text before a tag without what the tag's sign or `lstrip_blocks` drop.
    fn before_tag(&self, text: &'s str, tag: Tag, sign: Option<u8>) -> &'s str {
        if sign == Some(b'-') {
            return text.trim_end_matches(is_space);
        }
        let line = text.rfind('\n').map_or(0, |i| i + 1);
        let starts_line = line > 0 || self.line_start;
        let strips = sign.is_none() && tag != Tag::Print && starts_line && text[line..].chars().all(is_space);
        if strips { &text[..line] } else { text }
    }

    /// Skips what follows the end of a tag: all white space after `-`, a line end after a block or comment.
    fn after_tag(&mut self, sign: Option<u8>, trims: bool) {
        let skipped = match sign {
            Some(b'-') => self.skip_spaces(),
            None if trims && self.rest().starts_with('\n') => self.skip(1),
            _ => "",
        };
        self.line_start = skipped.ends_with('\n');
    }

    fn comment(&mut self) -> Result<(), SyntaxError> {
        let rest = self.rest();
        let end = rest.find("#}").ok_or_else(|| (self.line, "a comment is not closed by \"#}\"".to_string()))?;
        let sign = rest[..end].bytes().last().filter(|b| matches!(b, b'-' | b'+'));
        self.skip(end + 2);
        self.after_tag(sign, true);
        Ok(())
    }

    /// Skips the rest of a `raw` tag, if it is one.
    fn raw_begin(&mut self) -> bool {
        let Some(inner) = self.rest().trim_start_matches(is_space).strip_prefix("raw") else { return false };
        let inner = inner.trim_start_matches(is_space);
        let sign = inner.bytes().next().filter(|&b| b == b'-');
        let Some(after) = inner[usize::from(sign.is_some())..].strip_prefix("%}") else { return false };
        self.skip(self.rest().len() - after.len());
        self.after_tag(sign, false);
        true
    }

    /// Reads data up to an `endraw` tag.
    fn raw(&mut self) -> Result<(), SyntaxError> {
        let rest = self.rest();
        for (length, _) in rest.match_indices("{%") {
            let inner = &rest[length + 2..];
            let begin = inner.bytes().next().filter(|b| matches!(b, b'-' | b'+'));
            let inner = inner[usize::from(begin.is_some())..].trim_start_matches(is_space);
            let Some(inner) = inner.strip_prefix("endraw") else { continue };
            let inner = inner.trim_start_matches(is_space);
            let end = inner.bytes().next().filter(|b| matches!(b, b'-' | b'+'));
            let Some(after) = inner[usize::from(end.is_some())..].strip_prefix("%}") else { continue };
            self.push(Token::Data(self.before_tag(&rest[..length], Tag::Block, begin)));
            self.skip(rest.len() - after.len());
            self.after_tag(end, true);
            return Ok(());
        }
        Err((self.line, "a raw block is not closed by {% endraw %}".to_string()))
    }

    /// Reads the tokens of a tag up to its end.
    fn tag(&mut self, tag: Tag) -> Result<(), SyntaxError> {
        let (begin, end, delimiter) = match tag {
            Tag::Print => (Token::PrintBegin, Token::PrintEnd, "}}"),
            _ => (Token::BlockBegin, Token::BlockEnd, "%}"),
        };
        self.push(begin);
        let mut open = vec![];
        loop {
            self.skip_spaces();
            let rest = self.rest();
            let sign = rest.bytes().next().filter(|&b| b == b'-' || (b == b'+' && tag == Tag::Block));
            if open.is_empty() && rest[usize::from(sign.is_some())..].starts_with(delimiter) {
                self.push(end);
                self.skip(delimiter.len() + usize::from(sign.is_some()));
                self.after_tag(sign, tag == Tag::Block);
                return Ok(());
            }
            let Some(c) = rest.chars().next() else {
                return Err((self.line, format!("the template ends within a tag, expected {delimiter:?}")));
            };
            self.inner_token(c, &mut open)?;
        }
    }

    fn inner_token(&mut self, c: char, open: &mut Vec<&'static str>) -> Result<(), SyntaxError> {
        if c.is_ascii_digit() {
            return self.number();
        }
        if c == '"' || c == '\'' {
            return self.text(c);
        }
        if is_name(c) {
            let rest = self.rest();
            let length = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
            self.push(Token::Name(&rest[..length]));
            self.skip(length);
            return Ok(());
        }
        let Some(op) = OPERATORS.into_iter().find(|op| self.rest().starts_with(op)) else {
            return Err((self.line, format!("unexpected character {c:?}")));
        };
        self.balance(op, open)?;
        self.push(Token::Op(op));
        self.skip(op.len());
        Ok(())
    }

    /// Keeps track of the open brackets: `}}` inside of them does not end the tag.
    fn balance(&self, op: &'static str, open: &mut Vec<&'static str>) -> Result<(), SyntaxError> {
        match op {
            "(" => open.push(")"),
            "[" => open.push("]"),
            "{" => open.push("}"),
            ")" | "]" | "}" => match open.pop() {
                Some(expected) if expected == op => {}
                Some(expected) => return Err((self.line, format!("unexpected {op:?}, expected {expected:?}"))),
                None => return Err((self.line, format!("unexpected {op:?}, nothing is open"))),
            },
            _ => {}
        }
        Ok(())
    }

    fn number(&mut self) -> Result<(), SyntaxError> {
        let rest = self.rest();
        let bad = |text: &str| Err((self.line, format!("bad number {text:?}")));
        let word = &rest[..rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len())];
        for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] {
            if word.len() > 2 && word[..2].eq_ignore_ascii_case(prefix) {
                let Ok(value) = i128::from_str_radix(&word[2..].replace('_', ""), radix) else { return bad(word) };
                self.push(Token::Int(value));
                self.skip(word.len());
                return Ok(());
            }
        }
        let length = decimal_len(rest, self.source[..self.at].ends_with('.'));
        let digits = rest[..length].replace('_', "");
        let is_octal_like = digits.len() > 1 && digits.starts_with('0') && digits.bytes().any(|b| b != b'0');
        let token = if digits.contains(['.', 'e', 'E']) {
            digits.parse().map(Token::Float).ok()
        } else {
            digits.parse().map(Token::Int).ok().filter(|_| !is_octal_like)
        };
        let Some(token) = token else { return bad(&rest[..length]) };
        self.push(token);
        self.skip(length);
        Ok(())
    }

    fn text(&mut self, quote: char) -> Result<(), SyntaxError> {
        let body = &self.rest()[1..];
        let mut escaped = false;
        for (length, c) in body.char_indices() {
            if !escaped && c == quote {
                let text = unescape(&body[..length]).map_err(|message| (self.line, message))?;
                self.push(Token::Text(text));
                self.skip(length + 2);
                return Ok(());
            }
            escaped = !escaped && c == '\\';
        }
        Err((self.line, format!("a string is not closed by {quote}")))
    }
}

fn is_name(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

/// Where the next tag starts.
fn find_tag(text: &str) -> Option<(usize, Tag)> {
    text.match_indices('{').find_map(|(i, _)| match text.as_bytes().get(i + 1) {
        Some(b'{') => Some((i, Tag::Print)),
        Some(b'%') => Some((i, Tag::Block)),
        Some(b'#') => Some((i, Tag::Comment)),
        _ => None,
    })
}

/// Length of a decimal integer, or of a float with a fraction or exponent; after a dot only an integer.
fn decimal_len(text: &str, after_dot: bool) -> usize {
    let digits = |text: &str| {
        let length = text.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(text.len());
        if text.starts_with(|c: char| c.is_ascii_digit()) { length } else { 0 }
    };
    let mut length = digits(text);
    if after_dot {
        return length;
    }
    if text[length..].starts_with('.') {
        let fraction = digits(&text[length + 1..]);
        length += if fraction > 0 { fraction + 1 } else { 0 };
    }
    if text[length..].starts_with(['e', 'E']) {
        let sign = usize::from(text[length + 1..].starts_with(['+', '-']));
        let exponent = digits(&text[length + 1 + sign..]);
        length += if exponent > 0 { 1 + sign + exponent } else { 0 };
    }
    length
}

/// Resolves the escapes of a string literal, as Python does. Unknown ones stay as they are.
fn unescape(text: &str) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('\n') | None => {}
            Some('a') => out.push('\x07'),
            Some('b') => out.push('\x08'),
            Some('f') => out.push('\x0c'),
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('t') => out.push('\t'),
            Some('v') => out.push('\x0b'),
            Some('x') => out.push(code_point(&mut chars, 2)?),
            Some('u') => out.push(code_point(&mut chars, 4)?),
            Some('U') => out.push(code_point(&mut chars, 8)?),
            Some(c @ ('\\' | '\'' | '"')) => out.push(c),
            Some(c @ '0'..='7') => out.push(octal(c, &mut chars)),
            Some(c) => out.extend(['\\', c]),
        }
    }
    Ok(out)
}

/// Reads `digits` hexadecimal digits of an escape.
fn code_point(chars: &mut core::str::Chars<'_>, digits: usize) -> Result<char, String> {
    let hex = chars.as_str().get(..digits).filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
    let c = hex.and_then(|hex| char::from_u32(u32::from_str_radix(hex, 16).ok()?));
    let c =
        c.ok_or_else(|| format!("a string has an escape that is not {digits} hexadecimal digits of a character"))?;
    *chars = chars.as_str()[digits..].chars();
    Ok(c)
}

/// Reads up to two more octal digits.
fn octal(first: char, chars: &mut core::str::Chars<'_>) -> char {
    let mut value = first as u32 - '0' as u32;
    for _ in 0..2 {
        let Some(digit) = chars.as_str().chars().next().and_then(|c| c.to_digit(8)) else { break };
        value = value * 8 + digit;
        chars.next();
    }
    char::from_u32(value).unwrap_or(char::REPLACEMENT_CHARACTER)
}
