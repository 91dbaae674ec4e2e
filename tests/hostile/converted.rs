//! The base in other formats: every matrix must be the same bit for bit, and each damage to the tensors or to what the
//! configuration says of them is one clear error.

use lapidary::checkpoint::{Checkpoint, Projection};
use lapidary::quant::DenseMatrix;
use serde_json::{Value, json};

use super::{Model, PREFIX, Tensor, expect, open, refused};

const EXPERTS: usize = 16;

/// A quantized matrix, an element an entry: codes `[K, N]`, zero points and scales `[groups, N]`.
#[derive(Clone)]
struct Plain {
    k: usize,
    n: usize,
    groups: usize,
    codes: Vec<u32>,
    zeros: Vec<u32>,
    scales: Vec<[u8; 2]>,
    g_idx: Vec<u8>,
}

fn words(bytes: &[u8]) -> Vec<u32> {
    bytes.chunks_exact(4).map(|b| u32::from_le_bytes(b.try_into().unwrap())).collect()
}

fn bytes(words: impl IntoIterator<Item = u32>) -> Vec<u8> {
    words.into_iter().flat_map(u32::to_le_bytes).collect()
}

fn nibbles(word: u32) -> impl Iterator<Item = u32> {
    (0..8).map(move |i| word >> (4 * i) & 15)
}

/// Takes the matrix `base` out of the model.
fn take(model: &mut Model, base: &str) -> Plain {
    let has_g_idx = model.tensors.iter().any(|tensor| tensor.name == format!("{base}.g_idx"));
    let mut part = |name: &str| {
        let full = format!("{base}.{name}");
        let at = model.tensors.iter().position(|tensor| tensor.name == full).unwrap();
        model.tensors.swap_remove(at)
    };
    let (qweight, qzeros, scales) = (part("qweight"), part("qzeros"), part("scales"));
    let g_idx = if has_g_idx { part("g_idx").data } else { Vec::new() };
    let (k, n, groups) = (qweight.shape[0] * 8, qweight.shape[1], qzeros.shape[0]);
    let mut codes = vec![0; k * n];
    for (at, word) in words(&qweight.data).into_iter().enumerate() {
        nibbles(word).enumerate().for_each(|(i, code)| codes[(at / n * 8 + i) * n + at % n] = code);
    }
    let zeros = words(&qzeros.data).into_iter().flat_map(|word| nibbles(word.wrapping_add(0x1111_1111))).collect();
    let scales = scales.data.chunks_exact(2).map(|pair| pair.try_into().unwrap()).collect();
    Plain { k, n, groups, codes, zeros, scales, g_idx }
}

/// Names of all quantized matrices.
fn bases(model: &Model) -> Vec<String> {
    model.tensors.iter().filter_map(|tensor| tensor.name.strip_suffix(".qweight")).map(str::to_owned).collect()
}

/// Fields of `bits`, a row of `width` after the other, each row from a new word on.
fn pack_rows(values: &[u32], width: usize, bits: usize) -> Vec<u32> {
    let per_word = 32 / bits;
    let word = |fields: &[u32]| fields.iter().enumerate().map(|(i, field)| field << (bits * i)).sum();
    values.chunks_exact(width).flat_map(|row| row.chunks(per_word).map(word).collect::<Vec<u32>>()).collect()
}

fn transposed<T: Copy>(values: &[T], width: usize) -> Vec<T> {
    let height = values.len() / width;
    (0..values.len()).map(|at| values[at % height * width + at / height]).collect()
}

impl Plain {
    /// The tensors of compressed-tensors by part; with 8 bits the codes are moved so that they stay what they are.
    fn compressed(&self, bits: usize) -> Vec<(&'static str, &'static str, Vec<usize>, Vec<u8>)> {
        let (k, n, groups) = (self.k, self.n, self.groups);
        // Signed 4-bit numbers as signed 8-bit ones.
        let moved = |values: &[u32]| values.iter().map(|v| v + (1 << (bits - 1)) - 8).collect::<Vec<u32>>();
        let codes = pack_rows(&transposed(&moved(&self.codes), n), k, bits);
        let zeros = transposed(&pack_rows(&moved(&self.zeros), n, bits), (n * bits).div_ceil(32));
        let scales = transposed(&self.scales, n).concat();
        let shape = [n, k].iter().flat_map(|&size| (size as i64).to_le_bytes()).collect();
        vec![
            ("packed", "I32", vec![n, (k * bits).div_ceil(32)], bytes(codes)),
            ("scale", "F16", vec![n, groups], scales),
            ("zero_point", "I32", vec![(n * bits).div_ceil(32), groups], bytes(zeros)),
            ("shape", "I64", vec![2], shape),
            ("g_idx", "I32", vec![k], self.g_idx.clone()),
        ]
    }
}

