//! `attention_matrix.wgsl`: attention of many rows by cooperative matrices, where the device has them. Queries, weights, and
//! keys and values that are not in f16 already are rounded to it; the rest is as exact as in f32.

use lapidary::gpu::Tier;
use lapidary::model::KvDtype;
use lapidary::testing::bounds::Measure;
use lapidary::testing::kernels::attention::attention_tile::Queries;
use lapidary::testing::kernels::tuning_mut;
use lapidary::testing::reference::ops;
use lapidary::testing::twins;

use super::attention::{Case, Step, chunk};
use crate::common::not_run::not_run;
use crate::common::random::{Random, Spread};
use crate::common::tolerance::assert_close;
use crate::common::{Runner, gpu};

/// A runner with matrices, and their side; `None`, and a line, where the device has none.
fn runner() -> Option<(Runner, usize)> {
    let Some(side) = gpu().matrix_side() else {
        not_run(&format!("\"{}\" has no cooperative matrices", gpu().adapter().info.name));
        return None;
    };
    let mut runner = Runner::new();
    (runner.planner.tier, runner.planner.few_tier) = (Tier::Matrix, Tier::Matrix);
    Some((runner, side as usize))
}

/// A step by matrices, read ahead and not.
fn check_step(runner: &Runner, step: &Step) {
    let mut other = Runner::new();
    (other.planner.tier, other.planner.few_tier) = (runner.planner.tier, runner.planner.few_tier);
    let ahead = &mut tuning_mut(&mut other.planner).attention_many.matrices_ahead;
    *ahead = !*ahead;
    [runner, &other].into_iter().for_each(|runner| check_step_of(runner, step));
}

fn check_step_of(runner: &Runner, step: &Step) {
    let wanted = Runner::taken(step.queries(runner));
    assert!(matches!(wanted, Queries::Squares { .. }), "{:?}: no matrices", step.case());
    let mut measure = Measure::default();
    Runner::taken(step.many(runner, &mut measure));
    measure.result().unwrap_or_else(|e| panic!("{e}"));
}

fn check(random: &mut Random, runner: &Runner, case: Case, rows: &[(u32, u32, u32)]) {
    check_step(runner, &Step::new(random, case, rows));
}

/// A case of heads of `chunks` times what a workgroup multiplies at a time.
fn case(side: usize, n_heads: usize, n_kv_heads: usize, chunks: usize) -> Case {
    Case { dtype: KvDtype::F16, ..Case::new(n_heads, n_kv_heads, 16 * side * chunks) }
}

/// Steps that bugs show in.
pub(super) fn check_some() {
    let Some((runner, side)) = runner() else { return };
    let mut random = Random::new(920);
    for chunks in [1, 2] {
        let windowed = Case { window: Some(40), capacity: 48, ..case(side, 4, 2, chunks) };
        let new_rows = Case { new_rows: true, ..windowed };
        // The last one's window begins behind the ring's second round.
        let slots = [chunk(1, 70, 45), chunk(0, 9, 3), chunk(2, 150, 5)].concat();
        check(&mut random, &runner, new_rows, &slots);
        // Ordinary scores, whose bounds are close; and sharp ones, whose maxima grow.
        check(&mut random, &runner, case(side, 4, 2, chunks), &chunk(0, 50, 21));
        let sharp = Case { sharpness: 2.0, ..case(side, 4, 2, chunks) };
        check(&mut random, &runner, sharp, &chunk(1, 100, 9));
        let shard = Case { heads_per_kv: 4, first_head: 3, ..case(side, 4, 2, chunks) };
        check(&mut random, &runner, shard, &chunk(0, 5, 20));
    }
}

#[test]
fn ragged_steps() {
    check_some();
}

/// Groups of query heads up to a tile's lines; from the cache and from new rows.
#[test]
fn groups_of_heads() {
    let Some((runner, side)) = runner() else { return };
    let mut random = Random::new(921);
    for chunks in [1, 2] {
        for heads_per_kv in [1, 4, 8, 16] {
            for new_rows in [false, true] {
                let case = Case { new_rows, ..case(side, 2 * heads_per_kv, 2, chunks) };
                check(&mut random, &runner, case, &chunk(0, 33, 7));
            }
        }
    }
}

/// Windows and rings that begin and end in the middle of blocks; steps longer than the ring.
#[test]
fn windows_and_rings() {
    let Some((runner, side)) = runner() else { return };
    let mut random = Random::new(922);
    for window in [1, 15, 16, 17, 33] {
        for position in [0, 1, 15, 16, 33, 100] {
            for (capacity, count, new_rows) in [(window + 9, 9, false), (window, 3, true), (window + 5, 50, true)] {
                let case = Case { window: Some(window), capacity, new_rows, ..case(side, 2, 1, 1) };
                check(&mut random, &runner, case, &chunk(0, position, count));
            }
        }
    }
}

