//! Attention of 26B-A4B's shapes, alone: prefill in f32 and by cooperative matrices, with what these are off by; then decode
//! steps of one row with several sizes of workgroups.
//!
//! `cargo bench --bench attention [ADAPTER]`. Decode is timed from the host over a chain of dispatches that wait for each
//! other, as a model's do, with keys and values of zeros, which take as long as others; prefill by timestamps, with random
//! ones, whose scores grow as they do in a model.

use std::time::Instant;

use half::f16;
use lapidary::Result;
use lapidary::gpu::{Gpu, Kind, Tier};
use lapidary::model::KvDtype;
use lapidary::testing::gpu::{Dispatch, Recorder, Tensor};
use lapidary::testing::kernels::attention::attention;
use lapidary::testing::kernels::attention::attention::{Buffers, KvSource};
use lapidary::testing::kernels::attention::attention_tile;
use lapidary::testing::kernels::attention::attention_tile::Queries;
use lapidary::testing::kernels::attention::head_norm_rope::KvPair;
use lapidary::testing::kernels::attention::head_norm_rope::{Heads, Inputs, Kv};
use lapidary::testing::kernels::rows::fill_random;
use lapidary::testing::kernels::tuning::AttentionFew;
use lapidary::testing::kernels::tuning_mut;
use lapidary::testing::kernels::{Planner, StepRow, Tuning};
use lapidary::testing::quant::Bits;

const HEADS: usize = 16;
const CAPACITY: usize = 16 << 10;
const WINDOW: usize = 1024;

/// One kind of layer.
struct Layer {
    name: &'static str,
    n_kv_heads: usize,
    head_dim: usize,
    window: Option<usize>,
}

const LAYERS: [Layer; 2] = [
    Layer { name: "sliding", n_kv_heads: 8, head_dim: 256, window: Some(WINDOW) },
    Layer { name: "full", n_kv_heads: 2, head_dim: 512, window: None },
];

impl Layer {
    fn heads(&self) -> Heads {
        let (n_kv_heads, head_dim) = (self.n_kv_heads, self.head_dim);
        let (heads_per_kv, rotated_pairs) = (HEADS / n_kv_heads, 64);
        let (first_head, rotary_offset, eps) = (0, 0, 1e-6);
        Heads { n_heads: HEADS, n_kv_heads, heads_per_kv, first_head, head_dim, rotated_pairs, rotary_offset, eps }
    }
}

/// What a layer's kernels are bound to.
struct Room {
    qkv: Tensor,
    q: Tensor,
    out: Tensor,
    norms: Tensor,
    rotary: Tensor,
    rows: Tensor,
    row_count: Tensor,
    shares: Tensor,
    cache: [Tensor; 2],
}

impl Room {
    fn new(gpu: &Gpu, layer: &Layer, dtype: KvDtype, n_rows: usize) -> Result<Self> {
        let d = layer.head_dim;
        let new = |rows, width| Tensor::new(gpu, "room", rows, width);
        let cache = || new(CAPACITY, layer.n_kv_heads * dtype.head_words(d));
        Ok(Room {
            qkv: new(n_rows, (HEADS + 2 * layer.n_kv_heads) * d)?,
            q: new(n_rows, HEADS * d)?,
            out: new(n_rows, HEADS * d)?,
            norms: new(2, d)?,
            rotary: new(n_rows, d)?,
            rows: Tensor::compact(gpu, "rows", n_rows, 8)?,
            row_count: Tensor::compact(gpu, "row count", 1, 1)?,
            shares: Tensor::compact(gpu, "shares", 1, 2 * attention::share_words(HEADS, layer.n_kv_heads, d, 16))?,
            cache: [cache()?, cache()?],
        })
    }

    /// Rows of one slot, the last at `last`.
    fn fill(&self, gpu: &Gpu, n_rows: usize, last: usize) -> Result<()> {
        let first = (last + 1 - n_rows) as u32;
        let row = |t| StepRow {
            position: first + t,
            first_position: first,
            last_position: last as u32,
            ..StepRow::default()
        };
        gpu.write(&self.rows.buffer, 0, &(0..n_rows as u32).map(row).collect::<Vec<_>>())?;
        gpu.write(&self.row_count.buffer, 0, &[n_rows as u32])
    }

    fn source(&self, layer: &Layer, dtype: KvDtype) -> KvSource<'_> {
        KvSource {
            cache: KvPair { k: &self.cache[0], v: &self.cache[1] },
            dtype,
            capacity: CAPACITY,
            window: layer.window,
        }
    }
}

