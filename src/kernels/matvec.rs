//! `matvec.wgsl`: products of one row of x at a time, alone, gated, or as a weighted sum of experts.

use super::product::{self, Rows, Target};
use super::rounded::Input;
use super::weights::Part;
use super::{Planned, Planner, Weights, word};
use crate::Result;
use crate::gpu::{Constants, Grid, PipelineKey, Tensor};
use crate::quant::CHUNK;

/// Rows of x that share what is read of a weight; `MAX_ROWS` of the shader.
const ROWS: u32 = 4;
/// Columns of y that are rounded together.
const BLOCK: u32 = 16;

/// What becomes of the products.
#[derive(Debug, Clone, Copy)]
pub(super) enum Form<'a> {
    /// They are the result.
    Plain,
    /// The first half of the weights' rows gates the second; the result is also rounded into the tensor.
    Gated(Option<&'a Tensor>),
    /// Those of a token's experts are added up, each times its factor, `[rows, top_k]` without padding.
    Sum { factors: &'a Tensor },
}

/// Whether gate and up of each matrix lie in one part, as [`plan_gated`] needs them.
pub fn can_gate(weights: &Weights) -> bool {
    weights.parts.iter().all(|part| part.n_rows == weights.out_features)
}

/// Plans `y = gelu(x w_gate^T) * (x w_up^T)`, where `weights` holds the rows of gate, then those of up; also rounded, as
/// [`super::rounded`] has it, where there is a tensor for that.
///
/// # Errors
/// [`crate::Error::Memory`] where parameters do not fit.
pub fn plan_gated<'a>(
    planner: &Planner,
    label: &str,
    weights: &Weights,
    rows: Rows,
    x: impl Into<Input<'a>>,
    (y, rounded): (&Tensor, Option<&Tensor>),
) -> Result<Vec<Planned>> {
    assert!(can_gate(weights), "{label}: gate and up in one part");
    assert_eq!(2 * y.width, weights.out_features, "{label}: width of y");
    let (target, input) = (Target { y, column: 0, softcap: 0.0 }, x.into());
    let plan = |part| plan_part(planner, label, weights, part, rows, input, target, Form::Gated(rounded));
    weights.parts.iter().map(plan).collect()
}

/// Plans the weighted sum of a token's experts: `y[t] = sum_s factors[t, s] * (x[t * top_k + s] w[ids[t, s]]^T)`, over the
/// experts that `weights` holds.
///
/// # Errors
/// [`crate::Error::Memory`] where parameters do not fit.
pub fn plan_sum<'a>(
    planner: &Planner,
    label: &str,
    weights: &Weights,
    (ids, factors): (&Tensor, &Tensor),
    x: impl Into<Input<'a>>,
    y: &Tensor,
) -> Result<Vec<Planned>> {
    assert!(ids.stride == ids.width && factors.stride == ids.width && factors.width == ids.width, "{label}: slots");
    assert_eq!(y.width, weights.out_features, "{label}: width of y");
    let (target, input) = (Target { y, column: 0, softcap: 0.0 }, x.into());
    let rows = Rows::Experts { ids, repeat: 1 };
    let plan = |part| plan_part(planner, label, weights, part, rows, input, target, Form::Sum { factors });
    weights.parts.iter().map(plan).collect()
}

