//! Steps of two rows, which share each weight they read: `matvec.wgsl` with `X_ROWS` 2 and rounded activations.

use std::ops::Range;

use lapidary::gpu::Tier;
use lapidary::quant::Matrix;
use lapidary::testing::gpu::Tensor;
use lapidary::testing::kernels::product::{self, Product, Rows};
use lapidary::testing::kernels::rounding::int8_by_16::Input;
use lapidary::testing::kernels::tuning::MatvecTuning;
use lapidary::testing::kernels::tuning_mut;
use lapidary::testing::kernels::{Planned, Weights};

use super::planted::{bug, sees};
use super::probes::{columns, interesting, one_hot};
use super::product::{tolerances, upload};
use super::rounded::{FEW_REGISTERS, dot, round};
use crate::common::matrices::{DTYPES, Spec, Unpacked};
use crate::common::random::{Random, Spread};
use crate::common::tolerance::{assert_close, check_exact};
use crate::common::{Output, Runner, compact, tensor};

/// Words of a chunk of 32.
const CHUNK_WORDS: usize = 12;

/// Rows that are 1 at one input feature each, rounded without an error: code 1, scale 1.
fn one_hot_codes(width: usize, ks: &[usize]) -> Tensor {
    let chunks = width.div_ceil(32);
    let mut words = vec![0u32; ks.len() * chunks * CHUNK_WORDS];
    for (row, &k) in words.chunks_exact_mut(chunks * CHUNK_WORDS).zip(ks) {
        let (chunk, half, i) = (k / 32, k % 32 / 16, k % 16);
        row[4 * (half * chunks + chunk) + 2 * (i / 8) + i % 2] = 1 << (8 * (i % 8 / 2));
        let scales = &mut row[4 * (2 * chunks + chunk)..][..4];
        (scales[half], scales[2 + half]) = (1f32.to_bits(), 1f32.to_bits());
    }
    compact(chunks * CHUNK_WORDS, &words)
}

fn product(runner: &Runner, weights: &Weights, rows: Rows, input: Input, n_rows: usize) -> Vec<f32> {
    let y = Output::new(n_rows, weights.out_features);
    let planned: Vec<Planned> =
        product::plan(&runner.planner, "product", &Product::new(weights, rows, input, &y.tensor)).expect("a plan");
    runner.run(&planned, n_rows, &[&y]).remove(0)
}

/// Each row of a pair is its own column of the dequantized matrix bit for bit, whatever the other one is.
fn probe(runner: &Runner, full: &Unpacked, rows: Range<usize>, ks: &[usize]) {
    let weights = upload(&Matrix::RowShard(full.shard(rows.clone())));
    assert!(weights.has_whole_chunks(), "rounded activations");
    for (i, &k) in ks.iter().enumerate() {
        let pair = [k, ks[(i + 1) % ks.len()]];
        let (x, codes) = (tensor(rows.len(), &one_hot(rows.len(), &pair)), one_hot_codes(rows.len(), &pair));
        let actual = product(runner, &weights, Rows::Two, Input { x: &x, rounded: Some(&codes) }, 2);
        let what = |e| format!("rows {rows:?} of {:?}, columns {pair:?}: {e}", full.spec);
        check_exact(&columns(full, &rows, &pair), &actual).map_err(what).unwrap_or_else(|e| panic!("{e}"));
    }
}

#[test]
fn columns_of_a_pair() {
    let mut random = Random::new(960);
    // Whole matrices, one that ends inside a chunk, and shards that start and end at chunks inside a group.
    for (n_out, n_in, group_size, rows) in [
        (1, 32, 32, 0..32),
        (5, 80, 32, 0..80),
        (33, 272, 64, 0..272),
        (6, 704, 128, 0..704),
        (9, 704, 128, 32..352),
        (7, 704, 704, 352..704),
    ] {
        for (i, bits) in [4, 8].into_iter().enumerate() {
            let spec = Spec { bits, asymmetric: i == 0, scale_dtype: DTYPES[i], ..Spec::new(n_out, n_in, group_size) };
            let full = Unpacked::random(&mut random, spec);
            let ks = interesting(&mut random, &full, &rows);
            probe(&dot(if i == 0 { 1 } else { 16 }), &full, rows.clone(), &ks);
        }
    }
}

