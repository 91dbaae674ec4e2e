//! `suppress.wgsl`: ids that must not be chosen get a logit of minus infinity.

use crate::Result;
use crate::gpu::{Grid, Tensor};
use crate::kernels::{Planned, Planner, word};

crate::kernels::params! {
    /// `shaders/choice/suppress.wgsl`.
    pub struct Params {
        width: u32,
        stride: u32,
        n_ids: u32,
    }
}

/// Ids at most: the lanes of the workgroup.
pub const MAX_IDS: usize = 64;

/// What stands for no id.
pub const NO_ID: u32 = u32::MAX;

/// Plans the suppression of `suppressed`, `[1, ids]` without padding, in each row of `logits`.
///
/// # Errors
/// [`crate::Error::Memory`] where parameters do not fit.
pub fn plan(planner: &Planner, label: &str, suppressed: &Tensor, logits: &Tensor) -> Result<Planned> {
    assert!(suppressed.width <= MAX_IDS, "{label}: at most {MAX_IDS} ids");
    let params = Params { width: word(logits.width), stride: word(logits.stride), n_ids: word(suppressed.width) };
    let buffers = vec![("suppressed", suppressed.into()), ("logits", logits.into())];
    planner.plan(label, planner.key("suppress", vec![]), &params, buffers, Grid::per_row(1))
}
