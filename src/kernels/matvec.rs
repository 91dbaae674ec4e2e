//! `matvec.wgsl`: products of one row of x at a time, alone, gated, or as a weighted sum of experts.

use super::product::{self, Rows};
use super::weights::Part;
use super::{Planned, Planner, Weights, word};
use crate::Result;
use crate::gpu::{Constants, Grid, Tensor};
use crate::quant::CHUNK;

/// What becomes of the products.
#[derive(Debug, Clone, Copy)]
pub(super) enum Form<'a> {
    /// They are the result.
    Plain,
    /// The first half of the weights' rows gates the second.
    Gated,
    /// Those of a token's experts are added up, each times its factor, `[rows, top_k]` without padding.
    Sum { factors: &'a Tensor },
}

/// Whether gate and up of each matrix lie in one part, as [`plan_gated`] needs them.
pub fn can_gate(weights: &Weights) -> bool {
    weights.parts.iter().all(|part| part.n_rows == weights.out_features)
}

/// Plans `y = gelu(x w_gate^T) * (x w_up^T)`, where `weights` holds the rows of gate, then those of up.
///
/// # Errors
/// [`crate::Error::Memory`] where parameters do not fit.
pub fn plan_gated(
    planner: &Planner,
    label: &str,
    weights: &Weights,
    rows: Rows,
    x: &Tensor,
    y: &Tensor,
) -> Result<Vec<Planned>> {
    assert!(can_gate(weights), "{label}: gate and up in one part");
    assert_eq!(2 * y.width, weights.out_features, "{label}: width of y");
    let target = product::Target { y, column: 0, softcap: 0.0 };
    let plan = |part| product::plan_part(planner, label, weights, part, rows, x, target, Form::Gated);
    weights.parts.iter().map(plan).collect()
}

/// Plans the weighted sum of a token's experts: `y[t] = sum_s factors[t, s] * (x[t * top_k + s] w[ids[t, s]]^T)`, over the
/// experts that `weights` holds.
///
/// # Errors
/// [`crate::Error::Memory`] where parameters do not fit.
pub fn plan_sum(
    planner: &Planner,
    label: &str,
    weights: &Weights,
    (ids, factors): (&Tensor, &Tensor),
    x: &Tensor,
    y: &Tensor,
) -> Result<Vec<Planned>> {
    assert!(ids.stride == ids.width && factors.stride == ids.width && factors.width == ids.width, "{label}: slots");
    assert_eq!(y.width, weights.out_features, "{label}: width of y");
    let target = product::Target { y, column: 0, softcap: 0.0 };
    let rows = Rows::Experts { ids, repeat: 1 };
    let plan = |part| product::plan_part(planner, label, weights, part, rows, x, target, Form::Sum { factors });
    weights.parts.iter().map(plan).collect()
}

/// The constants and the grid for a part of `weights` and rows of x that make `rows_per_row` rows of y each; `slots` of
/// them are added up.
pub(super) fn shape(
    planner: &Planner,
    weights: &Weights,
    part: &Part,
    form: Form,
    (rows_per_row, slots): (u32, u32),
) -> (Constants, Grid) {
    let chunks = word(weights.in_features.div_ceil(CHUNK));
    let gated = matches!(form, Form::Gated);
    let rows = part.n_rows * rows_per_row as usize;
    let (threads, lanes, lane_rows) = planner.tuning.matvec.shape(rows, (chunks * slots) as usize, gated);
    let outputs = (if gated { part.n_rows / 2 } else { part.n_rows }, if gated { lane_rows / 2 } else { lane_rows });
    let groups = outputs.0.div_ceil((threads / lanes * outputs.1) as usize);
    // What exceeds a dimension's limit goes along z.
    let limit = planner.gpu.limits().max_compute_workgroups_per_dimension as usize;
    let z = groups.div_ceil(limit);
    let grid = Grid { rows_per_row, z: word(z), ..Grid::per_row(groups.div_ceil(z)) };
    let constants = vec![
        ("THREADS", threads),
        ("LANES", lanes),
        ("LANE_ROWS", lane_rows),
        ("CHUNKS", if planner.tuning.matvec.is_fixed() { 0 } else { chunks }),
        ("GATED", u32::from(gated)),
        ("SUM", u32::from(matches!(form, Form::Sum { .. }))),
        ("SLOTS", slots),
        ("ADD", u32::from(matches!(form, Form::Sum { .. }) && (part.first_matrix > 0))),
    ];
    (constants, grid)
}
