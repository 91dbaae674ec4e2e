//! A step's attention on the CPU: queries, keys and values of made-up sequences, the cache that holds them, and what comes
//! out.

use super::bounds::{MAX_NMSE, Measure, nmse};
use super::random::{Random, Spread};
use super::twins::{self, Bounded};
use super::workbench::{Output, Workbench, step_rows};
use crate::Result;
use crate::kernels::attention::attention;
use crate::kernels::attention::attention::{Buffers, KvSource};
use crate::kernels::attention::attention_tile;
use crate::kernels::attention::attention_tile::Queries;
use crate::kernels::attention::head_norm_rope::KvPair;
use crate::kernels::attention::head_norm_rope::{Heads, Inputs, Kv};
use crate::kernels::{KvDtype, StepRow};
use crate::reference::ops;

/// Heads, window and cache.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// Query heads.
    pub n_heads: usize,
    /// Key and value heads.
    pub n_kv_heads: usize,
    /// Query heads that read one KV head.
    pub heads_per_kv: usize,
    /// How many of them belong to the rank before.
    pub first_head: usize,
    /// Dimensions of a head.
    pub head_dim: usize,
    /// Visible positions up to a row's own; `None` for all.
    pub window: Option<usize>,
    /// Positions of a slot's ring.
    pub capacity: usize,
    /// The step's own keys stand in rows of their own, not in the cache: in steps of many rows.
    pub new_rows: bool,
    /// Factor on the queries: large ones make the softmax sharp.
    pub sharpness: f32,
    /// How the cache holds keys and values.
    pub dtype: KvDtype,
    /// What the layer makes itself; with `Shared` the cache holds the step's keys and values too.
    pub kv: Kv,
}

impl Case {
    /// f32, no window, a cache of 1,024 positions.
    pub fn new(n_heads: usize, n_kv_heads: usize, head_dim: usize) -> Self {
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

    /// Their sizes, and which pairs turn.
    pub fn heads(self) -> Heads {
        let Case { n_heads, n_kv_heads, heads_per_kv, first_head, head_dim, .. } = self;
        // A global layer turns a part of the pairs, and its angles stand behind others.
        let rotated_pairs = if head_dim == 512 { 64 } else { head_dim / 2 };
        let (rotary_offset, eps) = (5, 1e-6);
        Heads { n_heads, n_kv_heads, heads_per_kv, first_head, head_dim, rotated_pairs, rotary_offset, eps }
    }
}

/// A step and the keys and values of all positions of its slots.
#[derive(Debug)]
pub struct Step {
    case: Case,
    rows: Vec<StepRow>,
    n_slots: usize,
    n_positions: usize,
    /// By row and head.
    q: Vec<Bounded>,
    /// By slot, position and head, as the cache gives them back.
    k: Vec<Bounded>,
    v: Vec<Bounded>,
    /// Before norm and rotation: heads of q, k and v of each row, side by side.
    qkv: Vec<f32>,
    /// `[2, head_dim]`.
    norms: Vec<f32>,
    /// `[rows, pairs, 2]`.
    rotary: Vec<f32>,
}

/// Where a step's queries, keys and values come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Made {
    /// The kernel makes them.
    Here,
    /// They are given.
    Before,
    /// They are given, and rounded to f16 on the way as weights are.
    Rounded,
}

/// A word that is NaN in each format.
const NAN: u32 = 0x7fc0_7e00;

/// Pairs of a row of the rotary table behind those of the case.
const MORE_PAIRS: usize = 2;

