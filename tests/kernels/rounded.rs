//! Activations rounded to int8, and the products of `matvec.wgsl` that read them; `int8_by_16.rs` has the rounding alone.

use lapidary::gpu::Tier;
use lapidary::quant::Matrix;
use lapidary::testing::gpu::Tensor;
use lapidary::testing::kernels::Planned;
use lapidary::testing::kernels::product::{self, Gated, Product, Rows};
use lapidary::testing::kernels::rounding::int8_by_16;
use lapidary::testing::kernels::rounding::int8_by_16::Input;
use lapidary::testing::kernels::tuning::{MatvecTuning, Shape};
use lapidary::testing::kernels::tuning_mut;
use lapidary::testing::reference::ops;
use lapidary::testing::twins;

use super::product::{tolerances, upload};
use crate::common::matrices::{DTYPES, Order, Spec, Unpacked};
use crate::common::random::{Random, Spread};
use crate::common::tolerance::{EPS, assert_close};
use crate::common::{Output, Runner, compact, gpu, tensor};

/// Words of a chunk of 32.
const CHUNK_WORDS: usize = twins::ROUNDED_WORDS;

/// Rounded activations on the device, with guard words behind their rows.
pub(super) fn output(rows: usize, width: usize) -> Output {
    Output::compact(rows, width.div_ceil(32) * CHUNK_WORDS)
}

/// The values that the words of one row stand for; checks that scaled sums are those of the codes.
pub(super) fn values_of(words: &[u32], width: usize) -> Vec<f32> {
    let (values, sums) = twins::rounded_values(words, width);
    for (scale, total, sum) in sums {
        assert_close("scaled sum of codes", &[scale * total as f32], &[sum], |_| 1e-6 * f64::from(scale.abs()));
    }
    values
}

/// Checks that `words` are `x` to half a step of each block of 16.
pub(super) fn assert_rounded(what: &str, x: &[f32], words: &[u32]) {
    let values = values_of(words, x.len());
    for (block, (x, values)) in x.chunks(16).zip(values.chunks(16)).enumerate() {
        let tolerance = twins::of_rounding(x);
        assert_close(&format!("{what}: block {block}"), x, values, |_| tolerance);
    }
}

/// Rounds `x` on the device.
pub(super) fn round(runner: &Runner, width: usize, x: &[f32]) -> (Tensor, Vec<f32>) {
    let (rows, out) = (x.len() / width, output(x.len() / width, width));
    // Blocks beyond a row's end are not written, and zero.
    gpu().write(&out.tensor.buffer, 0, &vec![0u32; rows * out.tensor.stride]).expect("an upload");
    let planned = int8_by_16::plan(&runner.planner, "round", &tensor(width, x), &out.tensor).expect("a plan");
    let words = runner.run_raw_rows(planned, &out, rows);
    let mut values = Vec::new();
    for (x, words) in x.chunks_exact(width).zip(words.chunks_exact(out.tensor.stride)) {
        assert_rounded(&format!("width {width}"), x, words);
        values.extend(values_of(words, width));
    }
    (out.tensor.clone(), values)
}

pub(super) fn dot(lanes: u32) -> Runner {
    let mut runner = Runner::with_lanes(lanes);
    (runner.planner.tier, runner.planner.few_tier) = (Tier::Dot, Tier::Dot);
    runner
}

fn specs(n_out: usize, n_in: usize) -> Vec<Spec> {
    let mut all = Vec::new();
    for (i, group_size) in [32, 64, 128, n_in.next_multiple_of(32)].into_iter().enumerate() {
        for bits in [4, 8] {
            let order = Order::Sequential;
            let (scale_dtype, asymmetric) = (DTYPES[i % 3], i % 2 == 1);
            all.push(Spec { bits, asymmetric, order, scale_dtype, ..Spec::new(n_out, n_in, group_size) });
        }
    }
    all
}

