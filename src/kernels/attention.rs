//! `attention.wgsl`: softmax attention over a slot's visible positions, windowed or whole.

use super::head_norm_rope::Heads;
use super::{Planned, Planner, word};
use crate::Result;
use crate::gpu::{Grid, Tensor};

super::params! {
    /// `shaders/attention.wgsl`.
    pub struct Params {
        heads_per_kv: u32,
        first_head: u32,
        head_dim: u32,
        window: u32,
        capacity: u32,
        q_stride: u32,
        kv_stride: u32,
    }
}

/// What attention reads beside the queries.
#[derive(Debug, Clone, Copy)]
pub struct KvSource<'a> {
    /// Keys and values of earlier steps, `[slots * capacity, kv_heads * head_dim]`.
    pub cache: (&'a Tensor, &'a Tensor),
    /// Positions a slot's ring holds.
    pub capacity: usize,
    /// Keys and values of this step's own rows; `None` where they are in the cache already.
    pub new: Option<(&'a Tensor, &'a Tensor)>,
    /// Visible positions up to the row's own; `None` for all.
    pub window: Option<usize>,
}

/// Plans attention of all query heads: `out` is `[rows, heads * head_dim]` as `q` is.
///
/// # Errors
/// [`crate::Error::Memory`] where parameters do not fit.
pub fn plan(
    planner: &Planner,
    label: &str,
    heads: Heads,
    (q, out): (&Tensor, &Tensor),
    kv: KvSource,
    rows: &Tensor,
) -> Result<Planned> {
    assert!(
        heads.head_dim <= super::head_norm_rope::MAX_HEAD_DIM && heads.head_dim.is_multiple_of(4),
        "{label}: head_dim"
    );
    let last_kv = (heads.first_head + heads.n_heads - 1) / heads.heads_per_kv;
    assert!(heads.first_head < heads.heads_per_kv && last_kv < heads.n_kv_heads, "{label}: query heads per KV head");
    assert!(q.stride == out.stride && kv.cache.0.stride == kv.cache.1.stride, "{label}: strides");
    let new_fits = |(k, v): (&Tensor, &Tensor)| [k, v].iter().all(|t| t.stride == kv.cache.0.stride);
    assert!(kv.new.is_none_or(new_fits), "{label}: strides of new rows");
    let params = Params {
        heads_per_kv: word(heads.heads_per_kv),
        first_head: word(heads.first_head),
        head_dim: word(heads.head_dim),
        window: word(kv.window.unwrap_or(0)),
        capacity: word(kv.capacity),
        q_stride: word(q.stride),
        kv_stride: word(kv.cache.0.stride),
    };
    let key = planner
        .key("attention", vec![("FROM_CACHE", u32::from(kv.new.is_none())), ("LANES", planner.tuning.attention_lanes)]);
    let new = kv.new.unwrap_or(kv.cache);
    let buffers = vec![
        (1, q.into()),
        (2, kv.cache.0.into()),
        (3, kv.cache.1.into()),
        (4, new.0.into()),
        (5, new.1.into()),
        (6, rows.into()),
        (7, out.into()),
    ];
    planner.plan(label, key, &params, buffers, Grid::per_row(heads.n_heads))
}
