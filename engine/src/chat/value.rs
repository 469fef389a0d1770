//! What a template computes with: Python's values, as far as templates see them.

use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::cmp::Ordering;

use serde_json::Value as Json;

use super::eval::{LoopState, MacroValue};
use super::meter::{Builder, Charge, Fault, Meter, Outcome, Text};

/// How deep lists and dicts may nest.
const MAX_NESTING: usize = 128;
/// Bytes that a list, dict or tuple takes besides its items, and for each item.
const CONTAINER_BYTES: usize = 128;
const ITEM_BYTES: usize = size_of::<Value>();

#[derive(Debug, Clone)]
pub(super) enum Value {
    /// What is not there; the name that was looked up.
    Undefined(Text),
    None,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(Text),
    Seq(Rc<Seq>),
    Dict(Rc<Dict>),
    Namespace(Rc<Dict>),
    Macro(Rc<MacroValue>),
    Loop(Rc<LoopState>),
    Function(Function),
    /// A method with what it belongs to.
    Method(Rc<(Value, Text)>),
}

/// The functions that every template has.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Function {
    Range,
    Dict,
    Namespace,
    RaiseException,
    StrftimeNow,
}

/// How a sequence behaves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum SeqKind {
    List,
    Tuple,
    /// What `map`, `select` and their like give: it can be iterated over, and no more.
    Generator,
}

/// Items in order. Shared and mutable, as in Python: `append` shows through every name of the list.
#[derive(Debug)]
pub(super) struct Seq {
    pub kind: SeqKind,
    items: RefCell<Vec<Value>>,
    nesting: Cell<usize>,
    charge: RefCell<Charge>,
}

impl Seq {
    pub fn new(meter: &Rc<Meter>, kind: SeqKind, items: Vec<Value>) -> Outcome<Rc<Seq>> {
        let charge = meter.charge(CONTAINER_BYTES + items.len() * ITEM_BYTES)?;
        let nesting = nesting(items.iter())?;
        Ok(Rc::new(Seq { kind, items: RefCell::new(items), nesting: Cell::new(nesting), charge: RefCell::new(charge) }))
    }

    pub fn len(&self) -> usize {
        self.items.borrow().len()
    }

    pub fn get(&self, index: usize) -> Option<Value> {
        self.items.borrow().get(index).cloned()
    }

    /// The items one by one; those that are appended meanwhile come too.
    pub fn iter(&self) -> impl Iterator<Item = Value> + '_ {
        (0..).map_while(|i| self.get(i))
    }

    /// Puts an item before the one at an index.
    pub fn insert(&self, index: usize, item: Value) -> Outcome<()> {
        self.charge.borrow_mut().grow(ITEM_BYTES)?;
        self.nesting.set(self.nesting.get().max(nesting([&item].into_iter())?));
        let mut items = self.items.borrow_mut();
        let index = index.min(items.len());
        items.insert(index, item);
        Ok(())
    }

    /// Takes an item out; its bytes stay counted until the list goes.
    pub fn remove(&self, index: usize) -> Option<Value> {
        let mut items = self.items.borrow_mut();
        (index < items.len()).then(|| items.remove(index))
    }

    pub fn clear(&self) {
        let items = self.items.take();
        drop(items);
    }
}

/// Keys with values, in the order of insertion. Looked up one by one: a template's dicts are small, and the meter
/// counts.
#[derive(Debug)]
pub(super) struct Dict {
    entries: RefCell<Vec<(Value, Value)>>,
    nesting: Cell<usize>,
    charge: RefCell<Charge>,
}

impl Dict {
    pub fn new(meter: &Rc<Meter>) -> Outcome<Rc<Dict>> {
        let charge = RefCell::new(meter.charge(CONTAINER_BYTES)?);
        Ok(Rc::new(Dict { entries: RefCell::default(), nesting: Cell::new(1), charge }))
    }

    pub fn len(&self) -> usize {
        self.entries.borrow().len()
    }

    pub fn entry(&self, index: usize) -> Option<(Value, Value)> {
        self.entries.borrow().get(index).cloned()
    }

