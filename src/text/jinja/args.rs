//! The arguments of a call, and how functions take them.

use std::rc::Rc;

use num_traits::Signed;

use super::fault::{Fault, Run};
use super::value::Value;

/// Arguments by place and by name.
#[derive(Default, Clone)]
pub(super) struct Args {
    pub(super) positional: Vec<Value>,
    pub(super) named: Vec<(Rc<str>, Value)>,
}

impl Args {
    /// The arguments of a function whose parameters have these names.
    pub(super) fn bind<const N: usize>(self, function: &str, names: [&str; N]) -> Run<[Option<Value>; N]> {
        let mut found = [const { None }; N];
        if self.positional.len() > N {
            let given = self.positional.len();
            return Err(Fault::failed(format!("{function}: found {given} arguments, expected at most {N}")));
        }
        for (place, value) in found.iter_mut().zip(self.positional) {
            *place = Some(value);
        }
        for (name, value) in self.named {
            let Some(at) = names.iter().position(|known| **known == *name) else {
                return Err(Fault::failed(format!("{function}: found the unexpected keyword argument '{name}'")));
            };
            if found[at].replace(value).is_some() {
                return Err(Fault::failed(format!("{function}: found two values for the argument '{name}'")));
            }
        }
        Ok(found)
    }

    /// That there are no arguments.
    pub(super) fn none(self, function: &str) -> Run<()> {
        self.bind::<0>(function, []).map(|_| ())
    }
}

/// An argument that must be there.
pub(super) fn required(value: Option<Value>, function: &str, name: &str) -> Run<Value> {
    value.ok_or_else(|| Fault::failed(format!("{function}: missing the argument '{name}'")))
}

impl Value {
    /// The value as an index; what is too large becomes the largest.
    pub(super) fn as_index(&self) -> Option<i64> {
        match self {
            Value::Bool(b) => Some(i64::from(*b)),
            Value::Int(n) => Some(*n),
            Value::Big(n) => Some(if n.is_negative() { i64::MIN } else { i64::MAX }),
            _ => None,
        }
    }

    /// An argument that must be an integer.
    pub(super) fn index(&self, what: &str) -> Run<i64> {
        self.as_index().ok_or_else(|| match self {
            Value::Undefined(missing) => Value::missing(missing),
            other => Fault::failed(format!("{what}: found {}, expected int", other.type_name())),
        })
    }
}
