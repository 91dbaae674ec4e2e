//! `rms_norm.wgsl`: y[t] = x[t] / sqrt(mean(x[t]^2) + eps) * norms[weight].

use lapidary::testing::kernels::norm::rms_norm;
use lapidary::testing::kernels::norm::rms_norm::NormRow;
use lapidary::testing::kernels::rounding::int8_by_16::Outputs;
use lapidary::testing::reference::ops;

use crate::common::random::{Random, Spread};
use crate::common::tolerance::{assert_close, norm_tolerance};
use crate::common::{Output, Runner, by_row, tensor};

const EPS: f32 = 1e-6;

#[test]
fn shapes() {
    let mut random = Random::new(700);
    for threads in [32, 256, 1024] {
        for width in [1, 31, 32, 33, 255, 256, 260, 704, 768, 772, 1020, 1024, 1028, 1536, 1540, 2816, 4097, 6144, 6148]
        {
            for n_rows in [1, 3, 33] {
                let norms = random.values(3 * width, Spread::Normal);
                let x = random.values(n_rows * width, Spread::Outliers);
                check(&format!("{threads} threads, [{n_rows}, {width}]"), threads, &norms, width, &x);
            }
        }
    }
}

pub(super) fn check(what: &str, threads: u32, norms: &[f32], width: usize, x: &[f32]) {
    for runner in Runner::both_with_threads(threads) {
        check_with(&runner, what, threads, norms, width, x);
    }
}

fn check_with(runner: &Runner, what: &str, threads: u32, norms: &[f32], width: usize, x: &[f32]) {
    let n_rows = x.len() / width;
    let weight = &norms[2 * width..];
    let y = Output::new(n_rows, width);
    let planned = rms_norm::plan(
        &runner.planner,
        "rms_norm",
        NormRow { norms: &tensor(width, norms), row: 2 },
        &tensor(width, x),
        Outputs { y: &y.tensor, rounded: None },
        EPS,
    );
    let actual = runner.run_one(planned.expect("a plan"), n_rows, &y);
    let expected = by_row(x, width, |x| ops::rms_norm(x, Some(weight), EPS));
    let exact = vec![0.0; width];
    let tolerance: Vec<f64> = x
        .chunks_exact(width)
        .zip(expected.chunks_exact(width))
        .flat_map(|(x, y)| norm_tolerance(x, &exact, y, |i| weight[i], EPS, threads))
        .collect();
    assert_close(what, &expected, &actual, |i| tolerance[i]);
}

#[test]
fn small_and_zero_rows_stay_finite() {
    let norms = vec![1.0; 3 * 64];
    for value in [0.0, 1e-20, 1e-12, 1e15] {
        check(&format!("all {value}"), 32, &norms, 64, &[value; 64]);
    }
}
