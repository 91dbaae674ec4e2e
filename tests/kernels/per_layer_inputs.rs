//! `per_layer_inputs.wgsl`: y = (rms(context * scale) * norm + tokens) / sqrt(2), layer by layer.

use lapidary::testing::kernels::norm::per_layer_inputs;
use lapidary::testing::kernels::norm::per_layer_inputs::PerLayerInputs;
use lapidary::testing::kernels::tuning;
use lapidary::testing::reference::ops;

use crate::common::random::{Random, Spread};
use crate::common::tolerance::{EPS, assert_close, norm_tolerance};
use crate::common::{Output, Runner, compact, tensor};

pub(super) fn check(random: &mut Random, n_rows: usize, layers: usize, n: usize, spread: Spread) {
    let (scale, eps) = (0.0255, 1e-6);
    let width = layers * n;
    let (context, tokens) = (random.values(n_rows * width, spread), random.values(n_rows * width, Spread::Normal));
    let norm = random.values(n, Spread::Normal);
    let (runner, y) = (Runner::new(), Output::new(n_rows, width));
    let inputs = PerLayerInputs {
        context: &tensor(width, &context),
        tokens: &tensor(width, &tokens),
        norm: &compact(n, &norm),
        y: &y.tensor,
        scale,
        eps,
    };
    let planned = per_layer_inputs::plan(&runner.planner, "per_layer_inputs", &inputs);
    let actual = runner.run_one(planned.expect("a plan"), n_rows, &y);
    let parts = context.chunks_exact(n).zip(tokens.chunks_exact(n)).zip(actual.chunks_exact(n));
    for (part, ((context, tokens), actual)) in parts.enumerate() {
        let expected = ops::per_layer_inputs(context, tokens, &norm, scale, eps);
        let scaled: Vec<f32> = context.iter().map(|v| v * scale).collect();
        let normed = ops::rms_norm(&scaled, Some(&norm), eps);
        let rounding: Vec<f64> = scaled.iter().map(|v| EPS * f64::from(v.abs())).collect();
        let threads = tuning(&runner.planner).norms.threads;
        let tolerance = norm_tolerance(&scaled, &rounding, &normed, |i| norm[i], eps, threads);
        let what = format!("{n_rows} rows, {layers} layers of {n}, part {part}");
        assert_close(&what, &expected, actual, |i| {
            tolerance[i] + 4.0 * EPS * f64::from(expected[i].abs() + tokens[i].abs())
        });
    }
}

#[test]
fn shapes() {
    let mut random = Random::new(800);
    for (n_rows, layers, n) in [(1, 1, 1), (1, 3, 32), (3, 35, 256), (2, 5, 33), (7, 2, 64)] {
        for spread in [Spread::Normal, Spread::Outliers] {
            check(&mut random, n_rows, layers, n, spread);
        }
    }
}
