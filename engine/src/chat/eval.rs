//! Runs a parsed template.
//!
//! A [`Machine`] walks the program. Variables live in [`Scope`]s, one inside the other as Jinja's blocks are: a loop, a
//! macro or a `with` has its own, an `if` has not. A macro keeps the scope that it was defined in. Such cycles, and
//! those of lists that hold themselves, are undone when the machine goes: it remembers whatever can be changed.

use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};

use super::DateTime;
use super::ast::{Args, Expr, For, Link, Program, Stmt, StmtKind, Symbol, Target};
use super::meter::{Builder, Charge, Fault, Meter, Outcome, Text, expected};
use super::value::{Dict, Function, Seq, SeqKind, Value, describe, equal};
use super::{checks, filters, functions, methods, ops, print};

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

/// Statements.
impl<'p> Machine<'p> {
    fn block(&mut self, block: &'p [Stmt], scope: &Scope) -> Outcome<Flow> {
        self.meter.enter()?;
        for stmt in block {
            self.meter.steps(1)?;
            self.line = stmt.line;
            let flow = self.statement(&stmt.kind, scope)?;
            if flow != Flow::Next {
                self.meter.leave();
                return Ok(flow);
            }
        }
        self.meter.leave();
        Ok(Flow::Next)
    }

    fn statement(&mut self, stmt: &'p StmtKind, scope: &Scope) -> Outcome<Flow> {
        match stmt {
            StmtKind::Data(text) => self.out.push(text)?,
            StmtKind::Print(value) => {
                let value = self.eval(value, scope)?;
                print::print(&self.meter, &value, &mut self.out)?;
            }
            StmtKind::If(arms, otherwise) => return self.if_block(arms, otherwise, scope),
            StmtKind::For(id) => self.for_block(*id, scope)?,
            StmtKind::Set(target, value) => {
                let value = self.eval(value, scope)?;
                self.assign(target, value, scope)?;
            }
            StmtKind::SetBlock(target, filters, body) => {
                let value = self.filtered(filters, body, scope)?;
                self.assign(target, value, scope)?;
            }
            StmtKind::Macro(id) => {
                let value = self.define(*id, scope)?;
                scope.set(&self.meter, self.program.macros[*id].name, value)?;
            }
            StmtKind::Call(id, call) => self.call_block(*id, call, scope)?,
            StmtKind::Filter(filters, body) => {
                let value = self.filtered(filters, body, scope)?;
                print::print(&self.meter, &value, &mut self.out)?;
            }
            StmtKind::With(assignments, body) => return self.with_block(assignments, body, scope),
            StmtKind::Scope(body) => {
                let inner = Scope::new(&self.meter, Some(scope))?;
                return self.block(body, &inner);
            }
            StmtKind::Break => return Ok(Flow::Break),
            StmtKind::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::Next)
    }

    fn if_block(&mut self, arms: &'p [(Expr, Vec<Stmt>)], otherwise: &'p [Stmt], scope: &Scope) -> Outcome<Flow> {
        for (condition, body) in arms {
            if self.eval(condition, scope)?.is_true() {
                return self.block(body, scope);
            }
        }
        self.block(otherwise, scope)
    }

    fn with_block(&mut self, assignments: &'p [(Target, Expr)], body: &'p [Stmt], scope: &Scope) -> Outcome<Flow> {
        let inner = Scope::new(&self.meter, Some(scope))?;
        for (target, value) in assignments {
            let value = self.eval(value, scope)?;
            self.assign(target, value, &inner)?;
        }
        self.block(body, &inner)
    }

    fn assign(&mut self, target: &Target, value: Value, scope: &Scope) -> Outcome<()> {
        match target {
            Target::Name(name) => scope.set(&self.meter, *name, value)?,
            Target::Attr(name, attr) => match scope.get(&self.meter, *name)? {
                Some(Value::Namespace(dict)) => {
                    dict.set(&self.meter, Value::Text(Text::Literal(attr.clone())), value)?
                }
                _ => return Err("only attributes of a namespace can be set".into()),
            },
            Target::Tuple(targets) => {
                let items = self.items(&value)?;
                if items.len() != targets.len() {
                    return Err(format!("cannot unpack {} values into {}", items.len(), targets.len()).into());
                }
                for (target, value) in targets.iter().zip(items.iter()) {
                    self.assign(target, value, scope)?;
                }
            }
        }
        Ok(())
    }

