//! The three matrices of an expert, by their rows of the table.

use std::fmt;

use super::entry::Entry;
use super::table::Table;
use super::text::{DOWN, GATE, UP};

/// Which of an expert's three matrices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Projection {
    /// `gate_proj`.
    Gate,
    /// `up_proj`.
    Up,
    /// `down_proj`.
    Down,
}

impl Projection {
    /// All three, in this order.
    pub const ALL: [Projection; 3] = [Projection::Gate, Projection::Up, Projection::Down];

    /// Its row.
    const fn entry(self) -> Entry {
        match self {
            Projection::Gate => GATE,
            Projection::Up => UP,
            Projection::Down => DOWN,
        }
    }

    /// The name in the checkpoint.
    pub fn name(self) -> &'static str {
        let name = self.entry().name;
        name.split_once('.').map_or(name, |(_, own)| own)
    }

    /// Its number among the projections that `table` gives an expert.
    pub(crate) fn number(self, table: &Table) -> usize {
        let name = self.entry().name;
        table.of_experts().position(|entry| entry.name == name).expect("the table has the three of every expert")
    }
}

impl fmt::Display for Projection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn projections_are_rows_of_the_table() {
        let table = Table::text();
        let names = Projection::ALL.map(|part| (part.name(), part.number(&table)));
        assert_eq!(names, [("gate_proj", 0), ("up_proj", 1), ("down_proj", 2)]);
        assert_eq!(table.of_experts().count(), names.len(), "an expert has others");
    }
}
