//! `moe_combine.wgsl`: the weighted sum of the experts, three norms, and the end of a mixture-of-experts layer.

use lapidary::kernels::moe_combine::{self, MoeCombine};
use lapidary::reference::ops;

use crate::common::random::{Random, Spread};
use crate::common::tolerance::{EPS as ULP, assert_close, norm_tolerance};
use crate::common::{Output, Runner, compact, tensor};

const EPS: f32 = 1e-6;

#[test]
fn shapes() {
    let mut random = Random::new(720);
    for threads in [32, 256] {
        for (width, top_k, n_rows, scalar) in [
            (1, 1, 1, 1.0),
            (31, 2, 3, 0.7),
            (33, 8, 1, -1.5),
            (255, 3, 2, 1.0),
            // A lane holds one quad more from each multiple of 4 * threads on, up to six; then rows are walked.
            (124, 2, 2, 1.0),
            (132, 8, 5, 0.25),
            (768, 2, 2, -0.5),
            (772, 3, 1, 1.0),
            (1028, 2, 2, 0.3),
            (2816, 8, 3, 0.9),
        ] {
            check(&mut random, threads, width, top_k, n_rows, scalar);
        }
    }
}

pub(super) fn check(random: &mut Random, threads: u32, width: usize, top_k: usize, n_rows: usize, scalar: f32) {
    let what = format!("{threads} threads, [{n_rows}, {width}], top {top_k}");
    let runner = Runner::with_threads(threads);
    let norms = random.values(7 * width, Spread::Normal);
    let norm = |row: usize| &norms[row * width..][..width];
    let mlp = random.values(n_rows * width, Spread::Outliers);
    let products = random.values(n_rows * top_k * width, Spread::Outliers);
    let weights: Vec<f32> = (0..n_rows * top_k).map(|_| random.uniform().abs()).collect();
    let h = random.values(n_rows * width, Spread::Outliers);
    let (experts, y, h_out) = (Output::new(n_rows, width), Output::new(n_rows, width), Output::in_place(width, &h));
    let arguments = MoeCombine {
        mlp: &tensor(width, &mlp),
        products: Some((&tensor(width, &products), &compact(top_k, &weights))),
        norms: &tensor(width, &norms),
        norm_rows: [5, 0, 3, 6],
        scalar,
        eps: EPS,
        experts: &experts.tensor,
        h: &h_out.tensor,
        y: &y.tensor,
    };
    let planned = moe_combine::plan(&runner.planner, "moe_combine", &arguments).expect("a plan");
    let results = runner.run(&[planned], n_rows, &[&experts, &h_out, &y]);
    // With the sum at hand the rest is the same, bit for bit.
    let (given, h_given, y_given) =
        (Output::in_place(width, &results[0]), Output::in_place(width, &h), Output::new(n_rows, width));
    let summed =
        MoeCombine { products: None, experts: &given.tensor, h: &h_given.tensor, y: &y_given.tensor, ..arguments };
    let planned = moe_combine::plan(&runner.planner, "moe_combine", &summed).expect("a plan");
    assert_eq!(runner.run(&[planned], n_rows, &[&given, &h_given, &y_given]), results, "{what}: of a sum");
    let abs = |v: f32| f64::from(v.abs());
    for t in 0..n_rows {
        let row = t * width..(t + 1) * width;
        // The sum over the experts in f64; each of top_k products and additions rounds.
        let terms = |i: usize| {
            let (weights, products) = (&weights, &products);
            (t * top_k..(t + 1) * top_k).map(move |p| f64::from(weights[p]) * f64::from(products[p * width + i]))
        };
        let sum: Vec<f32> = (0..width).map(|i| terms(i).sum::<f64>() as f32).collect();
        let of_sum: Vec<f64> =
            (0..width).map(|i| (top_k + 1) as f64 * ULP * terms(i).map(f64::abs).sum::<f64>()).collect();
        assert_close(&format!("{what}: experts of row {t}"), &sum, &results[0][row.clone()], |i| of_sum[i]);
        let mlp = &mlp[row.clone()];
        let mut expected = h[row.clone()].to_vec();
        ops::moe_combine(&mut expected, mlp, &sum, [norm(5), norm(0), norm(3)], scalar, EPS);
        // The same chain for the tolerances.
        let zeros = vec![0.0; width];
        let a = ops::rms_norm(mlp, Some(norm(5)), EPS);
        let b = ops::rms_norm(&sum, Some(norm(0)), EPS);
        let of_a = norm_tolerance((mlp, &zeros), &a, |i| norm(5)[i], EPS, threads);
        let of_b = norm_tolerance((&sum, &of_sum), &b, |i| norm(0)[i], EPS, threads);
        let m: Vec<f32> = a.iter().zip(&b).map(|(a, b)| a + b).collect();
        let of_m: Vec<f64> = (0..width).map(|i| of_a[i] + of_b[i] + 2.0 * ULP * (abs(a[i]) + abs(b[i]))).collect();
        let normed = ops::rms_norm(&m, Some(norm(3)), EPS);
        let of_normed = norm_tolerance((&m, &of_m), &normed, |i| norm(3)[i], EPS, threads);
        let of_h: Vec<f64> = (0..width)
            .map(|i| abs(scalar) * (of_normed[i] + 2.0 * ULP * (abs(h[row.start + i]) + abs(normed[i]))))
            .collect();
        assert_close(&format!("{what}: h of row {t}"), &expected, &results[1][row.clone()], |i| of_h[i]);
        let next = ops::rms_norm(&expected, Some(norm(6)), EPS);
        let of_next = norm_tolerance((&expected, &of_h), &next, |i| norm(6)[i], EPS, threads);
        assert_close(&format!("{what}: y of row {t}"), &next, &results[2][row.clone()], |i| of_next[i]);
    }
}
