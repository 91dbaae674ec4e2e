//! A row of the table: all that is known of a tensor before a configuration says how large it is.

use super::role::Role;

/// A row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// As checkpoints have it, relative to the text model or to its layer: `norm.weight`, `self_attn.q_proj`. That of a matrix is
    /// without `.weight`; that of an expert's (`experts.gate_proj`) is without the expert's number, which follows the first dot.
    pub name: &'static str,
    /// What it is for.
    pub role: Role,
    /// How large it is.
    pub shape: Shape,
    /// How many there are.
    pub scope: Scope,
    /// Which models or layers have it.
    pub when: When,
    /// What of it a rank holds. Of experts, each rank holds those that are its own, and of these such a part.
    pub cut: CutBy,
    /// Where it goes in a loaded model.
    pub place: Place,
}

/// How many there are of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// One.
    Model,
    /// One a layer, under `layers.N.`.
    Layer,
    /// One for each expert of a layer. In files, either each is a tensor (`layers.N.experts.E.gate_proj`), or all of a layer's
    /// stack are one (`layers.N.experts.gate_up_proj`, `[experts, rows of all in the stack, columns]`).
    Expert,
}

/// Which models or layers have a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// All.
    Always,
    /// Models whose head is not the embedding.
    UntiedHead,
    /// Models with per-layer inputs.
    PerLayerInputs,
    /// Models with experts.
    Experts,
    /// Layers that do not read another layer's keys and values.
    OwnKeys,
    /// Of these, the layers whose values are not made of what `k_proj` gives.
    OwnValues,
}

/// How large a tensor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// `[length]`, never quantized.
    Vector(SizeOf),
    /// `[out_features, in_features]`; may be quantized.
    Matrix(SizeOf, SizeOf),
}

/// A size that a configuration tells. Ranks cut some of them, each at borders of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SizeOf {
    /// The same in all models.
    Fixed(usize),
    /// Width of the residual stream.
    Hidden,
    /// Tokens; cut anywhere.
    Vocab,
    /// Rows of the per-layer embedding.
    PerLayerVocab,
    /// Per-layer inputs of one layer; cut anywhere, or between groups of the matrix that reads them.
    PerLayer,
    /// Per-layer inputs of all layers; cut anywhere.
    AllPerLayer,
    /// Size of a layer's heads.
    HeadDim,
    /// Query heads of a layer times their size; cut between heads.
    Queries,
    /// Key heads of a layer times their size; cut between heads: a rank has those that its queries read.
    Keys,
    /// Width of a layer's dense MLP; cut anywhere, or between groups of the matrix that reads it.
    Mlp,
    /// Number of experts.
    Experts,
    /// Width of an expert; cut as that of the MLP, unless ranks have whole experts.
    Expert,
}

/// What of a tensor a rank holds. Where the cuts fall is what the [`SizeOf`] of the side says that is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CutBy {
    /// All of it.
    Nothing,
    /// Some output features, with all inputs.
    Outputs,
    /// Some input features, for all outputs.
    Inputs,
}

/// Where a tensor goes in a loaded model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A matrix on the device. Those of a layer with the same name are one stack there, one behind the other in the table's
    /// order, where their formats agree; that of experts holds all of the rank's. A tensor whose own name it is is alone.
    Stack(&'static str),
    /// A row of the tensor of all norms.
    Norm(Norm),
    /// A row of a small tensor without padding, in the table's order. What a layer lacks is a row of zeros.
    Rows(&'static str),
    /// No buffer: kernels take the number as a parameter.
    Number,
    /// It stays in its file: a token needs one row of it.
    File,
}

/// Rows of the tensor of all norms. Each layer has all of them, those that it lacks as zeros; behind the last layer's comes the
/// final norm, as the input norm of a layer that there is not: the norm behind a layer is always the next row. The three that
/// read the residual stream before the MLP are neighbours, from `PreFeedforward` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Norm {
    /// `input_layernorm`.
    Input = 0,
    /// `post_attention_layernorm`.
    PostAttention = 1,
    /// `pre_feedforward_layernorm`.
    PreFeedforward = 2,
    /// `pre_feedforward_layernorm_2`.
    PreFeedforward2 = 3,
    /// `router.scale * hidden^-0.5`: the router's norm has no other weight.
    Router = 4,
    /// `post_feedforward_layernorm`.
    PostFeedforward = 5,
    /// `post_feedforward_layernorm_1`.
    PostFeedforward1 = 6,
    /// `post_feedforward_layernorm_2`.
    PostFeedforward2 = 7,
    /// `post_per_layer_input_norm`.
    PostPerLayerInput = 8,
}

impl Norm {
    /// Rows of a layer.
    pub const COUNT: usize = 9;
}

impl Entry {
    /// A tensor of the model, a matrix with a stack of its own or a vector that is a row of its own; no rank cuts it.
    pub const fn of_model(name: &'static str, role: Role, shape: Shape) -> Entry {
        let place = match shape {
            Shape::Matrix(..) => Place::Stack(name),
            Shape::Vector(_) => Place::Rows(name),
        };
        Entry { name, role, shape, scope: Scope::Model, when: When::Always, cut: CutBy::Nothing, place }
    }

    /// As [`Self::of_model`], in each layer.
    pub const fn of_layer(name: &'static str, role: Role, shape: Shape) -> Entry {
        Entry { scope: Scope::Layer, ..Self::of_model(name, role, shape) }
    }

    /// As [`Self::of_model`], of each expert.
    pub const fn of_experts(name: &'static str, shape: Shape) -> Entry {
        Entry { scope: Scope::Expert, when: When::Experts, ..Self::of_model(name, Role::Experts, shape) }
    }

    /// Which models or layers have it.
    #[must_use]
    pub const fn when(self, when: When) -> Entry {
        Entry { when, ..self }
    }

    /// What of it a rank holds.
    #[must_use]
    pub const fn cut(self, cut: CutBy) -> Entry {
        Entry { cut, ..self }
    }

    /// Where it goes.
    #[must_use]
    pub const fn at(self, place: Place) -> Entry {
        Entry { place, ..self }
    }
}
