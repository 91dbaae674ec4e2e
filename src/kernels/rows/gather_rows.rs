//! `gather_rows.wgsl`: `y[i] = x[chosen[i]]`, the rows of a step that want logits.

use crate::Result;
use crate::gpu::{Grid, Tensor};
use crate::kernels::{Planned, Planner, word};

crate::kernels::params! {
    /// `shaders/rows/gather_rows.wgsl`.
    pub struct Params {
        width: u32,
        stride: u32,
    }
}

/// Plans the copy of the chosen rows.
///
/// # Errors
/// [`crate::Error::Memory`] where parameters do not fit.
pub fn plan(planner: &Planner, label: &str, x: &Tensor, chosen: &Tensor, y: &Tensor) -> Result<Planned> {
    assert!(x.width == y.width && x.stride == y.stride && x.stride.is_multiple_of(4), "{label}: shapes");
    let params = Params { width: word(x.width), stride: word(x.stride) };
    let buffers = vec![("x", x.into()), ("chosen", chosen.into()), ("y", y.into())];
    planner.plan(label, planner.key("gather_rows", vec![]), &params, buffers, Grid::per_row(x.width.div_ceil(4 * 64)))
}
