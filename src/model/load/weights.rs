//! A rank's weights on its device, with the checkpoint's names.

use std::sync::Arc;

use crate::checkpoint::RowReader;
use crate::gpu::Tensor;
use crate::kernels::product::joined::Joined;
use crate::kernels::{HostStack, Weights};

/// Rows of the table of norm weights that each layer takes; the final norm follows the last layer's, so that the norm
/// after a layer is always the next row.
pub(crate) const NORMS_PER_LAYER: usize = 9;

/// Rows of a layer's norms, by number in [`NORM_NAMES`]. The three that read the residual stream before the MLP stand
/// together, from `PreFeedforward` on; the router's is `router.scale * hidden^-0.5`, since its norm has no other weight.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Norm {
    Input = 0,
    PostAttention = 1,
    PreFeedforward = 2,
    PostFeedforward = 5,
    PostFeedforward1 = 6,
    PostFeedforward2 = 7,
    PostPerLayerInput = 8,
}

pub(crate) const NORM_NAMES: [&str; NORMS_PER_LAYER] = [
    "input_layernorm.weight",
    "post_attention_layernorm.weight",
    "pre_feedforward_layernorm.weight",
    "pre_feedforward_layernorm_2.weight",
    "router.scale",
    "post_feedforward_layernorm.weight",
    "post_feedforward_layernorm_1.weight",
    "post_feedforward_layernorm_2.weight",
    "post_per_layer_input_norm.weight",
];

/// The row of the norm table that holds `norm` of layer `l`.
pub(crate) fn norm_row(l: usize, norm: Norm) -> usize {
    l * NORMS_PER_LAYER + norm as usize
}

/// All weights of a model, or a rank's part of each.
#[derive(Debug)]
pub(crate) struct ModelWeights {
    pub embed_tokens: Weights,
    /// `None` where the head is the embedding.
    pub lm_head: Option<Weights>,
    /// `[layers * NORMS_PER_LAYER + 1, hidden]`; the last row is `norm.weight`.
    pub norms: Tensor,
    pub per_layer: Option<PerLayerWeights>,
    pub layers: Vec<LayerWeights>,
    /// What layers with experts in host memory share: each a stack of experts.
    pub windows: Vec<Weights>,
}

/// What the per-layer inputs are made with.
#[derive(Debug)]
pub(crate) struct PerLayerWeights {
    /// `embed_tokens_per_layer` stays in its file: a token needs one row of it.
    pub table: RowReader,
    pub per_layer_model_projection: Weights,
    /// `[1, n]` without padding.
    pub per_layer_projection_norm: Tensor,
}

/// The weights of one layer.
#[derive(Debug)]
pub(crate) struct LayerWeights {
    /// `q_proj`; `k_proj` where the layer has keys and values of its own; `v_proj` where it has not K = V.
    pub qkv: Joined,
    pub o_proj: Weights,
    /// `q_norm` and `k_norm`, `[2, head_dim]` without padding.
    pub qk_norm: Tensor,
    pub mlp: GatedWeights,
    pub moe: Option<MoeWeights>,
    /// `per_layer_input_gate` and `per_layer_projection`.
    pub per_layer: Option<(Weights, Weights)>,
    pub layer_scalar: f32,
}

/// Gate, up and down projections of an MLP, or of all experts.
#[derive(Debug)]
pub(crate) struct GatedWeights {
    pub gate_up: Joined,
    pub down_proj: Weights,
}

/// Router and experts of one layer.
#[derive(Debug)]
pub(crate) struct MoeWeights {
    pub router_proj: Weights,
    /// `[1, num_experts]`.
    pub per_expert_scale: Tensor,
    /// On the device; of experts in host memory, windows.
    pub experts: GatedWeights,
    /// The stacks of `experts` that are in host memory: all or none.
    pub hosted: Vec<Hosted>,
}

/// A stack of a layer's experts in host memory.
#[derive(Debug, Clone)]
pub(crate) struct Hosted {
    pub stack: Arc<HostStack>,
    /// The number of its window in [`ModelWeights::windows`].
    pub window: usize,
}

impl MoeWeights {
    /// Bytes of experts that are this layer's own on the device.
    fn own_bytes(&self) -> u64 {
        if self.hosted.is_empty() { self.experts.size_bytes() } else { 0 }
    }
}

impl GatedWeights {
    fn size_bytes(&self) -> u64 {
        self.gate_up.size_bytes() + self.down_proj.size_bytes()
    }
}

impl ModelWeights {
    /// Bytes of the embedding, of a head of its own, and of all experts.
    pub(crate) fn parts(&self) -> (u64, u64, u64) {
        let head = self.lm_head.as_ref().map_or(0, Weights::size_bytes);
        let experts = self.layers.iter().filter_map(|layer| layer.moe.as_ref()).map(MoeWeights::own_bytes);
        (self.embed_tokens.size_bytes(), head, experts.sum::<u64>() + self.windows_bytes())
    }

    /// Bytes on the device.
    pub(crate) fn size_bytes(&self) -> u64 {
        let bytes = |tensor: &Tensor| tensor.bytes(tensor.rows);
        let layer = |w: &LayerWeights| {
            let moe = w
                .moe
                .as_ref()
                .map_or(0, |moe| moe.router_proj.size_bytes() + bytes(&moe.per_expert_scale) + moe.own_bytes());
            let per_layer = w.per_layer.as_ref().map_or(0, |(gate, out)| gate.size_bytes() + out.size_bytes());
            w.qkv.size_bytes() + w.o_proj.size_bytes() + bytes(&w.qk_norm) + w.mlp.size_bytes() + moe + per_layer
        };
        let per_layer = self
            .per_layer
            .as_ref()
            .map_or(0, |w| w.per_layer_model_projection.size_bytes() + bytes(&w.per_layer_projection_norm));
        self.embed_tokens.size_bytes()
            + self.lm_head.as_ref().map_or(0, Weights::size_bytes)
            + bytes(&self.norms)
            + per_layer
            + self.layers.iter().map(layer).sum::<u64>()
            + self.windows_bytes()
    }

    fn windows_bytes(&self) -> u64 {
        self.windows.iter().map(Weights::size_bytes).sum()
    }

    /// Layers whose experts are in host memory, and the bytes that these take there.
    pub(crate) fn hosted(&self) -> (usize, u64) {
        let moe = self.layers.iter().filter_map(|layer| layer.moe.as_ref()).filter(|moe| !moe.hosted.is_empty());
        let bytes = |moe: &MoeWeights| moe.hosted.iter().map(|hosted| hosted.stack.size_bytes()).sum::<u64>();
        moe.fold((0, 0), |(layers, sum), moe| (layers + 1, sum + bytes(moe)))
    }
}