/// The base; to be fused, gate and up of an expert must have one order of the input features.
fn base(fused: bool) -> Model {
    let mut model = Model::base();
    for (layer, expert) in (0..6).flat_map(|layer| (0..EXPERTS).map(move |expert| (layer, expert))).filter(|_| fused) {
        let name = |part: &str| format!("layers.{layer}.experts.{expert}.{part}_proj.g_idx");
        let table = model.get(&name("gate")).data.clone();
        model.get(&name("up")).data = table;
    }
    model
}

/// The base as compressed-tensors of `bits`, with the experts of a layer fused or each by itself.
pub(super) fn compressed(bits: usize, fused: bool) -> Model {
    let mut model = base(fused);
    let mut stacks: std::collections::BTreeMap<String, Vec<Tensor>> = std::collections::BTreeMap::new();
    let mut add = |name: String, dtype: &str, shape: Vec<usize>, data: Vec<u8>| {
        stacks.entry(name.clone()).or_default().push(Tensor { name, dtype: dtype.to_owned(), shape, data });
    };
    for base in bases(&model).into_iter().filter(|base| !(fused && base.contains(".experts."))) {
        for (part, dtype, shape, data) in take(&mut model, &base).compressed(bits) {
            add(format!("{base}.weight_{part}"), dtype, shape, data);
        }
    }
    let layers = if fused { 6 } else { 0 };
    for (layer, expert) in (0..layers).flat_map(|layer| (0..EXPERTS).map(move |expert| (layer, expert))) {
        let base = format!("{PREFIX}layers.{layer}.experts");
        let mut of = |part: &str| take(&mut model, &format!("{base}.{expert}.{part}_proj"));
        let (gate, up, down) = (of("gate"), of("up"), of("down"));
        let both =
            |a: &[u32], b: &[u32]| a.chunks(gate.n).zip(b.chunks(gate.n)).flat_map(|(a, b)| [a, b].concat()).collect();
        let scales = gate.scales.chunks(gate.n).zip(up.scales.chunks(gate.n)).flat_map(|(a, b)| [a, b].concat());
        let gate_up = Plain {
            n: 2 * gate.n,
            codes: both(&gate.codes, &up.codes),
            zeros: both(&gate.zeros, &up.zeros),
            scales: scales.collect(),
            ..gate.clone()
        };
        for (name, plain) in [("gate_up_proj", gate_up), ("down_proj", down)] {
            for (part, dtype, shape, data) in plain.compressed(bits).into_iter().filter(|part| part.0 != "shape") {
                add(format!("{base}.{name}_{part}"), dtype, shape, data);
            }
        }
    }
    for (name, parts) in stacks {
        let fused = name.contains(".experts.") && !name.contains(".weight_");
        let stack = fused.then_some(parts.len()).into_iter();
        let shape = stack.chain(parts[0].shape.iter().copied()).collect();
        let data = parts.iter().flat_map(|part| part.data.clone()).collect();
        model.tensors.push(Tensor { name, dtype: parts[0].dtype.clone(), shape, data });
    }
    model.config["quantization_config"] = json!({
        "quant_method": "compressed-tensors", "format": "pack-quantized", "ignore": [],
        "config_groups": {"group_0": {"targets": ["Linear"], "input_activations": null, "weights": {
            "num_bits": bits, "type": "int", "symmetric": false, "strategy": "group", "group_size": 32,
            "actorder": "group",
        }}},
    });
    model
}

/// All matrices of a checkpoint, dequantized.
pub(super) fn matrices(checkpoint: &Checkpoint) -> Vec<DenseMatrix> {
    let mut all = Vec::new();
    for layer in 0..6 {
        for name in
            ["mlp.gate_proj", "mlp.up_proj", "mlp.down_proj", "self_attn.q_proj", "self_attn.k_proj", "router.proj"]
        {
            all.push(checkpoint.load(&format!("layers.{layer}.{name}")).unwrap().to_dense().unwrap());
        }
        for expert in 0..EXPERTS {
            all.extend(Projection::ALL.map(|part| checkpoint.expert(layer, expert, part).unwrap().to_dense().unwrap()));
        }
    }
    all
}

