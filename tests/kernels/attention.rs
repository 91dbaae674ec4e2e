//! `attention.wgsl`: softmax attention over the cache and the step's own rows, windowed or whole.

use lapidary::kernels::Tuning;
use lapidary::kernels::attention::{self, Buffers, KvSource};
use lapidary::kernels::head_norm_rope::Heads;
use lapidary::reference::ops;

use crate::common::random::{Random, Spread};
use crate::common::tolerance::{EPS, assert_close, nmse};
use crate::common::{Output, Runner, compact, rows_tensor, step_rows};

#[derive(Debug, Clone, Copy)]
pub(super) struct Case {
    pub(super) n_heads: usize,
    pub(super) n_kv_heads: usize,
    /// Query heads that read one KV head, and how many of them belong to the rank before.
    pub(super) heads_per_kv: usize,
    pub(super) first_head: usize,
    pub(super) head_dim: usize,
    pub(super) window: Option<usize>,
    /// Positions of a slot's ring.
    pub(super) capacity: usize,
    /// The step's own keys stand in rows of their own, not in the cache.
    pub(super) new_rows: bool,
    /// Factor on the queries: large ones make the softmax sharp.
    pub(super) sharpness: f32,
}

impl Case {
    pub(super) fn new(n_heads: usize, n_kv_heads: usize, head_dim: usize) -> Self {
        let sharpness = 1.0 / (head_dim as f32).sqrt();
        let heads_per_kv = n_heads / n_kv_heads;
        let (first_head, window, capacity, new_rows) = (0, None, 1024, false);
        Case { n_heads, n_kv_heads, heads_per_kv, first_head, head_dim, window, capacity, new_rows, sharpness }
    }
}

impl Case {
    /// Lanes, positions at a time and workgroups of a row: the positions whole, and in shares.
    fn tunings(self) -> Vec<(u32, u32, u32)> {
        let cpu = (Tuning::CPU.attention_threads, Tuning::CPU.attention_block, 1);
        let gpu = (Tuning::GPU.attention_threads, Tuning::GPU.attention_block, Tuning::GPU.attention_workgroups);
        let few = (256, 32, 3 * self.n_kv_heads as u32);
        if self.new_rows { vec![cpu, (256, 32, 1)] } else { vec![cpu, gpu, few] }
    }
}

/// Expected output of one query head over `keys` and `values`, with a tolerance for each element. Scores are sums of
/// head_dim products, four to a `dot`; exp is good to 3 + 2 |x| units and turns an absolute error of its argument into a
/// relative one; the weighted sum has as many additions as positions.
fn head(q: &[f32], keys: &[&[f32]], values: &[&[f32]]) -> (Vec<f32>, Vec<f64>) {
    let expected = ops::attention(q, keys, values);
    let dot =
        |k: &[f32], f: fn(f64) -> f64| q.iter().zip(k).map(|(a, b)| f(f64::from(*a) * f64::from(*b))).sum::<f64>();
    let scores: Vec<f64> = keys.iter().map(|k| dot(k, |v| v)).collect();
    let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let of_score: Vec<f64> = keys.iter().map(|k| (q.len() as f64 / 4.0 + 4.0) * EPS * dot(k, f64::abs)).collect();
    let worst = of_score.iter().copied().fold(0.0, f64::max);
    let exps: Vec<f64> = scores.iter().map(|s| (s - largest).exp()).collect();
    let total: f64 = exps.iter().sum();
    let relative: Vec<f64> = (0..keys.len())
        .map(|p| of_score[p] + worst + EPS * (6.0 + 3.0 * (largest - scores[p])) + EPS * keys.len() as f64)
        .collect();
    let mean: f64 = exps.iter().zip(&relative).map(|(e, r)| e / total * r).sum();
    let tolerance = (0..q.len())
        .map(|i| {
            let sum: f64 =
                (0..keys.len()).map(|p| exps[p] / total * f64::from(values[p][i].abs()) * (relative[p] + mean)).sum();
            sum + 1e-30
        })
        .collect();
    (expected, tolerance)
}

