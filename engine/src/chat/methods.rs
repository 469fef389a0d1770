//! Python's methods of strings, lists and dicts.

use alloc::format;
use alloc::rc::Rc;
use alloc::vec::Vec;

use super::eval::{CallArgs, Changeable, LoopState, Machine};
use super::filters::{to_index, to_len};
use super::format::str_format;
use super::functions::update;
use super::lexer::is_space;
use super::meter::{Builder, Outcome, Text, expected};
use super::print::print;
use super::value::{Dict, Seq, SeqKind, Value, describe, equal};

const TEXT: [&str; 40] = [
    "capitalize",
    "casefold",
    "center",
    "count",
    "endswith",
    "expandtabs",
    "find",
    "format",
    "index",
    "isalnum",
    "isalpha",
    "isascii",
    "isdecimal",
    "isdigit",
    "islower",
    "isnumeric",
    "isspace",
    "isupper",
    "join",
    "ljust",
    "lower",
    "lstrip",
    "partition",
    "removeprefix",
    "removesuffix",
    "replace",
    "rfind",
    "rindex",
    "rjust",
    "rpartition",
    "rsplit",
    "rstrip",
    "split",
    "splitlines",
    "startswith",
    "strip",
    "swapcase",
    "title",
    "upper",
    "zfill",
];
const LIST: [&str; 9] = ["append", "clear", "copy", "count", "extend", "index", "insert", "pop", "reverse"];
const TUPLE: [&str; 2] = ["count", "index"];
const DICT: [&str; 9] = ["clear", "copy", "get", "items", "keys", "pop", "setdefault", "update", "values"];
const LOOP: [&str; 2] = ["changed", "cycle"];

/// Whether a value has a method of that name.
pub(super) fn exists(value: &Value, name: &str) -> bool {
    match value {
        Value::Text(_) => TEXT.contains(&name),
        Value::Seq(seq) if seq.kind == SeqKind::List => LIST.contains(&name),
        Value::Seq(seq) if seq.kind == SeqKind::Tuple => TUPLE.contains(&name),
        Value::Dict(_) => DICT.contains(&name),
        Value::Loop(_) => LOOP.contains(&name),
        _ => false,
    }
}

/// Calls a method.
pub(super) fn call(machine: &mut Machine<'_>, value: &Value, name: &str, args: CallArgs) -> Outcome<Value> {
    match value {
        Value::Text(text) => text_method(machine, text, name, args),
        Value::Seq(seq) => seq_method(machine, seq, name, args),
        Value::Dict(dict) => dict_method(machine, dict, name, args),
        Value::Loop(state) => loop_method(machine, state, name, args),
        _ => Err(unknown(value, name)),
    }
}

fn unknown(value: &Value, name: &str) -> super::meter::Fault {
    format!("a {} has no method {name:?}", value.type_name()).into()
}

/// The keys with their values, as tuples.
pub(super) fn pairs(machine: &Machine<'_>, dict: &Dict) -> Outcome<Vec<Value>> {
    dict.iter().map(|(key, value)| Value::tuple(&machine.meter, Vec::from([key, value]))).collect()
}

// Lists, dicts and loops.

fn seq_method(machine: &mut Machine<'_>, seq: &Rc<Seq>, name: &str, args: CallArgs) -> Outcome<Value> {
    machine.meter.steps(seq.len() / 16)?;
    match name {
        "count" | "index" => return look_up(machine, seq, name, args),
        "copy" => return Value::list(&machine.meter, seq.iter().collect()),
        _ if seq.kind != SeqKind::List => return Err(unknown(&Value::Seq(seq.clone()), name)),
        _ => {}
    }
    machine.remember(Changeable::Seq(seq.clone()))?;
    match (name, args.positional.as_slice()) {
        ("append", [item]) => seq.insert(usize::MAX, item.clone())?,
        ("extend", [items]) => {
            let items: Vec<Value> = machine.items(items)?.iter().collect();
            items.into_iter().try_for_each(|item| seq.insert(usize::MAX, item))?;
        }
        ("insert", [index, item]) => seq.insert(place(index, seq.len())?, item.clone())?,
        ("pop", []) => return pop(seq, seq.len().checked_sub(1)),
        ("pop", [index]) => return pop(seq, Some(place(index, seq.len())?)),
        ("clear", []) => seq.clear(),
        ("reverse", []) => {
            let mut items: Vec<Value> = seq.iter().collect();
            seq.clear();
            items.reverse();
            items.into_iter().try_for_each(|item| seq.insert(usize::MAX, item))?;
        }
        _ => return Err(format!("wrong arguments for {name:?} of a list").into()),
    }
    Ok(Value::None)
}

