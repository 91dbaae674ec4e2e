//! Runs the statements of a template.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use super::ast::{Expr, For, Kind, Stmt, Target};
use super::budget::Builder;
use super::eval::Eval;
use super::fault::{Fault, Run};
use super::value::{Loop, MacroValue, Scope, Value};
use super::{filters, spell};

/// What follows a statement.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    Next,
    Break,
    Continue,
}

impl Eval<'_> {
    pub(super) fn run(&self, body: &[Stmt], scope: &Rc<Scope>, out: &mut Builder) -> Run<Flow> {
        self.enter()?;
        for stmt in body {
            self.ctx.budget.steps(1)?;
            let flow = self.statement(stmt, scope, out)?;
            if flow != Flow::Next {
                self.leave();
                return Ok(flow);
            }
        }
        self.leave();
        Ok(Flow::Next)
    }

    fn statement(&self, stmt: &Stmt, scope: &Rc<Scope>, out: &mut Builder) -> Run<Flow> {
        match stmt {
            Stmt::Text(text) => spell::print(self.ctx, &Value::Str(Rc::clone(text)), out)?,
            Stmt::Print(expr) => spell::print(self.ctx, &self.expr(expr, scope)?, out)?,
            Stmt::If { branches, otherwise } => {
                for (test, body) in branches {
                    if self.expr(test, scope)?.is_true() {
                        return self.run(body, scope, out);
                    }
                }
                return self.run(otherwise, scope, out);
            }
            Stmt::For(node) => {
                let over = self.expr(&node.over, scope)?;
                return self.for_loop(node, &over, scope, 0, out);
            }
            Stmt::Set { target, value } => {
                let value = self.expr(value, scope)?;
                self.assign(target, value, scope)?;
            }
            Stmt::Break => return Ok(Flow::Break),
            Stmt::Continue => return Ok(Flow::Continue),
            other => return self.rarer(other, scope, out),
        }
        Ok(Flow::Next)
    }

    fn rarer(&self, stmt: &Stmt, scope: &Rc<Scope>, out: &mut Builder) -> Run<Flow> {
        match stmt {
            Stmt::With { values, body } => {
                let inner = Scope::inside(scope);
                for (target, value) in values {
                    let value = self.expr(value, scope)?;
                    self.assign(target, value, &inner)?;
                }
                return self.run(body, &inner, out);
            }
            Stmt::SetBlock { target, filter, body } => {
                let (mut value, flow) = self.captured_body(body, scope)?;
                if let Some(filter) = filter {
                    value = self.filtered(filter, scope, &value)?;
                }
                self.assign(target, value, scope)?;
                return Ok(flow);
            }
            Stmt::FilterBlock { filter, body } => {
                let (value, flow) = self.captured_body(body, scope)?;
                spell::print(self.ctx, &self.filtered(filter, scope, &value)?, out)?;
                return Ok(flow);
            }
            Stmt::Scope { fresh, body } => {
                let outer = if *fresh { Scope::root(scope) } else { Rc::clone(scope) };
                return self.run(body, &Scope::inside(&outer), out);
            }
            Stmt::Macro(definition) => {
                let value = self.macro_value(definition, scope)?;
                scope.set(&self.ctx.budget, definition.target, value)?;
            }
            Stmt::Call { call, body } => {
                let caller = self.macro_value(body, scope)?;
                spell::print(self.ctx, &self.call_with(call, scope, Some(caller))?, out)?;
            }
            Stmt::Elsewhere(tag) => {
                return Err(Fault::Forbidden(format!("found '{tag}', expected a template that needs no other one")));
            }
            _ => {}
        }
        Ok(Flow::Next)
    }

    /// A body's output as text, made in a scope of its own.
    fn captured_body(&self, body: &[Stmt], scope: &Rc<Scope>) -> Run<(Value, Flow)> {
        let mut out = self.ctx.builder();
        let flow = self.run(body, &Scope::inside(scope), &mut out)?;
        Ok((self.ctx.finish(out)?, flow))
    }

    fn macro_value(&self, definition: &Rc<super::ast::Macro>, scope: &Rc<Scope>) -> Run<Value> {
        let held = self.ctx.budget.hold(256)?;
        let mut captured = self.captured.borrow_mut();
        if captured.last().is_none_or(|(last, _)| !Rc::ptr_eq(last, scope)) {
            captured.push((Rc::clone(scope), held));
        }
        Ok(Value::Macro(Rc::new(MacroValue { definition: Rc::clone(definition), scope: Rc::clone(scope) })))
    }

    pub(super) fn assign(&self, target: &Target, value: Value, scope: &Scope) -> Run<()> {
        self.ctx.budget.steps(1)?;
        match target {
            Target::Name(name) => scope.set(&self.ctx.budget, *name, value)?,
            Target::Attribute(name, attribute) => {
                let Value::Namespace(namespace) = self.name(*name, scope)? else {
                    return Err(Fault::failed("cannot assign attribute on non-namespace object"));
                };
                namespace.set(self.ctx, attribute, value)?;
            }
            Target::Tuple(targets) => {
                let items = match value.items(&self.ctx.budget) {
                    Ok(items) => items.ready(&self.ctx.budget)?,
                    Err(_) => {
                        let found = value.type_name();
                        return Err(Fault::failed(format!("cannot unpack non-iterable {found} object")));
                    }
                };
                let (expected, found) = (targets.len(), items.len());
                if found > expected {
                    return Err(Fault::failed(format!("too many values to unpack (expected {expected})")));
                }
                if found < expected {
                    let text = format!("not enough values to unpack (expected {expected}, got {found})");
                    return Err(Fault::failed(text));
                }
                for (at, target) in targets.iter().enumerate() {
                    let item = items.get(&self.ctx.budget, at)?.unwrap_or(Value::None);
                    self.assign(target, item, scope)?;
                }
            }
        }
        Ok(())
    }

    pub(super) fn for_loop(
        &self,
        node: &Rc<For>,
        over: &Value,
        outer: &Rc<Scope>,
        depth: usize,
        out: &mut Builder,
    ) -> Run<Flow> {
        self.enter()?;
        let items = over.items(&self.ctx.budget)?.ready(&self.ctx.budget)?;
        let keeps = node.recursive || node.only_if.is_some();
        let state = Rc::new(Loop {
            items,
            taken: Cell::new(0),
            ahead: RefCell::new(VecDeque::new()),
            index: Cell::new(0),
            before: RefCell::new(None),
            current: RefCell::new(None),
            depth,
            changed: RefCell::new(None),
            node: keeps.then(|| (Rc::clone(node), Rc::clone(outer))),
        });
        let mut scope = Scope::inside(outer);
        let (mut any, mut whole) = (false, false);
        while let Some(item) = self.next_item(&state)? {
            state.index.set(state.index.get() + usize::from(any));
            any = true;
            let before = state.current.replace(Some(item.clone()));
            state.before.replace(before);
            // A scope that nobody kept is used again.
            match Rc::get_mut(&mut scope) {
                Some(scope) => drop(scope.clear()),
                None => scope = Scope::inside(outer),
            }
            if let Some(name) = self.loop_name {
                scope.set(&self.ctx.budget, name, Value::Loop(Rc::clone(&state)))?;
            }
            self.assign(&node.target, item, &scope)?;
            match self.run(&node.body, &scope, out)? {
                Flow::Break => break,
                Flow::Continue => {}
                Flow::Next => whole = true,
            }
        }
        self.leave();
        // As in Jinja, which notes a turn at its end: one that was broken off counts as none.
        if whole { Ok(Flow::Next) } else { self.run(&node.otherwise, &Scope::inside(outer), out) }
    }

    /// The next item of a loop that its condition lets through.
    fn next_item(&self, state: &Loop) -> Run<Option<Value>> {
        if let Some(item) = state.ahead.borrow_mut().pop_front() {
            return Ok(Some(item));
        }
        loop {
            let at = state.taken.get();
            let Some(item) = state.items.get(&self.ctx.budget, at)? else { return Ok(None) };
            state.taken.set(at + 1);
            let Some((node, outer)) = &state.node else { return Ok(Some(item)) };
            let Some(test) = &node.only_if else { return Ok(Some(item)) };
            let scope = Scope::inside(outer);
            self.assign(&node.target, item.clone(), &scope)?;
            if self.expr(test, &scope)?.is_true() {
                return Ok(Some(item));
            }
        }
    }

    /// What `loop.nextitem` is, if there is one.
    pub(super) fn peek_item(&self, state: &Loop) -> Run<Option<Value>> {
        if let Some(item) = state.ahead.borrow().front() {
            return Ok(Some(item.clone()));
        }
        let item = self.next_item(state)?;
        state.ahead.borrow_mut().extend(item.clone());
        Ok(item)
    }

    /// How many items a loop has in all.
    pub(super) fn loop_length(&self, state: &Loop) -> Run<usize> {
        if state.node.as_ref().is_none_or(|(node, _)| node.only_if.is_none()) {
            return Ok(state.items.len());
        }
        let mut all = Vec::new();
        while let Some(item) = self.next_item(state)? {
            all.push(item);
        }
        let length = state.index.get() + 1 + all.len();
        state.ahead.borrow_mut().extend(all);
        Ok(length)
    }

    /// The value of a chain of filters whose innermost one gets `input`.
    fn filtered(&self, expr: &Expr, scope: &Rc<Scope>, input: &Value) -> Run<Value> {
        let Kind::Filter(inner, name, arguments) = &expr.kind else { return self.expr(expr, scope) };
        self.enter()?;
        let value = match inner {
            Some(inner) => self.filtered(inner, scope, input)?,
            None => input.clone(),
        };
        let args = self.args(arguments, scope)?;
        self.leave();
        filters::apply(self.ctx, name, &value, args)
    }
}
