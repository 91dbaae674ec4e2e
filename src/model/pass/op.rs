//! The entries of a plan: dispatches, and inner tensors that can be looked at on the way.

use crate::gpu::Tensor;
use crate::kernels::Planned;
use crate::model::run::step::FEW_ROWS;

/// For which steps a body is planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Body {
    /// One row: each weight is read for it alone.
    One,
    /// Two rows, which share each weight they read where kernels round.
    Two,
    /// Up to [`crate::model::run::step::FEW_ROWS`] rows: keys and values go to the cache at once.
    Few,
    /// More rows: products share each weight they read, sliding layers store keys and values after attention.
    Chunk,
}

impl Body {
    pub(crate) const ALL: [Body; 4] = [Body::One, Body::Two, Body::Few, Body::Chunk];

    /// The body for a step of `n_rows`.
    pub(crate) fn of(n_rows: usize) -> Body {
        match n_rows {
            0..=1 => Body::One,
            2 => Body::Two,
            3..=FEW_ROWS => Body::Few,
            _ => Body::Chunk,
        }
    }
}

/// One entry of a plan.
#[derive(Debug)]
pub(crate) enum Op<D = Planned> {
    Dispatch(D),
    /// An inner tensor that can be looked at from here on.
    Capture {
        name: String,
        tensor: Tensor,
    },
    /// Experts that this layer chose, as far as they are in host memory, come to the device.
    BringExperts(usize),
    /// The ranks' partial results become their sum, in every rank.
    AllReduce(Tensor),
    /// The ranks' columns `from` become all columns `to`, in every rank.
    AllGather {
        from: Tensor,
        to: Tensor,
    },
}

impl Op {
    pub(crate) fn capture(name: String, tensor: &Tensor) -> Self {
        Op::Capture { name, tensor: tensor.clone() }
    }
}
