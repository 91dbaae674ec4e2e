//! `add_norm.wgsl`: a block's result joins the residual stream, and the norms of the blocks that read it next.

use crate::Result;
use crate::gpu::{Grid, Tensor};
use crate::kernels::rounding::int8_by_16;
use crate::kernels::{Planned, Planner, word};

crate::kernels::params! {
    /// `shaders/norm/add_norm.wgsl`.
    pub struct Params {
        stride: u32,
        post: u32,
        pre: u32,
        scalar: f32,
        eps: f32,
    }
}

/// What `add_norm` reads and writes beside the block's result.
#[derive(Debug)]
pub struct AddNorm<'a> {
    /// All norm weights, `[weights, hidden]`.
    pub norms: &'a Tensor,
    /// Row of the norm on the block's result.
    pub post: usize,
    /// Row of the norm for the first output; the others take the rows after it.
    pub pre: usize,
    /// Factor on the whole residual stream: `layer_scalar` after a layer's last block, else 1.
    pub scalar: f32,
    /// Epsilon of the norms.
    pub eps: f32,
    /// The residual stream, `[rows, hidden]`.
    pub h: &'a Tensor,
    /// Up to three outputs, `[rows, hidden]` each; those beyond `n_outputs` are bound but not written.
    pub y: [&'a Tensor; 3],
    /// Outputs that are written.
    pub n_outputs: usize,
    /// Receive the first one or two outputs rounded too.
    pub rounded: [Option<&'a Tensor>; 2],
}

/// Plans `h = (h + rms(x) * norms[post]) * scalar` and `y[i] = rms(h) * norms[pre + i]`.
///
/// # Errors
/// [`crate::Error::Memory`] where parameters do not fit.
pub fn plan(planner: &Planner, label: &str, x: &Tensor, p: &AddNorm) -> Result<Planned> {
    assert!(
        x.width == p.norms.width && p.h.width == x.width && p.y.iter().all(|y| y.width == x.width),
        "{label}: widths"
    );
    assert!([p.norms, p.h].iter().chain(&p.y).all(|t| t.stride == x.stride), "{label}: strides");
    assert!(p.post < p.norms.rows && p.pre + p.n_outputs <= p.norms.rows && p.n_outputs <= 3, "{label}: norms");
    let params = Params { stride: word(x.stride), post: word(p.post), pre: word(p.pre), scalar: p.scalar, eps: p.eps };
    let mut constants = planner.held_rows(x.width);
    constants.push(("OUTPUTS", word(p.n_outputs)));
    let [y0, y1, y2] = p.y;
    let mut buffers = vec![
        ("x", x.into()),
        ("norms", p.norms.into()),
        ("h", p.h.into()),
        ("y0", y0.into()),
        ("y1", y1.into()),
        ("y2", y2.into()),
    ];
    let key = int8_by_16::outputs("add_norm", constants, &mut buffers, p.rounded);
    planner.plan(label, key, &params, buffers, Grid::per_row(1))
}