/// The product of few rows with one part of `weights`.
#[expect(clippy::too_many_arguments, reason = "the arguments of `product::plan`, the part and what becomes of it")]
pub(super) fn plan_part(
    planner: &Planner,
    label: &str,
    weights: &Weights,
    part: &Part,
    rows: Rows,
    input: Input,
    target: Target,
    form: Form,
) -> Result<Planned> {
    let (mut params, mut variant, mut constants, mut buffers) = product::common(label, weights, part, input.x, target);
    match input.rounded_for(planner, weights) {
        Some(rounded) => {
            variant = "rounded";
            params.x_stride = word(rounded.stride);
            buffers.push((9, rounded.into()));
        }
        None => buffers.push((5, input.x.into())),
    }
    // A binding must be filled also where nothing is read.
    let unread = &part.data;
    let (mut several, mut rows_per_row, mut slots, mut ids_of) = (1, 1, 1, unread.into());
    match rows {
        Rows::Several(count) => (several, ids_of) = (ROWS, count.into()),
        Rows::Experts { ids, repeat } => {
            constants.push(("EXPERTS", 1));
            params.x_repeat = word(repeat);
            (ids_of, rows_per_row) = (ids.into(), word(ids.width));
        }
        Rows::Few | Rows::Many(_) | Rows::Grouped { .. } => {}
    }
    match form {
        Form::Plain | Form::Gated(None) => buffers.push((8, unread.into())),
        Form::Gated(Some(rounded)) => {
            assert_eq!(variant, "rounded", "{label}: what comes out rounded goes in rounded");
            variant = "rounding";
            buffers.push((10, rounded.into()));
        }
        Form::Sum { factors } => {
            (rows_per_row, slots) = (1, rows_per_row);
            buffers.push((8, factors.into()));
        }
    }
    buffers.push((6, ids_of));
    let (shape, grid) = shape(
        planner,
        label,
        weights,
        part,
        form,
        (rows_per_row, slots),
        input.rounded_for(planner, weights).is_some(),
    );
    constants.extend(shape);
    constants.push(("X_ROWS", several));
    let grid = Grid { rows_per_group: several, ..grid };
    planner.plan(label, PipelineKey { stem: "matvec", variant, constants }, &params, buffers, grid)
}

/// The constants and the grid for a part of `weights` and rows of x that make `rows_per_row` rows of y each; `slots` of
/// them are added up.
fn shape(
    planner: &Planner,
    label: &str,
    weights: &Weights,
    part: &Part,
    form: Form,
    (rows_per_row, slots): (u32, u32),
    is_rounded: bool,
) -> (Constants, Grid) {
    let chunks = word(weights.in_features.div_ceil(CHUNK));
    let gated = matches!(form, Form::Gated(_));
    let rows = part.n_rows * rows_per_row as usize;
    let (mut threads, mut lanes, mut lane_rows) = planner.tuning.matvec.shape(rows, (chunks * slots) as usize, gated);
    if let Form::Gated(Some(_)) = form
        && !planner.tuning.matvec.is_fixed()
    {
        // Whole blocks of what is rounded.
        (lanes, lane_rows) = (32, 4);
        threads = BLOCK / (lane_rows / 2) * lanes;
    }
    if is_rounded && let Ok(text) = std::env::var("LAPIDARY_SHAPES") {
        for one in text.split(';') {
            let (name, numbers) = one.split_once(':').unwrap();
            if label.ends_with(name) {
                let v: Vec<u32> = numbers.split(',').map(|n| n.parse().unwrap()).collect();
                (threads, lanes, lane_rows) = (v[0], v[1], v[2]);
            }
        }
    }
    let outputs = (if gated { part.n_rows / 2 } else { part.n_rows }, if gated { lane_rows / 2 } else { lane_rows });
    let per_group = threads / lanes * outputs.1;
    assert!(!matches!(form, Form::Gated(Some(_))) || per_group.is_multiple_of(BLOCK), "{label}: whole blocks");
    let groups = outputs.0.div_ceil(per_group as usize);
    // What exceeds a dimension's limit goes along z.
    let limit = planner.gpu.limits().max_compute_workgroups_per_dimension as usize;
    let z = groups.div_ceil(limit);
    let grid = Grid { rows_per_row, z: word(z), ..Grid::per_row(groups.div_ceil(z)) };
    let mut constants = vec![
        ("THREADS", threads),
        ("LANES", lanes),
        ("LANE_ROWS", lane_rows),
        ("CHUNKS", if planner.tuning.matvec.is_fixed() { 0 } else { chunks }),
        ("GATED", u32::from(gated)),
        ("SUM", u32::from(matches!(form, Form::Sum { .. }))),
        ("SLOTS", slots),
    ];
    if let Form::Gated(Some(_)) = form {
        constants.push(("COLUMNS", per_group));
    } else {
        constants.push(("ADD", u32::from(matches!(form, Form::Sum { .. }) && (part.first_matrix > 0))));
    }
    (constants, grid)
}
