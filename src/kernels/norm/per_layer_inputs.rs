//! `per_layer_inputs.wgsl`: what each layer of E2B and E4B adds of the token itself.

use crate::Result;
use crate::gpu::{Grid, Tensor};
use crate::kernels::{Planned, Planner, word};

crate::kernels::params! {
    /// `shaders/norm/per_layer_inputs.wgsl`.
    pub struct Params {
        n: u32,
        stride: u32,
        scale: f32,
        eps: f32,
    }
}

/// What the kernel reads and writes.
#[derive(Debug, Clone, Copy)]
pub struct PerLayerInputs<'a> {
    /// `[rows, layers * n]`: the product with `per_layer_model_projection`.
    pub context: &'a Tensor,
    /// The tokens' rows of `embed_tokens_per_layer`, likewise.
    pub tokens: &'a Tensor,
    /// `[1, n]` without padding.
    pub norm: &'a Tensor,
    /// Receives what the layers take, likewise.
    pub y: &'a Tensor,
    /// What `context` is multiplied with.
    pub scale: f32,
    /// Epsilon of the norm.
    pub eps: f32,
}

/// Plans `y = (rms(context * scale) * norm + tokens) / sqrt(2)` for every layer's `norm.width` values.
///
/// # Errors
/// [`crate::Error::Memory`] where parameters do not fit.
pub fn plan(planner: &Planner, label: &str, inputs: &PerLayerInputs) -> Result<Planned> {
    let PerLayerInputs { context, tokens, norm, y, scale, eps } = *inputs;
    let n = norm.width;
    assert!([context, tokens].iter().all(|t| t.width == y.width && t.stride == y.stride), "{label}: shapes");
    assert!(y.width.is_multiple_of(n), "{label}: whole layers");
    let params = Params { n: word(n), stride: word(y.stride), scale, eps };
    let key = planner.key("per_layer_inputs", vec![("THREADS", planner.tuning.norms.threads)]);
    let buffers = vec![("context", context.into()), ("tokens", tokens.into()), ("norm", norm.into()), ("y", y.into())];
    planner.plan(label, key, &params, buffers, Grid::per_row(y.width / n))
}