/// The rows of a step of few rows; `count` says how many they are.
pub(super) fn few_rows(n_rows: usize, count: &Tensor) -> Rows<'_> {
    match n_rows {
        1 => Rows::Few,
        2 => Rows::Two,
        _ => Rows::Several(count),
    }
}

/// A product of several rows with codes of `bits`, for planted bugs.
pub(super) fn check_bits(bits: u32, n_rows: usize) {
    let mut random = Random::new(903);
    let spec = Spec { bits, asymmetric: true, ..Spec::new(33, 80, 32) };
    let matrix = Matrix::Packed(Unpacked::random(&mut random, spec).pack());
    check(&dot(8), &matrix, &random.values(n_rows * 80, Spread::Normal), n_rows);
}

/// A product of which `lanes` lanes share each row of weights, for planted bugs.
pub(super) fn check_lanes(lanes: u32) {
    let mut random = Random::new(905);
    let matrix = Matrix::Packed(Unpacked::random(&mut random, Spec::new(17, 2112, 32)).pack());
    check(&dot(lanes), &matrix, &random.values(2112, Spread::Normal), 1);
}

/// Products of rounded activations are those of what the codes stand for: integers add up exactly, so that the tolerance
/// is that of f32 products.
#[test]
fn products_of_all_forms() {
    let mut random = Random::new(901);
    for (n_out, n_in) in [(1, 32), (33, 80), (64, 272), (5, 704), (17, 2112)] {
        for spec in specs(n_out, n_in) {
            let matrix = Matrix::Packed(Unpacked::random(&mut random, spec).pack());
            for (lanes, n_rows) in [(1, 1), (64, 5), (16, 2)] {
                check(&dot(lanes), &matrix, &random.values(n_rows * n_in, Spread::Outliers), n_rows);
            }
        }
    }
}

/// With the shapes and constant loop bounds of GPUs.
#[test]
fn products_as_gpus_run_them() {
    as_gpus_do(MatvecTuning::filling(1 << 10));
}

/// The same with a round of chunks at a time, for few registers.
#[test]
fn products_as_gpus_of_few_registers_run_them() {
    as_gpus_do(FEW_REGISTERS);
}

pub(super) const FEW_REGISTERS: MatvecTuning =
    MatvecTuning { rolled: true, by_words: true, ..MatvecTuning::lean(1 << 10) };

fn as_gpus_do(tuning: MatvecTuning) {
    let mut random = Random::new(904);
    let mut runner = Runner::new();
    tuning_mut(&mut runner.planner).matvec = tuning;
    for (tier, bits, n_rows) in [
        (Tier::Dot, 4, 1),
        (Tier::Dot, 4, 2),
        (Tier::Dot, 4, 5),
        (Tier::Dot, 8, 1),
        (Tier::Dot, 8, 2),
        (Tier::Plain, 4, 1),
    ] {
        (runner.planner.tier, runner.planner.few_tier) = (tier, tier);
        let spec = Spec { bits, asymmetric: true, ..Spec::new(33, 2112, 128) };
        let matrix = Matrix::Packed(Unpacked::random(&mut random, spec).pack());
        let x = random.values(n_rows * 2112, Spread::Normal);
        match tier {
            Tier::Plain => {
                let y = super::product::product(&runner, super::product::Path::Matvec, &upload(&matrix), &x, 0.0);
                let tolerance = tolerances(&x, &matrix);
                assert_close("plain", &ops::matmul(&x, &matrix), &y, |i| tolerance[i]);
            }
            _ => check(&runner, &matrix, &x, n_rows),
        }
    }
}

