//! Attention of few rows and of many.

use super::kind::Kind;

/// What attention of few rows runs with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttentionFew {
    /// Lanes of a workgroup: 128 or 256.
    pub threads: u32,
    /// The same for heads of more than 256 dimensions.
    pub wide_threads: u32,
    /// Positions that it scores at a time, `threads / block` lanes each: a power of two up to 64.
    pub block: u32,
    /// Workgroups of a step of one row: shares of its positions make them where heads are fewer.
    pub workgroups: u32,
    /// Query heads that a workgroup serves at most: up to 4, a number of each is in a vec4.
    pub heads: usize,
    /// Octets of a key that a lane reads ahead at most: up to 8.
    pub held: u32,
}

/// What attention of many rows runs with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttentionMany {
    /// Lanes of a workgroup, as in `attention_tile.wgsl`.
    pub threads: usize,
    /// Lines, rows times query heads, that a lane adds values up for at most, as in `attention_tile.wgsl`.
    pub lines_of_lane: usize,
    /// Scores of a block of keys: lines times keys.
    pub scores: usize,
    /// Subgroups of a workgroup that works with cooperative matrices, as in `attention_matrix.wgsl`.
    pub subgroups: u32,
}

impl AttentionFew {
    /// The values for devices of `kind`.
    pub const fn of(kind: Kind) -> Self {
        match kind {
            // A CPU gains nothing by reading ahead.
            Kind::Cpu => AttentionFew { threads: 128, wide_threads: 128, block: 32, workgroups: 1, heads: 4, held: 1 },
            Kind::Nvidia | Kind::Rdna | Kind::Gcn | Kind::Intel | Kind::Apple | Kind::Adreno | Kind::Unknown => {
                AttentionFew { threads: 128, wide_threads: 256, block: 16, workgroups: 256, heads: 4, held: 8 }
            }
        }
    }

    /// Query heads of a workgroup, and workgroups that read one KV head.
    pub(in crate::kernels) fn heads_here(self, heads_per_kv: usize) -> (usize, usize) {
        let parts = heads_per_kv.div_ceil(self.heads);
        (heads_per_kv.div_ceil(parts), parts)
    }

    /// Shares of a row's positions that give a step of one row `workgroups`.
    pub(in crate::kernels) fn n_shares(self, n_kv_heads: usize, heads_per_kv: usize) -> usize {
        (self.workgroups as usize / (n_kv_heads * self.heads_here(heads_per_kv).1)).max(1)
    }
}

impl AttentionMany {
    /// The values for devices of `kind`.
    pub const fn of(kind: Kind) -> Self {
        match kind {
            Kind::Nvidia
            | Kind::Rdna
            | Kind::Gcn
            | Kind::Intel
            | Kind::Apple
            | Kind::Adreno
            | Kind::Cpu
            | Kind::Unknown => AttentionMany { threads: 256, lines_of_lane: 8, scores: 2048, subgroups: 8 },
        }
    }

    /// Lines of a tile, for heads of `octets` octets: 64, or 32 for wide heads.
    pub(in crate::kernels) fn lines(self, octets: usize) -> usize {
        if octets <= self.threads * self.lines_of_lane / 64 { 64 } else { 32 }
    }
}
