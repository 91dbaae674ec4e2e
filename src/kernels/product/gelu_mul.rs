//! `gelu_mul.wgsl`: `y = gelu(gate) * up`, element by element, with the tanh form of GELU.

use crate::Result;
use crate::gpu::{Grid, Tensor};
use crate::kernels::{Planned, Planner, word};

crate::kernels::params! {
    /// `shaders/product/gelu_mul.wgsl`.
    pub struct Params {
        width: u32,
        gate_stride: u32,
        up_stride: u32,
        up_offset: u32,
        y_stride: u32,
    }
}

/// Plans the gate, by the first columns of `gate` and those of `up` from its offset on, for rows that stand `rows_per_row`
/// to a row of the step: 1, or `top_k` behind experts. Both may be the same tensor.
///
/// # Errors
/// [`crate::Error::Memory`] where parameters do not fit.
pub fn plan(
    planner: &Planner,
    label: &str,
    gate: &Tensor,
    up: &Tensor,
    up_offset: usize,
    y: &Tensor,
    rows_per_row: usize,
) -> Result<Planned> {
    assert!(gate.width >= y.width && up_offset + y.width <= up.width, "{label}: widths");
    let params = Params {
        width: word(y.width),
        gate_stride: word(gate.stride),
        up_stride: word(up.stride),
        up_offset: word(up_offset),
        y_stride: word(y.stride),
    };
    let grid = Grid { rows_per_row: word(rows_per_row), ..Grid::per_row(y.width.div_ceil(64)) };
    let buffers = vec![("gate", gate.into()), ("up", up.into()), ("y", y.into())];
    planner.plan(label, planner.key("gelu_mul", vec![]), &params, buffers, grid)
}
