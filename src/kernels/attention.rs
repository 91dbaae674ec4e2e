//! `attention.wgsl`: softmax attention over a slot's visible positions, windowed or whole.

use super::head_norm_rope::{Heads, MAX_HEAD_DIM};
use super::{Planned, Planner, Tuning, attention_join, word};
use crate::Result;
use crate::gpu::{Grid, Tensor};

super::params! {
    /// `shaders/attention.wgsl`.
    pub struct Params {
        n_heads: u32,
        heads_per_kv: u32,
        first_head: u32,
        window: u32,
        capacity: u32,
        q_stride: u32,
        kv_stride: u32,
    }
}

/// Query heads that a workgroup serves: a number of each stands in a vec4.
const MAX_HEADS: usize = 4;

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

/// The step's rows, their queries, and what attention makes of them.
#[derive(Debug, Clone, Copy)]
pub struct Buffers<'a> {
    /// `[rows, heads * head_dim]`.
    pub q: &'a Tensor,
    /// `[rows, heads * head_dim]`.
    pub out: &'a Tensor,
    /// The step's rows.
    pub rows: &'a Tensor,
    /// Room for [`share_words`], where several workgroups are to share a row's positions: for steps of few rows.
    pub shares: Option<&'a Tensor>,
}

/// Into how many shares a row's positions go at most.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shares {
    pub count: usize,
    /// As the shaders have it: the largest number for no window.
    pub window: u32,
}

/// Query heads of a workgroup, and workgroups that read one KV head.
fn heads_here(heads_per_kv: usize) -> (usize, usize) {
    let parts = heads_per_kv.div_ceil(MAX_HEADS);
    (heads_per_kv.div_ceil(parts), parts)
}

/// Shares of a row's positions that give a step of one row `workgroups`.
fn n_shares(n_kv_heads: usize, heads_per_kv: usize, workgroups: u32) -> usize {
    (workgroups as usize / (n_kv_heads * heads_here(heads_per_kv).1)).max(1)
}

/// Words of the shares' results of a step of up to `rows` rows with any [`Tuning`] up to that for GPUs.
pub fn share_words(n_heads: usize, n_kv_heads: usize, head_dim: usize, rows: usize) -> usize {
    // A rank's heads may begin and end inside a group: then groups are larger than this, and shares fewer.
    let heads_per_kv = n_heads.div_ceil(n_kv_heads);
    let count = n_shares(n_kv_heads, heads_per_kv, Tuning::GPU.attention_workgroups);
    // Several rows divide the shares of one row among them, and have at least one each.
    count.max(rows) * n_heads * (head_dim + 4)
}

/// Plans attention of all query heads.
///
/// # Errors
/// [`crate::Error::Memory`] where parameters do not fit.
pub fn plan(planner: &Planner, label: &str, heads: Heads, b: Buffers, kv: KvSource) -> Result<Vec<Planned>> {
    let Heads { n_heads, n_kv_heads, heads_per_kv, first_head, head_dim, .. } = heads;
    let Tuning { attention_threads: threads, attention_block: block, attention_workgroups, .. } = planner.tuning;
    assert!(head_dim <= MAX_HEAD_DIM && head_dim.is_multiple_of(4), "{label}: head_dim");
    assert!(head_dim <= 4 * threads as usize && threads.is_multiple_of(block), "{label}: lanes");
    let last_kv = (first_head + n_heads - 1) / heads_per_kv;
    assert!(first_head < heads_per_kv && last_kv < n_kv_heads, "{label}: query heads per KV head");
    assert!(b.q.stride == b.out.stride && kv.cache.0.stride == kv.cache.1.stride, "{label}: strides");
    let new_fits = |(k, v): (&Tensor, &Tensor)| [k, v].iter().all(|t| t.stride == kv.cache.0.stride);
    assert!(kv.new.is_none_or(new_fits), "{label}: strides of new rows");
    let (heads_here, parts) = heads_here(heads_per_kv);
    // A window has no more shares than blocks.
    let blocks = kv.window.map_or(usize::MAX, |window| window.div_ceil(block as usize));
    let count = n_shares(n_kv_heads, heads_per_kv, attention_workgroups).min(blocks);
    let shares = b.shares.filter(|_| count > 1).map(|tensor| {
        let n_shares = Shares { count, window: kv.window.map_or(u32::MAX, word) };
        assert!(tensor.width >= count * n_heads * (head_dim + 4), "{label}: room for shares");
        (n_shares, tensor)
    });
    let params = Params {
        n_heads: word(n_heads),
        heads_per_kv: word(heads_per_kv),
        first_head: word(first_head),
        window: kv.window.map_or(u32::MAX, word),
        capacity: word(kv.capacity),
        q_stride: word(b.q.stride),
        kv_stride: word(kv.cache.0.stride),
    };
    let constants = vec![
        ("FROM_CACHE", u32::from(kv.new.is_none())),
        ("WHOLE", u32::from(shares.is_none())),
        ("HEADS", word(heads_here)),
        ("HEAD_DIM", word(head_dim)),
        ("QUERIES", word(heads_here * head_dim / 4)),
        ("THREADS", threads),
        ("BLOCK", block),
        ("SPLITS", shares.map_or(1, |(n_shares, _)| word(n_shares.count))),
    ];
    let new = kv.new.unwrap_or(kv.cache);
    let buffers = vec![
        (1, b.q.into()),
        (2, kv.cache.0.into()),
        (3, kv.cache.1.into()),
        (4, new.0.into()),
        (5, new.1.into()),
        (6, b.rows.into()),
        (7, shares.map_or(b.out, |(_, tensor)| tensor).into()),
    ];
    let grid = Grid { z: shares.map_or(1, |(n_shares, _)| word(n_shares.count)), ..Grid::per_row(n_kv_heads * parts) };
    let mut planned = vec![planner.plan(label, planner.key("attention", constants), &params, buffers, grid)?];
    if let Some(shares) = shares {
        planned.push(attention_join::plan(planner, label, heads, b, shares)?);
    }
    Ok(planned)
}