/// Microseconds of a chain of dispatches, by repetition.
fn chained(gpu: &Gpu, dispatches: &[Dispatch]) -> Result<f64> {
    const TIMES: usize = 300;
    let mut best = f64::INFINITY;
    for _ in 0..4 {
        let mut recorder = Recorder::new(gpu);
        for _ in 0..TIMES {
            dispatches.iter().for_each(|dispatch| recorder.dispatch(dispatch, 1));
        }
        recorder.submit();
        let start = Instant::now();
        gpu.wait()?;
        best = best.min(start.elapsed().as_secs_f64() * 1e6 / TIMES as f64);
    }
    Ok(best)
}

fn decode(gpu: &Gpu) -> Result<()> {
    let mut planner = Planner::new(gpu);
    for (layer, dtype) in
        LAYERS.iter().zip([KvDtype::F16; 2]).chain([(&LAYERS[0], KvDtype::F32), (&LAYERS[1], KvDtype::Int8)])
    {
        let room = Room::new(gpu, layer, dtype, 1)?;
        for (threads, block, workgroups) in [
            (256, 32, 512),
            (256, 32, 256),
            (256, 32, 128),
            (256, 64, 512),
            (256, 64, 256),
            (256, 64, 128),
            (128, 32, 512),
            (128, 32, 256),
            (128, 16, 512),
        ] {
            let few =
                AttentionFew { threads, wide_threads: threads, block, workgroups, ..AttentionFew::of(Kind::Nvidia) };
            *tuning_mut(&mut planner) = Tuning { attention_few: few, ..Tuning::of(Kind::Nvidia) };
            let inputs =
                Inputs { qkv: &room.qkv, kv: Kv::Both, norms: &room.norms, rotary: &room.rotary, rows: &room.rows };
            let buffers = Buffers { out: &room.out, rounded: None, shares: Some(&room.shares) };
            let planned =
                attention::plan(&planner, "decode", layer.heads(), &inputs, buffers, room.source(layer, dtype))?;
            let bound = planner.bind_all(&planned)?;
            let mut times = Vec::new();
            for depth in [0, 128, 512, 1023, 4095, 16383] {
                room.fill(gpu, 1, depth)?;
                times.push(format!("{:6.1}", chained(gpu, &bound)?));
            }
            let alone = chained(gpu, &bound[..1])?;
            println!(
                "{:8} {dtype:?} threads {threads:3} block {block:2} workgroups {workgroups:3}: {} us; without join {alone:.1}",
                layer.name,
                times.join(" ")
            );
        }
    }
    Ok(())
}

impl Room {
    /// Fills keys and values with numbers from 1/2 to 1 of both signs.
    fn fill_cache(&self, gpu: &Gpu, dtype: KvDtype) -> Result<()> {
        let bits = match dtype {
            KvDtype::F32 => Bits { keep: 0x807f_ffff, base: 0x3f00_0000 },
            _ => Bits { keep: 0x83ff_83ff, base: 0x3800_3800 },
        };
        let planner = Planner::new(gpu);
        let plan = |(seed, tensor): (u32, &Tensor)| fill_random::plan(&planner, "fill", &tensor.buffer, seed, bits);
        let planned: Result<Vec<_>> = (1..).zip(&self.cache).map(plan).collect();
        let mut recorder = Recorder::new(gpu);
        planner.bind_all(&planned?)?.iter().for_each(|dispatch| recorder.dispatch(dispatch, 1));
        recorder.submit();
        gpu.wait()
    }

    /// Queries from 1/16 to 1/8 of both signs, which f16 holds, as `wanted`.
    fn fill_queries(&self, gpu: &Gpu, layer: &Layer, wanted: Queries) -> Result<()> {
        let (d, per_kv) = (layer.head_dim, HEADS / layer.n_kv_heads);
        let mut state = 1u32;
        let halves = (0..self.q.rows * HEADS * d).map(|i| {
            state = state.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
            (i, (state >> 16) as u16 & 0x83ff | 0x2c00)
        });
        match wanted {
            Queries::Rows => {
                let all: Vec<f32> = halves.map(|(_, half)| f16::from_bits(half).to_f32()).collect();
                gpu.write(&self.q.buffer, 0, &all)
            }
            Queries::Squares { side, rows } => {
                let side = side as usize;
                let mut all = vec![0u16; layer.n_kv_heads * rows * per_kv * d];
                for (i, half) in halves {
                    let (t, head, k) = (i / d / HEADS, i / d % HEADS, i % d);
                    let line = (head / per_kv * rows + t) * per_kv + head % per_kv;
                    all[(line / side * (d / side) + k / side) * side * side + line % side * side + k % side] = half;
                }
                gpu.write(&self.q.buffer, 0, &all)
            }
        }
    }
}

