//! `moe_group.wgsl`: the rows of each expert, in tiles that `matmul_grouped.wgsl` multiplies.

use std::ops::Range;

use crate::Result;
use crate::gpu::{Gpu, Grid, Tensor};
use crate::kernels::product::tile_size::Size;
use crate::kernels::{Planned, Planner, word};

crate::kernels::params! {
    /// `shaders/experts/moe_group.wgsl`.
    pub struct Params {
        first_expert: u32,
    }
}

/// Pairs of a row and a slot, by expert.
#[derive(Debug)]
pub struct Groups {
    /// `[rows, top_k]` without padding: numbers of pairs, those of an expert together.
    pub pairs: Tensor,
    /// `[places, 4]`: expert, the tile's first in `pairs`, how many, unused.
    pub tiles: Tensor,
}

/// Tiles have at least so many rows: how many places there are does not depend on the device.
const MIN_TILE_ROWS: usize = 4;

impl Groups {
    /// Room for the pairs of `rows` rows.
    ///
    /// # Errors
    /// [`crate::Error::Memory`] where it does not fit.
    pub fn new(gpu: &Gpu, rows: usize, top_k: usize, n_experts: usize) -> Result<Self> {
        Ok(Groups {
            pairs: Tensor::compact(gpu, "experts_pairs", rows, top_k)?,
            tiles: Tensor::compact(gpu, "experts_tiles", Groups::places(rows, top_k, n_experts), 4)?,
        })
    }

    /// Places for tiles: each expert's rows begin a tile.
    pub(crate) fn places(rows: usize, top_k: usize, n_experts: usize) -> usize {
        rows.saturating_mul(top_k).div_ceil(MIN_TILE_ROWS).saturating_add(n_experts)
    }
}

/// Plans the grouping of `ids`, `[rows, top_k]` without padding, by the `experts` of this rank, for each size of tiles that
/// steps may have. `row_count` holds the number of rows.
///
/// # Errors
/// [`crate::Error::Memory`] where parameters do not fit.
pub fn plan(
    planner: &Planner,
    label: &str,
    ids: &Tensor,
    row_count: &Tensor,
    experts: Range<usize>,
    groups: &Groups,
) -> Result<Vec<Planned>> {
    let top_k = ids.width;
    assert!(ids.stride == top_k && groups.pairs.width == top_k && ids.rows <= groups.pairs.rows, "{label}: pairs");
    assert!(Groups::places(ids.rows, top_k, experts.len()) <= groups.tiles.rows, "{label}: places for tiles");
    let plan = |size: Size| {
        let tile_rows = size.expert_rows(planner);
        assert!(tile_rows as usize >= MIN_TILE_ROWS, "{label}: rows of a tile");
        let constants = vec![("THREADS", planner.tuning.norms.threads), ("TOP_K", word(top_k)), ("TILE_T", tile_rows)];
        let (pairs, places) = (&groups.pairs, &groups.tiles);
        let buffers = vec![
            ("ids", ids.into()),
            ("row_count", row_count.into()),
            ("pairs", pairs.into()),
            ("tiles", places.into()),
        ];
        let step_rows = size.step_rows;
        let grid = Grid { rows_per_row: 0, more_rows: 1, step_rows, ..Grid::per_row(experts.len()) };
        let params = Params { first_expert: word(experts.start) };
        planner.plan(label, planner.key("moe_group", constants), &params, buffers, grid)
    };
    Size::of_experts(planner, groups.pairs.rows, top_k, experts.len()).into_iter().map(plan).collect()
}
