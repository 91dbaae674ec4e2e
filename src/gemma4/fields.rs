//! The model's configuration, as it was read.

use super::layers::LayerConfig;
use super::tensors::Table;
use crate::quant::Dtype;
use crate::{Faults, Result};

/// Limits far above every real model, so that no arithmetic on sizes can overflow.
pub(crate) const MAX_SIZE: usize = 1 << 24;
pub(crate) const MAX_HEADS: usize = 1 << 16;
/// The model's configuration. Fields are named as in `config.json`.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// `gemma4` or `gemma4_unified`, or their `_text` forms.
    pub model_type: String,
    /// Rows of the embedding.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the dense MLP; a layer's own is in [`LayerConfig`].
    pub intermediate_size: usize,
    /// Width of one expert; 0 if dense.
    pub moe_intermediate_size: usize,
    /// Number of layers.
    pub num_hidden_layers: usize,
    /// Query heads of every layer.
    pub num_attention_heads: usize,
    /// Positions that a sliding layer sees, itself included.
    pub sliding_window: usize,
    /// Added to the mean square in every RMS norm.
    pub rms_norm_eps: f32,
    /// `c` of `c * tanh(logits / c)`.
    pub final_logit_softcapping: Option<f32>,
    /// Longest context that the model was made for.
    pub max_position_embeddings: usize,
    /// Experts of a layer; 0 if dense.
    pub num_experts: usize,
    /// Experts that a token uses; 0 if dense.
    pub top_k_experts: usize,
    /// Width of the per-layer embeddings (E2B, E4B); 0 if there are none.
    pub hidden_size_per_layer_input: usize,
    /// Rows of the per-layer embedding table.
    pub vocab_size_per_layer_input: usize,
    /// The last so many layers read the K and V of an earlier one.
    pub num_kv_shared_layers: usize,
    /// Layers that share K and V have an MLP twice as wide (E2B).
    pub use_double_wide_mlp: bool,
    /// Full layers have no `v_proj`: V is made of what `k_proj` gives.
    pub attention_k_eq_v: bool,
    /// The head is the embedding.
    pub tie_word_embeddings: bool,
    /// Tokens that end a text: from the top level, else from `text_config`.
    pub eos_token_id: Vec<u32>,
    /// Begin of text.
    pub bos_token_id: Option<u32>,
    /// Padding.
    pub pad_token_id: Option<u32>,
    /// Precision in which the model was trained and its dense tensors are usually stored; BF16 where the file names none of
    /// the three. Each tensor has its own.
    pub dtype: Dtype,
    /// One entry a layer.
    pub layers: Vec<LayerConfig>,
    /// What is wrong with `eos_token_id`, which only some commands need.
    pub eos_faults: Faults,
    /// The tensors that the model has.
    pub(crate) tensors: Table,
}

/// Parameters of the text model, counted from shapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ParameterCounts {
    /// Everything but what follows.
    pub text: u64,
    /// All experts.
    pub experts: u64,
    /// The embedding, which is also the head where they are tied.
    pub embedding: u64,
    /// The per-layer embedding table.
    pub per_layer_embedding: u64,
    /// An own head; 0 where it is tied.
    pub head: u64,
}

impl ParameterCounts {
    /// All of them.
    pub fn total(&self) -> u64 {
        let parts = [self.text, self.experts, self.embedding, self.per_layer_embedding, self.head];
        parts.into_iter().fold(0, u64::saturating_add)
    }
}

impl Config {
    /// Fails if the tokens that end a text cannot be read, which is said only where they are used.
    pub(crate) fn check_eos(&self) -> Result<()> {
        self.eos_faults.clone().into_result(())
    }

    /// Whether layers have experts.
    pub fn is_moe(&self) -> bool {
        self.num_experts > 0
    }
}
