//! Values as text: Python's `str` and `repr`, and JSON as `json.dumps` writes it.

use alloc::format;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::meter::{Builder, Meter, Outcome, Text};
use super::value::{Dict, Seq, SeqKind, Value, compare};

/// A value as `str` gives it.
pub(super) fn text_of(meter: &Rc<Meter>, value: &Value) -> Outcome<Text> {
    if let Value::Text(text) = value {
        return Ok(text.clone());
    }
    let mut out = Builder::new(meter)?;
    print(meter, value, &mut out)?;
    Ok(out.finish())
}

/// Writes a value as `{{ … }}` prints it.
pub(super) fn print(meter: &Rc<Meter>, value: &Value, out: &mut Builder) -> Outcome<()> {
    match value {
        Value::Text(text) => out.push(text),
        Value::Undefined(_) => Ok(()),
        other => repr(meter, other, out),
    }
}

/// Writes a value as it stands within a printed list.
pub(super) fn repr(meter: &Rc<Meter>, value: &Value, out: &mut Builder) -> Outcome<()> {
    meter.steps(1)?;
    match value {
        Value::Undefined(_) => out.push("Undefined"),
        Value::None => out.push("None"),
        Value::Bool(true) => out.push("True"),
        Value::Bool(false) => out.push("False"),
        Value::Int(value) => out.push(&value.to_string()),
        Value::Float(value) => out.push(&float_text(*value)),
        Value::Text(text) => repr_text(text, out),
        Value::Seq(seq) => meter.deeper(|| repr_seq(meter, seq, out)),
        Value::Dict(dict) => meter.deeper(|| repr_dict(meter, dict, out)),
        Value::Namespace(dict) => {
            out.push("<Namespace ")?;
            meter.deeper(|| repr_dict(meter, dict, out))?;
            out.push(">")
        }
        other => out.push(&format!("<{}>", other.type_name())),
    }
}

fn repr_seq(meter: &Rc<Meter>, seq: &Seq, out: &mut Builder) -> Outcome<()> {
    let (open, close) = match seq.kind {
        SeqKind::List => ("[", "]"),
        SeqKind::Tuple if seq.len() == 1 => ("(", ",)"),
        SeqKind::Tuple => ("(", ")"),
        SeqKind::Generator => return out.push("<generator>"),
    };
    out.push(open)?;
    for (i, item) in seq.iter().enumerate() {
        out.push(if i > 0 { ", " } else { "" })?;
        repr(meter, &item, out)?;
    }
    out.push(close)
}

fn repr_dict(meter: &Rc<Meter>, dict: &Dict, out: &mut Builder) -> Outcome<()> {
    out.push("{")?;
    for (i, (key, value)) in dict.iter().enumerate() {
        out.push(if i > 0 { ", " } else { "" })?;
        repr(meter, &key, out)?;
        out.push(": ")?;
        repr(meter, &value, out)?;
    }
    out.push("}")
}

/// A text in quotes: single ones, unless that needs escapes and double ones do not.
fn repr_text(text: &str, out: &mut Builder) -> Outcome<()> {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push_char(quote)?;
    for c in text.chars() {
        match c {
            '\n' => out.push("\\n")?,
            '\r' => out.push("\\r")?,
            '\t' => out.push("\\t")?,
            '\\' => out.push("\\\\")?,
            c if c == quote => out.push(&format!("\\{c}"))?,
            c if is_printable(c) => out.push_char(c)?,
            c if (c as u32) < 0x100 => out.push(&format!("\\x{:02x}", c as u32))?,
            c if (c as u32) < 0x10000 => out.push(&format!("\\u{:04x}", c as u32))?,
            c => out.push(&format!("\\U{:08x}", c as u32))?,
        }
    }
    out.push_char(quote)
}

/// Python's `str.isprintable`: Rust's debug format escapes the same characters, when they do not start the text.
fn is_printable(c: char) -> bool {
    let mut buffer = [0; 5];
    buffer[0] = b'a';
    let length = 1 + c.encode_utf8(&mut buffer[1..]).len();
    let text = core::str::from_utf8(&buffer[..length]).unwrap_or_default();
    matches!(c, '"' | '\'') || text.escape_debug().nth(1) != Some('\\')
}

