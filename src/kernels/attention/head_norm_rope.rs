//! `head_norm_rope.wgsl`: per-head norms of q, k and v, rotary embedding of q and k, and the way into the KV cache, for
//! steps of many rows.

use super::attention_tile::Queries;
use super::kv;
use crate::Result;
use crate::gpu::{Grid, Tensor};
use crate::kernels::{KvDtype, Planned, Planner, word};

pub use super::heads::{HEAD_DIM_STEP, Heads, Inputs, Kv, KvPair, KvTarget, MAX_HEAD_DIM};

crate::kernels::params! {
    /// `shaders/attention/head_norm_rope.wgsl`.
    pub struct Params {
        n_heads: u32,
        n_kv_heads: u32,
        rotated_pairs: u32,
        qkv_stride: u32,
        first_v: u32,
        q_stride: u32,
        kv_stride: u32,
        capacity: u32,
        rotary_stride: u32,
        rotary_offset: u32,
        eps: f32,
        heads_per_kv: u32,
        first_head: u32,
        q_lines: u32,
    }
}

/// Where a step's queries, keys and values go.
#[derive(Debug, Clone, Copy)]
pub struct Outputs<'a> {
    /// Room for queries, `[rows, heads * head_dim]` of f32.
    pub q: &'a Tensor,
    /// How they stand there.
    pub queries: Queries,
    /// Where keys and values go.
    pub kv: KvTarget<'a>,
    /// As what.
    pub dtype: KvDtype,
}

/// Plans norms and rotation of all heads of a layer.
///
/// # Errors
/// [`crate::Error::Memory`] where parameters do not fit.
pub fn plan(planner: &Planner, label: &str, heads: Heads, inputs: &Inputs, to: Outputs) -> Result<Planned> {
    let Outputs { q, queries, kv: target, dtype } = to;
    let Inputs { qkv, norms, rotary, rows, .. } = *inputs;
    heads.check(label);
    inputs.check(label, heads);
    assert_eq!(q.width, heads.n_heads * heads.head_dim, "{label}: width of q");
    let (k_out, v_out, capacity) = match target {
        KvTarget::Cache { cache, capacity } => (cache.k, cache.v, capacity),
        KvTarget::Rows(KvPair { k, v }) => (k, v, 0),
    };
    let heads_out = heads.n_heads + if inputs.kv == Kv::Shared { 0 } else { 2 * heads.n_kv_heads };
    let kv_words = heads.n_kv_heads * dtype.head_words(heads.head_dim);
    let fits = |t: &Tensor| t.width == kv_words && t.stride == k_out.stride;
    assert!(inputs.kv == Kv::Shared || [k_out, v_out].into_iter().all(fits), "{label}: k and v");
    let params = Params {
        n_heads: word(heads.n_heads),
        n_kv_heads: word(heads.n_kv_heads),
        rotated_pairs: word(heads.rotated_pairs),
        qkv_stride: word(qkv.stride),
        first_v: word(inputs.first_v(heads)),
        q_stride: word(q.stride),
        kv_stride: kv::row_quads(k_out.stride),
        capacity: word(capacity),
        rotary_stride: word(rotary.stride / 2),
        rotary_offset: word(heads.rotary_offset),
        eps: heads.eps,
        heads_per_kv: word(heads.heads_per_kv),
        first_head: word(heads.first_head),
        q_lines: match queries {
            Queries::Rows => 0,
            Queries::Squares { rows, .. } => word(rows * heads.heads_per_kv),
        },
    };
    let mut constants = dtype.constants(heads.head_dim);
    constants.extend([
        ("ROOM", word(kv::head_quads(heads.head_dim))),
        ("THREADS", planner.tuning.norms.threads.min(64)),
        ("TO_CACHE", u32::from(matches!(target, KvTarget::Cache { .. }))),
    ]);
    if let Queries::Squares { side, .. } = queries {
        constants.extend([("SQUARES", 1), ("Q_SIDE", side)]);
    }
    let buffers = vec![
        ("qkv", qkv.into()),
        ("norms", norms.into()),
        ("rotary", rotary.into()),
        ("rows", rows.into()),
        ("q", q.into()),
        ("k_out", k_out.into()),
        ("v_out", v_out.into()),
    ];
    planner.plan(label, planner.key("head_norm_rope", constants), &params, buffers, Grid::per_row(heads_out))
}
