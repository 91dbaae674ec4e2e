//! The whole model on the device and in the reference, against golden numbers made by other engines.

#![expect(clippy::unwrap_used, reason = "tests")]

#[path = "model/ahead.rs"]
mod ahead;
#[path = "../benches/precision/compare.rs"]
mod compare;
#[path = "common/device.rs"]
mod device;
#[path = "model/dispatches.rs"]
mod dispatches;
#[path = "model/fault.rs"]
mod fault;
#[path = "model/fixtures.rs"]
mod fixtures;
#[path = "model/host_experts.rs"]
mod host_experts;
#[path = "model/made_up.rs"]
mod made_up;
#[path = "model/marks.rs"]
mod marks;
#[path = "model/memory.rs"]
mod memory;
#[path = "model/precision.rs"]
mod precision;
#[path = "model/steps.rs"]
mod steps;
#[path = "model/tables.rs"]
mod tables;
#[path = "model/weak.rs"]
mod weak;

use std::path::Path;

use fixtures::{Set, assert_within, sets};
use lapidary::checkpoint::{Checkpoint, Source, write_random};
use lapidary::gemma4::Cut;
use lapidary::model::KvDtype;
use lapidary::model::{Gemma4, Head, Options, Traced, Want};
use lapidary::parallel::{Parallel, Shares};
use lapidary::quant::Matrix;
use lapidary::testing::quant::requantize::{GROUP_SIZE, Requantized, requantize};
use lapidary::testing::reference;
use steps::{ACTIVATIONS, LOGITS, assert_golden, greedy, load, prefill, rows};

/// On a device of its own, which counts its bytes alone.
fn load_alone(checkpoint: &Checkpoint, options: &Options) -> Gemma4 {
    Gemma4::load(device::open(), checkpoint, options, &|_| ()).unwrap_or_else(|e| panic!("{e}"))
}

/// Logits of all positions of `ids`, run in chunks of `chunk`.
fn logits_in_chunks(model: &mut Gemma4, slot: usize, ids: &[u32], chunk: usize) -> Vec<f32> {
    model.truncate(slot, 0);
    let mut logits = Vec::new();
    for part in ids.chunks(chunk) {
        let all: Vec<usize> = (0..part.len()).collect();
        logits.extend(model.step(&rows(slot, model.len(slot), part), Want::Logits(&all)).unwrap().logits);
    }
    logits
}

#[test]
fn golden_sets_on_the_device() {
    for set in sets() {
        let (worst, off) = assert_golden(&set.name, &set, &mut load(&set.checkpoint, &Options::exact()));
        eprintln!("{}: activations {worst:.1e}, logits {off:.1e}", set.name);
    }
}

/// Matrices of real widths are read and uploaded in blocks of rows, whole and cut for ranks.
#[test]
fn real_widths_arrive_in_blocks() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("model");
    let cut = Cut { layers: Some(2), vocab: Some(700), ..Cut::default() };
    write_random(&folder, "e2b", cut, &|_, _| ()).unwrap();
    let checkpoint = Checkpoint::open(Source::Directory(folder)).unwrap();
    let ids = [2, 699, 41];
    let expected = reference::model::Model::load(&checkpoint).unwrap();
    let expected = expected.forward(&ids, &mut reference::model::Cache::default());
    for ranks in [1, 3] {
        let parallel = Parallel { shares: Shares::equal(ranks).unwrap(), ..Parallel::default() };
        let mut model = load(&checkpoint, &Options { context: Some(16), parallel, ..Options::exact() });
        let Traced { output, activations: inner } =
            model.step_with_activations(&rows(0, 0, &ids), Want::Logits(&[0, 1, 2])).unwrap();
        for (key, activation) in &inner {
            assert_within(&format!("{ranks} ranks, {key}"), &activation.values, &expected[key], ACTIVATIONS);
        }
        assert_within(&format!("{ranks} ranks, logits"), &output.logits, &expected["logits"], LOGITS);
    }
}

#[test]
fn golden_sets_in_the_reference() {
    for Set { name, checkpoint, input_ids, greedy_ids, tensors } in sets() {
        let model = reference::model::Model::load(&checkpoint).unwrap();
        let mut cache = reference::model::Cache::default();
        let trace = model.forward(&input_ids, &mut cache);
        for (key, values) in &trace {
            let limit = if key == "logits" { LOGITS } else { ACTIVATIONS };
            assert_within(&format!("{name} {key}"), values, &tensors[key].1, limit);
        }
        let (width, golden) = &tensors["greedy_logits"];
        for (i, id) in greedy_ids.iter().enumerate().take(greedy_ids.len() - 1) {
            let logits = &model.forward(&[*id], &mut cache)["logits"];
            assert_within(&format!("{name} greedy {i}"), logits, &golden[(i + 1) * width..(i + 2) * width], LOGITS);
        }
    }
}

