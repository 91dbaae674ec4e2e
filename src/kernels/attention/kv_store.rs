//! `kv_store.wgsl`: a chunk's keys and values enter the ring after attention has read what they overwrite.

use super::kv;
use crate::Result;
use crate::gpu::{Grid, Tensor};
use crate::kernels::{Planned, Planner, word};

crate::kernels::params! {
    /// `shaders/attention/kv_store.wgsl`.
    pub struct Params {
        stride: u32,
        capacity: u32,
    }
}

/// Plans the copy of `new` (k and v, `[rows, kv]` words) into `cache` (k and v, `[slots * capacity, kv]` words).
///
/// # Errors
/// [`crate::Error::Memory`] where parameters do not fit.
pub fn plan(
    planner: &Planner,
    label: &str,
    new: (&Tensor, &Tensor),
    cache: (&Tensor, &Tensor),
    capacity: usize,
    rows: &Tensor,
) -> Result<Planned> {
    assert!([new.1, cache.0, cache.1].iter().all(|t| t.stride == new.0.stride), "{label}: strides");
    let params = Params { stride: kv::row_quads(new.0.stride), capacity: word(capacity) };
    let buffers =
        vec![(1, new.0.into()), (2, new.1.into()), (3, rows.into()), (4, cache.0.into()), (5, cache.1.into())];
    planner.plan(label, planner.key("kv_store", vec![]), &params, buffers, Grid::per_row(1))
}
