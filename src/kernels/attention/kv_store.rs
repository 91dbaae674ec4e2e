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
    let buffers = vec![
        ("k", new.0.into()),
        ("v", new.1.into()),
        ("rows", rows.into()),
        ("k_cache", cache.0.into()),
        ("v_cache", cache.1.into()),
    ];
    planner.plan(label, planner.key("kv_store", vec![]), &params, buffers, Grid::per_row(1))
}
