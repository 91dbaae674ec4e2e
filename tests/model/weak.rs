//! Devices that do without some of what an adapter has: each thing alone, in pairs and all at once, with the kernels of
//! GPUs and with those of software adapters.
//!
//! What compiles the kernels that all devices compile, and lays weights out alike, runs the same: such a mask is tried alone,
//! and not in pairs.

use std::collections::HashSet;
use std::sync::Arc;

use lapidary::gemma4::{Config, Cut};
use lapidary::gpu::{Ability, Gpu, Mask, Tier};
use lapidary::model::{Gemma4, Options, Precision, Want};
use lapidary::testing::gpu::PipelineKey;

use super::compare::{Summary, differences};
use super::device::open_without;
use super::fixtures::{Set, assert_within, sets};
use super::steps::{LOGITS, assert_golden, rows};

const MASKS: [&str; 13] = [
    "f16",
    "subgroups",
    "dot",
    "timestamps",
    "immediates",
    "immediates=60",
    "lanes=8",
    "buffers=8",
    "binding=128M",
    "binding=64M",
    "buffer=256M",
    "threads=256",
    "workgroup=16K",
];

/// How far devices may be apart where activations are rounded: mean divergence in nats, and how many predictions are the
/// same. Another order of sums now and then rounds to another number, which is less than what rounding does at all
/// (`precision.rs`); on lavapipe 2e-5, and all are the same.
pub(super) const MEAN_KL: f64 = 1e-3;
pub(super) const SAME_CHOICE: f64 = 0.98;

/// Bytes of a part of weights that stand for a binding of 64 MiB, which the golden sets do not fill.
const PART_BYTES: u64 = 20_000;

fn mask(items: &[&str]) -> Mask {
    items.join(",").parse().unwrap()
}

/// What decides how a model runs on a device.
#[derive(Debug, PartialEq, Eq)]
struct Way {
    kernels: HashSet<PipelineKey>,
    has_immediates: bool,
    part_bytes: Option<u64>,
}

/// A device without `items`, which it really lacks.
fn open(items: &[&str], kernels: &str) -> Arc<Gpu> {
    let mask = mask(&[items, &[kernels]].concat());
    let gpu = open_without(&mask);
    let (features, limits) = (gpu.adapter().features, gpu.limits());
    for item in items {
        let is_gone = match *item {
            "f16" => !features.contains(wgpu::Features::SHADER_F16) && gpu.strongest_tier() < Tier::Matrix,
            "subgroups" => !features.contains(wgpu::Features::SUBGROUP),
            "dot" => gpu.strongest_tier() == Tier::Plain,
            "timestamps" => gpu.timestamps().is_err(),
            "immediates" | "immediates=60" => !gpu.has_immediates(),
            "lanes=8" => gpu.adapter().info.subgroup_min_size <= 8,
            "buffers=8" => limits.max_storage_buffers_per_shader_stage == 8,
            "binding=128M" => gpu.max_binding_bytes() <= 128 << 20,
            "binding=64M" => gpu.max_binding_bytes() == 64 << 20,
            "buffer=256M" => limits.max_buffer_size == 256 << 20,
            "threads=256" => limits.max_compute_invocations_per_workgroup == 256,
            "workgroup=16K" => limits.max_compute_workgroup_storage_size == 16 << 10,
            other => panic!("{other}: a mask that this test does not know"),
        };
        assert!(is_gone, "\"{item}\" has no effect on a device without {mask}");
    }
    assert_eq!(gpu.mask().has(Ability::CpuKernels), kernels == "cpu-kernels");
    Arc::new(gpu)
}

fn load(gpu: &Arc<Gpu>, set: &Set, precision: Precision, part_bytes: Option<u64>) -> Gemma4 {
    let options = Options { precision, context: Some(128), max_part_bytes: part_bytes, ..Options::exact() };
    Gemma4::load(gpu.clone(), &set.checkpoint, &options, &|_| ()).unwrap_or_else(|e| panic!("{}: {e}", gpu.mask()))
}

/// The logits of all positions: of a chunk, and of steps of one, two and five rows, which have kernels of their own.
pub(crate) fn logits(model: &mut Gemma4, ids: &[u32]) -> Vec<f32> {
    let (mut all, mut from) = (Vec::new(), 0);
    for to in [8, 7, 5, 0].map(|left| ids.len() - left) {
        let wanted: Vec<usize> = (0..to - from).collect();
        all.extend(model.step(&rows(0, from, &ids[from..to]), Want::Logits(&wanted)).unwrap().logits);
        from = to;
    }
    all
}

/// What a device without `items` makes of a golden set.
struct Trial {
    gpu: Arc<Gpu>,
    tier: Tier,
    way: Way,
    logits: Vec<f32>,
}

