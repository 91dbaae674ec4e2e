//! `router.wgsl`: softmax over the experts, the `top_k` largest, renormalized, times `per_expert_scale`.

use crate::Result;
use crate::gpu::{Constants, Grid, Tensor};
use crate::kernels::{NamedBuffers, Planned, Planner, word};

/// Experts that the shader has room for.
pub const MAX_EXPERTS: usize = 1024;
/// Experts a token that the shader has room for.
pub const MAX_TOP_K: usize = 64;

/// What the choice of experts reads and writes.
#[derive(Debug, Clone, Copy)]
pub struct Choice<'a> {
    /// `[rows, n_experts]`.
    pub logits: &'a Tensor,
    /// `[1, n_experts]`.
    pub per_expert_scale: &'a Tensor,
    /// Receives the chosen experts by descending probability, `[rows, top_k]` without padding.
    pub ids: &'a Tensor,
    /// Receives their weights, likewise.
    pub weights: &'a Tensor,
}

impl Choice<'_> {
    /// Constants and buffers of `common/choose.wgsl` in a workgroup of `threads` lanes.
    pub(crate) fn bindings(&self, label: &str, threads: u32) -> (Constants, NamedBuffers) {
        let Choice { logits, per_expert_scale, ids, weights } = *self;
        let (n_experts, top_k) = (logits.width, ids.width);
        assert!(n_experts <= MAX_EXPERTS && top_k <= MAX_TOP_K && top_k <= n_experts, "{label}: experts");
        assert!(logits.stride.is_multiple_of(4), "{label}: whole quads");
        assert!(
            ids.stride == top_k && weights.stride == top_k && per_expert_scale.width == n_experts,
            "{label}: shapes"
        );
        // Lanes beyond the experts share their work, as far as each still has a few quads of logits to look at.
        // llvmpipe ends all loops of a lane after 65535 rounds: 16 lanes and 1024 experts take 16384.
        let quads = n_experts.div_ceil(4);
        let parts = (threads as usize / n_experts).clamp(1, quads.div_ceil(4));
        let constants = vec![
            ("N_EXPERTS", word(n_experts)),
            ("TOP_K", word(top_k)),
            ("PARTS", word(parts)),
            ("PART_QUADS", word(quads.div_ceil(parts))),
            ("LOGIT_QUADS", word(logits.stride / 4)),
            ("COUNTS", word(parts * n_experts)),
        ];
        let buffers = vec![
            ("logits", logits.into()),
            ("per_expert_scale", per_expert_scale.into()),
            ("chosen_ids", ids.into()),
            ("chosen_weights", weights.into()),
        ];
        (constants, buffers)
    }
}

/// Plans the choice of experts.
///
/// # Errors
/// [`crate::Error::Memory`] where parameters do not fit.
pub fn plan(planner: &Planner, label: &str, choice: Choice) -> Result<Planned> {
    let threads = planner.tuning.norms.threads.max(16);
    let (mut constants, buffers) = choice.bindings(label, threads);
    constants.push(("THREADS", threads));
    planner.plan_bare(label, planner.key("router", constants), buffers, Grid::per_row(1))
}
