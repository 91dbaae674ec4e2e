//! `config.json`: both dialects of Gemma 4, nested or flat, with everything that depends on the layer worked out.

use std::cell::RefCell;

use serde_json::Value;

use super::fields::{Config, MAX_HEADS, MAX_SIZE, ParameterCounts};
use super::json::{self, Keys, as_ids};
use super::read_layers;
use super::tensors::{Role, Table};
use crate::error::Usage;
use crate::quant::Dtype;
use crate::{Fault, Faults, Result};

pub(super) const FILE: &str = "config.json";
/// More than every real model has, so that no arithmetic on sizes can overflow.
const MAX_LAYERS: usize = 4096;
/// Experts of all layers together: each needs tensors, and a file has at most this many.
const MAX_EXPERTS: usize = 262_144;

impl Config {
    /// Fails for a context that the model does not have.
    ///
    /// # Errors
    /// [`crate::Error::Usage`] for none at all, and for more than the model's.
    pub fn check_context(&self, asked: usize) -> Result<()> {
        let most = self.max_position_embeddings;
        match asked {
            0 => Err(Usage::NoContext.into()),
            _ if asked > most => Err(Usage::Context { asked, most }.into()),
            _ => Ok(()),
        }
    }

    /// Reads what `config.json` says of the model.
    ///
    /// # Errors
    /// [`crate::Error::Model`] with every key that is missing, out of range, contradictory or not supported.
    pub fn parse(config_json: &[u8]) -> Result<Config> {
        Self::parse_with(config_json, |_, _, _| ()).map(|(config, ())| config)
    }

    /// As [`Self::parse`], with what `read` makes of other keys: it is given those of the top level and those of the text model,
    /// and its faults are told with the model's.
    pub(crate) fn parse_with<T>(
        config_json: &[u8],
        read: impl FnOnce(&Keys, &Keys, &RefCell<Faults>) -> T,
    ) -> Result<(Config, T)> {
        let map = json::parse(FILE, config_json)?;
        let faults = RefCell::default();
        let top = Keys::new(FILE, &map, &faults);
        check_model_type(&top)?;
        let text = top.object("text_config");
        finish(&faults)?;
        let keys = text.as_ref().unwrap_or(&top);
        let mut config = read_model(&top, keys);
        finish(&faults)?;
        config.layers = read_layers::read(keys, &config);
        let others = read(&top, keys, &faults);
        finish(&faults)?;
        config.check_size()?;
        Ok((config, others))
    }

    /// Parameters of the text model; dead K and V projections of shared layers are not counted.
    pub fn parameter_counts(&self) -> ParameterCounts {
        let mut counts = ParameterCounts::default();
        for tensor in self.tensors() {
            let sum = match tensor.entry.role {
                Role::Embedding => &mut counts.embedding,
                Role::PerLayerEmbedding => &mut counts.per_layer_embedding,
                Role::Head => &mut counts.head,
                Role::Experts => &mut counts.experts,
                _ => &mut counts.text,
            };
            // The size was checked when the configuration was read; of a changed one it may be anything.
            *sum = sum.saturating_add(u64::try_from(tensor.parameters()).unwrap_or(u64::MAX));
        }
        counts
    }

    /// Refuses sizes whose byte counts could overflow further on.
    pub(super) fn check_size(&self) -> Result<()> {
        // Each matrix is at most 2^24 x 2^24; the sum of 2^18 experts or layers stays below 2^70.
        const MOST: u128 = 1 << 44;
        let all: u128 = self.tensors().map(|tensor| tensor.parameters()).sum();
        if all > MOST {
            let fault = Fault::config(FILE).found(format!("sizes add up to {all} parameters"));
            return Err(fault.expected(format!("at most {MOST}")).into());
        }
        Ok(())
    }
}

fn finish(faults: &RefCell<Faults>) -> Result<()> {
    faults.take().into_result(())
}

fn check_model_type(top: &Keys) -> Result<()> {
    let known = ["gemma4", "gemma4_unified", "gemma4_text", "gemma4_unified_text"];
    let expected = "one of \"gemma4\", \"gemma4_unified\" and their \"_text\" forms";
    let faults_of = |keys: &Keys| {
        let found = keys.value("model_type").and_then(Value::as_str);
        if !found.is_some_and(|found| known.contains(&found)) {
            keys.unsupported("model_type", expected);
        }
    };
    faults_of(top);
    if let Some(text) = top.object("text_config")
        && text.value("model_type").is_some()
    {
        faults_of(&text);
    }
    top.finish()
}

