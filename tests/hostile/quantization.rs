//! Keys of quantization configs that change the mathematics, names under another prefix, and files beside `config.json`.

use std::fs;

use lapidary::checkpoint::Configuration;
use lapidary::quant::DenseMatrix;
use serde_json::{Value, json};

use super::converted::{awq, compressed, matrices};
use super::{Model, PREFIX, expect, open, refused};

/// The base with `value` under `pointer` of its quantization config.
fn with(base: &Model, pointer: &str, value: &Value) -> Value {
    let mut config = base.config.clone();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    config.pointer_mut(&format!("/quantization_config{parent}")).unwrap()[key] = value.clone();
    config
}

fn parse(config: &Value) -> lapidary::Result<Configuration> {
    Configuration::parse(config.to_string().as_bytes())
}

const HADAMARD: &str = r#"{"type": "hadamard", "apply": [{"targets": ["Linear"], "location": "LOCATION"}]}"#;

fn rotation(locations: &[&str]) -> Value {
    let group = |location: &&str| serde_json::from_str::<Value>(&HADAMARD.replace("LOCATION", location)).unwrap();
    let groups: serde_json::Map<String, Value> =
        locations.iter().enumerate().map(|(number, location)| (format!("R{number}"), group(location))).collect();
    json!({"config_groups": groups})
}

#[test]
fn keys_that_change_the_mathematics() {
    let (plain, groups) = (Model::base(), compressed(4, true));
    let (group, weights) = ("/config_groups/group_0", "/config_groups/group_0/weights");
    let online: Vec<(String, Value)> = vec![
        ("/transform_config".into(), rotation(&["input", "weight_input"])),
        ("/transform_config".into(), rotation(&["weight_input", "weight_output", "output"])),
        ("/transform_config".into(), rotation(&["q_attn"])),
        ("/transform_config".into(), rotation(&["k_cache"])),
        ("/transform_config".into(), json!({"config_groups": {"a": {"apply": [{}]}}})),
        ("/transform_config".into(), json!({"config_groups": {"a": {"apply": [5]}}})),
        ("/transform_config".into(), json!({"r4": true})),
        ("/transform_config".into(), json!(["hadamard"])),
        ("/transform_config".into(), json!("hadamard")),
        ("/rotation_config".into(), json!({"online": true})),
        ("/rotation".into(), json!("hadamard")),
        ("/spinquant_config".into(), json!({"r1": true})),
        ("/quarot_config".into(), json!({"x": 1})),
        ("/online_hadamard".into(), json!(true)),
        ("/kv_cache_scheme".into(), json!({"num_bits": 8, "type": "float"})),
        ("/sparsity_config".into(), json!({"format": "sparse-24-bitmask", "sparsity_structure": "2:4"})),
        ("/super_bits".into(), json!(6)),
        ("/super_group_size".into(), json!(8)),
        ("/act_bits".into(), json!(8)),
        ("/act_dynamic".into(), json!(true)),
        ("/static_kv_dtype".into(), json!("fp8")),
    ];
    let nested = [
        (format!("{group}/output_activations"), json!({"num_bits": 8})),
        (format!("{group}/input_activations"), json!({"num_bits": 8, "dynamic": true})),
        (format!("{weights}/dynamic"), json!(true)),
        (format!("{weights}/dynamic"), json!("local")),
        (format!("{weights}/block_structure"), json!([128, 128])),
        (format!("{weights}/actorder"), json!("sideways")),
    ];
    for base in [&plain, &groups] {
        for (pointer, value) in online.iter().chain(nested.iter().filter(|_| std::ptr::eq(base, &groups))) {
            let what = format!("{pointer} {value}");
            let key = pointer.rsplit_once('/').unwrap().1;
            let error = parse(&with(base, pointer, value)).expect_err(&what);
            let found = expect(&what, &error, &[key, ", expected "]);
            assert!(found.starts_with("config.json: quantization_config."), "{found}");
        }
    }
    // Wherever tools put them, and for single matrices.
    for place in ["/spinquant_config", "/text_config/rotation_config"] {
        let mut config = plain.config.clone();
        let (parent, key) = place.rsplit_once('/').unwrap();
        config.pointer_mut(parent).unwrap()[key] = json!({"r4": true});
        expect(place, &parse(&config).unwrap_err(), &[key, "expected no rotation"]);
    }
    let own = json!({"a.b": {"bits": 8, "act_bits": 8}, "c.d": {"super_bits": 4}});
    let found =
        expect("own", &parse(&with(&plain, "/extra_config", &own)).unwrap_err(), &["a.b.act_bits", "c.d.super_bits"]);
    assert!(found.starts_with("2 faults:"), "{found}");
}

