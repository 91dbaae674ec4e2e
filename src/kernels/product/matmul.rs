//! `matmul.wgsl`: products of all rows of a step with one matrix.

use super::many::{Many, Tiling};
use super::operands::Target;
use super::sum_shares;
use super::tile_size::Size;
use crate::Result;
use crate::gpu::{Grid, Tensor};
use crate::kernels::tuning::TileTuning;
use crate::kernels::{Planned, Planner, Tile, Weights, word};

/// Plans `y = x w^T`: what is done to x first, and one dispatch for each part of the weights (and each size of tiles). The first
/// word of `count` is the number of rows.
pub(super) fn plan(
    planner: &Planner,
    label: &str,
    weights: &Weights,
    x: &Tensor,
    count: &Tensor,
    target: Target,
) -> Result<Vec<Planned>> {
    let tuning = &planner.tuning.tiles;
    let tiling = |size: Size| Tiling {
        size,
        plain: tuning.plain[size.number],
        dot: tuning.dot,
        matrix: tuning.matrix[size.number],
    };
    let many = Many {
        label,
        stem: "matmul",
        weights,
        x,
        x_rows: 1,
        target,
        rows: vec![("row_count", count.into())],
        constants: Vec::new(),
        grid: Grid::per_row(1),
        tilings: Size::of(planner, x.rows, weights).into_iter().map(tiling).collect(),
    };
    match shares(tuning, weights, x.rows).filter(|_| many.is_plain(planner) && target.softcap == 0.0) {
        Some(shares) => plan_shares(planner, many, count, shares),
        None => many.plan(planner),
    }
}

/// Tiles of a product of `rows` rows.
fn tiles(tile: Tile, weights: &Weights, rows: usize) -> usize {
    rows.div_ceil(tile.height() as usize) * weights.out_features.div_ceil(tile.width() as usize)
}

/// Into how many shares the input features are cut, where output features are too few.
fn shares(tuning: &TileTuning, weights: &Weights, rows: usize) -> Option<usize> {
    let tile = tuning.few_features;
    if tiles(tuning.plain[0], weights, rows) * 4 >= tuning.workgroups {
        return None;
    }
    let shares = tile.shares(tuning.workgroups, tiles(tile, weights, rows), weights.in_features);
    (shares > 1).then_some(shares)
}

/// Plans `many` with `shares` of the input features added up apart, in tiles for few output features.
fn plan_shares(planner: &Planner, many: Many, count: &Tensor, shares: usize) -> Result<Vec<Planned>> {
    let Many { label, weights, x, target, .. } = many;
    let parts = planner.share_rows(shares, x.rows, weights.out_features)?;
    let tuning = &planner.tuning.tiles;
    let tile = Tiling { size: Size::ONLY, plain: tuning.few_features, dot: tuning.dot, matrix: tuning.matrix[0] };
    let apart = Many {
        target: Target { y: &parts, column: 0, softcap: 0.0 },
        constants: vec![("SHARES", word(shares)), ("SHARE_ROWS", word(x.rows))],
        grid: Grid { z: word(shares), ..many.grid },
        tilings: vec![tile],
        ..many
    };
    let mut planned = apart.plan(planner)?;
    let label = format!("{label}.sum_shares");
    planned.push(sum_shares::plan(planner, &label, &parts, shares, count, target.y, target.column)?);
    Ok(planned)
}
