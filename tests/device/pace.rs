//! Submissions that a driver's watchdog lets pass: divided by what was measured, and shorter chunks where one kernel is too
//! long. The clock is the test's own; `tests/long_prompt.rs` has a real one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lapidary::checkpoint::Checkpoint;
use lapidary::gpu::Gpu;
use lapidary::model::{Gemma4, Options, Row, Want};
use lapidary::testing::gpu::fault_injector;

use super::device::open;
use super::golden;

/// No submission may take longer.
const LIMIT: Duration = Duration::from_millis(250);

fn load(gpu: Gpu, checkpoint: &Checkpoint) -> Gemma4 {
    Gemma4::load(gpu, checkpoint, &Options { chunk_rows: 256, ..Options::exact() }, &|_| ()).unwrap()
}

/// The bits of the logits behind some chunks and steps; every chunk has the rows that the model says where `rows` is 0.
fn run(model: &mut Gemma4, rows: usize) -> Vec<u32> {
    let ids: Vec<u32> = (0..600).map(|i| (i * 7919 + 31) % model.config().vocab_size as u32).collect();
    let mut bits = Vec::new();
    model.truncate(0, 0);
    while model.len(0) < ids.len() {
        let first = model.len(0);
        // The last few one by one.
        let most = if first >= 590 { 1 } else { 590 - first };
        let rows = most.min(if rows == 0 { model.next_chunk_rows() } else { rows });
        let row = |i| Row { slot: 0, position: i, token: ids[i] };
        let step: Vec<Row> = (first..first + rows).map(row).collect();
        let logits = model.step(&step, Want::Logits(&[rows - 1])).unwrap().logits;
        bits.extend(logits.iter().map(|logit| logit.to_bits()));
    }
    bits
}

/// A device of which each workgroup takes a fixed time.
fn slow(milliseconds: f64) -> Gpu {
    open().pretending(move |_, groups| groups as f64 * milliseconds * 1e-3)
}

/// Any division computes the same, in bits, and none is longer than it may be, though steps are.
#[test]
fn long_steps_are_divided_and_short_ones_are_not() {
    let checkpoint = golden("moe-autoround-sym");
    let mut whole = load(slow(1e-9), &checkpoint);
    let expected = run(&mut whole, 64);
    let submissions = |model: &mut Gemma4| {
        let before = fault_injector(model.gpu()).submissions();
        assert!(run(model, 64) == expected, "other bits");
        fault_injector(model.gpu()).submissions() - before
    };
    // Chunks of 64 up to row 590, then ten steps.
    assert_eq!(submissions(&mut whole), 10 + 10, "one for each step, where all is known");
    let mut divided = load(slow(0.2), &checkpoint);
    assert!(run(&mut divided, 64) == expected, "other bits while nothing is known yet");
    let count = submissions(&mut divided);
    let longest = divided.gpu().longest_submission();
    assert!(count > 3 * 20, "{count} submissions");
    assert!(longest <= LIMIT && longest >= LIMIT / 4, "{longest:?}");
}

/// Kernels that take longer with each step, as attention does, are kept short by what was measured last.
#[test]
fn what_grows_is_measured_again() {
    let checkpoint = golden("moe-autoround-sym");
    let calls = AtomicU64::new(0);
    let grows = move |label: &str, groups: u64| {
        let calls = calls.fetch_add(u64::from(label == "attention"), Ordering::Relaxed);
        let growth = if label.starts_with("attention") { 1.0 + calls as f64 / 20.0 } else { 1.0 };
        groups as f64 * growth * 1e-4
    };
    let mut model = load(open().pretending(grows), &checkpoint);
    run(&mut model, 64);
    run(&mut model, 64);
    let longest = model.gpu().longest_submission();
    assert!(longest <= LIMIT && longest >= LIMIT / 4, "{longest:?}");
}

/// A chunk begins small, grows where the device is fast enough, and shrinks where one kernel alone would take too long.
#[test]
fn chunks_are_as_long_as_the_device_can_bear() {
    let checkpoint = golden("moe-autoround-sym");
    let rows = |milliseconds| {
        let mut model = load(slow(milliseconds), &checkpoint);
        let first = model.next_chunk_rows();
        run(&mut model, 0);
        let rows = [first, model.next_chunk_rows()];
        (rows, model.gpu().longest_submission())
    };
    let (fast, _) = rows(1e-9);
    assert_eq!(fast, [64, 256]);
    // The largest grid, of `head_norm_rope`, has eight workgroups a row.
    let (slow, longest) = rows(0.08);
    assert_eq!(slow, [64, 128]);
    assert!(longest <= LIMIT, "{longest:?}");
    let (slower, longest) = rows(50.0);
    assert_eq!(slower[1], 32, "no fewer: steps of few rows have kernels of their own");
    // One dispatch is never divided, but none that is too long has another beside it: the longest submission is the largest
    // grid of the first chunk.
    assert_eq!(longest, Duration::from_millis(64 * 8 * 50));
    // A software adapter is never reset.
    if open().adapter().is_software() {
        assert_eq!(load(open(), &checkpoint).next_chunk_rows(), 256);
    }
}
