//! `matvec.wgsl`: products of one row of x at a time, as they are, gated, or as a weighted sum of experts.

use super::operands::{Rows, Setup, Target, dtype_number};
use super::weights::Part;
use crate::Result;
use crate::gpu::{Constants, Grid, PipelineKey, Tensor};
use crate::kernels::experts::router::Choice;
use crate::kernels::rounding::int8_by_16::{BLOCK, Input};
use crate::kernels::tuning::Shape;
use crate::kernels::tuning::matvec::RowsOfX;
use crate::kernels::{NamedBuffers, Planned, Planner, Weights, word};
use crate::quant::{CHUNK, Format};

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

/// What runs in one dispatch with a product, or behind it, of other tensors: neither reads what the other writes.
#[derive(Debug, Clone, Copy)]
pub enum Beside<'a> {
    /// `y = x w^T` with dense weights of few rows, beside a product that is gated.
    Product {
        /// The name of the dispatch where it has one of its own.
        label: &'a str,
        /// The weights.
        weights: &'a Weights,
        /// `[rows, in_features]`.
        x: &'a Tensor,
        /// `[rows, out_features]`.
        y: &'a Tensor,
    },
    /// A choice of experts, beside a plain product.
    Choice {
        /// The name of the dispatch where it has one of its own.
        label: &'a str,
        /// What is chosen from.
        choice: Choice<'a>,
    },
}

impl Beside<'_> {
    /// Whether one dispatch can do both it and a product of `x` with `weights`, whose result is gated and rounded into `gated`
    /// or else stays as it is: shaders have that for rounded x, one matrix in one part, and devices that bind enough buffers.
    pub(crate) fn fits(&self, planner: &Planner, weights: &Weights, x: Input, gated: Option<&Tensor>) -> bool {
        let is_one = |weights: &Weights| weights.n_matrices == 1 && weights.is_one_part();
        let fits = match self {
            Beside::Product { weights, .. } => {
                gated.is_some() && matches!(weights.format, Format::Dense(_)) && is_one(weights)
            }
            Beside::Choice { .. } => gated.is_none(),
        };
        let limits = planner.gpu.limits();
        // All workgroups stand in a row.
        let groups = weights.out_features + self.most_groups();
        let has_room = limits.max_storage_buffers_per_shader_stage >= BUFFERS_BESIDE
            && groups <= limits.max_compute_workgroups_per_dimension as usize;
        fits && is_one(weights) && has_room && x.rounded_for(planner, weights).is_some()
    }

    /// Workgroups of its own at most.
    fn most_groups(&self) -> usize {
        match self {
            Beside::Product { weights, .. } => weights.out_features,
            Beside::Choice { .. } => MAX_ROWS as usize,
        }
    }
}

/// Buffers that a product binds with something beside it.
const BUFFERS_BESIDE: u32 = 12;

/// Whether gate and up of each matrix lie in one part, so that both are at hand where they are multiplied.
pub(crate) fn can_gate(weights: &Weights) -> bool {
    weights.parts.iter().all(|part| part.n_rows == weights.out_features)
}

/// A product of few rows, but for the weights.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Few<'a> {
    pub rows: Rows<'a>,
    pub input: Input<'a>,
    pub target: Target<'a>,
    pub form: Form<'a>,
    pub beside: Option<Beside<'a>>,
}

/// The product of few rows with one part of `weights`.
pub(crate) fn plan_part(planner: &Planner, label: &str, weights: &Weights, part: &Part, few: &Few) -> Result<Planned> {
    let Few { rows, input, target, form, beside } = *few;
    let setup = Setup::new(label, weights, part, input.x, target);
    let Setup { mut params, mut variant, mut constants, mut buffers } = setup;
    match input.rounded_for(planner, weights) {
        Some(rounded) => {
            variant = "packed rounded";
            params.x_stride = word(rounded.stride);
            buffers.push(("rounded_x", rounded.into()));
        }
        None => buffers.push(("x", input.x.into())),
    }
    // A binding must be filled also where nothing is read.
    let unread = &part.data;
    let x_rows = x_rows(rows);
    let (mut of_y, mut ids_of) = (RowsOfY { count: 1, added: 1 }, unread.into());
    match rows {
        Rows::Several(count) => ids_of = count.into(),
        Rows::Experts { ids, repeat, .. } => {
            constants.push(("EXPERTS", 1));
            params.x_repeat = word(repeat);
            (ids_of, of_y.count) = (ids.into(), word(ids.width));
        }
        Rows::Few | Rows::Two | Rows::Many(_) | Rows::Grouped { .. } => {}
    }
    match form {
        Form::Plain | Form::Gated(None) => buffers.push(("factors", unread.into())),
        Form::Gated(Some(rounded)) => {
            assert_eq!(variant, "packed rounded", "{label}: what comes out rounded goes in rounded");
            variant = "packed rounding";
            buffers.push(("rounded_y", rounded.into()));
        }
        Form::Sum { factors } => {
            of_y = RowsOfY { count: 1, added: of_y.count };
            buffers.push(("factors", factors.into()));
        }
    }
    buffers.push(("ids", ids_of));
    let (shape, grid) = shape(planner, label, weights, part, few, of_y);
    constants.extend(shape);
    constants.push(("X_ROWS", x_rows));
    let mut grid = Grid { rows_per_group: x_rows, ..grid };
    if let Some(beside) = beside {
        assert!(weights.parts.len() == 1 && grid.z == 1, "{label}: one dispatch");
        variant = add_beside(label, beside, variant, x_rows, &mut grid, &mut constants, &mut buffers);
    }
    planner.plan(label, PipelineKey { stem: "matvec", variant, constants }, &params, buffers, grid)
}