#[test]
fn compressed_tensors_hold_the_same_matrices() {
    for (bits, fused) in [(4, false), (4, true), (8, false), (8, true)] {
        let checkpoint = open(compressed(bits, fused).write().path()).unwrap();
        checkpoint.verify_contents().unwrap();
        let expected = matrices(&open(base(fused).write().path()).unwrap());
        assert!(matrices(&checkpoint) == expected, "{bits} bits, fused: {fused}");
        let info = checkpoint.expert_info(3, 5, Projection::Up).unwrap();
        assert_eq!(info.format.describe(info.in_features), format!("int{bits} g32 asym g_idx"));
    }
}

#[test]
fn damaged_compressed_tensors() {
    for (fused, stem) in [(false, "layers.2.mlp.up_proj.weight"), (true, "layers.2.experts.gate_up_proj")] {
        let base = compressed(4, fused);
        let mut cases = Vec::new();
        for part in ["packed", "scale", "zero_point", "g_idx"] {
            let name = format!("{stem}_{part}");
            cases.push((name.clone(), base.clone().without(&name), vec!["missing, expected"]));
            let mut model = base.clone();
            model.get(&name).dtype = if part == "scale" { "I16".into() } else { "F32".into() };
            if part == "scale" || part == "g_idx" {
                cases.push((name.clone(), model, vec!["dtype ", "expected "]));
            }
            let mut model = base.clone();
            model.get(&name).shape.push(1);
            cases.push((name.clone(), model, vec!["shape [", "expected ["]));
            let mut model = base.clone();
            let tensor = model.get(&name);
            let row = tensor.data.len() / tensor.shape[0];
            tensor.data.truncate(tensor.data.len() - row);
            tensor.shape[0] -= 1;
            cases.push((name.clone(), model, vec!["shape [", "expected ["]));
        }
        // A word a row too many: no width makes it. Twice the words are 8-bit codes.
        for (factor, needles) in [(13, vec!["expected ["]), (24, vec!["8-bit codes", "num_bits is 4"])] {
            let mut model = base.clone();
            let name = format!("{stem}_packed");
            let tensor = model.get(&name);
            let last = tensor.shape.len() - 1;
            tensor.data = vec![0; tensor.data.len() / tensor.shape[last] * factor];
            tensor.shape[last] = factor;
            cases.push((name, model, needles));
        }
        for (name, model, needles) in cases {
            let found = refused(&name, model.write().path(), &needles);
            assert!(found.contains(&format!("tensor \"{PREFIX}{name}\": ")), "{name}: {found}");
        }
    }
    let base = compressed(4, true);
    let with = |name: &str, dtype: &str, shape: Vec<usize>, data: Vec<u8>| {
        let mut model = base.clone();
        model.tensors.push(Tensor { name: format!("{PREFIX}{name}"), dtype: dtype.into(), shape, data });
        model
    };
    let model = with("layers.1.mlp.up_proj.weight", "BF16", vec![80, 96], vec![0; 80 * 96 * 2]);
    refused("dense too", model.write().path(), &["layers.1.mlp.up_proj.weight", "beside quantized tensors"]);
    let model = with("layers.1.mlp.up_proj.qweight", "I32", vec![12, 80], vec![0; 4 * 12 * 80]);
    refused("two formats", model.write().path(), &["layers.1.mlp.up_proj.weight", "two formats"]);
    let model = with("layers.1.experts.down_proj", "BF16", vec![1], vec![0; 2]);
    refused("dense experts too", model.write().path(), &["layers.1.experts.down_proj", "beside quantized tensors"]);
    let mut model = base.clone();
    model.config["quantization_config"] = Model::base().config["quantization_config"].clone();
    refused("gptq", model.write().path(), &["q_proj.weight_packed", "is there, but", "quant_method is \"gptq\""]);
    let mut model = Model::base();
    model.config["quantization_config"] = base.config["quantization_config"].clone();
    refused("qweight", model.write().path(), &["q_proj.qweight", "is there, but", "is \"compressed-tensors\""]);
}

