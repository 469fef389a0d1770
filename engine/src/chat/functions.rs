//! The functions that every template has.

use alloc::vec::Vec;

use super::eval::{CallArgs, Changeable, Machine};
use super::meter::{Fault, Outcome, expected};
use super::print::text_of;
use super::value::{Dict, Function, Value, describe};

/// The longest `range`, as Jinja's sandbox has it.
const MAX_RANGE: i128 = 100_000;

pub(super) fn call(machine: &mut Machine<'_>, function: Function, args: CallArgs) -> Outcome<Value> {
    match function {
        Function::Range => range(machine, args),
        Function::Dict => Ok(Value::Dict(dict(machine, args)?)),
        Function::Namespace => {
            let dict = dict(machine, args)?;
            machine.remember(Changeable::Dict(dict.clone()))?;
            Ok(Value::Namespace(dict))
        }
        Function::RaiseException => {
            let [message] = args.bind("raise_exception", ["message"])?;
            let message = text_of(&machine.meter, &message.unwrap_or(Value::None))?;
            Err(Fault::Raised((*message).into()))
        }
        Function::StrftimeNow => strftime_now(machine, args),
    }
}

fn range(machine: &Machine<'_>, args: CallArgs) -> Outcome<Value> {
    let [first, second, step] = args.bind("range", ["start", "stop", "step"])?;
    let int = |value: Value| value.as_index().ok_or_else(|| expected("a whole number for range", &describe(&value)));
    let first = int(first.ok_or("range takes 1 to 3 arguments, found 0")?)?;
    let (start, stop) = match second {
        Some(stop) => (first, int(stop)?),
        None => (0, first),
    };
    let step = step.map_or(Ok(1), int)?;
    if step == 0 {
        return Err("range cannot have a step of 0".into());
    }
    let span = if step > 0 { stop.saturating_sub(start) } else { start.saturating_sub(stop) };
    let count = if span > 0 { (span - 1) / step.saturating_abs() + 1 } else { 0 };
    if count > MAX_RANGE {
        return Err("range is longer than 100000".into());
    }
    let items: Vec<Value> = (0..count).map(|i| Value::Int(start + i * step)).collect();
    Value::list(&machine.meter, items)
}

/// `dict(other, name=value, …)`.
fn dict(machine: &Machine<'_>, args: CallArgs) -> Outcome<alloc::rc::Rc<Dict>> {
    let dict = Dict::new(&machine.meter)?;
    for value in args.positional {
        update(machine, &dict, &value)?;
    }
    for (name, value) in args.named {
        dict.set(&machine.meter, Value::Text(name), value)?;
    }
    Ok(dict)
}

/// Adds the entries of another dict, or pairs of a list.
pub(super) fn update(machine: &Machine<'_>, dict: &Dict, other: &Value) -> Outcome<()> {
    if let Value::Dict(other) | Value::Namespace(other) = other {
        for (key, value) in other.iter() {
            dict.set(&machine.meter, key, value)?;
        }
        return Ok(());
    }
    for pair in machine.items(other)?.iter() {
        let pair = machine.items(&pair)?;
        match (pair.get(0), pair.get(1), pair.len()) {
            (Some(key), Some(value), 2) => dict.set(&machine.meter, key, value)?,
            _ => return Err("expected pairs to make a dict of".into()),
        }
    }
    Ok(())
}

fn strftime_now(machine: &Machine<'_>, args: CallArgs) -> Outcome<Value> {
    let [format] = args.bind("strftime_now", ["format"])?;
    match (format, machine.now) {
        (Some(Value::Text(format)), Some(now)) => {
            // A directive writes at most some 30 bytes, for two of the format.
            machine.meter.charge(format.len().saturating_mul(16))?;
            machine.text(&now.format(&format))
        }
        (other, _) => Err(expected("a format for strftime_now", &describe(&other.unwrap_or(Value::None)))),
    }
}
