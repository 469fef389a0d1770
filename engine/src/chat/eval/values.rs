//! What can be done with a value: attributes, items, calls, filters and tests.

use alloc::format;
use alloc::rc::Rc;
use alloc::vec::Vec;

use super::super::meter::{Fault, Outcome, Text};
use super::super::value::{Dict, SeqKind, Value, equal};
use super::super::{checks, filters, functions, methods, print};
use super::{CallArgs, LoopState, Machine, MacroValue, Scope};
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

    pub(super) fn loop_attribute(&self, state: &LoopState, name: &str) -> Outcome<Option<Value>> {
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
    pub(super) fn call_macro(&mut self, callee: &MacroValue, args: CallArgs) -> Outcome<Value> {
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

    pub(super) fn left_over(&self, scope: &Scope, positional: Vec<Value>, named: Vec<(Text, Value)>) -> Outcome<()> {
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