    /// The entries one by one.
    pub fn iter(&self) -> impl Iterator<Item = (Value, Value)> + '_ {
        (0..).map_while(|i| self.entry(i))
    }

    fn position(&self, meter: &Meter, key: &Value) -> Outcome<Option<usize>> {
        let entries = self.entries.borrow();
        meter.steps(entries.len() / 8)?;
        for (i, (found, _)) in entries.iter().enumerate() {
            if equal(meter, found, key)? {
                return Ok(Some(i));
            }
        }
        Ok(None)
    }

    pub fn get(&self, meter: &Meter, key: &Value) -> Outcome<Option<Value>> {
        let position = self.position(meter, key)?;
        Ok(position.and_then(|i| self.entry(i)).map(|(_, value)| value))
    }

    /// The value of a text key.
    pub fn get_text(&self, meter: &Meter, key: &str) -> Outcome<Option<Value>> {
        let entries = self.entries.borrow();
        meter.steps(entries.len() / 8)?;
        let is_key = |found: &Value| matches!(found, Value::Text(found) if **found == *key);
        Ok(entries.iter().find(|(found, _)| is_key(found)).map(|(_, value)| value.clone()))
    }

    pub fn set(&self, meter: &Meter, key: Value, value: Value) -> Outcome<()> {
        check_hashable(&key)?;
        self.nesting.set(self.nesting.get().max(nesting([&key, &value].into_iter())?));
        let position = self.position(meter, &key)?;
        let mut entries = self.entries.borrow_mut();
        match position.and_then(|i| entries.get_mut(i)) {
            Some(entry) => entry.1 = value,
            None => {
                self.charge.borrow_mut().grow(2 * ITEM_BYTES)?;
                entries.push((key, value));
            }
        }
        Ok(())
    }

    pub fn remove(&self, meter: &Meter, key: &Value) -> Outcome<Option<Value>> {
        let position = self.position(meter, key)?;
        Ok(position.map(|i| self.entries.borrow_mut().remove(i).1))
    }

    pub fn clear(&self) {
        let entries = self.entries.take();
        drop(entries);
    }
}

/// The nesting of a container of these items.
fn nesting<'v>(items: impl Iterator<Item = &'v Value>) -> Outcome<usize> {
    let nesting = 1 + items.map(Value::nesting).max().unwrap_or(0);
    if nesting > MAX_NESTING { Err(Fault::Limit("nests values too deep")) } else { Ok(nesting) }
}

fn check_hashable(key: &Value) -> Outcome<()> {
    match key {
        Value::Dict(_) => Err("a dict cannot be a key".into()),
        Value::Seq(seq) if seq.kind != SeqKind::Tuple => Err("a list cannot be a key".into()),
        _ => Ok(()),
    }
}

impl Value {
    /// Text, counted.
    pub fn text(meter: &Rc<Meter>, text: &str) -> Outcome<Value> {
        let mut builder = Builder::new(meter)?;
        builder.push(text)?;
        Ok(Value::Text(builder.finish()))
    }

    pub fn list(meter: &Rc<Meter>, items: Vec<Value>) -> Outcome<Value> {
        Ok(Value::Seq(Seq::new(meter, SeqKind::List, items)?))
    }

    pub fn tuple(meter: &Rc<Meter>, items: Vec<Value>) -> Outcome<Value> {
        Ok(Value::Seq(Seq::new(meter, SeqKind::Tuple, items)?))
    }

    /// What a name that is looked up in vain gives.
    pub fn undefined(meter: &Rc<Meter>, name: &str) -> Outcome<Value> {
        let Value::Text(name) = Value::text(meter, name)? else { return Ok(Value::None) };
        Ok(Value::Undefined(name))
    }

    pub fn from_json(meter: &Rc<Meter>, json: &Json) -> Outcome<Value> {
        match json {
            Json::Null => Ok(Value::None),
            Json::Bool(value) => Ok(Value::Bool(*value)),
            Json::Number(number) => Ok(match (number.as_i128(), number.as_f64()) {
                (Some(value), _) => Value::Int(value),
                (None, value) => Value::Float(value.unwrap_or(f64::NAN)),
            }),
            Json::String(text) => Value::text(meter, text),
            Json::Array(items) => meter.deeper(|| {
                let items: Outcome<Vec<Value>> = items.iter().map(|item| Value::from_json(meter, item)).collect();
                Value::list(meter, items?)
            }),
            Json::Object(entries) => meter.deeper(|| {
                let dict = Dict::new(meter)?;
                for (key, value) in entries {
                    dict.append(Value::text(meter, key)?, Value::from_json(meter, value)?)?;
                }
                Ok(Value::Dict(dict))
            }),
        }
    }

    fn nesting(&self) -> usize {
        match self {
            Value::Seq(seq) => seq.nesting.get(),
            Value::Dict(dict) => dict.nesting.get(),
            Value::Method(method) => method.0.nesting(),
            _ => 0,
        }
    }

    pub fn is_undefined(&self) -> bool {
        matches!(self, Value::Undefined(_))
    }

