//! `matvec.wgsl` gated and as a weighted sum: the forms that it has beside plain products (`product.rs`, `experts.rs`).

use lapidary::quant::{Dtype, Matrix};
use lapidary::testing::kernels::product::{Gated, Product, Rows, Summed, plan as plan_product};
use lapidary::testing::kernels::{Weights, WeightsBuilder};
use lapidary::testing::reference::ops;
use lapidary::testing::twins::{gated, products};

use super::matmul::{whole, whole_codes, whole_matrix};
use super::product::{Path, product};
use crate::common::matrices::{DTYPES, Order, Spec, Unpacked, dense};
use crate::common::random::{Random, Spread};
use crate::common::tolerance::assert_close;
use crate::common::{Output, Runner, compact, gpu, tensor};

/// Lanes that share rows: as on a CPU, fewer and more than are added up at once.
const LANES: [u32; 4] = [1, 8, 16, 64];

fn stack(matrices: &[Matrix], per_part: usize) -> Weights {
    let (n_out, n_in) = (matrices[0].out_features(), matrices[0].in_features());
    let row_bytes = match &matrices[0] {
        Matrix::Packed(m) => m.codes.len() * 4 / n_out,
        Matrix::RowShard(m) => m.codes.len() * 4 / n_out,
        Matrix::Dense(m) => m.words.len() * 4 / n_out,
    };
    let bytes = (per_part * n_out * row_bytes + 4) as u64;
    let mut builder = WeightsBuilder::new(gpu(), "stack", matrices.len(), n_out, n_in).max_part_bytes(bytes);
    for (e, matrix) in matrices.iter().enumerate() {
        builder.add(e, 0, matrix).expect("memory");
    }
    builder.finish().expect("a device")
}

fn matrices(random: &mut Random, count: usize, n_out: usize, n_in: usize) -> Vec<Vec<Matrix>> {
    let spec = |group_size, asymmetric, order| Spec { asymmetric, order, ..Spec::new(n_out, n_in, group_size) };
    let mut all: Vec<Vec<Matrix>> = Vec::new();
    for (i, spec) in
        [spec(32, false, Order::Sequential), spec(24, true, Order::Sequential), spec(32, true, Order::Shuffled)]
            .into_iter()
            .enumerate()
    {
        let spec = Spec { scale_dtype: DTYPES[i], bits: if i == 1 { 8 } else { 4 }, ..spec };
        all.push((0..count).map(|_| Matrix::Packed(Unpacked::random(random, spec).pack())).collect());
    }
    all.push((0..count).map(|_| Matrix::Dense(dense(random, n_out, n_in, Dtype::BF16))).collect());
    all
}

fn to(y: &Output) -> Gated<'_> {
    Gated { gate_up: None, y: &y.tensor, rounded: None }
}

pub(super) fn check_gated(n_out: usize, n_in: usize) {
    let mut random = Random::new(410);
    for matrix in matrices(&mut random, 1, 2 * n_out, n_in).concat() {
        let weights = stack(std::slice::from_ref(&matrix), 1);
        let x: Vec<f32> = random.values(3 * n_in, Spread::Normal).iter().map(|v| 0.1 * v).collect();
        for lanes in LANES {
            let (runner, y) = (Runner::with_lanes(lanes), Output::new(3, n_out));
            let x_tensor = tensor(n_in, &x);
            let planned =
                plan_product(&runner.planner, "gated", &Product::gated(&weights, Rows::Few, &x_tensor, to(&y)))
                    .expect("a plan");
            let actual = runner.run(&planned, 3, &[&y]).remove(0);
            for (t, x) in x.chunks_exact(n_in).enumerate() {
                let (expected, tolerance) = gated(&products(x, &matrix));
                let what = format!("[{n_out}, {n_in}], {lanes} lanes, row {t}");
                assert_close(&what, &expected, &actual[t * n_out..][..n_out], |i| tolerance[i]);
            }
        }
    }
}

#[test]
fn gates() {
    for (n_out, n_in) in [(1, 8), (3, 40), (33, 80), (64, 272), (5, 2816)] {
        check_gated(n_out, n_in);
    }
}

const IDS: [u32; 12] = [0, 4, 4, 1, 3, 0, 0, 0, 4, 1, 0, 4];

