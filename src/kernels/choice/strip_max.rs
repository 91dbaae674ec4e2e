//! `strip_max.wgsl`: the largest logit of each strip of 64, where a draw looks for the largest of all.

use crate::Result;
use crate::gpu::{Grid, Tensor};
use crate::kernels::{Planned, Planner, word};

crate::kernels::params! {
    /// `Params` of `shaders/common/strips.wgsl`.
    pub struct Params {
        width: u32,
        stride: u32,
        strips: u32,
    }
}

/// Tokens of a strip.
pub const STRIP: usize = 64;

/// Lanes of a workgroup.
const LANES: usize = 64;

/// Strips of a row of `width` logits, whole quads.
pub fn strips(width: usize) -> usize {
    width.div_ceil(STRIP).next_multiple_of(4)
}

/// The parameters of both kernels that read strips of `logits`.
pub(crate) fn params(logits: &Tensor) -> Params {
    Params { width: word(logits.width), stride: word(logits.stride), strips: word(strips(logits.width)) }
}

/// Plans the maxima: `maxima` is `[rows, strips]` without padding, in an order of integers.
///
/// # Errors
/// [`crate::Error::Memory`] where parameters do not fit.
pub fn plan(planner: &Planner, label: &str, logits: &Tensor, maxima: &Tensor) -> Result<Planned> {
    let strips = strips(logits.width);
    assert!(maxima.stride == strips && logits.stride.is_multiple_of(4), "{label}: strides");
    let buffers = vec![("logits", logits.into()), ("maxima", maxima.into())];
    let grid = Grid::per_row(strips.div_ceil(LANES));
    planner.plan(label, planner.key("strip_max", vec![]), &params(logits), buffers, grid)
}
