//! Checks of attention, of what comes before it, and of the way into the KV cache.

use crate::Result;
use crate::gpu::Tier;
use crate::kernels::KvDtype;
use crate::kernels::attention::attention_tile::Queries;
use crate::kernels::attention::head_norm_rope;
use crate::kernels::attention::head_norm_rope::KvPair;
use crate::kernels::attention::head_norm_rope::{Heads, Inputs, Kv, KvTarget};
use crate::kernels::attention::kv_store;
use crate::reference::ops;
use crate::testing::attention_step::{Case, Step};
use crate::testing::bounds::Measure;
use crate::testing::random::{Random, Spread};
use crate::testing::twins;
use crate::testing::twins::NORM_EPS;
use crate::testing::workbench::{Output, Workbench, is_untouched, step_rows};

/// (slot, position, token) of `count` rows from `first` on.
fn chunk(slot: u32, first: u32, count: u32) -> Vec<(u32, u32, u32)> {
    (first..first + count).map(|position| (slot, position, 0)).collect()
}

/// A sliding layer whose window ends inside a block and whose ring has wrapped, and a full layer with K = V, each with heads
/// of a released model.
fn cases(dtype: KvDtype) -> [Case; 2] {
    let sliding = Case { window: Some(100), capacity: 115, dtype, ..Case::new(4, 2, 256) };
    let full = Case { capacity: 256, kv: Kv::KeysOnly, dtype, ..Case::new(8, 1, 512) };
    [sliding, full]
}

fn few(bench: &Workbench, dtype: KvDtype, measure: &mut Measure) -> Result<()> {
    let mut random = Random::new(30);
    let rows = [chunk(1, 30, 3), chunk(0, 190, 1)].concat();
    let rounds = bench.planner.tier >= Tier::Dot;
    for case in cases(dtype).into_iter().take(if bench.is_hasty() { 1 } else { 2 }) {
        Step::new(&mut random, case, &rows).few(bench, rounds, measure)?;
        if !bench.brief {
            Step::new(&mut random, case, &chunk(0, 161, 1)).few(bench, rounds, measure)?;
        }
    }
    Ok(())
}

fn many(bench: &Workbench, dtype: KvDtype, measure: &mut Measure) -> Result<()> {
    let mut random = Random::new(31);
    let [sliding, full] = cases(dtype);
    // A chunk's own keys of a sliding layer stand apart.
    for case in [Case { new_rows: true, ..sliding }, full] {
        Step::new(&mut random, case, &[chunk(1, 90, 21), chunk(0, 130, 1)].concat()).many(bench, measure)?;
    }
    Ok(())
}

pub(super) fn few_f32(bench: &Workbench, measure: &mut Measure) -> Result<()> {
    few(bench, KvDtype::F32, measure)
}

pub(super) fn few_f16(bench: &Workbench, measure: &mut Measure) -> Result<()> {
    few(bench, KvDtype::F16, measure)
}

pub(super) fn few_int8(bench: &Workbench, measure: &mut Measure) -> Result<()> {
    few(bench, KvDtype::Int8, measure)
}

pub(super) fn many_f32(bench: &Workbench, measure: &mut Measure) -> Result<()> {
    heads(bench, KvDtype::F32, measure)?;
    many(bench, KvDtype::F32, measure)
}

pub(super) fn many_f16(bench: &Workbench, measure: &mut Measure) -> Result<()> {
    heads(bench, KvDtype::F16, measure)?;
    many(bench, KvDtype::F16, measure)
}

pub(super) fn many_int8(bench: &Workbench, measure: &mut Measure) -> Result<()> {
    heads(bench, KvDtype::Int8, measure)?;
    many(bench, KvDtype::Int8, measure)
}

pub(super) fn heads_f16(bench: &Workbench, measure: &mut Measure) -> Result<()> {
    heads(bench, KvDtype::F16, measure)
}