/// What only the data says: shapes as numbers, scales, tables.
#[test]
fn contents_of_compressed_tensors() {
    let needles_of = |model: &Model, needles: &[&str]| {
        let dir = model.write();
        let checkpoint = open(dir.path()).unwrap();
        expect(needles[0], &checkpoint.verify_contents().unwrap_err(), needles)
    };
    let base = compressed(4, false);
    let name = "layers.0.mlp.down_proj.weight_shape";
    for (element, value, shown) in [(0, 80i64, "[80, 80]"), (1, -1, "[96, -1]"), (1, 1 << 40, "[96, 1099511627776]")] {
        let mut model = base.clone();
        model.get(name).data[8 * element..8 * element + 8].copy_from_slice(&value.to_le_bytes());
        needles_of(&model, &[name, &format!("holds {shown}, expected [96, 80]")]);
    }
    for (name, shape) in [(name, vec![3]), (name, vec![2, 1])] {
        let mut model = base.clone();
        let tensor = model.get(name);
        tensor.data = vec![0; 8 * shape.iter().product::<usize>()];
        tensor.shape = shape;
        refused(name, model.write().path(), &[name, "expected [2]"]);
    }
    let mut model = compressed(8, true);
    let (scale, table) = ("layers.2.experts.gate_up_proj_scale", "layers.2.experts.down_proj_g_idx");
    // Expert 3, row 50 (up), group 1 of 3.
    let at = 2 * ((3 * 96 + 50) * 3 + 1);
    model.get(scale).data[at..at + 2].copy_from_slice(&0x7c00u16.to_le_bytes());
    model.get(table).data[4 * (7 * 48 + 5)..][..4].copy_from_slice(&2i32.to_le_bytes());
    let found = needles_of(&model, &[scale, &format!("element {} is inf", at / 2), table, "element 5 is 2"]);
    assert!(found.starts_with("2 faults:"), "{found}");
    let error = open(model.write().path()).unwrap().expert(2, 7, Projection::Down).unwrap_err();
    expect("load", &error, &[table, "element 5 is 2, expected a group from 0 to 1"]);

    // A table of the fused experts that leaves a group out: expert 7's, no other.
    let mut model = compressed(4, true);
    for element in model.get(table).data[4 * 7 * 48..4 * 8 * 48].chunks_exact_mut(4) {
        element.fill(0);
    }
    let found = needles_of(&model, &[table, "no element is 1, expected every group from 0 to 1"]);
    assert!(!found.contains('\n'), "{found}");
    let checkpoint = open(model.write().path()).unwrap();
    expect("load", &checkpoint.expert(2, 7, Projection::Down).unwrap_err(), &[table, "no element is 1"]);
    checkpoint.expert(2, 6, Projection::Down).unwrap();

    // A table that is all -1 was never set: groups follow each other.
    let mut model = base;
    model.get("layers.0.mlp.up_proj.weight_g_idx").data.fill(0xff);
    let checkpoint = open(model.write().path()).unwrap();
    checkpoint.verify_contents().unwrap();
    let mut sequential = model.clone();
    let table = (0..96).flat_map(|k: i32| (k / 32).to_le_bytes()).collect();
    sequential.get("layers.0.mlp.up_proj.weight_g_idx").data = table;
    let expected = open(sequential.write().path()).unwrap();
    assert_eq!(checkpoint.load("layers.0.mlp.up_proj").unwrap(), expected.load("layers.0.mlp.up_proj").unwrap());
}

