//! Experts in host memory: the same numbers, less memory.

use std::sync::Arc;

use lapidary::checkpoint::Checkpoint;
use lapidary::error::Remedy;
use lapidary::gpu::Tier;
use lapidary::model::KvDtype;
use lapidary::model::{Gemma4, Head, HostExperts, MemoryPlan, Options, Precision, Want};
use lapidary::parallel::{Parallel, Split};

use super::device::open;
use super::fixtures::{Set, sets};
use super::steps::{load, rows};
use super::{demo, load_alone, logits_in_chunks, prompts};

/// Mixtures of experts, with tokens for each.
fn mixtures() -> Vec<(String, Checkpoint, Vec<u32>)> {
    let ids = |set: &Set| set.input_ids.iter().chain(&set.greedy_ids).copied().collect();
    let sets = sets().into_iter().filter(|set| set.checkpoint.config.is_moe());
    let mut all: Vec<_> = sets.map(|set| (set.name.clone(), ids(&set), set.checkpoint)).collect();
    all.push(("demo".into(), prompts()[..90].to_vec(), demo()));
    all.into_iter().map(|(name, ids, checkpoint)| (name, checkpoint, ids)).collect()
}

/// Bits of all logits: of a chunk, of single rows, of two and of a few rows, and of rows of two slots in one step.
fn logits(model: &mut Gemma4, ids: &[u32]) -> Vec<u32> {
    let mut all = logits_in_chunks(model, 0, ids, ids.len());
    for (tokens, chunk) in [(6, 1), (10, 2), (30, 13)] {
        all.extend(logits_in_chunks(model, 0, &ids[..tokens], chunk));
    }
    logits_in_chunks(model, 1, &ids[20..24], 4);
    for (a, b) in [(1, 1), (20, 3)] {
        let mut step = rows(1, model.len(1), &ids[3..3 + a]);
        step.extend(rows(0, model.len(0), &ids[5..5 + b]));
        let wanted: Vec<usize> = (0..step.len()).collect();
        all.extend(model.step(&step, Want::Logits(&wanted)).unwrap().logits);
    }
    all.into_iter().map(f32::to_bits).collect()
}

/// Where experts lie changes no bit: one layer's or all layers', in each precision, in parts, and on several ranks.
#[test]
fn logits_are_the_same_bit_for_bit() {
    let exact = Options { slots: 2, chunk_rows: 128, ..Options::exact() };
    let fast = Options { precision: Precision::Fast, tier: Some(Tier::Dot), head: Head::Int8, ..exact.clone() };
    let ranks = |shares: &str, split| Parallel { shares: shares.parse().unwrap(), split, ..Parallel::default() };
    let layouts = [
        ("exact", exact.clone()),
        ("fast", fast.clone()),
        ("in parts", Options { max_part_bytes: Some(60_000), ..exact.clone() }),
        ("ranks", Options { parallel: ranks("5,3", Split::Tensor), ..exact }),
        ("experts split", Options { parallel: ranks("2,1", Split::Expert), kv: Some(KvDtype::Int8), ..fast }),
    ];
    for (number, (name, checkpoint, ids)) in mixtures().into_iter().enumerate() {
        // Formats differ in exact and fast kernels; how weights are cut does not depend on them.
        for (layout, options) in &layouts[..if number == 0 { layouts.len() } else { 2 }] {
            let expected = logits(&mut load(&checkpoint, options), &ids);
            for layers in [1, checkpoint.config.num_hidden_layers] {
                let mut model = load(&checkpoint, &Options { host_experts: layers, ..options.clone() });
                assert!(!model.runs_ahead(1), "the host has experts to bring");
                let found = logits(&mut model, &ids);
                let differing = found.iter().zip(&expected).filter(|(a, b)| a != b).count();
                assert_eq!((differing, found.len()), (0, expected.len()), "{name}, {layout}, {layers} layers: logits");
            }
        }
    }
}

/// Of all layers in host memory the device has the experts of one, and the plan knows it to the byte.
#[test]
fn memory_is_smaller_by_all_layers_but_one() {
    for (name, checkpoint, _) in mixtures() {
        let layers = checkpoint.config.num_hidden_layers;
        let contents = checkpoint.contents().unwrap();
        let plan = |host_experts| {
            let options = Options { host_experts, ..Options::exact() };
            let gpu = [Arc::new(open())];
            (MemoryPlan::with_contents(&gpu, &checkpoint, &contents, &options).unwrap(), options)
        };
        let (all, _) = plan(0);
        let layer = all.devices[0].experts / layers as u64;
        assert_eq!(
            (layer * layers as u64, all.host_experts),
            (all.devices[0].experts, 0),
            "{name}: all layers are alike"
        );
        let mut least = u64::MAX;
        for hosted in [1, 2, layers] {
            let (plan, options) = plan(hosted);
            let model = load_alone(&checkpoint, &options);
            assert_eq!(plan.devices[0].experts, layer * (layers - hosted + 1) as u64, "{name}, {hosted} layers");
            assert_eq!(model.allocated_bytes(), plan.at_start(), "{name}, {hosted} layers");
            let HostExperts { layers: found, bytes } = model.host_experts();
            assert_eq!((found, bytes), (hosted, plan.host_experts), "{name}, {hosted} layers");
            // Buffers on the device are whole multiples of 16 bytes.
            assert!((layer - bytes / hosted as u64) < 16 * 12, "{name}: {bytes} bytes for {hosted} layers of {layer}");
            assert!(model.allocated_bytes() < least);
            least = model.allocated_bytes();
        }
        // What stays beside the experts: where the choice comes to the host.
        assert!(all.at_start() > least, "{name}");
    }
}

#[test]
fn what_a_model_does_not_have() {
    let error = |checkpoint: &Checkpoint, host_experts| {
        let options = Options { host_experts, ..Options::exact() };
        Gemma4::load(open(), checkpoint, &options, &|_| ()).unwrap_err().to_string()
    };
    let dense = sets().into_iter().find(|set| !set.checkpoint.config.is_moe()).unwrap().checkpoint;
    assert_eq!(error(&dense, 1), "experts of 1 layer in host memory: the model has no experts, expected 0");
    let expected = "experts of 9 layers in host memory: the model has experts in 8 layers, expected at most 8";
    assert_eq!(error(&demo(), 9), expected);
}

/// Where nothing else is enough, experts go to host memory: as few layers' as fit.
#[test]
fn experts_make_room() {
    let checkpoint = demo();
    let gpu = Arc::new(open());
    let total = |host_experts| {
        let options = Options { host_experts, context: Some(300), chunk_rows: 16, memory: Some(1), ..Options::exact() };
        let plan = MemoryPlan::new(std::slice::from_ref(&gpu), &checkpoint, &options).unwrap();
        (plan.devices[0].total(), options)
    };
    let ((four, options), (three, _)) = (total(4), total(3));
    assert!(four < three);
    let options = Options { memory: Some(four), host_experts: 0, ..options };
    let error = Gemma4::load(gpu.clone(), &checkpoint, &options, &|_| ()).unwrap_err();
    assert_eq!(error.remedies().last(), Some(&Remedy::ExpertsOnHost(4)), "{error}");
    assert!(error.to_string().ends_with("the experts of 4 layers in host memory"), "{error}");
    let model = Gemma4::load(gpu.clone(), &checkpoint, &Options { host_experts: 4, ..options }, &|_| ()).unwrap();
    assert_eq!(model.host_experts().layers, 4);
}
