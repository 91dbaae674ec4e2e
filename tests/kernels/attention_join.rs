//! `attention_join.wgsl`: the shares of a row's positions become its result. Shares are made up here; those that
//! `attention.wgsl` makes are in `attention.rs`.

use lapidary::gpu::Kind;
use lapidary::model::KvDtype;
use lapidary::testing::kernels::attention::attention;
use lapidary::testing::kernels::attention::attention::{Buffers, KvSource};
use lapidary::testing::kernels::attention::head_norm_rope::KvPair;
use lapidary::testing::kernels::attention::head_norm_rope::{Heads, Inputs, Kv};
use lapidary::testing::kernels::tuning::AttentionFew;
use lapidary::testing::kernels::{key, tuning_mut};
use lapidary::testing::reference::ops::{self, Share};

use super::rounded::assert_rounded;
use super::rounding::zeros;
use crate::common::random::{Random, Spread};
use crate::common::tolerance::{EPS, assert_close};
use crate::common::{Output, Runner, compact, rows_tensor, step_rows, tensor};

/// Heads of a step, and how its positions are shared.
#[derive(Debug, Clone, Copy)]
struct Case {
    n_heads: usize,
    head_dim: usize,
    window: Option<usize>,
    /// Shares of a row at most.
    splits: usize,
}

/// Positions of a block, of which shares consist.
const BLOCK: usize = 16;
/// Shares that lanes take at a time: four each of the eight that share a column.
const AT_A_TIME: usize = 32;

/// How shares are made up.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Made {
    /// Maxima of some units, as ordinary scores have them.
    Ordinary,
    /// Maxima of hundreds: most shares have no weight.
    Sharp,
    /// Equal maxima, totals and sums that are powers of two.
    Even,
    /// All but the share of this number have no weight at all.
    One(usize),
}

/// Joins made-up shares of the rows at `positions` and compares what comes out.
fn check(random: &mut Random, case: Case, positions: &[u32], made: Made) {
    let Case { n_heads, head_dim: d, window, splits } = case;
    let n_rows = positions.len();
    let mut runner = Runner::new();
    let few = AttentionFew { block: BLOCK as u32, ..AttentionFew::of(Kind::Unknown) };
    let workgroups = (splits * n_heads.div_ceil(few.heads)) as u32;
    tuning_mut(&mut runner.planner).attention_few = AttentionFew { workgroups, ..few };
    let row_shares = (splits / n_rows).max(1);
    let words = d + 4;
    // Shares that belong to no positions are NaN.
    let mut shares = vec![f32::NAN; splits.max(n_rows) * n_heads * words];
    let mut parts: Vec<Vec<(f32, f32, Vec<f32>)>> = Vec::new();
    for (t, &position) in positions.iter().enumerate() {
        let visible = window.map_or(position as usize + 1, |window| window.min(position as usize + 1));
        let share = visible.div_ceil(BLOCK).div_ceil(row_shares) * BLOCK;
        for head in 0..n_heads {
            let mut own = Vec::new();
            for s in 0..visible.div_ceil(share) {
                let (largest, total) = match made {
                    Made::Ordinary => (3.0 * random.normal(), 1.0 + 15.0 * random.uniform().abs()),
                    Made::Sharp => (300.0 * random.normal(), 1.0 + random.uniform().abs()),
                    Made::Even => (0.5, 2.0),
                    Made::One(one) => (if s == one { 7.0 } else { -1e30 }, 1.0),
                };
                let sum: Vec<f32> = match made {
                    Made::Even => (0..d).map(|_| random.below(64) as f32).collect(),
                    _ => random.values(d, Spread::Outliers),
                };
                let at = ((t * row_shares + s) * n_heads + head) * words;
                shares[at..at + d].copy_from_slice(&sum);
                (shares[at + d], shares[at + d + 1]) = (largest, total);
                own.push((largest, total, sum));
            }
            parts.push(own);
        }
    }
    let (out, words) = (Output::compact(n_rows, n_heads * d), zeros(n_rows, n_heads * d));
    let rounds = d.is_multiple_of(32);
    let rows: Vec<(u32, u32, u32)> = positions.iter().enumerate().map(|(t, &p)| (t as u32, p, 0)).collect();
    let shares = compact(shares.len(), &shares);
    let (norms, rotary) = (compact(d, &vec![0.0f32; 2 * d]), tensor(d, &vec![0.0; n_rows * d]));
    let qkv = tensor(n_heads * d, &vec![0.0; n_rows * n_heads * d]);
    let heads = Heads {
        n_heads,
        n_kv_heads: 1,
        heads_per_kv: n_heads,
        first_head: 0,
        head_dim: d,
        rotated_pairs: 0,
        rotary_offset: 0,
        eps: 1e-6,
    };
    let cache = Output::compact(1, KvDtype::F32.head_words(d));
    let source = KvSource {
        cache: KvPair { k: &cache.tensor, v: &cache.tensor },
        dtype: KvDtype::F32,
        capacity: window.unwrap_or(1),
        window,
    };
    let rows = rows_tensor(&step_rows(&rows));
    let inputs = Inputs { qkv: &qkv, kv: Kv::Shared, norms: &norms, rotary: &rotary, rows: &rows };
    let buffers = Buffers { out: &out.tensor, rounded: rounds.then_some(&words.tensor), shares: Some(&shares) };
    let planned = attention::plan(&runner.planner, "attention", heads, &inputs, buffers, source).expect("a plan");
    let join: Vec<_> = planned.into_iter().filter(|one| one.shader().stem == "attention_join").collect();
    let [join] = join.try_into().unwrap_or_else(|_| panic!("{case:?}: no join was planned"));
    let split = key(&join).constants.iter().find(|(name, _)| *name == "SPLITS").expect("a constant").1;
    assert_eq!(split as usize, splits, "{case:?}: shares of a row");
    let results = runner.run(&[join], n_rows, &[&out, &words]);
    for (i, parts) in parts.iter().enumerate() {
        let shares: Vec<Share> =
            parts.iter().map(|(largest, total, sum)| Share { largest: *largest, total: *total, sum }).collect();
        let expected = ops::attention_join(&shares);
        let bound = bounds(&shares, &expected, made);
        let actual = &results[0][i * d..][..d];
        let what = format!("{case:?}, {made:?}, {} shares, row {}, head {}", shares.len(), i / n_heads, i % n_heads);
        assert_close(&what, &expected, actual, |k| bound[k]);
    }
    for t in 0..if rounds { n_rows } else { 0 } {
        let row = &results[0][t * n_heads * d..][..n_heads * d];
        let words = &results[1][t * words.tensor.width..][..words.tensor.width];
        let words: Vec<u32> = words.iter().map(|v| v.to_bits()).collect();
        assert_rounded(&format!("{case:?}, row {t}"), row, &words);
    }
}

