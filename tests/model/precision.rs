//! How far the fast path is from the exact one on the demo model's own answers, as `benches/precision` measures it on
//! more.

use std::collections::BTreeSet;

use lapidary::gpu::Tier;
use lapidary::model::KvDtype;
use lapidary::model::{Gemma4, Head, Options, Precision};

use super::compare::{Difference, Sequence, Summary, differences, entropy};
use super::device::device;
use super::fixtures::sets_of_every_clone;
use super::steps::load;
use super::{demo, demo_cases};

/// What issue and documentation promise: mean divergence in nats, share of tokens with the same most probable token.
const MEAN_KL: f64 = 1e-3;
const SAME_CHOICE: f64 = 0.99;

/// Tokens that a prompt may have here: long ones take time, and do not count.
const LONGEST_PROMPT: usize = 100;

/// The golden chats with short prompts; the answers count.
fn chats() -> Vec<Sequence> {
    let cases = demo_cases();
    let ids = |case: &serde_json::Value, key: &str| -> Vec<u32> {
        case[key].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
    };
    let sequence = |case| {
        let (prompt, mut answer) = (ids(case, "prompt_ids"), ids(case, "greedy_ids"));
        answer.pop();
        Sequence { counted_from: prompt.len() - 1, ids: [prompt, answer].concat() }
    };
    cases.iter().map(sequence).filter(|chat: &Sequence| chat.counted_from < LONGEST_PROMPT).collect()
}

fn of(chats: &[Sequence], exact: &[Vec<f32>], model: &mut Gemma4, step_rows: usize) -> Vec<Difference> {
    let vocab = model.config().vocab_size;
    let both = chats.iter().zip(exact);
    both.flat_map(|(chat, exact)| differences(exact, &chat.logits(model, step_rows).unwrap(), vocab)).collect()
}

fn assert_close(what: &str, differences: &[Difference], at_least: usize) {
    let summary = Summary::new(differences);
    eprintln!("{what}: {summary:?}");
    assert!(summary.tokens >= at_least, "{what}: {summary:?}");
    assert!(summary.mean <= MEAN_KL && summary.same_choice >= SAME_CHOICE, "{what}: {summary:?}");
}

/// The bound holds for what the model has learned. On other texts its routers are undecided, and any rounding, also that of
/// an f16 cache alone, sends tokens to other experts: see benches/README.md.
#[test]
fn fast_is_close_to_exact_on_the_demo_s_answers() {
    let (checkpoint, chats) = (demo(), chats());
    let mut exact = load(&checkpoint, &Options::exact());
    let expected: Vec<Vec<f32>> = chats.iter().map(|chat| chat.logits(&mut exact, usize::MAX).unwrap()).collect();
    drop(exact);
    let fast = |tier, kv, head| {
        let (tier, kv) = (Some(tier), Some(kv));
        load(&checkpoint, &Options { precision: Precision::Fast, tier, kv, head, ..Options::exact() })
    };
    for (tier, kv, head) in [
        (Tier::Dot, KvDtype::F32, Head::Keep),
        (Tier::Plain, KvDtype::F16, Head::Keep),
        (Tier::Plain, KvDtype::F32, Head::Int8),
    ] {
        let name = format!("{tier}, {kv:?}, {head:?}");
        assert_close(&name, &of(&chats, &expected, &mut fast(tier, kv, head), usize::MAX), 500);
    }
    let mut all = fast(Tier::Dot, KvDtype::F16, Head::Int8);
    let in_chunks = of(&chats, &expected, &mut all, usize::MAX);
    assert_close("all in chunks", &in_chunks, 500);
    assert!(in_chunks.iter().any(|difference| difference.kl > 1e-9), "fast rounds");
    // Kernels for few rows are others.
    for step_rows in [1, 4] {
        let part = of(&chats[..2], &expected[..2], &mut all, step_rows);
        assert_close(&format!("all, {step_rows} rows a step"), &part, 100);
    }
}