#[test]
fn chunks_and_steps_agree() {
    for Set { name, checkpoint, input_ids, greedy_ids, tensors } in sets() {
        let mut model = load(&checkpoint, &Options { chunk_rows: 64, ..Options::exact() });
        let ids: Vec<u32> = input_ids.iter().chain(&greedy_ids).copied().collect();
        let (width, golden) = &tensors["logits"];
        let whole = logits_in_chunks(&mut model, 0, &ids, 64);
        assert_within(&format!("{name} in one chunk"), &whole[..golden.len()], golden, LOGITS);
        for chunk in [1, 7, 17, 33] {
            let logits = logits_in_chunks(&mut model, 0, &ids, chunk);
            assert_within(&format!("{name} in chunks of {chunk}"), &logits, &whole, LOGITS);
        }
        assert_eq!(width * ids.len(), whole.len());
    }
}

/// Embedding, head and expert stacks larger than a binding come in parts: 64 rows, or a few experts, at a time.
#[test]
fn weights_in_parts_equal_whole_ones() {
    for Set { name, checkpoint, input_ids, .. } in sets().into_iter().take(3) {
        let run = |max_part_bytes| {
            let mut model = load(&checkpoint, &Options { max_part_bytes, ..Options::exact() });
            logits_in_chunks(&mut model, 0, &input_ids, 33)
        };
        // The embedding has 512 rows of 192 bytes, an expert's largest matrix in bf16 9,216 bytes.
        // Experts of several parts are added up in another order.
        assert_within(&name, &run(Some(20_000)), &run(None), LOGITS);
    }
}

/// A requantized head, which here is the embedding too: the products and the rows of the matrix that quantizing makes, the
/// error that was measured on the way, and the same however the model is cut.
#[test]
fn a_requantized_head() {
    for Set { name, checkpoint, input_ids, .. } in sets() {
        let exact = load_alone(&checkpoint, &Options::exact()).allocated_bytes();
        let Matrix::Dense(dense) = checkpoint.load("embed_tokens").unwrap() else {
            panic!("{name}: a dense embedding")
        };
        for (head, bits, relative) in [(Head::Int8, 8, 1e-2), (Head::Int4, 4, 0.12)] {
            let Requantized { packed, deviation } = requantize("embed_tokens", 0, &dense, bits, GROUP_SIZE).unwrap();
            let mut model = load_alone(&checkpoint, &Options { head, ..Options::exact() });
            assert_eq!(model.head_deviation(), Some(deviation), "{name}");
            let error = deviation.relative();
            assert!((relative / 20.0..relative).contains(&error), "{name} {head:?}: {error}");
            assert!(model.allocated_bytes() < exact, "{name} {head:?}");
            let (packed, all) = (Matrix::Packed(packed), (0..input_ids.len()).collect::<Vec<_>>());
            let Traced { output, activations: inner } =
                model.step_with_activations(&rows(0, 0, &input_ids), Want::Logits(&all)).unwrap();
            let mut expected = reference::ops::matmul(&inner["final_norm"].values, &packed);
            reference::ops::softcap(&mut expected, checkpoint.config.final_logit_softcapping);
            assert_within(&format!("{name} {head:?}: logits"), &output.logits, &expected, 1e-4);
            let root = (checkpoint.config.hidden_size as f32).sqrt();
            let mut row = vec![0.0; checkpoint.config.hidden_size];
            packed.row(input_ids[1] as usize, &mut row).expect("a row");
            row.iter_mut().for_each(|v| *v *= root);
            assert_eq!(inner["embed"].values[row.len()..2 * row.len()], row, "{name} {head:?}: embedding");
            let parallel = Parallel { shares: Shares::equal(3).unwrap(), ..Parallel::default() };
            let mut cut = load(&checkpoint, &Options { head, parallel, ..Options::exact() });
            let logits = logits_in_chunks(&mut cut, 0, &input_ids, 64);
            assert_within(&format!("{name} {head:?}, cut"), &logits, &output.logits, LOGITS);
        }
    }
}

