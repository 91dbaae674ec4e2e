//! Kernels that round what they make for the products behind them, and what stands beside these products.

use lapidary::gpu::Tier;
use lapidary::quant::{Dtype, Matrix};
use lapidary::testing::kernels::Planned;
use lapidary::testing::kernels::experts::moe_combine;
use lapidary::testing::kernels::experts::moe_combine::MoeCombine;
use lapidary::testing::kernels::experts::router;
use lapidary::testing::kernels::experts::router::Choice;
use lapidary::testing::kernels::norm::add_norm;
use lapidary::testing::kernels::norm::add_norm::AddNorm;
use lapidary::testing::kernels::norm::rms_norm;
use lapidary::testing::kernels::norm::rms_norm::NormRow;
use lapidary::testing::kernels::product::{self, Beside, Gated, Product, Rows};
use lapidary::testing::kernels::rounding::int8_by_16::Input;
use lapidary::testing::kernels::rounding::int8_by_16::Outputs;

use super::product::upload;
use super::rounded::{assert_rounded, output};
use crate::common::matrices::{Spec, Unpacked, dense};
use crate::common::random::{Random, Spread};
use crate::common::{Output, Runner, compact, gpu, tensor};

/// Widths that lanes hold, with short and half blocks at the end, and such as are walked.
const WIDTHS: [usize; 8] = [4, 20, 32, 36, 1028, 2816, 33, 1055];

/// Zeros, as rounded tensors begin: blocks beyond a row's end are not written.
pub(super) fn zeros(rows: usize, width: usize) -> Output {
    let words = output(rows, width);
    let zeros = vec![0u32; rows * words.tensor.stride];
    gpu().write(&words.tensor.buffer, 0, &zeros).expect("an upload");
    words
}

/// Runs `planned` and checks that each of `rounded` is what the output beside it has become.
fn check(what: &str, runner: &Runner, planned: &[Planned], rows: usize, pairs: &[(&Output, &Output)]) {
    let all: Vec<&Output> = pairs.iter().flat_map(|(y, words)| [*y, *words]).collect();
    let results = runner.run(planned, rows, &all);
    for (pair, (y, words)) in results.chunks_exact(2).zip(pairs) {
        let rows = pair[0].chunks_exact(y.tensor.width).zip(pair[1].chunks_exact(words.tensor.width));
        for (t, (values, words)) in rows.enumerate() {
            let words: Vec<u32> = words.iter().map(|word| word.to_bits()).collect();
            assert_rounded(&format!("{what}: row {t}"), values, &words);
        }
    }
}

/// `add_norm` rounds as many of its outputs as each of `outputs` says. A planted bug is one pipeline: of one number alone.
pub(super) fn check_norms(width: usize, threads: u32, outputs: &[usize]) {
    for runner in Runner::both_with_threads(threads) {
        check_norms_with(&runner, width, threads, outputs);
    }
}

fn check_norms_with(runner: &Runner, width: usize, threads: u32, outputs: &[usize]) {
    let (mut random, n_rows) = (Random::new(950), 3);
    let norms = tensor(width, &random.values(7 * width, Spread::Normal));
    let mut values = || random.values(n_rows * width, Spread::Outliers);
    let x = tensor(width, &values());
    let what = format!("width {width}, {threads} lanes");
    let new = || (Output::new(n_rows, width), zeros(n_rows, width));

    let (y, words) = new();
    let to = Outputs { y: &y.tensor, rounded: Some(&words.tensor) };
    let norm = NormRow { norms: &norms, row: 2 };
    let planned = rms_norm::plan(&runner.planner, "rms_norm", norm, &x, to, 1e-6).expect("a plan");
    check(&format!("rms_norm, {what}"), runner, &[planned], n_rows, &[(&y, &words)]);

    for &outputs in outputs {
        let h = Output::in_place(width, &values());
        let (first, second, third) = (new(), new(), Output::new(n_rows, width));
        let arguments = AddNorm {
            norms: &norms,
            post: 1,
            pre: 3,
            scalar: 0.5,
            eps: 1e-6,
            h: &h.tensor,
            y: [&first.0.tensor, &second.0.tensor, &third.tensor],
            n_outputs: 3,
            rounded: [Some(&first.1.tensor), (outputs == 2).then_some(&second.1.tensor)],
        };
        let planned = add_norm::plan(&runner.planner, "add_norm", &x, &arguments).expect("a plan");
        let pairs = [(&first.0, &first.1), (&second.0, &second.1)];
        check(&format!("add_norm, {what}"), runner, &[planned], n_rows, &pairs[..outputs]);
    }

    let ((y, words), h) = (new(), Output::in_place(width, &values()));
    let arguments = MoeCombine {
        mlp: &tensor(width, &values()),
        norms: &norms,
        norm_rows: [5, 0, 3, 6],
        scalar: 0.7,
        eps: 1e-6,
        experts: &tensor(width, &values()),
        h: &h.tensor,
        y: &y.tensor,
        rounded: Some(&words.tensor),
    };
    let planned = moe_combine::plan(&runner.planner, "moe_combine", &arguments).expect("a plan");
    check(&format!("moe_combine, {what}"), runner, &[planned], n_rows, &[(&y, &words)]);
}