#[test]
fn keys_that_change_nothing() {
    let (plain, groups) = (Model::base(), compressed(4, true));
    for base in [&plain, &groups] {
        for (pointer, value) in [
            ("/transform_config", json!({})),
            ("/transform_config", json!(null)),
            ("/transform_config", json!({"config_groups": {}})),
            ("/transform_config", json!({"config_groups": {"R1": {"type": "hadamard", "apply": []}}})),
            ("/transform_config", rotation(&["weight_input", "weight_output"])),
            ("/rotation_config", json!({})),
            ("/spinquant_config", json!({"r1": false, "r2": null})),
            ("/rotation", json!(null)),
            ("/kv_cache_scheme", json!(null)),
            ("/sparsity_config", json!({})),
            (
                "/sparsity_config",
                json!({"format": "dense", "global_sparsity": 0.1, "sparsity_structure": "unstructured"}),
            ),
            ("/act_bits", json!(16)),
            ("/act_bits", json!(32)),
            ("/super_bits", json!(null)),
            ("/iters", json!(200)),
            ("/something_new", json!({"a": 1})),
        ] {
            parse(&with(base, pointer, &value)).unwrap_or_else(|error| panic!("{pointer} {value}: {error}"));
        }
    }
    let both = json!({"act_bits": 16, "act_dynamic": true, "act_sym": true});
    let mut config = plain.config.clone();
    config["quantization_config"].as_object_mut().unwrap().extend(both.as_object().unwrap().clone());
    parse(&config).unwrap();
    for value in [json!("static"), json!("weight"), json!(false), json!("dynamic"), json!(true)] {
        parse(&with(&groups, "/config_groups/group_0/weights/actorder", &value)).unwrap();
    }
}

/// One matrix of 8 bits, named in each way that the tools have.
#[test]
fn names_under_other_prefixes() {
    let (four, eight) = (compressed(4, false), compressed(8, false));
    let name = "layers.0.mlp.up_proj";
    let mut mixed = four.clone();
    for part in ["packed", "zero_point"] {
        let wide = eight.clone().get(&format!("{name}.weight_{part}")).clone();
        *mixed.get(&format!("{name}.weight_{part}")) = wide;
    }
    let expected = open(four.write().path()).unwrap().load(name).unwrap().to_dense().unwrap();
    let target = |targets: &[&str]| {
        let mut model = mixed.clone();
        let groups = &mut model.config["quantization_config"]["config_groups"];
        let mut second = groups["group_0"].clone();
        (second["targets"], second["weights"]["num_bits"]) = (json!(targets), json!(8));
        groups["group_1"] = second;
        model
    };
    for targets in [
        &["model.layers.0.mlp.up_proj"][..],
        &["language_model.model.layers.0.mlp.up_proj"],
        &["layers.0.mlp.up_proj"],
        &["re:^model\\.layers\\.0\\.mlp\\.up_proj$"],
        &["re:language_model\\.model\\.layers\\.0\\.mlp\\.up_proj"],
        &["re:.*nothing.*", "re:.*layers\\.0\\.mlp\\.(up|nothing)_proj"],
    ] {
        let checkpoint = open(target(targets).write().path()).unwrap();
        assert_eq!(checkpoint.load(name).unwrap().to_dense().unwrap(), expected, "{targets:?}");
    }
    // A pattern that fits other matrices: they are not of 8 bits.
    for (targets, needle) in [
        (&["re:.*layers\\.1\\.mlp\\.up_proj"][..], "layers.1.mlp.up_proj.weight_packed"),
        (&["model.layers.1.mlp.up_proj"], "layers.1.mlp.up_proj.weight_packed"),
        (&["re:.*mlp.*"], "mlp.gate_proj.weight_packed"),
    ] {
        refused(needle, target(targets).write().path(), &[needle, "4-bit codes", "num_bits is 8"]);
    }
}

