//! `router.wgsl`: softmax over the experts, the `top_k` largest, renormalized, times `per_expert_scale`.

use crate::gpu::{Constants, Grid, Tensor};
use crate::kernels::{NamedBuffers, Planned, Planner, word};
use crate::{Error, Result};

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
    /// Ok where the tensors go together.
    ///
    /// # Errors
    /// [`crate::error::Usage::Shape`] with what does not, of the dispatch `label`.
    pub(crate) fn check(&self, label: &str) -> Result<()> {
        let (n_experts, top_k) = (self.logits.width, self.ids.width);
        let is = |what, is_right, found: usize, expected: usize| {
            Error::check_shape(label, what, is_right, &found, &format_args!("1 to {expected}"))
        };
        let same =
            |what, found: usize, expected: usize| Error::check_shape(label, what, found == expected, &found, &expected);
        is("experts", (1..=MAX_EXPERTS).contains(&n_experts), n_experts, MAX_EXPERTS)?;
        let most = MAX_TOP_K.min(n_experts);
        is("experts of a token", (1..=most).contains(&top_k), top_k, most)?;
        same("factors of experts", self.per_expert_scale.width, n_experts)?;
        same("stride of the experts' ids", self.ids.stride, top_k)?;
        same("stride of the experts' weights", self.weights.stride, top_k)?;
        let stride = self.logits.stride;
        let is_padded = stride.is_multiple_of(4) && u32::try_from(stride).is_ok();
        Error::check_shape(label, "stride of the logits", is_padded, &stride, &"whole quads")
    }

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