impl Trial {
    fn new(items: &[&str], kernels: &str, set: &Set) -> Self {
        let gpu = open(items, kernels);
        let part_bytes = items.contains(&"binding=64M").then_some(PART_BYTES);
        let mut model = load(&gpu, set, Precision::Fast, part_bytes);
        let ids: Vec<u32> = set.input_ids.iter().chain(&set.greedy_ids).copied().collect();
        let logits = logits(&mut model, &ids);
        let kernels = lapidary::testing::gpu::pipeline_keys(&gpu).into_iter().collect();
        let n_buffers = gpu.limits().max_storage_buffers_per_shader_stage;
        let beside =
            lapidary::testing::gpu::pipeline_keys(&gpu).iter().filter(|key| key.variant.contains("beside")).count();
        // A router beside the dense MLP takes 12 buffers, and is worth it where activations are rounded.
        let can = model.tiers().few >= Tier::Dot && n_buffers >= 12;
        assert_eq!(beside > 0, can, "{}: {beside} kernels with another one beside them", gpu.mask());
        let way = Way { kernels, has_immediates: gpu.has_immediates(), part_bytes };
        Trial { tier: model.tiers().many, gpu, way, logits }
    }

    /// Fails unless it is what `expected`, of a device that lacks nothing, has.
    fn assert_like(&self, expected: &[f32], vocab: usize) {
        let summary = Summary::new(&differences(expected, &self.logits, vocab));
        let what = format!("without {} in tier {}: {summary:?}", self.gpu.mask(), self.tier);
        eprintln!("{what}");
        assert!(summary.mean <= MEAN_KL && summary.same_choice >= SAME_CHOICE, "{what}");
    }
}

fn check_masks(kernels: &str) {
    let set = sets().into_iter().find(|set| set.name == "moe-autoround-sym").unwrap();
    let vocab = set.checkpoint.config.vocab_size;
    let whole = Trial::new(&[], kernels, &set);
    // In the plain tier the fast path rounds keys and values alone.
    let plain = Trial::new(&["dot"], kernels, &set);
    assert_eq!(plain.tier, Tier::Plain);
    let golden = &set.tensors["logits"].1;
    assert_within("plain", &plain.logits[..golden.len()], golden, 0.1);
    let check = |items: &[&str]| {
        let trial = Trial::new(items, kernels, &set);
        trial.assert_like(if trial.tier == Tier::Plain { &plain.logits } else { &whole.logits }, vocab);
        trial
    };
    let exact = |trial: &Trial| {
        let mut model = load(&trial.gpu, &set, Precision::Exact, trial.way.part_bytes);
        assert_golden(&trial.gpu.mask().to_string(), &set, &mut model);
    };
    exact(&whole);
    let (mut telling, mut ways) = (Vec::new(), Vec::new());
    for item in MASKS {
        let trial = check(&[item]);
        // One of several that come to the same is enough for pairs.
        if trial.way != whole.way && ways.iter().all(|way| *way != trial.way) {
            exact(&trial);
            telling.push(item);
            ways.push(trial.way);
        }
    }
    eprintln!("without {kernels:?}: what changes how a model runs is {telling:?}");
    for (i, a) in telling.iter().enumerate() {
        for b in &telling[..i] {
            check(&[*a, *b]);
        }
    }
    exact(&check(&MASKS));
    // Others depend on the adapter: parts, and how parameters arrive, do not.
    assert!(telling.contains(&"binding=64M"), "{telling:?}");
    assert_eq!(telling.contains(&"immediates"), whole.gpu.has_immediates(), "{telling:?}");
}

#[test]
fn kernels_of_gpus_without_this_and_that() {
    check_masks("cpu-kernels");
}

#[test]
fn kernels_of_software_adapters_without_this_and_that() {
    check_masks("");
}

/// An embedding, which is the head too, of more than 64 MiB: in parts where no binding, or no buffer, is larger.
#[test]
fn weights_larger_than_a_binding_come_in_parts() {
    let cut = Cut { layers: Some(2), vocab: Some(24_000), ..Cut::default() };
    let config = Config::preset("e2b", cut).unwrap();
    let row_bytes = 2 * config.hidden_size as u64;
    let bytes = row_bytes * config.vocab_size as u64;
    // Tokens on both sides of the cut, which comes after a multiple of 64 rows.
    let cut = ((64u64 << 20) / row_bytes / 64 * 64) as u32;
    let ids = [2, cut - 1, cut, 23_999];
    let run = |without: &str| {
        let gpu = open_without(&without.parse().unwrap());
        let limit = gpu.max_binding_bytes();
        let options = Options { context: Some(16), ..Options::exact() };
        let mut model = Gemma4::synthetic(gpu, config.clone(), &options, &|_| ()).unwrap();
        let timestamps = model.gpu().timestamps().unwrap();
        model.gpu().start_profile(timestamps).unwrap();
        let logits = model.step(&rows(0, 0, &ids), Want::Logits(&[0, 1, 2, 3])).unwrap().logits;
        let times = model.gpu().finish_profile().unwrap();
        let of_head = times.iter().filter(|timing| timing.label.name.contains("lm_head")).count();
        (limit, of_head, logits)
    };
    let (limit, whole, expected) = run("");
    assert!(bytes <= limit, "an embedding of {bytes} bytes does not fit a binding of {limit}");
    for without in ["binding=64M", "buffer=64M"] {
        let (limit, in_parts, logits) = run(without);
        assert!(
            bytes > limit && in_parts > whole,
            "{without}: {in_parts} products of the head, {whole} of a whole one"
        );
        // The order of each sum is the same.
        assert_within(without, &logits, &expected, LOGITS);
    }
}