/// The mean and the median in nats that a golden set may have, and the least share of equal choices. Of the sets in the tree
/// llvmpipe gives means of 2e-6 to 7e-6, medians below them and all choices where keys and values alone are rounded, which is
/// all that tier dot rounds of weights in act-order; where products are rounded too 0.022, 0.0046 and 95 %, which is two tokens
/// of 40. For other sets and for matrix units the bounds are those of the worst that was seen.
fn bounds(set: &str, tier: Tier) -> (f64, f64, f64) {
    match (tier, set) {
        (Tier::Plain, "moe-autoround-sym" | "moe-gptq-desc-act" | "dense-gptq-desc-act")
        | (Tier::Dot, "moe-gptq-desc-act" | "dense-gptq-desc-act") => (3e-5, 2e-5, 1.0),
        (Tier::Plain, _) => (1e-4, 1e-4, 0.97),
        (Tier::Dot, "moe-autoround-sym") => (0.045, 0.01, 0.92),
        _ => (0.1, 0.1, 0.9),
    }
}

/// The golden sets on whatever adapter tests run on, in its plain tier, which rounds keys and values alone, and in its
/// strongest one. Their weights are random, so that routers are undecided, and rounding sends a token now and then to other
/// experts, whose keys and values all that follow read: in these sets the mean is some hundredths of a nat, in others a tenth.
/// Wrong products come to nats.
#[test]
fn golden_sets_in_fast_precision() {
    let strongest = device().strongest_tier();
    for set in sets_of_every_clone() {
        let (vocab, golden) = &set.tensors["logits"];
        for tier in BTreeSet::from([Tier::Plain, strongest]) {
            let options = Options { precision: Precision::Fast, tier: Some(tier), ..Options::exact() };
            let fast = super::weak::logits(&mut load(&set.checkpoint, &options), &set.input_ids);
            let differences = differences(golden, &fast, *vocab);
            let summary = Summary::new(&differences);
            let mut all: Vec<f64> = differences.iter().map(|difference| difference.kl).collect();
            all.sort_unstable_by(f64::total_cmp);
            let median = all[all.len() / 2];
            let what = format!("{}, tier {tier}: median {median:.1e}, {summary:?}", set.name);
            eprintln!("{what}");
            assert!(summary.mean > 0.0, "{what}: fast rounds keys and values at least");
            let (mean, most, same_choice) = bounds(&set.name, tier);
            assert!(summary.mean <= mean && median <= most && summary.same_choice >= same_choice, "{what}");
        }
    }
}

#[test]
fn divergence_is_what_its_definition_says() {
    let (p, q) = ([0.5f64, 0.25, 0.25], [0.25f64, 0.5, 0.25]);
    let logits = |p: [f64; 3], shift: f64| p.map(|p| (p.ln() + shift) as f32);
    let found =
        differences(&[logits(p, 3.0), logits(p, 0.0)].concat(), &[logits(q, -7.0), logits(p, 20.0)].concat(), 3);
    let expected = 0.25 * 2f64.ln();
    assert!((found[0].kl - expected).abs() < 1e-6 && !found[0].same_choice, "{found:?}, expected {expected}");
    assert!(found[1].kl.abs() < 1e-6 && found[1].same_choice, "{found:?}");
    let summary = Summary::new(&found);
    assert_eq!((summary.tokens, summary.same_choice), (2, 0.5));
    assert!((summary.mean - expected / 2.0).abs() < 1e-6 && (summary.largest - expected).abs() < 1e-6, "{summary:?}");
    assert_eq!(summary.percentile_99, summary.largest, "99 % of two are both");
    let even = Sequence { ids: vec![0, 1, 2], counted_from: 0 };
    assert!((even.surprise(&[0.0; 9], 3) - 3f64.ln()).abs() < 1e-9);
    assert!((entropy(&[0.0; 9], 3) - 3f64.ln()).abs() < 1e-9);
}
