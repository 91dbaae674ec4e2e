//! The strings of a template.

use super::budget::{Budget, Held};
use super::fault::Run;

/// Bytes of a value beside its characters or items.
pub(super) const OVERHEAD: usize = 64;

/// A string.
pub(super) struct Text {
    pub(super) text: Box<str>,
    /// Characters.
    pub(super) chars: usize,
    /// Whether stand-ins for `<` and the like are in it.
    pub(super) hidden: bool,
    _held: Held,
}

impl Text {
    /// Text that was built, with what it paid.
    pub(super) fn from_parts(text: String, held: Held, hidden: bool) -> Self {
        let chars = text.chars().count();
        Self { text: text.into_boxed_str(), chars, hidden, _held: held }
    }

    /// Text of the template itself: there are no stand-ins in it.
    pub(super) fn plain(budget: &Budget, text: &str) -> Run<Self> {
        let held = budget.hold(text.len() + OVERHEAD)?;
        Ok(Self::from_parts(text.to_owned(), held, false))
    }

    /// Whether every character is one byte.
    pub(super) fn is_ascii(&self) -> bool {
        self.chars == self.text.len()
    }
}
