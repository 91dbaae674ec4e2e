//! Which tensors a configuration asks for: the table that names, shapes and roles come from.

use super::fields::Config;
use super::layers::LayerConfig;

/// What a tensor is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// `embed_tokens`.
    Embedding,
    /// `lm_head`, where it is not the embedding.
    Head,
    /// `embed_tokens_per_layer`.
    PerLayerEmbedding,
    /// The other tensors of the per-layer embeddings.
    PerLayerInput,
    /// `self_attn` without its norms.
    Attention,
    /// The dense MLP.
    Mlp,
    /// The experts.
    Experts,
    /// The router with its scales.
    Router,
    /// All norms and `layer_scalar`.
    Norms,
}

impl Role {
    /// The role in a word or two, for tables.
    pub fn label(self) -> &'static str {
        match self {
            Role::Embedding => "embedding",
            Role::Head => "head",
            Role::PerLayerEmbedding => "per-layer embedding",
            Role::PerLayerInput => "per-layer input",
            Role::Attention => "attention",
            Role::Mlp => "mlp",
            Role::Experts => "experts",
            Role::Router => "router",
            Role::Norms => "norms",
        }
    }
}

/// The shape of an expected tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// `[length]`.
    Vector(usize),
    /// `[out_features, in_features]`; the name is without `.weight` and the matrix may be quantized.
    Matrix(usize, usize),
}

/// A tensor that must be there.
#[derive(Debug, Clone)]
pub(crate) struct Expected {
    /// Relative to the text model.
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) shape: Shape,
}

impl Expected {
    pub(crate) fn parameters(&self) -> u64 {
        match self.shape {
            Shape::Vector(length) => length as u64,
            Shape::Matrix(out_features, in_features) => out_features as u64 * in_features as u64,
        }
    }
}

/// Every tensor of the text model but the experts, which come in several layouts.
pub(crate) fn expected(config: &Config) -> Vec<Expected> {
    let hidden = config.hidden_size;
    let per_layer = config.hidden_size_per_layer_input;
    let mut list = List { tensors: Vec::new(), prefix: String::new() };
    list.matrix(Role::Embedding, "embed_tokens", config.vocab_size, hidden);
    if !config.tie_word_embeddings {
        list.matrix(Role::Head, "lm_head", config.vocab_size, hidden);
    }
    list.vector(Role::Norms, "norm.weight", hidden);
    if per_layer > 0 {
        let all = per_layer * config.num_hidden_layers;
        list.matrix(Role::PerLayerEmbedding, "embed_tokens_per_layer", config.vocab_size_per_layer_input, all);
        list.matrix(Role::PerLayerInput, "per_layer_model_projection", all, hidden);
        list.vector(Role::PerLayerInput, "per_layer_projection_norm.weight", per_layer);
    }
    for (index, layer) in config.layers.iter().enumerate() {
        list.prefix = format!("layers.{index}.");
        add_layer(&mut list, config, layer);
    }
    list.tensors
}

fn add_layer(list: &mut List, config: &Config, layer: &LayerConfig) {
    let hidden = config.hidden_size;
    for norm in
        ["input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm"]
    {
        list.vector(Role::Norms, &format!("{norm}.weight"), hidden);
    }
    list.vector(Role::Norms, "layer_scalar", 1);

    let queries = config.num_attention_heads * layer.head_dim;
    let keys = layer.num_key_value_heads * layer.head_dim;
    list.matrix(Role::Attention, "self_attn.q_proj", queries, hidden);
    list.matrix(Role::Attention, "self_attn.o_proj", hidden, queries);
    list.vector(Role::Norms, "self_attn.q_norm.weight", layer.head_dim);
    if layer.kv_source.is_none() {
        list.matrix(Role::Attention, "self_attn.k_proj", keys, hidden);
        list.vector(Role::Norms, "self_attn.k_norm.weight", layer.head_dim);
        if !layer.k_eq_v {
            list.matrix(Role::Attention, "self_attn.v_proj", keys, hidden);
        }
    }

    list.matrix(Role::Mlp, "mlp.gate_proj", layer.intermediate_size, hidden);
    list.matrix(Role::Mlp, "mlp.up_proj", layer.intermediate_size, hidden);
    list.matrix(Role::Mlp, "mlp.down_proj", hidden, layer.intermediate_size);

    if config.is_moe() {
        list.matrix(Role::Router, "router.proj", config.num_experts, hidden);
        list.vector(Role::Router, "router.scale", hidden);
        list.vector(Role::Router, "router.per_expert_scale", config.num_experts);
        for norm in ["pre_feedforward_layernorm_2", "post_feedforward_layernorm_1", "post_feedforward_layernorm_2"] {
            list.vector(Role::Norms, &format!("{norm}.weight"), hidden);
        }
    }
    let per_layer = config.hidden_size_per_layer_input;
    if per_layer > 0 {
        list.matrix(Role::PerLayerInput, "per_layer_input_gate", per_layer, hidden);
        list.matrix(Role::PerLayerInput, "per_layer_projection", hidden, per_layer);
        list.vector(Role::PerLayerInput, "post_per_layer_input_norm.weight", hidden);
    }
}

struct List {
    tensors: Vec<Expected>,
    prefix: String,
}

impl List {
    fn vector(&mut self, role: Role, name: &str, length: usize) {
        self.tensors.push(Expected { name: format!("{}{name}", self.prefix), role, shape: Shape::Vector(length) });
    }

    fn matrix(&mut self, role: Role, name: &str, out_features: usize, in_features: usize) {
        let shape = Shape::Matrix(out_features, in_features);
        self.tensors.push(Expected { name: format!("{}{name}", self.prefix), role, shape });
    }
}
