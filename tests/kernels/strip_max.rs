//! `strip_max.wgsl`: the largest of each strip of 64, in an order of integers.

use lapidary::testing::kernels::choice::strip_max;
use lapidary::testing::reference::ops;

use crate::common::random::Spread;
use crate::common::{Output, Runner, fresh, tensor};

pub(super) fn check(what: &str, width: usize, logits: &[f32]) {
    let n_rows = logits.len() / width;
    let strips = strip_max::strips(width);
    let (runner, maxima) = (Runner::new(), Output::compact(n_rows, strips));
    let planned = strip_max::plan(&runner.planner, "strip_max", &tensor(width, logits), &maxima.tensor);
    let actual = runner.run_raw_rows(planned.expect("a plan"), &maxima, n_rows);
    for (row, (logits, actual)) in logits.chunks_exact(width).zip(actual.chunks_exact(strips)).enumerate() {
        assert_eq!(actual, ops::strip_max(logits), "{what}, width {width}, row {row}");
    }
}

#[test]
fn every_strip() {
    let mut random = fresh(780);
    for width in [1, 3, 63, 64, 65, 256, 257, 4096, 4101, 20_000] {
        check("random", width, &random.values(3 * width, Spread::Outliers));
        check("negative", width, &random.values(width, Spread::Uniform).iter().map(|v| v - 2.0).collect::<Vec<_>>());
        check("subnormal", width, &random.values(width, Spread::Subnormal));
    }
}

#[test]
fn special_values() {
    for value in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN, -0.0] {
        check("alone", 1, &[value]);
        check("all", 70, &[value; 140]);
        let mut one = vec![-1.0; 300];
        one[130] = value;
        check("one", 300, &one);
    }
}
