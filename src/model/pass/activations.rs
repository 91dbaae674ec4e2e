//! Every intermediate value of the forward pass, named once, with its shape.

use crate::Result;
use crate::gemma4::{Config, LayerConfig, Rope};
use crate::gpu::{Gpu, Tensor, Tier};
use crate::kernels::KvDtype;
use crate::kernels::attention::attention;
use crate::kernels::choice::{argmax, sample, strip_max, suppress};
use crate::kernels::experts::moe_group::Groups;
use crate::kernels::rounding::int8_by_16;
use crate::model::load::share::Share;
use crate::model::run::step::FEW_ROWS;

/// The buffers of a step, for up to `rows` rows. H = `hidden_size`; heads, widths and vocabulary are a rank's share.
#[derive(Debug)]
pub(crate) struct Activations {
    /// `[rows, 8]` words: [`crate::kernels::StepRow`].
    pub rows: Tensor,
    /// `[1, 1]`: how many rows the step has.
    pub row_count: Tensor,
    /// `[rows, 2 * pairs]`: cos and sin for sliding layers' pairs, then for full layers'.
    pub rotary: Tensor,
    /// `[rows, H]`: the residual stream.
    pub h: Tensor,
    /// `[rows, H]`: input of the next block, normed.
    pub x: Tensor,
    /// It rounded, in steps of few rows.
    pub x_rounded: Option<Tensor>,
    /// By layer kind: products with `q_proj`, `k_proj` and `v_proj` side by side; `[rows, heads * head_dim]`: queries and
    /// what attention makes of them; `[rows, kv_heads * head_words]`: keys and values of a chunk's own rows, as the cache
    /// holds them.
    pub attention: Vec<AttentionActivations>,
    /// `[rows, H]`: output of `o_proj`.
    pub attn: Tensor,
    /// By width of the dense MLP, `[rows, intermediate_size]`.
    pub mlp: Vec<GatedActivations>,
    /// `[rows, H]`: output of the dense MLP.
    pub mlp_out: Tensor,
    /// What per-layer inputs add.
    pub per_layer: Option<PerLayerActivations>,
    /// What a mixture of experts adds.
    pub moe: Option<MoeActivations>,
    /// Bound where a kernel has an output that a layer does not use.
    pub unused: [Tensor; 2],
    /// `[FEW_ROWS, 1]`: the rows that want logits.
    pub chosen: Tensor,
    /// `[1, 1]`: how many they are.
    pub chosen_count: Tensor,
    /// `[FEW_ROWS, H]`: their final hidden state.
    pub chosen_x: Tensor,
    /// It rounded.
    pub chosen_x_rounded: Option<Tensor>,
    /// `[FEW_ROWS, vocab_size]`.
    pub logits: Tensor,
    /// `[FEW_ROWS, SCRATCH_WIDTH]`: what the first stage of the greedy choice hands to the second.
    pub argmax_parts: Tensor,
    /// `[FEW_ROWS, strips]`: the largest logits of strips of the vocabulary.
    pub strip_maxima: Tensor,
    /// `[FEW_ROWS, 4]` words: [`sample::Draw`].
    pub draws: Tensor,
    /// `[1, MAX_IDS]`: ids that must not be chosen, [`suppress::NO_ID`] behind them.
    pub suppressed: Tensor,
    /// `[FEW_ROWS, 1]`: the choice.
    pub ids: Tensor,
}

/// Buffers of attention for one shape of heads.
#[derive(Debug)]
pub(crate) struct AttentionActivations {
    pub qkv: Tensor,
    pub q: Tensor,
    pub out: Tensor,
    /// `out` rounded, in steps of few rows.
    pub out_rounded: Option<Tensor>,
    pub k_new: Tensor,
    pub v_new: Tensor,
    /// `[1, words]`: what workgroups make of their shares of a row's positions, in steps of few rows.
    pub shares: Tensor,
}

/// Buffers of a gated product: gate and up side by side, `[rows, 2 * width]`, where they are not gated at once, and what
/// becomes of them, `[rows, width]`, rounded too in steps of few rows.
#[derive(Debug)]
pub(crate) struct GatedActivations {
    pub gate_up: Tensor,
    pub act: Tensor,
    pub act_rounded: Option<Tensor>,
}