    /// The name of the type, as Python calls it.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Undefined(_) => "undefined",
            Value::None => "none",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Float(_) => "float",
            Value::Text(_) => "string",
            Value::Seq(seq) => match seq.kind {
                SeqKind::List => "list",
                SeqKind::Tuple => "tuple",
                SeqKind::Generator => "generator",
            },
            Value::Dict(_) => "dict",
            Value::Namespace(_) => "namespace",
            Value::Macro(_) => "macro",
            Value::Loop(_) => "loop",
            Value::Function(_) => "function",
            Value::Method(_) => "method",
        }
    }

    pub fn is_true(&self) -> bool {
        match self {
            Value::Undefined(_) | Value::None => false,
            Value::Bool(value) => *value,
            Value::Int(value) => *value != 0,
            Value::Float(value) => *value != 0.0,
            Value::Text(text) => !text.is_empty(),
            Value::Seq(seq) => seq.kind == SeqKind::Generator || seq.len() > 0,
            Value::Dict(dict) => dict.len() > 0,
            _ => true,
        }
    }

    /// The value as a whole number, where Python would take it as an index.
    pub fn as_index(&self) -> Option<i128> {
        match self {
            Value::Int(value) => Some(*value),
            Value::Bool(value) => Some(i128::from(*value)),
            _ => None,
        }
    }

    /// The value as a float, for numbers.
    pub fn as_float(&self) -> Option<f64> {
        match self {
            Value::Float(value) => Some(*value),
            _ => self.as_index().map(|value| value as f64),
        }
    }
}

impl Dict {
    /// Adds an entry whose key is known to be new.
    fn append(&self, key: Value, value: Value) -> Outcome<()> {
        self.nesting.set(self.nesting.get().max(nesting([&value].into_iter())?));
        self.charge.borrow_mut().grow(2 * ITEM_BYTES)?;
        self.entries.borrow_mut().push((key, value));
        Ok(())
    }
}

/// Python's `==`.
pub(super) fn equal(meter: &Meter, a: &Value, b: &Value) -> Outcome<bool> {
    match (a, b) {
        (Value::Text(a), Value::Text(b)) => {
            meter.bytes(a.len().min(b.len()))?;
            Ok(**a == **b)
        }
        (Value::Seq(a), Value::Seq(b)) => {
            if Rc::ptr_eq(a, b) {
                return Ok(true);
            }
            let same_shape = a.kind == b.kind && a.len() == b.len() && a.kind != SeqKind::Generator;
            meter.deeper(|| Ok(same_shape && all_equal(meter, a, b)?))
        }
        (Value::Dict(a), Value::Dict(b)) => meter.deeper(|| dicts_equal(meter, a, b)),
        (Value::Undefined(_), Value::Undefined(_)) | (Value::None, Value::None) => Ok(true),
        (Value::Namespace(a), Value::Namespace(b)) => Ok(Rc::ptr_eq(a, b)),
        (Value::Macro(a), Value::Macro(b)) => Ok(Rc::ptr_eq(a, b)),
        (Value::Function(a), Value::Function(b)) => Ok(a == b),
        _ => match (a.as_index(), b.as_index(), a.as_float(), b.as_float()) {
            (Some(a), Some(b), ..) => Ok(a == b),
            (_, _, Some(a), Some(b)) => Ok(a == b),
            _ => Ok(false),
        },
    }
}

fn all_equal(meter: &Meter, a: &Seq, b: &Seq) -> Outcome<bool> {
    for (a, b) in a.iter().zip(b.iter()) {
        meter.steps(1)?;
        if !equal(meter, &a, &b)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn dicts_equal(meter: &Meter, a: &Dict, b: &Dict) -> Outcome<bool> {
    if a.len() != b.len() {
        return Ok(false);
    }
    for (key, value) in a.iter() {
        meter.steps(1)?;
        match b.get(meter, &key)? {
            Some(other) if equal(meter, &value, &other)? => {}
            _ => return Ok(false),
        }
    }
    Ok(true)
}

/// Python's order, which only like values have.
pub(super) fn compare(meter: &Meter, a: &Value, b: &Value) -> Outcome<Ordering> {
    match (a, b) {
        (Value::Text(a), Value::Text(b)) => {
            meter.bytes(a.len().min(b.len()))?;
            Ok((**a).cmp(&**b))
        }
        (Value::Seq(x), Value::Seq(y)) if x.kind == y.kind && x.kind != SeqKind::Generator => {
            meter.deeper(|| compare_items(meter, x, y))
        }
        _ => match (a.as_index(), b.as_index(), a.as_float(), b.as_float()) {
            (Some(a), Some(b), ..) => Ok(a.cmp(&b)),
            (_, _, Some(a), Some(b)) => Ok(a.partial_cmp(&b).unwrap_or(Ordering::Greater)),
            _ => Err(format!("cannot compare {} with {}", describe(a), describe(b)).into()),
        },
    }
}

fn compare_items(meter: &Meter, a: &Seq, b: &Seq) -> Outcome<Ordering> {
    for (a, b) in a.iter().zip(b.iter()) {
        meter.steps(1)?;
        if !equal(meter, &a, &b)? {
            return compare(meter, &a, &b);
        }
    }
    Ok(a.len().cmp(&b.len()))
}

/// A value in a message: its type, or what is missing.
pub(super) fn describe(value: &Value) -> String {
    match value {
        Value::Undefined(name) => format!("undefined {:?}", &**name),
        other => other.type_name().into(),
    }
}
