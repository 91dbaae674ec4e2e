//! Ranks: who holds which part of which matrix, and how their results become one. No GPU, no files.
//!
//! A model that is cut for tensor parallelism is a row of **ranks**. Each runs the same pass on a **part** of the
//! matrices (`Part`): some output features of those whose results it needs itself (column-parallel: queries of its heads,
//! its columns of the MLP), the matching input features of those behind (row-parallel), whose results are partial sums.
//! A `Collective` adds those up. [`Shares`] says where the cuts fall.

pub(crate) mod collective;
pub(crate) mod part;
mod shares;

pub(crate) use collective::{Collective, HostMemory};
pub(crate) use part::Part;
pub use shares::{MAX_RANKS, Shares};

/// What is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Split {
    /// Every matrix: heads, and columns and rows of everything else.
    #[default]
    Tensor,
    /// Whole experts; all other matrices as with [`Split::Tensor`].
    Expert,
}

/// Where cuts along the input of a row-parallel matrix fall.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cut {
    /// Where the shares say, also inside a quantization group.
    #[default]
    Even,
    /// At the nearest border of a group, where that leaves no rank empty.
    Aligned,
}

/// How a model is spread over ranks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Parallel {
    /// How much each rank takes.
    pub shares: Shares,
    /// What is cut.
    pub split: Split,
    /// Where cuts fall.
    pub cut: Cut,
}
