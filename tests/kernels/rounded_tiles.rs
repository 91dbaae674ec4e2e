//! Products of many rows that round their input: to int8 in blocks of 32 (tier dot) and to f16 (tier matrix).
//!
//! Dot: inputs whose blocks are integers of up to 127 times a power of two are not rounded at all, so that the bounds of
//! f32 products hold; any other input is off by half a step of its block at most.
//!
//! Matrix: the oracle rounds as the shader does, x to f16 relative to its row and weights to f16, and adds up in f64. What
//! is left is the addition in f32: a matrix unit may cut off bits at each step of 8 or more input features.

use lapidary::gpu::{Kind, Tier};
use lapidary::quant::{Dtype, Matrix};
use lapidary::testing::kernels::product::{self, Product, Rows};
use lapidary::testing::kernels::{Tuning, WeightsBuilder};
use lapidary::testing::reference::ops;
use lapidary::testing::twins;

use super::moe_group;
use super::probes::{interesting, one_hot};
use super::product::{tolerances, upload};
use crate::common::matrices::{DTYPES, Order, Scales, Spec, Unpacked, dense};
use crate::common::not_run::not_run;
use crate::common::random::{Random, Spread};
use crate::common::tolerance::{EPS, assert_close};
use crate::common::{Output, Runner, compact, gpu, is_untouched, tables, tensor};

/// A runner of `tier` with the tiles of `of`; `None`, and a line, where the device has no such kernels.
pub(super) fn runner(tier: Tier, of: Tuning) -> Option<Runner> {
    if tier == Tier::Matrix && gpu().matrix_side().is_none() {
        not_run(&format!("\"{}\" has no cooperative matrices", gpu().adapter().info.name));
        return None;
    }
    let mut runner = Runner::with_tiles(of);
    (runner.planner.tier, runner.planner.few_tier) = (tier, tier);
    Some(runner)
}

/// Rows of integers of up to 127 times a power of two for each block of 32, the largest among them.
pub(super) fn on_grid(random: &mut Random, rows: usize, width: usize) -> Vec<f32> {
    let mut x = vec![0.0; rows * width];
    for row in x.chunks_exact_mut(width) {
        for block in row.chunks_mut(32) {
            let step = [0.0625, 0.5, 1.0, 8.0][random.below(4)];
            block.iter_mut().for_each(|v| *v = step * (random.below(255) as f32 - 127.0));
            block[random.below(block.len())] = 127.0 * step;
        }
    }
    x
}

/// What the tier makes of `x` and one matrix, and how far off it may be.
pub(super) fn expected(tier: Tier, x: &[f32], matrix: &Matrix) -> (Vec<f32>, Vec<f64>) {
    if tier == Tier::Dot {
        return twins::products(x, matrix);
    }
    twins::matrix_products(x, matrix)
}

fn check_many(runner: &Runner, what: &str, matrix: &Matrix, x: &[f32]) {
    check_many_as(runner.planner.tier, runner, what, matrix, x);
}

/// As [`check_many`], where the results are to be those of the tier `of`.
fn check_many_as(of: Tier, runner: &Runner, what: &str, matrix: &Matrix, x: &[f32]) {
    let n_rows = x.len() / matrix.in_features();
    let (weights, count) = (upload(matrix), compact(1, &[n_rows as u32]));
    let (x_tensor, y) = (tensor(matrix.in_features(), x), Output::new(n_rows, matrix.out_features()));
    let rows = Rows::Many(&count);
    let planned = product::plan(&runner.planner, "product", &Product::new(&weights, rows, &x_tensor, &y.tensor));
    let actual = runner.run(&planned.expect("a plan"), n_rows, &[&y]).remove(0);
    let (expected, tolerance) = expected(of, x, matrix);
    assert_close(what, &expected, &actual, |i| tolerance[i]);
}

