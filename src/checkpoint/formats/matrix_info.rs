//! What is known of a weight matrix before its data is read.

use std::fmt;

use super::numbers::Numbers;
use crate::gemma4::tensors::{Role, Table};
use crate::quant::{Format, Grouped};

/// A weight matrix of the checkpoint.
#[derive(Debug, Clone)]
pub struct MatrixInfo {
    /// Rows.
    pub out_features: usize,
    /// Columns.
    pub in_features: usize,
    /// How it is, as far as the configuration and the names of tensors say. Zero points may turn out to be all alike, and a
    /// `g_idx` to say what the group size says: [`Contents`](crate::checkpoint::Contents) knows.
    pub format: Format,
    /// What it is for.
    pub role: Role,
    /// Bytes in the file, all its tensors together.
    pub size_bytes: u64,
    pub(crate) numbers: Numbers,
}

impl MatrixInfo {
    /// Weights, however many bits each has.
    pub fn parameters(&self) -> u64 {
        (self.out_features as u64).saturating_mul(self.in_features as u64)
    }

    /// How its codes are.
    ///
    /// # Panics
    /// For a dense one.
    pub(crate) fn grouped(&self) -> Grouped {
        *self.format.grouped().expect("a quantized matrix has codes")
    }
}

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

    /// The name in the checkpoint.
    pub fn name(self) -> &'static str {
        match self {
            Projection::Gate => "gate_proj",
            Projection::Up => "up_proj",
            Projection::Down => "down_proj",
        }
    }

    /// Its number among the projections that `table` gives an expert.
    pub(crate) fn number(self, table: &Table) -> usize {
        let is_this = |name: &str| name.strip_prefix("experts.") == Some(self.name());
        table.of_experts().position(|entry| is_this(entry.name)).expect("the table has the three of every expert")
    }
}

impl fmt::Display for Projection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
