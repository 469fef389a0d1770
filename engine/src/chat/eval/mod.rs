//! Runs a parsed template.
//!
//! A [`Machine`] walks the program. Variables live in [`Scope`]s, one inside the other as Jinja's blocks are: a loop, a
//! macro or a `with` has its own, an `if` has not. A macro keeps the scope that it was defined in. Such cycles, and
//! those of lists that hold themselves, are undone when the machine goes: it remembers whatever can be changed.

mod expressions;
mod statements;
mod values;

use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};

use super::DateTime;
use super::ast::{Program, Symbol};
use super::meter::{Builder, Charge, Fault, Meter, Outcome, Text, expected};
use super::value::{Dict, Function, Seq, SeqKind, Value, describe};

/// How deep scopes may nest: blocks within blocks, and macros defined within macros.
const MAX_SCOPES: usize = 250;
/// What a scope or a macro is counted as, in bytes.
const SCOPE_BYTES: usize = 256;
/// Names that are looked at in the time of a step.
const NAMES_PER_STEP: usize = 16;
/// What remembering something is counted as, in bytes.
const REMEMBERED_BYTES: usize = 64;
/// Items that `*list` may give to a call.
const MAX_ARGS: usize = 1000;

/// Variables, and the scope around.
#[derive(Debug, Clone)]
pub(super) struct Scope(Rc<Frame>);

#[derive(Debug)]
struct Frame {
    variables: RefCell<Vec<(Symbol, Value)>>,
    outer: Option<Scope>,
    depth: usize,
    _charge: Charge,
}

impl Scope {
    pub fn new(meter: &Rc<Meter>, outer: Option<&Scope>) -> Outcome<Scope> {
        let depth = outer.map_or(0, |outer| outer.0.depth + 1);
        if depth > MAX_SCOPES {
            return Err(Fault::Limit("nests scopes too deep"));
        }
        let charge = meter.charge(SCOPE_BYTES)?;
        Ok(Scope(Rc::new(Frame { variables: RefCell::default(), outer: outer.cloned(), depth, _charge: charge })))
    }

    fn get(&self, meter: &Meter, name: Symbol) -> Outcome<Option<Value>> {
        let mut scope = Some(self);
        while let Some(Scope(frame)) = scope {
            let variables = frame.variables.borrow();
            meter.steps(variables.len() / NAMES_PER_STEP)?;
            if let Some((_, value)) = variables.iter().find(|(known, _)| *known == name) {
                return Ok(Some(value.clone()));
            }
            scope = frame.outer.as_ref();
        }
        Ok(None)
    }

    pub fn set(&self, meter: &Meter, name: Symbol, value: Value) -> Outcome<()> {
        let mut variables = self.0.variables.borrow_mut();
        meter.steps(variables.len() / NAMES_PER_STEP)?;
        match variables.iter_mut().find(|(known, _)| *known == name) {
            Some(variable) => variable.1 = value,
            None => variables.push((name, value)),
        }
        Ok(())
    }

    fn clear(&self) {
        let variables = self.0.variables.take();
        drop(variables);
    }
}

/// A macro with the scope it was defined in.
#[derive(Debug)]
pub(super) struct MacroValue {
    id: usize,
    scope: Scope,
    _charge: Charge,
}

/// What `loop` is.
#[derive(Debug)]
pub(super) struct LoopState {
    /// Index into [`Program::loops`].
    id: usize,
    scope: Scope,
    pub items: Rc<Seq>,
    pub index: Cell<usize>,
    /// How many recursive loops are around.
    pub depth: usize,
    pub changed: RefCell<Option<Value>>,
}

/// Something that can be changed, and so may hold itself.
#[derive(Debug)]
pub(super) enum Changeable {
    Seq(Rc<Seq>),
    Dict(Rc<Dict>),
    Scope(Scope),
}

/// The arguments of a call.
#[derive(Debug, Clone, Default)]
pub(super) struct CallArgs {
    pub positional: Vec<Value>,
    pub named: Vec<(Text, Value)>,
}

impl CallArgs {
    pub fn of(positional: Vec<Value>) -> CallArgs {
        CallArgs { positional, named: Vec::new() }
    }

    /// Sorts the arguments to parameters, in order or by name.
    pub fn bind<const N: usize>(self, callee: &str, params: [&str; N]) -> Outcome<[Option<Value>; N]> {
        if self.positional.len() > N {
            return Err(format!("{callee} takes {N} arguments, found {}", self.positional.len()).into());
        }
        let mut positional = self.positional.into_iter();
        let mut bound = params.map(|_| positional.next());
        for (name, value) in self.named {
            let Some(at) = params.iter().position(|param| **param == *name) else {
                return Err(format!("{callee} has no parameter {:?}", &*name).into());
            };
            if bound[at].is_some() {
                return Err(format!("{callee} has two values for {:?}", &*name).into());
            }
            bound[at] = Some(value);
        }
        Ok(bound)
    }
}

