//! `sum_shares.wgsl`: adds up what shares of a product's input features have made apart.

use crate::Result;
use crate::gpu::{Grid, Tensor};
use crate::kernels::{Planned, Planner, word};

crate::kernels::params! {
    /// `shaders/product/sum_shares.wgsl`.
    pub struct Params {
        width: u32,
        rows: u32,
        y_stride: u32,
        y_offset: u32,
    }
}

impl Planner<'_> {
    /// Room for `shares` results of `rows` rows.
    pub(crate) fn share_rows(&self, shares: usize, rows: usize, width: usize) -> Result<Tensor> {
        let words = self.scratch(2, "product_shares", shares * rows * width)?;
        Ok(Tensor { rows: shares * rows, width, stride: width, ..words })
    }
}

/// Plans the sum over the shares of `parts`, `[shares * rows, width]` without padding, into the columns of `y` from
/// `column` on. `row_count` holds the number of rows.
///
/// # Errors
/// [`crate::Error::Memory`] where parameters do not fit.
pub fn plan(
    planner: &Planner,
    label: &str,
    parts: &Tensor,
    shares: usize,
    row_count: &Tensor,
    y: &Tensor,
    column: usize,
) -> Result<Planned> {
    assert!(parts.stride == parts.width && column + parts.width <= y.width, "{label}: widths");
    let params = Params {
        width: word(parts.width),
        rows: word(parts.rows / shares),
        y_stride: word(y.stride),
        y_offset: word(column),
    };
    let key = planner.key("sum_shares", vec![("SHARES", word(shares))]);
    let buffers = vec![("parts", parts.into()), ("row_count", row_count.into()), ("y", y.into())];
    planner.plan(label, key, &params, buffers, Grid::per_row(parts.width.div_ceil(64)))
}
