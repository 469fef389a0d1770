//! Filters of single values: numbers, defaults, JSON.

use alloc::format;

use super::super::eval::{CallArgs, Machine};
use super::super::lexer::is_space;
use super::super::meter::{Builder, Outcome, Text, expected};
use super::super::methods;
use super::super::print::JsonStyle;
use super::super::value::{Value, describe};
use super::{is_set, to_index, to_len};

pub(super) fn abs(_: &mut Machine<'_>, value: Value, args: CallArgs) -> Outcome<Value> {
    let [] = args.bind("abs", [])?;
    match (value.as_index(), value.as_float()) {
        (Some(int), _) => Ok(Value::Int(int.checked_abs().ok_or("the number is too large")?)),
        (None, Some(float)) => Ok(Value::Float(float.abs())),
        _ => Err(expected("a number", &describe(&value))),
    }
}

pub(super) fn attr(machine: &mut Machine<'_>, value: Value, args: CallArgs) -> Outcome<Value> {
    match args.bind("attr", ["name"])? {
        [Some(Value::Text(name))] if methods::exists(&value, &name) => machine.attribute(&value, name),
        [Some(Value::Text(name))] => Ok(Value::Undefined(name)),
        _ => Err("attr takes the name of an attribute".into()),
    }
}

pub(super) fn default(_: &mut Machine<'_>, value: Value, args: CallArgs) -> Outcome<Value> {
    let [default, boolean] = args.bind("default", ["default_value", "boolean"])?;
    let missing = value.is_undefined() || (is_set(&boolean) && !value.is_true());
    Ok(if missing { default.unwrap_or(Value::Text(Text::Literal("".into()))) } else { value })
}

/// Numbers are cut towards zero; texts are read; anything else gives the default.
pub(super) fn int(_: &mut Machine<'_>, value: Value, args: CallArgs) -> Outcome<Value> {
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

pub(super) fn float(_: &mut Machine<'_>, value: Value, args: CallArgs) -> Outcome<Value> {
    let [default] = args.bind("float", ["default"])?;
    let number = match &value {
        Value::Text(text) => text.trim_matches(is_space).parse().ok(),
        other => other.as_float(),
    };
    Ok(number.map(Value::Float).or(default).unwrap_or(Value::Float(0.0)))
}

/// Rounds half to even, or up or down. Whole numbers stay whole where half is rounded to even.
pub(super) fn round(_: &mut Machine<'_>, value: Value, args: CallArgs) -> Outcome<Value> {
    let [precision, method] = args.bind("round", ["precision", "method"])?;
    let number = value.as_float().ok_or_else(|| expected("a number", &describe(&value)))?;
    let precision = to_index(precision, 0)?.clamp(-300, 300) as i32;
    let to: fn(f64) -> f64 = match &method {
        Some(Value::Text(method)) if &**method == "ceil" => libm::ceil,
        Some(Value::Text(method)) if &**method == "floor" => libm::floor,
        None => libm::rint,
        Some(Value::Text(method)) if &**method == "common" => libm::rint,
        Some(other) => return Err(expected("common, ceil or floor", &describe(other))),
    };
    let common = !matches!(&method, Some(Value::Text(method)) if &**method != "common");
    if common && precision >= 0 {
        let digits = format!("{number:.*}", precision as usize);
        return Ok(if value.as_index().is_some() { value } else { Value::Float(digits.parse().unwrap_or(number)) });
    }
    let scale = libm::pow(10.0, f64::from(precision.abs()));
    let rounded = if precision < 0 { to(number / scale) * scale } else { to(number * scale) / scale };
    let whole = common && value.as_index().is_some() && rounded.abs() < 1e38;
    Ok(if whole { Value::Int(rounded as i128) } else { Value::Float(rounded) })
}

pub(super) fn tojson(machine: &mut Machine<'_>, value: Value, args: CallArgs) -> Outcome<Value> {
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

pub(super) fn from_json(machine: &mut Machine<'_>, value: Value, args: CallArgs) -> Outcome<Value> {
    let [] = args.bind("from_json", [])?;
    let Value::Text(text) = &value else { return Err(expected("a string of JSON", &describe(&value))) };
    // Parsed JSON takes up to some 40 bytes for one of its text.
    let room = machine.meter.charge(text.len().saturating_mul(40))?;
    let json: serde_json::Value = serde_json::from_str(text).map_err(|error| format!("bad JSON: {error}"))?;
    drop(room);
    Value::from_json(&machine.meter, &json)
}