#[test]
fn configurations_of_compressed_tensors() {
    let base = compressed(4, false);
    let config = base.config["quantization_config"].clone();
    let with = |path: &str, value: Value| {
        let mut model = base.clone();
        *model.config["quantization_config"].pointer_mut(path).unwrap() = value;
        model
    };
    let weights = "/config_groups/group_0/weights";
    let cases: [(String, Value, &[&str]); 12] = [
        (format!("{weights}/num_bits"), json!(3), &["group_0.weights.num_bits is 3", "not supported yet"]),
        (format!("{weights}/num_bits"), json!(8), &["4-bit codes", "config_groups: num_bits is 8"]),
        (format!("{weights}/type"), json!("float"), &["weights.type is \"float\"", "int"]),
        (format!("{weights}/strategy"), json!("tensor"), &["strategy is \"tensor\"", "\"group\" or \"channel\""]),
        (format!("{weights}/strategy"), json!("channel"), &["_scale", "3 groups", "-1 makes 1"]),
        (format!("{weights}/group_size"), json!(64), &["_scale", "3 groups for 96", "64 makes 2"]),
        (format!("{weights}/group_size"), json!(null), &["weights.group_size is null"]),
        (weights.to_owned(), json!(null), &["group_0.weights is null"]),
        (
            "/format".to_owned(),
            json!("nvfp4-pack-quantized"),
            &["format is \"nvfp4-pack-quantized\"", "pack-quantized"],
        ),
        ("/config_groups/group_0/input_activations".to_owned(), json!({}), &["input_activations is {}", "null"]),
        ("/config_groups".to_owned(), json!({}), &["config_groups is {}", "at least one"]),
        ("/config_groups".to_owned(), json!(null), &["config_groups is null", "an object"]),
    ];
    for (path, value, needles) in cases {
        refused(&format!("{path} {value}"), with(&path, value).write().path(), needles);
    }
    // Two groups, the second with a matrix of its own.
    let eight = compressed(8, false);
    let mut mixed = base.clone();
    let name = "layers.0.mlp.up_proj";
    for part in ["packed", "zero_point"] {
        let wide = eight.clone().get(&format!("{name}.weight_{part}")).clone();
        *mixed.get(&format!("{name}.weight_{part}")) = wide;
    }
    refused("one group", mixed.write().path(), &["up_proj.weight_packed", "8-bit codes", "num_bits is 4"]);
    for target in [format!("{PREFIX}{name}"), r"re:.*layers\.0\.mlp\.up.*".to_owned()] {
        let mut second = config["config_groups"]["group_0"].clone();
        second["targets"] = json!([target]);
        second["weights"]["num_bits"] = json!(8);
        mixed.config["quantization_config"]["config_groups"]["group_1"] = second;
        let checkpoint = open(mixed.write().path()).unwrap();
        let four = open(base.write().path()).unwrap().load(name).unwrap();
        assert_eq!(checkpoint.load(name).unwrap().to_dense().unwrap(), four.to_dense().unwrap());
    }
}

/// An AutoRound checkpoint with zero points of all sorts, and the same as AWQ: groups of 32, some of which are short,
/// become groups of 16.
pub(super) fn awq() -> (Model, Model) {
    let mut model = Model::read("moe-autoround-sym");
    let mut state = 5u32;
    for tensor in model.tensors.iter_mut().filter(|tensor| tensor.name.ends_with(".qzeros")) {
        // No 15: stored minus one, that would carry.
        tensor.data.iter_mut().for_each(|byte| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *byte = (state >> 24) as u8 & 0x77;
        });
    }
    model.config["quantization_config"]["sym"] = json!(false);
    let mut converted = model.clone();
    for base in bases(&model) {
        let plain = take(&mut converted, &base);
        let (k, n, groups) = (plain.k, plain.n, plain.k / 16);
        assert_eq!(plain.groups, k.div_ceil(32));
        let packed = |values: &[u32]| {
            let order = [0, 2, 4, 6, 1, 3, 5, 7];
            let moved: Vec<u32> = values.chunks_exact(8).flat_map(|eight| order.map(|column| eight[column])).collect();
            bytes(pack_rows(&moved, n, 4))
        };
        let zeros: Vec<u32> = (0..groups).flat_map(|g| plain.zeros[g / 2 * n..][..n].to_vec()).collect();
        let scales = (0..groups).flat_map(|g| plain.scales[g / 2 * n..][..n].concat()).collect();
        for (part, dtype, shape, data) in [
            ("qweight", "I32", vec![k, n / 8], packed(&plain.codes)),
            ("qzeros", "I32", vec![groups, n / 8], packed(&zeros)),
            ("scales", "F16", vec![groups, n], scales),
        ] {
            converted.tensors.push(Tensor { name: format!("{base}.{part}"), dtype: dtype.into(), shape, data });
        }
    }
    converted.config["quantization_config"] = json!({
        "quant_method": "awq", "bits": 4, "group_size": 16, "zero_point": true, "version": "gemm",
        "modules_to_not_convert": null,
    });
    (model, converted)
}

