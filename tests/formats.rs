//! Checkpoints in every supported format: configuration, names, and each dequantized matrix against a plain decode of
//! the raw tensors, bit for bit.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use half::f16;
use lapidary::checkpoint::{Checkpoint, Projection, Source};
use lapidary::quant::Matrix;
use safetensors::SafeTensors;
use serde_json::Value;

/// Formats that the loader refuses so far, by the name of their folder.
const NOT_YET: [&str; 5] =
    ["moe-gptq-8bit", "moe-compressed-tensors", "moe-ct-fused-experts", "moe-awq", "e4b-compressed-tensors"];

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
fn plain_decode(tensors: &Tensors, base: &str, group_size: i64, v1: bool) -> Vec<f32> {
    let qweight = tensors.words(&format!("{base}.qweight"));
    let qzeros = tensors.words(&format!("{base}.qzeros"));
    let scales = tensors.floats(&format!("{base}.scales"));
    let shape = &tensors.0[&format!("{base}.qweight")].1;
    let (k_count, n_count) = (shape[0] * 8, shape[1]);
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
            let code = (qweight[k / 8 * n_count + n] >> (4 * (k % 8))) & 15;
            let mut word = qzeros[g * (n_count / 8) + n / 8];
            if v1 {
                word = word.wrapping_add(0x1111_1111);
            }
            let zero = (word >> (4 * (n % 8))) & 15;
            out.push(scales[g * n_count + n] * (code as f32 - zero as f32));
        }
    }
    out
}

fn rows_of(matrix: &Matrix) -> Vec<f32> {
    let mut out = vec![0.0; matrix.out_features() * matrix.in_features()];
    for (n, row) in out.chunks_exact_mut(matrix.in_features()).enumerate() {
        matrix.row(n, row);
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
fn every_fixture_opens_or_says_why_not() {
    for folder in fixtures() {
        match Checkpoint::open(Source::Directory(folder.clone())) {
            Ok(checkpoint) => {
                assert!(!NOT_YET.contains(&name(&folder)), "{}", name(&folder));
                checkpoint.verify_contents().unwrap();
                checkpoint.check_unchanged().unwrap();
            }
            Err(error) => {
                let text = error.to_string();
                assert!(NOT_YET.contains(&name(&folder)), "{}: {text}", name(&folder));
                assert!(text.contains("not supported yet") && text.contains("quantization_config."), "{text}");
                assert!(text.contains("quant_method") || text.contains("bits is 8"), "{text}");
            }
        }
    }
}

#[test]
fn quantized_matrices_equal_a_plain_decode() {
    let mut matrices = 0;
    for folder in fixtures().into_iter().filter(|folder| !NOT_YET.contains(&name(folder))) {
        let config: Value = serde_json::from_slice(&std::fs::read(folder.join("config.json")).unwrap()).unwrap();
        let quantization = &config["quantization_config"];
        if quantization.is_null() {
            continue;
        }
        let checkpoint = open(&folder);
        let tensors = Tensors::read(&folder);
        let format = quantization["packing_format"].as_str().or(quantization["checkpoint_format"].as_str()).unwrap();
        let v1 = ["gptq", "auto_round:auto_gptq", "auto_round:gptq"].contains(&format);
        let group_size = quantization["group_size"].as_i64().unwrap();
        for base in tensors.0.keys().filter_map(|name| name.strip_suffix(".qweight")) {
            let relative = base.strip_prefix("model.language_model.").unwrap();
            let shared = relative.split('.').nth(1).and_then(|layer| layer.parse::<usize>().ok());
            if shared.is_some_and(|layer| checkpoint.config.layers[layer].kv_source.is_some())
                && ["k_proj", "v_proj"].iter().any(|end| relative.ends_with(end))
            {
                assert!(!checkpoint.has(relative), "{relative}");
                continue;
            }
            let expected = plain_decode(&tensors, base, group_size, v1);
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
    for folder in fixtures().into_iter().filter(|folder| !NOT_YET.contains(&name(folder))) {
        let checkpoint = open(&folder);
        let tensors = Tensors::read(&folder);
        for full in tensors.0.keys() {
            let relative = full.strip_prefix("model.language_model.").unwrap();
            let bare = relative.strip_suffix(".weight").unwrap_or(relative);
            let shape = &tensors.0[full].1;
            if checkpoint.has(relative) {
                assert_same(full, &checkpoint.vector(relative).unwrap(), &tensors.floats(full));
            } else if shape.len() == 2 && relative.ends_with(".weight") && checkpoint.has(bare) {
                let all = tensors.floats(full);
                assert_same(full, &rows_of(&checkpoint.load(bare).unwrap()), &all);
                let some = checkpoint.load_rows(bare, 5..9).unwrap();
                assert_same(full, &rows_of(&some), &all[5 * shape[1]..9 * shape[1]]);
            } else if shape.len() == 3 {
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
    let layer = full.split('.').nth(3).unwrap().parse().unwrap();
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
