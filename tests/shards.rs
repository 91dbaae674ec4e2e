//! Models cut for several ranks, against the same golden numbers as whole ones.

#![expect(clippy::unwrap_used, reason = "tests")]

#[path = "common/device.rs"]
mod device;
#[path = "model/fixtures.rs"]
mod fixtures;
#[path = "model/steps.rs"]
mod steps;

use std::fs;
use std::ops::Range;
use std::path::Path;

use device::open;
use fixtures::sets;
use lapidary::checkpoint::{Checkpoint, MatrixInfo, Projection, Source};
use lapidary::model::{Gemma4, Options, PlacedRank};
use lapidary::parallel::{Cut, Parallel, Split};
use lapidary::quant::{Format, GroupIndex, Grouped, Matrix, Order, Shift};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use steps::{assert_golden, load};

fn parallel(shares: &str, split: Split, cut: Cut) -> Parallel {
    Parallel { shares: shares.parse().unwrap(), split, cut }
}

fn options(shares: &str, split: Split, cut: Cut) -> Options {
    Options { parallel: parallel(shares, split, cut), ..Options::exact() }
}

/// Every golden set that has what `split` cuts, as `shares` say.
fn assert_goldens(shares: &str, split: Split, cut: Cut) {
    let mut ran = 0;
    for set in sets().iter().filter(|set| split == Split::Tensor || set.checkpoint.config.is_moe()) {
        let mut model = load(&set.checkpoint, &options(shares, split, cut));
        let (worst, off) = assert_golden(&format!("{} at {shares} {split:?}", set.name), set, &mut model);
        eprintln!("{} at {shares} {split:?} {cut:?}: activations {worst:.1e}, logits {off:.1e}", set.name);
        ran += 1;
    }
    assert!(ran > 0, "no set was run");
}

#[test]
fn two_ranks() {
    assert_goldens("1,1", Split::Tensor, Cut::Even);
}

#[test]
fn three_ranks() {
    assert_goldens("1,1,1", Split::Tensor, Cut::Even);
}

#[test]
fn four_ranks() {
    assert_goldens("1,1,1,1", Split::Tensor, Cut::Even);
}

#[test]
fn uneven_ranks() {
    assert_goldens("5,3", Split::Tensor, Cut::Even);
    assert_goldens("1,2,1", Split::Tensor, Cut::Even);
}

#[test]
fn cuts_at_borders_of_groups() {
    assert_goldens("1,1", Split::Tensor, Cut::Aligned);
}

#[test]
fn two_ranks_of_whole_experts() {
    assert_goldens("1,1", Split::Expert, Cut::Even);
}

#[test]
fn three_ranks_of_whole_experts() {
    assert_goldens("1,1,1", Split::Expert, Cut::Even);
}

/// A device for each rank: nothing may stay on the other's.
#[test]
fn ranks_on_two_devices() {
    for set in sets().iter().take(2) {
        let gpus = || vec![open(), open()];
        let options = options("2,1,1", Split::Tensor, Cut::Even);
        let mut model = Gemma4::load_on(gpus(), &set.checkpoint, &options, &|_| ()).unwrap();
        assert_golden(&format!("{} on two devices", set.name), set, &mut model);
        let error = Gemma4::load_on(gpus(), &set.checkpoint, &Options::exact(), &|_| ()).unwrap_err();
        assert_eq!(error.to_string(), "2 adapters for 1 rank, expected at most one for each rank");
    }
}

/// Bytes of the output features `outputs` and the input features `inputs` of a matrix in the kernels' layout.
fn part_bytes(info: &MatrixInfo, outputs: Range<usize>, inputs: Range<usize>) -> u64 {
    let columns = inputs.len().next_multiple_of(32);
    let row = match info.format {
        Format::Dense(dtype) => columns * dtype.size_bytes(),
        Format::Grouped(Grouped { bits, group, scale, shift, .. }) => {
            let groups = (inputs.end - 1) / group - inputs.start / group + 1;
            let zeros = if shift == Shift::None { 0 } else { (groups * bits as usize).div_ceil(32) * 4 };
            columns * bits as usize / 8 + (groups * scale.size_bytes()).next_multiple_of(4) + zeros
        }
    };
    (outputs.len() * row) as u64
}