/// Buffers of the per-layer inputs, n = `hidden_size_per_layer_input`.
#[derive(Debug)]
pub(crate) struct PerLayerActivations {
    /// `[rows, layers * n]`: the tokens' rows of `embed_tokens_per_layer` times sqrt(n), from the host.
    pub tokens: Tensor,
    /// `[rows, layers * n]`: product with `per_layer_model_projection`.
    pub context: Tensor,
    /// `[rows, share of layers * n]`: the columns of it that this rank computes; `None` where it computes all.
    pub context_part: Option<Tensor>,
    /// `[rows, layers * n]`: what the layers take.
    pub inputs: Tensor,
    /// `[rows, share of n]`: gate, and what it lets through.
    pub gate: Tensor,
    pub act: Tensor,
}

/// Buffers of the mixture of experts; `top_k` rows to a row of the step.
#[derive(Debug)]
pub(crate) struct MoeActivations {
    /// `[rows, H]`: input of the router, of the experts.
    pub router_x: Tensor,
    pub x: Tensor,
    /// `x` rounded, in steps of few rows.
    pub x_rounded: Option<Tensor>,
    /// `[rows, num_experts]`.
    pub router_logits: Tensor,
    /// `[rows, top_k]` without padding.
    pub ids: Tensor,
    pub weights: Tensor,
    /// The chosen experts' rows, grouped.
    pub groups: Groups,
    /// `[rows * top_k, moe_intermediate_size]`.
    pub gated: GatedActivations,
    /// `[rows * top_k, H]`.
    pub products: Tensor,
    /// `[rows, H]`: weighted sum.
    pub sum: Tensor,
}

/// What buffers of attention depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HeadShape {
    pub head_dim: usize,
    pub kv_heads: usize,
}

impl HeadShape {
    pub(crate) fn of(layer: &LayerConfig) -> Self {
        HeadShape { head_dim: layer.head_dim, kv_heads: layer.num_key_value_heads }
    }
}

/// A rotation of heads of some width.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rotation {
    pub head_dim: usize,
    pub rope: Rope,
}

impl Rotation {
    pub(crate) fn of(layer: &LayerConfig) -> Self {
        Rotation { head_dim: layer.head_dim, rope: layer.rope }
    }
}

/// The shapes of heads that occur.
pub(crate) fn head_shapes(config: &Config) -> Vec<HeadShape> {
    let mut shapes = Vec::new();
    for layer in &config.layers {
        let shape = HeadShape::of(layer);
        if !shapes.contains(&shape) {
            shapes.push(shape);
        }
    }
    shapes
}

/// The widths of dense MLPs that occur.
pub(crate) fn mlp_widths(config: &Config) -> Vec<usize> {
    let mut widths: Vec<usize> = config.layers.iter().map(|layer| layer.intermediate_size).collect();
    widths.sort_unstable();
    widths.dedup();
    widths
}

/// The rotations that occur; each has its own range of pairs in a row of the rotary table.
pub(crate) fn rotations(config: &Config) -> Vec<Rotation> {
    let mut all = Vec::new();
    for rotation in config.layers.iter().map(Rotation::of) {
        if !all.contains(&rotation) {
            all.push(rotation);
        }
    }
    all
}

impl GatedActivations {
    /// `few` is the number of rows of a step of few rows, where such steps round.
    fn new(gpu: &Gpu, label: &str, rows: usize, width: usize, few: Option<usize>) -> Result<Self> {
        let new = |what, width| Tensor::new(gpu, &format!("{label}{what}"), rows, width);
        Ok(GatedActivations {
            gate_up: new("gate_up", 2 * width)?,
            act: new("act", width)?,
            act_rounded: few
                .map(|few| int8_by_16::tensor(gpu, &format!("{label}act_rounded"), few, width))
                .transpose()?,
        })
    }
}

