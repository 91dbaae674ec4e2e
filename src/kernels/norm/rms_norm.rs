//! `rms_norm.wgsl`: `y[t] = x[t] / sqrt(mean(x[t]^2) + eps) * norms[weight]`.

use crate::Result;
use crate::gpu::{Grid, Tensor};
use crate::kernels::rounding::int8_by_16::{self, Outputs};
use crate::kernels::{Planned, Planner, word};

crate::kernels::params! {
    /// `shaders/norm/rms_norm.wgsl`.
    pub struct Params {
        stride: u32,
        weight: u32,
        eps: f32,
    }
}

/// A row of a table of norms' weights.
#[derive(Debug, Clone, Copy)]
pub struct NormRow<'a> {
    /// `[norms, width]`.
    pub norms: &'a Tensor,
    /// Which of them.
    pub row: usize,
}

/// Plans the norm of every row of x with row `weight` of `norms`, into y and, where there is a tensor for it, rounded too.
///
/// # Errors
/// [`crate::Error::Memory`] where parameters do not fit.
pub fn plan(planner: &Planner, label: &str, norm: NormRow, x: &Tensor, to: Outputs, eps: f32) -> Result<Planned> {
    let (NormRow { norms, row: weight }, Outputs { y, rounded }) = (norm, to);
    assert!(x.width == norms.width && y.width == norms.width && weight < norms.rows, "{label}: shapes");
    assert!(x.stride == norms.stride && y.stride == norms.stride, "{label}: strides");
    let params = Params { stride: word(x.stride), weight: word(weight), eps };
    let mut buffers = vec![("x", x.into()), ("norms", norms.into()), ("y", y.into())];
    let constants = planner.held_rows(x.width);
    let key = int8_by_16::outputs("rms_norm", constants, &mut buffers, [rounded, None]);
    planner.plan(label, key, &params, buffers, Grid::per_row(1))
}