/// Rows of y go to the experts `ids`; `repeat` of them read one row of x.
fn check_grouped(runner: &Runner, what: &str, stack: &[Matrix], ids: &[u32], top_k: usize, repeat: usize, x: &[f32]) {
    let (n_out, n_in) = (stack[0].out_features(), stack[0].in_features());
    let mut builder = WeightsBuilder::new(gpu(), "stack", stack.len(), n_out, n_in);
    for (e, matrix) in stack.iter().enumerate() {
        builder.add(e, 0, matrix).expect("memory");
    }
    let weights = builder.finish().expect("a device");
    let (x_tensor, ids_tensor, y) = (tensor(n_in, x), compact(top_k, ids), Output::new(ids.len(), n_out));
    let planned = moe_group::plan_product(runner, &weights, &ids_tensor, repeat, &x_tensor, &y.tensor);
    let actual = runner.run(&planned, ids.len() / top_k, &[&y]).remove(0);
    for (p, (&e, actual)) in ids.iter().zip(actual.chunks_exact(n_out)).enumerate() {
        let (expected, tolerance) = expected(runner.planner.tier, &x[p / repeat * n_in..][..n_in], &stack[e as usize]);
        assert_close(&format!("{what}, row {p}, expert {e}"), &expected, actual, |i| tolerance[i]);
    }
}

/// Output and input features, group size, bits: tails of tiles, of groups, of steps, and what must go another way.
const SHAPES: [(usize, usize, usize, u32); 9] = [
    (1, 32, 32, 4),
    (65, 41, 32, 4),
    (130, 96, 64, 4),
    (127, 272, 128, 4),
    (33, 704, 128, 4),
    (9, 2112, 128, 4),
    (40, 288, 32, 8),
    (17, 272, 16, 4),
    (7, 704, 704, 8),
];

pub(super) fn check_shapes(tier: Tier, of: Tuning) {
    let Some(runner) = runner(tier, of) else { return };
    // Each pipeline takes its time: of every shape one variant, and others for other tiles.
    let first = usize::from(of.kind != Kind::Nvidia);
    for (i, (n_out, n_in, group_size, bits)) in SHAPES.into_iter().enumerate().step_by(1 + first) {
        let variant = (i + first) % 3;
        let spec = Spec {
            bits,
            order: if variant == 2 { Order::Shuffled } else { Order::Sequential },
            asymmetric: variant == 1,
            scale_dtype: DTYPES[(i + variant) % 3],
            scales: Scales::Ordinary,
            ..Spec::new(n_out, n_in, group_size)
        };
        let mut random = Random::new(600 + i as u64);
        let n_rows = [1, 5, 33, 65, 130][(i + variant) % 5];
        let matrix = Matrix::Packed(Unpacked::random(&mut random, spec).pack());
        let x = on_grid(&mut random, n_rows, n_in);
        check_many(&runner, &format!("{tier} {spec:?}, {n_rows} rows, table {}", of.kind), &matrix, &x);
    }
}

/// One-hot rows at the edges of groups and of shards, of a linear layer and of experts.
pub(super) fn check_probes(tier: Tier, of: Tuning) {
    let Some(runner) = runner(tier, of) else { return };
    for (i, (n_in, group_size, rows)) in
        [(704, 128, 0..704), (704, 64, 96..480), (2112, 128, 1056..2112), (704, 32, 235..470)].into_iter().enumerate()
    {
        let spec = Spec { asymmetric: i % 2 == 0, scales: Scales::Ordinary, ..Spec::new(5, n_in, group_size) };
        let mut random = Random::new(620 + i as u64);
        let stack: Vec<_> = (0..3).map(|_| Unpacked::random(&mut random, spec)).collect();
        let ks = interesting(&mut random, &stack[0], &rows);
        let x = one_hot(rows.len(), &ks);
        let stack: Vec<_> = stack.iter().map(|full| Matrix::RowShard(full.shard(rows.clone()))).collect();
        let what = format!("{tier} rows {rows:?} of {spec:?}, table {}", of.kind);
        check_many(&runner, &what, &stack[0], &x);
        let ids: Vec<u32> = (0..2 * ks.len()).map(|p| (p % 3) as u32).collect();
        check_grouped(&runner, &what, &stack, &ids, 2, 2, &x);
    }
}

/// What tables differ in for tier dot.
pub(super) fn dot_tiles(table: &Tuning) -> impl PartialEq + use<> {
    (table.tiles.dot, table.experts.dot)
}

/// What they differ in for tier matrix.
pub(super) fn matrix_tiles(table: &Tuning) -> impl PartialEq + use<> {
    (table.tiles.matrix, table.experts.matrix)
}

#[test]
fn shapes_in_int8() {
    tables(dot_tiles).into_iter().for_each(|table| check_shapes(Tier::Dot, table));
}

#[test]
fn shapes_in_f16() {
    tables(matrix_tiles).into_iter().for_each(|table| check_shapes(Tier::Matrix, table));
}