    /// Runs something whose output becomes a text.
    fn capture(&mut self, run: impl FnOnce(&mut Self) -> Outcome<()>) -> Outcome<Value> {
        let inner = Builder::new(&self.meter)?;
        let outer = core::mem::replace(&mut self.out, inner);
        let outcome = run(self);
        let inner = core::mem::replace(&mut self.out, outer);
        outcome.map(|()| Value::Text(inner.finish()))
    }

    fn filtered(&mut self, filters: &'p [Link], body: &'p [Stmt], scope: &Scope) -> Outcome<Value> {
        let inner = Scope::new(&self.meter, Some(scope))?;
        let text = self.capture(|machine| machine.block(body, &inner).map(|_| ()))?;
        self.links(text, filters, scope)
    }

    fn define(&mut self, id: usize, scope: &Scope) -> Outcome<Value> {
        self.remember(Changeable::Scope(scope.clone()))?;
        let charge = self.meter.charge(SCOPE_BYTES)?;
        Ok(Value::Macro(Rc::new(MacroValue { id, scope: scope.clone(), _charge: charge })))
    }

    fn call_block(&mut self, id: usize, call: &'p Expr, scope: &Scope) -> Outcome<()> {
        let Expr::Chain(callee, links) = call else { return Ok(()) };
        let [before @ .., Link::Call(args)] = links.as_slice() else { return Ok(()) };
        let caller = self.define(id, scope)?;
        let callee = self.eval(callee, scope)?;
        let callee = self.links(callee, before, scope)?;
        let mut args = self.args(args, scope)?;
        args.named.push((Text::Literal("caller".into()), caller));
        let value = self.call(callee, args)?;
        print::print(&self.meter, &value, &mut self.out)
    }
}

/// Loops.
impl<'p> Machine<'p> {
    fn for_block(&mut self, id: usize, scope: &Scope) -> Outcome<()> {
        let items = self.eval(&self.program.loops[id].items, scope)?;
        self.run_loop(id, &items, 0, scope)
    }

    fn run_loop(&mut self, id: usize, items: &Value, depth: usize, scope: &Scope) -> Outcome<()> {
        let program = self.program;
        let node = &program.loops[id];
        let items = self.items(items)?;
        let items = self.selected(node, items, scope)?;
        if items.len() == 0 {
            let inner = Scope::new(&self.meter, Some(scope))?;
            return self.block(&node.otherwise, &inner).map(|_| ());
        }
        let (index, changed) = (Cell::new(0), RefCell::new(None));
        let state = Rc::new(LoopState { id, scope: scope.clone(), items, index, depth, changed });
        let mut inner = Scope::new(&self.meter, Some(scope))?;
        while let Some(item) = state.items.get(state.index.get()) {
            self.meter.steps(1)?;
            if Rc::strong_count(&inner.0) > 1 {
                inner = Scope::new(&self.meter, Some(scope))?;
            }
            inner.clear();
            if let Some(name) = self.implied.loop_state {
                inner.set(&self.meter, name, Value::Loop(state.clone()))?;
            }
            self.assign(&node.target, item, &inner)?;
            if self.block(&node.body, &inner)? == Flow::Break {
                break;
            }
            state.index.set(state.index.get() + 1);
        }
        Ok(())
    }

    /// The items that the loop's own condition lets through.
    fn selected(&mut self, node: &'p For, items: Rc<Seq>, scope: &Scope) -> Outcome<Rc<Seq>> {
        let Some(condition) = &node.condition else { return Ok(items) };
        let inner = Scope::new(&self.meter, Some(scope))?;
        let mut selected = Vec::new();
        for item in items.iter() {
            self.meter.steps(1)?;
            self.assign(&node.target, item.clone(), &inner)?;
            if self.eval(condition, &inner)?.is_true() {
                selected.push(item);
            }
        }
        Seq::new(&self.meter, SeqKind::List, selected)
    }

    /// `loop(items)`: the loop once more, one level deeper.
    fn recurse(&mut self, state: &LoopState, args: CallArgs) -> Outcome<Value> {
        let [items] = args.bind("loop", ["items"])?;
        let items = items.ok_or("loop takes 1 argument, found 0")?;
        if !self.program.loops[state.id].recursive {
            return Err("only a recursive loop can be called".into());
        }
        self.capture(|machine| machine.run_loop(state.id, &items, state.depth + 1, &state.scope))
    }
}

