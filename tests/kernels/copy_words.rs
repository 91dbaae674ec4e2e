//! `copy_words.wgsl`: y[i] = x[i].

use lapidary::testing::kernels::rows::copy_words;

use crate::common::{Output, Runner, compact, fresh};

#[test]
fn all_words_are_copied() {
    check(&[4, 1020, 1024, 1028, 100_000]);
}

pub(super) fn check(sizes: &[usize]) {
    let mut random = fresh(760);
    for &n in sizes {
        let words: Vec<u32> = (0..n).map(|_| random.word() as u32).collect();
        let (runner, y) = (Runner::new(), Output::compact(1, n));
        let x = compact(n, &words);
        let planned = copy_words::plan(&runner.planner, "copy", &x.buffer, &y.tensor.buffer).expect("a plan");
        let actual: Vec<u32> = runner.run_one(planned, 1, &y).into_iter().map(f32::to_bits).collect();
        assert!(actual == words, "{n} words");
    }
}