#[test]
fn probes_in_int8() {
    tables(dot_tiles).into_iter().for_each(|table| check_probes(Tier::Dot, table));
}

#[test]
fn probes_in_f16() {
    tables(matrix_tiles).into_iter().for_each(|table| check_probes(Tier::Matrix, table));
}

/// Experts of which some have no row, some more than a tile, and a row of x for each row of y or for all of a token.
#[test]
fn uneven_experts() {
    for tier in [Tier::Dot, Tier::Matrix] {
        let Some(runner) = runner(tier, Tuning::of(Kind::Nvidia)) else { continue };
        let mut random = Random::new(640);
        let spec = Spec { asymmetric: true, scales: Scales::Ordinary, ..Spec::new(33, 160, 32) };
        let stack: Vec<_> = (0..5).map(|_| Matrix::Packed(Unpacked::random(&mut random, spec).pack())).collect();
        let ids: Vec<u32> = (0..300).map(|_| [0, 0, 0, 1, 4][random.below(5)]).collect();
        for repeat in [1, 4] {
            let x = on_grid(&mut random, ids.len() / repeat, 160);
            check_grouped(&runner, &format!("{tier}, repeat {repeat}"), &stack, &ids, 4, repeat, &x);
        }
    }
}

/// Dense weights: bf16 and f16 of many features go through matrices, f32 and few features stay exact.
#[test]
fn dense_weights() {
    for (tier, dtype, n_out) in [
        (Tier::Matrix, Dtype::BF16, 520),
        (Tier::Matrix, Dtype::F16, 513),
        (Tier::Matrix, Dtype::F32, 520),
        (Tier::Matrix, Dtype::BF16, 128),
        (Tier::Dot, Dtype::BF16, 520),
    ] {
        let Some(runner) = runner(tier, Tuning::of(Kind::Nvidia)) else { continue };
        let mut random = Random::new(650);
        let values: Vec<f32> = (0..n_out * 96).map(|_| random.normal()).collect();
        let bytes = crate::common::matrices::file_bytes(dtype, &values);
        let matrix =
            Matrix::Dense(lapidary::quant::DenseMatrix::from_bytes(n_out, 96, dtype, &bytes).expect("a matrix"));
        let x = on_grid(&mut random, 9, 96);
        let is_rounded = tier == Tier::Matrix && dtype != Dtype::F32 && n_out >= 512;
        // What is not rounded is as good as the bounds of f32 say, which are those of `x` on a grid of int8.
        let of = if is_rounded { Tier::Matrix } else { Tier::Dot };
        check_many_as(of, &runner, &format!("{tier} {dtype:?} {n_out}"), &matrix, &x);
    }
    // A router of full range in any tier: bit for bit what the plain kernels make of it.
    let mut random = Random::new(651);
    let matrix = Matrix::Dense(dense(&mut random, 128, 704, Dtype::BF16));
    let x = random.values(5 * 704, Spread::Outliers);
    let run = |tier| {
        let runner = runner(tier, Tuning::of(Kind::Nvidia))?;
        let (weights, count) = (upload(&matrix), compact(1, &[5]));
        let (x, y) = (tensor(704, &x), Output::new(5, 128));
        let planned =
            product::plan(&runner.planner, "router", &Product::new(&weights, Rows::Many(&count), &x, &y.tensor));
        Some(runner.run(&planned.expect("a plan"), 5, &[&y]).remove(0))
    };
    let plain = run(Tier::Plain).expect("every device is plain");
    for tier in [Tier::Dot, Tier::F16, Tier::Matrix] {
        if let Some(actual) = run(tier) {
            assert_close(&format!("{tier}"), &plain, &actual, |_| 0.0);
        }
    }
}

