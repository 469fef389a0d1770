//! Filters of lists and dicts.

use alloc::rc::Rc;
use alloc::vec::Vec;

use super::super::ast::Operator;
use super::super::eval::{CallArgs, Machine};
use super::super::meter::{Builder, Outcome, Text, expected};
use super::super::methods;
use super::super::ops::{binary, slice as slice_of};
use super::super::print::{print, sort, text_of};
use super::super::value::{Seq, SeqKind, Value, compare, describe, equal};
use super::{is_set, to_len};

fn generator(machine: &Machine<'_>, items: Vec<Value>) -> Outcome<Value> {
    Ok(Value::Seq(Seq::new(&machine.meter, SeqKind::Generator, items)?))
}
pub(super) fn length(machine: &mut Machine<'_>, value: Value, args: CallArgs) -> Outcome<Value> {
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

pub(super) fn first(machine: &mut Machine<'_>, value: Value, args: CallArgs) -> Outcome<Value> {
    let [] = args.bind("first", [])?;
    match machine.items(&value)?.get(0) {
        Some(item) => Ok(item),
        None => Value::undefined(&machine.meter, "first"),
    }
}

pub(super) fn last(machine: &mut Machine<'_>, value: Value, args: CallArgs) -> Outcome<Value> {
    let [] = args.bind("last", [])?;
    let items = machine.items(&value)?;
    match items.len().checked_sub(1).and_then(|i| items.get(i)) {
        Some(item) => Ok(item),
        None => Value::undefined(&machine.meter, "last"),
    }
}

pub(super) fn list(machine: &mut Machine<'_>, value: Value, args: CallArgs) -> Outcome<Value> {
    let [] = args.bind("list", [])?;
    let items = machine.items(&value)?;
    Value::list(&machine.meter, items.iter().collect())
}

pub(super) fn items(machine: &mut Machine<'_>, value: Value, args: CallArgs) -> Outcome<Value> {
    let [] = args.bind("items", [])?;
    match &value {
        Value::Undefined(_) => generator(machine, Vec::new()),
        Value::Dict(dict) => generator(machine, methods::pairs(machine, dict)?),
        other => Err(expected("a dict", &describe(other))),
    }
}

pub(super) fn reverse(machine: &mut Machine<'_>, value: Value, args: CallArgs) -> Outcome<Value> {
    let [] = args.bind("reverse", [])?;
    if let Value::Text(_) = value {
        return slice_of(&machine.meter, &value, [None, None, Some(-1)]);
    }
    let mut items: Vec<Value> = machine.items(&value)?.iter().collect();
    items.reverse();
    generator(machine, items)
}

pub(super) fn join(machine: &mut Machine<'_>, value: Value, args: CallArgs) -> Outcome<Value> {
    let [separator, attribute] = args.bind("join", ["d", "attribute"])?;
    let meter = machine.meter.clone();
    let separator = text_of(&meter, &separator.unwrap_or(Value::Text(Text::Literal("".into()))))?;
    let path = path(attribute)?;
    let mut out = Builder::new(&meter)?;
    for (i, item) in machine.items(&value)?.iter().enumerate() {
        meter.steps(1)?;
        out.push(if i > 0 { &separator } else { "" })?;
        print(&meter, &follow(machine, item, &path)?, &mut out)?;
    }
    Ok(Value::Text(out.finish()))
}

/// The keys of an attribute such as `address.city` or `0.name`.
pub(super) fn path(attribute: Option<Value>) -> Outcome<Vec<Value>> {
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

pub(super) fn follow(machine: &Machine<'_>, value: Value, path: &[Value]) -> Outcome<Value> {
    path.iter().try_fold(value, |value, key| machine.subscript(&value, key))
}

/// The attribute that `map` and `sort` take, with small letters for large ones unless case matters.
pub(super) fn sort_key(machine: &Machine<'_>, value: Value, path: &[Value], case_sensitive: bool) -> Outcome<Value> {
    match follow(machine, value, path)? {
        Value::Text(text) if !case_sensitive => machine.text(&text.to_lowercase()),
        value => Ok(value),
    }
}

/// Items to select from. What is false has none, even what cannot be iterated over: `none|selectattr(…)` is empty.
pub(super) fn items_if_true(machine: &Machine<'_>, value: &Value) -> Outcome<Rc<Seq>> {
    if value.is_true() { machine.items(value) } else { Seq::new(&machine.meter, SeqKind::List, Vec::new()) }
}

pub(super) fn map(machine: &mut Machine<'_>, value: Value, mut args: CallArgs) -> Outcome<Value> {
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
pub(super) fn select(
    machine: &mut Machine<'_>,
    value: Value,
    args: CallArgs,
    by_attribute: bool,
    keep: bool,
) -> Outcome<Value> {
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

pub(super) fn sorted(machine: &mut Machine<'_>, value: Value, args: CallArgs) -> Outcome<Value> {
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

pub(super) fn sort_pairs(machine: &Machine<'_>, pairs: &mut Vec<(Value, Value)>, reverse: bool) -> Outcome<()> {
    sort(pairs, |a, b| {
        machine.meter.steps(1)?;
        let order = compare(&machine.meter, &a.0, &b.0)?;
        Ok(if reverse { order.reverse() } else { order })
    })
}

pub(super) fn dictsort(machine: &mut Machine<'_>, value: Value, args: CallArgs) -> Outcome<Value> {
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
pub(super) fn unique(machine: &mut Machine<'_>, value: Value, args: CallArgs) -> Outcome<Value> {
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

pub(super) fn extreme(machine: &mut Machine<'_>, value: Value, args: CallArgs, largest: bool) -> Outcome<Value> {
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

pub(super) fn sum(machine: &mut Machine<'_>, value: Value, args: CallArgs) -> Outcome<Value> {
    let [attribute, start] = args.bind("sum", ["attribute", "start"])?;
    let path = path(attribute)?;
    let mut sum = start.unwrap_or(Value::Int(0));
    for item in machine.items(&value)?.iter() {
        machine.meter.steps(1)?;
        let item = follow(machine, item, &path)?;
        sum = binary(&machine.meter, Operator::Add, &sum, &item)?;
    }
    Ok(sum)
}

/// Lists of so many items.
pub(super) fn batch(machine: &mut Machine<'_>, value: Value, args: CallArgs) -> Outcome<Value> {
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
pub(super) fn slice(machine: &mut Machine<'_>, value: Value, args: CallArgs) -> Outcome<Value> {
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
pub(super) fn groupby(machine: &mut Machine<'_>, value: Value, args: CallArgs) -> Outcome<Value> {
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
