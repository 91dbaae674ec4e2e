//! `argmax.wgsl`: greedy choice, the index of each row's largest value.

use crate::Result;
use crate::gpu::{Grid, Tensor};
use crate::kernels::{Planned, Planner, word};

crate::kernels::params! {
    /// `shaders/choice/argmax.wgsl`.
    pub struct Params {
        width: u32,
        stride: u32,
        parts: u32,
    }
}

/// What stands for an id where a row has a NaN or plus infinity.
pub const NOT_FINITE: u32 = u32::MAX;

/// Parts of a row at most: as many as a workgroup can have lanes.
const MAX_PARTS: usize = 256;

/// Width of the scratch tensor of [`plan`], without padding: value and index of a row's best, part by part.
pub const SCRATCH_WIDTH: usize = 2 * MAX_PARTS;

/// Plans the greedy choice: `ids` is `[rows, 1]` without padding, `scratch` has [`SCRATCH_WIDTH`] words for each row.
///
/// # Errors
/// [`crate::Error::Memory`] where parameters do not fit.
pub fn plan(planner: &Planner, label: &str, logits: &Tensor, scratch: &Tensor, ids: &Tensor) -> Result<[Planned; 2]> {
    assert!(ids.stride == 1, "{label}: one id a row");
    assert!(logits.stride.is_multiple_of(4) && scratch.stride == SCRATCH_WIDTH, "{label}: strides");
    // Below, a column of lanes would be missing.
    let threads = planner.tuning.norms.threads.max(16) as usize;
    let quads = logits.width.div_ceil(4);
    // As many parts as the second stage has lanes, or fewer.
    let lane_quads = quads.div_ceil(threads * threads);
    let parts = quads.div_ceil(threads * lane_quads);
    let params = Params { width: word(logits.width), stride: word(logits.stride), parts: word(parts) };
    let stage = |label: &str, is_last: bool| {
        let constants =
            vec![("THREADS", word(threads)), ("LANE_QUADS", word(lane_quads)), ("LAST", u32::from(is_last))];
        let buffers = vec![("logits", logits.into()), ("parts", scratch.into()), ("ids", ids.into())];
        let grid = Grid::per_row(if is_last { 1 } else { parts });
        planner.plan(label, planner.key("argmax", constants), &params, buffers, grid)
    };
    Ok([stage(&format!("{label}.parts"), false)?, stage(label, true)?])
}
