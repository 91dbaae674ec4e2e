//! `kv_store.wgsl`: a chunk's keys and values enter the ring.

use lapidary::testing::kernels::attention::head_norm_rope::KvPair;
use lapidary::testing::kernels::attention::kv_store;
use lapidary::testing::reference::ops;

use crate::common::random::{Random, Spread};
use crate::common::{Output, Runner, fresh, rows_tensor, step_rows, tensor};

/// The ring after a step, by the plain rule: rows in order, later ones replace earlier ones.
pub(super) fn check(random: &mut Random, width: usize, capacity: usize, n_slots: usize, rows: &[(u32, u32, u32)]) {
    let what = format!("width {width}, capacity {capacity}, {} rows", rows.len());
    let (k, v) = (random.values(rows.len() * width, Spread::Normal), random.values(rows.len() * width, Spread::Normal));
    // The kernel copies whole padded rows, so widths here are whole chunks.
    let before = vec![-1.5; n_slots * capacity * width];
    let (k_cache, v_cache) = (Output::in_place(width, &before), Output::in_place(width, &before));
    let runner = Runner::new();
    let planned = kv_store::plan(
        &runner.planner,
        "kv_store",
        KvPair { k: &tensor(width, &k), v: &tensor(width, &v) },
        KvPair { k: &k_cache.tensor, v: &v_cache.tensor },
        capacity,
        &rows_tensor(&step_rows(rows)),
    );
    let results = runner.run(&[planned.expect("a plan")], rows.len(), &[&k_cache, &v_cache]);
    for (name, new, result) in [("k", &k, &results[0]), ("v", &v, &results[1])] {
        let words = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<u32>>();
        let mut expected = words(&before);
        ops::kv_store(&mut expected, &words(new), width, capacity, &step_rows(rows));
        for (i, (row, expected)) in result.chunks_exact(width).zip(expected.chunks_exact(width)).enumerate() {
            assert_eq!(words(row), expected, "{what}: {name} row {i} of the ring");
        }
    }
}

pub(super) fn chunk(slot: u32, first: u32, count: u32) -> Vec<(u32, u32, u32)> {
    (first..first + count).map(|position| (slot, position, 0)).collect()
}

#[test]
fn chunks_shorter_and_longer_than_the_ring() {
    let mut random = fresh(810);
    for width in [32, 96, 512] {
        for capacity in [1, 7, 16, 33] {
            for first in [0, 5, 1000] {
                for count in [1, 6, 7, 8, 40] {
                    check(&mut random, width, capacity, 2, &chunk(1, first, count));
                }
            }
        }
    }
}

#[test]
fn several_slots_in_a_step() {
    let mut random = fresh(811);
    let rows = [chunk(2, 3, 20), chunk(0, 100, 1), chunk(3, 6, 8)].concat();
    for capacity in [4, 8, 64] {
        check(&mut random, 64, capacity, 5, &rows);
    }
}
