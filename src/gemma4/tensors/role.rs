//! What tensors are for.

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
