//! `rms_norm.wgsl`: `y[t] = x[t] / sqrt(mean(x[t]^2) + eps) * norms[weight]`.

use crate::Result;
use crate::gpu::{Grid, Tensor};
use crate::kernels::rounding::int8_by_16;
use crate::kernels::{Planned, Planner, word};

crate::kernels::params! {
    /// `shaders/norm/rms_norm.wgsl`.
    pub struct Params {
        stride: u32,
        weight: u32,
        eps: f32,
    }
}

/// Plans the norm of every row of x with row `weight` of `norms`, into y and, where there is a tensor for it, rounded too.
///
/// # Errors
/// [`crate::Error::Memory`] where parameters do not fit.
pub fn plan(
    planner: &Planner,
    label: &str,
    (norms, weight): (&Tensor, usize),
    x: &Tensor,
    (y, rounded): (&Tensor, Option<&Tensor>),
    eps: f32,
) -> Result<Planned> {
    assert!(x.width == norms.width && y.width == norms.width && weight < norms.rows, "{label}: shapes");
    assert!(x.stride == norms.stride && y.stride == norms.stride, "{label}: strides");
    let params = Params { stride: word(x.stride), weight: word(weight), eps };
    let mut buffers = vec![("x", x.into()), ("norms", norms.into()), ("y", y.into())];
    let constants = planner.held_rows(x.width);
    let key = int8_by_16::outputs("rms_norm", constants, &mut buffers, [rounded, None]);
    planner.plan(label, key, &params, buffers, Grid::per_row(1))
}
