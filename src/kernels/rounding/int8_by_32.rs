//! `int8_by_32.wgsl`: rows as int8 in blocks with a scale each, which `matmul.wgsl` multiplies with integer products.

use crate::Result;
use crate::gpu::{Grid, Tensor};
use crate::kernels::{Planned, Planner, word};
use crate::quant::CHUNK;

crate::kernels::params! {
    /// `shaders/rounding/int8_by_32.wgsl`.
    pub struct Params {
        blocks: u32,
    }
}

/// Words of a row of `stride` values: int8, four a word, and the blocks' scales in whole vectors of four.
pub fn row_words(stride: usize) -> usize {
    let blocks = stride / CHUNK;
    blocks * CHUNK / 4 + blocks.next_multiple_of(4)
}

impl Planner<'_> {
    /// Room for the rows of `x` as int8.
    pub(crate) fn int8_rows(&self, x: &Tensor) -> Result<Tensor> {
        self.scratch(0, "int8_by_32", x.rows * row_words(x.stride))
    }
}

/// Plans `quantized`, `[rows, row_words]` without padding, from `x`, of which `rows_per_row` rows belong to each row of
/// the step. `interleaved`: in the order of codes of 4 bits.
///
/// # Errors
/// [`crate::Error::Memory`] where parameters do not fit.
pub fn plan(
    planner: &Planner,
    label: &str,
    x: &Tensor,
    rows_per_row: usize,
    interleaved: bool,
    quantized: &Tensor,
) -> Result<Planned> {
    assert!(x.stride.is_multiple_of(CHUNK), "{label}: x is padded");
    assert!(quantized.rows * quantized.stride >= x.rows * row_words(x.stride), "{label}: room for rows");
    let blocks = x.stride / CHUNK;
    let key = planner.key("int8_by_32", vec![("INTERLEAVED", u32::from(interleaved))]);
    let grid = Grid { rows_per_row: word(rows_per_row), ..Grid::per_row(blocks.div_ceil(64)) };
    let buffers = vec![("x", x.into()), ("quantized", quantized.into())];
    planner.plan(label, key, &Params { blocks: word(blocks) }, buffers, grid)
}
