//! Files that are large within what JSON and the format allow: refused by their size, or read within the bounds.

use super::harness::{Call, Failures, INSPECT};
use super::{Model, Value, fs, json, raw_file, serialize, write_index};

/// `count` keys with their values.
fn keys(count: usize, value: &str) -> String {
    (0..count).map(|i| format!("\"k{i}\":{value}")).collect::<Vec<_>>().join(",")
}

fn list(count: usize, item: &str) -> String {
    format!("[{}{item}]", format!("{item},").repeat(count - 1))
}

/// What is put behind the last key of an object.
fn contents() -> Vec<(&'static str, String)> {
    vec![
        ("a list of 30 million", format!("\"zz\":{}", list(30_000_000, "0"))),
        ("4 million keys", keys(4_000_000, "0")),
        ("a list of 3 million lists", format!("\"zz\":{}", list(3_000_000, "[]"))),
        ("a list of a million objects", format!("\"zz\":{}", list(1_000_000, "{\"a\":{}}"))),
        ("a text of 60 MB", format!("\"zz\":\"{}\"", "x".repeat(60 << 20))),
        ("a key of 60 MB", format!("\"{}\":0", "x".repeat(60 << 20))),
        ("escapes of 60 MB", format!("\"zz\":\"{}\"", "\\u0041".repeat(10 << 20))),
        ("a number of 60 MB", format!("\"zz\":{}", "9".repeat(60 << 20))),
        ("spaces of 60 MB", format!("\"zz\":{}0", " ".repeat(60 << 20))),
        ("4 MB of numbers", format!("\"zz\":{}", list(2_000_000, "0"))),
        ("4 MB of keys", keys(300_000, "0")),
        ("7 MB of empty lists", format!("\"zz\":{}", list(2_300_000, "[]"))),
        ("7 MB of empty objects", format!("\"zz\":{}", list(2_300_000, "{}"))),
        ("7 MB of empty texts", format!("\"zz\":{}", list(2_300_000, "\"\""))),
        ("7 MB of short objects", format!("\"zz\":{}", list(900_000, "{\"\":0}"))),
        (
            "lists 127 deep, many",
            format!("\"zz\":{}", list(20_000, &format!("{}{}", "[".repeat(100), "]".repeat(100)))),
        ),
        ("lists 10,000 deep", format!("\"zz\":{}{}", "[".repeat(10_000), "]".repeat(10_000))),
        ("objects 10,000 deep", format!("\"zz\":{}1{}", "{\"a\":".repeat(10_000), "}".repeat(10_000))),
    ]
}

/// Each small JSON file of a checkpoint, with everything that makes it large.
#[test]
fn large_json_files() {
    let dir = Model::read("dense-gptq-desc-act").write();
    let config = fs::read_to_string(dir.path().join("config.json")).unwrap();
    let mut failures = Failures::default();
    for (what, content) in contents() {
        let grown = |text: &str| {
            let body = text.trim_end().strip_suffix('}').unwrap();
            format!("{body}{}{content}}}", if body.trim_end().ends_with('{') { "" } else { "," })
        };
        let quantization =
            config.replacen("\"quantization_config\":{", &format!("\"quantization_config\":{{{content},"), 1);
        assert_ne!(quantization, config);
        let files = [
            ("config.json", grown(&config)),
            ("config.json", quantization),
            ("generation_config.json", grown("{}")),
            ("quantize_config.json", grown("{\"bits\": 4}")),
            ("quantization_config.json", grown("{\"bits\": 4}")),
        ];
        for (number, (name, text)) in files.into_iter().enumerate() {
            fs::write(dir.path().join(name), text).unwrap();
            failures.case(|| {
                let what = format!("{name} ({number}): {what}");
                let ended = INSPECT.ends(&what, &Call::inspect(dir.path()));
                assert!(matches!(ended.code, Some(0 | 3)), "{what}: {:?}", ended.code);
            });
            match name {
                "config.json" => fs::write(dir.path().join(name), &config).unwrap(),
                _ => fs::remove_file(dir.path().join(name)).unwrap(),
            }
        }
    }
    failures.done();
}