impl Activations {
    pub(crate) fn new(gpu: &Gpu, share: &Share, rows: usize, tier: Tier, kv: KvDtype) -> Result<Self> {
        let config = &share.config;
        let few = int8_by_16::is_read_in(tier).then_some(FEW_ROWS);
        let rounded = |label: &str, width| few.map(|few| int8_by_16::tensor(gpu, label, few, width)).transpose();
        let hidden = |label: &str, rows| Tensor::new(gpu, label, rows, config.hidden_size);
        let attention = head_shapes(config)
            .into_iter()
            .map(|HeadShape { head_dim, kv_heads }| {
                let q = |label: &str| Tensor::new(gpu, label, rows, config.num_attention_heads * head_dim);
                let kv = |label: &str| Tensor::new(gpu, label, rows, kv_heads * kv.head_words(head_dim));
                let heads = config.num_attention_heads + 2 * kv_heads;
                Ok(AttentionActivations {
                    qkv: Tensor::new(gpu, "qkv", rows, heads * head_dim)?,
                    q: q("q")?,
                    out: q("attention_out")?,
                    out_rounded: rounded("attention_out_rounded", config.num_attention_heads * head_dim)?,
                    k_new: kv("k_new")?,
                    v_new: kv("v_new")?,
                    shares: Tensor::compact(gpu, "attention_shares", 1, {
                        attention::share_words(config.num_attention_heads, kv_heads, head_dim, FEW_ROWS)
                    })?,
                })
            })
            .collect::<Result<_>>()?;
        let mlp = mlp_widths(config)
            .into_iter()
            .map(|width| GatedActivations::new(gpu, "mlp.", rows, width, few))
            .collect::<Result<_>>()?;
        let pairs: usize = rotations(config).iter().map(|rotation| rotation.rope.rotated_pairs).sum();
        Ok(Activations {
            rows: Tensor::compact(gpu, "rows", rows, 8)?,
            row_count: Tensor::compact(gpu, "row_count", 1, 1)?,
            rotary: Tensor::compact(gpu, "rotary", rows, 2 * pairs)?,
            h: hidden("h", rows)?,
            x: hidden("x", rows)?,
            x_rounded: rounded("x_rounded", config.hidden_size)?,
            attention,
            attn: hidden("attn", rows)?,
            mlp,
            mlp_out: hidden("mlp_out", rows)?,
            per_layer: (config.hidden_size_per_layer_input > 0)
                .then(|| PerLayerActivations::new(gpu, share, rows))
                .transpose()?,
            moe: config.is_moe().then(|| MoeActivations::new(gpu, config, rows, few)).transpose()?,
            unused: [hidden("unused", 1)?, hidden("unused", 1)?],
            chosen: Tensor::compact(gpu, "chosen", FEW_ROWS, 1)?,
            chosen_count: Tensor::compact(gpu, "chosen_count", 1, 1)?,
            chosen_x: hidden("chosen_x", FEW_ROWS)?,
            chosen_x_rounded: rounded("chosen_x_rounded", config.hidden_size)?,
            logits: Tensor::new(gpu, "logits", FEW_ROWS, share.vocab.len())?,
            argmax_parts: Tensor::compact(gpu, "argmax_parts", FEW_ROWS, argmax::SCRATCH_WIDTH)?,
            strip_maxima: Tensor::compact(gpu, "strip_maxima", FEW_ROWS, strip_max::strips(share.vocab.len()))?,
            draws: Tensor::compact(gpu, "draws", FEW_ROWS, sample::DRAW_WORDS)?,
            suppressed: Tensor::compact(gpu, "suppressed", 1, suppress::MAX_IDS)?,
            ids: Tensor::compact(gpu, "ids", FEW_ROWS, 1)?,
        })
    }
}

impl PerLayerActivations {
    fn new(gpu: &Gpu, share: &Share, rows: usize) -> Result<Self> {
        let width = share.config.num_hidden_layers * share.config.hidden_size_per_layer_input;
        let all = |label: &str| Tensor::new(gpu, label, rows, width);
        let one = |label: &str| Tensor::new(gpu, label, rows, share.per_layer.len());
        let part = || Tensor::new(gpu, "per_layer_context_part", rows, share.per_layer_context.len());
        Ok(PerLayerActivations {
            tokens: all("per_layer_tokens")?,
            context: all("per_layer_context")?,
            context_part: share.is_partial().then(part).transpose()?,
            inputs: all("per_layer_inputs")?,
            gate: one("per_layer_gate")?,
            act: one("per_layer_act")?,
        })
    }
}

impl MoeActivations {
    fn new(gpu: &Gpu, config: &Config, rows: usize, few: Option<usize>) -> Result<Self> {
        let (slots, few_slots) = (rows * config.top_k_experts, few.map(|few| few * config.top_k_experts));
        Ok(MoeActivations {
            router_x: Tensor::new(gpu, "router_x", rows, config.hidden_size)?,
            x: Tensor::new(gpu, "experts_x", rows, config.hidden_size)?,
            x_rounded: few
                .map(|few| int8_by_16::tensor(gpu, "experts_x_rounded", few, config.hidden_size))
                .transpose()?,
            router_logits: Tensor::new(gpu, "router_logits", rows, config.num_experts)?,
            ids: Tensor::compact(gpu, "router_ids", rows, config.top_k_experts)?,
            weights: Tensor::compact(gpu, "router_weights", rows, config.top_k_experts)?,
            groups: Groups::new(gpu, rows, config.top_k_experts, config.num_experts)?,
            gated: GatedActivations::new(gpu, "experts.", slots, config.moe_intermediate_size, few_slots)?,
            products: Tensor::new(gpu, "experts_products", slots, config.hidden_size)?,
            sum: Tensor::new(gpu, "experts", rows, config.hidden_size)?,
        })
    }
}