/// Runs a step over slots whose earlier positions are in the ring. What lies outside of the ring, and in the ring where
/// nothing was stored, is NaN: reading it shows.
pub(super) fn check(random: &mut Random, case: Case, rows: &[(u32, u32, u32)]) {
    let Case { n_heads, n_kv_heads, heads_per_kv, first_head, head_dim: d, window, capacity, new_rows, sharpness } =
        case;
    let (q_width, kv_width) = (n_heads * d, n_kv_heads * d);
    let step = step_rows(rows);
    let n_slots = 1 + rows.iter().map(|r| r.0 as usize).max().expect("rows");
    let n_positions = 1 + rows.iter().map(|r| r.1 as usize).max().expect("rows");
    // Keys and values of every position of every slot.
    let k = random.values(n_slots * n_positions * kv_width, Spread::Normal);
    let v = random.values(n_slots * n_positions * kv_width, Spread::Outliers);
    let at = |slot: usize, position: usize| (slot * n_positions + position) * kv_width;
    let mut caches = [vec![f32::NAN; n_slots * capacity * kv_width], vec![f32::NAN; n_slots * capacity * kv_width]];
    for slot in 0..n_slots {
        let Some(last) = step.iter().rfind(|r| r.slot as usize == slot) else { continue };
        let end = if new_rows { last.first_position as usize } else { last.position as usize + 1 };
        for position in 0..end {
            let to = (slot * capacity + position % capacity) * kv_width;
            for (cache, source) in caches.iter_mut().zip([&k, &v]) {
                cache[to..to + kv_width].copy_from_slice(&source[at(slot, position)..][..kv_width]);
            }
        }
    }
    let own = |source: &[f32]| -> Vec<f32> {
        step.iter().flat_map(|r| source[at(r.slot as usize, r.position as usize)..][..kv_width].to_vec()).collect()
    };
    let q: Vec<f32> = random.values(rows.len() * q_width, Spread::Normal).iter().map(|v| v * sharpness).collect();
    let out = Output::compact(rows.len(), q_width);
    let (k_cache, v_cache) = (compact(kv_width, &caches[0]), compact(kv_width, &caches[1]));
    let (k_new, v_new) = (compact(kv_width, &own(&k)), compact(kv_width, &own(&v)));
    let kv = KvSource { cache: (&k_cache, &v_cache), capacity, new: new_rows.then_some((&k_new, &v_new)), window };
    let heads = Heads {
        n_heads,
        n_kv_heads,
        heads_per_kv,
        first_head,
        head_dim: d,
        rotated_pairs: 0,
        rotary_offset: 0,
        eps: 1e-6,
    };
    let (q_tensor, step_tensor) = (compact(q_width, &q), rows_tensor(&step));
    // Shares that nobody has written are NaN.
    let words = attention::share_words(n_heads, n_kv_heads, d, rows.len());
    for (threads, block, workgroups) in case.tunings() {
        let shares = compact(words, &vec![f32::NAN; words]);
        let mut runner = Runner::new();
        runner.planner.tuning.attention_threads = threads;
        runner.planner.tuning.attention_block = block;
        runner.planner.tuning.attention_workgroups = workgroups;
        let buffers = Buffers { q: &q_tensor, out: &out.tensor, rows: &step_tensor, shares: Some(&shares) };
        let planned = attention::plan(&runner.planner, "attention", heads, buffers, kv).expect("a plan");
        let actual = runner.run(&planned, rows.len(), &[&out]).remove(0);
        for (t, row) in step.iter().enumerate() {
            let (slot, position) = (row.slot as usize, row.position as usize);
            let first = window.map_or(0, |w| (position + 1).saturating_sub(w));
            for j in 0..n_heads {
                let kv_head = (first_head + j) / heads_per_kv;
                let of = |source: &'_ [f32], p: usize| source[at(slot, p) + kv_head * d..][..d].to_vec();
                let keys: Vec<Vec<f32>> = (first..=position).map(|p| of(&k, p)).collect();
                let values: Vec<Vec<f32>> = (first..=position).map(|p| of(&v, p)).collect();
                let keys: Vec<&[f32]> = keys.iter().map(Vec::as_slice).collect();
                let values: Vec<&[f32]> = values.iter().map(Vec::as_slice).collect();
                let from = t * q_width + j * d;
                let (expected, tolerance) = head(&q[from..from + d], &keys, &values);
                let tuning = (threads, block, workgroups);
                let what = format!("{case:?}, {tuning:?}, row {t} (slot {slot}, position {position}), head {j}");
                assert_close(&what, &expected, &actual[from..from + d], |i| tolerance[i]);
                // Sharp scores are large numbers; their rounding is the input's of exp, so the gate is for ordinary ones.
                if sharpness < 1.0 {
                    assert!(nmse(&expected, &actual[from..from + d]) <= 1e-10, "{what}: NMSE");
                }
            }
        }
    }
}

pub(super) fn chunk(slot: u32, first: u32, count: u32) -> Vec<(u32, u32, u32)> {
    (first..first + count).map(|position| (slot, position, 0)).collect()
}

#[test]
fn head_shapes() {
    let mut random = Random::new(900);
    for (n_heads, n_kv_heads) in [(1, 1), (2, 2), (4, 2), (8, 1), (16, 2)] {
        for head_dim in [16, 64, 256, 512] {
            let case = Case::new(n_heads, n_kv_heads, head_dim);
            let new_rows = head_dim != 64;
            check(&mut random, Case { new_rows, ..case }, &chunk(0, 70, 3));
        }
    }
    for head_dim in [4, 20, 260] {
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
