//! `matmul.wgsl` and `matmul_grouped.wgsl`: products of many rows, which share each weight they read. What makes the tiles
//! depends on the planner's tier and on the weights: f32 arithmetic, products of 8-bit integers, or cooperative matrices.

use super::operands::{Setup, Target};
use super::sum_shares;
use super::tile_size::{Size, can_round, dot_bits};
use super::weights::Part;
use crate::Result;
use crate::gpu::{Grid, PipelineKey, Tensor, Tier};
use crate::kernels::experts::moe_group::Groups;
use crate::kernels::rounding::f16_by_row;
use crate::kernels::rounding::f16_by_row::F16Rows;
use crate::kernels::rounding::int8_by_32;
use crate::kernels::tuning::TileTuning;
use crate::kernels::{DotTile, MatrixTile, Planned, Planner, Tile, Weights, word};

/// The rows of a product.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Rows<'a> {
    /// All rows of the step with one matrix; the tensor's first word is their number.
    All(&'a Tensor),
    /// Rows by expert, `repeat` rows of y for one of x.
    Grouped { groups: &'a Groups, repeat: usize },
}

impl Rows<'_> {
    /// Rows of x that belong to a row of the step.
    fn x_rows(self) -> usize {
        match self {
            Rows::All(_) => 1,
            Rows::Grouped { groups, repeat } => groups.pairs.width / repeat,
        }
    }
}

/// What makes the tiles.
#[derive(Debug, Clone)]
enum Way {
    Plain(Tile),
    Dot { tile: DotTile, quantized: Tensor },
    Matrix { tile: MatrixTile, side: u32, rounded: F16Rows },
}