/// Of several patterns the first counts, as in the tool, and names count before patterns where the tool has it so.
#[test]
fn the_first_pattern_counts() {
    let dense = |config: Value| -> lapidary::Result<DenseMatrix> {
        let mut model = Model::base();
        model.config["quantization_config"] = config;
        for tensor in model.tensors.iter_mut().filter(|tensor| tensor.name.contains("layers.0.mlp.up_proj")) {
            // 96 input features in 2 groups of 64 rather than 3 of 32.
            match tensor.name.rsplit_once('.').unwrap().1 {
                "scales" | "qzeros" => {
                    let row = tensor.data.len() / 3;
                    (tensor.shape[0], _) = (2, tensor.data.truncate(2 * row));
                }
                "g_idx" => tensor.data = (0..96).flat_map(|k: i32| (k / 64).to_le_bytes()).collect(),
                _ => {}
            }
        }
        Ok(open(model.write().path())?.load("layers.0.mlp.up_proj")?.to_dense().unwrap())
    };
    let gptq = |dynamic: Value| {
        let mut config = Model::base().config["quantization_config"].clone();
        config["dynamic"] = dynamic;
        dense(config)
    };
    let [wide, narrow] = [64, 32].map(|size| json!({"group_size": size}));
    gptq(json!({r"+:model\.layers\.0\.mlp\.up": wide, "+:.*": narrow})).unwrap();
    gptq(json!({"-:.*layers.*vision.*": {}, r"+:.*0\.mlp\.up.*": wide, r"+:.*mlp.*": narrow})).unwrap();
    let error = gptq(json!({"+:.*mlp.*": narrow, r"+:.*\.0\.mlp\.up.*": wide})).unwrap_err();
    expect("other order", &error, &["up_proj.scales", "2 groups", "32 makes 3"]);
    // A matrix that is left out and is there all the same: what is general counts.
    let error = gptq(json!({r"-:.*\.0\.mlp\.up.*": {}})).unwrap_err();
    expect("left out", &error, &["up_proj.scales", "2 groups", "32 makes 3"]);
    // A name of AutoRound counts before all patterns.
    let round = |extra: Value| {
        dense(json!({"quant_method": "auto-round", "bits": 4, "group_size": 32, "sym": false, "extra_config": extra}))
    };
    round(json!({".*mlp.*": narrow, "model.layers.0.mlp.up_proj": wide})).unwrap();
    round(json!({r"layers\.0\.mlp\.up_proj$": wide})).unwrap();
    // What the engine cannot evaluate: of the sizes the one that fits.
    gptq(json!({r"+:(?!.*vision).*\.0\.mlp\.up.*": wide})).unwrap();
}

