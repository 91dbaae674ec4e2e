//! `attention.wgsl` and `attention_tile.wgsl`: softmax attention over the cache and the step's own rows, windowed or whole.

use lapidary::gpu::Kind;
use lapidary::model::KvDtype;
pub(super) use lapidary::testing::attention_step::{Case, Step};
use lapidary::testing::bounds::Measure;
use lapidary::testing::kernels::attention::head_norm_rope::Kv;
use lapidary::testing::kernels::tuning::{AttentionFew, AttentionMany};
use lapidary::testing::kernels::tuning_mut;

use crate::common::Runner;
use crate::common::random::Random;

/// Values that differ, of those that `of` gives for all kinds of devices.
fn tables<T: PartialEq>(of: impl Fn(Kind) -> T) -> Vec<T> {
    let mut tables = Vec::new();
    for table in Kind::ALL.map(of) {
        if !tables.contains(&table) {
            tables.push(table);
        }
    }
    tables
}

/// `tables`; and the positions whole and in three shares, for the shape that is tried with all kinds of them.
fn tunings(case: Case, tables: Vec<AttentionFew>) -> Vec<AttentionFew> {
    let mut tunings = tables;
    if (case.head_dim, case.n_heads) == (16, 2) {
        let three = 3 * case.n_kv_heads as u32;
        let wide = AttentionFew { threads: 256, block: 32, workgroups: three, ..AttentionFew::of(Kind::Nvidia) };
        let whole = AttentionFew { workgroups: 1, ..AttentionFew::of(Kind::Unknown) };
        tunings.extend([wide, whole]);
    }
    tunings
}

/// For few rows: norms, rotation and the way into the cache included, with each table's values.
fn check_few(step: &Step) {
    check_few_with(step, tables(AttentionFew::of));
}

/// With most registers and with fewest: a planted bug is compiled anew for each.
pub(super) fn check_extremes(step: &Step) {
    check_few_with(step, [Kind::Cpu, Kind::Unknown].map(AttentionFew::of).to_vec());
}

fn check_few_with(step: &Step, tables: Vec<AttentionFew>) {
    let case = step.case();
    // In one format of the cache: what is rounded is the result, whatever it was made of.
    let rounds = (case.n_heads * case.head_dim).is_multiple_of(32) && case.dtype == KvDtype::F16;
    for tuning in tunings(case, tables) {
        let mut runner = Runner::new();
        tuning_mut(&mut runner.planner).attention_few = tuning;
        let mut measure = Measure::default();
        Runner::taken(step.few(&runner, rounds, &mut measure));
        measure.result().unwrap_or_else(|e| panic!("{tuning:?}: {e}"));
    }
}

/// For many rows, with queries, keys and values made before, in each tuning.
pub(super) fn check_many(step: &Step) {
    for tuning in tables(AttentionMany::of) {
        let mut runner = Runner::new();
        tuning_mut(&mut runner.planner).attention_many = tuning;
        let mut measure = Measure::default();
        Runner::taken(step.many(&runner, &mut measure));
        measure.result().unwrap_or_else(|e| panic!("{tuning:?}: {e}"));
    }
}

pub(super) fn check(random: &mut Random, case: Case, rows: &[(u32, u32, u32)]) {
    let step = Step::new(random, case, rows);
    if !case.new_rows {
        check_few(&step);
    }
    check_many(&step);
}

pub(super) fn chunk(slot: u32, first: u32, count: u32) -> Vec<(u32, u32, u32)> {
    (first..first + count).map(|position| (slot, position, 0)).collect()
}

#[test]
fn head_shapes() {
    let mut random = Random::new(900);
    for (n_heads, n_kv_heads, head_dims) in
        [(1, 1, &[16, 256][..]), (2, 2, &[64]), (4, 2, &[16, 256, 512]), (8, 1, &[64, 512]), (16, 2, &[256])]
    {
        for &head_dim in head_dims {
            let case = Case::new(n_heads, n_kv_heads, head_dim);
            let new_rows = head_dim == 64;
            check(&mut random, Case { new_rows, ..case }, &chunk(0, 70, 3));
        }
    }
    for head_dim in [8, 24, 264] {
        check(&mut random, Case::new(2, 1, head_dim), &chunk(0, 9, 2));
    }
}

/// A rank's query heads may begin and end inside the group of heads that share a KV head.
#[test]
fn heads_cut_inside_a_group() {
    let mut random = Random::new(905);
    // (query heads, KV heads that they read, heads a KV head, first head): 16 heads with 8 KV heads for three ranks, then
    // 4 with one KV head, then groups of 4 cut at every place.
    for (n_heads, n_kv_heads, heads_per_kv, first_head) in
        [(5, 3, 2, 0), (5, 3, 2, 1), (6, 3, 2, 0), (1, 1, 4, 3), (3, 1, 4, 1), (4, 2, 4, 3), (6, 3, 4, 3), (2, 2, 4, 3)]
    {
        for new_rows in [false, true] {
            let case = Case { heads_per_kv, first_head, new_rows, ..Case::new(n_heads, n_kv_heads, 16) };
            check(&mut random, case, &chunk(0, 70, 3));
        }
    }
}

