//! `matmul.wgsl` and `matmul_grouped.wgsl`: products of many rows, which share each weight they read. What makes the tiles
//! depends on the planner's tier: f32 arithmetic, or cooperative matrices.

use super::moe_group::Groups;
use super::product::{Setup, Target};
use super::round_rows::{self, RoundedRows};
use super::weights::{Kind, Part};
use super::{MatrixTile, Planned, Planner, Tile, Weights, word};
use crate::Result;
use crate::gpu::{Grid, PipelineKey, Tensor};
use crate::quant::Dtype;

/// The rows of a product.
#[derive(Debug, Clone, Copy)]
pub(super) enum Rows<'a> {
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
    Matrix { tile: MatrixTile, side: u32, rounded: RoundedRows },
}

/// Fewer output features than this stay in f32: there is nothing to gain, and a router must not lose precision.
const MIN_ROUNDED_FEATURES: usize = 512;

/// Rows of x in f16 or int8 help a product with such weights.
fn may_round(weights: &Weights) -> bool {
    weights.out_features >= MIN_ROUNDED_FEATURES && weights.kind != Kind::Dense(Dtype::F32)
}

/// Rows of a tile of grouped rows, alike for all products of a step.
pub(super) fn expert_tile_rows(planner: &Planner) -> u32 {
    match planner.matrix_side() {
        Some(side) => planner.tuning.matrix_expert_tile.height(side),
        None => planner.tuning.expert_tile.height(),
    }
}

/// Plans `y = x w^T`: what is done to x first, and one dispatch for each part of the weights.
pub(super) fn plan(
    planner: &Planner,
    label: &str,
    weights: &Weights,
    rows: Rows,
    x: &Tensor,
    target: Target,
) -> Result<Vec<Planned>> {
    let tuning = &planner.tuning;
    let mut planned = Vec::new();
    let way = match (planner.matrix_side(), rows) {
        (Some(side), _) if may_round(weights) => {
            let rounded = planner.rounded_rows(x)?;
            planned.push(round_rows::plan(planner, &format!("{label}.round"), x, rows.x_rows(), &rounded)?);
            let tile = if let Rows::All(_) = rows { tuning.matrix_tile } else { tuning.matrix_expert_tile };
            Way::Matrix { tile, side, rounded }
        }
        (_, Rows::All(_)) => Way::Plain(tuning.tile),
        (_, Rows::Grouped { .. }) => Way::Plain(tuning.expert_tile.with_height(expert_tile_rows(planner))),
    };
    for part in &weights.parts {
        planned.push(plan_part(planner, label, weights, part, rows, x, target, &way)?);
    }
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
            buffers.push((5, x.into()));
            constants.extend(tile.constants(weights.in_features));
            (variant, tile.height(), tile.width())
        }
        Way::Matrix { tile, side, rounded } => {
            buffers.extend([(9, (&rounded.values).into()), (10, (&rounded.factors).into())]);
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
            buffers.push((6, count.into()));
            "matmul"
        }
        Rows::Grouped { groups, repeat } => {
            buffers.extend([(6, (&groups.tiles).into()), (8, (&groups.pairs).into())]);
            constants.push(("X_REPEAT", word(repeat)));
            grid.rows_per_row = word(groups.pairs.width);
            grid.more_rows = word(weights.n_matrices);
            "matmul_grouped"
        }
    };
    planner.plan(label, PipelineKey { stem, variant, constants }, &params, buffers, grid)
}
