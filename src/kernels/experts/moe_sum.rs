//! `moe_sum.wgsl`: the weighted sum of the chosen experts that this rank holds.

use std::ops::Range;

use crate::Result;
use crate::gpu::{Grid, Tensor};
use crate::kernels::{Planned, Planner, word};

crate::kernels::params! {
    /// `shaders/experts/moe_sum.wgsl`.
    pub struct Params {
        width: u32,
        stride: u32,
        first_expert: u32,
        n_experts: u32,
    }
}

/// Plans the sum of `products`, `[rows * top_k, width]`, by `ids` and `weights`, `[rows, top_k]` without padding, over the
/// `experts` of this rank: `sum` is `[rows, width]`.
///
/// # Errors
/// [`crate::Error::Memory`] where parameters do not fit.
pub fn plan(
    planner: &Planner,
    label: &str,
    products: &Tensor,
    ids: &Tensor,
    weights: &Tensor,
    experts: Range<usize>,
    sum: &Tensor,
) -> Result<Planned> {
    assert!(sum.width == products.width && sum.stride == products.stride, "{label}: widths");
    assert!(ids.width == weights.width && ids.stride == ids.width && weights.stride == ids.width, "{label}: slots");
    let params = Params {
        width: word(sum.width),
        stride: word(sum.stride),
        first_expert: word(experts.start),
        n_experts: word(experts.len()),
    };
    let key = planner.key("moe_sum", vec![("TOP_K", word(ids.width))]);
    let buffers =
        vec![("products", products.into()), ("weights", weights.into()), ("ids", ids.into()), ("sum", sum.into())];
    planner.plan(label, key, &params, buffers, Grid::per_row(sum.width.div_ceil(64)))
}
