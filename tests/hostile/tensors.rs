//! Every tensor's absence, type, shape and contents.

use lapidary::checkpoint::Projection;
use serde_json::json;

use super::{Model, PREFIX, Tensor, expect, open, refused};

/// Each tensor of layer 2, of two experts and of the top, one after the other: gone, of another type, of another shape.
#[test]
fn every_role_missing_mistyped_or_misshapen() {
    let base = Model::base();
    let mut cases = 0;
    for number in 0..base.tensors.len() {
        let name = base.tensors[number].name.clone();
        let relative = name.strip_prefix(PREFIX).unwrap();
        let expert = relative.contains(".experts.") && !relative.contains(".experts.0.") && !relative.contains(".15.");
        if (relative.starts_with("layers.") && !relative.starts_with("layers.2.")) || expert {
            continue;
        }
        let quoted = format!("tensor {name:?}: ");
        let refused = |what: &str, model: Model, needles: &[&str]| {
            let found = refused(&format!("{relative} {what}"), model.write().path(), needles);
            assert!(found.contains(&quoted), "{relative} {what}: {found}");
        };
        refused("missing", base.clone().without(relative), &["missing, expected"]);

        let mut model = base.clone();
        let tensor = &mut model.tensors[number];
        tensor.dtype = if tensor.dtype == "I32" { "F32".into() } else { "I16".into() };
        refused("mistyped", model.clone(), &["dtype ", "expected "]);

        let mut model = base.clone();
        let tensor = &mut model.tensors[number];
        tensor.shape.push(1);
        refused("with a dimension more", model.clone(), &["shape [", "expected "]);

        let mut model = base.clone();
        let tensor = &mut model.tensors[number];
        let row = tensor.data.len() / tensor.shape[0];
        tensor.data.truncate(tensor.data.len() - row);
        tensor.shape[0] -= 1;
        refused("one row short", model.clone(), &["shape ["]);
        cases += 4;
        let mut model = base.clone();
        let tensor = &mut model.tensors[number];
        if tensor.shape.len() == 2 && tensor.shape[0] != tensor.shape[1] {
            tensor.shape.reverse();
            refused("transposed", model.clone(), &["shape ["]);
            cases += 1;
        }
    }
    assert!(cases >= 200, "{cases}");
    println!("{cases} cases");
}

#[test]
fn faults_come_all_at_once() {
    let model =
        Model::base().without("norm.weight").without("layers.1.router.proj.scales").without("layers.0.layer_scalar");
    let mut model = model.without("layers.5.experts.7.up_proj.qweight");
    model.get("layers.3.self_attn.q_norm.weight").dtype = "U16".into();
    let names = ["norm.weight", "layers.1.router.proj.scales", "layers.0.layer_scalar", "experts.7.up_proj.qweight"];
    let found = refused("five faults", model.write().path(), &names);
    assert!(found.starts_with("5 faults:\n") && found.contains("dtype U16"), "{found}");

    let mut model = Model::base();
    model.tensors.retain(|tensor| !tensor.name.contains(".experts."));
    let found = refused("no experts", model.write().path(), &["layers.0.experts", "layers.5.experts", "16 experts"]);
    assert!(!found.contains('\n') && found.contains("the same of 5 others"), "{found}");

    model.tensors.clear();
    refused("no tensors", model.write().path(), &["hold no tensors"]);
}

#[test]
fn an_incomplete_router_is_named() {
    for part in ["qweight", "qzeros", "scales"] {
        let model = Model::base().without(&format!("layers.4.router.proj.{part}"));
        let name = format!("tensor \"{PREFIX}layers.4.router.proj.{part}\": missing");
        refused(part, model.write().path(), &[&name]);
    }
    let mut model = Model::base();
    let weight = Tensor {
        name: format!("{PREFIX}layers.4.router.proj.weight"),
        dtype: "BF16".into(),
        shape: vec![16, 96],
        data: vec![0; 16 * 96 * 2],
    };
    model.tensors.push(weight);
    refused("both", model.write().path(), &["layers.4.router.proj.weight", "beside quantized tensors"]);
}

