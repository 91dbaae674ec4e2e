//! `head_norm_rope.wgsl`: per-head norms of q, k and v, rotary embedding of q and k, and the way into the KV cache, for
//! steps of many rows.

use super::attention_tile::Queries;
use super::{KvDtype, Planned, Planner, kv, word};
use crate::Result;
use crate::gpu::{Grid, Tensor};

super::params! {
    /// `shaders/head_norm_rope.wgsl`.
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

/// The largest head dimension that attention's shaders have room for.
pub const MAX_HEAD_DIM: usize = 512;
/// What head dimensions must be multiples of: shaders turn two vec4 of a head together.
pub const HEAD_DIM_STEP: usize = 8;

/// Where keys and values of a step go, k and v, as words of a [`KvDtype`].
#[derive(Debug, Clone, Copy)]
pub enum KvTarget<'a> {
    /// Into the cache: `[slots * capacity, kv_heads * head_words]`.
    Cache(&'a Tensor, &'a Tensor, usize),
    /// Into rows of their own, `[rows, kv_heads * head_words]`.
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
    /// Dimensions of a head: a multiple of [`HEAD_DIM_STEP`], at most [`MAX_HEAD_DIM`].
    pub head_dim: usize,
    /// Pairs `(i, i + head_dim / 2)` that are rotated.
    pub rotated_pairs: usize,
    /// Where this kind of layer's pairs begin in a row of the rotary table.
    pub rotary_offset: usize,
    /// Epsilon of the norms.
    pub eps: f32,
}

impl Heads {
    pub(super) fn check(&self, label: &str) {
        let Heads { n_heads, n_kv_heads, heads_per_kv, first_head, head_dim, rotated_pairs, .. } = *self;
        assert!(head_dim <= MAX_HEAD_DIM && head_dim.is_multiple_of(HEAD_DIM_STEP), "{label}: head_dim");
        assert!(2 * rotated_pairs <= head_dim, "{label}: rotated pairs");
        let last_kv = (first_head + n_heads - 1) / heads_per_kv;
        assert!(first_head < heads_per_kv && last_kv < n_kv_heads, "{label}: query heads per KV head");
    }
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

/// What the kernels read.
#[derive(Debug, Clone, Copy)]
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

impl Inputs<'_> {
    /// Number in `qkv` of the head that v begins with.
    pub(super) fn first_v(&self, heads: Heads) -> usize {
        match self.kv {
            Kv::Shared | Kv::KeysOnly => heads.n_heads,
            Kv::Both => heads.n_heads + heads.n_kv_heads,
        }
    }

    pub(super) fn check(&self, label: &str, heads: Heads) {
        let heads_in = match self.kv {
            Kv::Shared => heads.n_heads,
            Kv::KeysOnly => heads.n_heads + heads.n_kv_heads,
            Kv::Both => heads.n_heads + 2 * heads.n_kv_heads,
        };
        assert!(self.qkv.width >= heads_in * heads.head_dim, "{label}: width of qkv");
        let pairs = heads.rotary_offset + heads.rotated_pairs;
        assert!(2 * pairs <= self.rotary.width, "{label}: width of the rotary table");
    }
}

/// Plans norms and rotation of all heads of a layer; queries go to `q`, which has room for `[rows, heads * head_dim]` of
/// f32, keys and values to `target` as `dtype`.
///
/// # Errors
/// [`crate::Error::Memory`] where parameters do not fit.
pub fn plan(
    planner: &Planner,
    label: &str,
    heads: Heads,
    inputs: &Inputs,
    (q, queries): (&Tensor, Queries),
    (target, dtype): (KvTarget, KvDtype),
) -> Result<Planned> {
    let Inputs { qkv, norms, rotary, rows, .. } = *inputs;
    heads.check(label);
    inputs.check(label, heads);
    assert_eq!(q.width, heads.n_heads * heads.head_dim, "{label}: width of q");
    let (k_out, v_out, capacity) = match target {
        KvTarget::Cache(k, v, capacity) => (k, v, capacity),
        KvTarget::Rows(k, v) => (k, v, 0),
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
        ("TO_CACHE", u32::from(matches!(target, KvTarget::Cache(..)))),
    ]);
    if let Queries::Squares { side, .. } = queries {
        constants.extend([("SQUARES", 1), ("Q_SIDE", side)]);
    }
    let buffers = vec![
        (1, qkv.into()),
        (2, norms.into()),
        (3, rotary.into()),
        (4, rows.into()),
        (5, q.into()),
        (6, k_out.into()),
        (7, v_out.into()),
    ];
    planner.plan(label, planner.key("head_norm_rope", constants), &params, buffers, Grid::per_row(heads_out))
}