/// Everything but layers, which need these values to be right.
fn read_model(top: &Keys, keys: &Keys) -> Config {
    check_supported(keys);
    let moe = read_experts(keys);
    let vocab_size = keys.size("vocab_size", MAX_SIZE);
    let per_layer = keys.optional_size("hidden_size_per_layer_input", MAX_SIZE);
    let per_layer_vocab = if per_layer > 0 { keys.optional_size("vocab_size_per_layer_input", MAX_SIZE) } else { 0 };
    let layers = keys.size("num_hidden_layers", MAX_LAYERS);
    if moe.num_experts.saturating_mul(layers) > MAX_EXPERTS {
        keys.fault("num_experts", &format!("at most {MAX_EXPERTS} experts in {layers} layers"));
    }
    let shared = keys.optional_size("num_kv_shared_layers", MAX_LAYERS);
    if shared >= layers {
        keys.fault("num_kv_shared_layers", &format!("less than the {layers} of num_hidden_layers"));
    }
    let Eos { ids: eos_token_id, faults: eos_faults } = read_eos(top, keys);
    let first = |key: &str| [top, keys].iter().find_map(|keys| as_ids(keys.value(key)?)?.first().copied());
    Config {
        model_type: top.text("model_type").unwrap_or_default().to_owned(),
        vocab_size,
        hidden_size: keys.size("hidden_size", MAX_SIZE),
        intermediate_size: keys.size("intermediate_size", MAX_SIZE),
        moe_intermediate_size: moe.moe_intermediate_size,
        num_hidden_layers: layers,
        num_attention_heads: keys.size("num_attention_heads", MAX_HEADS),
        sliding_window: keys.integer("sliding_window", Some(512), 1, 1 << 30),
        rms_norm_eps: keys.number("rms_norm_eps", 1e-12, 1e-2).unwrap_or(1e-6) as f32,
        final_logit_softcapping: keys.number("final_logit_softcapping", 1.0, 1e4).map(|cap| cap as f32),
        max_position_embeddings: keys.integer("max_position_embeddings", Some(131_072), 1, 1 << 30),
        num_experts: moe.num_experts,
        top_k_experts: moe.top_k_experts,
        hidden_size_per_layer_input: per_layer,
        vocab_size_per_layer_input: if per_layer_vocab == 0 { vocab_size } else { per_layer_vocab },
        num_kv_shared_layers: shared,
        use_double_wide_mlp: keys.flag("use_double_wide_mlp").unwrap_or(false),
        attention_k_eq_v: keys.flag("attention_k_eq_v").unwrap_or(false),
        tie_word_embeddings: read_tie(top, keys),
        eos_token_id,
        bos_token_id: first("bos_token_id"),
        pad_token_id: first("pad_token_id"),
        dtype: read_dtype(top, keys),
        layers: Vec::new(),
        eos_faults,
        tensors: Table::text(),
    }
}

/// Tokens that end a text, and what is wrong with them.
struct Eos {
    ids: Vec<u32>,
    faults: Faults,
}

fn read_eos(top: &Keys, keys: &Keys) -> Eos {
    let before = top.take_faults();
    let mut eos = top.ids("eos_token_id");
    let inner = keys.ids("eos_token_id");
    eos.extend(inner.into_iter().filter(|id| !eos.contains(id)).collect::<Vec<u32>>());
    let wrong = top.take_faults();
    top.put_faults(before);
    Eos { ids: eos, faults: wrong }
}

/// Whether the head is the embedding: as transformers reads it, the top level decides, and there it is true unless the file
/// says otherwise. What a nested `text_config` says has no effect.
fn read_tie(top: &Keys, keys: &Keys) -> bool {
    const KEY: &str = "tie_word_embeddings";
    if let Some(tied) = top.flag(KEY) {
        return tied;
    }
    if top.value(KEY).is_none() && keys.value(KEY).and_then(Value::as_bool) == Some(false) {
        log::warn!(
            "{FILE}: text_config.{KEY} is false, but the top level decides, where it is true if nothing is said"
        );
    }
    true
}

/// Nothing depends on it: tensors have their own. What else files say, "auto" or "torch.bfloat16", is no reason to refuse them.
fn read_dtype(top: &Keys, keys: &Keys) -> Dtype {
    let named = [(keys, "dtype"), (top, "dtype"), (keys, "torch_dtype"), (top, "torch_dtype")];
    let known = named.iter().find_map(|(keys, key)| {
        let name = keys.value(key)?.as_str()?;
        match name.strip_prefix("torch.").unwrap_or(name) {
            "bfloat16" => Some(Dtype::BF16),
            "float16" | "half" => Some(Dtype::F16),
            "float32" | "float" => Some(Dtype::F32),
            _ => None,
        }
    });
    known.unwrap_or(Dtype::BF16)
}

/// Values that would change the mathematics and that no Gemma 4 language model has.
fn check_supported(keys: &Keys) {
    if keys.flag("attention_bias") == Some(true) {
        keys.unsupported("attention_bias", "false");
    }
    if let Some(activation) = keys.value("hidden_activation")
        && activation.as_str() != Some("gelu_pytorch_tanh")
    {
        keys.unsupported("hidden_activation", "\"gelu_pytorch_tanh\"");
    }
    match keys.value("use_bidirectional_attention") {
        None | Some(Value::Bool(false)) => {}
        Some(value) if value.as_str() == Some("vision") => {}
        Some(_) => keys.unsupported("use_bidirectional_attention", "null or \"vision\" (a causal language model)"),
    }
}

#[derive(Default)]
struct Experts {
    num_experts: usize,
    top_k_experts: usize,
    moe_intermediate_size: usize,
}

fn read_experts(keys: &Keys) -> Experts {
    let is_named = || keys.value("num_experts").is_some() && keys.optional_size("num_experts", MAX_EXPERTS) > 0;
    let enabled = keys.flag("enable_moe_block").unwrap_or_else(is_named);
    if !enabled {
        return Experts::default();
    }
    // Early files say expert_intermediate_size.
    let old = "expert_intermediate_size";
    let width = if keys.value("moe_intermediate_size").is_none() && keys.value(old).is_some() {
        keys.size(old, MAX_SIZE)
    } else {
        keys.size("moe_intermediate_size", MAX_SIZE)
    };
    let num_experts = keys.size("num_experts", MAX_EXPERTS);
    Experts {
        num_experts,
        top_k_experts: keys.integer("top_k_experts", None, 1, num_experts),
        moe_intermediate_size: width,
    }
}
