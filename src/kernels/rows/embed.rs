//! `embed.wgsl`: `y[t] = table[token(t)] * scale`, from a dense or a quantized table.

use crate::Result;
use crate::gpu::{Grid, PipelineKey, Tensor};
use crate::kernels::product::operands::{dtype_number, group_constants, weight_buffers};
use crate::kernels::product::weights::{Extent, Part};
use crate::kernels::{Planned, Planner, Weights, word};
use crate::quant::{CHUNK, Format, PackedMatrix};

crate::kernels::params! {
    /// `shaders/rows/embed.wgsl`.
    pub struct Params {
        row_words: u32,
        first_token: u32,
        n_rows: u32,
        table_first: u32,
        table_rows: u32,
        width: u32,
        y_stride: u32,
        scale: f32,
        in_words: u32,
        rows_per_matrix: u32,
        scale_words: u32,
        zero_words: u32,
        groups: u32,
        first_row: u32,
        first_group: u32,
    }
}

/// What is looked up.
#[derive(Debug, Clone, Copy)]
pub struct Embed<'a> {
    /// `[tokens, width]`.
    pub table: &'a Weights,
    /// The token of the table's first row.
    pub first_token: usize,
    /// Whether the table lacks rows, whose tokens get zeros.
    pub partial: bool,
    /// The step's rows.
    pub rows: &'a Tensor,
    /// The tokens of rows that say so ([`crate::kernels::StepRow::ID_OF`]).
    pub ids: &'a Tensor,
    /// Receives the rows, `[rows, width]`.
    pub y: &'a Tensor,
    /// What they are multiplied with.
    pub scale: f32,
}

/// Plans the look-up of each row's token, one dispatch for each part of the table.
///
/// # Errors
/// [`crate::Error::Memory`] where parameters do not fit.
pub fn plan(planner: &Planner, label: &str, embed: &Embed) -> Result<Vec<Planned>> {
    let Embed { table, first_token, partial, rows, ids, y, scale } = *embed;
    assert_eq!(y.width, table.in_features, "{label}: width of y");
    let plan_part = |part: &Part| {
        let mut params = Params {
            row_words: word(table.row_words()),
            first_token: word(first_token + part.first_row),
            n_rows: word(part.n_rows),
            table_first: word(first_token),
            table_rows: word(table.out_features),
            width: word(y.width),
            y_stride: word(y.stride),
            scale,
            ..Params::default()
        };
        let mut buffers = weight_buffers(&table.format, part);
        buffers.extend([("rows", rows.into()), ("y", y.into()), ("ids", ids.into())]);
        let (variant, mut constants) = match table.format {
            Format::Dense(dtype) => ("dense", vec![("DTYPE", dtype_number(dtype))]),
            Format::Grouped(_) => {
                add_groups(table, part, &mut params);
                ("packed", group_constants(table, part))
            }
        };
        // One part writes the zeros.
        constants.push(("CLEAR", u32::from(partial && part.first_row == 0)));
        planner.plan(label, PipelineKey { stem: "embed", variant, constants }, &params, buffers, Grid::per_row(1))
    };
    table.parts.iter().map(plan_part).collect()
}

/// What a quantized table adds: where its codes find scale and zero point.
fn add_groups(table: &Weights, part: &Part, params: &mut Params) {
    let (Some(format), Extent { groups, first_row, first_group }) = (table.format.grouped(), table.extent) else {
        return;
    };
    params.in_words = word(table.in_features.next_multiple_of(CHUNK) / 8);
    params.rows_per_matrix = word(part.n_rows);
    params.scale_words = word(format.scale.words(groups));
    params.zero_words = word(PackedMatrix::zero_words(groups, format.bits));
    params.groups = word(groups);
    params.first_row = word(first_row);
    params.first_group = word(first_group);
}
