//! `moe_combine.wgsl`: three norms and the end of a mixture-of-experts layer.

use lapidary::kernels::moe_combine::{self, MoeCombine};
use lapidary::reference::ops;

use crate::common::random::{Random, Spread};
use crate::common::tolerance::{EPS as ULP, assert_close, norm_tolerance};
use crate::common::{Output, Runner, tensor};

const EPS: f32 = 1e-6;

#[test]
fn shapes() {
    let mut random = Random::new(720);
    for threads in [32, 256, 1024] {
        for (width, n_rows, scalar) in [
            (1, 1, 1.0),
            (31, 3, 0.7),
            (33, 1, -1.5),
            (255, 2, 1.0),
            // A lane holds one quad more from each multiple of 4 * threads on, up to six; then rows are walked.
            (124, 2, 1.0),
            (132, 5, 0.25),
            (768, 2, -0.5),
            (772, 1, 1.0),
            (1028, 2, 0.3),
            (2816, 3, 0.9),
        ] {
            check(&mut random, threads, width, n_rows, scalar);
        }
    }
}

pub(super) fn check(random: &mut Random, threads: u32, width: usize, n_rows: usize, scalar: f32) {
    let what = format!("{threads} threads, [{n_rows}, {width}]");
    let runner = Runner::with_threads(threads);
    let norms = random.values(7 * width, Spread::Normal);
    let norm = |row: usize| &norms[row * width..][..width];
    let mlp = random.values(n_rows * width, Spread::Outliers);
    let experts = random.values(n_rows * width, Spread::Outliers);
    let h = random.values(n_rows * width, Spread::Outliers);
    let (y, h_out) = (Output::new(n_rows, width), Output::in_place(width, &h));
    let arguments = MoeCombine {
        mlp: &tensor(width, &mlp),
        norms: &tensor(width, &norms),
        norm_rows: [5, 0, 3, 6],
        scalar,
        eps: EPS,
        experts: &tensor(width, &experts),
        h: &h_out.tensor,
        y: &y.tensor,
        rounded: None,
    };
    let planned = moe_combine::plan(&runner.planner, "moe_combine", &arguments).expect("a plan");
    let results = runner.run(&[planned], n_rows, &[&h_out, &y]);
    let abs = |v: f32| f64::from(v.abs());
    for t in 0..n_rows {
        let row = t * width..(t + 1) * width;
        let sum = &experts[row.clone()];
        let mlp = &mlp[row.clone()];
        let mut expected = h[row.clone()].to_vec();
        ops::moe_combine(&mut expected, mlp, sum, [norm(5), norm(0), norm(3)], scalar, EPS);
        // The same chain for the tolerances.
        let zeros = vec![0.0; width];
        let a = ops::rms_norm(mlp, Some(norm(5)), EPS);
        let b = ops::rms_norm(sum, Some(norm(0)), EPS);
        let of_a = norm_tolerance((mlp, &zeros), &a, |i| norm(5)[i], EPS, threads);
        let of_b = norm_tolerance((sum, &zeros), &b, |i| norm(0)[i], EPS, threads);
        let m: Vec<f32> = a.iter().zip(&b).map(|(a, b)| a + b).collect();
        let of_m: Vec<f64> = (0..width).map(|i| of_a[i] + of_b[i] + 2.0 * ULP * (abs(a[i]) + abs(b[i]))).collect();
        let normed = ops::rms_norm(&m, Some(norm(3)), EPS);
        let of_normed = norm_tolerance((&m, &of_m), &normed, |i| norm(3)[i], EPS, threads);
        let of_h: Vec<f64> = (0..width)
            .map(|i| abs(scalar) * (of_normed[i] + 2.0 * ULP * (abs(h[row.start + i]) + abs(normed[i]))))
            .collect();
        assert_close(&format!("{what}: h of row {t}"), &expected, &results[0][row.clone()], |i| of_h[i]);
        let next = ops::rms_norm(&expected, Some(norm(6)), EPS);
        let of_next = norm_tolerance((&expected, &of_h), &next, |i| norm(6)[i], EPS, threads);
        assert_close(&format!("{what}: y of row {t}"), &next, &results[1][row.clone()], |i| of_next[i]);
    }
}
