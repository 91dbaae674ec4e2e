//! Variables, in scopes that lie in one another.

use std::cell::RefCell;
use std::rc::Rc;

use super::ast::Name;
use super::budget::Budget;
use super::fault::Run;
use super::value::Value;

/// One scope.
#[derive(Default)]
pub(super) struct Scope {
    variables: RefCell<Vec<(Name, Value)>>,
    parent: Option<Rc<Scope>>,
}

impl Scope {
    /// An empty scope inside `parent`.
    pub(super) fn inside(parent: &Rc<Scope>) -> Rc<Self> {
        Rc::new(Self { variables: RefCell::default(), parent: Some(Rc::clone(parent)) })
    }

    pub(super) fn set(&self, budget: &Budget, name: Name, value: Value) -> Run<()> {
        let mut variables = self.variables.borrow_mut();
        budget.steps(variables.len() / 16)?;
        match variables.iter_mut().find(|(known, _)| *known == name) {
            Some(entry) => entry.1 = value,
            None => variables.push((name, value)),
        }
        Ok(())
    }

    /// The value of a variable here or further out.
    pub(super) fn get(&self, budget: &Budget, name: Name) -> Run<Option<Value>> {
        let mut scope = self;
        loop {
            let variables = scope.variables.borrow();
            budget.steps(variables.len() / 16)?;
            if let Some((_, value)) = variables.iter().find(|(known, _)| *known == name) {
                return Ok(Some(value.clone()));
            }
            match &scope.parent {
                Some(parent) => scope = parent,
                None => return Ok(None),
            }
        }
    }

    /// The outermost scope around this one.
    pub(super) fn root(scope: &Rc<Scope>) -> Rc<Scope> {
        let mut scope = scope;
        while let Some(parent) = &scope.parent {
            scope = parent;
        }
        Rc::clone(scope)
    }

    /// Takes all variables out.
    pub(super) fn clear(&self) -> Vec<(Name, Value)> {
        self.variables.take()
    }
}