/// Expressions.
impl<'p> Machine<'p> {
    pub fn eval(&mut self, expr: &'p Expr, scope: &Scope) -> Outcome<Value> {
        self.meter.steps(1)?;
        match expr {
            Expr::None => Ok(Value::None),
            Expr::Bool(value) => Ok(Value::Bool(*value)),
            Expr::Int(value) => Ok(Value::Int(*value)),
            Expr::Float(value) => Ok(Value::Float(*value)),
            Expr::Text(text) => Ok(Value::Text(Text::Literal(text.clone()))),
            Expr::Name(name) => self.lookup(*name, scope),
            _ => {
                self.meter.enter()?;
                let value = self.eval_node(expr, scope)?;
                self.meter.leave();
                Ok(value)
            }
        }
    }

    fn lookup(&self, name: Symbol, scope: &Scope) -> Outcome<Value> {
        let undefined = || Value::Undefined(Text::Literal(self.program.names[name as usize].clone()));
        Ok(scope.get(&self.meter, name)?.unwrap_or_else(undefined))
    }

    fn eval_node(&mut self, expr: &'p Expr, scope: &Scope) -> Outcome<Value> {
        match expr {
            Expr::List(items) => {
                let items = self.eval_all(items, scope)?;
                Value::list(&self.meter, items)
            }
            Expr::Tuple(items) => {
                let items = self.eval_all(items, scope)?;
                Value::tuple(&self.meter, items)
            }
            Expr::Dict(pairs) => self.dict(pairs, scope),
            Expr::Chain(value, links) => {
                let value = self.eval(value, scope)?;
                self.links(value, links, scope)
            }
            Expr::Not(value) => Ok(Value::Bool(!self.eval(value, scope)?.is_true())),
            Expr::Negate(value) => ops::sign(self.eval(value, scope)?, true),
            Expr::Plus(value) => ops::sign(self.eval(value, scope)?, false),
            Expr::Binary(first, rest) => {
                let mut left = self.eval(first, scope)?;
                for (operator, right) in rest {
                    let right = self.eval(right, scope)?;
                    left = ops::binary(&self.meter, *operator, &left, &right)?;
                }
                Ok(left)
            }
            Expr::Concat(items) => self.concat(items, scope),
            Expr::Compare(first, rest) => {
                let mut left = self.eval(first, scope)?;
                for (comparison, right) in rest {
                    let right = self.eval(right, scope)?;
                    if !ops::compares(&self.meter, *comparison, &left, &right)? {
                        return Ok(Value::Bool(false));
                    }
                    left = right;
                }
                Ok(Value::Bool(true))
            }
            Expr::And(items) => self.first_that(items, false, scope),
            Expr::Or(items) => self.first_that(items, true, scope),
            Expr::If(arms, otherwise) => {
                for (value, condition) in arms {
                    if self.eval(condition, scope)?.is_true() {
                        return self.eval(value, scope);
                    }
                }
                match otherwise {
                    Some(otherwise) => self.eval(otherwise, scope),
                    None => Value::undefined(&self.meter, "else"),
                }
            }
            literal => self.eval(literal, scope),
        }
    }

    fn eval_all(&mut self, items: &'p [Expr], scope: &Scope) -> Outcome<Vec<Value>> {
        items.iter().map(|item| self.eval(item, scope)).collect()
    }

    fn dict(&mut self, pairs: &'p [(Expr, Expr)], scope: &Scope) -> Outcome<Value> {
        let dict = Dict::new(&self.meter)?;
        for (key, value) in pairs {
            let key = self.eval(key, scope)?;
            let value = self.eval(value, scope)?;
            dict.set(&self.meter, key, value)?;
        }
        Ok(Value::Dict(dict))
    }

    fn concat(&mut self, items: &'p [Expr], scope: &Scope) -> Outcome<Value> {
        let mut out = Builder::new(&self.meter)?;
        for item in items {
            let value = self.eval(item, scope)?;
            print::print(&self.meter, &value, &mut out)?;
        }
        Ok(Value::Text(out.finish()))
    }

    /// The first value of this truth, else the last one.
    fn first_that(&mut self, items: &'p [Expr], truth: bool, scope: &Scope) -> Outcome<Value> {
        let mut value = Value::None;
        for item in items {
            value = self.eval(item, scope)?;
            if value.is_true() == truth {
                break;
            }
        }
        Ok(value)
    }

