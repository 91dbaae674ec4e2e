//! The rows of the text model.

use super::entry::Shape::{Matrix, Vector};
use super::entry::SizeOf::{
    AllPerLayer, Expert, Experts, Fixed, HeadDim, Hidden, Keys, Mlp, PerLayer, PerLayerVocab, Queries, Vocab,
};
use super::entry::{CutBy, Entry, Norm, Place, When};
use super::role::Role;

const fn norm(name: &'static str, norm: Norm) -> Entry {
    Entry::of_layer(name, Role::Norms, Vector(Hidden)).at(Place::Norm(norm))
}

/// An expert's gate.
pub(super) const GATE: Entry = Entry::of_experts("experts.gate_proj", Matrix(Expert, Hidden))
    .cut(CutBy::Outputs)
    .at(Place::Stack("experts.gate_up_proj"));
/// What an expert's gate is multiplied with.
pub(super) const UP: Entry = Entry::of_experts("experts.up_proj", Matrix(Expert, Hidden))
    .cut(CutBy::Outputs)
    .at(Place::Stack("experts.gate_up_proj"));
/// An expert's way back.
pub(super) const DOWN: Entry = Entry::of_experts("experts.down_proj", Matrix(Hidden, Expert)).cut(CutBy::Inputs);

/// What the text model has besides its layers, then what a layer has. Faults come in this order.
pub(super) const TEXT: &[Entry] = &[
    Entry::of_model("embed_tokens", Role::Embedding, Matrix(Vocab, Hidden)).cut(CutBy::Outputs),
    Entry::of_model("lm_head", Role::Head, Matrix(Vocab, Hidden)).cut(CutBy::Outputs).when(When::UntiedHead),
    Entry::of_model("norm.weight", Role::Norms, Vector(Hidden)).at(Place::Norm(Norm::Input)),
    Entry::of_model("embed_tokens_per_layer", Role::PerLayerEmbedding, Matrix(PerLayerVocab, AllPerLayer))
        .when(When::PerLayerInputs)
        .at(Place::File),
    Entry::of_model("per_layer_model_projection", Role::PerLayerInput, Matrix(AllPerLayer, Hidden))
        .when(When::PerLayerInputs)
        .cut(CutBy::Outputs),
    Entry::of_model("per_layer_projection_norm.weight", Role::PerLayerInput, Vector(PerLayer))
        .when(When::PerLayerInputs),
    norm("input_layernorm.weight", Norm::Input),
    norm("post_attention_layernorm.weight", Norm::PostAttention),
    norm("pre_feedforward_layernorm.weight", Norm::PreFeedforward),
    norm("post_feedforward_layernorm.weight", Norm::PostFeedforward),
    Entry::of_layer("layer_scalar", Role::Norms, Vector(Fixed(1))).at(Place::Number),
    Entry::of_layer("self_attn.q_proj", Role::Attention, Matrix(Queries, Hidden))
        .cut(CutBy::Outputs)
        .at(Place::Stack("self_attn.qkv_proj")),
    Entry::of_layer("self_attn.o_proj", Role::Attention, Matrix(Hidden, Queries)).cut(CutBy::Inputs),
    Entry::of_layer("self_attn.q_norm.weight", Role::Norms, Vector(HeadDim)).at(Place::Rows("self_attn.qk_norm")),
    Entry::of_layer("self_attn.k_proj", Role::Attention, Matrix(Keys, Hidden))
        .when(When::OwnKeys)
        .cut(CutBy::Outputs)
        .at(Place::Stack("self_attn.qkv_proj")),
    Entry::of_layer("self_attn.k_norm.weight", Role::Norms, Vector(HeadDim))
        .when(When::OwnKeys)
        .at(Place::Rows("self_attn.qk_norm")),
    Entry::of_layer("self_attn.v_proj", Role::Attention, Matrix(Keys, Hidden))
        .when(When::OwnValues)
        .cut(CutBy::Outputs)
        .at(Place::Stack("self_attn.qkv_proj")),
    Entry::of_layer("mlp.gate_proj", Role::Mlp, Matrix(Mlp, Hidden))
        .cut(CutBy::Outputs)
        .at(Place::Stack("mlp.gate_up_proj")),
    Entry::of_layer("mlp.up_proj", Role::Mlp, Matrix(Mlp, Hidden))
        .cut(CutBy::Outputs)
        .at(Place::Stack("mlp.gate_up_proj")),
    Entry::of_layer("mlp.down_proj", Role::Mlp, Matrix(Hidden, Mlp)).cut(CutBy::Inputs),
    Entry::of_layer("router.proj", Role::Router, Matrix(Experts, Hidden)).when(When::Experts),
    Entry::of_layer("router.scale", Role::Router, Vector(Hidden)).when(When::Experts).at(Place::Norm(Norm::Router)),
    Entry::of_layer("router.per_expert_scale", Role::Router, Vector(Experts)).when(When::Experts),
    norm("pre_feedforward_layernorm_2.weight", Norm::PreFeedforward2).when(When::Experts),
    norm("post_feedforward_layernorm_1.weight", Norm::PostFeedforward1).when(When::Experts),
    norm("post_feedforward_layernorm_2.weight", Norm::PostFeedforward2).when(When::Experts),
    Entry::of_layer("per_layer_input_gate", Role::PerLayerInput, Matrix(PerLayer, Hidden))
        .when(When::PerLayerInputs)
        .cut(CutBy::Outputs),
    Entry::of_layer("per_layer_projection", Role::PerLayerInput, Matrix(Hidden, PerLayer))
        .when(When::PerLayerInputs)
        .cut(CutBy::Inputs),
    Entry::of_layer("post_per_layer_input_norm.weight", Role::PerLayerInput, Vector(Hidden))
        .when(When::PerLayerInputs)
        .at(Place::Norm(Norm::PostPerLayerInput)),
    GATE,
    UP,
    DOWN,
];