/// An index that may count from the end.
fn place(index: &Value, length: usize) -> Outcome<usize> {
    let index = to_index(Some(index.clone()), 0)?;
    let index = if index < 0 { index.saturating_add(length as i128).max(0) } else { index };
    Ok(usize::try_from(index).unwrap_or(usize::MAX))
}

fn pop(seq: &Seq, index: Option<usize>) -> Outcome<Value> {
    Ok(index.and_then(|index| seq.remove(index)).ok_or("pop from a list that has no such item")?)
}

fn look_up(machine: &Machine<'_>, seq: &Seq, name: &str, args: CallArgs) -> Outcome<Value> {
    let [item] = args.bind(name, ["value"])?;
    let item = item.ok_or_else(|| format!("{name} takes 1 argument, found 0"))?;
    let mut count = 0;
    for (i, found) in seq.iter().enumerate() {
        machine.meter.steps(1)?;
        if equal(&machine.meter, &found, &item)? {
            if name == "index" {
                return Ok(Value::Int(i as i128));
            }
            count += 1;
        }
    }
    if name == "index" { Err("index of an item that is not in the list".into()) } else { Ok(Value::Int(count)) }
}

fn dict_method(machine: &mut Machine<'_>, dict: &Rc<Dict>, name: &str, args: CallArgs) -> Outcome<Value> {
    let meter = machine.meter.clone();
    match (name, args.positional.as_slice()) {
        ("get", [key]) => Ok(dict.get(&meter, key)?.unwrap_or(Value::None)),
        ("get", [key, default]) => Ok(dict.get(&meter, key)?.unwrap_or_else(|| default.clone())),
        ("items", []) => Value::list(&meter, pairs(machine, dict)?),
        ("keys", []) => Value::list(&meter, dict.iter().map(|(key, _)| key).collect()),
        ("values", []) => Value::list(&meter, dict.iter().map(|(_, value)| value).collect()),
        ("copy", []) => {
            let copy = Dict::new(&meter)?;
            update(machine, &copy, &Value::Dict(dict.clone()))?;
            Ok(Value::Dict(copy))
        }
        _ => {
            machine.remember(Changeable::Dict(dict.clone()))?;
            change_dict(machine, dict, name, args)
        }
    }
}

fn change_dict(machine: &Machine<'_>, dict: &Rc<Dict>, name: &str, args: CallArgs) -> Outcome<Value> {
    let meter = &machine.meter;
    match (name, args.positional.as_slice()) {
        ("pop", [key]) => Ok(dict.remove(meter, key)?.ok_or("pop of a key that the dict lacks")?),
        ("pop", [key, default]) => Ok(dict.remove(meter, key)?.unwrap_or_else(|| default.clone())),
        ("setdefault", [key, default @ ..]) => {
            if let Some(value) = dict.get(meter, key)? {
                return Ok(value);
            }
            let default = default.first().cloned().unwrap_or(Value::None);
            dict.set(meter, key.clone(), default.clone())?;
            Ok(default)
        }
        ("update", others) => {
            others.iter().try_for_each(|other| update(machine, dict, other))?;
            args.named
                .iter()
                .try_for_each(|(name, value)| dict.set(meter, Value::Text(name.clone()), value.clone()))?;
            Ok(Value::None)
        }
        ("clear", []) => {
            dict.clear();
            Ok(Value::None)
        }
        _ => Err(format!("wrong arguments for {name:?} of a dict").into()),
    }
}

fn loop_method(machine: &Machine<'_>, state: &LoopState, name: &str, args: CallArgs) -> Outcome<Value> {
    if name == "changed" {
        return machine.changed(state, args);
    }
    let count = args.positional.len().max(1);
    args.positional.get(state.index.get() % count).cloned().ok_or_else(|| "cycle takes at least 1 argument".into())
}

// Strings.