/// The experts of a layer are one stack on the device. That they differ is said of each, before there is a device.
#[test]
fn experts_of_different_formats() {
    let name = "layers.1.experts.3.down_proj";
    let quoted = format!("tensor \"{PREFIX}{name}\": ");
    let mut wide = Model::base();
    for (part, rows) in [("qweight", 12), ("qzeros", 2)] {
        let tensor = wide.get(&format!("{name}.{part}"));
        let columns = if part == "qweight" { 96 } else { 24 };
        (tensor.shape, tensor.data) = (vec![rows, columns], vec![0; rows * columns * 4]);
    }
    let pattern = format!("+:^{}$", format!("{PREFIX}{name}").replace('.', "\\."));
    wide.config["quantization_config"]["dynamic"] = json!({pattern: {"bits": 8}});
    let found = refused("8 of 4 bits", wide.write().path(), &["is int8 g32 ", "expected int4 g32 ", "before it"]);
    assert!(found.starts_with(&quoted) && !found.contains('\n'), "{found}");

    let mut dense = Model::base();
    for part in ["qweight", "qzeros", "scales", "g_idx"] {
        dense = dense.without(&format!("{name}.{part}"));
    }
    let weight = format!("{PREFIX}{name}.weight");
    dense.tensors.push(Tensor { name: weight, dtype: "BF16".into(), shape: vec![96, 48], data: vec![0; 96 * 48 * 2] });
    let found = refused("dense of 4 bits", dense.write().path(), &["is bf16, expected int4 g32 "]);
    assert!(found.starts_with(&quoted), "{found}");

    let mut precise = Model::base();
    let scales = precise.get(&format!("{name}.scales"));
    (scales.dtype, scales.data) = ("F32".into(), vec![0; 2 * scales.data.len()]);
    refused("scales", precise.write().path(), &[&quoted, "with f32 scales", "with f16 scales"]);
}

#[test]
fn data_that_kernels_would_trust() {
    let groups: [(i32, &str); 5] =
        [(2, "is 2"), (-1, "is -1"), (i32::MAX, "2147483647"), (i32::MIN, "-2147483648"), (3, "is 3")];
    for (value, shown) in groups {
        let mut model = Model::base();
        let name = "layers.2.experts.3.down_proj.g_idx";
        model.get(name).data[4 * 17..4 * 18].copy_from_slice(&value.to_le_bytes());
        let dir = model.write();
        let checkpoint = open(dir.path()).unwrap();
        let needles = [name, "element 17", shown, "expected a group from 0 to 1"];
        expect(name, &checkpoint.verify_contents().unwrap_err(), &needles);
        expect(name, &checkpoint.expert(2, 3, Projection::Down).unwrap_err(), &needles);
    }
    // Groups that no input feature is in: of 48 features in 2 groups, of 80 in 3, of the router's 96 in 3.
    for (name, from, to, last) in [
        ("layers.2.experts.3.down_proj.g_idx", 1, 0, 1),
        ("layers.2.experts.3.down_proj.g_idx", 0, 1, 1),
        ("layers.4.mlp.down_proj.g_idx", 1, 2, 2),
        ("layers.4.mlp.down_proj.g_idx", 2, 0, 2),
        ("layers.3.router.proj.g_idx", 0, 1, 2),
    ] {
        let mut model = Model::base();
        for element in model.get(name).data.chunks_exact_mut(4).filter(|element| element[0] == from) {
            element[0] = to;
        }
        let dir = model.write();
        let checkpoint = open(dir.path()).unwrap();
        let needles = [name, &format!("no element is {from}, expected every group from 0 to {last}")];
        let found = expect(name, &checkpoint.verify_contents().unwrap_err(), &needles);
        assert!(found.starts_with(&format!("tensor \"{PREFIX}{name}\"")) && !found.contains('\n'), "{found}");
        let error = match name.split('.').nth(2) {
            Some("experts") => checkpoint.expert(2, 3, Projection::Down).unwrap_err(),
            _ => checkpoint.load(name.strip_suffix(".g_idx").unwrap()).unwrap_err(),
        };
        expect(name, &error, &needles);
    }
    // A group that there is not is said first: it may be the reason why another is left out.
    let mut model = Model::base();
    let name = "layers.2.experts.3.down_proj.g_idx";
    for element in model.get(name).data.chunks_exact_mut(4).filter(|element| element[0] == 1) {
        element[0] = 2;
    }
    let found = expect(name, &open(model.write().path()).unwrap().verify_contents().unwrap_err(), &[name, "is 2"]);
    assert!(!found.contains("no element"), "{found}");
    for (bits, shown) in [(0x7e00u16, "NaN"), (0x7c00, "inf"), (0xfc00, "-inf"), (0xfc01, "NaN")] {
        let mut model = Model::base();
        let name = "layers.1.mlp.gate_proj.scales";
        model.get(name).data[10..12].copy_from_slice(&bits.to_le_bytes());
        let dir = model.write();
        let error = open(dir.path()).unwrap().verify_contents().unwrap_err();
        expect(shown, &error, &[name, "element 5", shown, "finite"]);
    }
    let mut model = Model::base();
    model.get("layers.0.input_layernorm.weight").data[2..4].copy_from_slice(&0x7fc0u16.to_le_bytes());
    model.get("layers.0.router.proj.scales").data[0..2].copy_from_slice(&0x7c00u16.to_le_bytes());
    model.get("layers.0.router.proj.g_idx").data[0..4].copy_from_slice(&9i32.to_le_bytes());
    let dir = model.write();
    let error = open(dir.path()).unwrap().verify_contents().unwrap_err();
    let found = expect("three", &error, &["input_layernorm.weight", "router.proj.scales", "router.proj.g_idx"]);
    assert!(found.starts_with("3 faults:"), "{found}");
}

