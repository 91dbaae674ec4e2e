//! Keys of a quantization config that are not read: those that say how a file was made or may be run are known, those that
//! change the mathematics are refused by name, and any other is noted.

use serde_json::Value;

use crate::gemma4::json::Keys;

/// What GPTQ, AutoRound and AWQ files say; the first lines are read.
pub(super) const PLAIN: &[&str] = &[
    "quant_method",
    "method",
    "bits",
    "w_bit",
    "wbits",
    "group_size",
    "q_group_size",
    "groupsize",
    "sym",
    "zero_point",
    "desc_act",
    "data_type",
    "checkpoint_format",
    "format",
    "packing_format",
    "backend",
    "version",
    "extra_config",
    "dynamic",
    // How the file was made.
    "act_group_aware",
    "act_group_size",
    "act_sym",
    "act_data_type",
    "amp",
    "auto_forward_data_parallel",
    "autoround_version",
    "batch_size",
    "block_name_to_quantize",
    "cache_block_outputs",
    "compute_device_filter",
    "damp_auto_increment",
    "damp_percent",
    "dataset",
    "device",
    "disable_opt_rtn",
    "duo_scaling",
    "enable_alg_ext",
    "enable_full_range",
    "enable_minmax_tuning",
    "enable_norm_bias_tuning",
    "enable_quanted_input",
    "fail_safe",
    "failsafe",
    "fallback",
    "gc_mode",
    "gptaq",
    "gradient_accumulate_steps",
    "hessian",
    "hyb_act",
    "iters",
    "low_cpu_mem_usage",
    "low_gpu_mem_usage",
    "lr",
    "meta",
    "minmax_lr",
    "mock_quantization",
    "model_file_base_name",
    "model_name_or_path",
    "model_seqlen",
    "moe",
    "momentum",
    "mse",
    "n_parallel_calib_samples",
    "name",
    "not_use_best_mse",
    "nsamples",
    "offload_to_disk",
    "offload_to_disk_path",
    "original_bits",
    "original_data_type",
    "pack_impl",
    "pad_token_id",
    "parallel_packing",
    "process",
    "provider",
    "quant_block_list",
    "quant_lm_head",
    "quant_nontext_module",
    "quantizer",
    "regex_config",
    "rtn",
    "sampler",
    "scale_dtype",
    "scheme",
    "seed",
    "seqlen",
    "static_groups",
    "supported_types",
    "tasks_batch_size",
    "to_quant_block_names",
    "tokenizer",
    "true_sequential",
    "uri",
    "use_quant_input",
    "v2",
    "v2_alpha",
    "vram_strategy",
    "wait_for_submodule_finalizers",
    "apply_clip",
    "clip",
    "max_calib_samples",
    "max_calib_seq_len",
    "export_compatible",
    // Which matrices are quantized: the tensors show it.
    "lm_head",
    "modules_in_block_to_quantize",
    "modules_to_not_convert",
    "module_name_preceding_first_block",
    "inside_layer_modules",
    "quant_vision",
    "modules_to_fuse",
    // How it may be run.
    "cache_examples_on_gpu",
    "disable_exllama",
    "disable_exllamav2",
    "do_fuse",
    "exllama_config",
    "fuse_max_seq_len",
    "is_marlin_format",
    "kernels",
    "max_input_length",
    "pack_dtype",
    "use_cuda_fp16",
    "use_exllama",
    "use_exllama_v2",
    "use_triton",
    "vllm_backend",
];

/// What an entry of `extra_config` or `dynamic` says.
pub(super) const ENTRY: &[&str] = &[
    "bits",
    "sym",
    "group_size",
    "data_type",
    "act_data_type",
    "act_group_size",
    "act_sym",
    "damp_auto_increment",
    "damp_percent",
    "desc_act",
    "fallback",
    "fixed_by_user",
    "hyb_act",
    "act_group_aware",
    "in_blocks",
    "lm_head",
    "method",
    "mse",
    "quant_method",
    "scale_dtype",
    "static_groups",
    "tmp_dtype",
    "tuning_device",
];

/// What compressed-tensors say at the top.
pub(super) const COMPRESSED: &[&str] = &[
    "quant_method",
    "method",
    "format",
    "config_groups",
    "ignore",
    "global_compression_ratio",
    "provider",
    "quantization_status",
    "run_compressed",
    "version",
    "autoround_version",
];

/// In a group.
pub(super) const GROUP: &[&str] = &["targets", "weights", "input_activations", "output_activations", "format"];

/// In a group's `weights`.
pub(super) const WEIGHTS: &[&str] = &[
    "num_bits",
    "type",
    "symmetric",
    "group_size",
    "strategy",
    "dynamic",
    "actorder",
    "block_structure",
    "observer",
    "observer_kwargs",
    "scale_dtype",
    "zp_dtype",
];

const NO_ROTATION: &str = "no rotation (one that is applied as the model runs is not supported yet)";
const NO_QUANTIZED: &str = "null (quantized activations are not supported yet)";

