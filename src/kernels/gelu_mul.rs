//! `gelu_mul.wgsl`: `y = gelu(gate) * up`, element by element, with the tanh form of GELU.

use super::{Planned, Planner, word};
use crate::Result;
use crate::gpu::{Grid, Tensor};

super::params! {
    /// `shaders/gelu_mul.wgsl`.
    pub struct Params {
        width: u32,
        stride: u32,
    }
}

/// Plans the gate for rows that stand `rows_per_row` to a row of the step: 1, or `top_k` behind experts.
///
/// # Errors
/// [`crate::Error::Memory`] where parameters do not fit.
pub fn plan(
    planner: &Planner,
    label: &str,
    gate: &Tensor,
    up: &Tensor,
    y: &Tensor,
    rows_per_row: usize,
) -> Result<Planned> {
    assert!(gate.width == up.width && up.width == y.width, "{label}: widths");
    assert!(gate.stride == y.stride && up.stride == y.stride, "{label}: strides");
    let params = Params { width: word(y.width), stride: word(y.stride) };
    let grid = Grid { rows_per_row: word(rows_per_row), ..Grid::per_row(y.width.div_ceil(64)) };
    let buffers = vec![(1, gate.into()), (2, up.into()), (3, y.into())];
    planner.plan(label, planner.key("gelu_mul", vec![]), &params, buffers, grid)
}
