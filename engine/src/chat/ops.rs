//! Operators and slices.

use alloc::format;
use alloc::rc::Rc;
use alloc::vec::Vec;

use super::ast::{Comparison, Operator};
use super::format::printf;
use super::meter::{Builder, Meter, Outcome, expected};
use super::value::{Seq, SeqKind, Value, compare, describe, equal};

/// `-x` or `+x`.
pub(super) fn sign(value: Value, negative: bool) -> Outcome<Value> {
    match (&value, value.as_index()) {
        (_, Some(int)) if negative => Ok(Value::Int(int.checked_neg().ok_or("the number is too large")?)),
        (_, Some(int)) => Ok(Value::Int(int)),
        (Value::Float(float), _) => Ok(Value::Float(if negative { -float } else { *float })),
        _ => Err(expected("a number after a sign", &describe(&value))),
    }
}

/// Applies an arithmetic operator.
pub(super) fn binary(meter: &Rc<Meter>, operator: Operator, left: &Value, right: &Value) -> Outcome<Value> {
    if let Some(value) = on_sequences(meter, operator, left, right)? {
        return Ok(value);
    }
    if let (Some(a), Some(b)) = (left.as_index(), right.as_index()) {
        return integers(operator, a, b);
    }
    match (left.as_float(), right.as_float()) {
        (Some(a), Some(b)) => floats(operator, a, b),
        _ => {
            let symbol = symbol(operator);
            Err(format!("cannot calculate {} {symbol} {}", describe(left), describe(right)).into())
        }
    }
}

fn symbol(operator: Operator) -> &'static str {
    match operator {
        Operator::Add => "+",
        Operator::Subtract => "-",
        Operator::Multiply => "*",
        Operator::Divide => "/",
        Operator::FloorDivide => "//",
        Operator::Modulo => "%",
        Operator::Power => "**",
    }
}

/// What operators do to texts, lists and tuples.
fn on_sequences(meter: &Rc<Meter>, operator: Operator, left: &Value, right: &Value) -> Outcome<Option<Value>> {
    Ok(Some(match (operator, left, right) {
        (Operator::Add, Value::Text(a), Value::Text(b)) => {
            let mut out = Builder::new(meter)?;
            out.push(a)?;
            out.push(b)?;
            Value::Text(out.finish())
        }
        (Operator::Add, Value::Seq(a), Value::Seq(b)) if a.kind == b.kind && a.kind != SeqKind::Generator => {
            Value::Seq(Seq::new(meter, a.kind, a.iter().chain(b.iter()).collect())?)
        }
        (Operator::Multiply, Value::Text(_) | Value::Seq(_), times) if times.as_index().is_some() => {
            repeat(meter, left, times)?
        }
        (Operator::Multiply, times, Value::Text(_) | Value::Seq(_)) if times.as_index().is_some() => {
            repeat(meter, right, times)?
        }
        (Operator::Modulo, Value::Text(template), args) => Value::Text(printf(meter, template, args)?),
        _ => return Ok(None),
    }))
}

fn repeat(meter: &Rc<Meter>, value: &Value, times: &Value) -> Outcome<Value> {
    let times = usize::try_from(times.as_index().unwrap_or(0).max(0)).unwrap_or(usize::MAX);
    if let Value::Text(text) = value {
        let mut out = Builder::new(meter)?;
        out.repeat(text, times)?;
        return Ok(Value::Text(out.finish()));
    }
    let Value::Seq(seq) = value else { return Err(expected("a list to repeat", value.type_name())) };
    // The memory is claimed before it is taken.
    let room = meter.charge(seq.len().saturating_mul(times).saturating_mul(size_of::<Value>()))?;
    let items: Vec<Value> = (0..times).filter(|_| seq.len() > 0).flat_map(|_| seq.iter()).collect();
    drop(room);
    Ok(Value::Seq(Seq::new(meter, seq.kind, items)?))
}

fn integers(operator: Operator, a: i128, b: i128) -> Outcome<Value> {
    let by_zero = matches!(operator, Operator::Divide | Operator::FloorDivide | Operator::Modulo) && b == 0;
    if by_zero {
        return Err("division by zero".into());
    }
    let value = match operator {
        Operator::Add => a.checked_add(b),
        Operator::Subtract => a.checked_sub(b),
        Operator::Multiply => a.checked_mul(b),
        Operator::Divide => return Ok(Value::Float(a as f64 / b as f64)),
        // Rounds down, so that the remainder has the sign of the divisor.
        Operator::FloorDivide => {
            a.checked_div(b).map(|quotient| quotient - i128::from(a % b != 0 && (a % b < 0) != (b < 0)))
        }
        Operator::Modulo => {
            a.checked_rem(b).map(|rest| if rest != 0 && (rest < 0) != (b < 0) { rest + b } else { rest })
        }
        Operator::Power if b < 0 => return floats(operator, a as f64, b as f64),
        Operator::Power => u32::try_from(b).ok().and_then(|b| a.checked_pow(b)),
    };
    value.map(Value::Int).ok_or_else(|| "the result is too large".into())
}

