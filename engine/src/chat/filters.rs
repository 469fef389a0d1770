//! Filters: what may stand after `|`.

use alloc::format;
use alloc::rc::Rc;
use alloc::vec::Vec;

use super::eval::{CallArgs, Machine};
use super::format::{printf, str_format};
use super::lexer::is_space;
use super::meter::{Builder, Outcome, Text, expected};
use super::methods;
use super::print::{JsonStyle, sort, text_of};
use super::value::{Dict, Seq, SeqKind, Value, compare, describe, equal};

/// A filter's implementation.
pub(super) type Filter = fn(&mut Machine<'_>, Value, CallArgs) -> Outcome<Value>;

/// The filter of a name.
pub(super) fn find(name: &str) -> Option<Filter> {
    Some(match name {
        "abs" => abs,
        "attr" => attr,
        "batch" => batch,
        "capitalize" | "center" | "lower" | "upper" => by_method(name),
        "count" | "length" => length,
        "d" | "default" => default,
        "dictsort" => dictsort,
        "e" | "escape" | "forceescape" => escape,
        "first" => first,
        "float" => float,
        "format" => format,
        "from_json" | "fromjson" => from_json,
        "groupby" => groupby,
        "indent" => indent,
        "int" => int,
        "items" => items,
        "join" => join,
        "last" => last,
        "list" => list,
        "map" => map,
        "max" => |machine, value, args| extreme(machine, value, args, true),
        "min" => |machine, value, args| extreme(machine, value, args, false),
        "reject" => |machine, value, args| select(machine, value, args, false, false),
        "rejectattr" => |machine, value, args| select(machine, value, args, true, false),
        "replace" => replace,
        "reverse" => reverse,
        "round" => round,
        "safe" => safe,
        "select" => |machine, value, args| select(machine, value, args, false, true),
        "selectattr" => |machine, value, args| select(machine, value, args, true, true),
        "slice" => slice,
        "sort" => sorted,
        "string" => string,
        "sum" => sum,
        "title" => title,
        "tojson" => tojson,
        "trim" => trim,
        "unique" => unique,
        "urlencode" => urlencode,
        "wordcount" => wordcount,
        _ => return None,
    })
}

/// Filters that are Python's methods of the same names, on the value's text.
fn by_method(name: &str) -> Filter {
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

/// An argument as a whole number.
pub(super) fn to_index(value: Option<Value>, default: i128) -> Outcome<i128> {
    match value {
        None => Ok(default),
        Some(value) => value.as_index().ok_or_else(|| expected("a whole number", &describe(&value))),
    }
}

/// An argument as a length that fits the machine.
pub(super) fn to_len(value: Option<Value>, default: usize) -> Outcome<usize> {
    let length = to_index(value, default as i128)?;
    Ok(usize::try_from(length.max(0)).unwrap_or(usize::MAX))
}

fn is_set(value: &Option<Value>) -> bool {
    value.as_ref().is_some_and(Value::is_true)
}

fn generator(machine: &Machine<'_>, items: Vec<Value>) -> Outcome<Value> {
    Ok(Value::Seq(Seq::new(&machine.meter, SeqKind::Generator, items)?))
}

// Values.

fn abs(_: &mut Machine<'_>, value: Value, args: CallArgs) -> Outcome<Value> {
    let [] = args.bind("abs", [])?;
    match (value.as_index(), value.as_float()) {
        (Some(int), _) => Ok(Value::Int(int.checked_abs().ok_or("the number is too large")?)),
        (None, Some(float)) => Ok(Value::Float(float.abs())),
        _ => Err(expected("a number", &describe(&value))),
    }
}

fn attr(machine: &mut Machine<'_>, value: Value, args: CallArgs) -> Outcome<Value> {
    match args.bind("attr", ["name"])? {
        [Some(Value::Text(name))] if methods::exists(&value, &name) => machine.attribute(&value, name),
        [Some(Value::Text(name))] => Ok(Value::Undefined(name)),
        _ => Err("attr takes the name of an attribute".into()),
    }
}

fn default(_: &mut Machine<'_>, value: Value, args: CallArgs) -> Outcome<Value> {
    let [default, boolean] = args.bind("default", ["default_value", "boolean"])?;
    let missing = value.is_undefined() || (is_set(&boolean) && !value.is_true());
    Ok(if missing { default.unwrap_or(Value::Text(Text::Literal("".into()))) } else { value })
}

/// Numbers are cut towards zero; texts are read; anything else gives the default.
fn int(_: &mut Machine<'_>, value: Value, args: CallArgs) -> Outcome<Value> {
    let [default, base] = args.bind("int", ["default", "base"])?;
    let base = u32::try_from(to_index(base, 10)?).ok().filter(|base| (2..=36).contains(base));
    let base = base.ok_or("int takes a base from 2 to 36")?;
    let cut = |float: f64| (float.abs() < 1e38).then_some(float as i128);
    let number = match &value {
        Value::Text(text) => {
            let text = text.trim_matches(is_space);
            let digits = match base {
                16 => text.trim_start_matches("0x"),
                8 => text.trim_start_matches("0o"),
                2 => text.trim_start_matches("0b"),
                _ => text,
            };
            i128::from_str_radix(digits, base).ok().or_else(|| text.parse().ok().and_then(cut))
        }
        other => other.as_index().or_else(|| other.as_float().and_then(cut)),
    };
    Ok(number.map(Value::Int).or(default).unwrap_or(Value::Int(0)))
}

fn float(_: &mut Machine<'_>, value: Value, args: CallArgs) -> Outcome<Value> {
    let [default] = args.bind("float", ["default"])?;
    let number = match &value {
        Value::Text(text) => text.trim_matches(is_space).parse().ok(),
        other => other.as_float(),
    };
    Ok(number.map(Value::Float).or(default).unwrap_or(Value::Float(0.0)))
}

/// Rounds half to even, or up or down.
fn round(_: &mut Machine<'_>, value: Value, args: CallArgs) -> Outcome<Value> {
    let [precision, method] = args.bind("round", ["precision", "method"])?;
    let number = value.as_float().ok_or_else(|| expected("a number", &describe(&value)))?;
    let precision = to_index(precision, 0)?.clamp(-300, 300) as i32;
    let scale = libm::pow(10.0, f64::from(precision.abs()));
    let scaled = if precision < 0 { number / scale } else { number * scale };
    let rounded = match &method {
        Some(Value::Text(method)) if &**method == "ceil" => libm::ceil(scaled),
        Some(Value::Text(method)) if &**method == "floor" => libm::floor(scaled),
        None | Some(Value::Text(_)) if precision >= 0 => {
            let text = format!("{number:.*}", precision as usize);
            return Ok(Value::Float(text.parse().unwrap_or(number)));
        }
        None | Some(Value::Text(_)) => libm::rint(scaled),
        Some(other) => return Err(expected("a rounding method", &describe(other))),
    };
    Ok(Value::Float(if precision < 0 { rounded * scale } else { rounded / scale }))
}

// Text.

fn string(machine: &mut Machine<'_>, value: Value, args: CallArgs) -> Outcome<Value> {
    let [] = args.bind("string", [])?;
    Ok(Value::Text(text_of(&machine.meter, &value)?))
}

fn safe(_: &mut Machine<'_>, value: Value, args: CallArgs) -> Outcome<Value> {
    let [] = args.bind("safe", [])?;
    Ok(value)
}

fn trim(machine: &mut Machine<'_>, value: Value, args: CallArgs) -> Outcome<Value> {
    let [chars] = args.bind("trim", ["chars"])?;
    let text = text_of(&machine.meter, &value)?;
    methods::call(machine, &Value::Text(text), "strip", CallArgs::of(chars.into_iter().collect()))
}

fn replace(machine: &mut Machine<'_>, value: Value, args: CallArgs) -> Outcome<Value> {
    let [old, new, count] = args.bind("replace", ["old", "new", "count"])?;
    let (Some(old), Some(new)) = (old, new) else { return Err("replace takes what to replace and by what".into()) };
    let meter = machine.meter.clone();
    let text = text_of(&meter, &value)?;
    let mut args = Vec::from([Value::Text(text_of(&meter, &old)?), Value::Text(text_of(&meter, &new)?)]);
    args.extend(count.filter(|count| !matches!(count, Value::None)));
    methods::call(machine, &Value::Text(text), "replace", CallArgs::of(args))
}

/// Every word's first letter large, the others small; words start after a space, hyphen or opening bracket.
fn title(machine: &mut Machine<'_>, value: Value, args: CallArgs) -> Outcome<Value> {
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

fn escape(machine: &mut Machine<'_>, value: Value, args: CallArgs) -> Outcome<Value> {
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

fn urlencode(machine: &mut Machine<'_>, value: Value, args: CallArgs) -> Outcome<Value> {
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

fn wordcount(machine: &mut Machine<'_>, value: Value, args: CallArgs) -> Outcome<Value> {
    let [] = args.bind("wordcount", [])?;
    let text = text_of(&machine.meter, &value)?;
    machine.meter.bytes(text.len())?;
    let words = text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty());
    Ok(Value::Int(words.count() as i128))
}

/// Indents all lines but the first, and but empty ones.
fn indent(machine: &mut Machine<'_>, value: Value, args: CallArgs) -> Outcome<Value> {
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
fn format(machine: &mut Machine<'_>, value: Value, args: CallArgs) -> Outcome<Value> {
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

/// `"…".format(args)`, for the method.
pub(super) fn format_method(machine: &Machine<'_>, template: &str, args: &CallArgs) -> Outcome<Value> {
    Ok(Value::Text(str_format(machine, template, args)?))
}

// JSON.

fn tojson(machine: &mut Machine<'_>, value: Value, args: CallArgs) -> Outcome<Value> {
    let params = ["ensure_ascii", "indent", "separators", "sort_keys"];
    let [ascii, indent, separators, sort_keys] = args.bind("tojson", params)?;
    let meter = machine.meter.clone();
    let indent = match indent {
        None | Some(Value::None) => None,
        Some(Value::Text(indent)) => Some(indent),
        width => {
            let mut indent = Builder::new(&meter)?;
            indent.repeat(" ", to_len(width, 0)?)?;
            Some(indent.finish())
        }
    };
    let item = if indent.is_some() { "," } else { ", " };
    let mut style = JsonStyle {
        ascii: is_set(&ascii),
        indent,
        item_separator: Text::Literal(item.into()),
        key_separator: Text::Literal(": ".into()),
        sort_keys: is_set(&sort_keys),
    };
    if let Some(separators) = separators.filter(|separators| !matches!(separators, Value::None)) {
        let separators = machine.items(&separators)?;
        let (Some(Value::Text(item)), Some(Value::Text(key))) = (separators.get(0), separators.get(1)) else {
            return Err("tojson takes two strings as separators".into());
        };
        (style.item_separator, style.key_separator) = (item, key);
    }
    let mut out = Builder::new(&meter)?;
    style.write(&meter, &value, &mut out, 0)?;
    Ok(Value::Text(out.finish()))
}

fn from_json(machine: &mut Machine<'_>, value: Value, args: CallArgs) -> Outcome<Value> {
    let [] = args.bind("from_json", [])?;
    let Value::Text(text) = &value else { return Err(expected("a string of JSON", &describe(&value))) };
    // Parsed JSON takes up to some 40 bytes for one of its text.
    let room = machine.meter.charge(text.len().saturating_mul(40))?;
    let json: serde_json::Value = serde_json::from_str(text).map_err(|error| format!("bad JSON: {error}"))?;
    drop(room);
    Value::from_json(&machine.meter, &json)
}

// Lists.

fn length(machine: &mut Machine<'_>, value: Value, args: CallArgs) -> Outcome<Value> {
    let [] = args.bind("length", [])?;
    let length = match &value {
        Value::Undefined(_) => 0,
        Value::Text(text) => {
            machine.meter.bytes(text.len())?;
            text.chars().count()
        }
        Value::Seq(seq) if seq.kind != SeqKind::Generator => seq.len(),
        Value::Dict(dict) => dict.len(),
        other => return Err(expected("something with a length", &describe(other))),
    };
    Ok(Value::Int(length as i128))
}

fn first(machine: &mut Machine<'_>, value: Value, args: CallArgs) -> Outcome<Value> {
    let [] = args.bind("first", [])?;
    match machine.items(&value)?.get(0) {
        Some(item) => Ok(item),
        None => Value::undefined(&machine.meter, "first"),
    }
}

fn last(machine: &mut Machine<'_>, value: Value, args: CallArgs) -> Outcome<Value> {
    let [] = args.bind("last", [])?;
    let items = machine.items(&value)?;
    match items.len().checked_sub(1).and_then(|i| items.get(i)) {
        Some(item) => Ok(item),
        None => Value::undefined(&machine.meter, "last"),
    }
}

fn list(machine: &mut Machine<'_>, value: Value, args: CallArgs) -> Outcome<Value> {
    let [] = args.bind("list", [])?;
    let items = machine.items(&value)?;
    Value::list(&machine.meter, items.iter().collect())
}

fn items(machine: &mut Machine<'_>, value: Value, args: CallArgs) -> Outcome<Value> {
    let [] = args.bind("items", [])?;
    match &value {
        Value::Undefined(_) => generator(machine, Vec::new()),
        Value::Dict(dict) => generator(machine, methods::pairs(machine, dict)?),
        other => Err(expected("a dict", &describe(other))),
    }
}

fn reverse(machine: &mut Machine<'_>, value: Value, args: CallArgs) -> Outcome<Value> {
    let [] = args.bind("reverse", [])?;
    if let Value::Text(_) = value {
        return super::ops::slice(&machine.meter, &value, [None, None, Some(-1)]);
    }
    let mut items: Vec<Value> = machine.items(&value)?.iter().collect();
    items.reverse();
    generator(machine, items)
}

fn join(machine: &mut Machine<'_>, value: Value, args: CallArgs) -> Outcome<Value> {
    let [separator, attribute] = args.bind("join", ["d", "attribute"])?;
    let meter = machine.meter.clone();
    let separator = text_of(&meter, &separator.unwrap_or(Value::Text(Text::Literal("".into()))))?;
    let path = path(attribute)?;
    let mut out = Builder::new(&meter)?;
    for (i, item) in machine.items(&value)?.iter().enumerate() {
        meter.steps(1)?;
        out.push(if i > 0 { &separator } else { "" })?;
        super::print::print(&meter, &follow(machine, item, &path)?, &mut out)?;
    }
    Ok(Value::Text(out.finish()))
}

/// The keys of an attribute such as `address.city` or `0.name`.
fn path(attribute: Option<Value>) -> Outcome<Vec<Value>> {
    let key = |part: &str| match part.parse() {
        Ok(index) if part.bytes().all(|b| b.is_ascii_digit()) => Value::Int(index),
        _ => Value::Text(Text::Literal(part.into())),
    };
    match attribute {
        None | Some(Value::None) => Ok(Vec::new()),
        Some(Value::Text(text)) => Ok(text.split('.').map(key).collect()),
        Some(value @ Value::Int(_)) => Ok(Vec::from([value])),
        Some(other) => Err(expected("the name of an attribute", &describe(&other))),
    }
}

fn follow(machine: &Machine<'_>, value: Value, path: &[Value]) -> Outcome<Value> {
    path.iter().try_fold(value, |value, key| machine.subscript(&value, key))
}

/// The attribute that `map` and `sort` take, with small letters for large ones unless case matters.
fn sort_key(machine: &Machine<'_>, value: Value, path: &[Value], case_sensitive: bool) -> Outcome<Value> {
    match follow(machine, value, path)? {
        Value::Text(text) if !case_sensitive => machine.text(&text.to_lowercase()),
        value => Ok(value),
    }
}

/// Items to select from. What is false has none, even what cannot be iterated over: `none|selectattr(…)` is empty.
fn items_if_true(machine: &Machine<'_>, value: &Value) -> Outcome<Rc<Seq>> {
    if value.is_true() { machine.items(value) } else { Seq::new(&machine.meter, SeqKind::List, Vec::new()) }
}

fn map(machine: &mut Machine<'_>, value: Value, mut args: CallArgs) -> Outcome<Value> {
    let items = items_if_true(machine, &value)?;
    let mut mapped = Vec::new();
    if args.positional.is_empty() {
        let [attribute, default] = args.bind("map", ["attribute", "default"])?;
        let path = path(Some(attribute.ok_or("map takes the name of a filter, or an attribute")?))?;
        for item in items.iter() {
            machine.meter.steps(1)?;
            let found = follow(machine, item, &path)?;
            mapped.push(if found.is_undefined() { default.clone().unwrap_or(found) } else { found });
        }
        return generator(machine, mapped);
    }
    let Value::Text(name) = args.positional.remove(0) else { return Err("map takes the name of a filter".into()) };
    for item in items.iter() {
        machine.meter.steps(1)?;
        mapped.push(machine.filter(&name, item, args.clone())?);
    }
    generator(machine, mapped)
}

/// Keeps or drops the items that pass a test, or whose attribute does; without a test, those that are true.
fn select(machine: &mut Machine<'_>, value: Value, args: CallArgs, by_attribute: bool, keep: bool) -> Outcome<Value> {
    let mut positional = args.positional.into_iter();
    let path = if by_attribute { path(Some(positional.next().ok_or("expected an attribute")?))? } else { Vec::new() };
    let test = match positional.next() {
        None => None,
        Some(Value::Text(name)) => Some(name),
        Some(other) => return Err(expected("the name of a test", &describe(&other))),
    };
    let args = CallArgs { positional: positional.collect(), named: args.named };
    let mut selected = Vec::new();
    for item in items_if_true(machine, &value)?.iter() {
        machine.meter.steps(1)?;
        let tested = follow(machine, item.clone(), &path)?;
        let passes = match &test {
            Some(name) => machine.test(name, &tested, args.clone())?,
            None => tested.is_true(),
        };
        if passes == keep {
            selected.push(item);
        }
    }
    generator(machine, selected)
}

fn sorted(machine: &mut Machine<'_>, value: Value, args: CallArgs) -> Outcome<Value> {
    let [reverse, case_sensitive, attribute] = args.bind("sort", ["reverse", "case_sensitive", "attribute"])?;
    let paths = match attribute {
        Some(Value::Text(text)) => {
            let each = text.split(',').map(|part| path(Some(Value::Text(Text::Literal(part.into())))));
            each.collect::<Outcome<Vec<_>>>()?
        }
        other => Vec::from([path(other)?]),
    };
    let mut keyed = Vec::new();
    for item in machine.items(&value)?.iter() {
        machine.meter.steps(paths.len())?;
        let key = |path: &Vec<Value>| sort_key(machine, item.clone(), path, is_set(&case_sensitive));
        let keys = paths.iter().map(key).collect::<Outcome<Vec<Value>>>()?;
        keyed.push((Value::list(&machine.meter, keys)?, item));
    }
    sort_pairs(machine, &mut keyed, is_set(&reverse))?;
    Value::list(&machine.meter, keyed.into_iter().map(|(_, item)| item).collect())
}

fn sort_pairs(machine: &Machine<'_>, pairs: &mut Vec<(Value, Value)>, reverse: bool) -> Outcome<()> {
    sort(pairs, |a, b| {
        machine.meter.steps(1)?;
        let order = compare(&machine.meter, &a.0, &b.0)?;
        Ok(if reverse { order.reverse() } else { order })
    })
}

fn dictsort(machine: &mut Machine<'_>, value: Value, args: CallArgs) -> Outcome<Value> {
    let [case_sensitive, by, reverse] = args.bind("dictsort", ["case_sensitive", "by", "reverse"])?;
    let by_value = matches!(&by, Some(Value::Text(by)) if &**by == "value");
    let Value::Dict(dict) = &value else { return Err(expected("a dict", &describe(&value))) };
    let mut keyed = Vec::new();
    for pair in methods::pairs(machine, dict)? {
        let key = machine.subscript(&pair, &Value::Int(i128::from(by_value)))?;
        keyed.push((sort_key(machine, key, &[], is_set(&case_sensitive))?, pair));
    }
    sort_pairs(machine, &mut keyed, is_set(&reverse))?;
    Value::list(&machine.meter, keyed.into_iter().map(|(_, pair)| pair).collect())
}

/// The first of the items with each key.
fn unique(machine: &mut Machine<'_>, value: Value, args: CallArgs) -> Outcome<Value> {
    let [case_sensitive, attribute] = args.bind("unique", ["case_sensitive", "attribute"])?;
    let path = path(attribute)?;
    let (mut keys, mut kept) = (Vec::new(), Vec::new());
    for item in machine.items(&value)?.iter() {
        let key = sort_key(machine, item.clone(), &path, is_set(&case_sensitive))?;
        machine.meter.steps(1 + keys.len() / 8)?;
        let mut known = false;
        for seen in &keys {
            known = known || equal(&machine.meter, seen, &key)?;
        }
        if !known {
            keys.push(key);
            kept.push(item);
        }
    }
    generator(machine, kept)
}

fn extreme(machine: &mut Machine<'_>, value: Value, args: CallArgs, largest: bool) -> Outcome<Value> {
    let [case_sensitive, attribute] = args.bind("min or max", ["case_sensitive", "attribute"])?;
    let path = path(attribute)?;
    let mut best: Option<(Value, Value)> = None;
    for item in machine.items(&value)?.iter() {
        machine.meter.steps(1)?;
        let key = sort_key(machine, item.clone(), &path, is_set(&case_sensitive))?;
        let better = match &best {
            None => true,
            Some((best, _)) if largest => compare(&machine.meter, &key, best)?.is_gt(),
            Some((best, _)) => compare(&machine.meter, &key, best)?.is_lt(),
        };
        if better {
            best = Some((key, item));
        }
    }
    match best {
        Some((_, item)) => Ok(item),
        None => Value::undefined(&machine.meter, "no item"),
    }
}

fn sum(machine: &mut Machine<'_>, value: Value, args: CallArgs) -> Outcome<Value> {
    let [attribute, start] = args.bind("sum", ["attribute", "start"])?;
    let path = path(attribute)?;
    let mut sum = start.unwrap_or(Value::Int(0));
    for item in machine.items(&value)?.iter() {
        machine.meter.steps(1)?;
        let item = follow(machine, item, &path)?;
        sum = super::ops::binary(&machine.meter, super::ast::Operator::Add, &sum, &item)?;
    }
    Ok(sum)
}

/// Lists of so many items.
fn batch(machine: &mut Machine<'_>, value: Value, args: CallArgs) -> Outcome<Value> {
    let [count, fill] = args.bind("batch", ["linecount", "fill_with"])?;
    let count = to_len(count, 0)?.max(1);
    let items: Vec<Value> = machine.items(&value)?.iter().collect();
    let mut rows = Vec::new();
    for row in items.chunks(count) {
        let mut row = row.to_vec();
        if let Some(fill) = fill.as_ref().filter(|fill| !matches!(fill, Value::None)) {
            let room = machine.meter.charge(count.saturating_mul(size_of::<Value>()))?;
            row.resize(count, fill.clone());
            drop(room);
        }
        rows.push(Value::list(&machine.meter, row)?);
    }
    generator(machine, rows)
}

/// So many lists; the first ones are longer by one where it does not come out even.
fn slice(machine: &mut Machine<'_>, value: Value, args: CallArgs) -> Outcome<Value> {
    let [count, fill] = args.bind("slice", ["slices", "fill_with"])?;
    let count = to_len(count, 0)?.max(1);
    machine.meter.steps(count)?;
    let items: Vec<Value> = machine.items(&value)?.iter().collect();
    let (each, longer) = (items.len() / count, items.len() % count);
    let mut columns = Vec::new();
    let mut start = 0;
    for i in 0..count {
        let end = start + each + usize::from(i < longer);
        let mut column = items[start..end].to_vec();
        if let Some(fill) = fill.as_ref().filter(|fill| i >= longer && !matches!(fill, Value::None)) {
            column.push(fill.clone());
        }
        columns.push(Value::list(&machine.meter, column)?);
        start = end;
    }
    generator(machine, columns)
}

/// Pairs of a key and the items that have it, by ascending key.
fn groupby(machine: &mut Machine<'_>, value: Value, args: CallArgs) -> Outcome<Value> {
    let [attribute, default, case_sensitive] = args.bind("groupby", ["attribute", "default", "case_sensitive"])?;
    let path = path(attribute)?;
    let mut keyed = Vec::new();
    for item in machine.items(&value)?.iter() {
        machine.meter.steps(1)?;
        let found = follow(machine, item.clone(), &path)?;
        let key = if found.is_undefined() { default.clone().unwrap_or(found) } else { found };
        keyed.push((sort_key(machine, key, &[], is_set(&case_sensitive))?, item));
    }
    sort_pairs(machine, &mut keyed, false)?;
    let mut groups: Vec<(Value, Rc<Seq>)> = Vec::new();
    for (key, item) in keyed {
        match groups.last() {
            Some((last, group)) if equal(&machine.meter, last, &key)? => group.insert(usize::MAX, item)?,
            _ => groups.push((key, Seq::new(&machine.meter, SeqKind::List, Vec::from([item]))?)),
        }
    }
    let pair = |(key, group)| Value::tuple(&machine.meter, Vec::from([key, Value::Seq(group)]));
    let pairs = groups.into_iter().map(pair).collect::<Outcome<Vec<Value>>>()?;
    Value::list(&machine.meter, pairs)
}
