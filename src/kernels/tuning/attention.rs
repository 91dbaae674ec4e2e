//! Attention of few rows and of many.

use crate::gpu::Kind;

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
    /// Octets of a key that a lane reads ahead at most: up to 4.
    pub held: u32,
    /// Quads of a value that a lane adds up: 1, or 2 for fewer lanes with twice the sums.
    pub quads: u32,
    /// Values that it adds up at a time: 1, 2 or 4.
    pub values: u32,
    /// Whether it reads values before their weights are known.
    pub ahead: bool,
    /// Whether it reads the row's heads before anything else is known, and holds them in registers.
    pub early: bool,
}

/// What attention of many rows runs with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttentionMany {
    /// Lines, rows times query heads, that a lane adds values up for: 4 or 8.
    pub lane_lines: usize,
    /// Whether a lane reads values before it needs them.
    pub ahead: bool,
    /// Whether cooperative matrices are read four at a time before they are multiplied.
    pub matrices_ahead: bool,
}

/// With the fewest registers: about 60 a lane, where Intel has 64 in subgroups of 16.
const FEW_REGISTERS: AttentionFew = AttentionFew {
    threads: 128,
    wide_threads: 256,
    block: 16,
    workgroups: 256,
    heads: 2,
    held: 0,
    quads: 1,
    values: 2,
    ahead: false,
    early: false,
};

impl AttentionFew {
    /// The values for devices of `kind`.
    pub const fn of(kind: Kind) -> Self {
        let most = AttentionFew { heads: 4, held: 4, quads: 2, values: 4, ahead: true, early: true, ..FEW_REGISTERS };
        match kind {
            Kind::Nvidia => most,
            // A CPU gains nothing by reading ahead.
            Kind::Cpu => AttentionFew { wide_threads: 128, block: 32, workgroups: 1, held: 1, ..most },
            // 128 registers a lane for 8 subgroups at a time.
            Kind::Rdna => AttentionFew { held: 2, values: 4, ahead: true, ..FEW_REGISTERS },
            // 64 registers a lane for 4 subgroups at a time.
            Kind::Gcn => AttentionFew { held: 1, ahead: true, ..FEW_REGISTERS },
            Kind::Intel | Kind::Apple | Kind::Adreno | Kind::Unknown => FEW_REGISTERS,
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

/// Lanes of a workgroup of `attention_tile.wgsl`.
const TILE_LANES: usize = 256;

impl AttentionMany {
    /// The values for devices of `kind`.
    pub const fn of(kind: Kind) -> Self {
        match kind {
            Kind::Nvidia | Kind::Cpu => AttentionMany { lane_lines: 8, ahead: true, matrices_ahead: true },
            Kind::Rdna => AttentionMany { lane_lines: 8, ahead: true, matrices_ahead: false },
            Kind::Gcn | Kind::Intel | Kind::Apple | Kind::Adreno | Kind::Unknown => {
                AttentionMany { lane_lines: 4, ahead: false, matrices_ahead: false }
            }
        }
    }

    /// Lines of a tile, for heads of `octets` octets: as many as lanes have sums for, from 16 to 64.
    pub(in crate::kernels) fn lines(self, octets: usize) -> usize {
        let most = TILE_LANES * self.lane_lines / octets;
        (1 << most.ilog2()).min(64)
    }

    /// Keys of a block whose scores with `lines` lines a lane has two of, or one where these would be too many.
    pub(in crate::kernels) fn keys(self, lines: usize) -> (usize, u32) {
        let lane_keys = if lines < 32 { 1 } else { 2 };
        (TILE_LANES * 4 / lines * lane_keys as usize, lane_keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 64 lines and 32 keys a block, as far as lanes have sums for them; heads of 512 dimensions have 64 octets.
    #[test]
    fn tiles_of_heads() {
        let sizes = |kind, octets| {
            let many = AttentionMany::of(kind);
            (many.lines(octets), many.keys(many.lines(octets)))
        };
        for (octets, big, small) in [
            (4, (64, (32, 2)), (64, (32, 2))),
            (16, (64, (32, 2)), (64, (32, 2))),
            (32, (64, (32, 2)), (32, (64, 2))),
            (36, (32, (64, 2)), (16, (64, 1))),
            (64, (32, (64, 2)), (16, (64, 1))),
        ] {
            assert_eq!(sizes(Kind::Nvidia, octets), big, "{octets}");
            assert_eq!(sizes(Kind::Unknown, octets), small, "{octets}");
        }
    }
}