/// Microseconds of a dispatch alone, by timestamps, at the clocks of a busy device.
fn alone(gpu: &Gpu, bound: &[Dispatch], n_rows: usize) -> Result<f64> {
    let busy = Instant::now();
    while busy.elapsed().as_millis() < 200 {
        let mut recorder = Recorder::new(gpu);
        bound.iter().for_each(|dispatch| recorder.dispatch(dispatch, n_rows));
        recorder.submit();
        gpu.wait()?;
    }
    let mut times = Vec::new();
    for _ in 0..9 {
        gpu.start_profile(gpu.timestamps()?)?;
        let mut recorder = Recorder::new(gpu);
        bound.iter().for_each(|dispatch| recorder.dispatch(dispatch, n_rows));
        recorder.submit();
        times.extend(gpu.finish_profile()?.iter().map(|timing| timing.nanoseconds / 1e3));
    }
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}

/// What is wrong with `actual`: how many are no numbers, and the largest difference.
fn compare(expected: &[f32], actual: &[f32]) -> String {
    let not_finite = actual.iter().filter(|v| !v.is_finite()).count();
    let largest = expected.iter().zip(actual).map(|(e, a)| (e - a).abs()).fold(0.0f32, f32::max);
    let mean_square = expected.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / expected.len() as f64;
    format!("off by {largest:.1e} at most of {:.1e}, {not_finite} not finite", mean_square.sqrt())
}

fn prefill(gpu: &Gpu) -> Result<()> {
    for (dtype, layer) in [KvDtype::F16, KvDtype::F32].into_iter().flat_map(|d| LAYERS.iter().map(move |l| (d, l))) {
        for (n_rows, depth) in [(512, 0), (1024, 1024), (2048, 14 << 10)] {
            let room = Room::new(gpu, layer, dtype, n_rows)?;
            room.fill(gpu, n_rows, depth + n_rows - 1)?;
            room.fill_cache(gpu, dtype)?;
            let mut in_f32 = Vec::new();
            for tier in [Tier::Plain, Tier::Matrix].into_iter().filter(|&tier| tier <= gpu.strongest_tier()) {
                let planner = Planner::new(gpu).with_tier(tier);
                let wanted = attention_tile::queries(&planner, layer.heads(), &room.q, dtype);
                if tier == Tier::Matrix && wanted == Queries::Rows {
                    continue;
                }
                room.fill_queries(gpu, layer, wanted)?;
                let (q, out, rows, row_count) = (&room.q, &room.out, &room.rows, &room.row_count);
                let buffers = attention_tile::Buffers { q, out, rows, row_count, new: None };
                let source = room.source(layer, dtype);
                let planned = attention_tile::plan(&planner, "prefill", layer.heads(), buffers, source)?;
                let time = alone(gpu, &planner.bind_all(&[planned])?, n_rows)?;
                let mut recorder = Recorder::new(gpu);
                let copy = recorder.read_back(out, n_rows)?;
                recorder.submit();
                let results: Vec<f32> = copy.read(gpu, n_rows)?;
                let visible = |p: usize| (p + 1).min(layer.window.unwrap_or(usize::MAX));
                let operations =
                    (4 * HEADS * layer.head_dim * (depth..depth + n_rows).map(visible).sum::<usize>()) as f64;
                let error = if tier == Tier::Plain { String::new() } else { compare(&in_f32, &results) };
                println!(
                    "{:8} {dtype:?} {n_rows} rows at {depth}, {tier}: {time:.0} us, {:.1} TFLOP/s {error}",
                    layer.name,
                    operations / time / 1e6
                );
                if tier == Tier::Plain {
                    in_f32 = results;
                }
            }
        }
    }
    Ok(())
}

fn main() -> Result<()> {
    // Cargo passes --bench.
    let wanted = std::env::args().skip(1).find(|a| !a.starts_with("--"));
    let gpu = Gpu::open(wanted.as_deref())?;
    println!("{} ({}, {})", gpu.adapter().info.name, gpu.adapter().api(), gpu.adapter().driver());
    prefill(&gpu)?;
    println!("decode at depths 0, 128, 512, 1023, 4095, 16383");
    decode(&gpu)
}
