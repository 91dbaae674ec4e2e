//! `gather_rows.wgsl`: y[i] = x[chosen[i]].

use lapidary::testing::kernels::rows::gather_rows;
use lapidary::testing::reference::ops;

use crate::common::random::Spread;
use crate::common::tolerance::assert_close;
use crate::common::{Output, Runner, compact, fresh, tensor};

#[test]
fn chosen_rows_are_copied() {
    check(&[1, 63, 64, 65, 255, 256, 257, 2816]);
}

pub(super) fn check(widths: &[usize]) {
    let mut random = fresh(750);
    for &width in widths {
        for n_rows in [1, 7, 65] {
            let x = random.values(n_rows * width, Spread::Normal);
            let chosen: Vec<u32> = (0..5).map(|_| random.below(n_rows) as u32).chain([n_rows as u32 - 1, 0]).collect();
            let (runner, y) = (Runner::new(), Output::new(chosen.len(), width));
            let planned =
                gather_rows::plan(&runner.planner, "gather", &tensor(width, &x), &compact(1, &chosen), &y.tensor);
            let actual = runner.run_one(planned.expect("a plan"), chosen.len(), &y);
            let expected = ops::gather_rows(&x, width, &chosen);
            assert_close(&format!("[{n_rows}, {width}]"), &expected, &actual, |_| 0.0);
        }
    }
}