#[test]
fn gates_of_experts() {
    let mut random = Random::new(411);
    let (n_out, n_in, top_k) = (33, 80, 4);
    for stack_of in matrices(&mut random, 5, 2 * n_out, n_in) {
        for per_part in [5, 2] {
            let weights = stack(&stack_of, per_part);
            let x: Vec<f32> = random.values(IDS.len() / top_k * n_in, Spread::Normal).iter().map(|v| 0.1 * v).collect();
            let (runner, y) = (Runner::new(), Output::new(IDS.len(), n_out));
            let (x_tensor, ids) = (tensor(n_in, &x), compact(top_k, &IDS));
            let rows = Rows::Experts { ids: &ids, repeat: top_k, several: false };
            let planned = plan_product(&runner.planner, "gated", &Product::gated(&weights, rows, &x_tensor, to(&y)))
                .expect("a plan");
            let actual = runner.run(&planned, IDS.len() / top_k, &[&y]).remove(0);
            for (p, &e) in IDS.iter().enumerate() {
                let (x, matrix) = (&x[p / top_k * n_in..][..n_in], &stack_of[e as usize]);
                let (expected, tolerance) = gated(&products(x, matrix));
                let what = format!("row {p}, expert {e}, {per_part} a part");
                assert_close(&what, &expected, &actual[p * n_out..][..n_out], |i| tolerance[i]);
            }
        }
    }
}

/// A token's experts added up, also where they lie in several parts, and where a rank holds some of them only.
pub(super) fn check_sum(held: std::ops::Range<usize>, n_out: usize, n_in: usize) {
    let (mut random, top_k) = (Random::new(412), 4);
    for stack_of in matrices(&mut random, 5, n_out, n_in) {
        let x = random.values(IDS.len() * n_in, Spread::Outliers);
        let factors: Vec<f32> = IDS.iter().map(|_| random.uniform()).collect();
        for (per_part, lanes) in [(5, 1), (2, 16), (1, 64), (5, 8)] {
            let mut weights = stack(&stack_of[held.clone()], per_part);
            weights.first_matrix = held.start;
            let (runner, y) = (Runner::with_lanes(lanes), Output::new(IDS.len() / top_k, n_out));
            let (x_tensor, ids, factors_tensor) = (tensor(n_in, &x), compact(top_k, &IDS), compact(top_k, &factors));
            let held = held.clone();
            let to = Summed { ids: &ids, factors: &factors_tensor, held: held.clone(), products: None, y: &y.tensor };
            let rows = Rows::Experts { ids: &ids, repeat: 1, several: false };
            let sum = Product::summed(&weights, rows, &x_tensor, to);
            let planned = plan_product(&runner.planner, "sum", &sum).expect("a plan");
            let actual = runner.run(&planned, IDS.len() / top_k, &[&y]).remove(0);
            for (t, actual) in actual.chunks_exact(n_out).enumerate() {
                let slots = (t * top_k..(t + 1) * top_k).filter(|&slot| held.contains(&(IDS[slot] as usize)));
                let (mut expected, mut tolerance) = (vec![0.0f64; n_out], vec![1e-30; n_out]);
                for slot in slots {
                    let (x, matrix) = (&x[slot * n_in..][..n_in], &stack_of[IDS[slot] as usize]);
                    let (y, of_y) = products(x, matrix);
                    for n in 0..n_out {
                        let factor = f64::from(factors[slot]);
                        expected[n] += factor * f64::from(y[n]);
                        // The tolerance of a product is a multiple of the sum of its terms' sizes, as a longer sum's is.
                        tolerance[n] += 2.0 * factor.abs() * of_y[n];
                    }
                }
                let expected: Vec<f32> = expected.into_iter().map(|v| v as f32).collect();
                let what = format!("experts {held:?}, {per_part} a part, {lanes} lanes, row {t}");
                assert_close(&what, &expected, actual, |n| tolerance[n]);
            }
        }
    }
}

#[test]
fn sums_of_experts() {
    for (held, n_out, n_in) in [(0..5, 1, 8), (0..5, 33, 80), (0..2, 33, 80), (2..5, 5, 704), (3..4, 17, 40)] {
        check_sum(held, n_out, n_in);
    }
}

/// Whole numbers add up exactly in any order, so that each lane, chunk and tail must give the twin's number to the bit.
pub(super) fn check_whole(shapes: &[(usize, usize)]) {
    let mut random = Random::new(413);
    for &(n_out, n_in) in shapes {
        let spec = Spec { asymmetric: true, ..Spec::new(n_out, n_in, 16) };
        for matrix in [whole_matrix(&mut random, n_out, n_in), whole_codes(&mut random, spec)] {
            let (weights, x) = (stack(std::slice::from_ref(&matrix), 1), whole(&mut random, 2 * n_in, 15));
            for lanes in LANES {
                let actual = product(&Runner::with_lanes(lanes), Path::Matvec, &weights, &x, 0.0);
                for (t, (x, actual)) in x.chunks_exact(n_in).zip(actual.chunks_exact(n_out)).enumerate() {
                    let what = format!("[{n_out}, {n_in}], {lanes} lanes, row {t}");
                    assert_close(&what, &ops::matvec(x, &matrix), actual, |_| 0.0);
                }
            }
        }
    }
}

#[test]
fn whole_numbers_are_exact() {
    check_whole(&[(1, 1), (7, 9), (63, 33), (65, 41), (130, 272), (5, 2816)]);
}
