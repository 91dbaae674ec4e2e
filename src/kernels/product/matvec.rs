//! `matvec.wgsl`: products of one row of x at a time, alone, gated, or as a weighted sum of experts.

use super::operands::{Rows, Setup, Target, dtype_number};
use super::weights::{Kind, Part};
use crate::Result;
use crate::gpu::{Binding, Constants, Grid, PipelineKey, Tensor};
use crate::kernels::experts::router::Choice;
use crate::kernels::rounding::rounded::{BLOCK, Input};
use crate::kernels::tuning::Shape;
use crate::kernels::tuning::matvec::RowsOfX;
use crate::kernels::{Planned, Planner, Weights, word};
use crate::quant::CHUNK;

/// What [`x_rows`] is at most; `MAX_ROWS` of the shader.
const MAX_ROWS: u32 = 4;

/// What becomes of the products.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Form<'a> {
    /// They are the result.
    Plain,
    /// The first half of the weights' rows gates the second; the result is also rounded into the tensor.
    Gated(Option<&'a Tensor>),
    /// Those of a token's experts are added up, each times its factor, `[rows, top_k]` without padding.
    Sum { factors: &'a Tensor },
}

/// What a product makes beside its result, of other tensors: two kernels of which neither reads what the other writes.
#[derive(Debug, Clone, Copy)]
pub enum Beside<'a> {
    /// `y = x w^T` with dense weights of few rows.
    Product {
        /// One dense matrix in one part.
        weights: &'a Weights,
        /// `[rows, in_features]`.
        x: &'a Tensor,
        /// `[rows, out_features]`.
        y: &'a Tensor,
    },
    /// A choice of experts.
    Choice(Choice<'a>),
}

/// Whether the device binds enough buffers at once for [`Beside`], and `weights` are such as [`Beside::Product`] takes.
pub fn can_stand_beside(planner: &Planner, weights: &Weights) -> bool {
    let is_dense = matches!(weights.kind, Kind::Dense(_)) && weights.n_matrices == 1 && weights.parts.len() == 1;
    is_dense && planner.gpu.limits().max_storage_buffers_per_shader_stage >= 12
}

/// Whether gate and up of each matrix lie in one part, as [`plan_gated`] needs them.
pub fn can_gate(weights: &Weights) -> bool {
    weights.parts.iter().all(|part| part.n_rows == weights.out_features)
}

/// Plans `y = gelu(x w_gate^T) * (x w_up^T)`, where `weights` holds the rows of gate, then those of up; also rounded, as
/// [`crate::kernels::rounding::rounded`] has it, where there is a tensor for that.
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
    beside: Option<Beside>,
) -> Result<Vec<Planned>> {
    assert!(can_gate(weights), "{label}: gate and up in one part");
    assert_eq!(2 * y.width, weights.out_features, "{label}: width of y");
    let (target, input) = (Target { y, column: 0, softcap: 0.0 }, x.into());
    let forms = (Form::Gated(rounded), beside);
    weights.parts.iter().map(|part| plan_part(planner, label, weights, part, rows, input, target, forms)).collect()
}

/// Plans `y = x w^T` of rounded activations, with a choice of experts beside it.
///
/// # Errors
/// [`crate::Error::Memory`] where parameters do not fit.
pub fn plan_beside(
    planner: &Planner,
    label: &str,
    weights: &Weights,
    rows: Rows,
    input: Input,
    y: &Tensor,
    beside: Beside,
) -> Result<Vec<Planned>> {
    assert_eq!(y.width, weights.out_features, "{label}: width of y");
    let (target, forms) = (Target { y, column: 0, softcap: 0.0 }, (Form::Plain, Some(beside)));
    weights.parts.iter().map(|part| plan_part(planner, label, weights, part, rows, input, target, forms)).collect()
}