/// Any input in int8: an element is off by half a step of its block, the block's largest value / 254; and what shows that
/// something is wrong goes on showing it.
#[test]
fn int8_is_off_by_half_a_step() {
    let runner = runner(Tier::Dot, Tuning::of(Kind::Nvidia)).expect("every device has it");
    let mut random = Random::new(660);
    let spec = Spec { scales: Scales::Ordinary, ..Spec::new(65, 704, 128) };
    let matrix = Matrix::Packed(Unpacked::random(&mut random, spec).pack());
    for spread in [Spread::Normal, Spread::Outliers, Spread::Zero, Spread::Subnormal] {
        let x = random.values(7 * 704, spread);
        let steps: Vec<f32> = x
            .chunks_exact(704)
            .flat_map(|row| row.chunks(32))
            .flat_map(|block| vec![block.iter().fold(0.0f32, |most, v| most.max(v.abs())) / 254.0; block.len()])
            .collect();
        let (expected, exact) = (ops::matmul(&x, &matrix), tolerances(&x, &matrix));
        let mut row = vec![0.0; 704];
        let mut tolerance = exact;
        for n in 0..65 {
            matrix.row(n, &mut row).expect("a row");
            for (t, steps) in steps.chunks_exact(704).enumerate() {
                let off: f64 = steps.iter().zip(&row).map(|(&s, &w)| f64::from(s) * f64::from(w.abs())).sum();
                // Quotients of up to 127 are a few of their own epsilon off, which may turn a tie.
                tolerance[t * 65 + n] += off * (1.0 + 127.0 * 8.0 * EPS) + 704.0 * 1e-30;
            }
        }
        let (weights, count) = (upload(&matrix), compact(1, &[7]));
        let (x, y) = (tensor(704, &x), Output::new(7, 65));
        let planned =
            product::plan(&runner.planner, "product", &Product::new(&weights, Rows::Many(&count), &x, &y.tensor));
        let actual = runner.run(&planned.expect("a plan"), 7, &[&y]).remove(0);
        assert_close(&format!("{spread:?}"), &expected, &actual, |i| tolerance[i]);
    }
}

/// Infinity and NaN of one row make that row's results no numbers, and no other's.
#[test]
fn no_numbers_stay_none() {
    for tier in [Tier::Dot, Tier::Matrix] {
        let Some(runner) = runner(tier, Tuning::of(Kind::Nvidia)) else { continue };
        let mut random = Random::new(670);
        let spec = Spec { scales: Scales::Ordinary, ..Spec::new(65, 96, 32) };
        let matrix = Matrix::Packed(Unpacked::random(&mut random, spec).pack());
        let mut x = on_grid(&mut random, 4, 96);
        x[96 + 40] = f32::NAN;
        x[2 * 96 + 70] = f32::INFINITY;
        let (weights, count) = (upload(&matrix), compact(1, &[4]));
        let (x_tensor, y) = (tensor(96, &x), Output::new(4, 65));
        let planned = product::plan(
            &runner.planner,
            "product",
            &Product::new(&weights, Rows::Many(&count), &x_tensor, &y.tensor),
        );
        let actual = runner.run(&planned.expect("a plan"), 4, &[&y]).remove(0);
        for (t, row) in actual.chunks_exact(65).enumerate() {
            let finite = row.iter().filter(|v| v.is_finite()).count();
            assert_eq!(finite, if t == 0 || t == 3 { 65 } else { 0 }, "{tier}: numbers of row {t}");
        }
    }
}

/// A plan serves steps of up to a number of rows: the count, not the grid, says where a step ends.
#[test]
fn rows_beyond_the_count_are_left_alone() {
    for (tier, n_rows) in [(Tier::Dot, 33), (Tier::Matrix, 33), (Tier::Dot, 0), (Tier::Matrix, 0), (Tier::Plain, 33)] {
        let Some(runner) = runner(tier, Tuning::of(Kind::Nvidia)) else { continue };
        let mut random = Random::new(680);
        let spec = Spec { scales: Scales::Ordinary, ..Spec::new(65, 512, 32) };
        let matrix = Matrix::Packed(Unpacked::random(&mut random, spec).pack());
        let x = on_grid(&mut random, 70, 512);
        let (weights, count) = (upload(&matrix), compact(1, &[n_rows as u32]));
        let (x_tensor, y) = (tensor(512, &x), Output::new(70, 65));
        let planned = product::plan(
            &runner.planner,
            "product",
            &Product::new(&weights, Rows::Many(&count), &x_tensor, &y.tensor),
        );
        let actual = runner.run(&planned.expect("a plan"), 70, &[&y]).remove(0);
        let (written, rest) = actual.split_at(n_rows * 65);
        let of = if tier == Tier::Plain { Tier::Dot } else { tier };
        let (expected, tolerance) = expected(of, &x[..n_rows * 512], &matrix);
        assert_close(&format!("{tier}"), &expected, written, |i| tolerance[i]);
        assert!(rest.iter().all(|&v| is_untouched(v)), "{tier}: more than {n_rows} rows were written");
    }
}
