//! `head_norm_rope.wgsl`: per-head norms of q, k and v, rotary embedding of q and k, and the way into the KV cache.

use super::{Planned, Planner, word};
use crate::Result;
use crate::gpu::{Grid, Tensor};

super::params! {
    /// `shaders/head_norm_rope.wgsl`.
    pub struct Params {
        n_heads: u32,
        n_kv_heads: u32,
        head_dim: u32,
        rotated_pairs: u32,
        qkv_stride: u32,
        first_v: u32,
        q_stride: u32,
        kv_stride: u32,
        capacity: u32,
        rotary_stride: u32,
        rotary_offset: u32,
        eps: f32,
    }
}

/// The largest head dimension that attention's shaders have room for.
pub const MAX_HEAD_DIM: usize = 512;

/// Where keys and values of a step go.
#[derive(Debug, Clone, Copy)]
pub enum KvTarget<'a> {
    /// Into the cache: `[slots * capacity, kv_heads * head_dim]`, k and v.
    Cache(&'a Tensor, &'a Tensor, usize),
    /// Into rows of their own, `[rows, kv_heads * head_dim]`, k and v.
    Rows(&'a Tensor, &'a Tensor),
}

/// Sizes of a layer's heads and what its rotation needs.
#[derive(Debug, Clone, Copy)]
pub struct Heads {
    /// Query heads.
    pub n_heads: usize,
    /// Key and value heads.
    pub n_kv_heads: usize,
    /// Query heads that read the same key and value head.
    pub heads_per_kv: usize,
    /// Number of the first query head among those that share the first key and value head: not 0 where a shard of the
    /// heads starts inside such a group.
    pub first_head: usize,
    /// Dimensions of a head.
    pub head_dim: usize,
    /// Pairs `(i, i + head_dim / 2)` that are rotated.
    pub rotated_pairs: usize,
    /// Where this kind of layer's pairs begin in a row of the rotary table.
    pub rotary_offset: usize,
    /// Epsilon of the norms.
    pub eps: f32,
}

/// Keys and values that a layer makes itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kv {
    /// None: it reads another layer's.
    Shared,
    /// Keys, which are the values too before norm and rotation.
    KeysOnly,
    /// Keys and values.
    Both,
}

/// What the kernel reads.
#[derive(Debug)]
pub struct Inputs<'a> {
    /// `[rows, (heads + kv_heads + kv_heads) * head_dim]`: the heads of q, then of k and v; without v where the layer has
    /// K = V, and q alone where it reads another layer's keys and values.
    pub qkv: &'a Tensor,
    /// Which of these are there.
    pub kv: Kv,
    /// `q_norm` and `k_norm`, `[2, head_dim]` without padding.
    pub norms: &'a Tensor,
    /// cos and sin of each row's angles, two values a pair.
    pub rotary: &'a Tensor,
    /// The step's rows.
    pub rows: &'a Tensor,
}

/// Plans norms and rotation of all heads of a layer; queries go to `q`, `[rows, heads * head_dim]`.
///
/// # Errors
/// [`crate::Error::Memory`] where parameters do not fit.
pub fn plan(
    planner: &Planner,
    label: &str,
    heads: Heads,
    inputs: &Inputs,
    q: &Tensor,
    target: KvTarget,
) -> Result<Planned> {
    let Inputs { qkv, kv, norms, rotary, rows } = *inputs;
    let kv_width = heads.n_kv_heads * heads.head_dim;
    assert!(heads.head_dim <= MAX_HEAD_DIM && heads.head_dim.is_multiple_of(4), "{label}: head_dim");
    assert!(2 * heads.rotated_pairs <= heads.head_dim, "{label}: rotated pairs");
    assert!(2 * (heads.rotary_offset + heads.rotated_pairs) <= rotary.width, "{label}: width of the rotary table");
    assert_eq!(q.width, heads.n_heads * heads.head_dim, "{label}: width of q");
    let (k_out, v_out, capacity) = match target {
        KvTarget::Cache(k, v, capacity) => (k, v, capacity),
        KvTarget::Rows(k, v) => (k, v, 0),
    };
    let (heads_in, heads_out, first_v) = match kv {
        Kv::Shared => (heads.n_heads, heads.n_heads, 0),
        Kv::KeysOnly => (heads.n_heads + heads.n_kv_heads, heads.n_heads + 2 * heads.n_kv_heads, heads.n_heads),
        Kv::Both => {
            let all = heads.n_heads + 2 * heads.n_kv_heads;
            (all, all, heads.n_heads + heads.n_kv_heads)
        }
    };
    assert!(qkv.width >= heads_in * heads.head_dim, "{label}: width of qkv");
    let fits = |t: &Tensor| t.width == kv_width && t.stride == k_out.stride;
    assert!(kv == Kv::Shared || [k_out, v_out].into_iter().all(fits), "{label}: k and v");
    let params = Params {
        n_heads: word(heads.n_heads),
        n_kv_heads: word(heads.n_kv_heads),
        head_dim: word(heads.head_dim),
        rotated_pairs: word(heads.rotated_pairs),
        qkv_stride: word(qkv.stride),
        first_v: word(first_v),
        q_stride: word(q.stride),
        kv_stride: word(k_out.stride),
        capacity: word(capacity),
        rotary_stride: word(rotary.stride / 2),
        rotary_offset: word(heads.rotary_offset),
        eps: heads.eps,
    };
    let to_cache = u32::from(matches!(target, KvTarget::Cache(..)));
    let key = planner.key("head_norm_rope", vec![("THREADS", planner.tuning.threads.min(64)), ("TO_CACHE", to_cache)]);
    let buffers = vec![
        (1, qkv.into()),
        (2, norms.into()),
        (3, rotary.into()),
        (4, rows.into()),
        (5, q.into()),
        (6, k_out.into()),
        (7, v_out.into()),
    ];
    planner.plan(label, key, &params, buffers, Grid::per_row(heads_out))
}
