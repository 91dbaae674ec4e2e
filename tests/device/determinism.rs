//! The same bits every time, whoever else is in the step.

use lapidary::checkpoint::Checkpoint;
use lapidary::model::{Gemma4, Options, Precision, Row, Want};

use super::device::device;
use super::golden;

fn model(checkpoint: &Checkpoint, options: &Options) -> Gemma4 {
    Gemma4::load(device().clone(), checkpoint, options, &|_| ()).unwrap()
}

/// `n` ids from a seed.
fn ids(seed: u32, n: usize, vocab: usize) -> Vec<u32> {
    (0..n as u32).map(|i| (seed * 1009 + i * 7919 + i * i * 31) % vocab as u32).collect()
}

fn rows(slot: usize, first: usize, ids: &[u32]) -> Vec<Row> {
    ids.iter().enumerate().map(|(i, &token)| Row { slot, position: first + i, token }).collect()
}

fn bits(logits: &[f32]) -> Vec<u32> {
    assert!(logits.iter().all(|l| l.is_finite()));
    logits.iter().map(|l| l.to_bits()).collect()
}

/// The logits of a chunk's last rows, of a decode step and of a step of three rows, in bits.
fn run(model: &mut Gemma4, ids: &[u32]) -> Vec<u32> {
    model.truncate(0, 0);
    let (chunk, rest) = ids.split_at(ids.len() - 4);
    let mut all = model.step(&rows(0, 0, chunk), Want::Logits(&[0, chunk.len() - 1])).unwrap().logits;
    all.extend(model.step(&rows(0, chunk.len(), &rest[..1]), Want::Logits(&[0])).unwrap().logits);
    all.extend(model.step(&rows(0, chunk.len() + 1, &rest[1..]), Want::Logits(&[0, 1, 2])).unwrap().logits);
    bits(&all)
}

/// 100 times, with the kernels that round 100 times more; and from a model that was loaded anew.
#[test]
fn runs_give_the_same_bits() {
    let checkpoint = golden("moe-autoround-sym");
    let ids = ids(3, 30, checkpoint.config.vocab_size);
    for precision in [Precision::Exact, Precision::Fast] {
        let options = Options { precision, context: Some(64), ..Options::exact() };
        let mut first = model(&checkpoint, &options);
        let expected = run(&mut first, &ids);
        for n in 0..99 {
            assert!(run(&mut first, &ids) == expected, "{precision:?}: run {n} differs from the first");
        }
        assert!(run(&mut model(&checkpoint, &options), &ids) == expected, "{precision:?}: a new load differs");
    }
}

/// Logits of slot 0's rows in a step of them and of rows of other slots, before or behind them, in exact precision: the
/// same bits, within each way to run a step (one, two, up to 16 rows, more) and, but for the last, among them.
#[test]
fn a_row_does_not_depend_on_the_others() {
    for name in ["dense-gptq-desc-act", "moe-gptq-desc-act"] {
        let checkpoint = golden(name);
        let vocab = checkpoint.config.vocab_size;
        let mut model = model(&checkpoint, &Options { slots: 4, context: Some(128), ..Options::exact() });
        let held: Vec<Vec<u32>> = (0..4).map(|slot| ids(slot, 20 + 3 * slot as usize, vocab)).collect();
        let own = ids(9, 20, vocab);
        // Slot 0's logits in a step of `n` of its rows and `others` (slot, rows), which stand before or behind them.
        let mut logits = |n: usize, others: &[(usize, usize)], before: bool| {
            for (slot, ids) in held.iter().enumerate() {
                model.truncate(slot, 0);
                model.step(&rows(slot, 0, ids), Want::Nothing).unwrap();
            }
            let (mine, mut step) = (rows(0, held[0].len(), &own[..n]), Vec::new());
            for &(slot, n) in others {
                step.extend(rows(slot, held[slot].len(), &ids(40 + slot as u32, n, vocab)));
            }
            let first = if before { step.len() } else { 0 };
            step.splice(if before { step.len()..step.len() } else { 0..0 }, mine);
            let wanted: Vec<usize> = (first..first + n).collect();
            bits(&model.step(&step, Want::Logits(&wanted)).unwrap().logits)
        };
        let alone = logits(1, &[], false);
        for others in [&[(1, 1)][..], &[(1, 1), (2, 1)], &[(3, 4), (1, 1)], &[(1, 5), (2, 5), (3, 5)]] {
            for before in [false, true] {
                assert!(logits(1, others, before) == alone, "{name}: one row beside {others:?}, behind them: {before}");
            }
        }
        let chunk = logits(17, &[], false);
        for others in [&[(1, 1)][..], &[(2, 20)], &[(1, 9), (3, 30)]] {
            for before in [false, true] {
                assert!(
                    logits(17, others, before) == chunk,
                    "{name}: 17 rows beside {others:?}, behind them: {before}"
                );
            }
        }
    }
}
