//! Checkpoints in every supported format: configuration, names, and each dequantized matrix against a plain decode of
//! the raw tensors, bit for bit.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod compressed;
#[path = "../common/seed.rs"]
mod seed;
mod synthetic;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use half::f16;
use lapidary::checkpoint::{Checkpoint, Projection, Source};
use lapidary::gemma4::{Config, LayerKind, Role};
use lapidary::quant::Matrix;
use safetensors::SafeTensors;
use serde_json::Value;

/// All checkpoints at hand: those of the tree, and those of the folder in LAPIDARY_FIXTURES.
fn fixtures() -> Vec<PathBuf> {
    let tree = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut roots = vec![tree.join("examples"), tree.join("tests/golden")];
    if let Some(more) = std::env::var_os("LAPIDARY_FIXTURES") {
        let more = PathBuf::from(more);
        assert!(more.is_dir(), "LAPIDARY_FIXTURES: {} is no folder", more.display());
        roots.push(more);
    }
    let folders = roots.iter().flat_map(|root| std::fs::read_dir(root).unwrap()).map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> = folders.filter(|folder| folder.join("config.json").exists()).collect();
    found.sort();
    assert!(found.len() >= 4, "only {} fixtures: {found:?}", found.len());
    found
}

fn name(folder: &Path) -> &str {
    folder.file_name().unwrap().to_str().unwrap()
}

/// A tensor's name without the text model's prefix, nested or flat.
fn relative(name: &str) -> &str {
    ["model.language_model.", "model."].iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(name)
}

fn open(folder: &Path) -> Checkpoint {
    Checkpoint::open(Source::Directory(folder.to_owned())).unwrap_or_else(|error| panic!("{}: {error}", name(folder)))
}

/// Every tensor of a folder as the file has it.
struct Tensors(HashMap<String, (String, Vec<usize>, Vec<u8>)>);

impl Tensors {
    fn read(folder: &Path) -> Self {
        let mut all = HashMap::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let file = path.file_name().unwrap().to_str().unwrap();
            if !file.ends_with(".safetensors") || file.starts_with("golden") {
                continue;
            }
            let bytes = std::fs::read(&path).unwrap();
            for (name, view) in SafeTensors::deserialize(&bytes).unwrap().tensors() {
                all.insert(name, (view.dtype().to_string(), view.shape().to_vec(), view.data().to_vec()));
            }
        }
        Tensors(all)
    }

    fn words(&self, name: &str) -> Vec<u32> {
        self.0[name].2.chunks_exact(4).map(|b| u32::from_le_bytes(b.try_into().unwrap())).collect()
    }

    fn floats(&self, name: &str) -> Vec<f32> {
        let (dtype, _, bytes) = &self.0[name];
        let pair = |b: &[u8]| u16::from_le_bytes([b[0], b[1]]);
        match dtype.as_str() {
            "BF16" => bytes.chunks(2).map(|b| f32::from_bits(u32::from(pair(b)) << 16)).collect(),
            "F16" => bytes.chunks(2).map(|b| f16::from_bits(pair(b)).to_f32()).collect(),
            "F32" => bytes.chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect(),
            other => panic!("{name}: {other}"),
        }
    }
}

/// The weights `[N, K]` of one GPTQ matrix, straight from the formula.
fn plain_decode(tensors: &Tensors, base: &str, bits: usize, group_size: i64, v1: bool) -> Vec<f32> {
    let qweight = tensors.words(&format!("{base}.qweight"));
    let qzeros = tensors.words(&format!("{base}.qzeros"));
    let scales = tensors.floats(&format!("{base}.scales"));
    let shape = &tensors.0[&format!("{base}.qweight")].1;
    let (per_word, mask) = (32 / bits, (1 << bits) - 1);
    let (k_count, n_count) = (shape[0] * per_word, shape[1]);
    let g_idx = format!("{base}.g_idx");
    let g_idx = tensors.0.contains_key(&g_idx).then(|| tensors.words(&g_idx));
    let mut out = Vec::new();
    for n in 0..n_count {
        for k in 0..k_count {
            let g = match (&g_idx, group_size) {
                (Some(table), _) => table[k] as usize,
                (None, -1) => 0,
                (None, size) => k / size as usize,
            };
            let code = (qweight[k / per_word * n_count + n] >> (bits * (k % per_word))) & mask;
            let mut word = qzeros[g * (n_count / per_word) + n / per_word];
            if v1 {
                word = word.wrapping_add(if bits == 4 { 0x1111_1111 } else { 0x0101_0101 });
            }
            let zero = (word >> (bits * (n % per_word))) & mask;
            out.push(scales[g * n_count + n] * (code as f32 - zero as f32));
        }
    }
    out
}

