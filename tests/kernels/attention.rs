//! `attention.wgsl` and `attention_tile.wgsl`: softmax attention over the cache and the step's own rows, windowed or whole.

use lapidary::gpu::Tensor;
use lapidary::kernels::attention::{self, Buffers, KvSource};
use lapidary::kernels::attention_tile;
use lapidary::kernels::head_norm_rope::{Heads, Inputs, Kv};
use lapidary::kernels::{KvDtype, StepRow, Tuning};
use lapidary::reference::ops;

use super::head_norm_rope::{head as normed_head, rounding};
use super::rounded::assert_rounded;
use super::rounding::zeros;
use crate::common::random::{Random, Spread};
use crate::common::tolerance::{EPS, assert_close, nmse};
use crate::common::{Output, Runner, compact, rows_tensor, step_rows, tensor};

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
    /// The step's own keys stand in rows of their own, not in the cache: in steps of many rows.
    pub(super) new_rows: bool,
    /// Factor on the queries: large ones make the softmax sharp.
    pub(super) sharpness: f32,
    pub(super) dtype: KvDtype,
    /// What the layer makes itself; with `Shared` the cache holds the step's keys and values too.
    pub(super) kv: Kv,
}

impl Case {
    pub(super) fn new(n_heads: usize, n_kv_heads: usize, head_dim: usize) -> Self {
        Case {
            n_heads,
            n_kv_heads,
            heads_per_kv: n_heads / n_kv_heads,
            first_head: 0,
            head_dim,
            window: None,
            capacity: 1024,
            new_rows: false,
            sharpness: 1.0 / (head_dim as f32).sqrt(),
            dtype: KvDtype::F32,
            kv: Kv::Both,
        }
    }

    /// Lanes, positions at a time and workgroups of a row: the positions whole, and in shares.
    fn tunings(self) -> Vec<(u32, u32, u32)> {
        let cpu = (Tuning::CPU.attention_threads, Tuning::CPU.attention_block, 1);
        let (block, workgroups) = (Tuning::GPU.attention_block, Tuning::GPU.attention_workgroups);
        let [gpu, wide] = [Tuning::GPU.attention_threads, Tuning::GPU.attention_wide_threads]
            .map(|threads| (threads, block, workgroups));
        // Three shares, for the shape that is tried with all kinds of positions.
        let few = (256, 32, 3 * self.n_kv_heads as u32);
        if (self.head_dim, self.n_heads) == (16, 2) { vec![cpu, gpu, few] } else { vec![cpu, wide] }
    }

    pub(super) fn heads(self) -> Heads {
        let Case { n_heads, n_kv_heads, heads_per_kv, first_head, head_dim, .. } = self;
        // A global layer turns a part of the pairs, and its angles stand behind others.
        let rotated_pairs = if head_dim == 512 { 64 } else { head_dim / 2 };
        let (rotary_offset, eps) = (5, 1e-6);
        Heads { n_heads, n_kv_heads, heads_per_kv, first_head, head_dim, rotated_pairs, rotary_offset, eps }
    }
}

/// Where a step's queries, keys and values come from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Made {
    /// The kernel makes them.
    Here,
    /// They are given.
    Before,
    /// They are given, and rounded to f16 on the way as weights are.
    Rounded,
}

/// What f16 rounds by, relative to a number, and below the normal ones.
const HALF_EPS: f64 = 1.0 / 2048.0;
const HALF_STEP: f64 = 1.0 / (1 << 25) as f64;

/// A head's values, each with its tolerance.
pub(super) type Head = (Vec<f32>, Vec<f64>);