#[test]
fn norms_come_out_rounded() {
    for width in WIDTHS {
        for threads in [32, 256, 1024] {
            check_norms(width, threads, &[1, 2]);
        }
    }
}

/// What stands beside a product is what its own kernel makes: the choice bit for bit, the router's logits but for the order
/// of additions; and the product is what it is alone.
pub(super) fn check_beside(n_rows: usize, n_experts: usize, n_in: usize, dtype: Dtype) {
    check_beside_with(Runner::new(), n_rows, n_experts, n_in, dtype);
}

/// The same in workgroups of 64 lanes, 8 of which share rows.
pub(super) fn check_beside_wide(n_rows: usize) {
    check_beside_with(Runner::with_lanes(8), n_rows, 33, 1056, Dtype::F32);
}

fn check_beside_with(mut runner: Runner, n_rows: usize, n_experts: usize, n_in: usize, dtype: Dtype) {
    let (mut random, top_k, width) = (Random::new(951), 4, 48);
    (runner.planner.tier, runner.planner.few_tier) = (Tier::Dot, Tier::Dot);
    let mut matrix = |n_out, n_in| {
        let spec = Spec::new(n_out, n_in, 32);
        upload(&Matrix::Packed(Unpacked::random(&mut random, spec).pack()))
    };
    let (gate_up, down) = (matrix(2 * width, n_in), matrix(40, width));
    let router = upload(&Matrix::Dense(dense(&mut random, n_experts, n_in, dtype)));
    // On a device that binds fewer buffers at once what stands beside a product has a dispatch of its own.
    let n_buffers = gpu().limits().max_storage_buffers_per_shader_stage;
    let x = tensor(n_in, &random.values(n_rows * n_in, Spread::Normal));
    let router_x = tensor(n_in, &random.values(n_rows * n_in, Spread::Normal));
    let scale = compact(n_experts, &random.values(n_experts, Spread::Uniform));
    let (words, count) = (zeros(n_rows, n_in), compact(1, &[n_rows as u32]));
    let rows = super::rounded::few_rows(n_rows, &count);
    let rounding = lapidary::testing::kernels::rounding::int8_by_16::plan(&runner.planner, "round", &x, &words.tensor)
        .expect("a plan");
    let input = Input { x: &x, rounded: Some(&words.tensor) };

    let run = |beside: bool| {
        let (act, act_words, y) = (Output::new(n_rows, width), zeros(n_rows, width), Output::new(n_rows, 40));
        let (ids, weights) = (Output::compact(n_rows, top_k), Output::compact(n_rows, top_k));
        let logits = Output::new(n_rows, n_experts);
        let choice =
            Choice { logits: &logits.tensor, per_expert_scale: &scale, ids: &ids.tensor, weights: &weights.tensor };
        let logits_of = Beside::Product { label: "router", weights: &router, x: &router_x, y: &logits.tensor };
        let to = Gated { gate_up: None, y: &act.tensor, rounded: Some(&act_words.tensor) };
        let planner = &runner.planner;
        let gated = Product::gated(&gate_up, rows, input, to).beside(beside.then_some(logits_of));
        let mut planned = product::plan(planner, "gate_up", &gated).expect("a plan");
        let choice_of = Beside::Choice { label: "choose", choice };
        let down_product =
            Product::new(&down, rows, gated.result(planner), &y.tensor).beside(beside.then_some(choice_of));
        planned.extend(product::plan(planner, "down", &down_product).expect("a plan"));
        if beside {
            assert_eq!(planned.len(), if n_buffers >= 12 { 2 } else { 4 }, "dispatches with {n_buffers} buffers");
        } else {
            let logits = product::plan(planner, "router", &Product::new(&router, Rows::Few, &router_x, &logits.tensor));
            planned.extend(logits.expect("a plan"));
            planned.push(router::plan(planner, "choose", choice).expect("a plan"));
        }
        runner.run(&planned, n_rows, &[&y, &logits, &ids, &weights])
    };
    runner.run(std::slice::from_ref(&rounding), n_rows, &[&words]);
    let (together, apart) = (run(true), run(false));
    let what = format!("{n_rows} rows, {n_experts} experts, {n_in} features, {dtype:?}");
    let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&together[0]), bits(&apart[0]), "{what}: product");
    for (a, b) in together[1].iter().zip(&apart[1]) {
        assert!((a - b).abs() <= 1e-4 * b.abs().max(1.0), "{what}: logits {a}, alone {b}");
    }
    assert_eq!(bits(&together[2]), bits(&apart[2]), "{what}: ids");
    for (a, b) in together[3].iter().zip(&apart[3]) {
        assert!((a - b).abs() <= 1e-3 * b.abs().max(1e-3), "{what}: weights {a}, alone {b}");
    }
}

#[test]
fn the_router_stands_beside_the_mlp() {
    for dtype in [Dtype::F32, Dtype::BF16, Dtype::F16] {
        check_beside(1, 8, 96, dtype);
        check_beside(2, 8, 96, dtype);
        check_beside(5, 33, 64, dtype);
    }
    check_beside(4, 128, 2816, Dtype::F32);
    check_beside_wide(1);
    check_beside_wide(2);
}