/// The weights `[N, K]` of one AWQ matrix: nibbles of a word are features 0, 2, 4, 6, 1, 3, 5, 7 of eight.
fn plain_decode_awq(tensors: &Tensors, base: &str, group_size: i64) -> Vec<f32> {
    let (qweight, qzeros) = (tensors.words(&format!("{base}.qweight")), tensors.words(&format!("{base}.qzeros")));
    let scales = tensors.floats(&format!("{base}.scales"));
    let shape = &tensors.0[&format!("{base}.qweight")].1;
    let (k_count, width) = (shape[0], shape[1]);
    let size = if group_size == -1 { k_count } else { group_size as usize };
    let mut out = Vec::new();
    for n in 0..8 * width {
        let place = [0, 4, 1, 5, 2, 6, 3, 7][n % 8];
        let field = |words: &[u32], row: usize| words[row * width + n / 8] >> (4 * place) & 15;
        for k in 0..k_count {
            let zero = field(&qzeros, k / size);
            out.push(scales[k / size * 8 * width + n] * (field(&qweight, k) as f32 - zero as f32));
        }
    }
    out
}

fn rows_of(matrix: &Matrix) -> Vec<f32> {
    let mut out = vec![0.0; matrix.out_features() * matrix.in_features()];
    for (n, row) in out.chunks_exact_mut(matrix.in_features()).enumerate() {
        matrix.row(n, row).expect("a row");
    }
    out
}

fn assert_same(what: &str, found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len(), "{what}: length");
    let differs = found.iter().zip(expected).position(|(a, b)| a.to_bits() != b.to_bits());
    if let Some(i) = differs {
        panic!("{what}: element {i} is {}, expected {}", found[i], expected[i]);
    }
}

/// `layers.3.experts.7.gate_proj` as layer, expert and projection.
fn as_expert(name: &str) -> Option<(usize, usize, Projection)> {
    let parts: Vec<&str> = name.split('.').filter(|part| *part != "moe").collect();
    let ["layers", layer, "experts", expert, projection] = parts[..] else { return None };
    let projection = Projection::ALL.into_iter().find(|p| p.name() == projection)?;
    Some((layer.parse().ok()?, expert.parse().ok()?, projection))
}

fn load(checkpoint: &Checkpoint, name: &str) -> Matrix {
    match as_expert(name) {
        Some((layer, expert, projection)) => checkpoint.expert(layer, expert, projection).unwrap(),
        None => checkpoint.load(name).unwrap(),
    }
}

#[test]
fn every_fixture_opens() {
    for folder in fixtures() {
        let checkpoint = open(&folder);
        checkpoint.verify_contents().unwrap_or_else(|error| panic!("{}: {error}", name(&folder)));
        checkpoint.check_unchanged().unwrap();
    }
}