/// Expected output of one query head over `keys` and `values`, with a tolerance for each element. Scores are sums of
/// head_dim products, four to a `dot`; exp is good to 3 + 2 |x| units and turns an absolute error of its argument into a
/// relative one; the weighted sum has as many additions as positions. What queries, keys and values may be off by goes
/// through the products. Weights may be rounded, relative to the largest or to a larger number: those, and with them their
/// total.
fn head((q, of_q): &Head, keys: &[&Head], values: &[&Head], rounds_weights: bool) -> Head {
    let k: Vec<&[f32]> = keys.iter().map(|k| k.0.as_slice()).collect();
    let v: Vec<&[f32]> = values.iter().map(|v| v.0.as_slice()).collect();
    let expected = ops::attention(q, &k, &v);
    let abs = |v: f32| f64::from(v).abs();
    let score = |k: &[f32]| q.iter().zip(k).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let scores: Vec<f64> = k.iter().map(|k| score(k)).collect();
    let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let of_score = |(k, of_k): &Head| -> f64 {
        let rounding = (q.len() as f64 / 4.0 + 4.0) * EPS;
        (0..q.len()).map(|i| rounding * abs(q[i]) * abs(k[i]) + abs(q[i]) * of_k[i] + abs(k[i]) * of_q[i]).sum()
    };
    let of_score: Vec<f64> = keys.iter().map(|k| of_score(k)).collect();
    let worst = of_score.iter().copied().fold(0.0, f64::max);
    let exps: Vec<f64> = scores.iter().map(|s| (s - largest).exp()).collect();
    let total: f64 = exps.iter().sum();
    let relative: Vec<f64> = (0..keys.len())
        .map(|p| of_score[p] + worst + EPS * (6.0 + 3.0 * (largest - scores[p])) + EPS * keys.len() as f64)
        .collect();
    let of_weight = |p: usize| {
        let rounding = if rounds_weights { HALF_EPS * exps[p] + HALF_STEP } else { 0.0 };
        (exps[p] * relative[p] + rounding) / total
    };
    let of_weight: Vec<f64> = (0..keys.len()).map(of_weight).collect();
    let of_total: f64 = of_weight.iter().sum();
    let of_value = |p: usize, i: usize| {
        let weight = exps[p] / total;
        abs(values[p].0[i]) * (of_weight[p] + weight * of_total) + (weight + of_weight[p]) * values[p].1[i]
    };
    let tolerance = |i: usize| (0..keys.len()).map(|p| of_value(p, i)).sum::<f64>() + 1e-30;
    (expected, (0..q.len()).map(tolerance).collect())
}

/// A step and the keys and values of all positions of its slots.
pub(super) struct Step {
    pub(super) case: Case,
    pub(super) rows: Vec<StepRow>,
    n_slots: usize,
    n_positions: usize,
    /// By row and head.
    pub(super) q: Vec<Head>,
    /// By slot, position and head, as the cache gives them back.
    k: Vec<Head>,
    v: Vec<Head>,
    /// Before norm and rotation: heads of q, k and v of each row, side by side.
    qkv: Vec<f32>,
    /// `[2, head_dim]`.
    norms: Vec<f32>,
    /// `[rows, pairs, 2]`.
    rotary: Vec<f32>,
}

/// Pairs of a row of the rotary table behind those of the case.
const MORE_PAIRS: usize = 2;