#[test]
fn slots_do_not_mix() {
    let set = sets().swap_remove(0);
    let mut model = load(&set.checkpoint, &Options { slots: 2, ..Options::exact() });
    let (a, b) = (&set.input_ids, set.input_ids.iter().rev().copied().collect::<Vec<_>>());
    let (alone_a, alone_b) = (logits_in_chunks(&mut model, 0, a, 64), logits_in_chunks(&mut model, 1, &b, 64));
    model.truncate(0, 0);
    model.truncate(1, 0);
    let (mut together_a, mut together_b) = (Vec::new(), Vec::new());
    // Rows of both slots in one step: few, then a chunk.
    for (from, to) in [(0, 5), (5, 6), (6, a.len())] {
        let mut step = rows(1, from, &b[from..to]);
        step.extend(rows(0, from, &a[from..to]));
        let all: Vec<usize> = (0..step.len()).collect();
        let logits = model.step(&step, Want::Logits(&all)).unwrap().logits;
        let (of_b, of_a) = logits.split_at(logits.len() / 2);
        together_a.extend_from_slice(of_a);
        together_b.extend_from_slice(of_b);
    }
    assert_within("slot 0", &together_a, &alone_a, LOGITS);
    assert_within("slot 1", &together_b, &alone_b, LOGITS);
}

/// Rolling back within what the ring still holds, and beyond it.
#[test]
fn a_shortened_sequence_goes_on_as_if_it_had_never_been_longer() {
    let set = sets().swap_remove(0);
    let mut model = load(&set.checkpoint, &Options::exact());
    let ids: Vec<u32> = set.input_ids.iter().chain(&set.greedy_ids).copied().collect();
    let whole = logits_in_chunks(&mut model, 0, &ids, 64);
    let width = whole.len() / ids.len();
    for keep in [ids.len() - 1, ids.len() - 10, ids.len() - 15, ids.len() - 16, ids.len() - 40, 3, 0] {
        logits_in_chunks(&mut model, 0, &ids, 64);
        // Other tokens behind the kept ones: what they leave in the rings must not be seen.
        let kept = model.truncate(0, keep);
        assert!(kept == keep || kept == 0, "kept {kept} of {keep}");
        assert!(kept == keep || keep + 15 < ids.len(), "the ring still holds the window before {keep}");
        let rest = &ids[kept..];
        let all: Vec<usize> = (0..rest.len()).collect();
        let logits = model.step(&rows(0, kept, rest), Want::Logits(&all)).unwrap().logits;
        assert_within(&format!("keeping {keep}"), &logits, &whole[kept * width..], LOGITS);
    }
}

fn demo() -> Checkpoint {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/demo-model");
    Checkpoint::open(Source::Directory(dir)).unwrap()
}

/// The demo model's golden chats.
fn demo_cases() -> Vec<serde_json::Value> {
    let bytes = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/demo-model/golden.json")).unwrap();
    let golden: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    golden["cases"].as_array().unwrap().clone()
}

#[test]
fn the_demo_model_s_golden_chats() {
    let checkpoint = demo();
    let mut model = load(&checkpoint, &Options::exact());
    let oracle = reference::model::Model::load(&checkpoint).unwrap();
    let numbers = |value: &serde_json::Value| -> Vec<f64> {
        value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
    };
    let ids = |value: &serde_json::Value| -> Vec<u32> { numbers(value).into_iter().map(|v| v as u32).collect() };
    for case in &demo_cases() {
        let name = case["name"].as_str().unwrap();
        let (prompt, expected) = (ids(&case["prompt_ids"]), ids(&case["greedy_ids"]));
        let logits = prefill(&mut model, 0, &prompt, false).logits;
        let mut cache = reference::model::Cache::default();
        let trace = oracle.forward(&prompt, &mut cache);
        assert_within(name, &logits, &trace["logits"][(prompt.len() - 1) * logits.len()..], LOGITS);
        for (id, logit) in ids(&case["top10_ids"]).into_iter().zip(numbers(&case["top10_logits"])) {
            assert_within(&format!("{name} token {id}"), &[logits[id as usize]], &[logit as f32], LOGITS);
        }
        assert_eq!(greedy(&mut model, 0, &prompt, expected.len()), expected, "{name}: greedy ids");
        let mut own = vec![reference::ops::argmax(&trace["logits"][(prompt.len() - 1) * logits.len()..])];
        while own.len() < expected.len() {
            let next = oracle.forward(&own[own.len() - 1..], &mut cache);
            own.push(reference::ops::argmax(&next["logits"]));
        }
        assert_eq!(own, expected, "{name}: greedy ids of the reference");
    }
}

