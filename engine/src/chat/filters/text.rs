//! Filters of texts.

use alloc::format;
use alloc::vec::Vec;

use super::super::eval::{CallArgs, Machine};
use super::super::format::printf;
use super::super::lexer::is_space;
use super::super::meter::{Builder, Outcome};
use super::super::methods;
use super::super::print::text_of;
use super::super::value::{Dict, Value};
use super::{Filter, is_set, to_len};

/// Filters that are Python's methods of the same names, on the value's text.
pub(super) fn by_method(name: &str) -> Filter {
    fn run(machine: &mut Machine<'_>, value: Value, method: &'static str, args: CallArgs) -> Outcome<Value> {
        let text = text_of(&machine.meter, &value)?;
        methods::call(machine, &Value::Text(text), method, args)
    }
    match name {
        "capitalize" => |machine, value, args| run(machine, value, "capitalize", args),
        "lower" => |machine, value, args| run(machine, value, "lower", args),
        "upper" => |machine, value, args| run(machine, value, "upper", args),
        _ => |machine, value, args| {
            let [width] = args.bind("center", ["width"])?;
            run(machine, value, "center", CallArgs::of(Vec::from([width.unwrap_or(Value::Int(80))])))
        },
    }
}

pub(super) fn string(machine: &mut Machine<'_>, value: Value, args: CallArgs) -> Outcome<Value> {
    let [] = args.bind("string", [])?;
    Ok(Value::Text(text_of(&machine.meter, &value)?))
}

pub(super) fn safe(_: &mut Machine<'_>, value: Value, args: CallArgs) -> Outcome<Value> {
    let [] = args.bind("safe", [])?;
    Ok(value)
}

pub(super) fn trim(machine: &mut Machine<'_>, value: Value, args: CallArgs) -> Outcome<Value> {
    let [chars] = args.bind("trim", ["chars"])?;
    let text = text_of(&machine.meter, &value)?;
    methods::call(machine, &Value::Text(text), "strip", CallArgs::of(chars.into_iter().collect()))
}

pub(super) fn replace(machine: &mut Machine<'_>, value: Value, args: CallArgs) -> Outcome<Value> {
    let [old, new, count] = args.bind("replace", ["old", "new", "count"])?;
    let (Some(old), Some(new)) = (old, new) else { return Err("replace takes what to replace and by what".into()) };
    let meter = machine.meter.clone();
    let text = text_of(&meter, &value)?;
    let mut args = Vec::from([Value::Text(text_of(&meter, &old)?), Value::Text(text_of(&meter, &new)?)]);
    args.extend(count.filter(|count| !matches!(count, Value::None)));
    methods::call(machine, &Value::Text(text), "replace", CallArgs::of(args))
}

/// Every word's first letter large, the others small; words start after a space, hyphen or opening bracket.
pub(super) fn title(machine: &mut Machine<'_>, value: Value, args: CallArgs) -> Outcome<Value> {
    let [] = args.bind("title", [])?;
    let text = text_of(&machine.meter, &value)?;
    let mut out = Builder::new(&machine.meter)?;
    let mut starts = true;
    for c in text.chars() {
        if starts {
            c.to_uppercase().try_for_each(|c| out.push_char(c))?;
        } else {
            c.to_lowercase().try_for_each(|c| out.push_char(c))?;
        }
        starts = is_space(c) || matches!(c, '-' | '(' | '{' | '[' | '<');
    }
    Ok(Value::Text(out.finish()))
}

pub(super) fn escape(machine: &mut Machine<'_>, value: Value, args: CallArgs) -> Outcome<Value> {
    let [] = args.bind("escape", [])?;
    let text = text_of(&machine.meter, &value)?;
    let mut out = Builder::new(&machine.meter)?;
    for c in text.chars() {
        match c {
            '&' => out.push("&amp;")?,
            '<' => out.push("&lt;")?,
            '>' => out.push("&gt;")?,
            '\'' => out.push("&#39;")?,
            '"' => out.push("&#34;")?,
            c => out.push_char(c)?,
        }
    }
    Ok(Value::Text(out.finish()))
}

pub(super) fn urlencode(machine: &mut Machine<'_>, value: Value, args: CallArgs) -> Outcome<Value> {
    let [] = args.bind("urlencode", [])?;
    let text = text_of(&machine.meter, &value)?;
    let mut out = Builder::new(&machine.meter)?;
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-' | b'~' | b'/' => {
                out.push_char(byte as char)?
            }
            byte => out.push(&format!("%{byte:02X}"))?,
        }
    }
    Ok(Value::Text(out.finish()))
}

pub(super) fn wordcount(machine: &mut Machine<'_>, value: Value, args: CallArgs) -> Outcome<Value> {
    let [] = args.bind("wordcount", [])?;
    let text = text_of(&machine.meter, &value)?;
    machine.meter.bytes(text.len())?;
    let words = text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty());
    Ok(Value::Int(words.count() as i128))
}

/// Indents all lines but the first, and but empty ones.
pub(super) fn indent(machine: &mut Machine<'_>, value: Value, args: CallArgs) -> Outcome<Value> {
    let [width, first, blank] = args.bind("indent", ["width", "first", "blank"])?;
    let meter = machine.meter.clone();
    let mut indent = Builder::new(&meter)?;
    match width {
        Some(Value::Text(text)) => indent.push(&text)?,
        width => indent.repeat(" ", to_len(width, 4)?)?,
    }
    let text = text_of(&meter, &value)?;
    let mut out = Builder::new(&meter)?;
    for (i, line) in text.split('\n').enumerate() {
        out.push(if i > 0 { "\n" } else { "" })?;
        let is_indented = if i == 0 { is_set(&first) } else { !line.is_empty() || is_set(&blank) };
        out.push(if is_indented { indent.as_str() } else { "" })?;
        out.push(line)?;
    }
    Ok(Value::Text(out.finish()))
}

/// `"…"|format(args)`: as the `%` operator.
pub(super) fn format(machine: &mut Machine<'_>, value: Value, args: CallArgs) -> Outcome<Value> {
    let meter = machine.meter.clone();
    let template = text_of(&meter, &value)?;
    let values = if args.named.is_empty() {
        Value::tuple(&meter, args.positional)?
    } else {
        let dict = Dict::new(&meter)?;
        args.named.into_iter().try_for_each(|(name, value)| dict.set(&meter, Value::Text(name), value))?;
        Value::Dict(dict)
    };
    Ok(Value::Text(printf(&meter, &template, &values)?))
}
