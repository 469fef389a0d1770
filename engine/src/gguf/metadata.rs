//! The key-value part of a header.

use alloc::borrow::Cow;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::error::Error;
use super::strings::Strings;
use super::value::{Array, Value};

/// Metadata in file order, with typed access by key.
///
/// The accessors come in pairs: `u32(key)` gives `None` where the key is absent, `require_u32(key)` an
/// [`Error::MissingKey`]; both give [`Error::WrongType`] where it holds something else. Integers of any type are taken
/// wherever they fit, since writers disagree about which one a key should have.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Metadata {
    entries: Vec<(String, Value)>,
    /// Indices into `entries`, ascending by key.
    by_key: Vec<u32>,
}

impl Metadata {
    /// Metadata of these entries, or [`Error::DuplicateKey`].
    pub fn new(entries: Vec<(String, Value)>) -> Result<Self, Error> {
        let by_key = sort_by_name(&entries, |(key, _)| key).map_err(Error::DuplicateKey)?;
        Ok(Self { entries, by_key })
    }

    /// The value of `key`.
    pub fn get(&self, key: &str) -> Option<&Value> {
        let index = find_by_name(&self.entries, &self.by_key, key, |(key, _)| key)?;
        Some(&self.entries[index].1)
    }

    /// All entries, in file order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        self.entries.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn typed<'a, T>(
        &'a self,
        key: &str,
        expected: &'static str,
        convert: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let wrong = || Error::WrongType { key: key.to_string(), found: value.describe(), expected };
        convert(value).map(Some).ok_or_else(wrong)
    }
}

/// One row per accessor: its two names, what it returns, what messages call that, and the conversion.
macro_rules! accessors {
    ($($(#[$doc:meta])* $name:ident, $require:ident -> $type:ty, $expected:literal, $convert:expr;)*) => {
        impl Metadata {
            $(
                $(#[$doc])*
                pub fn $name(&self, key: &str) -> Result<Option<$type>, Error> {
                    self.typed(key, $expected, $convert)
                }

                $(#[$doc])*
                /// The key must be there.
                pub fn $require(&self, key: &str) -> Result<$type, Error> {
                    self.$name(key)?.ok_or_else(|| Error::MissingKey(key.to_string()))
                }
            )*
        }
    };
}

accessors! {
    /// A string.
    string, require_string -> &str, "a string", Value::as_str;
    /// A truth value.
    bool, require_bool -> bool, "a bool", Value::as_bool;
    /// An integer that fits `u32`.
    u32, require_u32 -> u32, "an integer that fits u32", Value::as_integer;
    /// An integer that fits `u64`.
    u64, require_u64 -> u64, "an integer that fits u64", Value::as_integer;
    /// An integer that fits `i64`.
    i64, require_i64 -> i64, "an integer that fits i64", Value::as_integer;
    /// A floating-point number; an `f64` is rounded.
    f32, require_f32 -> f32, "a floating-point number", |value| value.as_f64().map(|x| x as f32);
    /// An array of any type.
    array, require_array -> &Array, "an array", Value::as_array;
    /// An array of strings.
    strings, require_strings -> &Strings, "an array of strings", |value| match value.as_array()? {
        Array::String(strings) => Some(strings),
        _ => None,
    };
    /// An array of truth values.
    bools, require_bools -> &[bool], "an array of bools", |value| match value.as_array()? {
        Array::Bool(truths) => Some(truths.as_slice()),
        _ => None,
    };
    /// An array of bytes.
    u8s, require_u8s -> &[u8], "an array of u8", |value| match value.as_array()? {
        Array::U8(bytes) => Some(bytes.as_slice()),
        _ => None,
    };
    /// An array of integers that fit `i32`.
    i32s, require_i32s -> Cow<'_, [i32]>, "an array of integers that fit i32", |value| match value.as_array()? {
        Array::I32(numbers) => Some(Cow::Borrowed(numbers.as_slice())),
        other => other.integers().map(Cow::Owned),
    };
    /// An array of integers that fit `u32`.
    u32s, require_u32s -> Cow<'_, [u32]>, "an array of integers that fit u32", |value| match value.as_array()? {
        Array::U32(numbers) => Some(Cow::Borrowed(numbers.as_slice())),
        other => other.integers().map(Cow::Owned),
    };
    /// An array of floating-point numbers; those of an `f64` array are rounded.
    f32s, require_f32s -> Cow<'_, [f32]>, "an array of floating-point numbers", |value| value.as_array()?.floats();
}

/// Indices of `items` in ascending order of their names, or a name that occurs twice.
pub(super) fn sort_by_name<T>(items: &[T], name: impl Fn(&T) -> &String) -> Result<Vec<u32>, String> {
    let mut order: Vec<u32> = (0..items.len() as u32).collect();
    order.sort_unstable_by_key(|&index| name(&items[index as usize]));
    for pair in order.windows(2) {
        let [first, second] = [pair[0], pair[1]].map(|index| name(&items[index as usize]));
        if first == second {
            return Err(first.clone());
        }
    }
    Ok(order)
}

/// Where `wanted` is in `items`, given the order that [`sort_by_name`] found.
pub(super) fn find_by_name<T>(items: &[T], order: &[u32], wanted: &str, name: impl Fn(&T) -> &String) -> Option<usize> {
    let found = order.binary_search_by_key(&wanted, |&index| name(&items[index as usize])).ok()?;
    Some(order[found] as usize)
}
