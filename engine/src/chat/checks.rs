//! Tests: what may stand after `is`.

use alloc::format;

use super::ast::Comparison;
use super::eval::{CallArgs, Machine};
use super::filters;
use super::meter::{Outcome, expected};
use super::ops::compares;
use super::value::{SeqKind, Value, describe};

const NAMES: [&str; 38] = [
    "boolean",
    "callable",
    "defined",
    "divisibleby",
    "eq",
    "equalto",
    "escaped",
    "even",
    "false",
    "filter",
    "float",
    "ge",
    "greaterthan",
    "gt",
    "in",
    "integer",
    "iterable",
    "le",
    "lessthan",
    "lower",
    "lt",
    "mapping",
    "ne",
    "none",
    "number",
    "odd",
    "sameas",
    "sequence",
    "string",
    "test",
    "true",
    "undefined",
    "upper",
    "==",
    "!=",
    "<",
    ">",
    ">=",
];

/// Whether a value passes a test.
pub(super) fn check(machine: &Machine<'_>, name: &str, value: &Value, args: CallArgs) -> Outcome<bool> {
    if let Some(comparison) = comparison(name) {
        let [other] = args.bind(name, ["other"])?;
        let other = other.ok_or_else(|| format!("test {name:?} takes 1 argument, found 0"))?;
        return compares(&machine.meter, comparison, value, &other);
    }
    match name {
        "divisibleby" | "even" | "odd" => divides(name, value, args),
        "filter" | "test" => {
            let Value::Text(text) = value else { return Err(expected("a name", &describe(value))) };
            Ok(if name == "filter" { filters::find(text).is_some() } else { NAMES.contains(&&**text) })
        }
        "sameas" => {
            let [other] = args.bind(name, ["other"])?;
            Ok(other.is_some_and(|other| same(value, &other)))
        }
        _ => {
            let [] = args.bind(name, [])?;
            property(machine, name, value)
        }
    }
}

fn comparison(name: &str) -> Option<Comparison> {
    Some(match name {
        "eq" | "equalto" | "==" => Comparison::Equal,
        "ne" | "!=" => Comparison::NotEqual,
        "lt" | "lessthan" | "<" => Comparison::Less,
        "le" | "<=" => Comparison::LessOrEqual,
        "gt" | "greaterthan" | ">" => Comparison::Greater,
        "ge" | ">=" => Comparison::GreaterOrEqual,
        "in" => Comparison::In,
        _ => return None,
    })
}

fn divides(name: &str, value: &Value, args: CallArgs) -> Outcome<bool> {
    let [divisor] = args.bind(name, ["num"])?;
    let number = value.as_index().ok_or_else(|| expected("a whole number", &describe(value)))?;
    match (name, divisor) {
        ("even", _) => Ok(number % 2 == 0),
        ("odd", _) => Ok(number % 2 != 0),
        (_, divisor) => {
            let divisor = divisor.and_then(|divisor| divisor.as_index()).filter(|divisor| *divisor != 0);
            let divisor = divisor.ok_or("divisibleby takes a whole number that is not 0")?;
            Ok(number.checked_rem(divisor).unwrap_or(0) == 0)
        }
    }
}

/// Python's `is`, as far as values have an identity.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::None, Value::None) => true,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::Int(a), Value::Int(b)) => a == b,
        (Value::Text(a), Value::Text(b)) => **a == **b,
        (Value::Seq(a), Value::Seq(b)) => alloc::rc::Rc::ptr_eq(a, b),
        (Value::Dict(a), Value::Dict(b)) | (Value::Namespace(a), Value::Namespace(b)) => alloc::rc::Rc::ptr_eq(a, b),
        _ => false,
    }
}

fn property(machine: &Machine<'_>, name: &str, value: &Value) -> Outcome<bool> {
    Ok(match name {
        "boolean" => matches!(value, Value::Bool(_)),
        "callable" => matches!(value, Value::Macro(_) | Value::Function(_) | Value::Method(_) | Value::Loop(_)),
        "defined" => !value.is_undefined(),
        "undefined" => value.is_undefined(),
        "escaped" => false,
        "false" => matches!(value, Value::Bool(false)),
        "true" => matches!(value, Value::Bool(true)),
        "none" => matches!(value, Value::None),
        "integer" => matches!(value, Value::Int(_)),
        "float" => matches!(value, Value::Float(_)),
        "number" => value.as_float().is_some(),
        "string" => matches!(value, Value::Text(_)),
        "mapping" => matches!(value, Value::Dict(_)),
        "iterable" => is_iterable(value),
        "sequence" => is_iterable(value) && !matches!(value, Value::Seq(seq) if seq.kind == SeqKind::Generator),
        "lower" => has_case(machine, value, char::is_uppercase)?,
        "upper" => has_case(machine, value, char::is_lowercase)?,
        _ => return Err(format!("unknown test {name:?}").into()),
    })
}

fn is_iterable(value: &Value) -> bool {
    matches!(value, Value::Undefined(_) | Value::Text(_) | Value::Seq(_) | Value::Dict(_))
}

/// Whether a text has letters with case, and none of the other case.
fn has_case(machine: &Machine<'_>, value: &Value, other: fn(char) -> bool) -> Outcome<bool> {
    let text = super::print::text_of(&machine.meter, value)?;
    machine.meter.bytes(text.len())?;
    Ok(text.chars().any(|c| c.is_uppercase() || c.is_lowercase()) && !text.chars().any(other))
}