#[test]
fn quantized_matrices_equal_a_plain_decode() {
    let mut matrices = 0;
    for folder in fixtures() {
        let config: Value = serde_json::from_slice(&std::fs::read(folder.join("config.json")).unwrap()).unwrap();
        let quantization = &config["quantization_config"];
        if quantization.is_null() || quantization["quant_method"] == "compressed-tensors" {
            continue;
        }
        let checkpoint = open(&folder);
        let tensors = Tensors::read(&folder);
        let format =
            ["packing_format", "checkpoint_format", "version"].iter().find_map(|key| quantization[key].as_str());
        let format = format.unwrap();
        let awq = ["gemm", "auto_round:auto_awq"].contains(&format);
        let v1 = ["gptq", "auto_round:auto_gptq", "auto_round:gptq"].contains(&format);
        let group_size = quantization["group_size"].as_i64().unwrap();
        let bits = quantization["bits"].as_u64().unwrap() as usize;
        for base in tensors.0.keys().filter_map(|name| name.strip_suffix(".qweight")) {
            let relative = relative(base);
            let shared = relative.split('.').nth(1).and_then(|layer| layer.parse::<usize>().ok());
            if shared.is_some_and(|layer| checkpoint.config.layers[layer].kv_source.is_some())
                && ["k_proj", "v_proj"].iter().any(|end| relative.ends_with(end))
            {
                assert!(!checkpoint.has(relative), "{relative}");
                continue;
            }
            let expected = match awq {
                true => plain_decode_awq(&tensors, base, group_size),
                false => plain_decode(&tensors, base, bits, group_size, v1),
            };
            let matrix = load(&checkpoint, relative);
            assert_same(&format!("{}: {base}", name(&folder)), &rows_of(&matrix), &expected);
            assert_eq!(matches!(matrix, Matrix::Dense(_)), relative.ends_with("router.proj"), "{base}");
            if as_expert(relative).is_none() {
                let rows = 3..matrix.out_features() - 2;
                let cut = checkpoint.load_rows(relative, rows.clone()).unwrap();
                let width = matrix.in_features();
                assert_same(base, &rows_of(&cut), &expected[rows.start * width..rows.end * width]);
            }
            matrices += 1;
        }
    }
    assert!(matrices >= 300, "only {matrices} matrices");
    println!("{matrices} quantized matrices");
}

#[test]
fn dense_matrices_and_vectors_equal_the_file() {
    let mut count = 0;
    for folder in fixtures() {
        let checkpoint = open(&folder);
        let tensors = Tensors::read(&folder);
        for full in tensors.0.keys() {
            let relative = relative(full);
            let bare = relative.strip_suffix(".weight").unwrap_or(relative);
            let shape = &tensors.0[full].1;
            if checkpoint.has(relative) {
                assert_same(full, &checkpoint.vector(relative).unwrap(), &tensors.floats(full));
            } else if shape.len() == 2 && relative.ends_with(".weight") && checkpoint.has(bare) {
                let all = tensors.floats(full);
                assert_same(full, &rows_of(&checkpoint.load(bare).unwrap()), &all);
                let some = checkpoint.load_rows(bare, 5..9).unwrap();
                assert_same(full, &rows_of(&some), &all[5 * shape[1]..9 * shape[1]]);
            } else if let Some((layer, expert, projection)) = as_expert(bare).filter(|_| relative.ends_with(".weight"))
            {
                let matrix = checkpoint.expert(layer, expert, projection).unwrap();
                assert_same(full, &rows_of(&matrix), &tensors.floats(full));
            } else if shape.len() == 3 && full.ends_with("_proj") {
                compare_fused(&checkpoint, full, shape, &tensors.floats(full));
            } else {
                continue;
            }
            count += 1;
        }
    }
    assert!(count > 200, "only {count}");
}

/// Fused experts: gate rows first, then up.
fn compare_fused(checkpoint: &Checkpoint, full: &str, shape: &[usize], all: &[f32]) {
    let layer = relative(full).split('.').nth(1).unwrap().parse().unwrap();
    for (expert, values) in all.chunks_exact(shape[1] * shape[2]).enumerate() {
        let load = |projection| rows_of(&checkpoint.expert(layer, expert, projection).unwrap());
        if full.ends_with("gate_up_proj") {
            let (gate, up) = values.split_at(values.len() / 2);
            assert_same(full, &load(Projection::Gate), gate);
            assert_same(full, &load(Projection::Up), up);
        } else {
            assert_same(full, &load(Projection::Down), values);
        }
    }
}

fn golden_config(name: &str) -> Config {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/gemma4/presets/{name}.json"));
    Config::parse(&std::fs::read(path).unwrap()).unwrap()
}