/// What a synthetic model has.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    PerLayer,
    Fused,
    Unfused,
}

/// A model with per-layer embeddings, shared K and V and wide MLPs, or one with experts, all of it bf16 zeros:
/// `[name, shape]` written down here, not taken from the program.
fn synthetic(prefix: &str, kind: Kind) -> Model {
    let experts = kind != Kind::PerLayer;
    let mut text = json!({
        "model_type": "gemma4_text", "vocab_size": 40, "hidden_size": 16, "intermediate_size": 24, "head_dim": 4,
        "num_hidden_layers": 4, "num_attention_heads": 2, "num_key_value_heads": 1, "global_head_dim": 8,
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention", "full_attention"],
    });
    let moe = [("num_experts", 3), ("top_k_experts", 2), ("moe_intermediate_size", 8)];
    let per_layer = [("hidden_size_per_layer_input", 6), ("num_kv_shared_layers", 2)];
    for (key, value) in if experts { moe.as_slice() } else { per_layer.as_slice() } {
        text[key] = json!(value);
    }
    text["use_double_wide_mlp"] = json!(!experts);
    let mut shapes: Vec<(String, Vec<usize>)> =
        vec![("embed_tokens.weight".into(), vec![40, 16]), ("norm.weight".into(), vec![16])];
    if !experts {
        shapes.push(("embed_tokens_per_layer.weight".into(), vec![40, 24]));
        shapes.push(("per_layer_model_projection.weight".into(), vec![24, 16]));
        shapes.push(("per_layer_projection_norm.weight".into(), vec![6]));
    }
    for layer in 0..4 {
        let head = if layer % 2 == 1 { 8 } else { 4 };
        let width = if !experts && layer >= 2 { 48 } else { 24 };
        let mut add = |name: &str, shape: &[usize]| shapes.push((format!("layers.{layer}.{name}"), shape.to_vec()));
        for norm in ["input", "post_attention", "pre_feedforward", "post_feedforward"] {
            add(&format!("{norm}_layernorm.weight"), &[16]);
        }
        add("layer_scalar", &[1]);
        add("self_attn.q_proj.weight", &[2 * head, 16]);
        add("self_attn.k_proj.weight", &[head, 16]);
        add("self_attn.v_proj.weight", &[head, 16]);
        add("self_attn.o_proj.weight", &[16, 2 * head]);
        add("self_attn.q_norm.weight", &[head]);
        add("self_attn.k_norm.weight", &[head]);
        add("mlp.gate_proj.weight", &[width, 16]);
        add("mlp.up_proj.weight", &[width, 16]);
        add("mlp.down_proj.weight", &[16, width]);
        if experts {
            add("router.proj.weight", &[3, 16]);
            add("router.scale", &[16]);
            add("router.per_expert_scale", &[3]);
            match kind {
                Kind::Fused => {
                    add("experts.gate_up_proj", &[3, 16, 16]);
                    add("experts.down_proj", &[3, 16, 8]);
                }
                _ => (0..3).for_each(|expert| {
                    add(&format!("experts.{expert}.gate_proj.weight"), &[8, 16]);
                    add(&format!("experts.{expert}.up_proj.weight"), &[8, 16]);
                    add(&format!("experts.{expert}.down_proj.weight"), &[16, 8]);
                }),
            }
            add("pre_feedforward_layernorm_2.weight", &[16]);
            add("post_feedforward_layernorm_1.weight", &[16]);
            add("post_feedforward_layernorm_2.weight", &[16]);
        } else {
            add("per_layer_input_gate.weight", &[6, 16]);
            add("per_layer_projection.weight", &[16, 6]);
            add("post_per_layer_input_norm.weight", &[16]);
        }
    }
    let tensors = shapes.into_iter().map(|(name, shape)| Tensor {
        name: format!("{prefix}{name}"),
        dtype: "BF16".into(),
        data: vec![0; 2 * shape.iter().product::<usize>()],
        shape,
    });
    Model { config: json!({"model_type": "gemma4", "text_config": text}), tensors: tensors.collect() }
}

fn dead(name: &str) -> bool {
    let shared = name.contains("layers.2.") || name.contains("layers.3.");
    shared && ["k_proj", "v_proj", "k_norm"].iter().any(|part| name.contains(part))
}

