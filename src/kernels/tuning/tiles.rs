//! Products of many rows: tiles of rows and output features, and from how many rows on larger ones are taken.

use super::super::{DotTile, MatrixTile, Tile};
use crate::gpu::Kind;

/// What products of many rows with one matrix run with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TileTuning {
    /// Tiles in f32: where they are few, and where they are many.
    pub plain: [Tile; 2],
    /// A step that has so many of the larger tiles in f32 takes them.
    pub enough: usize,
    /// As `plain`, where output features are too few to make `workgroups` workgroups.
    pub few_features: Tile,
    /// Workgroups that a product has at least: shares of its input features make them where it has fewer tiles.
    pub workgroups: usize,
    /// Tiles of products of 8-bit integers.
    pub dot: DotTile,
    /// Tiles of cooperative matrices: where they are few, and where they are many.
    pub matrix: [MatrixTile; 2],
    /// As `enough`, of cooperative matrices.
    pub enough_matrix: usize,
}

/// What products of many rows grouped by expert run with: of each pair of tiles, the first is for tens of rows an expert,
/// the second for a hundred or more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExpertTuning {
    /// Tiles in f32.
    pub plain: [Tile; 2],
    /// Tiles of products of 8-bit integers.
    pub dot: [DotTile; 2],
    /// Tiles of cooperative matrices.
    pub matrix: [MatrixTile; 2],
    /// Steps that have more rows an expert than this, were they spread evenly, take the larger tiles.
    pub small_rows: usize,
}

impl TileTuning {
    /// The values for devices of `kind`.
    pub const fn of(kind: Kind) -> Self {
        match kind {
            Kind::Cpu => TileTuning {
                plain: [CPU_TILE; 2],
                enough: 512,
                few_features: CPU_TILE,
                workgroups: 1,
                dot: CPU_DOT,
                matrix: [CPU_MATRIX; 2],
                enough_matrix: 64,
            },
            // As measured on an H200 (benches/README.md): of cooperative matrices half a tile for each core of a large GPU is
            // enough, of f32 some tiles for each.
            Kind::Nvidia => TileTuning {
                plain: [plain(16, 8, 4, 16), plain(16, 8, 8, 16)],
                enough: 512,
                few_features: plain(16, 8, 4, 16),
                workgroups: 512,
                dot: dot(8, 16, 8, 64),
                matrix: [matrix(2, 2, 2, 64), matrix(4, 2, 4, 64)],
                enough_matrix: 64,
            },
            Kind::Rdna => TileTuning {
                plain: [half(16, 8, 16), half(16, 16, 16)],
                few_features: half(16, 8, 16),
                dot: half_dot(16, 16),
                ..TileTuning::of(Kind::Nvidia)
            },
            Kind::Gcn | Kind::Intel | Kind::Apple | Kind::Adreno | Kind::Unknown => TileTuning {
                plain: [small(8, 16), small(16, 16)],
                few_features: small(16, 8),
                dot: small_dot(16, 16),
                ..TileTuning::of(Kind::Nvidia)
            },
        }
    }
}

impl ExpertTuning {
    /// The values for devices of `kind`.
    pub const fn of(kind: Kind) -> Self {
        match kind {
            Kind::Cpu => {
                ExpertTuning { plain: [CPU_TILE; 2], dot: [CPU_DOT; 2], matrix: [CPU_MATRIX; 2], small_rows: 64 }
            }
            Kind::Nvidia => ExpertTuning {
                plain: [plain(8, 16, 4, 16), plain(8, 16, 8, 16)],
                dot: [dot(4, 16, 8, 64), dot(8, 16, 8, 64)],
                matrix: [matrix(2, 2, 2, 64), matrix(4, 2, 4, 64)],
                small_rows: 64,
            },
            Kind::Rdna => ExpertTuning {
                plain: [half(8, 16, 16), half(16, 16, 16)],
                dot: [half_dot(8, 16), half_dot(16, 16)],
                ..ExpertTuning::of(Kind::Nvidia)
            },
            Kind::Gcn | Kind::Intel | Kind::Apple | Kind::Adreno | Kind::Unknown => ExpertTuning {
                plain: [small(8, 16), small(16, 16)],
                dot: [small_dot(8, 16), small_dot(16, 16)],
                ..ExpertTuning::of(Kind::Nvidia)
            },
        }
    }
}

/// Each lane reads for itself: a CPU pays for barriers.
const CPU_TILE: Tile = Tile { lanes_t: 1, lanes_n: 8, rows: 8, features: 8, k_step: None, ahead: false };
const CPU_DOT: DotTile = dot(1, 8, 8, 32);
const CPU_MATRIX: MatrixTile = matrix(2, 2, 4, 32);

/// Eight features of a lane and the next step's operands on their way, where a lane has 255 registers.
const fn plain(lanes_t: u32, lanes_n: u32, rows: u32, k_step: u32) -> Tile {
    Tile { lanes_t, lanes_n, rows, features: 8, k_step: Some(k_step), ahead: true }
}

/// As [`plain()`], of 8-bit integers.
const fn dot(lanes_t: u32, lanes_n: u32, rows: u32, k_step: u32) -> DotTile {
    DotTile { lanes_t, lanes_n, rows, features: 8, k_step, ahead: true, rolled: false }
}

/// 4 x 8 sums of a lane: about 100 registers.
const fn half(lanes_t: u32, lanes_n: u32, k_step: u32) -> Tile {
    Tile { lanes_t, lanes_n, rows: 4, features: 8, k_step: Some(k_step), ahead: false }
}

/// As [`half()`], of 8-bit integers.
const fn half_dot(lanes_t: u32, lanes_n: u32) -> DotTile {
    DotTile { lanes_t, lanes_n, rows: 4, features: 8, k_step: 32, ahead: false, rolled: false }
}

/// 4 x 4 sums of a lane: 64 registers.
const fn small(lanes_t: u32, lanes_n: u32) -> Tile {
    Tile { lanes_t, lanes_n, rows: 4, features: 4, k_step: Some(16), ahead: false }
}

/// As [`small()`], of 8-bit integers, which some of these devices do not have and compilers unpack.
const fn small_dot(lanes_t: u32, lanes_n: u32) -> DotTile {
    DotTile { lanes_t, lanes_n, rows: 4, features: 4, k_step: 32, ahead: false, rolled: true }
}

const fn matrix(blocks_t: u32, blocks_n: u32, across: u32, k_step: u32) -> MatrixTile {
    MatrixTile { blocks_t, blocks_n, across, k_step, ahead: true }
}
