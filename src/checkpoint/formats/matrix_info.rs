//! What is known of a weight matrix before its data is read.

use super::numbers::Numbers;
use crate::gemma4::tensors::Role;
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
