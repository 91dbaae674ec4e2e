//! Checkpoints of compressed-tensors against a plain decode of the raw tensors.

use std::path::Path;

use lapidary::checkpoint::Projection;
use serde_json::Value;

use super::{Tensors, as_expert, assert_same, fixtures, load, name, open, relative, rows_of};

/// The weights `[N, K]` of matrix `index` of compressed-tensors whose tensors begin with `stem`, bit by bit: fields of a
/// row (or, for zero points, of a column) follow each other from the lowest bit of the first word on.
fn plain_decode_compressed(tensors: &Tensors, stem: &str, index: usize, weights: &Value) -> Vec<f32> {
    let bits = weights["num_bits"].as_u64().unwrap() as usize;
    let shape = &tensors.0[&format!("{stem}_shape")].2;
    let numbers: Vec<usize> =
        shape.chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap()) as usize).collect();
    let [.., n_count, k_count] = numbers[..] else { panic!("{stem}: {numbers:?}") };
    let packed = tensors.words(&format!("{stem}_packed"));
    let scales = tensors.floats(&format!("{stem}_scale"));
    let zeros = tensors.0.contains_key(&format!("{stem}_zero_point"));
    let zeros = zeros.then(|| tensors.words(&format!("{stem}_zero_point")));
    let g_idx = tensors.0.contains_key(&format!("{stem}_g_idx")).then(|| tensors.words(&format!("{stem}_g_idx")));
    let groups = *tensors.0[&format!("{stem}_scale")].1.last().unwrap();
    let (row, column) = ((k_count * bits).div_ceil(32), (n_count * bits).div_ceil(32));
    let mask = (1u32 << bits) - 1;
    let mut out = Vec::new();
    for n in 0..n_count {
        for k in 0..k_count {
            let g = match (&g_idx, weights["group_size"].as_u64()) {
                (Some(table), _) => table[index * k_count + k] as usize,
                (None, Some(size)) => k / size as usize,
                (None, None) => 0,
            };
            let signed = |word: u32, place: usize| (word >> (place * bits % 32) & mask) as i32 - (1 << (bits - 1));
            let code = signed(packed[(index * n_count + n) * row + k * bits / 32], k);
            let zero = zeros.as_ref().map_or(0, |z| signed(z[(index * column + n * bits / 32) * groups + g], n));
            out.push(scales[(index * n_count + n) * groups + g] * (code - zero) as f32);
        }
    }
    out
}

/// Every matrix of the compressed-tensors checkpoint in `folder` against the plain decode; how many there are.
fn check_compressed(folder: &Path) -> usize {
    let config: Value = serde_json::from_slice(&std::fs::read(folder.join("config.json")).unwrap()).unwrap();
    let weights = &config["quantization_config"]["config_groups"]["group_0"]["weights"];
    let checkpoint = open(folder);
    checkpoint.verify_contents().unwrap();
    let tensors = Tensors::read(folder);
    let mut matrices = 0;
    for stem in tensors.0.keys().filter_map(|name| name.strip_suffix("_packed")) {
        let base = relative(stem);
        let fused = base.strip_prefix("layers.").and_then(|rest| rest.strip_suffix("_proj")?.split_once(".experts."));
        if let Some((layer, part)) = fused {
            let layer = layer.parse().unwrap();
            for expert in 0..checkpoint.config.num_experts {
                let expected = plain_decode_compressed(&tensors, stem, expert, weights);
                let load = |projection| rows_of(&checkpoint.expert(layer, expert, projection).unwrap());
                let found = match part {
                    "gate_up" => [load(Projection::Gate), load(Projection::Up)].concat(),
                    _ => load(Projection::Down),
                };
                assert_same(stem, &found, &expected);
                matrices += 1;
            }
            continue;
        }
        let base = base.strip_suffix(".weight").unwrap();
        if !checkpoint.has(base) && as_expert(base).is_none() {
            let layer: usize = base.split('.').nth(1).unwrap().parse().unwrap();
            assert!(checkpoint.config.layers[layer].kv_source.is_some(), "{base}");
            continue;
        }
        let expected = plain_decode_compressed(&tensors, stem, 0, weights);
        let matrix = load(&checkpoint, base);
        assert_same(stem, &rows_of(&matrix), &expected);
        if as_expert(base).is_none() {
            let (rows, width) = (3..matrix.out_features() - 2, matrix.in_features());
            let cut = checkpoint.load_rows(base, rows.clone()).unwrap();
            assert_same(base, &rows_of(&cut), &expected[rows.start * width..rows.end * width]);
        }
        matrices += 1;
    }
    let bytes: u64 = checkpoint.groups().iter().map(|group| group.size_bytes).sum();
    let skipped: u64 = checkpoint.skipped().groups.iter().map(|group| group.size_bytes).sum();
    assert_eq!(bytes + skipped, tensors.0.values().map(|tensor| tensor.2.len() as u64).sum::<u64>(), "{folder:?}");
    let count: usize = checkpoint.groups().iter().map(|group| group.tensors).sum();
    assert_eq!(count + checkpoint.skipped().tensors(), tensors.0.len(), "{folder:?}");
    matrices
}

#[test]
fn compressed_matrices_equal_a_plain_decode() {
    for folder in fixtures() {
        let config: Value = serde_json::from_slice(&std::fs::read(folder.join("config.json")).unwrap()).unwrap();
        if config["quantization_config"]["quant_method"] == "compressed-tensors" {
            let matrices = check_compressed(&folder);
            assert!(matrices > 50, "{}: only {matrices} matrices", name(&folder));
            println!("{}: {matrices} matrices", name(&folder));
        }
    }
}
