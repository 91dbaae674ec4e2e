//! Kernels of a decode step with the shapes of 26B-A4B, one row, on any adapter: criterion's statistics from run to run.
//!
//! `cargo bench --bench kernels [-- FILTER]`. A time is that of one dispatch in a chain of dispatches that wait for each
//! other, as a model's do; the host's part of a submission is shared by the chain. The adapter is the default one, or that
//! of the environment's LAPIDARY_BENCH_ADAPTER.

use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use lapidary::gpu::Gpu;
use lapidary::quant::Format;
use lapidary::testing::gpu::{Dispatch, Recorder, Tensor};
use lapidary::testing::kernels::experts::router;
use lapidary::testing::kernels::experts::router::Choice;
use lapidary::testing::kernels::norm::rms_norm;
use lapidary::testing::kernels::norm::rms_norm::NormRow;
use lapidary::testing::kernels::product::{self, Gated, Product, Rows};
use lapidary::testing::kernels::rounding::int8_by_16;
use lapidary::testing::kernels::rounding::int8_by_16::Input;
use lapidary::testing::kernels::rounding::int8_by_16::Outputs;
use lapidary::testing::kernels::{Planned, Planner, Weights};

const HIDDEN: usize = 2816;
const QKV: usize = 8192;
const MLP: usize = 2112;
const EXPERTS: usize = 128;
const TOP_K: usize = 8;
const EPS: f32 = 1e-6;
/// Dispatches of a submission.
const CHAIN: u64 = 64;

/// The time of `iters` dispatches.
fn chained(gpu: &Gpu, dispatches: &[Dispatch], iters: u64) -> Duration {
    let mut left = iters;
    let mut spent = Duration::ZERO;
    while left > 0 {
        let now = left.min(CHAIN);
        let mut recorder = Recorder::new(gpu);
        for _ in 0..now {
            dispatches.iter().for_each(|dispatch| recorder.dispatch(dispatch, 1));
        }
        let start = Instant::now();
        recorder.submit();
        gpu.wait().expect("a device");
        spent += start.elapsed();
        left -= now;
    }
    spent
}

fn kernels(c: &mut Criterion) {
    let wanted = std::env::var("LAPIDARY_BENCH_ADAPTER").ok();
    let gpu = Gpu::open(wanted.as_deref()).expect("an adapter");
    println!("{} ({}, {})", gpu.adapter().info.name, gpu.adapter().api(), gpu.adapter().driver());
    let planner = Planner::new(&gpu).with_tier(gpu.strongest_tier());
    let tensor = |width| Tensor::new(&gpu, "tensor", 1, width).expect("memory");
    let codes = |width| int8_by_16::tensor(&gpu, "rounded", 1, width).expect("memory");
    let int4 = Format::int(4, 128);
    let weights = |n_out, n_in| Weights::random(&planner, "weights", [1, n_out, n_in], int4, u64::MAX).expect("memory");
    let (x, x_codes, norms) = (tensor(HIDDEN), codes(HIDDEN), tensor(HIDDEN));
    let input = Input { x: &x, rounded: Some(&x_codes) };
    let mut bench = |name: &str, planned: Vec<Planned>| {
        let dispatches = planner.bind_all(&planned).expect("a device");
        c.bench_function(name, |b| b.iter_custom(|iters| chained(&gpu, &dispatches, iters)));
    };

    let (qkv, y) = (weights(QKV, HIDDEN), tensor(QKV));
    bench("qkv_proj", product::plan(&planner, "qkv", &Product::new(&qkv, Rows::Few, input, &y)).expect("a plan"));
    let (gate_up, act, act_codes) = (weights(2 * MLP, HIDDEN), tensor(MLP), codes(MLP));
    let to = Gated { gate_up: None, y: &act, rounded: Some(&act_codes) };
    let planned = product::plan(&planner, "gate_up", &Product::gated(&gate_up, Rows::Few, input, to)).expect("a plan");
    bench("mlp.gate_up_proj", planned);
    let (norm, y) = (NormRow { norms: &norms, row: 0 }, tensor(HIDDEN));
    let to = Outputs { y: &y, rounded: Some(&x_codes) };
    let planned = rms_norm::plan(&planner, "norm", norm, &x, to, EPS);
    bench("input_norm", vec![planned.expect("a plan")]);
    let compact = |width| Tensor::compact(&gpu, "tensor", 1, width).expect("memory");
    let choice = Choice {
        logits: &tensor(EXPERTS),
        per_expert_scale: &compact(EXPERTS),
        ids: &compact(TOP_K),
        weights: &compact(TOP_K),
    };
    bench("router", vec![router::plan(&planner, "router", choice).expect("a plan")]);
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).measurement_time(Duration::from_secs(3));
    targets = kernels
}
criterion_main!(benches);