/// The shortest digits that read back, with an exponent below 1e-4 and from 1e16 on.
pub(super) fn float_text(value: f64) -> String {
    if value.is_nan() {
        return "nan".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.into();
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        let plain = value.to_string();
        return if plain.contains('.') { plain } else { plain + ".0" };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

/// How `tojson` writes.
pub(super) struct JsonStyle {
    pub ascii: bool,
    /// The indent of one level.
    pub indent: Option<Text>,
    pub item_separator: Text,
    pub key_separator: Text,
    pub sort_keys: bool,
}

impl JsonStyle {
    pub fn write(&self, meter: &Rc<Meter>, value: &Value, out: &mut Builder, level: usize) -> Outcome<()> {
        meter.steps(1)?;
        match value {
            Value::None => out.push("null"),
            Value::Bool(value) => out.push(if *value { "true" } else { "false" }),
            Value::Int(value) => out.push(&value.to_string()),
            Value::Float(value) => out.push(&json_float(*value)),
            Value::Text(text) => self.write_text(text, out),
            Value::Seq(seq) if seq.kind != SeqKind::Generator => {
                meter.deeper(|| self.write_seq(meter, seq, out, level))
            }
            Value::Dict(dict) => meter.deeper(|| self.write_dict(meter, dict, out, level)),
            other => Err(format!("a value of type {} cannot be written as JSON", other.type_name()).into()),
        }
    }

    fn write_seq(&self, meter: &Rc<Meter>, seq: &Seq, out: &mut Builder, level: usize) -> Outcome<()> {
        out.push("[")?;
        for (i, item) in seq.iter().enumerate() {
            self.before_item(i, out, level)?;
            self.write(meter, &item, out, level + 1)?;
        }
        self.after_items(seq.len(), out, level)?;
        out.push("]")
    }

    fn write_dict(&self, meter: &Rc<Meter>, dict: &Dict, out: &mut Builder, level: usize) -> Outcome<()> {
        let mut entries: Vec<(Value, Value)> = dict.iter().collect();
        if self.sort_keys {
            sort(&mut entries, |a, b| compare(meter, &a.0, &b.0))?;
        }
        out.push("{")?;
        for (i, (key, value)) in entries.iter().enumerate() {
            self.before_item(i, out, level)?;
            self.write_key(key, out)?;
            out.push(&self.key_separator)?;
            self.write(meter, value, out, level + 1)?;
        }
        self.after_items(entries.len(), out, level)?;
        out.push("}")
    }

    fn before_item(&self, index: usize, out: &mut Builder, level: usize) -> Outcome<()> {
        if index > 0 {
            out.push(&self.item_separator)?;
        }
        self.new_line(out, level + 1)
    }

    fn after_items(&self, count: usize, out: &mut Builder, level: usize) -> Outcome<()> {
        if count > 0 { self.new_line(out, level) } else { Ok(()) }
    }

    fn new_line(&self, out: &mut Builder, level: usize) -> Outcome<()> {
        let Some(indent) = &self.indent else { return Ok(()) };
        out.push("\n")?;
        out.repeat(indent, level)
    }

    fn write_key(&self, key: &Value, out: &mut Builder) -> Outcome<()> {
        match key {
            Value::Text(text) => self.write_text(text, out),
            Value::None => out.push("\"null\""),
            Value::Bool(value) => out.push(if *value { "\"true\"" } else { "\"false\"" }),
            Value::Int(value) => out.push(&format!("\"{value}\"")),
            Value::Float(value) => out.push(&format!("\"{}\"", json_float(*value))),
            other => Err(format!("a key of type {} cannot be written as JSON", other.type_name()).into()),
        }
    }

    fn write_text(&self, text: &str, out: &mut Builder) -> Outcome<()> {
        out.push("\"")?;
        let mut plain = 0;
        for (i, c) in text.char_indices() {
            let escape = match c {
                '"' => "\\\"".into(),
                '\\' => "\\\\".into(),
                '\n' => "\\n".into(),
                '\r' => "\\r".into(),
                '\t' => "\\t".into(),
                '\x08' => "\\b".into(),
                '\x0c' => "\\f".into(),
                c if c < ' ' || (self.ascii && !c.is_ascii()) => utf16_escape(c),
                _ => continue,
            };
            out.push(&text[plain..i])?;
            out.push(&escape)?;
            plain = i + c.len_utf8();
        }
        out.push(&text[plain..])?;
        out.push("\"")
    }
}

fn json_float(value: f64) -> String {
    match value {
        value if value.is_nan() => "NaN".into(),
        value if value.is_infinite() => if value > 0.0 { "Infinity" } else { "-Infinity" }.into(),
        value => float_text(value),
    }
}

fn utf16_escape(c: char) -> String {
    c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect()
}

/// Sorts, keeping the order of equals, by an order that may fail. Merge sort, so that no inconsistent order matters.
pub(super) fn sort<T: Clone>(
    items: &mut Vec<T>,
    mut order: impl FnMut(&T, &T) -> Outcome<core::cmp::Ordering>,
) -> Outcome<()> {
    let mut width = 1;
    while width < items.len() {
        let mut merged = Vec::with_capacity(items.len());
        for run in items.chunks(2 * width) {
            let (mut left, mut right) = run.split_at(width.min(run.len()));
            while let ([a, rest_a @ ..], [b, rest_b @ ..]) = (left, right) {
                if order(a, b)?.is_gt() {
                    merged.push(b.clone());
                    right = rest_b;
                } else {
                    merged.push(a.clone());
                    left = rest_a;
                }
            }
            merged.extend_from_slice(left);
            merged.extend_from_slice(right);
        }
        *items = merged;
        width *= 2;
    }
    Ok(())
}