/// Lists that the configuration is really asked for.
#[test]
fn large_values_of_known_keys() {
    let model = Model::read("dense-gptq-desc-act");
    let dir = model.write();
    let many = |count: usize, value: Value| -> Value {
        (0..count).map(|i| (format!("+:.*x{i}.*"), value.clone())).collect::<serde_json::Map<_, _>>().into()
    };
    let layers = |n: usize| {
        let mut kinds = vec!["sliding_attention"; n - 1];
        kinds.push("full_attention");
        json!(kinds)
    };
    let long = "+:(((.{1000}){1000}){1000})";
    let cases: Vec<(&str, Box<dyn Fn(&mut Value)>)> = vec![
        (
            "a million layers",
            Box::new(|c| {
                (c["text_config"]["num_hidden_layers"], c["text_config"]["layer_types"]) =
                    (json!(1_000_000), layers(1_000_000))
            }),
        ),
        (
            "4096 layers",
            Box::new(|c| {
                (c["text_config"]["num_hidden_layers"], c["text_config"]["layer_types"]) = (json!(4096), layers(4096))
            }),
        ),
        (
            "2^31 layers without kinds",
            Box::new(|c| {
                c["text_config"]["num_hidden_layers"] = json!(1u64 << 31);
                c["text_config"].as_object_mut().unwrap().remove("layer_types");
            }),
        ),
        ("3 million ends", Box::new(|c| c["eos_token_id"] = json!((0..3_000_000).collect::<Vec<u32>>()))),
        ("a million ends of one id", Box::new(|c| c["eos_token_id"] = json!(vec![1; 1_000_000]))),
        ("500,000 rules", Box::new(move |c| c["quantization_config"]["dynamic"] = many(500_000, json!({"bits": 4})))),
        ("3000 rules", Box::new(move |c| c["quantization_config"]["dynamic"] = many(3000, json!({"bits": 4})))),
        (
            "100,000 refusals",
            Box::new(move |c| {
                c["quantization_config"]["dynamic"] =
                    (0..100_000).map(|i| (format!("-:.*x{i}.*"), json!({}))).collect::<serde_json::Map<_, _>>().into()
            }),
        ),
        (
            "a pattern that takes long",
            Box::new(|c| c["quantization_config"]["dynamic"] = json!({"+:(a+)+(a+)+(a+)+$".repeat(500): {"bits": 4}})),
        ),
        ("a large pattern", Box::new(move |c| c["quantization_config"]["dynamic"] = json!({long: {"bits": 4}}))),
        (
            "a pattern of stars",
            Box::new(|c| {
                c["quantization_config"]["dynamic"] = json!({format!("+:{}x", ".*".repeat(2000)): {"bits": 4}})
            }),
        ),
        (
            "a million layers of their own",
            Box::new(|c| {
                c["text_config"]["per_layer_config"] =
                    (0..300_000).map(|i| (format!("{i:010}"), json!({}))).collect::<serde_json::Map<_, _>>().into()
            }),
        ),
        (
            "extra_config of 100,000",
            Box::new(|c| {
                c["quantization_config"]["extra_config"] = (0..100_000)
                    .map(|i| (format!("layer.{i}"), json!({"bits": 16})))
                    .collect::<serde_json::Map<_, _>>()
                    .into()
            }),
        ),
        ("the largest group", Box::new(|c| c["quantization_config"]["group_size"] = json!(i64::MAX))),
        ("the largest window", Box::new(|c| c["text_config"]["sliding_window"] = json!(1u64 << 31))),
        ("the largest context", Box::new(|c| c["text_config"]["max_position_embeddings"] = json!(1u64 << 62))),
    ];
    let mut failures = Failures::default();
    for (what, change) in cases {
        let mut config = model.config.clone();
        change(&mut config);
        super::write_config(dir.path(), &config);
        failures.case(|| {
            let ended = INSPECT.ends(what, &Call::inspect(dir.path()));
            assert!(matches!(ended.code, Some(0 | 3)), "{what}: {:?}", ended.code);
        });
    }
    failures.done();
}

