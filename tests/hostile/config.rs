//! Configurations that cannot be, and that contradict the tensors.

use std::fs;

use lapidary::checkpoint::{Configuration, GenerationConfig};
use lapidary::gemma4::Config;
use lapidary::gpu::Gpu;
use lapidary::model::{Gemma4, Options};
use serde_json::{Value, json};

use super::{Model, PREFIX, Tensor, expect, open, refused};

/// Sets the value at `path` (dots between keys) or, for `null` with a leading `-`, removes it.
fn changed(config: &Value, path: &str, value: Value) -> Value {
    let mut config = config.clone();
    let pointer = format!("/{}", path.trim_start_matches('-').replace('.', "/"));
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let object = config.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    if path.starts_with('-') {
        object.remove(key).unwrap();
    } else {
        object.insert(key.to_owned(), value);
    }
    config
}

#[test]
fn configurations_that_cannot_be() {
    let config = Model::base().config;
    let huge = json!(18_446_744_073_709_551_615u64);
    let cases: Vec<(&str, Value, &[&str])> = vec![
        ("model_type", json!("llama"), &["model_type is \"llama\"", "\"gemma4\""]),
        ("-model_type", json!(null), &["model_type is missing"]),
        ("text_config", json!(5), &["text_config is 5", "an object"]),
        ("text_config.model_type", json!("gemma3_text"), &["text_config.model_type is \"gemma3_text\""]),
        ("text_config.use_bidirectional_attention", json!("all"), &["use_bidirectional_attention is \"all\""]),
        ("text_config.attention_bias", json!(true), &["attention_bias is true, expected false"]),
        ("text_config.hidden_activation", json!("silu"), &["hidden_activation is \"silu\"", "gelu_pytorch_tanh"]),
        ("-text_config.hidden_size", json!(null), &["text_config.hidden_size is missing"]),
        ("text_config.hidden_size", json!(0), &["text_config.hidden_size is 0", "from 1 to"]),
        ("text_config.hidden_size", json!(-96), &["text_config.hidden_size is -96"]),
        ("text_config.hidden_size", json!("96"), &["text_config.hidden_size is \"96\""]),
        ("text_config.hidden_size", json!(96.5), &["text_config.hidden_size is 96.5"]),
        ("text_config.hidden_size", huge.clone(), &["text_config.hidden_size is 18446744073709551615"]),
        ("text_config.vocab_size", huge.clone(), &["text_config.vocab_size"]),
        ("text_config.num_hidden_layers", huge.clone(), &["text_config.num_hidden_layers"]),
        ("text_config.num_hidden_layers", json!(0), &["text_config.num_hidden_layers is 0"]),
        ("text_config.num_hidden_layers", json!(5), &["layer_types", "a list of 5"]),
        ("text_config.layer_types", json!(["full_attention"]), &["layer_types", "a list of 6"]),
        ("text_config.layer_types", json!(["a", "b", "c", "d", "e", "f"]), &["layer_types", "sliding_attention"]),
        ("text_config.num_attention_heads", json!(0), &["num_attention_heads is 0"]),
        ("text_config.num_attention_heads", json!(3), &["num_attention_heads is 3", "a multiple of the 2"]),
        ("text_config.num_key_value_heads", json!(0), &["num_key_value_heads is 0"]),
        ("text_config.head_dim", json!(15), &["head_dim is 15", "even"]),
        ("text_config.head_dim", huge.clone(), &["head_dim is 184"]),
        ("text_config.global_head_dim", json!(0), &["global_head_dim is 0"]),
        ("text_config.intermediate_size", json!(null), &["intermediate_size is null"]),
        ("text_config.num_experts", json!(null), &["num_experts is null"]),
        ("text_config.num_experts", json!(200_000), &["num_experts is 200000", "at most 262144"]),
        ("text_config.top_k_experts", json!(17), &["top_k_experts is 17", "from 1 to 16"]),
        ("text_config.top_k_experts", json!(0), &["top_k_experts is 0"]),
        ("text_config.moe_intermediate_size", json!(null), &["moe_intermediate_size is null"]),
        ("text_config.sliding_window", json!(0), &["sliding_window is 0"]),
        ("text_config.rms_norm_eps", json!(-1e-6), &["rms_norm_eps is -1e-6", "from 1e-12 to 0.01"]),
        ("text_config.rms_norm_eps", json!(1e308), &["rms_norm_eps is 1e+308", "from 1e-12 to 0.01"]),
        ("text_config.rms_norm_eps", json!(1e-40), &["rms_norm_eps is 1e-40"]),
        ("text_config.rms_norm_eps", json!(1), &["rms_norm_eps is 1, expected"]),
        (
            "text_config.final_logit_softcapping",
            json!(1e308),
            &["final_logit_softcapping is 1e+308", "from 1 to 10000"],
        ),
        ("text_config.final_logit_softcapping", json!(5e-324), &["final_logit_softcapping is 5e-324"]),
        (
            "text_config.rope_parameters.full_attention.rope_theta",
            json!(1e308),
            &["rope_theta is 1e+308", "from 1 to 1e9"],
        ),
        ("text_config.rope_parameters.sliding_attention.rope_theta", json!(5e-324), &["rope_theta is 5e-324"]),
        ("text_config.rope_parameters.full_attention.factor", json!(1e300), &["factor is 1e+300", "from 0.001 to 1e6"]),
        (
            "text_config.rope_parameters.full_attention.partial_rotary_factor",
            json!(1e-300),
            &["partial_rotary_factor is 1e-300", "to 1"],
        ),
        ("text_config.rms_norm_eps", json!("x"), &["rms_norm_eps is \"x\""]),
        ("text_config.final_logit_softcapping", json!(0), &["final_logit_softcapping is 0"]),
        ("text_config.num_kv_shared_layers", json!(6), &["num_kv_shared_layers is 6", "less than the 6"]),
        (
            "text_config.num_kv_shared_layers",
            json!(5),
            &["num_kv_shared_layers is 5", "full_attention layer for layer 2"],
        ),
        ("text_config.per_layer_config", json!({"6": {}}), &["per_layer_config.6", "below 6"]),
        ("text_config.per_layer_config", json!({"2": {}, "02": {}}), &["per_layer_config.02", "once"]),
        ("text_config.per_layer_config", json!({"x": {}}), &["per_layer_config.x"]),
        ("text_config.per_layer_config", json!({"2": {"head_dim": 0}}), &["per_layer_config.2.head_dim is 0"]),
        ("text_config.per_layer_config", json!({"2": {"skip": 1}}), &["per_layer_config.2.skip is 1"]),
        ("text_config.rope_parameters", json!({}), &["rope_parameters.sliding_attention is missing"]),
        (
            "text_config.rope_parameters.full_attention.rope_type",
            json!("yarn"),
            &["full_attention.rope_type is \"yarn\""],
        ),
        ("text_config.rope_parameters.full_attention.rope_theta", json!(0), &["full_attention.rope_theta is 0"]),
        ("text_config.rope_parameters.full_attention.partial_rotary_factor", json!(2), &["partial_rotary_factor is 2"]),
        ("text_config.rope_parameters.sliding_attention.partial_rotary_factor", json!(0.5), &["rotary_factor is 0.5"]),
        ("text_config.rope_parameters.full_attention.beta_fast", json!(1), &["beta_fast is 1"]),
        ("text_config.use_double_wide_mlp", json!("yes"), &["use_double_wide_mlp is \"yes\""]),
        ("quantization_config.quant_method", json!("hqq"), &["quant_method is \"hqq\"", "not supported yet", "gptq"]),
        ("quantization_config.quant_method", json!("bitsandbytes"), &["quant_method is \"bitsandbytes\""]),
        ("-quantization_config.quant_method", json!(null), &["quant_method is missing"]),
        (
            "quantization_config.bits",
            json!(3),
            &["quantization_config.bits is 3, expected 4 or 8", "not supported yet"],
        ),
        ("quantization_config.bits", json!(0), &["quantization_config.bits is 0"]),
        ("-quantization_config.bits", json!(null), &["quantization_config.bits is missing"]),
        ("quantization_config.group_size", json!(0), &["group_size is 0"]),
        ("quantization_config.group_size", json!(-2), &["group_size is -2", "-1 or"]),
        ("quantization_config.group_size", json!("32"), &["group_size is \"32\""]),
        ("quantization_config.checkpoint_format", json!("marlin"), &["checkpoint_format is \"marlin\"", "gptq_v2"]),
        ("quantization_config.dynamic", json!({"+:x.*": 5}), &["dynamic.+:x.* is 5"]),
        ("quantization_config", json!([]), &["quantization_config is []"]),
        ("compression_config", json!({"format": "x"}), &["compression_config", "not supported yet"]),
    ];
    for (path, value, needles) in cases {
        let shown = format!("{path} {value}");
        let error = Configuration::parse(changed(&config, path, value).to_string().as_bytes()).expect_err(&shown);
        let found = expect(&shown, &error, needles);
        assert!(found.contains("config.json: "), "{found}");
    }
    let mut vast = config;
    for key in ["vocab_size", "hidden_size", "intermediate_size", "moe_intermediate_size"] {
        vast = changed(&vast, &format!("text_config.{key}"), json!(1 << 24));
    }
    let error = Config::parse(vast.to_string().as_bytes()).unwrap_err();
    expect("vast", &error, &["sizes add up to"]);
}