    /// Applies subscripts, calls, filters and tests in order.
    fn links(&mut self, mut value: Value, links: &'p [Link], scope: &Scope) -> Outcome<Value> {
        for link in links {
            self.meter.steps(1)?;
            value = match link {
                Link::Attr(name) => self.attribute(&value, Text::Literal(name.clone()))?,
                Link::Item(key) => {
                    let key = self.eval(key, scope)?;
                    self.subscript(&value, &key)?
                }
                Link::Slice(parts) => self.slice(&value, parts, scope)?,
                Link::Call(args) => {
                    let args = self.args(args, scope)?;
                    self.call(value, args)?
                }
                Link::Filter(name, args) => {
                    let args = self.args(args, scope)?;
                    self.filter(name, value, args)?
                }
                Link::Test { name, args, negated } => {
                    let args = self.args(args, scope)?;
                    Value::Bool(self.test(name, &value, args)? != *negated)
                }
            };
        }
        Ok(value)
    }

    fn slice(&mut self, value: &Value, parts: &'p [Option<Expr>; 3], scope: &Scope) -> Outcome<Value> {
        let mut bounds = [None; 3];
        for (bound, part) in bounds.iter_mut().zip(parts) {
            let Some(part) = part else { continue };
            *bound = match self.eval(part, scope)? {
                Value::None => None,
                index => Some(index.as_index().ok_or_else(|| expected("a whole number", &describe(&index)))?),
            };
        }
        ops::slice(&self.meter, value, bounds)
    }

    fn args(&mut self, args: &'p Args, scope: &Scope) -> Outcome<CallArgs> {
        let mut positional = self.eval_all(&args.positional, scope)?;
        if let Some(rest) = &args.rest {
            let rest = self.eval(rest, scope)?;
            positional.extend(self.items(&rest)?.iter().take(MAX_ARGS));
        }
        let mut named = Vec::new();
        for (name, value) in &args.named {
            named.push((Text::Literal(name.clone()), self.eval(value, scope)?));
        }
        if let Some(rest) = &args.named_rest {
            match self.eval(rest, scope)? {
                Value::Dict(dict) => {
                    for (name, value) in dict.iter().take(MAX_ARGS) {
                        named.push((print::text_of(&self.meter, &name)?, value));
                    }
                }
                other => return Err(expected("a dict after **", &describe(&other))),
            }
        }
        Ok(CallArgs { positional, named })
    }
}

/// What can be done with a value.
impl<'p> Machine<'p> {
    /// `value.name`: a method or attribute if there is one, else the item of that key.
    pub fn attribute(&self, value: &Value, name: Text) -> Outcome<Value> {
        let found = match value {
            Value::Undefined(missing) => return Err(format!("{:?} is undefined", &**missing).into()),
            value if methods::exists(value, &name) => Some(Value::Method(Rc::new((value.clone(), name.clone())))),
            Value::Dict(dict) | Value::Namespace(dict) => dict.get_text(&self.meter, &name)?,
            Value::Loop(state) => self.loop_attribute(state, &name)?,
            _ => None,
        };
        Ok(found.unwrap_or(Value::Undefined(name)))
    }

    /// `value[key]`: the item of that key if there is one, else the attribute.
    pub fn subscript(&self, value: &Value, key: &Value) -> Outcome<Value> {
        let at = |length: usize| {
            let index = key.as_index()?;
            usize::try_from(if index < 0 { index + length as i128 } else { index }).ok()
        };
        let found = match value {
            Value::Dict(dict) => dict.get(&self.meter, key)?,
            Value::Seq(seq) if seq.kind != SeqKind::Generator => at(seq.len()).and_then(|i| seq.get(i)),
            Value::Text(text) => {
                self.meter.bytes(text.len())?;
                let index = at(text.chars().count());
                let c = index.and_then(|i| text.chars().nth(i));
                c.map(|c| self.text(c.encode_utf8(&mut [0; 4]))).transpose()?
            }
            _ => None,
        };
        match (found, key) {
            (Some(found), _) => Ok(found),
            (None, Value::Text(name)) => self.attribute(value, name.clone()),
            (None, key) => match value {
                Value::Undefined(missing) => Err(format!("{:?} is undefined", &**missing).into()),
                _ => Ok(Value::Undefined(print::text_of(&self.meter, key)?)),
            },
        }
    }