/// Plans `y = x w^T`: what is done to x first, and one dispatch for each part of the weights (and each size of tiles).
pub(crate) fn plan(
    planner: &Planner,
    label: &str,
    weights: &Weights,
    rows: Rows,
    x: &Tensor,
    target: Target,
) -> Result<Vec<Planned>> {
    let (tuning, experts) = (&planner.tuning.tiles, &planner.tuning.experts);
    let mut planned = Vec::new();
    let is_grouped = matches!(rows, Rows::Grouped { .. });
    let sizes = match rows {
        Rows::All(_) => Size::of(planner, x.rows, weights),
        Rows::Grouped { groups, .. } => {
            Size::of_experts(planner, groups.pairs.rows, groups.pairs.width, weights.n_matrices)
        }
    };
    // One tiling for each size; all use the same arithmetic.
    let ways: Vec<Way> = match (planner.matrix_side(), dot_bits(weights)) {
        (Some(side), _) if can_round(weights) => {
            let rounded = planner.rounded_rows(x)?;
            planned.push(f16_by_row::plan(planner, &format!("{label}.round"), x, rows.x_rows(), &rounded)?);
            let limit = planner.gpu.limits().max_compute_workgroup_storage_size;
            let tiles = if is_grouped { experts.matrix } else { tuning.matrix };
            let tile = |size: &Size| tiles[size.number].within(side, limit);
            sizes.iter().map(|size| Way::Matrix { tile: tile(size), side, rounded: rounded.clone() }).collect()
        }
        (None, Some(bits)) if planner.tier >= Tier::Dot => {
            let quantized = planner.quantized_rows(x)?;
            let (label, rows) = (format!("{label}.quantize"), rows.x_rows());
            planned.push(int8_by_32::plan(planner, &label, x, rows, bits == 4, &quantized)?);
            let tiles = if is_grouped { experts.dot } else { [tuning.dot; 2] };
            sizes.iter().map(|size| Way::Dot { tile: tiles[size.number], quantized: quantized.clone() }).collect()
        }
        _ if is_grouped => {
            let tile = |size: &Size| experts.plain[size.number].with_height(size.expert_rows(planner));
            sizes.iter().map(|size| Way::Plain(tile(size))).collect()
        }
        _ => sizes.iter().map(|size| Way::Plain(tuning.plain[size.number])).collect(),
    };
    if let (Some(Way::Plain(_)), Rows::All(count)) = (ways.first(), rows)
        && let Some(shares) = shares(tuning, weights, x.rows)
        && target.softcap == 0.0
    {
        return plan_shares(planner, label, weights, count, x, target, shares);
    }
    for (size, way) in sizes.iter().zip(&ways) {
        for part in &weights.parts {
            let mut one = plan_part(planner, label, weights, part, rows, x, target, way)?;
            one.grid.step_rows = size.step_rows;
            planned.push(one);
        }
    }
    Ok(planned)
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

/// As [`plan`], with `shares` of the input features added up apart, in tiles for few output features.
fn plan_shares(
    planner: &Planner,
    label: &str,
    weights: &Weights,
    count: &Tensor,
    x: &Tensor,
    target: Target,
    shares: usize,
) -> Result<Vec<Planned>> {
    let tile = planner.tuning.tiles.few_features;
    let parts = planner.share_rows(shares, x.rows, weights.out_features)?;
    let to_parts = Target { y: &parts, column: 0, softcap: 0.0 };
    let mut planned = Vec::new();
    for part in &weights.parts {
        let mut one = plan_part(planner, label, weights, part, Rows::All(count), x, to_parts, &Way::Plain(tile))?;
        one.key.constants.extend([("SHARES", word(shares)), ("SHARE_ROWS", word(x.rows))]);
        one.grid.z = word(shares);
        planned.push(one);
    }
    let label = format!("{label}.sum_shares");
    planned.push(sum_shares::plan(planner, &label, &parts, shares, count, target.y, target.column)?);
    Ok(planned)
}

#[expect(clippy::too_many_arguments, reason = "the arguments of `plan`, the part and the way")]
fn plan_part(
    planner: &Planner,
    label: &str,
    weights: &Weights,
    part: &Part,
    rows: Rows,
    x: &Tensor,
    target: Target,
    way: &Way,
) -> Result<Planned> {
    let Setup { params, mut constants, mut buffers, variant } = Setup::new(label, weights, part, x, target);
    let (variant, height, width) = match way {
        Way::Plain(tile) => {
            buffers.push(("x", x.into()));
            constants.extend(tile.constants(weights.in_features));
            (variant, tile.height(), tile.width())
        }
        Way::Dot { tile, quantized } => {
            buffers.push(("quantized", quantized.into()));
            constants.extend(tile.constants(weights.in_features));
            ("packed dot", tile.height(), tile.width())
        }
        Way::Matrix { tile, side, rounded } => {
            buffers.extend([("rounded", (&rounded.values).into()), ("factors", (&rounded.factors).into())]);
            constants.extend(tile.constants(*side, planner.gpu.subgroup_lanes(), weights.in_features));
            let variant = match (variant, side) {
                ("packed", 16) => "packed matrix16",
                ("packed", _) => "packed matrix8",
                (_, 16) => "dense matrix16",
                (_, _) => "dense matrix8",
            };
            (variant, tile.height(*side), tile.width(*side))
        }
    };
    let mut grid = Grid { rows_per_group: height, ..Grid::per_row(part.n_rows.div_ceil(width as usize)) };
    let stem = match rows {
        Rows::All(count) => {
            buffers.push(("row_count", count.into()));
            "matmul"
        }
        Rows::Grouped { groups, repeat } => {
            buffers.extend([("tiles", (&groups.tiles).into()), ("pairs", (&groups.pairs).into())]);
            constants.push(("X_REPEAT", word(repeat)));
            grid.rows_per_row = word(groups.pairs.width);
            grid.more_rows = word(weights.n_matrices);
            "matmul_grouped"
        }
    };
    planner.plan(label, PipelineKey { stem, variant, constants }, &params, buffers, grid)
}