fn floats(operator: Operator, a: f64, b: f64) -> Outcome<Value> {
    let divides = matches!(operator, Operator::Divide | Operator::FloorDivide | Operator::Modulo);
    if b == 0.0 && divides || operator == Operator::Power && a == 0.0 && b < 0.0 {
        return Err("division by zero".into());
    }
    Ok(Value::Float(match operator {
        Operator::Add => a + b,
        Operator::Subtract => a - b,
        Operator::Multiply => a * b,
        Operator::Divide => a / b,
        Operator::FloorDivide => libm::floor(a / b),
        Operator::Modulo => {
            let rest = a % b;
            if rest != 0.0 && (rest < 0.0) != (b < 0.0) { rest + b } else { rest }
        }
        Operator::Power => libm::pow(a, b),
    }))
}

/// Whether a comparison holds.
pub(super) fn compares(meter: &Meter, comparison: Comparison, left: &Value, right: &Value) -> Outcome<bool> {
    Ok(match comparison {
        Comparison::Equal => equal(meter, left, right)?,
        Comparison::NotEqual => !equal(meter, left, right)?,
        Comparison::Less => compare(meter, left, right)?.is_lt(),
        Comparison::LessOrEqual => compare(meter, left, right)?.is_le(),
        Comparison::Greater => compare(meter, left, right)?.is_gt(),
        Comparison::GreaterOrEqual => compare(meter, left, right)?.is_ge(),
        Comparison::In => contains(meter, right, left)?,
        Comparison::NotIn => !contains(meter, right, left)?,
    })
}

/// Python's `in`.
pub(super) fn contains(meter: &Meter, container: &Value, value: &Value) -> Outcome<bool> {
    match (container, value) {
        (Value::Text(text), Value::Text(part)) => {
            meter.bytes(text.len())?;
            Ok(text.contains(&**part))
        }
        (Value::Text(_), other) => Err(expected("a string to look for in a string", &describe(other))),
        (Value::Seq(seq), value) => {
            for item in seq.iter() {
                meter.steps(1)?;
                if equal(meter, &item, value)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        (Value::Dict(dict), key) => Ok(dict.get(meter, key)?.is_some()),
        (Value::Undefined(_), _) => Ok(false),
        (other, _) => Err(expected("something to look into", &describe(other))),
    }
}

/// `value[start:stop:step]` of a text, list or tuple; undefined for others.
pub(super) fn slice(meter: &Rc<Meter>, value: &Value, bounds: [Option<i128>; 3]) -> Outcome<Value> {
    match value {
        Value::Text(text) => slice_text(meter, text, bounds),
        Value::Seq(seq) if seq.kind != SeqKind::Generator => {
            let indices = indices(seq.len(), bounds)?;
            meter.steps(indices.len())?;
            let items = indices.iter().filter_map(|i| seq.get(i)).collect();
            Ok(Value::Seq(Seq::new(meter, seq.kind, items)?))
        }
        Value::Undefined(name) => Err(format!("{:?} is undefined", &**name).into()),
        _ => Value::undefined(meter, "slice"),
    }
}

fn slice_text(meter: &Rc<Meter>, text: &str, bounds: [Option<i128>; 3]) -> Outcome<Value> {
    meter.bytes(text.len())?;
    let mut out = Builder::new(meter)?;
    if text.is_ascii() {
        let indices = indices(text.len(), bounds)?;
        if indices.step == 1 {
            out.push(&text[indices.first..indices.first + indices.len()])?;
            return Ok(Value::Text(out.finish()));
        }
    }
    // Characters do not all have the same length: their places are listed first.
    let places = meter.charge(text.len().saturating_mul(size_of::<char>()))?;
    let chars: Vec<char> = text.chars().collect();
    for c in indices(chars.len(), bounds)?.iter().filter_map(|i| chars.get(i)) {
        out.push_char(*c)?;
    }
    drop(places);
    Ok(Value::Text(out.finish()))
}

/// The indices of a slice.
struct Indices {
    first: usize,
    step: i128,
    count: usize,
}

impl Indices {
    fn len(&self) -> usize {
        self.count
    }

    fn iter(&self) -> impl Iterator<Item = usize> {
        let (first, step) = (self.first as i128, self.step);
        (0..self.count).map(move |i| (first + i as i128 * step) as usize)
    }
}

/// Bounds count from the end when negative, and are cut to the length.
fn indices(length: usize, [start, stop, step]: [Option<i128>; 3]) -> Outcome<Indices> {
    let step = step.unwrap_or(1).clamp(-(1 << 64), 1 << 64);
    if step == 0 {
        return Err("a slice cannot have a step of 0".into());
    }
    let length = length as i128;
    let (low, high) = if step > 0 { (0, length) } else { (-1, length - 1) };
    let place = |bound: i128| (if bound < 0 { bound.saturating_add(length) } else { bound }).clamp(low, high);
    let start = start.map_or(if step > 0 { low } else { high }, place);
    let stop = stop.map_or(if step > 0 { high } else { low }, place);
    let span = if step > 0 { stop - start } else { start - stop };
    let count = if span > 0 { (span - 1) / step.abs() + 1 } else { 0 };
    Ok(Indices { first: start.max(0) as usize, step, count: count as usize })
}
