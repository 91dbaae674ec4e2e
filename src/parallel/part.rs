//! What a rank holds of a matrix.

use std::ops::Range;

/// Which part of a weight matrix `[out_features, in_features]` a rank holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// Some output features (column-parallel): results are complete.
    Columns(Range<usize>),
    /// Some input features (row-parallel): results of all ranks must be added up.
    Rows(Range<usize>),
}
