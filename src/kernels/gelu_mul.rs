//! `gelu_mul.wgsl`: `y = gelu(gate) * up`, element by element, with the tanh form of GELU.

use super::{Planned, Planner, word};
use crate::Result;
use crate::gpu::{Grid, Tensor};

super::params! {
    /// `shaders/gelu_mul.wgsl`.
    pub struct Params {
        width: u32,
        stride: u32,
        up_stride: u32,
        up_offset: u32,
    }
}

/// Plans the gate by the columns of `up` from its second part on, for rows that stand `rows_per_row` to a row of the step: 1, or `top_k` behind experts.
///
/// # Errors
/// [`crate::Error::Memory`] where parameters do not fit.
pub fn plan(
    planner: &Planner,
    label: &str,
    gate: &Tensor,
    (up, up_offset): (&Tensor, usize),
    y: &Tensor,
    rows_per_row: usize,
) -> Result<Planned> {
    assert!(gate.width == y.width && up_offset + y.width <= up.width, "{label}: widths");
    assert!(gate.stride == y.stride, "{label}: strides");
    let (width, stride) = (word(y.width), word(y.stride));
    let params = Params { width, stride, up_stride: word(up.stride), up_offset: word(up_offset) };
    let grid = Grid { rows_per_row: word(rows_per_row), ..Grid::per_row(y.width.div_ceil(64)) };
    let buffers = vec![(1, gate.into()), (2, up.into()), (3, y.into())];
    planner.plan(label, planner.key("gelu_mul", vec![]), &params, buffers, grid)
}
