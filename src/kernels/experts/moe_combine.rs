//! `moe_combine.wgsl`: the weighted sum of the experts, its norms, and the end of a mixture-of-experts layer.

use crate::Result;
use crate::gpu::{Grid, Tensor};
use crate::kernels::rounding::int8_by_16;
use crate::kernels::{Planned, Planner, word};

crate::kernels::params! {
    /// `shaders/experts/moe_combine.wgsl`.
    pub struct Params {
        stride: u32,
        post_1: u32,
        post_2: u32,
        post: u32,
        next: u32,
        scalar: f32,
        eps: f32,
    }
}

/// What a mixture-of-experts layer ends with.
#[derive(Debug)]
pub struct MoeCombine<'a> {
    /// Result of the dense MLP, `[rows, hidden]`.
    pub mlp: &'a Tensor,
    /// All norm weights, `[weights, hidden]`.
    pub norms: &'a Tensor,
    /// Rows of `post_feedforward_layernorm_1`, `_2`, `post_feedforward_layernorm` and the next layer's first norm.
    pub norm_rows: [usize; 4],
    /// `layer_scalar`.
    pub scalar: f32,
    /// Epsilon of the norms.
    pub eps: f32,
    /// The weighted sum of the experts, `[rows, hidden]`.
    pub experts: &'a Tensor,
    /// The residual stream, `[rows, hidden]`.
    pub h: &'a Tensor,
    /// Receives the input of the next layer, `[rows, hidden]`.
    pub y: &'a Tensor,
    /// Receives it rounded too.
    pub rounded: Option<&'a Tensor>,
}

/// Plans the end of a layer.
///
/// # Errors
/// [`crate::Error::Memory`] where parameters do not fit.
pub fn plan(planner: &Planner, label: &str, p: &MoeCombine) -> Result<Planned> {
    let width = p.h.width;
    let stride = p.h.stride;
    let like_h = [p.mlp, p.norms, p.experts, p.y];
    assert!(like_h.iter().all(|t| t.width == width && t.stride == stride), "{label}: widths and strides");
    assert!(p.norm_rows.iter().all(|&row| row < p.norms.rows), "{label}: norms");
    let [post_1, post_2, post, next] = p.norm_rows.map(word);
    let params = Params { stride: word(stride), post_1, post_2, post, next, scalar: p.scalar, eps: p.eps };
    let constants = planner.held_rows(width);
    let mut buffers = vec![
        ("mlp", p.mlp.into()),
        ("experts", p.experts.into()),
        ("norms", p.norms.into()),
        ("h", p.h.into()),
        ("y", p.y.into()),
    ];
    let key = int8_by_16::outputs("moe_combine", constants, &mut buffers, [p.rounded, None]);
    planner.plan(label, key, &params, buffers, Grid::per_row(1))
}