/// A share's weight is a product of an exponential for each time that four of a lane were joined and one for the lanes; each
/// is good to 3 + 2 |x| units (WGSL), its argument rounds once, and all arguments together are what the share lies below the
/// largest. Then as many terms are added up as there are shares, twice, and one is divided by the other (2.5 units).
fn bounds(shares: &[Share], expected: &[f32], made: Made) -> Vec<f64> {
    if let Made::One(_) = made {
        // A weight of one, which exp makes to 3 units, cancels in the division, which is good to 2.5.
        return expected.iter().map(|v| 8.0 * EPS * f64::from(v.abs())).collect();
    }
    let largest = shares.iter().map(|s| f64::from(s.largest)).fold(f64::NEG_INFINITY, f64::max);
    let joins = (shares.len().div_ceil(AT_A_TIME) + 2) as f64;
    let weights: Vec<f64> = shares.iter().map(|s| (f64::from(s.largest) - largest).exp()).collect();
    let relative: Vec<f64> = shares
        .iter()
        .map(|s| EPS * (3.0 * joins + 3.0 * (largest - f64::from(s.largest)).min(110.0) + shares.len() as f64 + 2.0))
        .collect();
    let total: f64 = weights.iter().zip(shares).map(|(w, s)| w * f64::from(s.total)).sum();
    let of_total: f64 = (0..shares.len()).map(|s| weights[s] * f64::from(shares[s].total) * relative[s]).sum();
    let of_sum = |k: usize| -> f64 {
        (0..shares.len()).map(|s| weights[s] * f64::from(shares[s].sum[k].abs()) * relative[s]).sum()
    };
    let own = |k: usize| f64::from(expected[k].abs());
    (0..expected.len()).map(|k| (of_sum(k) + own(k) * of_total) / total + 3.0 * EPS * own(k) + 1e-30).collect()
}

/// Heads around the eight vec4 of a workgroup, and shares: one, some, as many as lanes take at a time, one more, and more
/// than twice as many.
pub(super) fn check_some() {
    let mut random = Random::new(810);
    for (n_heads, head_dim) in [(1, 8), (2, 32), (3, 40)] {
        for (splits, position) in [(2, 0), (2, 40), (7, 111), (32, 511), (33, 33 * 16 - 1), (80, 80 * 16 - 16)] {
            let case = Case { n_heads, head_dim, window: None, splits };
            check(&mut random, case, &[position], Made::Ordinary);
        }
    }
    let case = Case { n_heads: 2, head_dim: 16, window: None, splits: 70 };
    check(&mut random, case, &[70 * 16 - 1], Made::Sharp);
    check(&mut random, case, &[70 * 16 - 1], Made::Even);
    for one in [0, 1, 7, 8, 31, 32, 63, 64, 69] {
        check(&mut random, case, &[70 * 16 - 1], Made::One(one));
    }
    // Several rows divide the shares among them; windows have fewer.
    let several = Case { n_heads: 2, head_dim: 32, window: None, splits: 12 };
    check(&mut random, several, &[0, 15, 16, 200, 1000], Made::Ordinary);
    check(&mut random, several, &[47, 48, 49], Made::One(1));
    let windowed = Case { window: Some(160), splits: 10, ..several };
    check(&mut random, windowed, &[0, 100, 159, 160, 5000], Made::Ordinary);
    // Of all its positions it would have fewer shares.
    check(&mut random, windowed, &[165], Made::Ordinary);
}

#[test]
fn shares_of_all_numbers() {
    check_some();
}

#[test]
fn heads_of_all_widths() {
    let mut random = Random::new(811);
    for (n_heads, head_dim) in [(4, 24), (1, 64), (2, 96), (1, 256), (8, 264), (2, 512)] {
        let case = Case { n_heads, head_dim, window: None, splits: 40 };
        check(&mut random, case, &[40 * 16 - 1, 5], Made::Ordinary);
        check(&mut random, case, &[39 * 16], Made::Sharp);
    }
}
