//! `config.json` with its quantization, `generation_config.json` and `quantize_config.json`. What is accepted has numbers
//! in range and counts that do not overflow, and is opened beside the tensors of a good checkpoint.

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use lapidary::checkpoint::{Checkpoint, Configuration, GenerationConfig, Source};
use lapidary::gemma4::Config;
use lapidary_fuzz::mutate::{Kind, sections};
use lapidary_fuzz::{Bounds, check_error, folder, golden, input, run};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};

const BOUNDS: Bounds = Bounds::new(64, 2000);
const WORDS: [&str; 104] = [
    "model_type",
    "gemma4",
    "gemma4_unified",
    "gemma4_text",
    "text_config",
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "moe_intermediate_size",
    "expert_intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "num_global_key_value_heads",
    "head_dim",
    "global_head_dim",
    "sliding_window",
    "rms_norm_eps",
    "final_logit_softcapping",
    "max_position_embeddings",
    "num_experts",
    "top_k_experts",
    "enable_moe_block",
    "hidden_size_per_layer_input",
    "vocab_size_per_layer_input",
    "num_kv_shared_layers",
    "use_double_wide_mlp",
    "attention_k_eq_v",
    "tie_word_embeddings",
    "eos_token_id",
    "bos_token_id",
    "pad_token_id",
    "dtype",
    "torch_dtype",
    "bfloat16",
    "float16",
    "float32",
    "auto",
    "torch.bfloat16",
    "layer_types",
    "sliding_attention",
    "full_attention",
    "rope_parameters",
    "rope_theta",
    "rope_type",
    "default",
    "proportional",
    "linear",
    "factor",
    "partial_rotary_factor",
    "attention_bias",
    "hidden_activation",
    "gelu_pytorch_tanh",
    "use_bidirectional_attention",
    "vision",
    "quantization_config",
    "compression_config",
    "quant_method",
    "gptq",
    "auto-round",
    "awq",
    "compressed-tensors",
    "bits",
    "w_bit",
    "group_size",
    "q_group_size",
    "sym",
    "zero_point",
    "desc_act",
    "checkpoint_format",
    "gptq_v2",
    "format",
    "pack-quantized",
    "packing_format",
    "auto_round:auto_gptq",
    "auto_round:auto_awq",
    "auto_round:awq",
    "data_type",
    "int",
    "extra_config",
    "dynamic",
    "config_groups",
    "group_0",
    "weights",
    "num_bits",
    "type",
    "strategy",
    "group",
    "channel",
    "symmetric",
    "actorder",
    "targets",
    "Linear",
    "input_activations",
    "ignore",
    "transform_config",
    "rotation_config",
    "do_sample",
    "temperature",
    "top_k",
    "top_p",
    "min_p",
    "repetition_penalty",
    "suppress_tokens",
];
/// A folder for each good checkpoint, whose tensors stay.
static FOLDERS: LazyLock<Vec<PathBuf>> = LazyLock::new(|| {
    let make = |(number, (_, tensors)): (usize, &(&[u8], &[u8]))| {
        let folder = folder().join(number.to_string());
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join("model.safetensors"), tensors).expect("room for a file");
        folder
    };
    golden::SETS.iter().enumerate().map(make).collect()
});

fn main() {
    run();
}

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    sections(data, size, max_size, seed, &[Kind::Json(&WORDS)])
});

fuzz_target!(|data: &[u8]| {
    let Some((way, parts)) = input::parts(data) else { return };
    if let Some(generation) = parts.get(1) {
        match BOUNDS.hold(|| GenerationConfig::parse(generation)) {
            Ok(generation) => check_generation(&generation),
            Err(error) => check_error(&error, &[3]),
        }
    }
    match BOUNDS.hold(|| Configuration::parse(parts[0])) {
        Ok(configuration) => check(&configuration.model),
        Err(error) => return check_error(&error, &[3]),
    }
    assert!(!input::has_key_twice(parts[0]), "a key stands twice in an object, which was accepted");
    let folder = &FOLDERS[usize::from(way) % FOLDERS.len()];
    for (number, name) in ["config.json", "generation_config.json", "quantize_config.json"].iter().enumerate() {
        match parts.get(number).filter(|part| !part.is_empty()) {
            Some(part) => fs::write(folder.join(name), part).expect("room for a file"),
            None => drop(fs::remove_file(folder.join(name))),
        }
    }
    open(Source::Directory(folder.clone()));
});

fn open(source: Source) {
    let checkpoint = match BOUNDS.hold(|| Checkpoint::open(source)) {
        Ok(checkpoint) => checkpoint,
        Err(error) => return check_error(&error, &[3]),
    };
    check(&checkpoint.config);
    check_generation(&checkpoint.generation);
    assert!(!checkpoint.groups().is_empty(), "a model without tensors");
    if let Err(error) = BOUNDS.hold(|| checkpoint.verify_contents()) {
        return check_error(&error, &[3]);
    }
    for layer in 0..checkpoint.config.num_hidden_layers {
        let name = format!("layers.{layer}.self_attn.q_proj");
        BOUNDS.hold(|| checkpoint.load(&name)).expect("what was verified is loaded");
    }
}

/// Numbers that the mathematics can use, and sizes whose products fit.
fn check(config: &Config) {
    let within = |number: f64, least: f64, most: f64| {
        assert!((least..=most).contains(&number), "{number} was accepted, expected {least} to {most}");
    };
    within(config.rms_norm_eps.into(), 0.999e-12, 1.001e-2);
    config.final_logit_softcapping.into_iter().for_each(|cap| within(cap.into(), 1.0, 1e4));
    let counts = config.parameter_counts();
    let parts = [counts.text, counts.experts, counts.embedding, counts.per_layer_embedding, counts.head];
    let sum = parts.iter().try_fold(0u64, |sum, part| sum.checked_add(*part));
    assert!(sum.is_some_and(|sum| sum > 0 && sum <= 1 << 44 && sum == counts.total()), "parameters: {counts:?}");
    assert_eq!(config.layers.len(), config.num_hidden_layers, "layers");
    assert!(config.top_k_experts <= config.num_experts, "experts");
    for (number, layer) in config.layers.iter().enumerate() {
        within(layer.rope.theta, 1.0, 1e9);
        within(layer.rope.factor, f64::from(f32::MIN_POSITIVE), f64::from(f32::MAX));
        assert!(layer.rope.rotated_pairs <= layer.head_dim / 2, "pairs of layer {number}");
        assert!(layer.head_dim > 0 && layer.intermediate_size > 0, "sizes of layer {number}");
        assert!(config.num_attention_heads.is_multiple_of(layer.num_key_value_heads), "heads of layer {number}");
        let source = layer.kv_source;
        assert!(
            source.is_none_or(|source| source < number && config.layers[source].kv_source.is_none()),
            "keys of {number}"
        );
    }
}

fn check_generation(config: &GenerationConfig) {
    let numbers = [config.temperature, config.top_p, config.min_p, config.repetition_penalty];
    assert!(numbers.iter().flatten().all(|number| number.is_finite() && *number >= 0.0), "{config:?}");
}
