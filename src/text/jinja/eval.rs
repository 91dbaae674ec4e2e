//! The state of one rendering.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::ast::{Name, Program};
use super::budget::Held;
use super::ctx::Ctx;
use super::fault::{Fault, Run};
use super::value::{Missing, Namespace, Scope, Value};

/// Deepest nesting of statements, expressions and calls under way. A build without optimization needs less than 17 KiB for
/// each, and [`super::STACK_BYTES`] has 26 KiB.
const MAX_DEPTH: u32 = 2500;

/// The global functions; [`super::functions`] calls them.
const NAMES: [&str; 8] =
    ["range", "dict", "namespace", "cycler", "joiner", "lipsum", "raise_exception", "strftime_now"];

/// One rendering.
pub(super) struct Eval<'p> {
    pub(super) ctx: &'p Ctx,
    pub(super) names: &'p [Rc<str>],
    globals: Vec<Option<Value>>,
    pub(super) loop_name: Option<Name>,
    pub(super) depth: Cell<u32>,
    /// Scopes that macros hold on to, and namespaces: they may hold themselves, and are emptied at the end.
    pub(super) captured: RefCell<Vec<(Rc<Scope>, Held)>>,
    pub(super) namespaces: RefCell<Vec<Rc<Namespace>>>,
}

impl<'p> Eval<'p> {
    pub(super) fn new(ctx: &'p Ctx, program: &'p Program) -> Self {
        let globals = program.names.iter().map(|name| global(name)).collect();
        let loop_name = program.names.iter().position(|name| &**name == "loop").map(|at| at as Name);
        Self {
            ctx,
            names: &program.names,
            globals,
            loop_name,
            depth: Cell::new(0),
            captured: RefCell::default(),
            namespaces: RefCell::default(),
        }
    }

    /// Goes one level deeper; on success the caller takes the level back.
    pub(super) fn enter(&self) -> Run<()> {
        self.depth.set(self.depth.get() + 1);
        if self.depth.get() > MAX_DEPTH { Err(Fault::Deep("calls")) } else { Ok(()) }
    }

    pub(super) fn leave(&self) {
        self.depth.set(self.depth.get() - 1);
    }

    /// Empties what may hold itself.
    pub(super) fn end(&self) {
        let values: Vec<_> = self.captured.borrow().iter().map(|(scope, _)| scope.clear()).collect();
        let entries: Vec<_> = self.namespaces.borrow().iter().map(|n| n.entries.take()).collect();
        drop((values, entries));
    }

    pub(super) fn name(&self, name: Name, scope: &Scope) -> Run<Value> {
        if let Some(value) = scope.get(&self.ctx.budget, name)? {
            return Ok(value);
        }
        let place = name as usize;
        if let Some(value) = self.globals.get(place).and_then(Clone::clone) {
            return Ok(value);
        }
        Ok(Value::Undefined(Rc::new(Missing::Name(Rc::clone(&self.names[place])))))
    }
}

/// The global of this name.
fn global(name: &str) -> Option<Value> {
    NAMES.iter().find(|known| **known == name).map(|known| Value::Function(known))
}
