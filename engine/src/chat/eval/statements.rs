//! Running statements.

use alloc::format;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};

use super::super::ast::{Expr, For, Link, Stmt, StmtKind, Target};
use super::super::meter::{Builder, Outcome, Text};
use super::super::print;
use super::super::value::{Seq, SeqKind, Value};
use super::{CallArgs, Changeable, Flow, LoopState, Machine, MacroValue, SCOPE_BYTES, Scope};
impl<'p> Machine<'p> {
    pub(super) fn block(&mut self, block: &'p [Stmt], scope: &Scope) -> Outcome<Flow> {
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

    pub(super) fn statement(&mut self, stmt: &'p StmtKind, scope: &Scope) -> Outcome<Flow> {
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

    pub(super) fn if_block(
        &mut self,
        arms: &'p [(Expr, Vec<Stmt>)],
        otherwise: &'p [Stmt],
        scope: &Scope,
    ) -> Outcome<Flow> {
        for (condition, body) in arms {
            if self.eval(condition, scope)?.is_true() {
                return self.block(body, scope);
            }
        }
        self.block(otherwise, scope)
    }

    pub(super) fn with_block(
        &mut self,
        assignments: &'p [(Target, Expr)],
        body: &'p [Stmt],
        scope: &Scope,
    ) -> Outcome<Flow> {
        let inner = Scope::new(&self.meter, Some(scope))?;
        for (target, value) in assignments {
            let value = self.eval(value, scope)?;
            self.assign(target, value, &inner)?;
        }
        self.block(body, &inner)
    }

    pub(super) fn assign(&mut self, target: &Target, value: Value, scope: &Scope) -> Outcome<()> {
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
    pub(super) fn capture(&mut self, run: impl FnOnce(&mut Self) -> Outcome<()>) -> Outcome<Value> {
        let inner = Builder::new(&self.meter)?;
        let outer = core::mem::replace(&mut self.out, inner);
        let outcome = run(self);
        let inner = core::mem::replace(&mut self.out, outer);
        outcome.map(|()| Value::Text(inner.finish()))
    }

    pub(super) fn filtered(&mut self, filters: &'p [Link], body: &'p [Stmt], scope: &Scope) -> Outcome<Value> {
        let inner = Scope::new(&self.meter, Some(scope))?;
        let text = self.capture(|machine| machine.block(body, &inner).map(|_| ()))?;
        self.links(text, filters, scope)
    }

    pub(super) fn define(&mut self, id: usize, scope: &Scope) -> Outcome<Value> {
        self.remember(Changeable::Scope(scope.clone()))?;
        let charge = self.meter.charge(SCOPE_BYTES)?;
        Ok(Value::Macro(Rc::new(MacroValue { id, scope: scope.clone(), _charge: charge })))
    }

    pub(super) fn call_block(&mut self, id: usize, call: &'p Expr, scope: &Scope) -> Outcome<()> {
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

impl<'p> Machine<'p> {
    pub(super) fn for_block(&mut self, id: usize, scope: &Scope) -> Outcome<()> {
        let items = self.eval(&self.program.loops[id].items, scope)?;
        self.run_loop(id, &items, 0, scope)
    }

    pub(super) fn run_loop(&mut self, id: usize, items: &Value, depth: usize, scope: &Scope) -> Outcome<()> {
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
    pub(super) fn selected(&mut self, node: &'p For, items: Rc<Seq>, scope: &Scope) -> Outcome<Rc<Seq>> {
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
    pub(super) fn recurse(&mut self, state: &LoopState, args: CallArgs) -> Outcome<Value> {
        let [items] = args.bind("loop", ["items"])?;
        let items = items.ok_or("loop takes 1 argument, found 0")?;
        if !self.program.loops[state.id].recursive {
            return Err("only a recursive loop can be called".into());
        }
        self.capture(|machine| machine.run_loop(state.id, &items, state.depth + 1, &state.scope))
    }
}