fn text_method(machine: &mut Machine<'_>, text: &Text, name: &str, args: CallArgs) -> Outcome<Value> {
    machine.meter.bytes(text.len())?;
    match name {
        "strip" | "lstrip" | "rstrip" => strip(machine, text, name, args),
        "split" | "rsplit" => split(machine, text, name == "rsplit", args),
        "splitlines" => split_lines(machine, text, args),
        "partition" | "rpartition" => partition(machine, text, name == "rpartition", args),
        "startswith" | "endswith" => borders(machine, text, name == "startswith", args),
        "find" | "rfind" | "index" | "rindex" | "count" => find(text, name, args),
        "replace" => replace(machine, text, args),
        "removeprefix" | "removesuffix" => remove(machine, text, name, args),
        "join" => join(machine, text, args),
        "format" => Ok(Value::Text(str_format(machine, text, &args)?)),
        "center" | "ljust" | "rjust" | "zfill" => pad(machine, text, name, args),
        "expandtabs" => expand_tabs(machine, text, args),
        "capitalize" | "casefold" | "lower" | "swapcase" | "title" | "upper" => {
            let [] = args.bind(name, [])?;
            change_case(machine, text, name)
        }
        _ => {
            let [] = args.bind(name, [])?;
            is_all(text, name).map(Value::Bool).ok_or_else(|| unknown(&Value::Text(text.clone()), name))
        }
    }
}

fn to_text(value: Option<Value>) -> Outcome<Text> {
    match value {
        Some(Value::Text(text)) => Ok(text),
        Some(other) => Err(expected("a string", &describe(&other))),
        None => Err("expected a string, found no argument".into()),
    }
}

/// An argument that may be left out or `none`.
fn given(value: Option<Value>) -> Option<Value> {
    value.filter(|value| !matches!(value, Value::None))
}

fn strip(machine: &Machine<'_>, text: &str, name: &str, args: CallArgs) -> Outcome<Value> {
    let [chars] = args.bind(name, ["chars"])?;
    let chars = given(chars).map(|chars| to_text(Some(chars))).transpose()?;
    machine.meter.steps(chars.as_ref().map_or(0, |chars| chars.len() * text.len() / 64))?;
    let drops = |c: char| chars.as_ref().map_or_else(|| is_space(c), |chars| chars.contains(c));
    machine.text(match name {
        "strip" => text.trim_matches(drops),
        "lstrip" => text.trim_start_matches(drops),
        _ => text.trim_end_matches(drops),
    })
}

/// Splits at a separator, or between runs of white space; at most so many times, from the left or the right.
fn split(machine: &Machine<'_>, text: &str, from_right: bool, args: CallArgs) -> Outcome<Value> {
    let [separator, most] = args.bind("split", ["sep", "maxsplit"])?;
    let most = usize::try_from(to_index(most, -1)?).unwrap_or(usize::MAX - 1).min(usize::MAX - 1);
    let mut parts = Vec::new();
    match given(separator).map(|separator| to_text(Some(separator))).transpose()? {
        None if from_right => split_spaces(text, most, true, |part| push(machine, &mut parts, part))?,
        None => split_spaces(text, most, false, |part| push(machine, &mut parts, part))?,
        Some(separator) if separator.is_empty() => return Err("split takes a separator that is not empty".into()),
        Some(separator) if from_right => {
            text.rsplitn(most + 1, &*separator).try_for_each(|part| push(machine, &mut parts, part))?;
        }
        Some(separator) => text.splitn(most + 1, &*separator).try_for_each(|part| push(machine, &mut parts, part))?,
    }
    if from_right {
        parts.reverse();
    }
    Value::list(&machine.meter, parts)
}

fn push(machine: &Machine<'_>, parts: &mut Vec<Value>, part: &str) -> Outcome<()> {
    machine.meter.steps(1)?;
    parts.push(machine.text(part)?);
    Ok(())
}

fn split_spaces(text: &str, most: usize, from_right: bool, mut each: impl FnMut(&str) -> Outcome<()>) -> Outcome<()> {
    let trim =
        |text| if from_right { str::trim_end_matches(text, is_space) } else { str::trim_start_matches(text, is_space) };
    let mut rest = trim(text);
    for _ in 0..most {
        let cut = if from_right { rest.rsplit_once(is_space) } else { rest.split_once(is_space) };
        let Some((before, after)) = cut else { break };
        let (part, others) = if from_right { (after, before) } else { (before, after) };
        each(part)?;
        rest = trim(others);
    }
    if rest.is_empty() { Ok(()) } else { each(rest) }
}

