//! `embed.wgsl`: `y[t] = table[token(t)] * scale`.

use super::weights::Kind;
use super::{Planned, Planner, Weights, word};
use crate::Result;
use crate::gpu::{Grid, Tensor};

super::params! {
    /// `shaders/embed.wgsl`.
    pub struct Params {
        row_words: u32,
        first_row: u32,
        n_rows: u32,
        table_first: u32,
        table_rows: u32,
        width: u32,
        y_stride: u32,
        scale: f32,
    }
}

/// Plans the look-up of each row's token, one dispatch for each part of the table. The table's first row is that of token
/// `first_token`; `partial` says that it lacks rows, whose tokens get zeros.
///
/// # Errors
/// [`crate::Error::Memory`] where parameters do not fit.
pub fn plan(
    planner: &Planner,
    label: &str,
    table: &Weights,
    (first_token, partial): (usize, bool),
    rows: &Tensor,
    y: &Tensor,
    scale: f32,
) -> Result<Vec<Planned>> {
    let Kind::Dense(dtype) = table.kind else { panic!("{label}: embeddings are dense") };
    assert_eq!(y.width, table.in_features, "{label}: width of y");
    let key = |clear: bool| {
        planner.key("embed", vec![("DTYPE", super::product::dtype_number(dtype)), ("CLEAR", u32::from(clear))])
    };
    table
        .parts
        .iter()
        .map(|part| {
            let params = Params {
                row_words: word(table.row_words()),
                first_row: word(first_token + part.first_row),
                n_rows: word(part.n_rows),
                table_first: word(first_token),
                table_rows: word(table.out_features),
                width: word(y.width),
                y_stride: word(y.stride),
                scale,
            };
            let buffers = vec![(1, (&part.data).into()), (2, rows.into()), (3, y.into())];
            // One part writes the zeros.
            planner.plan(label, key(partial && part.first_row == 0), &params, buffers, Grid::per_row(1))
        })
        .collect()
}