/// Where to go on after a statement.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Flow {
    Next,
    Break,
    Continue,
}

pub(super) struct Machine<'p> {
    program: &'p Program,
    pub meter: Rc<Meter>,
    pub now: Option<DateTime>,
    /// The line of the current tag.
    pub line: u32,
    out: Builder,
    implied: Implied,
    changeable: Vec<Changeable>,
    remembered: Charge,
}

/// The names that statements define by themselves, where the template uses them.
struct Implied {
    loop_state: Option<Symbol>,
    caller: Option<Symbol>,
    varargs: Option<Symbol>,
    kwargs: Option<Symbol>,
}

impl Drop for Machine<'_> {
    fn drop(&mut self) {
        for thing in &self.changeable {
            match thing {
                Changeable::Seq(seq) => seq.clear(),
                Changeable::Dict(dict) => dict.clear(),
                Changeable::Scope(scope) => scope.clear(),
            }
        }
    }
}

impl<'p> Machine<'p> {
    pub fn new(program: &'p Program, meter: Rc<Meter>, now: Option<DateTime>) -> Outcome<Machine<'p>> {
        let symbol = |name: &str| program.names.iter().position(|known| **known == *name).map(|i| i as Symbol);
        Ok(Machine {
            program,
            now,
            line: 1,
            out: Builder::new(&meter)?,
            implied: Implied {
                loop_state: symbol("loop"),
                caller: symbol("caller"),
                varargs: symbol("varargs"),
                kwargs: symbol("kwargs"),
            },
            changeable: Vec::new(),
            remembered: meter.charge(0)?,
            meter,
        })
    }

    /// Runs the template with these variables.
    pub fn run(&mut self, variables: &[(&str, Value)]) -> Outcome<()> {
        let scope = Scope::new(&self.meter, None)?;
        self.remember(Changeable::Scope(scope.clone()))?;
        let names = &self.program.names;
        for (symbol, name) in names.iter().enumerate() {
            let given = variables.iter().rev().find(|(known, _)| **known == **name);
            let value = given.map(|(_, value)| value.clone()).or_else(|| self.function(name));
            if let Some(value) = value {
                scope.set(&self.meter, symbol as Symbol, value)?;
            }
        }
        let inner = Scope::new(&self.meter, Some(&scope))?;
        self.remember(Changeable::Scope(inner.clone()))?;
        self.block(&self.program.body, &inner)?;
        Ok(())
    }

    pub fn output(&mut self) -> Outcome<String> {
        let empty = Builder::new(&self.meter)?;
        Ok(core::mem::replace(&mut self.out, empty).into_string())
    }

    fn function(&self, name: &str) -> Option<Value> {
        Some(Value::Function(match name {
            "range" => Function::Range,
            "dict" => Function::Dict,
            "namespace" => Function::Namespace,
            "raise_exception" => Function::RaiseException,
            "strftime_now" if self.now.is_some() => Function::StrftimeNow,
            _ => return None,
        }))
    }

    /// Remembers something to be emptied in the end.
    pub fn remember(&mut self, thing: Changeable) -> Outcome<()> {
        if let (Some(Changeable::Scope(Scope(last))), Changeable::Scope(Scope(scope))) =
            (self.changeable.last(), &thing)
            && Rc::ptr_eq(last, scope)
        {
            return Ok(());
        }
        self.remembered.grow(REMEMBERED_BYTES)?;
        self.changeable.push(thing);
        Ok(())
    }

    pub fn text(&self, text: &str) -> Outcome<Value> {
        Value::text(&self.meter, text)
    }

    /// What a value iterates over: items, keys, or characters.
    pub fn items(&self, value: &Value) -> Outcome<Rc<Seq>> {
        let items = match value {
            Value::Seq(seq) => return Ok(seq.clone()),
            Value::Undefined(_) => Vec::new(),
            Value::Dict(dict) => dict.iter().map(|(key, _)| key).collect(),
            Value::Text(text) => {
                self.meter.steps(text.len())?;
                let chars = text.char_indices().map(|(i, c)| self.text(&text[i..i + c.len_utf8()]));
                chars.collect::<Outcome<Vec<Value>>>()?
            }
            other => return Err(expected("something to iterate over", &describe(other))),
        };
        Seq::new(&self.meter, SeqKind::List, items)
    }
}