#[test]
fn every_role_of_dense_models() {
    let kinds = [
        (PREFIX, Kind::PerLayer),
        ("model.", Kind::PerLayer),
        ("", Kind::PerLayer),
        ("language_model.model.", Kind::Fused),
        ("model.", Kind::Fused),
        (PREFIX, Kind::Unfused),
    ];
    for (prefix, kind) in kinds {
        let base = synthetic(prefix, kind);
        let experts = kind != Kind::PerLayer;
        let checkpoint = open(base.write().path()).unwrap();
        assert_eq!(checkpoint.skipped().tensors(), if experts { 0 } else { 6 }, "{:?}", checkpoint.skipped());
        for number in 0..base.tensors.len() {
            let name = &base.tensors[number].name;
            let mut missing = base.clone();
            missing.tensors.remove(number);
            let mut reshaped = base.clone();
            reshaped.tensors[number].shape.insert(0, 1);
            let mut mistyped = base.clone();
            mistyped.tensors[number].dtype = "I16".into();
            for (what, model) in [("missing", missing), ("shape [", reshaped), ("dtype I16", mistyped)] {
                let dir = model.write();
                match !experts && dead(name) {
                    true => assert!(open(dir.path()).is_ok(), "{name} is not used"),
                    false => _ = refused(name, dir.path(), &[&format!("tensor {name:?}: "), what]),
                }
            }
        }
    }
}

#[test]
fn skipped_tensors_are_listed() {
    let mut model = synthetic(PREFIX, Kind::PerLayer);
    let extra = [
        ("lm_head.weight", 40 * 16),
        ("model.vision_tower.encoder.layers.0.mlp.gate_proj.weight", 10),
        ("model.vision_tower.patch.weight", 6),
        ("model.embed_audio.embedding_projection.weight", 5),
        ("model.language_model.rotary_emb.inv_freq", 4),
    ];
    for (name, length) in extra {
        let data = vec![0; 2 * length];
        model.tensors.push(Tensor { name: name.into(), dtype: "BF16".into(), shape: vec![length], data });
    }
    let checkpoint = open(model.write().path()).unwrap();
    let groups = &checkpoint.skipped().groups;
    let found: Vec<(&str, usize, u64, bool)> =
        groups.iter().map(|g| (g.reason.as_str(), g.tensors, g.size_bytes, g.known)).collect();
    let expected = [
        ("K and V of layers that read another layer's", 6, 2 * (64 + 64 + 4 + 128 + 128 + 8), true),
        ("head that is tied to the embedding", 1, 1280, true),
        ("model.embed_audio.*", 1, 10, true),
        ("model.vision_tower.*", 2, 32, true),
        ("unknown", 1, 8, false),
    ];
    assert_eq!(found, expected);
    assert_eq!(checkpoint.skipped().tensors(), 11);
    assert_eq!(checkpoint.config.layers[2].kv_source, Some(0));
    assert_eq!(checkpoint.load_rows("embed_tokens_per_layer", 3..5).unwrap().in_features(), 24);

    model.config["tie_word_embeddings"] = json!(false);
    refused("own head", model.write().path(), &["lm_head.weight", "shape [640], expected [40, 16]"]);
    let head = model.tensors.iter_mut().find(|tensor| tensor.name == "lm_head.weight").unwrap();
    head.shape = vec![40, 16];
    let checkpoint = open(model.write().path()).unwrap();
    assert!(checkpoint.has("lm_head") && checkpoint.config.parameter_counts().head == 640);
}

/// Fused experts hold the gate's rows first, then those of up: each row of the file is filled with its number.
#[test]
fn fused_experts_are_cut_at_the_right_rows() {
    let mut model = synthetic(PREFIX, Kind::Fused);
    for part in ["gate_up_proj", "down_proj"] {
        let tensor = model.get(&format!("layers.1.experts.{part}"));
        let width = tensor.shape[2];
        for (element, value) in tensor.data.chunks_exact_mut(2).enumerate() {
            let number = ((element / width) as f32).to_bits().to_be_bytes();
            value.copy_from_slice(&[number[1], number[0]]);
        }
    }
    let checkpoint = open(model.write().path()).unwrap();
    for expert in 0..3 {
        for (projection, first) in
            [(Projection::Gate, 16 * expert), (Projection::Up, 16 * expert + 8), (Projection::Down, 16 * expert)]
        {
            let matrix = checkpoint.expert(1, expert, projection).unwrap();
            let mut row = vec![0.0; matrix.in_features()];
            for n in 0..matrix.out_features() {
                matrix.row(n, &mut row).expect("a row");
                assert!(row.iter().all(|&value| value == (first + n) as f32), "{expert} {projection} {n}: {row:?}");
            }
        }
    }
}