/// Millions of parameters: text without embeddings, experts, embedding, per-layer table; counted on the published
/// modules.
#[test]
fn parameter_counts_of_the_real_models() {
    let table = [
        ("e2b", 1877, 0, 403, 2349),
        ("e4b", 3973, 0, 671, 2819),
        ("12b", 10901, 0, 1007, 0),
        ("26b-a4b", 1657, 22838, 738, 0),
        ("31b", 29288, 0, 1409, 0),
    ];
    for (name, text, experts, embedding, per_layer_embedding) in table {
        let counts = golden_config(name).parameter_counts();
        let found = [counts.text, counts.experts, counts.embedding, counts.per_layer_embedding];
        let millions = found.map(|count| (count + 500_000) / 1_000_000);
        assert_eq!(millions, [text, experts, embedding, per_layer_embedding], "{name}: {found:?}");
        assert_eq!(counts.head, 0, "{name}: tied");
        assert_eq!(counts.total(), found.iter().sum::<u64>());
    }
}

#[test]
fn layers_of_the_real_models() {
    let e2b = golden_config("e2b");
    assert!(!e2b.is_moe());
    assert_eq!(e2b.hidden_size_per_layer_input, 256);
    assert_eq!(e2b.layers.iter().filter(|layer| layer.kind == LayerKind::Full).count(), 7);
    assert_eq!([14, 15, 19, 34].map(|l: usize| e2b.layers[l].kv_source), [None, Some(13), Some(14), Some(14)]);
    assert_eq!([14, 15].map(|l: usize| e2b.layers[l].intermediate_size), [6144, 12288]);
    assert_eq!(e2b.layers[4].num_key_value_heads, 1);

    let e4b = golden_config("e4b");
    assert_eq!([23, 24, 29].map(|l: usize| e4b.layers[l].kv_source), [None, Some(22), Some(23)]);
    assert_eq!(e4b.layers[41].intermediate_size, 10240);

    let moe = golden_config("26b-a4b");
    assert!(moe.is_moe());
    assert_eq!((moe.num_experts, moe.top_k_experts, moe.moe_intermediate_size), (128, 8, 704));
    let (sliding, full) = (&moe.layers[4], &moe.layers[5]);
    assert_eq!((sliding.head_dim, sliding.num_key_value_heads, sliding.k_eq_v), (256, 8, false));
    assert_eq!((full.head_dim, full.num_key_value_heads, full.k_eq_v), (512, 2, true));
    assert_eq!((sliding.rope.theta, sliding.rope.rotated_pairs, sliding.rope.factor), (1e4, 128, 1.0));
    assert_eq!((full.rope.theta, full.rope.rotated_pairs, full.rope.factor), (1e6, 64, 1.0));
    assert_eq!(moe.eos_token_id, [1, 106]);
    assert_eq!((moe.final_logit_softcapping, moe.rms_norm_eps), (Some(30.0), 1e-6));

    assert_eq!(golden_config("12b").layers[5].num_key_value_heads, 1);
    assert_eq!(golden_config("31b").layers[59].num_key_value_heads, 4);
}

/// The same model, said in another way, is the same configuration.
#[test]
fn dialects_mean_the_same() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/gemma4/presets/26b-a4b.json");
    let json: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let parse = |json: &Value| Config::parse(json.to_string().as_bytes()).unwrap();
    let usual = parse(&json);

    let mut new = json.clone();
    let text = new["text_config"].as_object_mut().unwrap();
    text.remove("global_head_dim");
    text.remove("num_global_key_value_heads");
    let entries = [5, 11, 17, 23, 29]
        .map(|layer| (format!("{layer:02}"), serde_json::json!({"head_dim": 512, "num_key_value_heads": 2})));
    text.insert("per_layer_config".to_owned(), Value::Object(entries.into_iter().collect()));
    assert_eq!(parse(&new), usual, "per_layer_config");

    let mut bare = json.clone();
    let text = bare["text_config"].as_object_mut().unwrap();
    for default in ["layer_types", "global_head_dim", "rope_parameters", "head_dim", "enable_moe_block"] {
        text.remove(default);
    }
    let width = text.remove("moe_intermediate_size").unwrap();
    text.insert("expert_intermediate_size".to_owned(), width);
    assert_eq!(parse(&bare), usual, "defaults and the old name of the expert width");

    let mut flat = json["text_config"].clone();
    flat["eos_token_id"] = serde_json::json!([1, 106]);
    let mut flat = parse(&flat);
    flat.model_type.clone_from(&usual.model_type);
    assert_eq!(flat, usual, "flat");
}