#[test]
fn files_beside_the_configuration() {
    let base = Model::base();
    let expected = matrices(&open(base.write().path()).unwrap());
    let mut bare = base.clone();
    let own = bare.config.as_object_mut().unwrap().remove("quantization_config").unwrap();
    let found =
        refused("no file", bare.write().path(), &["qweight", "has no quantization_config", "quantize_config.json"]);
    assert!(!found.contains('\n') && found.contains("the same of "), "{found}");
    for name in ["quantize_config.json", "quant_config.json", "quantization_config.json"] {
        let dir = bare.write();
        fs::write(dir.path().join(name), own.to_string()).unwrap();
        assert!(matrices(&open(dir.path()).unwrap()) == expected, "{name}");
    }
    // AutoGPTQ's says no method.
    let old = json!({
        "bits": 4, "group_size": 32, "damp_percent": 0.01, "desc_act": true, "static_groups": false, "sym": false,
        "true_sequential": true, "model_name_or_path": null, "model_file_base_name": null,
    });
    let dir = bare.write();
    let file = dir.path().join("quantize_config.json");
    fs::write(&file, old.to_string()).unwrap();
    assert!(matrices(&open(dir.path()).unwrap()) == expected);
    for (text, needles) in [
        ("{", &["quantize_config.json: not valid JSON"][..]),
        ("[]", &["quantize_config.json: found [], expected a JSON object"]),
        (r#"{"bits": 3, "group_size": 32}"#, &["quantize_config.json: bits is 3, expected 4 or 8"]),
        (r#"{"bits": 8, "group_size": 32}"#, &["4-bit codes", "quantize_config.json: bits is 8", "the same of"]),
        (r#"{"bits": 4, "group_size": 64}"#, &["quantize_config.json: group_size 64 makes 2"]),
        (r#"{"bits": 4, "group_size": 32, "quant_method": "hqq"}"#, &["quant_method is \"hqq\"", "\"gptq\""]),
        (r#"{"bits": 4, "group_size": 32, "rotation": "hadamard"}"#, &["quantize_config.json: rotation is"]),
    ] {
        fs::write(&file, text).unwrap();
        let found = refused(text, dir.path(), needles);
        assert!(found.matches('\n').count() <= 3, "{found}");
    }
    // `config.json` wins, but not where nothing tells who is right, nor over a rotation.
    let dir = base.write();
    let file = dir.path().join("quantize_config.json");
    for text in [own.to_string(), "{".to_owned(), r#"{"bits": 8, "group_size": 64, "sym": true}"#.to_owned()] {
        fs::write(&file, &text).unwrap();
        assert!(matrices(&open(dir.path()).unwrap()) == expected, "{text}");
    }
    fs::write(&file, r#"{"bits": 4, "group_size": 32, "checkpoint_format": "gptq_v2"}"#).unwrap();
    refused(
        "v2",
        dir.path(),
        &["quantize_config.json: checkpoint_format \"gptq_v2\"", "expected the same", "\"gptq\""],
    );
    fs::write(&file, r#"{"bits": 4, "group_size": 32, "spinquant_config": {"r4": 1}}"#).unwrap();
    refused("rotated", dir.path(), &["quantize_config.json: spinquant_config"]);
}

#[test]
fn spellings_of_awq_and_auto_round() {
    let (model, mut converted) = awq();
    let expected = matrices(&open(model.write().path()).unwrap());
    let awq = |more: Value| {
        let mut config = json!({"quant_method": "AWQ", "zero_point": true, "version": "GEMM"});
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        config
    };
    let round = |key: &str, format: &str| json!({"quant_method": "intel/auto-round", "bits": 4, "group_size": 16, "sym": false, key: format});
    for config in [
        awq(json!({"w_bit": 4, "q_group_size": 16})),
        awq(json!({"w_bit": 4, "bits": 4, "group_size": 16, "q_group_size": 16})),
        round("packing_format", "auto_round:awq"),
        round("packing_format", "auto-round:auto_awq"),
        round("backend", "auto_round:awq:gemm"),
        round("backend", "awq"),
    ] {
        converted.config["quantization_config"] = config.clone();
        assert!(matrices(&open(converted.write().path()).unwrap()) == expected, "{config}");
    }
    // AutoAWQ's own file, without a method.
    converted.config.as_object_mut().unwrap().remove("quantization_config");
    let dir = converted.write();
    let own =
        json!({"zero_point": true, "q_group_size": 16, "w_bit": 4, "version": "GEMM", "modules_to_not_convert": null});
    fs::write(dir.path().join("quant_config.json"), own.to_string()).unwrap();
    assert!(matrices(&open(dir.path()).unwrap()) == expected);
    for (more, needles) in [
        (json!({"w_bit": 3, "q_group_size": 16}), &["w_bit is 3, expected 4"][..]),
        (json!({"w_bit": 4, "bits": 8, "q_group_size": 16}), &["w_bit is 4, expected the same as bits"]),
        (json!({"w_bit": 4, "q_group_size": 0}), &["q_group_size is 0"]),
        (json!({"w_bit": 4, "q_group_size": 16, "backend": "llm-awq"}), &["backend is \"llm-awq\""]),
        (json!({"w_bit": 4, "q_group_size": 16, "sym": true}), &["zero_point is true, expected false"]),
    ] {
        converted.config["quantization_config"] = awq(more.clone());
        refused(&more.to_string(), converted.write().path(), needles);
    }
    for format in ["auto_round:fp8", "auto_round:llm_compressor", "auto_round:mlx", "auto_round:new"] {
        converted.config["quantization_config"] = round("packing_format", format);
        refused(format, converted.write().path(), &["packing_format is ", "auto_round:awq", "not supported yet"]);
    }
    assert!(converted.tensors.iter().all(|tensor| tensor.name.starts_with(PREFIX)));
}
