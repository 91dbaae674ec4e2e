//! `head_norm_rope.wgsl`: norms of q, k and v heads, rotation of q and k, and the way into the KV cache.

use lapidary::model::KvDtype;
use lapidary::testing::kernels::attention::attention_tile::Queries;
use lapidary::testing::kernels::attention::head_norm_rope;
use lapidary::testing::kernels::attention::head_norm_rope::KvPair;
use lapidary::testing::kernels::attention::head_norm_rope::{Heads, Inputs, Kv, KvTarget};
use lapidary::testing::kernels::tuning_mut;
use lapidary::testing::reference::ops;
use lapidary::testing::twins::{NORM_EPS, head, stored};

use crate::common::random::{Random, Spread};
use crate::common::tolerance::assert_close;
use crate::common::{Output, Runner, compact, is_untouched, rows_tensor, step_rows, tensor};

#[derive(Debug, Clone, Copy)]
pub(super) struct Case {
    pub(super) heads: Heads,
    pub(super) kv: Kv,
    /// Positions of a slot's ring; `None` for rows of their own.
    pub(super) capacity: Option<usize>,
    pub(super) dtype: KvDtype,
}

pub(super) fn check(random: &mut Random, case: Case, rows: &[(u32, u32, u32)]) {
    let Case { heads, kv, capacity, dtype } = case;
    let (d, n_rows, threads) = (heads.head_dim, rows.len(), 64);
    let (q_width, kv_width) = (heads.n_heads * d, heads.n_kv_heads * d);
    let mut runner = Runner::new();
    tuning_mut(&mut runner.planner).norms.threads = 256; // The kernel takes 64 of them.
    let q = random.values(n_rows * q_width, Spread::Outliers);
    let k = random.values(n_rows * kv_width, Spread::Outliers);
    // With K = V, v is the key before its norm.
    let v = if kv == Kv::KeysOnly { k.clone() } else { random.values(n_rows * kv_width, Spread::Outliers) };
    let columns = match kv {
        Kv::Shared => vec![(&q, q_width)],
        Kv::KeysOnly => vec![(&q, q_width), (&k, kv_width)],
        Kv::Both => vec![(&q, q_width), (&k, kv_width), (&v, kv_width)],
    };
    let row = |t: usize| columns.iter().flat_map(move |(values, width)| &values[t * width..][..*width]);
    let qkv: Vec<f32> = (0..n_rows).flat_map(row).copied().collect();
    let norms = random.values(2 * d, Spread::Normal);
    let n_pairs = heads.rotary_offset + heads.rotated_pairs + 3;
    let rotary: Vec<f32> = (0..n_rows * n_pairs)
        .flat_map(|_| {
            let angle = 4.0 * random.uniform();
            [angle.cos(), angle.sin()]
        })
        .collect();
    let step = step_rows(rows);
    let n_slots = 1 + rows.iter().map(|r| r.0 as usize).max().expect("rows");
    let kv_rows = capacity.map_or(n_rows, |c| c * n_slots);
    let head_words = dtype.head_words(d);
    let kv_words = heads.n_kv_heads * head_words;
    let (q_out, k_out, v_out) =
        (Output::new(n_rows, q_width), Output::new(kv_rows, kv_words), Output::new(kv_rows, kv_words));
    let pair = KvPair { k: &k_out.tensor, v: &v_out.tensor };
    let kv_target = match capacity {
        Some(capacity) => KvTarget::Cache { cache: pair, capacity },
        None => KvTarget::Rows(pair),
    };
    let inputs = Inputs {
        qkv: &tensor(qkv.len() / n_rows, &qkv),
        kv,
        norms: &compact(d, &norms),
        rotary: &tensor(2 * n_pairs, &rotary),
        rows: &rows_tensor(&step),
    };
    let to = head_norm_rope::Outputs { q: &q_out.tensor, queries: Queries::Rows, kv: kv_target, dtype };
    let planned = head_norm_rope::plan(&runner.planner, "head_norm_rope", heads, &inputs, to);
    let results = runner.run(&[planned.expect("a plan")], n_rows, &[&q_out, &k_out, &v_out]);
    let mut written = vec![false; kv_rows];
    for (t, row) in step.iter().enumerate() {
        let what = format!("{case:?}, row {t}");
        let angles: Vec<[f32; 2]> = (0..heads.rotated_pairs)
            .map(|i| {
                let at = 2 * (t * n_pairs + heads.rotary_offset + i);
                [rotary[at], rotary[at + 1]]
            })
            .collect();
        for j in 0..heads.n_heads {
            let at = t * q_width + j * d;
            let (expected, tolerance) = head(&q[at..at + d], Some(&norms[..d]), &angles, threads);
            assert_close(&format!("{what}: q head {j}"), &expected, &results[0][at..at + d], |i| tolerance[i]);
        }
        if kv == Kv::Shared {
            continue;
        }
        let to = capacity.map_or(t, |c| row.slot as usize * c + row.position as usize % c);
        written[to] = true;
        for j in 0..heads.n_kv_heads {
            let (from, to) = (t * kv_width + j * d, to * kv_words + j * head_words);
            let read = |values: &[f32]| {
                let words: Vec<u32> = values[to..to + head_words].iter().map(|v| v.to_bits()).collect();
                ops::kv_unpack(&words, dtype, d)
            };
            let (expected, tolerance) = stored(head(&k[from..from + d], Some(&norms[d..]), &angles, threads), dtype);
            assert_close(&format!("{what}: k head {j}"), &expected, &read(&results[1]), |i| tolerance[i]);
            let (expected, tolerance) = stored(head(&v[from..from + d], None, &[], threads), dtype);
            assert_close(&format!("{what}: v head {j}"), &expected, &read(&results[2]), |i| tolerance[i]);
        }
    }
    for (i, _) in written.iter().enumerate().filter(|(_, written)| !**written) {
        let row = i * kv_words..(i + 1) * kv_words;
        let untouched = results[1][row.clone()].iter().chain(&results[2][row]).all(|&v| is_untouched(v));
        assert!(untouched, "{case:?}: cache row {i} was written");
    }
}