#[test]
fn configurations_of_the_fixtures() {
    for folder in fixtures() {
        let checkpoint = open(&folder);
        let config = &checkpoint.config;
        let what = name(&folder);
        if what == "demo-model" {
            assert_eq!((config.hidden_size, config.num_experts, config.top_k_experts), (256, 8, 2));
            assert_eq!(checkpoint.stop_ids(), [1, 6, 14]);
            assert_eq!(checkpoint.generation.top_k, Some(64));
            continue;
        }
        assert_eq!((config.hidden_size, config.vocab_size, config.sliding_window), (96, 512, 16), "{what}");
        assert_eq!(checkpoint.stop_ids()[0], 1, "{what}");
        let (layers, experts, shared, per_layer) = match what.split('-').next().unwrap() {
            "moe" => (6, 16, 0, 0),
            "dense" => (9, 0, 0, 0),
            "e2b" => (15, 0, 8, 32),
            "e4b" => (12, 0, 5, 32),
            other => panic!("{other}"),
        };
        assert_eq!(config.layers.len(), layers, "{what}");
        assert_eq!((config.num_experts, config.num_kv_shared_layers), (experts, shared), "{what}");
        assert_eq!(config.hidden_size_per_layer_input, per_layer, "{what}");
        let full = config.layers.last().unwrap();
        assert_eq!((full.head_dim, full.rope.rotated_pairs), (32, 4), "{what}");
        let dead = checkpoint.skipped().tensors();
        assert_eq!(dead > 0, what.starts_with("e2b") || what.starts_with("e4b"), "{what}: {:?}", checkpoint.skipped());
        assert_eq!(checkpoint.skipped().unknown().count(), 0, "{what}");
        let counted: u64 = checkpoint.groups().iter().map(|group| group.parameters).sum();
        assert_eq!(counted, config.parameter_counts().total(), "{what}");
    }
}

#[test]
fn summary_of_the_demo_model() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/demo-model");
    let checkpoint = open(&folder);
    let groups = checkpoint.groups();
    let format = |role| groups.iter().filter(|g| g.role == role).map(|g| g.format.as_str()).collect::<Vec<_>>();
    assert_eq!(format(Role::Experts), ["int4 g32 sym"]);
    assert_eq!(format(Role::Embedding), ["bf16"]);
    let tensors: usize = groups.iter().map(|group| group.tensors).sum();
    assert_eq!(tensors + checkpoint.skipped().tensors(), Tensors::read(&folder).0.len());
    let bytes: u64 = groups.iter().map(|group| group.size_bytes).sum();
    assert_eq!(bytes, Tensors::read(&folder).0.values().map(|tensor| tensor.2.len() as u64).sum::<u64>());
    let down = checkpoint.expert_info(0, 0, Projection::Down).unwrap();
    assert_eq!((down.out_features, down.in_features), (256, 80));
    let format = down.format.grouped().unwrap();
    assert_eq!((format.bits, format.group, format.groups(80)), (4, 32, 3), "{format:?}");
}

/// The embedding rows of the prompt, times the root of the width, are the golden's first activations.
#[test]
fn embedding_rows_match_the_goldens() {
    for folder in fixtures() {
        let Ok(bytes) = std::fs::read(folder.join("golden.safetensors")) else { continue };
        let golden = SafeTensors::deserialize(&bytes).unwrap();
        let ids = golden.tensor("input_ids").unwrap();
        let ids = ids.data().chunks(ids.dtype().bitsize() / 8).map(|b| usize::from(b[0]) + 256 * usize::from(b[1]));
        let embed = golden.tensor("embed").unwrap();
        let checkpoint = open(&folder);
        let hidden = checkpoint.config.hidden_size;
        for (id, expected) in ids.zip(embed.data().chunks(hidden * 4)) {
            let row = rows_of(&checkpoint.load_rows("embed_tokens", id..id + 1).unwrap());
            for (value, bytes) in row.iter().zip(expected.chunks(4)) {
                let expected = f32::from_le_bytes(bytes.try_into().unwrap());
                assert!(
                    (value * (hidden as f32).sqrt() - expected).abs() <= 1e-6 * expected.abs(),
                    "{}",
                    name(&folder)
                );
            }
        }
    }
}
