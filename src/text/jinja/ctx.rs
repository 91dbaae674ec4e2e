//! What every operation gets: the budget, and the guard that knows which characters stand for others.

use std::borrow::Cow;
use std::rc::Rc;

use web_time::SystemTime;

use super::budget::{Budget, Builder};
use super::fault::{Fault, Run};
use super::text::Text;
use super::value::Value;
use crate::text::special::Guard;

/// The surroundings of one rendering.
pub(super) struct Ctx {
    pub(super) budget: Budget,
    pub(super) guard: Guard,
    pub(super) now: SystemTime,
}

impl Ctx {
    pub(super) fn builder(&self) -> Builder<'_> {
        Builder::new(&self.budget)
    }

    /// The text that was built.
    pub(super) fn finish(&self, builder: Builder<'_>) -> Run<Value> {
        let (text, mut held) = builder.into_parts();
        // Every string takes some bytes beside its own.
        self.budget.grow(&mut held, 64)?;
        let hidden = self.guard.hides(&text);
        Ok(Value::Str(Rc::new(Text::from_parts(text, held, hidden))))
    }

    pub(super) fn text(&self, text: &str) -> Run<Value> {
        let mut builder = self.builder();
        builder.push(text)?;
        self.finish(builder)
    }

    pub(super) fn list(&self, items: Vec<Value>) -> Run<Value> {
        Value::list(&self.budget, items)
    }

    pub(super) fn tuple(&self, items: Vec<Value>) -> Run<Value> {
        Value::tuple(&self.budget, items)
    }

    /// The text with the characters that its author wrote.
    pub(super) fn shown<'t>(&self, text: &'t Text) -> Run<Cow<'t, str>> {
        if !text.hidden {
            return Ok(Cow::Borrowed(&text.text));
        }
        self.budget.reads(4 * text.text.len())?;
        Ok(self.guard.show(&text.text))
    }

    /// An argument that must be text.
    pub(super) fn expect_text<'v>(&self, value: &'v Value, what: &str) -> Run<&'v Rc<Text>> {
        value.as_text().ok_or_else(|| match value {
            Value::Undefined(missing) => Value::missing(missing),
            other => Fault::failed(format!("{what}: found {}, expected str", other.type_name())),
        })
    }
}
