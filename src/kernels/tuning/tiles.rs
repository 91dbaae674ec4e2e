//! Products of many rows: tiles of rows and output features, and from how many rows on larger ones are taken.

use super::super::{DotTile, MatrixTile, Tile};
use super::kind::Kind;

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
            Kind::Nvidia | Kind::Rdna | Kind::Gcn | Kind::Intel | Kind::Apple | Kind::Adreno | Kind::Unknown => {
                TileTuning {
                    plain: [plain(16, 8, 4, 16), plain(16, 8, 8, 16)],
                    enough: 512,
                    few_features: plain(16, 8, 4, 16),
                    workgroups: 512,
                    dot: dot(8, 16, 8, 64),
                    matrix: [matrix(2, 2, 2, 64), matrix(4, 2, 4, 64)],
                    enough_matrix: 64,
                }
            }
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
            Kind::Nvidia | Kind::Rdna | Kind::Gcn | Kind::Intel | Kind::Apple | Kind::Adreno | Kind::Unknown => {
                ExpertTuning {
                    plain: [plain(8, 16, 4, 16), plain(8, 16, 8, 16)],
                    dot: [dot(4, 16, 8, 64), dot(8, 16, 8, 64)],
                    matrix: [matrix(2, 2, 2, 64), matrix(4, 2, 4, 64)],
                    small_rows: 64,
                }
            }
        }
    }
}

/// Each lane reads for itself: a CPU pays for barriers.
const CPU_TILE: Tile = Tile { lanes_t: 1, lanes_n: 8, rows: 8, k_step: None };
const CPU_DOT: DotTile = dot(1, 8, 8, 32);
const CPU_MATRIX: MatrixTile = matrix(2, 2, 4, 32);

const fn plain(lanes_t: u32, lanes_n: u32, rows: u32, k_step: u32) -> Tile {
    Tile { lanes_t, lanes_n, rows, k_step: Some(k_step) }
}

const fn dot(lanes_t: u32, lanes_n: u32, rows: u32, k_step: u32) -> DotTile {
    DotTile { lanes_t, lanes_n, rows, k_step }
}

const fn matrix(blocks_t: u32, blocks_n: u32, across: u32, k_step: u32) -> MatrixTile {
    MatrixTile { blocks_t, blocks_n, across, k_step, ahead: true }
}
