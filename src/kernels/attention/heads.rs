//! What the kernels around attention share: the heads of a layer, what they read, and the KV cache.

use crate::gpu::Tensor;
use crate::kernels::KvDtype;

/// The largest head dimension that attention's shaders have room for.
pub const MAX_HEAD_DIM: usize = 512;
/// What head dimensions must be multiples of: shaders turn two vec4 of a head together.
pub const HEAD_DIM_STEP: usize = 8;

/// Keys and values.
#[derive(Debug, Clone, Copy)]
pub struct KvPair<'a> {
    /// Keys, words of a [`KvDtype`].
    pub k: &'a Tensor,
    /// Values, likewise.
    pub v: &'a Tensor,
}

/// Where keys and values of a step go, k and v, as words of a [`KvDtype`].
#[derive(Debug, Clone, Copy)]
pub enum KvTarget<'a> {
    /// Into the cache: `[slots * capacity, kv_heads * head_words]`.
    Cache {
        /// The layer's.
        cache: KvPair<'a>,
        /// Positions a slot's ring holds.
        capacity: usize,
    },
    /// Into rows of their own, `[rows, kv_heads * head_words]`.
    Rows(KvPair<'a>),
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
    pub(crate) fn check(&self, label: &str) {
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
    pub(crate) fn first_v(&self, heads: Heads) -> usize {
        match self.kv {
            Kv::Shared | Kv::KeysOnly => heads.n_heads,
            Kv::Both => heads.n_heads + heads.n_kv_heads,
        }
    }

    pub(crate) fn check(&self, label: &str, heads: Heads) {
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

/// The KV cache that attention reads.
#[derive(Debug, Clone, Copy)]
pub struct KvSource<'a> {
    /// Keys and values, `[slots * capacity, kv_heads * head_words]` words each.
    pub cache: KvPair<'a>,
    /// How they are held.
    pub dtype: KvDtype,
    /// Positions a slot's ring holds.
    pub capacity: usize,
    /// Visible positions up to the row's own; `None` for all.
    pub window: Option<usize>,
}

impl KvSource<'_> {
    pub(crate) fn check(&self, label: &str, heads: Heads) {
        let KvPair { k, v } = self.cache;
        let words = heads.n_kv_heads * self.dtype.head_words(heads.head_dim);
        assert!(k.stride == v.stride && k.width == words && v.width == words, "{label}: width of the cache");
    }
}

/// The shares that a row's positions go into, so many at most.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shares<'a> {
    pub count: usize,
    /// As the shaders have it: the largest number for no window.
    pub window: u32,
    /// What the workgroups make of them.
    pub tensor: &'a Tensor,
}