impl Step {
    /// Made-up sequences, and a step of `rows` (slot, position, token).
    pub fn new(random: &mut Random, case: Case, rows: &[(u32, u32, u32)]) -> Self {
        let (heads, d, rows) = (case.heads(), case.head_dim, step_rows(rows));
        let n_slots = 1 + rows.iter().map(|r| r.slot as usize).max().expect("rows");
        let n_positions = 1 + rows.iter().map(|r| r.position as usize).max().expect("rows");
        let mut cached = |spread| -> Vec<Bounded> {
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
            q.extend((0..case.n_heads).map(|j| twins::head(of(j), Some(&norms[..d]), &angles, 8)));
            for j in 0..if own_heads > 0 { case.n_kv_heads } else { 0 } {
                let at = (row.slot as usize * n_positions + row.position as usize) * case.n_kv_heads + j;
                let first_v = case.n_heads + (own_heads - 1) * case.n_kv_heads;
                k[at] = twins::stored(twins::head(of(case.n_heads + j), Some(&norms[d..]), &angles, 8), case.dtype);
                v[at] = twins::stored(twins::head(of(first_v + j), None, &[], 8), case.dtype);
            }
        }
        Step { case, rows, n_slots, n_positions, q, k, v, qkv, norms, rotary }
    }

    /// Heads, window and cache.
    pub fn case(&self) -> Case {
        self.case
    }

    /// Words of the heads of a position.
    fn words(&self, of: &[Bounded], slot: usize, position: usize) -> Vec<u32> {
        let n = self.case.n_kv_heads;
        let heads = &of[(slot * self.n_positions + position) * n..][..n];
        heads.iter().flat_map(|(values, _)| ops::kv_pack(values, self.case.dtype)).collect()
    }