/// Norms and rotation of a chunk's heads, into the cache and into rows of their own.
fn heads(bench: &Workbench, dtype: KvDtype, measure: &mut Measure) -> Result<()> {
    let (mut random, d, n_heads, n_kv_heads, capacity) = (Random::new(32), 256, 4, 2, 5);
    let step = step_rows(&[chunk(0, 3, 3), chunk(2, 11, 2)].concat());
    let (n_rows, n_slots, offset, pairs) = (step.len(), 3, 7, d / 2);
    let heads = Heads {
        n_heads,
        n_kv_heads,
        heads_per_kv: n_heads / n_kv_heads,
        first_head: 0,
        head_dim: d,
        rotated_pairs: pairs,
        rotary_offset: offset,
        eps: NORM_EPS,
    };
    let width = (n_heads + 2 * n_kv_heads) * d;
    let qkv = random.values(n_rows * width, Spread::Outliers);
    let norms = random.values(2 * d, Spread::Normal);
    let angle = |_| {
        let angle = 4.0 * random.uniform();
        [angle.cos(), angle.sin()]
    };
    let angles: Vec<[f32; 2]> = (0..n_rows * (offset + pairs)).map(angle).collect();
    let (qkv_tensor, norms_tensor) = (bench.tensor(width, &qkv)?, bench.compact(d, &norms)?);
    let rotary = bench.compact(2 * (offset + pairs), angles.as_flattened())?;
    let inputs =
        Inputs { qkv: &qkv_tensor, kv: Kv::Both, norms: &norms_tensor, rotary: &rotary, rows: &bench.rows(&step)? };
    let (head_words, kv_words) = (dtype.head_words(d), n_kv_heads * dtype.head_words(d));
    for to_cache in [true, false] {
        let kv_rows = if to_cache { n_slots * capacity } else { n_rows };
        let q = Output::new(bench.gpu(), n_rows, n_heads * d)?;
        let k = Output::new(bench.gpu(), kv_rows, kv_words)?;
        let v = Output::new(bench.gpu(), kv_rows, kv_words)?;
        let pair = KvPair { k: &k.tensor, v: &v.tensor };
        let kv = match to_cache {
            true => KvTarget::Cache { cache: pair, capacity },
            false => KvTarget::Rows(pair),
        };
        let to = head_norm_rope::Outputs { q: &q.tensor, queries: Queries::Rows, kv, dtype };
        let planned = head_norm_rope::plan(&bench.planner, "head_norm_rope", heads, &inputs, to)?;
        let results = bench.run(&[planned], n_rows, &[&q, &k, &v])?;
        for (t, row) in step.iter().enumerate() {
            let of = |head: usize| &qkv[t * width + head * d..][..d];
            let turned = &angles[t * (offset + pairs) + offset..][..pairs];
            let place = if to_cache { row.slot as usize * capacity + row.position as usize % capacity } else { t };
            for j in 0..n_heads {
                let (expected, bound) = twins::head(of(j), Some(&norms[..d]), turned, 64);
                let actual = &results[0][(t * n_heads + j) * d..][..d];
                measure.close(&format!("q of row {t}, head {j}"), &expected, actual, |i| bound[i]);
            }
            for j in 0..n_kv_heads {
                let key = twins::head(of(n_heads + j), Some(&norms[d..]), turned, 64);
                let value = twins::head(of(n_heads + n_kv_heads + j), None, &[], 64);
                for (what, head, result) in [("k", key, &results[1]), ("v", value, &results[2])] {
                    let words = &result[place * kv_words + j * head_words..][..head_words];
                    let words: Vec<u32> = words.iter().map(|word| word.to_bits()).collect();
                    let (expected, bound) = twins::stored(head, dtype);
                    let actual = ops::kv_unpack(&words, dtype, d);
                    measure.close(&format!("{what} of row {t}, head {j}"), &expected, &actual, |i| bound[i]);
                }
            }
        }
    }
    Ok(())
}

/// A chunk's keys and values enter the ring, of which later rows replace earlier ones.
pub(super) fn store(bench: &Workbench, measure: &mut Measure) -> Result<()> {
    let (mut random, width, capacity, n_slots) = (Random::new(33), 96, 7, 3);
    let rows = [chunk(2, 3, 12), chunk(0, 100, 1)].concat();
    let k = random.values(rows.len() * width, Spread::Normal);
    let v = random.values(rows.len() * width, Spread::Normal);
    let k_cache = Output::new(bench.gpu(), n_slots * capacity, width)?;
    let v_cache = Output::new(bench.gpu(), n_slots * capacity, width)?;
    let planned = kv_store::plan(
        &bench.planner,
        "kv_store",
        KvPair { k: &bench.tensor(width, &k)?, v: &bench.tensor(width, &v)? },
        KvPair { k: &k_cache.tensor, v: &v_cache.tensor },
        capacity,
        &bench.rows(&step_rows(&rows))?,
    )?;
    let results = bench.run(&[planned], rows.len(), &[&k_cache, &v_cache])?;
    for (name, new, result) in [("k", &k, &results[0]), ("v", &v, &results[1])] {
        for (place, actual) in result.chunks_exact(width).enumerate() {
            let stands = |row: &(u32, u32, u32)| row.0 as usize * capacity + row.1 as usize % capacity == place;
            let what = format!("{name}, place {place}");
            match rows.iter().rposition(stands) {
                Some(t) => measure.exact(&what, &new[t * width..][..width], actual),
                None => measure.holds(&what, actual.iter().all(|&v| is_untouched(v)), || "was written".to_owned()),
            }
        }
    }
    Ok(())
}