/// Compressed-tensors and AWQ have lists of names and patterns as well.
#[test]
fn large_lists_of_names() {
    let model = Model::read("dense-gptq-desc-act");
    let dir = model.write();
    let names = |front: &str| json!((0..100_000).map(|i| format!("{front}x{i}.*")).collect::<Vec<_>>());
    let group = json!({"targets": ["Linear"], "weights": {"num_bits": 4, "type": "int", "symmetric": true, "strategy": "group", "group_size": 32}});
    let compressed = |groups: Value, ignore: Value| json!({"quant_method": "compressed-tensors", "format": "pack-quantized", "config_groups": groups, "ignore": ignore});
    let mut targets = group.clone();
    targets["targets"] = names("re:.*");
    let many: serde_json::Map<_, _> = (0..50_000).map(|i| (format!("group_{i}"), group.clone())).collect();
    let mut failures = Failures::default();
    for (what, config) in [
        ("ignore of 100,000 patterns", compressed(json!({"group_0": group}), names("re:.*"))),
        ("ignore of 100,000 names", compressed(json!({"group_0": group}), names(""))),
        ("100,000 targets", compressed(json!({"group_0": targets}), json!([]))),
        ("50,000 groups", compressed(many.into(), json!([]))),
        (
            "AWQ with 100,000 names",
            json!({"quant_method": "awq", "bits": 4, "group_size": 32, "zero_point": true, "version": "gemm", "modules_to_not_convert": names("")}),
        ),
    ] {
        let mut changed = model.config.clone();
        changed["quantization_config"] = config;
        super::write_config(dir.path(), &changed);
        failures.case(|| {
            let ended = INSPECT.ends(what, &Call::inspect(dir.path()));
            assert_eq!(ended.code, Some(3), "{what}: {}", ended.text());
        });
    }
    failures.done();
}

/// Headers up to what a header may be: tensors without contents, long names, metadata, spaces.
#[test]
fn large_headers() {
    let model = Model::read("dense-gptq-desc-act");
    let whole = serialize(&model.tensors);
    let length = u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    let (header, data) = (std::str::from_utf8(&whole[8..8 + length]).unwrap(), &whole[8 + length..]);
    let body = header.strip_suffix('}').unwrap();
    let end = data.len();
    let empty = |name: String| format!(",\"{name}\":{{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[{end},{end}]}}");
    let tensors = |count: usize, name: &dyn Fn(usize) -> String| {
        format!("{body}{}}}", (0..count).map(|i| empty(name(i))).collect::<String>())
    };
    let metadata = |count: usize, value: usize| {
        let entries: Vec<String> = (0..count).map(|i| format!("\"{i}\":\"{}\"", "v".repeat(value))).collect();
        format!("{{\"__metadata__\":{{{}}},{}", entries.join(","), &header[1..])
    };
    let room = (32 << 20) - header.len();
    let mut failures = Failures::default();
    let dir = tempfile::tempdir().unwrap();
    super::write_config(dir.path(), &model.config);
    for (what, header) in [
        ("261,000 tensors", tensors(261_000, &|i| format!("z{i}"))),
        ("100,000 tensors", tensors(100_000, &|i| format!("z{i}"))),
        ("10,000 tensors", tensors(10_000, &|i| format!("z{i}"))),
        ("50,000 long names", tensors(50_000, &|i| format!("model.language_model.layers.0.{}{i}", "n".repeat(470)))),
        ("200,000 names of a layer", tensors(200_000, &|i| format!("model.language_model.layers.0.mlp.x{i}"))),
        ("200,000 names of experts", tensors(200_000, &|i| format!("model.language_model.layers.0.experts.{i}.x"))),
        ("200,000 names of towers", tensors(200_000, &|i| format!("model.vision_tower.x{i}"))),
        (
            "200,000 names of quantized matrices",
            tensors(200_000, &|i| format!("model.language_model.layers.0.m{i}.qweight")),
        ),
        ("200,000 names under other prefixes", tensors(200_000, &|i| format!("p{i}.model.language_model.norm.weight"))),
        ("65,536 long values of metadata", metadata(65_536, 400)),
        ("65,536 short values of metadata", metadata(65_536, 1)),
        ("one value of 31 MB", metadata(1, room - 100)),
        ("spaces to the last byte", format!("{header}{}", " ".repeat(room))),
        (
            "unknown fields of 20 MB",
            header.replacen("\"shape\"", &format!("\"zz\":{},\"shape\"", list(10_000_000, "0")), 1),
        ),
        (
            "unknown objects of 20 MB",
            header.replacen("\"shape\"", &format!("\"zz\":{{{}}},\"shape\"", keys(1_500_000, "0")), 1),
        ),
    ] {
        fs::write(dir.path().join("model.safetensors"), raw_file(header.as_bytes(), data)).unwrap();
        failures.case(|| {
            let ended = INSPECT.ends(what, &Call::inspect(dir.path()));
            assert!(matches!(ended.code, Some(0 | 3)), "{what}: {:?}", ended.code);
        });
    }
    failures.done();
}

