//! A golden set under every table of shapes: the same numbers in exact precision, close ones in fast.

use std::sync::Arc;

use lapidary::gpu::Kind;
use lapidary::model::{Gemma4, Options, Precision};

use super::compare::{Summary, differences};
use super::device::open;
use super::fixtures::{Set, assert_within, sets_of_every_clone};
use super::steps::assert_golden;
use super::weak::{MEAN_KL, SAME_CHOICE, logits};

/// The set in `precision`, with kernels shaped for devices of `kind`, which this one need not be.
fn load(set: &Set, kind: Kind, precision: Precision) -> Gemma4 {
    let options = Options { precision, context: Some(128), ..Options::exact() };
    let gpu = Arc::new(open().with_kind(kind));
    Gemma4::load(gpu, &set.checkpoint, &options, &|_| ()).unwrap_or_else(|e| panic!("{kind}: {e}"))
}

#[test]
fn a_golden_set_under_every_table() {
    let set = sets_of_every_clone().into_iter().find(|set| set.name == "moe-autoround-sym").unwrap();
    let vocab = set.checkpoint.config.vocab_size;
    let ids: Vec<u32> = set.input_ids.iter().chain(&set.greedy_ids).copied().collect();
    let mut rounded: Option<Vec<f32>> = None;
    for kind in Kind::ALL {
        let (worst, off) = assert_golden(kind.name(), &set, &mut load(&set, kind, Precision::Exact));
        eprintln!("{kind}: activations {worst:.1e}, logits {off:.1e}");
        let mut fast = load(&set, kind, Precision::Fast);
        let logits = logits(&mut fast, &ids);
        // The table for software adapters rounds keys and values alone; all others are compared with the first.
        if kind == Kind::Cpu {
            let golden = &set.tensors["logits"].1;
            assert_within("cpu, fast", &logits[..golden.len()], golden, 0.1);
            continue;
        }
        let expected = rounded.get_or_insert_with(|| logits.clone());
        let summary = Summary::new(&differences(expected, &logits, vocab));
        eprintln!("{kind}: {summary:?}");
        assert!(summary.mean <= MEAN_KL && summary.same_choice >= SAME_CHOICE, "{kind}: {summary:?}");
    }
}