    fn loop_attribute(&self, state: &LoopState, name: &str) -> Outcome<Option<Value>> {
        let (index, length) = (state.index.get(), state.items.len());
        let int = |value: usize| Value::Int(value as i128);
        let neighbour = |at: Option<usize>| match at.and_then(|i| state.items.get(i)) {
            Some(item) => Ok(item),
            None => Value::undefined(&self.meter, name),
        };
        Ok(Some(match name {
            "index" => int(index + 1),
            "index0" => int(index),
            "revindex" => int(length.saturating_sub(index)),
            "revindex0" => int(length.saturating_sub(index + 1)),
            "first" => Value::Bool(index == 0),
            "last" => Value::Bool(index + 1 == length),
            "length" => int(length),
            "depth" => int(state.depth + 1),
            "depth0" => int(state.depth),
            "previtem" => neighbour(index.checked_sub(1))?,
            "nextitem" => neighbour(Some(index + 1))?,
            _ => return Ok(None),
        }))
    }

    pub fn call(&mut self, callee: Value, args: CallArgs) -> Outcome<Value> {
        self.meter.enter()?;
        let value = match callee {
            Value::Macro(callee) => self.call_macro(&callee, args),
            Value::Method(method) => methods::call(self, &method.0, &method.1, args),
            Value::Function(function) => functions::call(self, function, args),
            Value::Loop(state) => self.recurse(&state, args),
            Value::Undefined(name) => Err(format!("{:?} is undefined", &*name).into()),
            other => Err(format!("a value of type {} cannot be called", other.type_name()).into()),
        }?;
        self.meter.leave();
        Ok(value)
    }

    /// Runs a macro. Parameters without a value are undefined; what is left over is in `varargs` and `kwargs`.
    fn call_macro(&mut self, callee: &MacroValue, args: CallArgs) -> Outcome<Value> {
        let program = self.program;
        let node = &program.macros[callee.id];
        let scope = Scope::new(&self.meter, Some(&callee.scope))?;
        let mut positional = args.positional.into_iter();
        let mut named = args.named;
        for (param, default) in &node.params {
            let name = &program.names[*param as usize];
            let by_name = named.iter().position(|(known, _)| **known == **name).map(|i| named.remove(i).1);
            let value = match (positional.next().or(by_name), default) {
                (Some(value), _) => value,
                (None, Some(default)) => self.eval(default, &scope)?,
                (None, None) => Value::Undefined(Text::Literal(name.clone())),
            };
            scope.set(&self.meter, *param, value)?;
        }
        self.left_over(&scope, positional.collect(), named)?;
        let line = self.line;
        let text = self.capture(|machine| machine.block(&node.body, &scope).map(|_| ()));
        // After an error the line stays where it happened.
        self.line = if text.is_ok() { line } else { self.line };
        text
    }

    fn left_over(&self, scope: &Scope, positional: Vec<Value>, named: Vec<(Text, Value)>) -> Outcome<()> {
        let caller = named.iter().find(|(name, _)| &**name == "caller").map(|(_, value)| value.clone());
        if let (Some(symbol), Some(caller)) = (self.implied.caller, caller) {
            scope.set(&self.meter, symbol, caller)?;
        }
        if let Some(varargs) = self.implied.varargs {
            scope.set(&self.meter, varargs, Value::tuple(&self.meter, positional)?)?;
        }
        if let Some(kwargs) = self.implied.kwargs {
            let dict = Dict::new(&self.meter)?;
            for (name, value) in named {
                dict.set(&self.meter, Value::Text(name), value)?;
            }
            scope.set(&self.meter, kwargs, Value::Dict(dict))?;
        }
        Ok(())
    }

    /// Applies a filter of that name.
    pub fn filter(&mut self, name: &str, value: Value, args: CallArgs) -> Outcome<Value> {
        let filter = filters::find(name).ok_or_else(|| Fault::Failed(format!("unknown filter {name:?}")))?;
        self.meter.enter()?;
        let value = filter(self, value, args)?;
        self.meter.leave();
        Ok(value)
    }

    /// Applies a test of that name.
    pub fn test(&mut self, name: &str, value: &Value, args: CallArgs) -> Outcome<bool> {
        checks::check(self, name, value, args)
    }

    /// `loop.changed(…)`: whether the arguments differ from those of the last call.
    pub fn changed(&self, state: &LoopState, args: CallArgs) -> Outcome<Value> {
        let now = Value::tuple(&self.meter, args.positional)?;
        let before = state.changed.borrow().clone();
        let same = before.is_some_and(|before| equal(&self.meter, &before, &now).unwrap_or(false));
        *state.changed.borrow_mut() = Some(now);
        Ok(Value::Bool(!same))
    }
}
