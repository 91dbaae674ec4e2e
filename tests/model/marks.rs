//! Coming back to a place that the rings of sliding layers no longer hold.

use lapidary::model::{Gemma4, Options, Want};

use super::fixtures::Set;
use super::steps::{load, rows};

/// So many tokens behind a mark that a ring of the window and 15 has lost it.
const ANSWER: usize = 60;

fn ids(seed: usize, n: usize) -> Vec<u32> {
    (0..n).map(|i| ((seed * 31 + i * 37) % 500) as u32).collect()
}

/// Runs a chunk and marks, then an answer row by row.
fn talk(model: &mut Gemma4, slot: usize, prompt: &[u32], answer: &[u32]) {
    model.step(&rows(slot, 0, prompt), Want::Nothing).unwrap();
    model.mark(slot);
    for (i, &id) in answer.iter().enumerate() {
        model.step(&rows(slot, prompt.len() + i, &[id]), Want::Nothing).unwrap();
    }
}

fn bits(model: &mut Gemma4, slot: usize, id: u32) -> Vec<u32> {
    let logits = model.step(&rows(slot, model.len(slot), &[id]), Want::Logits(&[0])).unwrap().logits;
    logits.iter().map(|logit| logit.to_bits()).collect()
}

/// The same bits as if the answer had never been, a little before the mark, at it, and where the text differs behind it; in
/// one slot of two, whose other one stays as it is.
#[test]
fn a_marked_place_comes_back() {
    for name in ["moe-autoround-sym", "dense-gptq-desc-act"] {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
        let Set { checkpoint, .. } = Set::open(&folder);
        let options = |marks| Options { slots: 2, context: Some(256), marks, ..Options::exact() };
        let (mut model, mut plain) = (load(&checkpoint, &options(true)), load(&checkpoint, &options(false)));
        let (prompt, answer) = (ids(3, 70), ids(5, ANSWER));
        for (len, expected) in [(70, 70), (64, 64), (100, 70)] {
            model.truncate(0, 0);
            talk(&mut model, 1, &ids(9, 40), &ids(8, 3));
            talk(&mut model, 0, &prompt, &answer);
            assert_eq!(model.truncate(0, len), expected, "{}", name);
            let other = model.len(1);
            plain.truncate(0, 0);
            plain.step(&rows(0, 0, &prompt), Want::Nothing).unwrap();
            assert_eq!(plain.truncate(0, expected), expected);
            // And once more from the same mark, after another answer.
            for id in [7, 8] {
                let found = bits(&mut model, 0, id);
                assert!(found == bits(&mut plain, 0, id), "{}: other bits at {expected}", name);
                let end = model.len(0);
                for (i, &id) in answer.iter().enumerate() {
                    model.step(&rows(0, end + i, &[id]), Want::Nothing).unwrap();
                }
                assert_eq!((model.truncate(0, expected), plain.truncate(0, expected)), (expected, expected));
            }
            assert_eq!(model.len(1), other);
            model.truncate(1, 0);
        }
        plain.truncate(0, 0);
        talk(&mut plain, 0, &prompt, &answer);
        let has_ring = checkpoint.config.sliding_window < 40;
        assert_eq!(plain.truncate(0, 70), if has_ring { 0 } else { 70 }, "{}: without memory for copies", name);
    }
}
