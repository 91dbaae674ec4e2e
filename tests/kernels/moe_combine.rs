//! `moe_combine.wgsl`: three norms and the end of a mixture-of-experts layer.

use lapidary::testing::kernels::experts::moe_combine;
use lapidary::testing::kernels::experts::moe_combine::MoeCombine;
use lapidary::testing::reference::ops;
use lapidary::testing::twins;
use lapidary::testing::twins::NORM_EPS;

use crate::common::random::{Random, Spread};
use crate::common::tolerance::assert_close;
use crate::common::{Output, Runner, tensor};

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
    for runner in Runner::both_with_threads(threads) {
        check_with(&runner, random, threads, (width, n_rows), scalar);
    }
}

fn check_with(runner: &Runner, random: &mut Random, threads: u32, (width, n_rows): (usize, usize), scalar: f32) {
    let what = format!("{threads} threads, [{n_rows}, {width}]");
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
        eps: NORM_EPS,
        experts: &tensor(width, &experts),
        h: &h_out.tensor,
        y: &y.tensor,
        rounded: None,
    };
    let planned = moe_combine::plan(&runner.planner, "moe_combine", &arguments).expect("a plan");
    let results = runner.run(&[planned], n_rows, &[&h_out, &y]);
    for t in 0..n_rows {
        let row = t * width..(t + 1) * width;
        let sum = &experts[row.clone()];
        let mlp = &mlp[row.clone()];
        let (m, of_m) = twins::combined(mlp, sum, [norm(5), norm(0)], threads);
        let (expected, of_h) = twins::added_norm(&h[row.clone()], &m, &of_m, norm(3), scalar, threads);
        let mut plain = h[row.clone()].to_vec();
        ops::moe_combine(&mut plain, mlp, sum, [norm(5), norm(0), norm(3)], scalar, NORM_EPS);
        assert_close(&format!("{what}: twins of row {t}"), &plain, &expected, |i| of_h[i]);
        assert_close(&format!("{what}: h of row {t}"), &expected, &results[0][row.clone()], |i| of_h[i]);
        let (next, of_next) = twins::normed(&(expected, of_h), norm(6), threads);
        assert_close(&format!("{what}: y of row {t}"), &next, &results[1][row.clone()], |i| of_next[i]);
    }
}
