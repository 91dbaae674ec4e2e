//! `router.wgsl`: the top_k experts by softmax, renormalized, times per_expert_scale.

use lapidary::testing::kernels::experts::router;
use lapidary::testing::kernels::experts::router::Choice;
use lapidary::testing::twins::routed;

use crate::common::random::{Random, Spread};
use crate::common::tolerance::assert_close;
use crate::common::{Output, Runner, compact, tensor};

/// ids and weights of all rows.
fn route(threads: u32, n_experts: usize, top_k: usize, logits: &[f32], scale: &[f32]) -> (Vec<u32>, Vec<f32>) {
    let n_rows = logits.len() / n_experts;
    let (ids, weights) = (Output::compact(n_rows, top_k), Output::compact(n_rows, top_k));
    let runner = Runner::with_threads(threads);
    let choice = Choice {
        logits: &tensor(n_experts, logits),
        per_expert_scale: &compact(n_experts, scale),
        ids: &ids.tensor,
        weights: &weights.tensor,
    };
    let planned = router::plan(&runner.planner, "router", choice);
    let mut results = runner.run(&[planned.expect("a plan")], n_rows, &[&ids, &weights]);
    let weights = results.pop().expect("two outputs");
    (results[0].iter().map(|v| v.to_bits()).collect(), weights)
}

pub(super) fn check(what: &str, n_experts: usize, top_k: usize, logits: &[f32], scale: &[f32]) {
    let (ids, weights) = route(256, n_experts, top_k, logits, scale);
    // However the lanes share the work, the choice and its weights are the same, bit for bit.
    for threads in [16, 64, 128] {
        let others = route(threads, n_experts, top_k, logits, scale);
        assert_eq!(others, (ids.clone(), weights.clone()), "{what}: {threads} threads");
    }
    for (t, logits) in logits.chunks_exact(n_experts).enumerate() {
        let (expected_ids, (expected, bound)) = routed(logits, scale, top_k);
        let row = t * top_k..(t + 1) * top_k;
        assert_eq!(ids[row.clone()], expected_ids, "{what}: ids of row {t}");
        assert_close(&format!("{what}: weights of row {t}"), &expected, &weights[row], |s| bound[s]);
    }
}

/// No tolerance on ids: logits are compared as they are, so equal inputs give equal choices, ties included.
#[test]
fn a_thousand_random_rows() {
    let mut random = Random::new(730);
    let scale: Vec<f32> = (0..128).map(|_| 1.0 + 0.5 * random.uniform()).collect();
    let mut logits = random.values(1000 * 128, Spread::Normal);
    logits.iter_mut().for_each(|l| *l *= 3.0);
    check("128 experts, top 8", 128, 8, &logits, &scale);
}

#[test]
fn shapes() {
    let mut random = Random::new(731);
    for (n_experts, top_k) in [
        (1, 1),
        (2, 1),
        (2, 2),
        (8, 8),
        (63, 5),
        (64, 64),
        (65, 64),
        (128, 1),
        (128, 8),
        (31, 7),
        (33, 8),
        (129, 5),
        (257, 3),
        (1024, 64),
    ] {
        let scale: Vec<f32> = (0..n_experts).map(|_| random.uniform()).collect();
        let logits = random.values(5 * n_experts, Spread::Outliers);
        check(&format!("{n_experts} experts, top {top_k}"), n_experts, top_k, &logits, &scale);
    }
}

#[test]
fn ties_go_to_the_lower_index() {
    let mut random = Random::new(732);
    let scale = vec![1.0; 128];
    let all_equal = vec![0.25; 128];
    check("all equal", 128, 8, &all_equal, &scale);
    // Few distinct values: most choices are ties.
    let logits: Vec<f32> = (0..100 * 128).map(|_| random.below(5) as f32).collect();
    check("five values", 128, 8, &logits, &scale);
    let infinite: Vec<f32> = (0..128).map(|e| if e % 3 == 0 { f32::NEG_INFINITY } else { e as f32 % 7.0 }).collect();
    check("some -inf", 128, 8, &infinite, &scale);
    // 0 and -0 are equal: the lower index wins whatever the sign.
    let signed: Vec<f32> = (0..8).map(|e| if e % 2 == 0 { -0.0 } else { 0.0 }).collect();
    check("signed zeros", 8, 3, &signed, &scale[..8]);
}

/// A model gone wrong must not send the experts' kernel out of the stack.
#[test]
fn nan_keeps_ids_in_range() {
    let mut random = Random::new(733);
    for n_nan in [1, 2, 64, 128] {
        let mut logits = random.values(4 * 128, Spread::Normal);
        for row in logits.chunks_exact_mut(128) {
            random.permutation(128)[..n_nan].iter().for_each(|&e| row[e] = f32::NAN);
        }
        let (ids, weights) = route(256, 128, 8, &logits, &vec![1.0; 128]);
        assert!(ids.iter().all(|&e| e < 128), "{n_nan} NaN: ids {ids:?}");
        let written = weights.iter().all(|&w| !crate::common::is_untouched(w));
        assert!(written, "{n_nan} NaN: weights were not written");
    }
}