/// Plans the weighted sum of a token's experts: `y[t] = sum_s factors[t, s] * (x[t * top_k + s] w[ids[t, s]]^T)`, over the
/// experts that `weights` holds. `several` is that of [`Rows::Experts`].
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
    several: bool,
) -> Result<Vec<Planned>> {
    assert!(ids.stride == ids.width && factors.stride == ids.width && factors.width == ids.width, "{label}: slots");
    assert_eq!(y.width, weights.out_features, "{label}: width of y");
    let (target, input) = (Target { y, column: 0, softcap: 0.0 }, x.into());
    let rows = Rows::Experts { ids, repeat: 1, several };
    let forms = (Form::Sum { factors }, None);
    weights.parts.iter().map(|part| plan_part(planner, label, weights, part, rows, input, target, forms)).collect()
}

/// The product of few rows with one part of `weights`.
#[expect(clippy::too_many_arguments, reason = "the arguments of `product::plan`, the part and what becomes of it")]
pub(crate) fn plan_part(
    planner: &Planner,
    label: &str,
    weights: &Weights,
    part: &Part,
    rows: Rows,
    input: Input,
    target: Target,
    (form, beside): (Form, Option<Beside>),
) -> Result<Planned> {
    let setup = Setup::new(label, weights, part, input.x, target);
    let Setup { mut params, mut variant, mut constants, mut buffers } = setup;
    match input.rounded_for(planner, weights) {
        Some(rounded) => {
            variant = "packed rounded";
            params.x_stride = word(rounded.stride);
            buffers.push((9, rounded.into()));
        }
        None => buffers.push((5, input.x.into())),
    }
    // A binding must be filled also where nothing is read.
    let unread = &part.data;
    let x_rows = x_rows(rows);
    let (mut rows_per_row, mut slots, mut ids_of) = (1, 1, unread.into());
    match rows {
        Rows::Several(count) => ids_of = count.into(),
        Rows::Experts { ids, repeat, .. } => {
            constants.push(("EXPERTS", 1));
            params.x_repeat = word(repeat);
            (ids_of, rows_per_row) = (ids.into(), word(ids.width));
        }
        Rows::Few | Rows::Two | Rows::Many(_) | Rows::Grouped { .. } => {}
    }
    match form {
        Form::Plain | Form::Gated(None) => buffers.push((8, unread.into())),
        Form::Gated(Some(rounded)) => {
            assert_eq!(variant, "packed rounded", "{label}: what comes out rounded goes in rounded");
            variant = "packed rounding";
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
        (rows, rows_per_row, slots),
        input.rounded_for(planner, weights).is_some(),
    );
    constants.extend(shape);
    constants.push(("X_ROWS", x_rows));
    let mut grid = Grid { rows_per_group: x_rows, ..grid };
    if let Some(beside) = beside {
        assert!(weights.parts.len() == 1 && grid.z == 1, "{label}: one dispatch");
        (variant, grid.x) = add_beside(label, beside, (variant, x_rows), grid.x, &mut constants, &mut buffers);
    }
    planner.plan(label, PipelineKey { stem: "matvec", variant, constants }, &params, buffers, grid)
}

/// Rows of x that share what is read of a weight.
fn x_rows(rows: Rows) -> u32 {
    match rows {
        Rows::Two => 2,
        Rows::Several(_) => MAX_ROWS,
        Rows::Few | Rows::Experts { .. } | Rows::Many(_) | Rows::Grouped { .. } => 1,
    }
}

/// As shapes of workgroups depend on them.
fn rows_of_x(rows: Rows) -> RowsOfX {
    match rows {
        Rows::Experts { several: true, .. } => RowsOfX::Experts,
        Rows::Several(_) => RowsOfX::Several,
        Rows::Two => RowsOfX::Two,
        Rows::Few | Rows::Experts { .. } | Rows::Many(_) | Rows::Grouped { .. } => RowsOfX::One,
    }
}

/// Adds what stands beside a product: the variant of the shader, and the workgroups in a row.
fn add_beside(
    label: &str,
    beside: Beside,
    (variant, x_rows): (&str, u32),
    groups: u32,
    constants: &mut Constants,
    buffers: &mut Vec<(u32, Binding)>,
) -> (&'static str, u32) {
    match beside {
        Beside::Product { weights, x, y } => {
            assert_eq!(variant, "packed rounding", "{label}: beside a gated product");
            assert!(x.width == weights.in_features && y.width == weights.out_features, "{label}: shapes beside");
            let Kind::Dense(dtype) = weights.kind else { unreachable!("{label}: dense weights beside") };
            constants.extend([
                ("BESIDE", word(weights.out_features)),
                ("BESIDE_DTYPE", dtype_number(dtype)),
                ("BESIDE_QUADS", word(weights.in_features.next_multiple_of(CHUNK) / 4)),
                ("BESIDE_X", word(x.stride / 4)),
                ("BESIDE_Y", word(y.stride)),
            ]);
            buffers.extend([(11, (&weights.parts[0].data).into()), (12, x.into()), (13, y.into())]);
            ("packed rounding beside product", groups + word(weights.out_features))
        }
        Beside::Choice(choice) => {
            assert_eq!(variant, "packed rounded", "{label}: beside a plain product");
            let threads = constants.iter().find(|(name, _)| *name == "THREADS").expect("of the product").1;
            let (more, bindings) = choice.bindings(label, threads);
            constants.extend(more);
            constants.push(("BESIDE", x_rows));
            buffers.extend(bindings);
            ("packed rounded beside choice", groups + x_rows)
        }
    }
}

/// The constants and the grid for a part of `weights` and rows of x that make `rows_per_row` rows of y each; `slots` of
/// them are added up.
fn shape(
    planner: &Planner,
    label: &str,
    weights: &Weights,
    part: &Part,
    form: Form,
    (rows, rows_per_row, slots): (Rows, u32, u32),
    is_rounded: bool,
) -> (Constants, Grid) {
    let chunks = word(weights.in_features.div_ceil(CHUNK));
    let gated = matches!(form, Form::Gated(_));
    let n_rows = part.n_rows * rows_per_row as usize;
    let tuning = planner.tuning.matvec;
    let Shape { threads, lanes, lane_rows } = match tuning.rounded.filter(|_| is_rounded) {
        Some(shapes) => {
            let shape = shapes.shape(part.n_rows, gated, rows_of_x(rows));
            // Gated products make whole blocks of what comes out rounded.
            let groups = if gated { 2 * word(BLOCK) / shape.lane_rows } else { 1 };
            shape.within(planner.gpu.limits().max_compute_invocations_per_workgroup, groups)
        }
        None => tuning.shape(n_rows, (chunks * slots) as usize, gated),
    };
    let outputs = (if gated { part.n_rows / 2 } else { part.n_rows }, if gated { lane_rows / 2 } else { lane_rows });
    let per_group = threads / lanes * outputs.1;
    assert!(!matches!(form, Form::Gated(Some(_))) || per_group.is_multiple_of(word(BLOCK)), "{label}: whole blocks");
    let groups = outputs.0.div_ceil(per_group as usize);
    // What exceeds a dimension's limit goes along z.
    let limit = planner.gpu.limits().max_compute_workgroups_per_dimension as usize;
    let z = groups.div_ceil(limit);
    let grid = Grid { rows_per_row, z: word(z), ..Grid::per_row(groups.div_ceil(z)) };
    let mut constants = vec![
        ("THREADS", threads),
        ("LANES", lanes),
        ("LANE_ROWS", lane_rows),
        ("CHUNKS", if tuning.is_fixed() { 0 } else { chunks }),
        ("ROLLED", u32::from(tuning.rolled)),
        ("GATED", u32::from(gated)),
        ("SUM", u32::from(matches!(form, Form::Sum { .. }))),
        ("SLOTS", slots),
    ];
    if !is_rounded {
        let is_dense = matches!(weights.kind, Kind::Dense(_));
        constants.push(("BY_WORDS", u32::from(is_dense && tuning.by_words)));
    }
    if let Form::Gated(Some(_)) = form {
        constants.extend([("COLUMNS", per_group), ("PLACES", x_rows(rows) * per_group)]);
    } else {
        constants.push(("ADD", u32::from(matches!(form, Form::Sum { .. }) && (part.first_matrix > 0))));
    }
    (constants, grid)
}