/// Notes keys that are neither `known` nor empty, with `place` before them, and refuses those that change the mathematics.
pub(super) fn check(keys: &Keys, place: &str, known: &[&str], unknown: &mut Vec<String>) {
    for (key, value) in keys.entries() {
        let lower = key.to_ascii_lowercase();
        if is_empty(value) || known.contains(&lower.as_str()) && lower != "is_marlin_format" {
            continue;
        }
        match lower.as_str() {
            _ if is_rotation(&lower) => check_rotation(keys, key),
            _ if is_scaling(&lower) => keys.unsupported(key, "null (what it says of weights is not supported yet)"),
            "sparsity_config" => check_sparsity(keys, key),
            "act_bits" if value.as_u64().is_some_and(|bits| bits >= 16) => {}
            "act_bits" => keys.unsupported(key, "16 or more (quantized activations are not supported yet)"),
            // Without a width nobody knows how many bits are meant.
            "act_dynamic" if keys.value("act_bits").is_some() => {}
            "act_dynamic"
            | "input_activations"
            | "output_activations"
            | "kv_cache_scheme"
            | "static_kv_dtype"
            | "static_attention_dtype" => keys.unsupported(key, NO_QUANTIZED),
            "super_bits" | "super_group_size" => keys.unsupported(key, "null (quantized scales are not supported yet)"),
            "adapter" | "lora" => keys.unsupported(key, "null (adapters are not supported yet)"),
            "is_marlin_format" => keys.unsupported(key, "false (other packings are not supported yet)"),
            _ => unknown.push(format!("{place}{key}")),
        }
    }
}

/// Refuses what rotates activations at the top of a file, where some tools put it.
pub(super) fn check_rotations(keys: &Keys) {
    for (key, _) in keys.entries().filter(|(key, value)| is_rotation(&key.to_ascii_lowercase()) && !is_empty(value)) {
        check_rotation(keys, key);
    }
}

fn is_rotation(key: &str) -> bool {
    const PARTS: [&str; 7] = ["rotation", "rotate", "spinquant", "quarot", "hadamard", "quip", "flatquant"];
    const WORDS: [&str; 3] = ["had", "transform", "transforms"];
    // SpinQuant's own names of its four rotations.
    const NAMES: [&str; 5] = ["transform_config", "r1", "r2", "r3", "r4"];
    let has_word = || key.split(['_', '-', '.']).any(|word| WORDS.contains(&word));
    PARTS.iter().any(|part| key.contains(part)) || NAMES.contains(&key) || has_word()
}

/// What is taken out of the weights and put elsewhere, so that the weights alone are another model.
fn is_scaling(key: &str) -> bool {
    ["smoothquant", "smooth_quant", "pre_quant_scale", "codebook"].iter().any(|part| key.contains(part))
}

/// Whether a value says nothing: null, false, or nothing else inside.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty() || text.eq_ignore_ascii_case("none"),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.values().all(is_empty),
        _ => false,
    }
}

/// `transform_config` of compressed-tensors may say where rotations went that are in the weights already; a rotation of
/// anything else, and any other key's, is refused.
fn check_rotation(keys: &Keys, key: &str) {
    let groups = match keys.value(key) {
        Some(Value::Object(map)) if key.eq_ignore_ascii_case("transform_config") => {
            let others = map.iter().all(|(key, value)| key == "config_groups" || is_empty(value));
            map.get("config_groups").and_then(Value::as_object).filter(|_| others)
        }
        _ => None,
    };
    let groups = groups.and_then(|_| keys.object(key)?.object("config_groups"));
    let Some(groups) = groups else { return keys.unsupported(key, NO_ROTATION) };
    for (name, _) in groups.entries() {
        let Some(group) = groups.object(name) else { continue };
        let places = match group.value("apply") {
            Some(Value::Array(list)) => list.as_slice(),
            Some(one) => std::slice::from_ref(one),
            None => &[],
        };
        let in_weights = |place: &Value| {
            let location = place.get("location").and_then(Value::as_str);
            location.is_some_and(|location| ["weight_input", "weight_output"].contains(&location))
        };
        if !places.iter().all(in_weights) {
            group.unsupported("apply", "the locations \"weight_input\" and \"weight_output\" alone (rotations of activations are not supported yet)");
        }
    }
}

/// A sparse packing of tensors; what is only said of tensors that are stored as ever is in them.
fn check_sparsity(keys: &Keys, key: &str) {
    match keys.value(key) {
        Some(Value::Object(map)) => {
            let is_dense = map.get("format").and_then(Value::as_str) == Some("dense");
            if !is_dense && let Some(sparsity) = keys.object(key) {
                sparsity.unsupported("format", "\"dense\" (sparse tensors are not supported yet)");
            }
        }
        _ => keys.unsupported(key, "null (sparse tensors are not supported yet)"),
    }
}
