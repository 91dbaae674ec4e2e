//! `gelu_mul.wgsl`: y = gelu(gate) * up with the tanh form of GELU.

use lapidary::testing::kernels::product::gelu_mul;
use lapidary::testing::reference::ops;
use lapidary::testing::twins;

use crate::common::random::{Random, Spread};
use crate::common::tolerance::{EPS, assert_close};
use crate::common::{Output, Runner, tensor};

pub(super) fn check(what: &str, width: usize, gate: &[f32], up: &[f32], rows_per_row: usize) {
    let n_rows = gate.len() / width;
    let (runner, y) = (Runner::new(), Output::new(n_rows, width));
    let (gate_tensor, up_tensor) = (tensor(width, gate), tensor(width, up));
    let planned = gelu_mul::plan(&runner.planner, "gelu_mul", &gate_tensor, &up_tensor, 0, &y.tensor, rows_per_row);
    let actual = runner.run_one(planned.expect("a plan"), n_rows / rows_per_row, &y);
    let (expected, tolerance) = twins::gelu_mul(gate, up);
    assert_close(what, &expected, &actual, |i| tolerance[i]);
}

#[test]
fn shapes() {
    let mut random = Random::new(740);
    for width in [1, 63, 64, 65, 704, 2112] {
        for (n_rows, rows_per_row) in [(1, 1), (3, 1), (8, 8), (24, 8)] {
            let gate = random.values(n_rows * width, Spread::Outliers);
            let up = random.values(n_rows * width, Spread::Normal);
            check(&format!("[{n_rows}, {width}]"), width, &gate, &up, rows_per_row);
        }
    }
}

/// A layer's columns of the per-layer inputs: up is wider than gate and starts behind its first columns.
#[test]
fn columns_of_a_wider_tensor() {
    let mut random = Random::new(741);
    let (n_rows, width, all) = (3, 40, 200);
    let (gate, up) = (random.values(n_rows * width, Spread::Normal), random.values(n_rows * all, Spread::Normal));
    let (gate_tensor, up_tensor) = (tensor(width, &gate), tensor(all, &up));
    for offset in [0, 40, 160] {
        let (runner, y) = (Runner::new(), Output::new(n_rows, width));
        let planned = gelu_mul::plan(&runner.planner, "gelu_mul", &gate_tensor, &up_tensor, offset, &y.tensor, 1);
        let actual = runner.run_one(planned.expect("a plan"), n_rows, &y);
        let columns: Vec<f32> = up.chunks_exact(all).flat_map(|row| &row[offset..offset + width]).copied().collect();
        assert_close(&format!("from column {offset}"), &ops::gelu_mul(&gate, &columns), &actual, |i| {
            8.0 * EPS * f64::from(gate[i].abs()) * f64::from(columns[i].abs()) + f64::from(f32::MIN_POSITIVE)
        });
    }
}

#[test]
fn large_and_small_inputs() {
    let mut gate: Vec<f32> = (-400..=400).map(|i| i as f32 / 40.0).collect();
    for value in [11.0, 15.0, 50.0, 100.0, 1e3, 1e4, 3e12, 1e20, 1e-3, 1e-10, 1e-30, 0.0] {
        gate.extend([value, -value]);
    }
    for up in [1.0, -3.0] {
        check("a sweep", gate.len(), &gate, &vec![up; gate.len()], 1);
    }
}