pub(super) fn heads(
    n_heads: usize,
    n_kv_heads: usize,
    head_dim: usize,
    rotated_pairs: usize,
    rotary_offset: usize,
) -> Heads {
    let heads_per_kv = n_heads / n_kv_heads;
    Heads { n_heads, n_kv_heads, heads_per_kv, first_head: 0, head_dim, rotated_pairs, rotary_offset, eps: NORM_EPS }
}

/// Two slots, positions that wrap around a ring of 5.
pub(super) const ROWS: [(u32, u32, u32); 5] = [(0, 3, 1), (0, 4, 1), (0, 5, 1), (2, 11, 1), (2, 12, 1)];

/// Queries in squares of f16, for a rank whose heads begin and end inside of groups.
#[test]
fn queries_in_squares() {
    let (d, n_rows, rows) = (64, 3, 8);
    for side in [8, 16] {
        let heads = Heads { heads_per_kv: 4, first_head: 3, ..heads(6, 3, d, 32, 0) };
        let (mut random, mut runner) = (Random::new(801), Runner::new());
        tuning_mut(&mut runner.planner).norms.threads = 256;
        let qkv = random.values(n_rows * 6 * d, Spread::Normal);
        let norms = random.values(2 * d, Spread::Normal);
        let rotary: Vec<f32> = [1.0, 0.0].repeat(n_rows * d / 2);
        let inputs = Inputs {
            qkv: &tensor(6 * d, &qkv),
            kv: Kv::Shared,
            norms: &compact(d, &norms),
            rotary: &compact(d, &rotary),
            rows: &rows_tensor(&step_rows(&ROWS[..n_rows])),
        };
        let (q, kv) = (Output::compact(rows, 6 * d), Output::new(1, 3 * d));
        let to = head_norm_rope::Outputs {
            q: &q.tensor,
            queries: Queries::Squares { side, rows },
            kv: KvTarget::Rows(KvPair { k: &kv.tensor, v: &kv.tensor }),
            dtype: KvDtype::F32,
        };
        let planned = head_norm_rope::plan(&runner.planner, "head_norm_rope", heads, &inputs, to);
        let words = runner.run_raw_rows(planned.expect("a plan"), &q, n_rows);
        let halves: &[u16] = bytemuck::cast_slice(&words);
        let side = side as usize;
        for (t, j) in (0..n_rows).flat_map(|t| (0..6).map(move |j| (t, j))) {
            let (group, in_group) = ((heads.first_head + j) / 4, (heads.first_head + j) % 4);
            let line = (group * rows + t) * 4 + in_group;
            let at = |k: usize| (line / side * (d / side) + k / side) * side * side + line % side * side + k % side;
            let own: Vec<u16> = (0..d).map(|k| halves[at(k)]).collect();
            let made = head(&qkv[(t * 6 + j) * d..][..d], Some(&norms[..d]), &[], 64);
            let (expected, tolerance) = stored(made, KvDtype::F16);
            let actual = ops::kv_unpack(bytemuck::cast_slice(&own), KvDtype::F16, d);
            assert_close(&format!("side {side}, row {t}, head {j}"), &expected, &actual, |i| tolerance[i]);
        }
    }
}

#[test]
fn shapes_and_targets() {
    let mut random = Random::new(800);
    for heads in [
        heads(1, 1, 8, 4, 0),
        heads(2, 1, 16, 8, 0),
        heads(8, 2, 64, 32, 5),
        heads(4, 2, 256, 128, 0),
        heads(4, 1, 512, 64, 128), // A global layer: a quarter of the pairs, behind the sliding layers' pairs.
        heads(3, 3, 24, 0, 0),
        heads(3, 3, 24, 1, 7),
    ] {
        for capacity in [None, Some(5), Some(64)] {
            for kv in [Kv::Both, Kv::KeysOnly, Kv::Shared] {
                for dtype in [KvDtype::F32, KvDtype::F16, KvDtype::Int8] {
                    check(&mut random, Case { heads, kv, capacity, dtype }, &ROWS);
                    check(&mut random, Case { heads, kv, capacity, dtype }, &ROWS[3..4]);
                }
            }
        }
    }
}