/// KL divergence of the next token's distribution at each position, in ascending order.
fn divergences(exact: &[f32], other: &[f32], vocab: usize) -> Vec<f64> {
    let log_softmax = |row: &[f32]| -> Vec<f64> {
        let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let logits: Vec<f64> = row.iter().map(|v| f64::from(v - largest)).collect();
        let total = logits.iter().map(|v| v.exp()).sum::<f64>().ln();
        logits.into_iter().map(|v| v - total).collect()
    };
    let of_row = |(a, b): (&[f32], &[f32])| -> f64 {
        log_softmax(a).into_iter().zip(log_softmax(b)).map(|(a, b)| a.exp() * (a - b)).sum()
    };
    let mut all: Vec<f64> = exact.chunks_exact(vocab).zip(other.chunks_exact(vocab)).map(of_row).collect();
    all.sort_by(f64::total_cmp);
    all
}

/// A cache that rounds keys and values changes what comes next by little, and the divergence grows with the square of the
/// rounding. f16 is off by 2^-12 of a value on average; int8 by a quarter of 1/127 of the largest of 32 values, about
/// 2^-8 of a value, hence by 256 times as much. Few positions stand at a fork and see more: these are left out of 98 in a
/// hundred. Chunks and steps see the same rounded keys and values, also those of their own rows.
#[test]
fn a_rounded_cache_changes_little() {
    let ids: Vec<u32> = prompts();
    let mut exact = load(&demo(), &Options::exact());
    let expected = logits_in_chunks(&mut exact, 0, &ids, 200);
    let vocab = expected.len() / ids.len();
    for (kv, limit) in [(KvDtype::F16, 1e-6), (KvDtype::Int8, 256e-6)] {
        let mut rounded = load(&demo(), &Options { kv: Some(kv), ..Options::exact() });
        let bytes = |model: &Gemma4| model.ranks().map(|rank| rank.memory.kv_cache).sum::<u64>();
        assert!(bytes(&rounded) * 2 <= bytes(&exact), "{kv:?}: {} bytes", bytes(&rounded));
        let whole = logits_in_chunks(&mut rounded, 0, &ids, 200);
        let steps = logits_in_chunks(&mut rounded, 0, &ids, 7);
        for (what, from, to, limit) in [("exact", &expected, &whole, limit), ("steps", &whole, &steps, limit / 4.0)] {
            let all = divergences(from, to, vocab);
            let most = &all[..all.len() * 98 / 100];
            let mean = most.iter().sum::<f64>() / most.len() as f64;
            let (median, worst) = (all[all.len() / 2], all[all.len() - 1]);
            let result = format!("{kv:?} against {what}: KL {mean:.1e}, median {median:.1e}, at worst {worst:.1e}");
            eprintln!("{result}");
            assert!(mean <= limit, "{result}");
        }
    }
}

/// The demo's golden prompts, one behind the other.
fn prompts() -> Vec<u32> {
    let bytes = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/demo-model/golden.json")).unwrap();
    let golden: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    let ids = |case: &serde_json::Value| -> Vec<u32> {
        let of =
            |key: &str| case[key].as_array().unwrap().iter().map(|v| v.as_u64().unwrap() as u32).collect::<Vec<_>>();
        [of("prompt_ids"), of("greedy_ids")].concat()
    };
    let mut all: Vec<u32> = golden["cases"].as_array().unwrap().iter().flat_map(ids).collect();
    all.truncate(400);
    all
}

/// The demo's window is 128 and a full layer's cache starts with 2,048 positions: both must be outgrown unnoticed.
#[test]
fn a_long_sequence_outgrows_ring_and_cache() {
    let mut model = load(&demo(), &Options { chunk_rows: 200, ..Options::exact() });
    let ids: Vec<u32> =
        (0..2100u32).map(|i| 30 + (i.wrapping_mul(2654435761).wrapping_mul(i + 1) >> 7) % 4000).collect();
    let last = |model: &mut Gemma4, chunk: usize| {
        model.truncate(0, 0);
        let mut logits = Vec::new();
        for part in ids.chunks(chunk) {
            logits = model.step(&rows(0, model.len(0), part), Want::Logits(&[part.len() - 1])).unwrap().logits;
        }
        logits
    };
    let a = last(&mut model, 200);
    let b = last(&mut model, 16);
    assert_within("chunks of 16 against 200", &b, &a, LOGITS);
}
