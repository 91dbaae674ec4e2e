//! `matmul_grouped.wgsl`: products of the rows that tokens have for experts, in tiles of rows of one expert.

use super::many::{Many, Tiling};
use super::operands::Target;
use super::tile_size::Size;
use crate::Result;
use crate::gpu::{Grid, Tensor};
use crate::kernels::experts::moe_group::Groups;
use crate::kernels::{Planned, Planner, Weights, word};

/// Plans `y[p] = x[p / repeat] w[expert of p]^T` for the pairs of a token and an expert that are in `groups`: what is done to x
/// first, and one dispatch for each part of the weights (and each size of tiles).
pub(super) fn plan(
    planner: &Planner,
    label: &str,
    weights: &Weights,
    x: &Tensor,
    groups: &Groups,
    repeat: usize,
    target: Target,
) -> Result<Vec<Planned>> {
    let (tuning, top_k) = (&planner.tuning.experts, groups.pairs.width);
    let tiling = |size: Size| Tiling {
        size,
        plain: tuning.plain[size.number].with_height(size.expert_rows(planner)),
        dot: tuning.dot[size.number],
        matrix: tuning.matrix[size.number],
    };
    let sizes = Size::of_experts(planner, groups.pairs.rows, top_k, weights.n_matrices);
    let many = Many {
        label,
        stem: "matmul_grouped",
        weights,
        x,
        x_rows: top_k / repeat,
        target,
        rows: vec![("tiles", (&groups.tiles).into()), ("pairs", (&groups.pairs).into())],
        constants: vec![("X_REPEAT", word(repeat))],
        grid: Grid { rows_per_row: word(top_k), more_rows: word(weights.n_matrices), ..Grid::per_row(1) },
        tilings: sizes.into_iter().map(tiling).collect(),
    };
    many.plan(planner)
}