#[test]
fn awq_holds_the_same_matrices() {
    let (model, mut converted) = awq();
    let expected = matrices(&open(model.write().path()).unwrap());
    let round = json!({
        "quant_method": "auto-round", "bits": 4, "group_size": 16, "sym": false, "data_type": "int",
        "packing_format": "auto_round:auto_awq",
    });
    for config in [converted.config["quantization_config"].clone(), round] {
        converted.config["quantization_config"] = config;
        let checkpoint = open(converted.write().path()).unwrap();
        checkpoint.verify_contents().unwrap();
        assert!(matrices(&checkpoint) == expected);
        let info = checkpoint.expert_info(3, 5, Projection::Up).unwrap();
        assert_eq!(info.format.describe(info.in_features), "int4 g16 asym");
    }
}

/// Rows of a table are looked up, not multiplied: the kernel for that reads dense ones only.
#[test]
fn quantized_embeddings() {
    for part in ["qweight", "weight_packed"] {
        let mut model = Model::base().without("embed_tokens.weight");
        let name = format!("{PREFIX}embed_tokens.{part}");
        model.tensors.push(Tensor { name, dtype: "I32".into(), shape: vec![512, 12], data: vec![0; 4 * 512 * 12] });
        refused(part, model.write().path(), &["embed_tokens.weight", "is quantized, which is not supported yet"]);
    }
}

#[test]
fn what_awq_cannot_be() {
    let (model, base) = awq();
    let cases: [(&str, Value, &[&str]); 6] = [
        ("bits", json!(8), &["quantization_config.bits is 8, expected 4"]),
        ("bits", json!(3), &["quantization_config.bits is 3, expected 4"]),
        (
            "version",
            json!("gemv"),
            &["quantization_config.version is \"gemv\", expected \"gemm\"", "not supported yet"],
        ),
        ("group_size", json!(32), &["scales", "6 groups for 96", "32 makes 3"]),
        ("zero_point", json!("yes"), &["zero_point is \"yes\""]),
        ("quant_method", json!("gptq"), &["qweight", "shape [96, ", "expected [12, "]),
    ];
    for (key, value, needles) in cases {
        let mut model = base.clone();
        model.config["quantization_config"][key] = value;
        refused(key, model.write().path(), needles);
    }
    // 80 and 48 input features in groups of 32: whole groups are one too few, and a short one AWQ does not have.
    let name = "layers.0.mlp.down_proj";
    let mut short = base.clone();
    short.config["quantization_config"]["group_size"] = json!(32);
    for tensor in
        short.tensors.iter_mut().filter(|tensor| tensor.name.ends_with("qzeros") || tensor.name.ends_with("scales"))
    {
        let row = tensor.data.len() / tensor.shape[0];
        tensor.shape[0] = tensor.shape[0].div_ceil(2);
        tensor.data.truncate(row * tensor.shape[0]);
    }
    let found =
        refused("tail", short.write().path(), &[&format!("{name}.scales"), "groups of 32", "do not divide the 80"]);
    assert!(!found.contains("up_proj"), "{found}");
    assert_eq!(found.matches(&format!("{name}.scales")).count(), 1, "{found}");
    // The same with whole groups only, one too few.
    for tensor in short.tensors.iter_mut().filter(|tensor| {
        let is_of_groups = tensor.name.ends_with("qzeros") || tensor.name.ends_with("scales");
        is_of_groups && tensor.name.contains("mlp.down_proj")
    }) {
        let row = tensor.data.len() / tensor.shape[0];
        tensor.shape[0] -= 1;
        tensor.data.truncate(row * tensor.shape[0]);
    }
    let needles = [&format!("{name}.scales"), "2 groups for 80 input features", "group_size 32 makes 3"];
    let found = refused("whole groups", short.write().path(), &needles);
    assert_eq!(found.matches(&format!("{name}.")).count(), 1, "{found}");

    let mut model_with_table = base.clone();
    let table =
        Tensor { name: format!("{PREFIX}{name}.g_idx"), dtype: "I32".into(), shape: vec![80], data: vec![0; 320] };
    model_with_table.tensors.push(table);
    refused("g_idx", model_with_table.write().path(), &[&format!("{name}.g_idx"), "AWQ has no order"]);
    for part in ["qweight", "qzeros", "scales"] {
        let part = format!("{name}.{part}");
        refused(&part, base.clone().without(&part).write().path(), &[&part, "missing, expected"]);
    }
    let mut gptq = model;
    gptq.config["quantization_config"] = base.config["quantization_config"].clone();
    gptq.config["quantization_config"]["group_size"] = json!(32);
    refused("gptq as awq", gptq.write().path(), &["qweight", "shape [12, ", "expected [96, "]);
}
