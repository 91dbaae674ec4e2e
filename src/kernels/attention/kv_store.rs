//! `kv_store.wgsl`: a chunk's keys and values enter the ring after attention has read what they overwrite.

use super::heads::KvPair;
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
    new: KvPair,
    cache: KvPair,
    capacity: usize,
    rows: &Tensor,
) -> Result<Planned> {
    assert!([new.v, cache.k, cache.v].iter().all(|t| t.stride == new.k.stride), "{label}: strides");
    let params = Params { stride: kv::row_quads(new.k.stride), capacity: word(capacity) };
    let buffers = vec![
        ("k", new.k.into()),
        ("v", new.v.into()),
        ("rows", rows.into()),
        ("k_cache", cache.k.into()),
        ("v_cache", cache.v.into()),
    ];
    planner.plan(label, planner.key("kv_store", vec![]), &params, buffers, Grid::per_row(1))
}
