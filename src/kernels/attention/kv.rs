//! How the KV cache holds keys and values; `shaders/common/kv.wgsl`.

use crate::gpu::Constants;
use crate::kernels::word;

/// How the KV cache holds keys and values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KvDtype {
    /// As they are computed.
    F32,
    /// Rounded.
    F16,
    /// Codes of 8 bits in blocks of [`KV_BLOCK`] values with a scale each.
    Int8,
}

/// Values that share a scale; heads are padded to whole blocks.
pub const KV_BLOCK: usize = 32;

/// Words of a quad, which is what shaders load at once.
const QUAD: usize = 4;

impl KvDtype {
    /// Words of a head of `head_dim` values: whole quads.
    pub fn head_words(self, head_dim: usize) -> usize {
        // Heads of any size may be asked about; no real one comes near the end of numbers.
        let (blocks, quads) = (head_dim.div_ceil(KV_BLOCK), head_dim.div_ceil(KV_BLOCK * QUAD));
        match self {
            KvDtype::F32 => blocks.saturating_mul(KV_BLOCK),
            KvDtype::F16 => blocks.saturating_mul(KV_BLOCK / 2),
            KvDtype::Int8 => blocks.saturating_mul(KV_BLOCK / 4).saturating_add(quads.saturating_mul(QUAD)),
        }
    }

    /// What the shaders that read and write the cache are told.
    pub(crate) fn constants(self, head_dim: usize) -> Constants {
        vec![("KV_DTYPE", self as u32), ("HEAD_DIM", word(head_dim))]
    }
}

/// vec4 of a head in workgroup memory, padding included.
pub(crate) fn head_quads(head_dim: usize) -> usize {
    head_dim.next_multiple_of(KV_BLOCK) / QUAD
}

/// Octets of a head, padding included.
pub(crate) fn head_octets(head_dim: usize) -> usize {
    head_quads(head_dim) / 2
}

/// Quads from one row of a cache to the next.
pub(crate) fn row_quads(stride: usize) -> u32 {
    assert!(stride.is_multiple_of(QUAD), "rows of keys and values are whole quads");
    word(stride / QUAD)
}
