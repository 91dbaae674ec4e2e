//! Shapes of workgroups, by family of kernels and by [`Kind`] of device: which numbers of lanes, of values that a lane
//! holds and of bytes of workgroup memory suit a compiler and its registers. `docs/hardware.md` has the facts behind the
//! entries.
//!
//! Each family has a module: the struct of its values, the rules that turn shapes of tensors into workgroups, and an entry
//! for each kind. A rule belongs here where another kind of device may want another one; what a shader demands of its
//! constants stays with the shader's host file.

pub mod attention;
pub mod matvec;
pub mod norms;
#[cfg(test)]
mod page;
pub mod tiles;

pub use attention::{AttentionFew, AttentionMany};
pub use matvec::{MatvecTuning, RoundedShapes, Shape, Spread};
pub use norms::NormTuning;
pub use tiles::{ExpertTuning, TileTuning};

use crate::gpu::{Gpu, Kind};

/// Shapes of workgroups for one kind of device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tuning {
    /// The kind that the values are for.
    pub kind: Kind,
    /// Products of one row and of few.
    pub matvec: MatvecTuning,
    /// Products of many rows with one matrix.
    pub tiles: TileTuning,
    /// Products of many rows, each with the matrices of its experts.
    pub experts: ExpertTuning,
    /// Attention of few rows.
    pub attention_few: AttentionFew,
    /// Attention of many rows.
    pub attention_many: AttentionMany,
    /// Norms, choices and samplers.
    pub norms: NormTuning,
    /// Whether lanes add up within subgroups where the device has them and the tier allows it.
    pub subgroups: bool,
}

impl Tuning {
    /// The values for devices of `kind`.
    pub const fn of(kind: Kind) -> Self {
        Tuning {
            kind,
            matvec: MatvecTuning::of(kind),
            tiles: TileTuning::of(kind),
            experts: ExpertTuning::of(kind),
            attention_few: AttentionFew::of(kind),
            attention_many: AttentionMany::of(kind),
            norms: NormTuning::of(kind),
            subgroups: true,
        }
    }

    /// The values for `gpu`.
    pub fn for_device(gpu: &Gpu) -> Self {
        Tuning::of(gpu.kind())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::{DotTile, MatrixTile, Tile};

    /// 256 lanes and 16 KiB are what every device has; matrices ask for 32 KiB, and may take shorter steps.
    #[test]
    fn every_table_fits_every_device() {
        let plain = |tile: Tile| tile.lanes_t * tile.lanes_n <= 256 && plain_bytes(tile) <= 16 << 10;
        let dot = |tile: DotTile| tile.lanes_t * tile.lanes_n <= 256 && tile.workgroup_bytes() <= 16 << 10;
        let matrix = |tile: MatrixTile| {
            let least = MatrixTile { k_step: 32, ..tile };
            tile.blocks_t * tile.blocks_n <= 8 && [8, 16].iter().all(|&side| least.workgroup_bytes(side) <= 32 << 10)
        };
        for kind in Kind::ALL {
            let Tuning { tiles, experts, attention_few: few, norms, .. } = Tuning::of(kind);
            assert!([tiles.plain, experts.plain, [tiles.few_features; 2]].concat().into_iter().all(plain), "{kind}");
            assert!([[tiles.dot; 2], experts.dot].concat().into_iter().all(dot), "{kind}");
            assert!([tiles.matrix, experts.matrix].concat().into_iter().all(matrix), "{kind}");
            assert!(few.threads <= 256 && few.wide_threads <= 256 && few.block.is_power_of_two(), "{kind}");
            assert!(norms.threads.is_power_of_two() && norms.threads <= 256, "{kind}");
            assert!(norms.row_threads.is_power_of_two() && norms.row_threads <= 1024, "{kind}");
        }
    }

    fn plain_bytes(tile: Tile) -> u32 {
        tile.k_step.map_or(0, |k_step| (tile.height() + tile.width()) * k_step * 4)
    }
}
