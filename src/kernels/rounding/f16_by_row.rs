//! `f16_by_row.wgsl`: rows in f16 with a factor each, which `matmul.wgsl` multiplies by cooperative matrices.

use crate::Result;
use crate::gpu::{Grid, Tensor};
use crate::kernels::{Planned, Planner, word};

crate::kernels::params! {
    /// `shaders/rounding/f16_by_row.wgsl`.
    pub struct Params {
        quads: u32,
    }
}

/// Rows of a tensor in f16.
#[derive(Debug, Clone)]
pub struct F16Rows {
    /// `[rows, stride / 2]` without padding: two values a word.
    pub values: Tensor,
    /// `[rows, 1]` without padding: a row's values are to be multiplied by it.
    pub factors: Tensor,
}

impl Planner<'_> {
    /// Room for the rows of `x` in f16.
    pub(crate) fn f16_rows(&self, x: &Tensor) -> Result<F16Rows> {
        Ok(F16Rows {
            values: self.scratch(0, "f16_by_row", x.rows * x.stride / 2)?,
            factors: self.scratch(1, "f16_by_row.factors", x.rows)?,
        })
    }
}

/// Plans the rounding of `x`, of which `rows_per_row` rows belong to each row of the step.
///
/// # Errors
/// [`crate::Error::Memory`] where parameters do not fit.
pub fn plan(planner: &Planner, label: &str, x: &Tensor, rows_per_row: usize, rounded: &F16Rows) -> Result<Planned> {
    assert!(rounded.values.bytes(rounded.values.rows) >= x.bytes(x.rows) / 2, "{label}: room for values");
    assert!(rounded.factors.rows >= x.rows && x.stride.is_multiple_of(4), "{label}: rows");
    let key = planner.key("f16_by_row", vec![("THREADS", planner.tuning.norms.threads)]);
    let buffers = vec![("x", x.into()), ("rounded", (&rounded.values).into()), ("factors", (&rounded.factors).into())];
    let grid = Grid { rows_per_row: word(rows_per_row), ..Grid::per_row(1) };
    planner.plan(label, key, &Params { quads: word(x.stride / 4) }, buffers, grid)
}
