//! `add_norm.wgsl`: h = (h + rms(x) * post) * scalar, and the norms of up to three blocks that read h next.

use lapidary::testing::kernels::norm::add_norm;
use lapidary::testing::kernels::norm::add_norm::AddNorm;
use lapidary::testing::twins;
use lapidary::testing::twins::NORM_EPS;

use crate::common::random::{Random, Spread};
use crate::common::tolerance::assert_close;
use crate::common::{Output, Runner, is_untouched, tensor};

#[test]
fn shapes_outputs_and_scalars() {
    let mut random = Random::new(710);
    for threads in [32, 256, 1024] {
        // A lane holds one quad more from each multiple of 4 * threads on, up to six; then rows are walked.
        for width in [1, 33, 255, 124, 128, 132, 768, 1024, 1028, 2816] {
            for n_outputs in 0..=3 {
                for scalar in [1.0, 0.37, -2.5] {
                    let n_rows = [1, 5][n_outputs % 2];
                    check(&mut random, threads, width, n_rows, n_outputs, scalar);
                }
            }
        }
    }
}

pub(super) fn check(random: &mut Random, threads: u32, width: usize, n_rows: usize, n_outputs: usize, scalar: f32) {
    for runner in Runner::both_with_threads(threads) {
        check_with(&runner, random, threads, (width, n_rows, n_outputs), scalar);
    }
}

fn check_with(
    runner: &Runner,
    random: &mut Random,
    threads: u32,
    (width, n_rows, n_outputs): (usize, usize, usize),
    scalar: f32,
) {
    let what = format!("{threads} threads, [{n_rows}, {width}], {n_outputs} outputs, scalar {scalar}");
    // Row 1 is the norm behind the block; rows 3 to 5 stand before the next ones.
    let norms = random.values(6 * width, Spread::Normal);
    let norm = |row: usize| &norms[row * width..][..width];
    let x = random.values(n_rows * width, Spread::Outliers);
    let h = random.values(n_rows * width, Spread::Outliers);
    let h_out = Output::in_place(width, &h);
    let y: Vec<Output> = (0..3).map(|_| Output::new(n_rows, width)).collect();
    let arguments = AddNorm {
        norms: &tensor(width, &norms),
        post: 1,
        pre: 3,
        scalar,
        eps: NORM_EPS,
        h: &h_out.tensor,
        y: [&y[0].tensor, &y[1].tensor, &y[2].tensor],
        n_outputs,
        rounded: [None, None],
    };
    let planned = add_norm::plan(&runner.planner, "add_norm", &tensor(width, &x), &arguments).expect("a plan");
    let results = runner.run(&[planned], n_rows, &[&h_out, &y[0], &y[1], &y[2]]);
    for t in 0..n_rows {
        let row = t * width..(t + 1) * width;
        let x = &x[row.clone()];
        let of_h = twins::added_norm(&h[row.clone()], x, &vec![0.0; width], norm(1), scalar, threads);
        assert_close(&format!("{what}: h of row {t}"), &of_h.0, &results[0][row.clone()], |i| of_h.1[i]);
        for (o, result) in results[1..].iter().enumerate() {
            if o >= n_outputs {
                assert!(result.iter().all(|&v| is_untouched(v)), "{what}: output {o} was written");
                continue;
            }
            let (y, tolerance) = twins::normed(&of_h, norm(3 + o), threads);
            assert_close(&format!("{what}: output {o} of row {t}"), &y, &result[row.clone()], |i| tolerance[i]);
        }
    }
}