impl Step {
    pub(super) fn new(random: &mut Random, case: Case, rows: &[(u32, u32, u32)]) -> Self {
        let (heads, d, rows) = (case.heads(), case.head_dim, step_rows(rows));
        let n_slots = 1 + rows.iter().map(|r| r.slot as usize).max().expect("rows");
        let n_positions = 1 + rows.iter().map(|r| r.position as usize).max().expect("rows");
        let mut cached = |spread| -> Vec<Head> {
            let head = |_| {
                let words = ops::kv_pack(&random.values(d, spread), case.dtype);
                (ops::kv_unpack(&words, case.dtype, d), vec![0.0; d])
            };
            (0..n_slots * n_positions * case.n_kv_heads).map(head).collect()
        };
        let (mut k, mut v) = (cached(Spread::Normal), cached(Spread::Outliers));
        let own_heads = match case.kv {
            Kv::Shared => 0,
            Kv::KeysOnly => 1,
            Kv::Both => 2,
        };
        let width = (case.n_heads + own_heads * case.n_kv_heads) * d;
        let qkv = random.values(rows.len() * width, Spread::Normal);
        let mut norms = random.values(2 * d, Spread::Normal);
        norms[..d].iter_mut().for_each(|w| *w *= case.sharpness);
        let n_pairs = heads.rotary_offset + heads.rotated_pairs + MORE_PAIRS;
        let angle = |_| {
            let angle = 4.0 * random.uniform();
            [angle.cos(), angle.sin()]
        };
        let rotary: Vec<f32> = (0..rows.len() * n_pairs).flat_map(angle).collect();
        let mut q = Vec::new();
        for (t, row) in rows.iter().enumerate() {
            let of = |head: usize| &qkv[t * width + head * d..][..d];
            let angles = &rotary[2 * (t * n_pairs + heads.rotary_offset)..][..2 * heads.rotated_pairs];
            let angles: Vec<[f32; 2]> = angles.chunks_exact(2).map(|a| [a[0], a[1]]).collect();
            q.extend((0..case.n_heads).map(|j| normed_head(of(j), Some(&norms[..d]), &angles, 8)));
            for j in 0..if own_heads > 0 { case.n_kv_heads } else { 0 } {
                let at = (row.slot as usize * n_positions + row.position as usize) * case.n_kv_heads + j;
                let first_v = case.n_heads + (own_heads - 1) * case.n_kv_heads;
                k[at] = rounding(normed_head(of(case.n_heads + j), Some(&norms[d..]), &angles, 8), case.dtype);
                v[at] = rounding(normed_head(of(first_v + j), None, &[], 8), case.dtype);
            }
        }
        Step { case, rows, n_slots, n_positions, q, k, v, qkv, norms, rotary }
    }

    /// Words of the heads of a position.
    fn words(&self, of: &[Head], slot: usize, position: usize) -> Vec<u32> {
        let n = self.case.n_kv_heads;
        let heads = &of[(slot * self.n_positions + position) * n..][..n];
        heads.iter().flat_map(|(values, _)| ops::kv_pack(values, self.case.dtype)).collect()
    }

    /// Cache rows of all positions before the step, and of its own where `own`. What lies outside of the ring, and in the
    /// ring where nothing was stored, is NaN in each format: reading it shows.
    fn cache(&self, of: &[Head], own: bool) -> Vec<f32> {
        const NAN: u32 = 0x7fc0_7e00;
        let (capacity, width) =
            (self.case.capacity, self.case.n_kv_heads * self.case.dtype.head_words(self.case.head_dim));
        let mut cache = vec![NAN; self.n_slots * capacity * width];
        for slot in 0..self.n_slots {
            let Some(last) = self.rows.iter().rfind(|r| r.slot as usize == slot) else { continue };
            let end = if own { last.position as usize + 1 } else { last.first_position as usize };
            for position in 0..end {
                let to = (slot * capacity + position % capacity) * width;
                cache[to..to + width].copy_from_slice(&self.words(of, slot, position));
            }
        }
        cache.into_iter().map(f32::from_bits).collect()
    }

    /// The step's own rows as the cache holds them.
    fn own(&self, of: &[Head]) -> Vec<u32> {
        self.rows.iter().flat_map(|r| self.words(of, r.slot as usize, r.position as usize)).collect()
    }

