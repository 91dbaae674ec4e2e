//! Models cut for several ranks, against the same golden numbers as whole ones.

#![expect(clippy::unwrap_used, reason = "tests")]

#[path = "model/fixtures.rs"]
mod fixtures;
#[path = "model/steps.rs"]
mod steps;

use fixtures::sets;
use lapidary::gpu::Gpu;
use lapidary::model::{Gemma4, Options};
use lapidary::parallel::{Cut, Parallel, Split};
use steps::{assert_golden, load};

fn parallel(shares: &str, split: Split, cut: Cut) -> Parallel {
    Parallel { shares: shares.parse().unwrap(), split, cut }
}

fn options(shares: &str, split: Split, cut: Cut) -> Options {
    Options { parallel: parallel(shares, split, cut), ..Options::default() }
}

/// Every golden set that has what `split` cuts, as `shares` say.
fn assert_goldens(shares: &str, split: Split, cut: Cut) {
    let mut ran = 0;
    for set in sets().iter().filter(|set| split == Split::Tensor || set.checkpoint.config.is_moe()) {
        let mut model = load(&set.checkpoint, &options(shares, split, cut));
        let (worst, off) = assert_golden(&format!("{} at {shares} {split:?}", set.name), set, &mut model);
        eprintln!("{} at {shares} {split:?} {cut:?}: activations {worst:.1e}, logits {off:.1e}", set.name);
        ran += 1;
    }
    assert!(ran > 0, "no set was run");
}

#[test]
fn two_ranks() {
    assert_goldens("1,1", Split::Tensor, Cut::Even);
}

#[test]
fn three_ranks() {
    assert_goldens("1,1,1", Split::Tensor, Cut::Even);
}

#[test]
fn four_ranks() {
    assert_goldens("1,1,1,1", Split::Tensor, Cut::Even);
}

#[test]
fn uneven_ranks() {
    assert_goldens("5,3", Split::Tensor, Cut::Even);
    assert_goldens("1,2,1", Split::Tensor, Cut::Even);
}

#[test]
fn cuts_at_borders_of_groups() {
    assert_goldens("1,1", Split::Tensor, Cut::Aligned);
}

#[test]
fn two_ranks_of_whole_experts() {
    assert_goldens("1,1", Split::Expert, Cut::Even);
}

#[test]
fn three_ranks_of_whole_experts() {
    assert_goldens("1,1,1", Split::Expert, Cut::Even);
}

/// A device for each rank: nothing may stay on the other's.
#[test]
fn ranks_on_two_devices() {
    for set in sets().iter().take(2) {
        let gpus = || vec![Gpu::open(None).unwrap(), Gpu::open(None).unwrap()];
        let options = options("2,1,1", Split::Tensor, Cut::Even);
        let mut model = Gemma4::load_on(gpus(), &set.checkpoint, &options, &|_| ()).unwrap();
        assert_golden(&format!("{} on two devices", set.name), set, &mut model);
        let error = Gemma4::load_on(gpus(), &set.checkpoint, &Options::default(), &|_| ()).unwrap_err();
        assert_eq!(error.to_string(), "2 adapters for 1 ranks, expected at most one for each rank");
    }
}
