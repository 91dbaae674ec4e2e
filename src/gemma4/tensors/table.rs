//! All rows together.

use std::borrow::Cow;

use super::entry::{Entry, Scope};
use super::text::TEXT;

/// The tensors that a model of some kind has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table(Cow<'static, [Entry]>);

impl Table {
    /// That of the text model.
    pub const fn text() -> Table {
        Table(Cow::Borrowed(TEXT))
    }

    /// Adds a row.
    ///
    /// # Panics
    /// If there is a row with this name: it would be the same tensor.
    pub fn push(&mut self, entry: Entry) {
        assert!(self.entries().iter().all(|known| known.name != entry.name), "a second row {:?}", entry.name);
        self.0.to_mut().push(entry);
    }

    /// The rows.
    pub fn entries(&self) -> &[Entry] {
        &self.0
    }

    /// The rows of an expert's tensors: their projections, in this order.
    pub(crate) fn of_experts(&self) -> impl Iterator<Item = &Entry> {
        self.0.iter().filter(|entry| entry.scope == Scope::Expert)
    }
}