    pub(super) fn check_results(&self, what: &str, actual: &[f32], made: Made) {
        let Case { n_heads, n_kv_heads, heads_per_kv, first_head, head_dim: d, window, sharpness, dtype, .. } =
            self.case;
        let given = |(values, tolerance): Head, rounds: bool| -> Head {
            let rounding = |v: &f32| f64::from(v.abs()) * HALF_EPS + HALF_STEP;
            match made {
                Made::Here => (values, tolerance),
                _ if rounds => (values.clone(), values.iter().map(rounding).collect()),
                _ => (values, vec![0.0; d]),
            }
        };
        let rounds = made == Made::Rounded;
        for (t, row) in self.rows.iter().enumerate() {
            let (slot, position) = (row.slot as usize, row.position as usize);
            let first = window.map_or(0, |w| (position + 1).saturating_sub(w));
            for j in 0..n_heads {
                let kv_head = (first_head + j) / heads_per_kv;
                let of = |all: &'_ [Head], p: usize| all[(slot * self.n_positions + p) * n_kv_heads + kv_head].clone();
                // What the cache holds in f16 is not rounded once more.
                let of = |all: &'_ [Head], p: usize| given(of(all, p), rounds && dtype != KvDtype::F16);
                let keys: Vec<Head> = (first..=position).map(|p| of(&self.k, p)).collect();
                let values: Vec<Head> = (first..=position).map(|p| of(&self.v, p)).collect();
                let (keys, values): (Vec<&Head>, Vec<&Head>) = (keys.iter().collect(), values.iter().collect());
                let q = given(self.q[t * n_heads + j].clone(), rounds);
                let (expected, tolerance) = head(&q, &keys, &values, rounds);
                let what = format!("{:?}, {what}, row {t} (slot {slot}, position {position}), head {j}", self.case);
                let actual = &actual[(t * n_heads + j) * d..][..d];
                assert_close(&what, &expected, actual, |i| tolerance[i]);
                // Sharp scores are large numbers; their rounding is the input's of exp, so the gate is for ordinary ones.
                // Keys and values that are rounded here and there are a step apart.
                if sharpness < 1.0 && (dtype == KvDtype::F32 || made == Made::Before) {
                    assert!(nmse(&expected, actual) <= 1e-10, "{what}: NMSE");
                }
            }
        }
    }

    /// For few rows: norms, rotation and the way into the cache included.
    pub(super) fn check_few(&self) {
        let Case { n_heads, n_kv_heads, head_dim: d, dtype, window, capacity, kv, .. } = self.case;
        let heads = self.case.heads();
        let (n_rows, q_width) = (self.rows.len(), n_heads * d);
        let step = rows_tensor(&self.rows);
        let qkv = tensor(self.qkv.len() / n_rows, &self.qkv);
        let (norms, rotary) = (compact(d, &self.norms), compact(self.rotary.len() / n_rows, &self.rotary));
        let inputs = Inputs { qkv: &qkv, kv, norms: &norms, rotary: &rotary, rows: &step };
        // Shares that nobody has written are NaN.
        let words = attention::share_words(n_heads, n_kv_heads, d, n_rows);
        for tuning in self.case.tunings() {
            let shares = compact(words, &vec![f32::NAN; words]);
            let out = Output::compact(n_rows, q_width);
            let width = n_kv_heads * dtype.head_words(d);
            let cache = |of| Output::in_place(width, &self.cache(of, kv == Kv::Shared));
            let (k, v) = (cache(&self.k), cache(&self.v));
            let mut runner = Runner::new();
            runner.planner.tuning.attention_threads = tuning.0;
            runner.planner.tuning.attention_wide_threads = tuning.0;
            runner.planner.tuning.attention_block = tuning.1;
            runner.planner.tuning.attention_workgroups = tuning.2;
            let source = KvSource { cache: (&k.tensor, &v.tensor), dtype, capacity, window };
            // In one format of the cache: what is rounded is the result, whatever it was made of.
            let rounds = q_width.is_multiple_of(32) && dtype == KvDtype::F16;
            let rounded = rounds.then(|| zeros(n_rows, q_width));
            let to = rounded.as_ref().map(|rounded| &rounded.tensor);
            let buffers = Buffers { out: &out.tensor, rounded: to, shares: Some(&shares) };
            let planned =
                attention::plan(&runner.planner, "attention", heads, &inputs, buffers, source).expect("a plan");
            let outputs: Vec<&Output> = [&out, &k, &v].into_iter().chain(&rounded).collect();
            let results = runner.run(&planned, n_rows, &outputs);
            let what = format!("few rows, {tuning:?}");
            if let Some(words) = results.get(3) {
                for (row, words) in results[0].chunks_exact(q_width).zip(words.chunks_exact(words.len() / n_rows)) {
                    let words: Vec<u32> = words.iter().map(|word| word.to_bits()).collect();
                    assert_rounded(&what, row, &words);
                }
            }
            self.check_results(&what, &results[0], Made::Here);
            for (name, of, actual) in [("k", &self.k, &results[1]), ("v", &self.v, &results[2])] {
                self.check_cache(&format!("{what}, {name}"), of, actual);
            }
        }
    }

