//! `suppress.wgsl`: the logits of ids that must not be chosen become minus infinity, all others stay.

use lapidary::testing::kernels::choice::suppress;
use lapidary::testing::reference::ops;

use crate::common::random::Spread;
use crate::common::{Output, Runner, compact, fresh};

pub(super) fn check(what: &str, width: usize, n_rows: usize, ids: &[u32]) {
    let logits = fresh(790).values(n_rows * width, Spread::Normal);
    let (runner, output) = (Runner::new(), Output::in_place(width, &logits));
    let planned = suppress::plan(&runner.planner, "suppress", &compact(ids.len(), ids), &output.tensor);
    let actual = runner.run_one(planned.expect("a plan"), n_rows, &output);
    for (t, (logits, actual)) in logits.chunks_exact(width).zip(actual.chunks_exact(width)).enumerate() {
        let mut expected = logits.to_vec();
        ops::suppress(&mut expected, ids);
        assert_eq!(actual, expected, "{what}: row {t}");
    }
}

#[test]
fn lists_of_ids() {
    check("the first", 33, 2, &[0]);
    check("the last", 33, 3, &[32]);
    check("no ids between ids", 100, 2, &[suppress::NO_ID, 7, suppress::NO_ID, 99]);
    check("one twice", 5, 1, &[3, 3]);
    check("beyond the vocabulary, in the padding and behind it", 33, 2, &[33, 63, 64, 999_999, 1]);
    check("as many as there may be", 4096, 2, &(0..64).map(|i| i * 61).collect::<Vec<_>>());
}