/// Formats of the cache, keys that are the values too, and layers that read another layer's.
#[test]
fn formats_and_sources() {
    let mut random = Random::new(908);
    for dtype in [KvDtype::F16, KvDtype::Int8] {
        for head_dim in [16, 96, 512] {
            for new_rows in [false, true] {
                let case = Case { dtype, new_rows, ..Case::new(4, 2, head_dim) };
                let windowed = Case { window: Some(40), capacity: 55, ..case };
                check(&mut random, windowed, &[chunk(1, 30, 4), chunk(0, 190, 1)].concat());
            }
        }
    }
    for kv in [Kv::KeysOnly, Kv::Shared] {
        for dtype in [KvDtype::F32, KvDtype::F16] {
            check(&mut random, Case { kv, dtype, ..Case::new(8, 2, 32) }, &[chunk(1, 33, 4), chunk(0, 64, 1)].concat());
        }
    }
}

#[test]
fn positions_around_a_block() {
    let mut random = Random::new(901);
    for new_rows in [false, true] {
        for position in [0, 1, 62, 63, 64, 65, 127, 128, 129, 999] {
            let case = Case { new_rows, ..Case::new(2, 1, 16) };
            check(&mut random, case, &chunk(0, position, 1));
            check(&mut random, case, &chunk(0, position, 5));
        }
    }
}

#[test]
fn windows_and_rings() {
    let mut random = Random::new(902);
    for window in [1, 2, 63, 64, 65, 100] {
        for position in [0, 1, 62, 63, 64, 65, 66, 100, 300, 1000] {
            // From the cache: the ring holds the window.
            for capacity in [window, window + 1, window + 37] {
                let case = Case { window: Some(window), capacity, ..Case::new(2, 1, 16) };
                check(&mut random, case, &chunk(0, position, 1));
            }
            // From the step's rows: the ring holds what came before, also where the chunk is longer than it.
            for (capacity, count) in [(window, 3), (window + 5, 70)] {
                let case = Case { window: Some(window), capacity, new_rows: true, ..Case::new(2, 1, 16) };
                check(&mut random, case, &chunk(0, position, count));
            }
        }
    }
}

#[test]
fn several_slots_in_a_step() {
    let mut random = Random::new(903);
    // A chunk, two decode steps and a speculative check, slots out of order and one of them idle.
    let rows = [chunk(3, 10, 7), chunk(0, 130, 1), chunk(5, 0, 1), chunk(1, 64, 5)].concat();
    for new_rows in [false, true] {
        for window in [None, Some(40)] {
            let capacity = if window.is_some() { 48 } else { 200 };
            check(&mut random, Case { new_rows, window, capacity, ..Case::new(4, 2, 64) }, &rows);
        }
    }
}

/// Shares of a row's positions: none but the first, a last one of one position, full ones, and fewer shares than rows.
#[test]
fn shares_of_positions() {
    let mut random = Random::new(906);
    for visible in [1, 31, 32, 33, 64, 65, 96, 97, 128, 129, 192, 193, 288, 289] {
        check(&mut random, Case::new(2, 1, 16), &chunk(0, visible - 1, 1));
        let windowed = Case { window: Some(100), capacity: 115, ..Case::new(4, 2, 16) };
        check(&mut random, windowed, &chunk(0, visible - 1, 2));
    }
    let slots = |n: u32| (0..n).flat_map(|slot| chunk(slot, 97 * slot % 300, 1)).collect::<Vec<_>>();
    for n_rows in [2, 3, 4, 5, 16] {
        check(&mut random, Case::new(2, 1, 16), &slots(n_rows));
    }
    // More shares than the lanes that join them take at a time.
    let long = Case { capacity: 3000, ..Case::new(2, 1, 16) };
    for visible in [1024, 1025, 2049, 2500] {
        check(&mut random, long, &chunk(0, visible - 1, 1));
    }
}

/// Groups of query heads that one workgroup serves, or two of different size.
#[test]
fn heads_of_a_key() {
    let mut random = Random::new(907);
    for heads_per_kv in 3..=9 {
        for first_head in [0, 2] {
            let n_heads = 2 * heads_per_kv - first_head - 1;
            let case = Case { heads_per_kv, first_head, ..Case::new(n_heads, 2, 16) };
            check(&mut random, case, &chunk(0, 70, 1));
        }
    }
}

/// Scores of a hundred and more: the running maximum must rescale without overflow.
#[test]
fn sharp_softmax() {
    let mut random = Random::new(904);
    for sharpness in [4.0, 20.0] {
        for new_rows in [false, true] {
            check(&mut random, Case { sharpness, new_rows, ..Case::new(2, 1, 64) }, &chunk(0, 200, 4));
        }
    }
}