fn check(runner: &Runner, matrix: &Matrix, x: &[f32], n_rows: usize) {
    let (n_out, n_in) = (matrix.out_features(), matrix.in_features());
    let weights = upload(matrix);
    let (codes, values) = round(runner, n_in, x);
    let (x_tensor, count, y) = (tensor(n_in, x), compact(1, &[n_rows as u32]), Output::new(n_rows, n_out));
    let rows = few_rows(n_rows, &count);
    let input = Input { x: &x_tensor, rounded: Some(&codes) };
    let planned: Vec<Planned> =
        product::plan(&runner.planner, "product", &Product::new(&weights, rows, input, &y.tensor)).expect("a plan");
    let actual = runner.run(&planned, n_rows, &[&y]).remove(0);
    let expected = ops::matmul(&values, matrix);
    let tolerance = tolerances(&values, matrix);
    assert_close(&format!("[{n_out}, {n_in}], {n_rows} rows"), &expected, &actual, |i| tolerance[i]);
}

/// Gated products come out rounded too.
#[test]
fn gated_products_come_out_rounded() {
    let mut random = Random::new(902);
    for (n_out, n_in) in [(1, 32), (16, 64), (33, 80), (48, 704), (704, 96)] {
        let matrix = Matrix::Packed(Unpacked::random(&mut random, Spec::new(2 * n_out, n_in, 32)).pack());
        let weights = upload(&matrix);
        let fixed = |lanes| MatvecTuning::fixed(Shape { threads: 8 * lanes, lanes, lane_rows: 4 });
        for (tuning, n_rows) in [(fixed(1), 1), (fixed(1), 5), (fixed(4), 2), (FEW_REGISTERS, 1), (FEW_REGISTERS, 5)] {
            let mut runner = dot(1);
            tuning_mut(&mut runner.planner).matvec = tuning;
            let x = random.values(n_rows * n_in, Spread::Normal);
            let (codes, values) = round(&runner, n_in, &x);
            let (x_tensor, count) = (tensor(n_in, &x), compact(1, &[n_rows as u32]));
            let (y, words) = (Output::new(n_rows, n_out), output(n_rows, n_out));
            let rows = few_rows(n_rows, &count);
            let input = Input { x: &x_tensor, rounded: Some(&codes) };
            let to = Gated { gate_up: None, y: &y.tensor, rounded: Some(&words.tensor) };
            let gated = Product::gated(&weights, rows, input, to);
            let planned = product::plan(&runner.planner, "gated", &gated).expect("a plan");
            let actual = runner.run(&planned, n_rows, &[&y]).remove(0);
            let words_of = runner.run_raw_rows(planned.into_iter().next().expect("one part"), &words, n_rows);
            for (t, values) in values.chunks_exact(n_in).enumerate() {
                let row = &actual[t * n_out..][..n_out];
                let products = ops::matmul(values, &matrix);
                let expected = ops::gelu_mul(&products[..n_out], &products[n_out..]);
                let of_products = tolerances(values, &matrix);
                assert_close("gated", &expected, row, |i| {
                    let (gate, up) = (f64::from(products[i].abs()), f64::from(products[n_out + i].abs()));
                    let of_gelu = 1.13 * of_products[i] + 16.0 * EPS * gate;
                    of_gelu * (up + of_products[n_out + i])
                        + gate * of_products[n_out + i]
                        + 2.0 * EPS * gate * up
                        + 1e-30
                });
                // Blocks beyond the last column are not written.
                let written = &words_of[t * words.tensor.stride..][..words.tensor.stride];
                let chunks = written.len() / CHUNK_WORDS;
                for block in 0..n_out.div_ceil(16) {
                    let (chunk, half) = (block / 2, block % 2);
                    let mut one = vec![0u32; CHUNK_WORDS];
                    one[..4].copy_from_slice(&written[4 * (half * chunks + chunk)..][..4]);
                    let scales = &written[4 * (2 * chunks + chunk)..][..4];
                    (one[8], one[10]) = (scales[half], scales[2 + half]);
                    let of_block = &row[16 * block..n_out.min(16 * block + 16)];
                    assert_rounded(&format!("[{n_out}, {n_in}] row {t} block {block}"), of_block, &one);
                }
            }
        }
    }
}