/// The rows of y that belong to a row of the step.
#[derive(Debug, Clone, Copy)]
struct RowsOfY {
    /// How many there are.
    count: u32,
    /// How many products are added up to make one.
    added: u32,
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

/// Adds what stands beside a product, with workgroups of its own; returns the variant of the shader.
fn add_beside(
    label: &str,
    beside: Beside,
    variant: &str,
    x_rows: u32,
    grid: &mut Grid,
    constants: &mut Constants,
    buffers: &mut NamedBuffers,
) -> &'static str {
    match beside {
        Beside::Product { weights, x, y, .. } => {
            assert_eq!(variant, "packed rounding", "{label}: beside a gated product");
            assert!(x.width == weights.in_features && y.width == weights.out_features, "{label}: shapes beside");
            let Format::Dense(dtype) = weights.format else { unreachable!("{label}: dense weights beside") };
            constants.extend([
                ("BESIDE", word(weights.out_features)),
                ("BESIDE_DTYPE", dtype_number(dtype)),
                ("BESIDE_QUADS", word(weights.in_features.next_multiple_of(CHUNK) / 4)),
                ("BESIDE_X", word(x.stride / 4)),
                ("BESIDE_Y", word(y.stride)),
            ]);
            let beside_w = (&weights.parts[0].data).into();
            buffers.extend([("beside_w", beside_w), ("beside_x", x.into()), ("beside_y", y.into())]);
            grid.x += word(weights.out_features);
            "packed rounding beside product"
        }
        Beside::Choice { choice, .. } => {
            assert_eq!(variant, "packed rounded", "{label}: beside a plain product");
            let threads = constants.iter().find(|(name, _)| *name == "THREADS").expect("of the product").1;
            let (more, bindings) = choice.bindings(label, threads);
            constants.extend(more);
            constants.push(("BESIDE", x_rows));
            buffers.extend(bindings);
            grid.x += x_rows;
            "packed rounded beside choice"
        }
    }
}

/// The constants and the grid for a part of `weights`.
fn shape(
    planner: &Planner,
    label: &str,
    weights: &Weights,
    part: &Part,
    few: &Few,
    of_y: RowsOfY,
) -> (Constants, Grid) {
    let Few { rows, form, .. } = *few;
    let is_rounded = few.input.rounded_for(planner, weights).is_some();
    let chunks = word(weights.in_features.div_ceil(CHUNK));
    let gated = matches!(form, Form::Gated(_));
    let n_rows = part.n_rows * of_y.count as usize;
    let tuning = planner.tuning.matvec;
    let Shape { threads, lanes, lane_rows } = match tuning.rounded.filter(|_| is_rounded) {
        Some(shapes) => {
            let shape = shapes.shape(part.n_rows, gated, rows_of_x(rows));
            // Gated products make whole blocks of what comes out rounded.
            let groups = if gated { 2 * word(BLOCK) / shape.lane_rows } else { 1 };
            shape.within(planner.gpu.limits().max_compute_invocations_per_workgroup, groups)
        }
        None => tuning.shape(n_rows, (chunks * of_y.added) as usize, gated),
    };
    let outputs = (if gated { part.n_rows / 2 } else { part.n_rows }, if gated { lane_rows / 2 } else { lane_rows });
    let per_group = threads / lanes * outputs.1;
    assert!(!matches!(form, Form::Gated(Some(_))) || per_group.is_multiple_of(word(BLOCK)), "{label}: whole blocks");
    let groups = outputs.0.div_ceil(per_group as usize);
    // What exceeds a dimension's limit goes along z.
    let limit = planner.gpu.limits().max_compute_workgroups_per_dimension as usize;
    let z = groups.div_ceil(limit);
    let grid = Grid { rows_per_row: of_y.count, z: word(z), ..Grid::per_row(groups.div_ceil(z)) };
    let mut constants = vec![
        ("THREADS", threads),
        ("LANES", lanes),
        ("LANE_ROWS", lane_rows),
        ("CHUNKS", if tuning.is_fixed() { 0 } else { chunks }),
        ("ROLLED", u32::from(tuning.rolled)),
        ("GATED", u32::from(gated)),
        ("SUM", u32::from(matches!(form, Form::Sum { .. }))),
        ("SLOTS", of_y.added),
    ];
    if !is_rounded {
        let is_dense = matches!(weights.format, Format::Dense(_));
        constants.push(("BY_WORDS", u32::from(is_dense && tuning.by_words)));
    }
    if let Form::Gated(Some(_)) = form {
        constants.extend([("COLUMNS", per_group), ("PLACES", x_rows(rows) * per_group)]);
    } else {
        constants.push(("ADD", u32::from(matches!(form, Form::Sum { .. }) && (part.first_matrix > 0))));
    }
    (constants, grid)
}