/// Indices up to their bound, in names, files and metadata.
#[test]
fn large_indices() {
    let (dir, map) = Model::read("dense-gptq-desc-act").write_two();
    let path = dir.path().join("model.safetensors.index.json");
    let with = |count: usize, entry: &dyn Fn(usize) -> (String, String)| {
        let mut map = map.clone();
        (0..count).map(entry).for_each(|(name, file)| map[name] = json!(file));
        json!({"metadata": {}, "weight_map": map}).to_string()
    };
    let base = json!({"metadata": {}, "weight_map": map}).to_string();
    let metadata = |content: &str| base.replacen("\"metadata\":{", &format!("\"metadata\":{{{content}"), 1);
    let mut failures = Failures::default();
    for (what, text) in [
        ("a million names", with(1_000_000, &|i| (format!("t{i}"), "a.safetensors".to_owned()))),
        ("200,000 names", with(200_000, &|i| (format!("t{i}"), "a.safetensors".to_owned()))),
        ("200,000 files", with(200_000, &|i| (format!("t{i}"), format!("f{i}.safetensors")))),
        ("990 files", with(990, &|i| (format!("t{i}"), format!("f{i}.safetensors")))),
        ("long names", with(50_000, &|i| (format!("{}{i}", "n".repeat(500)), "a.safetensors".to_owned()))),
        ("names of 1 MB", with(20, &|i| (format!("{}{i}", "n".repeat(1 << 20)), "a.safetensors".to_owned()))),
        ("files of 1 MB", with(20, &|i| (format!("t{i}"), format!("{}.safetensors", "f".repeat(1 << 20))))),
        ("metadata of 60 MB", metadata(&format!("\"x\":\"{}\"", "y".repeat(60 << 20)))),
        ("metadata of lists", metadata(&format!("\"x\":{}", list(20_000_000, "0")))),
        ("metadata of keys", metadata(&keys(3_000_000, "0"))),
        ("65 MB of spaces", " ".repeat(65 << 20)),
        (
            "an unknown list",
            base.replacen("\"metadata\"", &format!("\"zz\":{},\"metadata\"", list(20_000_000, "0")), 1),
        ),
    ] {
        fs::write(&path, text).unwrap();
        failures.case(|| {
            let ended = INSPECT.ends(what, &Call::inspect(dir.path()));
            // Names that no configuration asks for are a note.
            let may_pass = !["a million names", "200,000 files", "files of 1 MB"].contains(&what);
            assert!(ended.code == Some(3) || (may_pass && ended.code == Some(0)), "{what}: {:?}", ended.code);
        });
    }
    failures.done();
}

/// A thousand faults of one kind, and a thousand pipes in the place of files.
#[test]
fn many_faults() {
    let dir = Model::base().write();
    let mut model = Model::base();
    for tensor in &mut model.tensors {
        tensor.dtype = "U8".into();
        tensor.shape = vec![tensor.data.len()];
    }
    fs::write(dir.path().join("model.safetensors"), serialize(&model.tensors)).unwrap();
    super::refused("every dtype", dir.path(), &["faults:", "dtype U8", " more"]);

    let (dir, map) = Model::read("dense-gptq-desc-act").write_two();
    let mut pipes = map;
    for i in 0..900 {
        pipes[format!("t{i}")] = json!(format!("f{i}.safetensors"));
        if cfg!(unix) && i < 20 {
            let made = std::process::Command::new("mkfifo").arg(dir.path().join(format!("f{i}.safetensors"))).status();
            assert!(made.is_ok_and(|status| status.success()));
        }
    }
    write_index(dir.path(), &pipes);
    super::refused("pipes", dir.path(), &["f0.safetensors"]);
}