    /// Cache rows of all positions before the step, and of its own where `own`. What lies outside of the ring, and in the
    /// ring where nothing was stored, is NaN in each format: reading it shows.
    fn cache(&self, of: &[Bounded], own: bool) -> Vec<f32> {
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
    fn own(&self, of: &[Bounded]) -> Vec<u32> {
        self.rows.iter().flat_map(|r| self.words(of, r.slot as usize, r.position as usize)).collect()
    }

    /// What query head `j` of row `t` gets, as far off as `made` says.
    fn expected(&self, t: usize, j: usize, made: Made) -> Bounded {
        let Case { n_heads, n_kv_heads, heads_per_kv, first_head, head_dim, window, dtype, .. } = self.case;
        let (slot, position) = (self.rows[t].slot as usize, self.rows[t].position as usize);
        let first = window.map_or(0, |w| (position + 1).saturating_sub(w));
        let kv_head = (first_head + j) / heads_per_kv;
        let input = |(values, bound): &Bounded, halves: bool| -> Bounded {
            let given = (values.clone(), vec![0.0; head_dim]);
            match made {
                Made::Here => (values.clone(), bound.clone()),
                Made::Rounded if halves => twins::halved(&given),
                Made::Rounded | Made::Before => given,
            }
        };
        let visible = |all: &[Bounded]| -> Vec<Bounded> {
            let at = |p: usize| (slot * self.n_positions + p) * n_kv_heads + kv_head;
            // What the cache holds in f16 is not rounded once more.
            (first..=position).map(|p| input(&all[at(p)], dtype != KvDtype::F16)).collect()
        };
        let (keys, values) = (visible(&self.k), visible(&self.v));
        let (keys, values): (Vec<&Bounded>, Vec<&Bounded>) = (keys.iter().collect(), values.iter().collect());
        twins::attention(&input(&self.q[t * n_heads + j], true), &keys, &values, made == Made::Rounded)
    }

    fn measure_results(&self, measure: &mut Measure, what: &str, actual: &[f32], made: Made) {
        let Case { n_heads, head_dim: d, sharpness, dtype, .. } = self.case;
        for (t, row) in self.rows.iter().enumerate() {
            for j in 0..n_heads {
                let (expected, bound) = self.expected(t, j, made);
                let what = format!("{what}, row {t} (slot {}, position {}), head {j}", row.slot, row.position);
                let actual = &actual[(t * n_heads + j) * d..][..d];
                measure.close(&what, &expected, actual, |i| bound[i]);
                // Sharp scores are large numbers; their rounding is the input's of exp, so the gate is for ordinary ones.
                // Keys and values that are rounded here and there are a step apart.
                if sharpness < 1.0 && made != Made::Rounded && (dtype == KvDtype::F32 || made == Made::Before) {
                    let nmse = nmse(&expected, actual);
                    measure.holds(&what, nmse <= MAX_NMSE, || format!("NMSE {nmse:e}, at most {MAX_NMSE:e}"));
                }
            }
        }
    }

    /// The cache after a step of few rows: its own rows are there, and nothing else has changed.
    fn measure_cache(&self, measure: &mut Measure, what: &str, of: &[Bounded], actual: &[f32]) {
        let Case { n_kv_heads, head_dim: d, dtype, capacity, kv, .. } = self.case;
        let (head_words, before) = (dtype.head_words(d), self.cache(of, kv == Kv::Shared));
        let width = n_kv_heads * head_words;
        let own = |row: usize| {
            let is_at = |r: &&StepRow| row == r.slot as usize * capacity + r.position as usize % capacity;
            self.rows.iter().rfind(is_at).filter(|_| kv != Kv::Shared)
        };
        let bits = |values: &[f32]| -> Vec<u32> { values.iter().map(|v| v.to_bits()).collect() };
        for (i, row) in actual.chunks_exact(width).enumerate() {
            let Some(r) = own(i) else {
                let same = bits(row) == bits(&before[i * width..][..width]);
                measure.holds(what, same, || format!("row {i} changed"));
                continue;
            };
            for (j, words) in bits(row).chunks_exact(head_words).enumerate() {
                let at = (r.slot as usize * self.n_positions + r.position as usize) * n_kv_heads + j;
                let values = ops::kv_unpack(words, dtype, d);
                measure.close(&format!("{what}, row {i} head {j}"), &of[at].0, &values, |n| of[at].1[n]);
            }
        }
    }

    /// Runs the step as one of few rows, norms, rotation and the way into the cache included, and measures what comes of it;
    /// with `rounds` also its rounding.
    ///
    /// # Errors
    /// Those of the device.
    pub fn few(&self, bench: &Workbench, rounds: bool, measure: &mut Measure) -> Result<()> {
        let Case { n_heads, n_kv_heads, head_dim: d, dtype, window, capacity, kv, .. } = self.case;
        let (n_rows, q_width) = (self.rows.len(), n_heads * d);
        let step = bench.rows(&self.rows)?;
        let qkv = bench.tensor(self.qkv.len() / n_rows, &self.qkv)?;
        let (norms, rotary) =
            (bench.compact(d, &self.norms)?, bench.compact(self.rotary.len() / n_rows, &self.rotary)?);
        let inputs = Inputs { qkv: &qkv, kv, norms: &norms, rotary: &rotary, rows: &step };
        // Shares that nobody has written are NaN.
        let words = attention::share_words(n_heads, n_kv_heads, d, n_rows);
        let shares = bench.compact(words, &vec![f32::NAN; words])?;
        let out = Output::compact(bench.gpu(), n_rows, q_width)?;
        let width = n_kv_heads * dtype.head_words(d);
        let cache = |of| Output::in_place(bench.gpu(), width, &self.cache(of, kv == Kv::Shared));
        let (k, v) = (cache(&self.k)?, cache(&self.v)?);
        let source = KvSource { cache: KvPair { k: &k.tensor, v: &v.tensor }, dtype, capacity, window };
        let rounded = match rounds {
            true => Some(Output::rounded(bench.gpu(), n_rows, q_width)?),
            false => None,
        };
        let to = rounded.as_ref().map(|rounded| &rounded.tensor);
        let buffers = Buffers { out: &out.tensor, rounded: to, shares: Some(&shares) };
        let planned = attention::plan(&bench.planner, "attention", self.case.heads(), &inputs, buffers, source)?;
        let outputs: Vec<&Output> = [&out, &k, &v].into_iter().chain(&rounded).collect();
        let results = bench.run(&planned, n_rows, &outputs)?;
        let what = format!("{:?}, few rows", self.case);
        if let Some(words) = results.get(3) {
            twins::measure_rounding(measure, &what, &results[0], q_width, words);
        }
        self.measure_results(measure, &what, &results[0], Made::Here);
        for (name, of, actual) in [("k", &self.k, &results[1]), ("v", &self.v, &results[2])] {
            self.measure_cache(measure, &format!("{what}, {name}"), of, actual);
        }
        Ok(())
    }

    /// How attention wants the queries of a step of many rows, where there is room for whole tiles.
    ///
    /// # Errors
    /// Those of the device.
    pub fn queries(&self, bench: &Workbench) -> Result<Queries> {
        let q = bench.compact(self.q_width(), &vec![0u32; self.q_room()])?;
        Ok(attention_tile::queries(&bench.planner, self.case.heads(), &q, self.case.dtype))
    }

    fn q_width(&self) -> usize {
        self.case.n_heads * self.case.head_dim
    }

    /// Words of queries in whole tiles, which have up to 64 rows.
    fn q_room(&self) -> usize {
        self.rows.len().next_multiple_of(64) * self.q_width()
    }

    /// The queries' words as `wanted`. Lines that belong to no row, or to no head of the rank, are NaN.
    fn query_words(&self, wanted: Queries) -> Vec<u32> {
        let Case { n_heads, heads_per_kv, first_head, head_dim: d, .. } = self.case;
        let mut words = vec![NAN; self.q_room()];
        let Queries::Squares { side, rows } = wanted else {
            let all = self.q.iter().flat_map(|(values, _)| values);
            words.iter_mut().zip(all).for_each(|(word, value)| *word = value.to_bits());
            return words;
        };
        let side = side as usize;
        for (i, (values, _)) in self.q.iter().enumerate() {
            let (t, j) = (i / n_heads, first_head + i % n_heads);
            let line = (j / heads_per_kv * rows + t) * heads_per_kv + j % heads_per_kv;
            let pairs = ops::kv_pack(values, KvDtype::F16);
            for (k, pair) in pairs.iter().take(d / 2).enumerate() {
                let (square, column) = (line / side * (d / side) + 2 * k / side, 2 * k % side);
                words[((square * side + line % side) * side + column) / 2] = *pair;
            }
        }
        words
    }

    /// Runs the step as one of many rows, with queries, keys and values made before, and measures what comes of it.
    ///
    /// # Errors
    /// Those of the device.
    pub fn many(&self, bench: &Workbench, measure: &mut Measure) -> Result<()> {
        let Case { n_heads, n_kv_heads, head_dim: d, dtype, window, capacity, new_rows, .. } = self.case;
        let (n_rows, width) = (self.rows.len(), n_kv_heads * dtype.head_words(d));
        let wanted = self.queries(bench)?;
        let out = Output::compact(bench.gpu(), n_rows, n_heads * d)?;
        let (q, rows) = (bench.compact(n_heads * d, &self.query_words(wanted))?, bench.rows(&self.rows)?);
        let row_count = bench.compact(1, &[n_rows as u32])?;
        let cache = |of| bench.compact(width, &self.cache(of, !new_rows));
        let own = |of| bench.compact(width, &self.own(of));
        let (k, v, own_k, own_v) = (cache(&self.k)?, cache(&self.v)?, own(&self.k)?, own(&self.v)?);
        let new = new_rows.then_some(KvPair { k: &own_k, v: &own_v });
        let buffers = attention_tile::Buffers { q: &q, out: &out.tensor, rows: &rows, row_count: &row_count, new };
        let source = KvSource { cache: KvPair { k: &k, v: &v }, dtype, capacity, window };
        let planned = attention_tile::plan(&bench.planner, "attention", self.case.heads(), buffers, source)?;
        let actual = bench.run_for(&[planned], n_rows, &out)?;
        let made = if wanted == Queries::Rows { Made::Before } else { Made::Rounded };
        self.measure_results(measure, &format!("{:?}, many rows, {wanted:?}", self.case), &actual, made);
        Ok(())
    }
}