/// The weights of a rank are what its heads, columns and tokens take, counted here from the sizes alone: a row-parallel
/// part stores the groups that its rows are in, one more than fit where cuts fall inside a group.
#[test]
fn ranks_hold_their_share_only() {
    let is_reordered = |matrix: Matrix| match matrix {
        Matrix::Packed(m) => matches!(m.group_index, GroupIndex::PerRow(_)),
        _ => false,
    };
    let mut ran = 0;
    for set in sets() {
        let (c, files) = (&set.checkpoint.config, &set.checkpoint);
        // Of act-order every rank may need all groups.
        if is_reordered(files.load("layers.0.mlp.down_proj").unwrap()) {
            continue;
        }
        for ranks in 1..=4 {
            let model = load(files, &options(&vec!["1"; ranks].join(","), Split::Tensor, Cut::Even));
            for (rank, PlacedRank { heads, memory, .. }) in model.ranks().enumerate() {
                let cut = |size: usize| (size * rank).div_ceil(ranks)..(size * (rank + 1)).div_ceil(ranks);
                let times = |range: Range<usize>, by: usize| range.start * by..range.end * by;
                assert_eq!(heads, cut(c.num_attention_heads), "{}: heads of rank {rank} of {ranks}", set.name);
                let columns = |name: &str, own: Range<usize>| match files.has(name) {
                    true => part_bytes(
                        files.matrix_info(name).unwrap(),
                        own,
                        0..files.matrix_info(name).unwrap().in_features,
                    ),
                    false => 0,
                };
                let rows = |name: &str, own: Range<usize>| match files.has(name) {
                    true => part_bytes(
                        files.matrix_info(name).unwrap(),
                        0..files.matrix_info(name).unwrap().out_features,
                        own,
                    ),
                    false => 0,
                };
                let n = c.hidden_size_per_layer_input;
                let mut bytes = columns("embed_tokens", cut(c.vocab_size)) + columns("lm_head", cut(c.vocab_size));
                bytes += columns("per_layer_model_projection", cut(n * c.num_hidden_layers)) + 4 * n as u64;
                bytes += ((c.num_hidden_layers * 9 + 1) * c.hidden_size * 4) as u64;
                for (l, layer) in c.layers.iter().enumerate() {
                    let (at, d) = (|name: &str| format!("layers.{l}.{name}"), layer.head_dim);
                    let group = c.num_attention_heads / layer.num_key_value_heads;
                    let kv_heads = heads.start / group..heads.end.div_ceil(group);
                    bytes += columns(&at("self_attn.q_proj"), times(heads.clone(), d));
                    bytes += columns(&at("self_attn.k_proj"), times(kv_heads.clone(), d));
                    bytes += columns(&at("self_attn.v_proj"), times(kv_heads, d));
                    bytes += rows(&at("self_attn.o_proj"), times(heads.clone(), d)) + 2 * 4 * d as u64;
                    bytes += columns(&at("mlp.gate_proj"), cut(layer.intermediate_size));
                    bytes += columns(&at("mlp.up_proj"), cut(layer.intermediate_size));
                    bytes += rows(&at("mlp.down_proj"), cut(layer.intermediate_size));
                    bytes += columns(&at("per_layer_input_gate"), cut(n));
                    bytes += rows(&at("per_layer_projection"), cut(n));
                    bytes += (c.num_experts * (c.hidden_size + 1) * 4) as u64; // router, dense, and per_expert_scale
                    for e in 0..c.num_experts {
                        let info = |projection| files.expert_info(l, e, projection).unwrap();
                        let own = cut(c.moe_intermediate_size);
                        bytes += part_bytes(info(Projection::Gate), own.clone(), 0..c.hidden_size);
                        bytes += part_bytes(info(Projection::Up), own.clone(), 0..c.hidden_size);
                        bytes += part_bytes(info(Projection::Down), 0..c.hidden_size, own);
                    }
                }
                // Buffers have whole 16 bytes; a layer has at most 12 matrices of up to 3 buffers.
                let most = bytes + (c.num_hidden_layers as u64 + 1) * 12 * 3 * 15;
                let found = memory.weights;
                assert!(
                    (bytes..=most).contains(&found),
                    "{}: rank {rank} of {ranks} holds {found}, not {bytes}",
                    set.name
                );
                ran += 1;
            }
        }
    }
    assert!(ran > 0, "no set was run");
}

/// The golden set `moe-autoround-sym` in `folder`, with f32 scales of the experts' down_proj, so that a group more is a
/// word more; and with a `g_idx` beside these that reorders nothing.
fn write_experts(folder: &Path, with_table: bool) -> Checkpoint {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/moe-autoround-sym");
    let bytes = fs::read(golden.join("model.safetensors")).unwrap();
    let mut tensors: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = Vec::new();
    for (name, view) in SafeTensors::deserialize(&bytes).unwrap().iter() {
        let (mut dtype, mut data) = (view.dtype(), view.data().to_vec());
        if name.contains(".experts.") && name.ends_with("down_proj.scales") {
            let wide = |half: &[u8]| half::f16::from_le_bytes([half[0], half[1]]).to_f32().to_le_bytes();
            (dtype, data) = (Dtype::F32, data.chunks_exact(2).flat_map(wide).collect());
            if with_table {
                let table = (0..48).flat_map(|k| (k / 32i32).to_le_bytes()).collect();
                tensors.push((name.replace("scales", "g_idx"), Dtype::I32, vec![48], table));
            }
        }
        tensors.push((name.to_owned(), dtype, view.shape().to_vec(), data));
    }
    let views = tensors
        .iter()
        .map(|(name, dtype, shape, data)| (name.clone(), TensorView::new(*dtype, shape.clone(), data).unwrap()));
    fs::write(folder.join("model.safetensors"), safetensors::serialize(views, None).unwrap()).unwrap();
    fs::copy(golden.join("config.json"), folder.join("config.json")).unwrap();
    Checkpoint::open(Source::Directory(folder.to_owned())).unwrap()
}

/// Many files have a `g_idx` that reorders nothing: for it no rank may store the groups of all.
#[test]
fn a_g_idx_in_order_takes_no_memory() {
    let weights = |with_table: bool| -> Vec<u64> {
        let folder = tempfile::tempdir().unwrap();
        let checkpoint = write_experts(folder.path(), with_table);
        let info = checkpoint.expert_info(0, 0, Projection::Down).unwrap();
        let format = info.format.grouped().unwrap();
        let order = if with_table { Order::PerRow } else { Order::Consecutive };
        assert_eq!((format.order, format.groups(info.in_features)), (order, 2), "{format:?}");
        let model = load(&checkpoint, &options("1,1,1", Split::Tensor, Cut::Even));
        model.ranks().map(|rank| rank.memory.weights).collect()
    };
    assert_eq!(weights(true), weights(false));
}
