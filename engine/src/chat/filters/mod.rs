//! Filters: what may stand after `|`.

mod lists;
mod text;
mod values;

use super::eval::{CallArgs, Machine};
use super::meter::{Outcome, expected};
use super::value::{Value, describe};

/// A filter's implementation.
pub(super) type Filter = fn(&mut Machine<'_>, Value, CallArgs) -> Outcome<Value>;

/// The filter of a name.
pub(super) fn find(name: &str) -> Option<Filter> {
    Some(match name {
        "abs" => values::abs,
        "attr" => values::attr,
        "batch" => lists::batch,
        "capitalize" | "center" | "lower" | "upper" => text::by_method(name),
        "count" | "length" => lists::length,
        "d" | "default" => values::default,
        "dictsort" => lists::dictsort,
        "e" | "escape" | "forceescape" => text::escape,
        "first" => lists::first,
        "float" => values::float,
        "format" => text::format,
        "from_json" | "fromjson" => values::from_json,
        "groupby" => lists::groupby,
        "indent" => text::indent,
        "int" => values::int,
        "items" => lists::items,
        "join" => lists::join,
        "last" => lists::last,
        "list" => lists::list,
        "map" => lists::map,
        "max" => |machine, value, args| lists::extreme(machine, value, args, true),
        "min" => |machine, value, args| lists::extreme(machine, value, args, false),
        "reject" => |machine, value, args| lists::select(machine, value, args, false, false),
        "rejectattr" => |machine, value, args| lists::select(machine, value, args, true, false),
        "replace" => text::replace,
        "reverse" => lists::reverse,
        "round" => values::round,
        "safe" => text::safe,
        "select" => |machine, value, args| lists::select(machine, value, args, false, true),
        "selectattr" => |machine, value, args| lists::select(machine, value, args, true, true),
        "slice" => lists::slice,
        "sort" => lists::sorted,
        "string" => text::string,
        "sum" => lists::sum,
        "title" => text::title,
        "tojson" => values::tojson,
        "trim" => text::trim,
        "unique" => lists::unique,
        "urlencode" => text::urlencode,
        "wordcount" => text::wordcount,
        _ => return None,
    })
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
