//! `argmax.wgsl`: greedy choice, the index of each row's largest value.

use super::{Planned, Planner, word};
use crate::Result;
use crate::gpu::{Grid, Tensor};

super::params! {
    /// `shaders/argmax.wgsl`.
    pub struct Params {
        width: u32,
        stride: u32,
    }
}

/// What stands for an id where a row has a NaN or plus infinity.
pub const NOT_FINITE: u32 = u32::MAX;

/// Plans the greedy choice: `ids` is `[rows, 1]` without padding.
///
/// # Errors
/// [`crate::Error::Memory`] where parameters do not fit.
pub fn plan(planner: &Planner, label: &str, logits: &Tensor, ids: &Tensor) -> Result<Planned> {
    assert!(ids.stride == 1, "{label}: one id a row");
    let params = Params { width: word(logits.width), stride: word(logits.stride) };
    let buffers = vec![(1, logits.into()), (2, ids.into())];
    planner.plan(label, planner.key("argmax", vec![]), &params, buffers, Grid::per_row(1))
}