fn split_lines(machine: &Machine<'_>, text: &str, args: CallArgs) -> Outcome<Value> {
    let [keep_ends] = args.bind("splitlines", ["keepends"])?;
    let keeps = keep_ends.is_some_and(|keeps| keeps.is_true());
    let is_end = |c: char| matches!(c, '\n'..='\r' | '\x1c'..='\x1e' | '\u{85}' | '\u{2028}' | '\u{2029}');
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(is_end) {
        let end = if rest[at..].starts_with("\r\n") { 2 } else { rest[at..].chars().next().map_or(0, char::len_utf8) };
        push(machine, &mut lines, &rest[..if keeps { at + end } else { at }])?;
        rest = &rest[at + end..];
    }
    if !rest.is_empty() {
        push(machine, &mut lines, rest)?;
    }
    Value::list(&machine.meter, lines)
}

fn partition(machine: &Machine<'_>, text: &str, from_right: bool, args: CallArgs) -> Outcome<Value> {
    let [separator] = args.bind("partition", ["sep"])?;
    let separator = to_text(separator)?;
    if separator.is_empty() {
        return Err("partition takes a separator that is not empty".into());
    }
    let cut = if from_right { text.rsplit_once(&*separator) } else { text.split_once(&*separator) };
    let parts = match cut {
        Some((before, after)) => [before, &*separator, after],
        None if from_right => ["", "", text],
        None => [text, "", ""],
    };
    let parts = parts.into_iter().map(|part| machine.text(part)).collect::<Outcome<Vec<Value>>>()?;
    Value::tuple(&machine.meter, parts)
}

/// The part of a text between two character indices, and the first one; none if that lies beyond the end.
fn window(text: &str, start: Option<Value>, end: Option<Value>) -> Outcome<Option<(&str, usize)>> {
    let length = text.chars().count();
    let start = given(start).map_or(Ok(0), |start| place(&start, length))?;
    let end = given(end).map_or(Ok(length), |end| place(&end, length))?;
    let byte = |index: usize| text.char_indices().nth(index).map_or(text.len(), |(i, _)| i);
    Ok(text.get(byte(start)..byte(end)).filter(|_| start <= length).map(|part| (part, start)))
}