/// What a file may say and no kernel here has room for is refused before anything is made.
#[test]
fn experts_that_no_kernel_chooses_among() {
    let made = |experts: usize, top_k: usize| {
        let config = changed(&Model::base().config, "text_config.num_experts", json!(experts));
        let config = changed(&config, "text_config.top_k_experts", json!(top_k));
        let config = Config::parse(config.to_string().as_bytes()).unwrap();
        let error = Gemma4::synthetic(Gpu::imagined().unwrap(), config, &Options::exact(), &|_| ()).unwrap_err();
        assert_eq!((error.code(), error.exit_code()), ("E-UNSUPPORTED", 3), "{error}");
        error.to_string()
    };
    assert!(made(1025, 4).starts_with("config.json: num_experts is 1025, expected at most 1024"));
    assert!(made(128, 65).starts_with("config.json: top_k_experts is 65, expected at most 64"));
}

#[test]
fn broken_json_files() {
    let dir = Model::base().write();
    let deep = "[".repeat(1_000_000);
    for (bytes, needle) in [
        ("{", "EOF"),
        ("[]", "expected a JSON object"),
        ("{\"a\":1,\"a\":2}", "duplicate key \"a\""),
        ("{\"text_config\":{\"a\":1,\"\\u0061\":2}}", "duplicate key \"a\""),
        (deep.as_str(), "recursion"),
    ] {
        fs::write(dir.path().join("config.json"), bytes).unwrap();
        refused(needle, dir.path(), &["config.json: ", needle]);
    }
    fs::write(dir.path().join("config.json"), b"{\"a\":\"\xff\"}").unwrap();
    refused("not UTF-8", dir.path(), &["config.json: not valid JSON"]);
    fs::File::create(dir.path().join("config.json")).unwrap().set_len(65 << 20).unwrap();
    refused("too long", dir.path(), &["\"config.json\"", "68157440 bytes", "8388608"]);
    fs::write(dir.path().join("config.json"), "").unwrap();
    refused("empty", dir.path(), &["\"config.json\"", "is empty", "download the file again"]);

    assert_eq!(GenerationConfig::parse(b"{}").unwrap(), GenerationConfig::default());
}

