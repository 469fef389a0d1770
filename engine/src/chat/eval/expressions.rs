//! Evaluating expressions.

use alloc::vec::Vec;

use super::super::ast::{Args, Expr, Link, Symbol};
use super::super::meter::{Builder, Outcome, Text, expected};
use super::super::value::{Dict, Value, describe};
use super::super::{ops, print};
use super::{CallArgs, MAX_ARGS, Machine, Scope};
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

    pub(super) fn lookup(&self, name: Symbol, scope: &Scope) -> Outcome<Value> {
        let undefined = || Value::Undefined(Text::Literal(self.program.names[name as usize].clone()));
        Ok(scope.get(&self.meter, name)?.unwrap_or_else(undefined))
    }

    pub(super) fn eval_node(&mut self, expr: &'p Expr, scope: &Scope) -> Outcome<Value> {
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

    pub(super) fn eval_all(&mut self, items: &'p [Expr], scope: &Scope) -> Outcome<Vec<Value>> {
        items.iter().map(|item| self.eval(item, scope)).collect()
    }

    pub(super) fn dict(&mut self, pairs: &'p [(Expr, Expr)], scope: &Scope) -> Outcome<Value> {
        let dict = Dict::new(&self.meter)?;
        for (key, value) in pairs {
            let key = self.eval(key, scope)?;
            let value = self.eval(value, scope)?;
            dict.set(&self.meter, key, value)?;
        }
        Ok(Value::Dict(dict))
    }

    pub(super) fn concat(&mut self, items: &'p [Expr], scope: &Scope) -> Outcome<Value> {
        let mut out = Builder::new(&self.meter)?;
        for item in items {
            let value = self.eval(item, scope)?;
            print::print(&self.meter, &value, &mut out)?;
        }
        Ok(Value::Text(out.finish()))
    }

    /// The first value of this truth, else the last one.
    pub(super) fn first_that(&mut self, items: &'p [Expr], truth: bool, scope: &Scope) -> Outcome<Value> {
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
    pub(super) fn links(&mut self, mut value: Value, links: &'p [Link], scope: &Scope) -> Outcome<Value> {
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

    pub(super) fn slice(&mut self, value: &Value, parts: &'p [Option<Expr>; 3], scope: &Scope) -> Outcome<Value> {
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

    pub(super) fn args(&mut self, args: &'p Args, scope: &Scope) -> Outcome<CallArgs> {
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
