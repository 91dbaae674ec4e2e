//! `router.wgsl`: softmax over the experts, the `top_k` largest, renormalized, times `per_expert_scale`.

use super::{Planned, Planner, word};
use crate::Result;
use crate::gpu::{Grid, Tensor};

super::params! {
    /// `shaders/router.wgsl`.
    pub struct Params {
        stride: u32,
    }
}

/// Experts that the shader has room for.
pub const MAX_EXPERTS: usize = 1024;
/// Experts a token that the shader has room for.
pub const MAX_TOP_K: usize = 64;

/// Plans the choice of experts: `ids` and `weights` are `[rows, top_k]` without padding, by descending probability.
///
/// # Errors
/// [`crate::Error::Memory`] where parameters do not fit.
pub fn plan(
    planner: &Planner,
    label: &str,
    logits: &Tensor,
    per_expert_scale: &Tensor,
    ids: &Tensor,
    weights: &Tensor,
) -> Result<Planned> {
    let (n_experts, top_k) = (logits.width, ids.width);
    assert!(n_experts <= MAX_EXPERTS && top_k <= MAX_TOP_K && top_k <= n_experts, "{label}: experts");
    assert!(logits.stride.is_multiple_of(4), "{label}: whole quads");
    assert!(ids.stride == top_k && weights.stride == top_k && per_expert_scale.width == n_experts, "{label}: shapes");
    let params = Params { stride: word(logits.stride) };
    // Lanes beyond the experts share their work, as far as each still has a few quads of logits to look at.
    // llvmpipe ends all loops of a lane after 65535 rounds: 16 lanes and 1024 experts take 16384.
    let (threads, quads) = (planner.tuning.threads.max(16) as usize, n_experts.div_ceil(4));
    let parts = (threads / n_experts).clamp(1, quads.div_ceil(4));
    let constants = vec![
        ("THREADS", word(threads)),
        ("N_EXPERTS", word(n_experts)),
        ("TOP_K", word(top_k)),
        ("PARTS", word(parts)),
        ("PART_QUADS", word(quads.div_ceil(parts))),
    ];
    let key = planner.key("router", constants);
    let buffers = vec![(1, logits.into()), (2, per_expert_scale.into()), (3, ids.into()), (4, weights.into())];
    planner.plan(label, key, &params, buffers, Grid::per_row(1))
}