/// With the lanes and the constant loop bounds of GPUs.
#[test]
fn columns_of_a_pair_as_gpus_run_them() {
    let mut random = Random::new(961);
    for (bits, n_in) in [(4, 704), (8, 352)] {
        let full = Unpacked::random(&mut random, Spec { bits, asymmetric: true, ..Spec::new(9, n_in, 128) });
        let ks = interesting(&mut random, &full, &(0..n_in));
        probe(&filling(MatvecTuning::filling(1 << 10)), &full, 0..n_in, &ks);
        probe(&filling(FEW_REGISTERS), &full, 0..n_in, &ks);
    }
}

fn filling(tuning: MatvecTuning) -> Runner {
    let mut runner = Runner::new();
    (runner.planner.tier, runner.planner.few_tier) = (Tier::Dot, Tier::Dot);
    tuning_mut(&mut runner.planner).matvec = tuning;
    runner
}

/// A row's products do not depend on the row beside it, but for the order of additions: each of both is within the
/// tolerance of the exact sum.
pub(super) fn check_alone(runner: &Runner, bits: u32, n_out: usize, n_in: usize) {
    let mut random = Random::new(962);
    let spec = Spec { bits, asymmetric: true, ..Spec::new(n_out, n_in, 32) };
    let matrix = Matrix::Packed(Unpacked::random(&mut random, spec).pack());
    let weights = upload(&matrix);
    let x = random.values(2 * n_in, Spread::Outliers);
    let run = |x: &[f32], rows| {
        let (codes, values) = round(runner, n_in, x);
        let input = Input { x: &tensor(n_in, x), rounded: Some(&codes) };
        (product(runner, &weights, rows, input, x.len() / n_in), values)
    };
    let (both, values) = run(&x, Rows::Two);
    for (t, x) in x.chunks_exact(n_in).enumerate() {
        let tolerance = tolerances(&values[t * n_in..][..n_in], &matrix);
        let what = format!("{bits} bits, [{n_out}, {n_in}], row {t}");
        assert_close(&what, &run(x, Rows::Few).0, &both[t * n_out..][..n_out], |n| 2.0 * tolerance[n]);
    }
}

#[test]
fn rows_of_a_pair_are_what_they_are_alone() {
    let many = MatvecTuning::filling(1 << 10);
    for (runner, bits, n_out, n_in) in [
        (dot(1), 4, 17, 2112),
        (dot(64), 8, 33, 80),
        (filling(many), 4, 33, 704),
        (filling(many), 8, 33, 704),
        (filling(FEW_REGISTERS), 4, 33, 704),
        (filling(FEW_REGISTERS), 8, 33, 704),
        // More rows of weights are shaped otherwise.
        (filling(many), 4, 8193, 96),
        (filling(many), 8, 65537, 32),
    ] {
        check_alone(&runner, bits, n_out, n_in);
    }
}

#[test]
fn bugs_of_two_rows_are_caught() {
    let as_a_cpu = || check_alone(&dot(1), 4, 5, 96);
    as_a_cpu();
    sees(bug("one row of x", "chunk_of((slot + t) / params.x_repeat, chunk)", "chunk_of(slot, chunk)"), as_a_cpu);
    let as_a_gpu = || check_alone(&filling(MatvecTuning::filling(1 << 10)), 4, 5, 96);
    as_a_gpu();
    sees(bug("second row as the first", "chunk_of(slot + 1u, chunk)", "chunk_of(slot, chunk)"), as_a_gpu);
}
