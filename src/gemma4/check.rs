//! Whether the numbers of a configuration go together. One that was read has been checked; but its fields are public, and a model
//! can be made of a changed one.

use super::fields::{Config, MAX_HEADS, MAX_SIZE};
use super::layers::LayerConfig;
use crate::{Error, Result};

/// What a configuration is called in messages.
const NAME: &str = "configuration";

impl Config {
    /// Ok where a model can be made of it: sizes are those of a model, and each layer has what the others say.
    ///
    /// # Errors
    /// [`crate::error::Usage::Shape`] with the first number that is out of its range; [`Error::Model`] for sizes that add up to too
    /// much.
    pub(crate) fn check(&self) -> Result<()> {
        let layers = self.layers.len();
        Error::check_shape(NAME, "layers", layers == self.num_hidden_layers, &layers, &self.num_hidden_layers)?;
        within("num_hidden_layers", layers, 1, MAX_SIZE)?;
        within("vocab_size", self.vocab_size, 1, MAX_SIZE)?;
        within("hidden_size", self.hidden_size, 1, MAX_SIZE)?;
        within("num_attention_heads", self.num_attention_heads, 1, MAX_HEADS)?;
        within("sliding_window", self.sliding_window, 1, 1 << 30)?;
        within("max_position_embeddings", self.max_position_embeddings, 1, 1 << 30)?;
        within("num_kv_shared_layers", self.num_kv_shared_layers, 0, layers - 1)?;
        within("hidden_size_per_layer_input", self.hidden_size_per_layer_input, 0, MAX_SIZE)?;
        within("vocab_size_per_layer_input", self.vocab_size_per_layer_input, 1, MAX_SIZE)?;
        within("num_experts", self.num_experts, 0, MAX_SIZE)?;
        if self.is_moe() {
            within("top_k_experts", self.top_k_experts, 1, self.num_experts)?;
            within("moe_intermediate_size", self.moe_intermediate_size, 1, MAX_SIZE)?;
        }
        for (l, layer) in self.layers.iter().enumerate() {
            self.check_layer(l, layer)?;
        }
        self.check_size()
    }

    fn check_layer(&self, l: usize, layer: &LayerConfig) -> Result<()> {
        let (heads, kv_heads) = (self.num_attention_heads, layer.num_key_value_heads);
        within("head_dim of a layer", layer.head_dim, 2, MAX_SIZE)?;
        within("intermediate_size of a layer", layer.intermediate_size, 1, 2 * MAX_SIZE)?;
        within("num_key_value_heads of a layer", kv_heads, 1, heads)?;
        let expected = format_args!("a divisor of {heads}");
        Error::check_shape(
            NAME,
            "num_key_value_heads of a layer",
            heads.is_multiple_of(kv_heads),
            &kv_heads,
            &expected,
        )?;
        within("rotated pairs of a layer", layer.rope.rotated_pairs, 0, layer.head_dim / 2)?;
        let Some(number) = layer.kv_source else { return Ok(()) };
        let is_like = |source: &LayerConfig| {
            let kinds = source.kind == layer.kind && source.kv_source.is_none();
            kinds && source.head_dim == layer.head_dim && source.num_key_value_heads == kv_heads
        };
        let is_there = self.layers[..l].get(number).is_some_and(is_like);
        let expected = format_args!("an earlier layer like layer {l}, with keys of its own");
        Error::check_shape(NAME, "layer whose keys and values a layer reads", is_there, &number, &expected)
    }
}

fn within(what: &'static str, found: usize, least: usize, most: usize) -> Result<()> {
    Error::check_shape(NAME, what, (least..=most).contains(&found), &found, &format_args!("{least} to {most}"))
}
