//! All rows together.

use std::borrow::Cow;

use super::entry::{Entry, Scope, When};
use super::role::Role;
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

    /// The row whose tensor is used where a model or a layer lacks that of `entry`: the embedding is the head, V is made of what
    /// `k_proj` gives.
    pub(crate) fn stand_in(&self, entry: &Entry) -> Option<&Entry> {
        let stands_in = |other: &&Entry| match entry.when {
            When::UntiedHead => other.role == Role::Embedding,
            When::OwnValues => other.when == When::OwnKeys && (other.shape, other.place) == (entry.shape, entry.place),
            When::Always | When::PerLayerInputs | When::Experts | When::OwnKeys => false,
        };
        self.entries().iter().find(stands_in)
    }

    /// The rows of an expert's tensors: their projections, in this order.
    pub(crate) fn of_experts(&self) -> impl Iterator<Item = &Entry> {
        self.0.iter().filter(|entry| entry.scope == Scope::Expert)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_tensors_stand_in_for_some() {
        let table = Table::text();
        let pairs = table.entries().iter().filter_map(|entry| Some((entry.name, table.stand_in(entry)?.name)));
        let expected = [("lm_head", "embed_tokens"), ("self_attn.v_proj", "self_attn.k_proj")];
        assert_eq!(pairs.collect::<Vec<_>>(), expected);
    }
}