/// What no command needs ends none: such values are said when they are used, or never.
#[test]
fn values_that_nothing_depends_on() {
    let base = Model::base();
    for (path, value) in [
        ("text_config.dtype", json!("int4")),
        ("dtype", json!("auto")),
        ("torch_dtype", json!("torch.bfloat16")),
        ("dtype", json!({"": "bfloat16"})),
        ("dtype", json!(16)),
        ("pad_token_id", json!(-1)),
        ("pad_token_id", json!("<pad>")),
        ("bos_token_id", json!([2, 3])),
        ("bos_token_id", json!({})),
        ("eos_token_id", json!([1, -1])),
        ("eos_token_id", json!([1, 1e6])),
        ("text_config.vocab_size_per_layer_input", json!(-1)),
        ("text_config.hidden_size", json!(96.0)),
    ] {
        let shown = format!("{path} {value}");
        let model = Model { config: changed(&base.config, path, value), ..base.clone() };
        let checkpoint = open(model.write().path()).unwrap_or_else(|error| panic!("{shown}: {error}"));
        checkpoint.check_stops().unwrap_or_else(|error| panic!("{shown}: {error}"));
    }
    let wrong = Model { config: changed(&base.config, "eos_token_id", json!("<eos>")), ..base.clone() };
    let dir = wrong.write();
    let checkpoint = open(dir.path()).unwrap();
    expect("eos", &checkpoint.check_stops().unwrap_err(), &["config.json: eos_token_id is \"<eos>\"", "a token id"]);
    // The other file comes first.
    let own = dir.path().join("generation_config.json");
    fs::write(&own, r#"{"eos_token_id": [1, 106], "top_k": "x"}"#).unwrap();
    let checkpoint = open(dir.path()).unwrap();
    checkpoint.check_stops().unwrap();
    assert_eq!(checkpoint.stop_ids(), [1, 106]);

    fs::write(&own, r#"{"temperature":-1,"top_p":2,"top_k":-5,"suppress_tokens":"x"}"#).unwrap();
    let checkpoint = open(dir.path()).unwrap();
    for (key, needle) in [
        ("temperature", "generation_config.json: temperature is -1, expected a number from 0 to 10000"),
        ("top_p", "generation_config.json: top_p is 2"),
        ("top_k", "generation_config.json: top_k is -5"),
    ] {
        expect(key, &checkpoint.generation.check(&[key]).unwrap_err(), &[needle]);
    }
    checkpoint.generation.check(&["do_sample", "min_p"]).unwrap();
    expect("suppress", &checkpoint.check_stops().unwrap_err(), &["suppress_tokens is \"x\""]);
    for (bytes, needle) in
        [("{", "not valid JSON"), ("version https://git-lfs.github.com/spec/v1\nsize 5\n", "Git LFS")]
    {
        fs::write(&own, bytes).unwrap();
        let checkpoint = open(dir.path()).unwrap();
        expect("broken", &checkpoint.check_stops().unwrap_err(), &["generation_config.json", needle]);
    }
}

#[test]
fn configuration_against_tensors() {
    let base = Model::base();
    let with = |path: &str, value: Value| Model { config: changed(&base.config, path, value), ..base.clone() };
    let cases: Vec<(&str, Model, &[&str])> = vec![
        ("group size", with("quantization_config.group_size", json!(64)), &["scales\": shape [3, ", "64 makes 2"]),
        ("per channel", with("quantization_config.group_size", json!(-1)), &["-1 makes 1"]),
        ("not quantized", with("-quantization_config", json!(null)), &["qweight", "has no quantization_config"]),
        (
            "fewer layers",
            {
                let model = with("text_config.num_hidden_layers", json!(3));
                let kinds = json!(["sliding_attention", "sliding_attention", "full_attention"]);
                Model { config: changed(&model.config, "text_config.layer_types", kinds), ..model }
            },
            &["layers.3.", "num_hidden_layers 3"],
        ),
        (
            "fewer experts",
            with("text_config.num_experts", json!(8)),
            &["layers.0.experts.", "num_experts 8", "router.proj"],
        ),
        ("dense", with("text_config.enable_moe_block", json!(false)), &["without experts"]),
        (
            "V is not K",
            with("text_config.attention_k_eq_v", json!(false)),
            &["layers.2.self_attn.v_proj.weight", "missing"],
        ),
        ("own head", with("tie_word_embeddings", json!(false)), &["lm_head.weight", "missing, expected [512, 96]"]),
        (
            "wider",
            with("text_config.hidden_size", json!(104)),
            &["embed_tokens.weight\": shape [512, 96], expected [512, 104]"],
        ),
        (
            "per-layer embeddings",
            with("text_config.hidden_size_per_layer_input", json!(32)),
            &["embed_tokens_per_layer.weight"],
        ),
    ];
    for (what, model, needles) in cases {
        refused(what, model.write().path(), needles);
    }

    let mut eight = base.clone();
    let tensor = eight.get("layers.0.mlp.up_proj.qweight");
    tensor.shape[0] *= 2;
    tensor.data.extend(tensor.data.clone());
    refused("8-bit tensor", eight.write().path(), &["up_proj.qweight", "8-bit codes", "bits is 4"]);
    let with = |bits: usize, rule: Value| {
        let mut model = base.clone();
        let tensor = model.get("layers.0.mlp.up_proj.qweight");
        let row = tensor.data.len() / tensor.shape[0];
        tensor.shape[0] = tensor.shape[0] / 4 * bits;
        tensor.data.resize(row * tensor.shape[0], 0);
        model.config = changed(&base.config, "quantization_config.dynamic", rule);
        model
    };
    let own = format!("+:^{PREFIX}layers.0.mlp.up_proj$");
    let cases = [
        (2, json!({"+:.*mlp.*": {"bits": 2}}), &["2-bit codes", "not supported yet", "4-bit or 8-bit"][..]),
        (4, json!({&own: {"bits": 8}}), &["4-bit codes", "bits is 8"]),
        (4, json!({&own: {"bits": 16}}), &["4-bit codes", "bits is 16"]),
        (8, json!({&own: {"bits": 4}}), &["8-bit codes", "bits is 4"]),
        (8, json!({"+:.*mlp.*": {"bits": 3}}), &["8-bit codes", "bits is 3"]),
        // The words of the codes are right then, those of the zero points are still for 4 bits.
        (8, json!({"+:.*mlp.*": {"bits": 8}}), &["up_proj.qzeros", "shape [3, 10], expected [3, 20]"]),
    ];
    for (bits, rule, needles) in cases {
        let found = refused(&format!("{bits} {rule}"), with(bits, rule).write().path(), needles);
        assert!(found.contains("up_proj.q"), "{found}");
    }

    let name = "layers.0.mlp.up_proj.g_idx";
    refused("no g_idx", base.clone().without(name).write().path(), &[name, "desc_act is true"]);
    let mut stray = base.clone();
    let name = format!("{PREFIX}layers.2.per_layer_input_gate.weight");
    stray.tensors.push(Tensor { name, dtype: "BF16".into(), shape: vec![1], data: vec![0; 2] });
    refused("stray", stray.write().path(), &["per_layer_input_gate.weight", "hidden_size_per_layer_input 0"]);
}

/// A matrix with a group size of its own, by name or by pattern.
#[test]
fn overrides_of_the_group_size() {
    let mut model = Model::base();
    for pattern in [format!("+:^{PREFIX}layers.0.mlp.up_proj$").replace('.', "\\."), r"+:.*layers\.0\.mlp\.up.*".into()]
    {
        // 96 input features in 2 groups of 64 rather than 3 of 32.
        for (part, row) in [("scales", 160), ("qzeros", 40)] {
            let tensor = model.get(&format!("layers.0.mlp.up_proj.{part}"));
            tensor.shape[0] = 2;
            tensor.data.truncate(2 * row);
        }
        let table: Vec<u8> = (0..96).flat_map(|k: i32| (k / 64).to_le_bytes()).collect();
        model.get("layers.0.mlp.up_proj.g_idx").data = table;
        model.config["quantization_config"]["dynamic"] = json!({});
        refused("no override", model.write().path(), &["up_proj.scales", "2 groups for 96", "32 makes 3"]);
        model.config["quantization_config"]["dynamic"] = json!({pattern: {"group_size": 64}});
        let dir = model.write();
        let checkpoint = open(dir.path()).unwrap();
        checkpoint.verify_contents().unwrap();
        checkpoint.load("layers.0.mlp.up_proj").unwrap();
    }
}

/// Mixed widths: one matrix of 4-bit codes becomes one of 8 bits, by name or by pattern, and one a dense one.
#[test]
fn overrides_of_the_bits() {
    let own = format!("+:^{PREFIX}layers.0.mlp.up_proj$").replace('.', "\\.");
    for pattern in [own, r"+:.*layers\.0\.mlp\.up.*".into()] {
        let mut model = Model::base();
        let four = open(model.write().path()).unwrap().load("layers.0.mlp.up_proj").unwrap();
        let widen = |bytes: &[u8]| -> Vec<u8> { bytes.iter().flat_map(|&byte| [byte & 15, byte >> 4]).collect() };
        // Along K a word of 8 codes becomes two words of 4: the second lies a row below.
        let qweight = model.get("layers.0.mlp.up_proj.qweight");
        let rows = qweight.data.chunks_exact(4 * qweight.shape[1]);
        let half = |row: &[u8], first: usize| -> Vec<u8> {
            row.chunks_exact(4).flat_map(|word| widen(&word[first..first + 2])).collect()
        };
        qweight.data = rows.flat_map(|row| [half(row, 0), half(row, 2)].concat()).collect();
        qweight.shape[0] *= 2;
        let qzeros = model.get("layers.0.mlp.up_proj.qzeros");
        qzeros.data = widen(&qzeros.data);
        qzeros.shape[1] *= 2;
        for part in ["qweight", "qzeros", "scales", "g_idx"] {
            model = model.without(&format!("layers.0.mlp.gate_proj.{part}"));
        }
        let name = format!("{PREFIX}layers.0.mlp.gate_proj.weight");
        model.tensors.push(Tensor { name, dtype: "BF16".into(), shape: vec![80, 96], data: vec![0; 80 * 96 * 2] });
        refused("no override", model.write().path(), &["up_proj.qweight", "8-bit codes", "bits is 4"]);
        model.config["quantization_config"]["dynamic"] = json!({pattern: {"bits": 8}});
        let checkpoint = open(model.write().path()).unwrap();
        let eight = checkpoint.load("layers.0.mlp.up_proj").unwrap();
        assert_eq!(eight.to_dense().unwrap(), four.to_dense().unwrap());
        let described = |name: &str| {
            let info = checkpoint.matrix_info(name).unwrap();
            info.format.describe(info.in_features)
        };
        assert_eq!(described("layers.0.mlp.up_proj"), "int8 g32 asym g_idx");
        assert_eq!(described("layers.0.mlp.down_proj"), "int4 g32 asym g_idx");
        assert_eq!(described("layers.0.mlp.gate_proj"), "bf16");
    }
}