/// Slots that share tiles: a chunk, a row, a speculative check, out of order and one of them idle.
#[test]
fn several_slots_in_a_step() {
    let Some((runner, side)) = runner() else { return };
    let mut random = Random::new(923);
    let rows = [chunk(3, 10, 7), chunk(0, 130, 1), chunk(5, 0, 1), chunk(1, 64, 25)].concat();
    for chunks in [1, 2] {
        for new_rows in [false, true] {
            for window in [None, Some(40)] {
                let capacity = if window.is_some() { 70 } else { 200 };
                check(&mut random, &runner, Case { new_rows, window, capacity, ..case(side, 4, 2, chunks) }, &rows);
            }
        }
    }
}

/// A cache of 8-bit codes.
#[test]
fn codes_in_the_cache() {
    let Some((runner, side)) = runner() else { return };
    let mut random = Random::new(924);
    for chunks in [1, 2] {
        for new_rows in [false, true] {
            let case = Case { dtype: KvDtype::Int8, new_rows, ..case(side, 4, 2, chunks) };
            check(&mut random, &runner, case, &chunk(0, 40, 30));
        }
    }
}

/// Scores of a hundred and more: maxima grow and sums are rescaled, again and again.
#[test]
fn sharp_softmax() {
    let Some((runner, side)) = runner() else { return };
    let mut random = Random::new(925);
    for sharpness in [0.5, 4.0, 20.0] {
        for chunks in [1, 2] {
            let case = Case { sharpness, new_rows: true, ..case(side, 4, 2, chunks) };
            check(&mut random, &runner, case, &chunk(0, 200, 40));
        }
    }
}

/// What stays with tiles in f32: a cache in f32, heads and groups that fit no tile.
#[test]
fn others_stay_in_f32() {
    let Some((runner, side)) = runner() else { return };
    let wanted = |runner: &Runner, case| {
        let step = Step::new(&mut Random::new(926), case, &chunk(0, 0, 1));
        Runner::taken(step.queries(runner))
    };
    let served = case(side, 4, 2, 1);
    assert!(matches!(wanted(&runner, served), Queries::Squares { .. }), "{served:?}");
    let others = [
        Case { dtype: KvDtype::F32, ..served },
        case(side, 4, 2, 3),
        Case { head_dim: 8 * side, ..served },
        Case { heads_per_kv: 3, ..case(side, 3, 1, 1) },
    ];
    for other in others {
        assert_eq!(wanted(&runner, other), Queries::Rows, "{other:?}");
    }
    assert_eq!(wanted(&Runner::new(), served), Queries::Rows, "a planner of plain kernels");
}

/// Rounding to f16 alone, which the twin does and the kernel does, stays within the bounds that the kernel is held to.
#[test]
fn the_twin_rounds_within_the_bounds() {
    let mut random = Random::new(927);
    for (head_dim, positions, sharpness) in [(16, 1, 0.25), (64, 33, 0.125), (256, 100, 0.0625), (64, 40, 2.0)] {
        let mut rows = |n: usize, spread, factor: f32| -> Vec<Vec<f32>> {
            (0..n).map(|_| random.values(head_dim, spread).iter().map(|v| v * factor).collect()).collect()
        };
        let q = rows(1, Spread::Normal, sharpness).remove(0);
        let (keys, values) = (rows(positions, Spread::Normal, 1.0), rows(positions, Spread::Outliers, 1.0));
        let halved = |x: &[f32]| twins::halved(&(x.to_vec(), vec![0.0; head_dim]));
        let bounded = |rows: &[Vec<f32>]| rows.iter().map(|row| halved(row)).collect::<Vec<_>>();
        let (k, v) = (bounded(&keys), bounded(&values));
        let (k, v): (Vec<_>, Vec<_>) = (k.iter().collect(), v.iter().collect());
        let (exact, bound) = twins::attention(&halved(&q), &k, &v, true);
        let (keys, values): (Vec<&[f32]>, Vec<&[f32]>) =
            (keys.iter().map(Vec::as_slice).collect(), values.iter().map(Vec::as_slice).collect());
        let twin = ops::attention_matrix(&q, &keys, &values);
        let what = format!("{positions} positions of {head_dim} dimensions, sharpness {sharpness}");
        assert_close(&what, &exact, &twin, |i| bound[i]);
        assert!(positions == 1 || exact != twin, "{what}: nothing was rounded");
    }
}