    /// The cache after a step of few rows: its own rows are there, and nothing else has changed.
    fn check_cache(&self, what: &str, of: &[Head], actual: &[f32]) {
        let Case { n_kv_heads, head_dim: d, dtype, capacity, .. } = self.case;
        let (head_words, before) = (dtype.head_words(d), self.cache(of, self.case.kv == Kv::Shared));
        let width = n_kv_heads * head_words;
        let own = |row: usize| {
            let is_at = |r: &&StepRow| row == r.slot as usize * capacity + r.position as usize % capacity;
            self.rows.iter().rfind(is_at).filter(|_| self.case.kv != Kv::Shared)
        };
        let bits = |values: &[f32]| -> Vec<u32> { values.iter().map(|v| v.to_bits()).collect() };
        for (i, row) in actual.chunks_exact(width).enumerate() {
            let Some(r) = own(i) else {
                assert_eq!(bits(row), bits(&before[i * width..][..width]), "{:?}, {what}: row {i} changed", self.case);
                continue;
            };
            for (j, words) in bits(row).chunks_exact(head_words).enumerate() {
                let at = (r.slot as usize * self.n_positions + r.position as usize) * n_kv_heads + j;
                let values = ops::kv_unpack(words, dtype, d);
                assert_close(&format!("{:?}, {what} row {i} head {j}", self.case), &of[at].0, &values, |n| of[at].1[n]);
            }
        }
    }

    /// For many rows, with queries, keys and values made before.
    pub(super) fn check_many(&self) {
        let q: Vec<f32> = self.q.iter().flat_map(|(values, _)| values.clone()).collect();
        let q = compact(self.case.n_heads * self.case.head_dim, &q);
        self.check_results("many rows", &self.run_many(&Runner::new(), &q), Made::Before);
    }

    /// What a step of many rows makes of its queries, which stand in `q` as the kernel wants them.
    pub(super) fn run_many(&self, runner: &Runner, q: &Tensor) -> Vec<f32> {
        let Case { n_heads, n_kv_heads, head_dim: d, dtype, window, capacity, new_rows, .. } = self.case;
        let (n_rows, width) = (self.rows.len(), n_kv_heads * dtype.head_words(d));
        let out = Output::compact(n_rows, n_heads * d);
        let (rows, row_count) = (rows_tensor(&self.rows), compact(1, &[n_rows as u32]));
        let cache = |of| compact(width, &self.cache(of, !new_rows));
        let own = |of| compact(width, &self.own(of));
        let (k, v, own_k, own_v): (Tensor, Tensor, Tensor, Tensor) =
            (cache(&self.k), cache(&self.v), own(&self.k), own(&self.v));
        let new = new_rows.then_some((&own_k, &own_v));
        let buffers = attention_tile::Buffers { q, out: &out.tensor, rows: &rows, row_count: &row_count, new };
        let source = KvSource { cache: (&k, &v), dtype, capacity, window };
        let planned = attention_tile::plan(&runner.planner, "attention", self.case.heads(), buffers, source);
        runner.run_one(planned.expect("a plan"), n_rows, &out)
    }
}

/// Runs a step over slots whose earlier positions are in the ring.
pub(super) fn check(random: &mut Random, case: Case, rows: &[(u32, u32, u32)]) {
    let step = Step::new(random, case, rows);
    if !case.new_rows {
        step.check_few();
    }
    step.check_many();
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