/// `startswith` and `endswith`, of a string or any string of a tuple.
fn borders(machine: &Machine<'_>, text: &str, start: bool, args: CallArgs) -> Outcome<Value> {
    let [part, from, to] = args.bind("startswith", ["prefix", "start", "end"])?;
    let Some((text, _)) = window(text, from, to)? else { return Ok(Value::Bool(false)) };
    let parts = match part {
        Some(Value::Seq(parts)) if parts.kind == SeqKind::Tuple => parts,
        part => Seq::new(&machine.meter, SeqKind::Tuple, Vec::from([Value::Text(to_text(part)?)]))?,
    };
    for part in parts.iter() {
        let part = to_text(Some(part))?;
        machine.meter.steps(1)?;
        if if start { text.starts_with(&*part) } else { text.ends_with(&*part) } {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}

fn find(text: &str, name: &str, args: CallArgs) -> Outcome<Value> {
    let [part, from, to] = args.bind(name, ["sub", "start", "end"])?;
    let part = to_text(part)?;
    let window = window(text, from, to)?;
    if name == "count" {
        return Ok(Value::Int(window.map_or(0, |(text, _)| text.matches(&*part).count()) as i128));
    }
    let find = |text: &str| if name.starts_with('r') { text.rfind(&*part) } else { text.find(&*part) };
    let found = window.and_then(|(text, start)| Some(start + text[..find(text)?].chars().count()));
    match found {
        Some(at) => Ok(Value::Int(at as i128)),
        None if name.ends_with("index") => Err("index of a part that is not in the string".into()),
        None => Ok(Value::Int(-1)),
    }
}

fn replace(machine: &Machine<'_>, text: &str, args: CallArgs) -> Outcome<Value> {
    let [old, new, count] = args.bind("replace", ["old", "new", "count"])?;
    let (old, new) = (to_text(old)?, to_text(new)?);
    let count = usize::try_from(to_index(count, -1)?).unwrap_or(usize::MAX);
    let mut out = Builder::new(&machine.meter)?;
    let mut done = 0;
    for (at, found) in text.match_indices(&*old).take(count) {
        machine.meter.steps(1)?;
        out.push(&text[done..at])?;
        out.push(&new)?;
        done = at + found.len();
    }
    out.push(&text[done..])?;
    Ok(Value::Text(out.finish()))
}

fn remove(machine: &Machine<'_>, text: &str, name: &str, args: CallArgs) -> Outcome<Value> {
    let [part] = args.bind(name, ["part"])?;
    let part = to_text(part)?;
    let rest = if name == "removeprefix" { text.strip_prefix(&*part) } else { text.strip_suffix(&*part) };
    machine.text(rest.unwrap_or(text))
}

fn join(machine: &Machine<'_>, separator: &str, args: CallArgs) -> Outcome<Value> {
    let [items] = args.bind("join", ["iterable"])?;
    let mut out = Builder::new(&machine.meter)?;
    for (i, item) in machine.items(&items.unwrap_or(Value::None))?.iter().enumerate() {
        machine.meter.steps(1)?;
        out.push(if i > 0 { separator } else { "" })?;
        print(&machine.meter, &Value::Text(to_text(Some(item))?), &mut out)?;
    }
    Ok(Value::Text(out.finish()))
}

fn pad(machine: &Machine<'_>, text: &str, name: &str, args: CallArgs) -> Outcome<Value> {
    let [width, fill] = args.bind(name, ["width", "fillchar"])?;
    let width = to_len(width, 0)?;
    let fill = fill.map(|fill| to_text(Some(fill))).transpose()?;
    let fill = if name == "zfill" { "0" } else { fill.as_deref().unwrap_or(" ") };
    let length = text.chars().count();
    let missing = width.saturating_sub(length);
    let sign = if name == "zfill" && text.starts_with(['+', '-']) { 1 } else { 0 };
    let before = match name {
        "ljust" => 0,
        "center" => missing / 2 + (missing & width & 1),
        _ => missing,
    };
    let mut out = Builder::new(&machine.meter)?;
    out.push(&text[..sign])?;
    out.repeat(fill, before)?;
    out.push(&text[sign..])?;
    out.repeat(fill, missing - before)?;
    Ok(Value::Text(out.finish()))
}

fn expand_tabs(machine: &Machine<'_>, text: &str, args: CallArgs) -> Outcome<Value> {
    let [size] = args.bind("expandtabs", ["tabsize"])?;
    let size = to_len(size, 8)?;
    let mut out = Builder::new(&machine.meter)?;
    let mut column = 0;
    for c in text.chars() {
        match c {
            '\t' if size > 0 => {
                out.repeat(" ", size - column % size)?;
                column = 0;
            }
            '\t' => {}
            c => {
                out.push_char(c)?;
                column = if matches!(c, '\n' | '\r') { 0 } else { column + 1 };
            }
        }
    }
    Ok(Value::Text(out.finish()))
}

fn change_case(machine: &Machine<'_>, text: &str, name: &str) -> Outcome<Value> {
    let mut out = Builder::new(&machine.meter)?;
    if matches!(name, "lower" | "casefold" | "upper") {
        out.push(&if name == "upper" { text.to_uppercase() } else { text.to_lowercase() })?;
        return Ok(Value::Text(out.finish()));
    }
    let mut after_letter = false;
    for c in text.chars() {
        let large = match name {
            "swapcase" => c.is_lowercase(),
            _ => !after_letter,
        };
        if large {
            c.to_uppercase().try_for_each(|c| out.push_char(c))?;
        } else {
            c.to_lowercase().try_for_each(|c| out.push_char(c))?;
        }
        after_letter = name == "capitalize" || c.is_uppercase() || c.is_lowercase();
    }
    Ok(Value::Text(out.finish()))
}

/// Whether a text is not empty and all its characters are of a kind.
fn is_all(text: &str, name: &str) -> Option<bool> {
    let cased = |other: fn(char) -> bool| {
        text.chars().any(|c| c.is_lowercase() || c.is_uppercase()) && !text.chars().any(other)
    };
    let is = match name {
        "isascii" => return Some(text.is_ascii()),
        "islower" => return Some(cased(char::is_uppercase)),
        "isupper" => return Some(cased(char::is_lowercase)),
        "isalnum" => char::is_alphanumeric,
        "isalpha" => char::is_alphabetic,
        "isdecimal" | "isdigit" | "isnumeric" => char::is_numeric,
        "isspace" => is_space,
        _ => return None,
    };
    Some(!text.is_empty() && text.chars().all(is))
}
