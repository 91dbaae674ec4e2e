//! `attention_tile.wgsl`: attention of many rows, with queries that see one position each. Ordinary scores, formats of the
//! cache, windows and rings are in `attention.rs`.

use lapidary::gpu::Kind;
use lapidary::model::KvDtype;
use lapidary::testing::kernels::attention::attention::KvSource;
use lapidary::testing::kernels::attention::attention_tile;
use lapidary::testing::kernels::attention::attention_tile::Buffers;
use lapidary::testing::kernels::attention::head_norm_rope::Heads;
use lapidary::testing::kernels::attention::head_norm_rope::KvPair;
use lapidary::testing::kernels::tuning::AttentionMany;
use lapidary::testing::kernels::{key, tuning_mut};
use lapidary::testing::reference::ops;

use crate::common::random::{Random, Spread};
use crate::common::tolerance::{EPS, assert_close};
use crate::common::{Output, Runner, compact, is_untouched, rows_tensor, step_rows};

/// Dimensions of a head, and positions that have one of their own.
const DIM: usize = 128;
/// What a query's own position scores; all others have 0, and `exp(-SHARP)` is no f32.
const SHARP: f32 = 200.0;

/// A step whose rows begin at position `first`: each query looks at one position, at the block's edges and its own first.
struct Step {
    n_heads: usize,
    first: usize,
    n_rows: usize,
    /// Rows that count; the plan has room for all.
    count: usize,
    /// Whether the step's own keys and values stand in rows of their own.
    new_rows: bool,
}

fn tunings() -> Vec<AttentionMany> {
    let mut all: Vec<AttentionMany> = Vec::new();
    for tuning in Kind::ALL.map(AttentionMany::of) {
        if !all.contains(&tuning) {
            all.push(tuning);
        }
    }
    all
}

/// The head of each of the first `n` positions.
fn heads_of(rows: &[f32], n: usize) -> Vec<&[f32]> {
    rows.chunks_exact(DIM).take(n).collect()
}

fn check(step: &Step) {
    tunings().into_iter().for_each(|tuning| check_with(step, tuning));
}

fn check_with(step: &Step, tuning: AttentionMany) {
    let &Step { n_heads, first, n_rows, count, new_rows } = step;
    let (mut random, mut runner) = (Random::new(820), Runner::new());
    tuning_mut(&mut runner.planner).attention_many = tuning;
    let end = first + n_rows;
    assert!(end <= DIM, "a dimension for each position");
    let keys: Vec<f32> = (0..end).flat_map(|p| (0..DIM).map(move |i| if i == p { 1.0 } else { 0.0 })).collect();
    let values = random.values(end * DIM, Spread::Outliers);
    // Of what a row sees: the newest, the oldest, and those around the blocks' edges.
    let target = |t: usize, j: usize| {
        let newest = first + t;
        [newest, 0, newest / 2, 15, 16, 31, 32, 63, 64, newest.saturating_sub(1)][(t + 3 * j) % 10].min(newest)
    };
    let mut q = vec![0.0f32; n_rows * n_heads * DIM];
    for (t, j) in (0..n_rows).flat_map(|t| (0..n_heads).map(move |j| (t, j))) {
        q[(t * n_heads + j) * DIM + target(t, j)] = SHARP;
    }
    // Cache rows of the step's own positions are NaN where these stand in rows of their own.
    let cached = |rows: &[f32]| {
        let mut rows = rows.to_vec();
        rows[if new_rows { first } else { end } * DIM..].fill(f32::NAN);
        compact(DIM, &rows)
    };
    let (k, v) = (cached(&keys), cached(&values));
    let (own_k, own_v) = (compact(DIM, &keys[first * DIM..]), compact(DIM, &values[first * DIM..]));
    let rows: Vec<(u32, u32, u32)> = (first..end).map(|p| (0, p as u32, 0)).collect();
    let (q_tensor, rows) = (compact(n_heads * DIM, &q), rows_tensor(&step_rows(&rows)));
    let (row_count, out) = (compact(1, &[count as u32]), Output::compact(n_rows, n_heads * DIM));
    let heads = Heads {
        n_heads,
        n_kv_heads: 1,
        heads_per_kv: n_heads,
        first_head: 0,
        head_dim: DIM,
        rotated_pairs: 0,
        rotary_offset: 0,
        eps: 1e-6,
    };
    let new = new_rows.then_some(KvPair { k: &own_k, v: &own_v });
    let buffers = Buffers { q: &q_tensor, out: &out.tensor, rows: &rows, row_count: &row_count, new };
    let source = KvSource { cache: KvPair { k: &k, v: &v }, dtype: KvDtype::F32, capacity: end, window: None };
    let planned = attention_tile::plan(&runner.planner, "attention", heads, buffers, source).expect("a plan");
    let constant = |name| key(&planned).constants.iter().find(|(n, _)| *n == name).expect("a constant").1 as usize;
    let block = constant("KEYS");
    let actual = runner.run(&[planned], n_rows, &[&out]).remove(0);
    for (i, actual) in actual.chunks_exact(DIM).enumerate() {
        let (t, j) = (i / n_heads, i % n_heads);
        let what = format!("{n_heads} heads, from {first}, {count} of {n_rows} rows, {tuning:?}: row {t}, head {j}");
        if t >= count {
            assert!(actual.iter().all(|&v| is_untouched(v)), "{what} was written");
            continue;
        }
        let (keys, values) = (heads_of(&keys, first + t + 1), heads_of(&values, first + t + 1));
        let expected = ops::attention_tile(&q[i * DIM..][..DIM], &keys, &values, block);
        let looked_at = values[target(t, j)];
        // All other weights together are below `DIM exp(-SHARP)`.
        assert_close(&format!("{what}: the twin"), looked_at, &expected, |k| {
            EPS * f64::from(looked_at[k].abs()) + 1e-30
        });
        // A weight of one, which exp makes to 3 units, cancels in the division, which is good to 2.5.
        assert_close(&what, &expected, actual, |k| 8.0 * EPS * f64::from(expected[k].abs()) + 1e-30);
    }
}

/// Steps that bugs show in.
pub(super) fn check_some() {
    for new_rows in [false, true] {
        for n_heads in [1, 3, 8] {
            check(&Step { n_heads, first: 61, n_rows: 67, count: 67, new_rows });
        }
    }
}

#[test]
fn positions_at_the_edges_of_blocks() {
    check_some();
}

/// Steps of all lengths around a tile's rows, from the first position and from later ones.
#[test]
fn rows_at_the_edges_of_tiles() {
    for (n_heads, first, n_rows) in
        [(1, 0, 1), (1, 0, 63), (1, 0, 64), (1, 0, 65), (2, 5, 33), (4, 31, 17), (16, 64, 5)]
    {
        for new_rows in [false, true] {
            check(&Step { n_heads, first, n_rows, count: n_rows, new_rows });
        }
    }
}

/// A plan serves steps of up to a number of rows: what lies behind the count is left alone, all rows where it is 0.
pub(super) fn check_counts() {
    for count in [0, 1, 16, 63] {
        check(&Step { n_heads: 2, first: 10, n_rows: 64, count, new_rows: true });
    }
}

#[test]
fn rows_beyond_the_count_are_left_alone() {
    check_counts();
}
