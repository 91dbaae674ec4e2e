//! Attention of 26B-A4B's shapes, alone: decode steps of one row with several sizes of workgroups, then prefill.
//!
//! `cargo bench --bench attention [ADAPTER]`. Decode is timed from the host over a chain of dispatches that wait for each
//! other, as a model's do; prefill by timestamps. Keys and values are zeros, which take as long as others.

use std::time::Instant;

use lapidary::Result;
use lapidary::gpu::{Dispatch, Gpu, Recorder, Tensor};
use lapidary::kernels::attention::{self, Buffers, KvSource};
use lapidary::kernels::head_norm_rope::{Heads, Inputs, Kv};
use lapidary::kernels::{KvDtype, Planner, StepRow, Tuning, attention_tile};

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
        KvSource { cache: (&self.cache[0], &self.cache[1]), dtype, capacity: CAPACITY, window: layer.window }
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
            planner.tuning = Tuning {
                attention_threads: threads,
                attention_wide_threads: threads,
                attention_block: block,
                attention_workgroups: workgroups,
                ..Tuning::GPU
            };
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

fn prefill(gpu: &Gpu) -> Result<()> {
    let planner = Planner::new(gpu);
    for dtype in [KvDtype::F16, KvDtype::F32] {
        for layer in &LAYERS {
            for (n_rows, depth) in [(512, 0), (2048, 0), (2048, 14 << 10)] {
                let room = Room::new(gpu, layer, dtype, n_rows)?;
                room.fill(gpu, n_rows, depth + n_rows - 1)?;
                let buffers = attention_tile::Buffers {
                    q: &room.q,
                    out: &room.out,
                    rows: &room.rows,
                    row_count: &room.row_count,
                    new: None,
                };
                let planned =
                    attention_tile::plan(&planner, "prefill", layer.heads(), buffers, room.source(layer, dtype))?;
                let bound = planner.bind_all(&[planned])?;
                let mut best = f64::INFINITY;
                for _ in 0..4 {
                    gpu.start_profile(gpu.timestamps()?)?;
                    let mut recorder = Recorder::new(gpu);
                    bound.iter().for_each(|dispatch| recorder.dispatch(dispatch, n_rows));
                    recorder.submit();
                    best = gpu.finish_profile()?.iter().map(|(_, ns)| *ns).fold(best, f64::min);
                }
                let seen: usize =
                    (depth..depth + n_rows).map(|p| (p + 1).min(layer.window.unwrap_or(usize::MAX))).sum();
                let operations = (4 * HEADS * layer.head_dim * seen) as f64;
                println!(
                    "{:8} {dtype:?} {n_rows} rows at {depth}: {:.0} us, {:.1} TFLOP/s",
                    layer.name,
                    best / 1e3,
                    operations / best / 1e3
                );
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
    println!("decode at depths 0, 128, 512, 1023, 4095, 16383");
    decode(&gpu)?;
    prefill(&gpu)
}
