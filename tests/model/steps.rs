//! Running a model on golden numbers: what the tests of whole and of cut models share.

use lapidary::checkpoint::Checkpoint;
use lapidary::model::{Gemma4, Options, Output, Row, Traced, Want};

use super::device::device;
use super::fixtures::{Set, assert_within};

/// Inner activations of order 1 to 20 through 6 to 9 layers in f32; `fixtures/README.md`.
pub(crate) const ACTIVATIONS: f32 = 2e-3;
pub(crate) const LOGITS: f32 = 1e-3;

/// Some goldens also hold the router's probabilities and choice, which its weights follow from.
pub(crate) fn is_ours(key: &str) -> bool {
    !key.ends_with("router.probs") && !key.ends_with("router.index")
}

pub(crate) fn load(checkpoint: &Checkpoint, options: &Options) -> Gemma4 {
    Gemma4::load(device().clone(), checkpoint, options, &|_| ()).unwrap_or_else(|e| panic!("{e}"))
}

pub(crate) fn rows(slot: usize, first: usize, ids: &[u32]) -> Vec<Row> {
    ids.iter().enumerate().map(|(i, &token)| Row { slot, position: first + i, token }).collect()
}

/// Prefills `ids` in as few chunks as the model allows; what the last one wants of its last row.
pub(crate) fn prefill(model: &mut Gemma4, slot: usize, ids: &[u32], greedy: bool) -> Output {
    model.truncate(slot, 0);
    let mut output = Output::default();
    for part in ids.chunks(model.chunk_rows()) {
        let last = [part.len() - 1];
        let want = if greedy { Want::Greedy(&last) } else { Want::Logits(&last) };
        output = model.step(&rows(slot, model.len(slot), part), want).unwrap();
    }
    output
}

pub(crate) fn greedy(model: &mut Gemma4, slot: usize, ids: &[u32], count: usize) -> Vec<u32> {
    let mut out = prefill(model, slot, ids, true).ids;
    while out.len() < count {
        let row = Row { slot, position: model.len(slot), token: *out.last().unwrap() };
        out.extend(model.step(&[row], Want::Greedy(&[0])).unwrap().ids);
    }
    out
}

/// Runs a golden set on `model` and compares every inner tensor, all logits and the greedy ids. Returns the largest
/// errors of activations and logits.
pub(crate) fn assert_golden(what: &str, set: &Set, model: &mut Gemma4) -> (f32, f32) {
    let Set { input_ids, greedy_ids, tensors, .. } = set;
    let all: Vec<usize> = (0..input_ids.len()).collect();
    let Traced { output, activations: inner } =
        model.step_with_activations(&rows(0, 0, input_ids), Want::Logits(&all)).unwrap();
    let mut worst = 0.0f32;
    for (key, activation) in &inner {
        worst = worst.max(assert_within(&format!("{what} {key}"), &activation.values, &tensors[key].1, ACTIVATIONS));
    }
    let golden: Vec<_> = tensors.keys().filter(|key| !key.ends_with("logits") && is_ours(key)).collect();
    assert_eq!(inner.keys().collect::<Vec<_>>(), golden, "{what}: inner tensors that were compared");
    let off = assert_within(&format!("{what} logits"), &output.logits, &tensors["logits"].1, LOGITS);
    assert_eq!(greedy(model, 0, input_ids, greedy_ids.len()), *greedy_ids, "{what}: greedy ids");
    (worst, off)
}
