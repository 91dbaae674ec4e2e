//! The choice of a token from the released vocabulary, greedy and drawn, alone: timed from the host over a chain of
//! dispatches that wait for each other, as a model's do.
//!
//! `cargo bench --bench choice [ADAPTER]`.

use std::time::Instant;

use lapidary::Result;
use lapidary::gpu::Gpu;
use lapidary::testing::gpu::{Dispatch, Recorder, Tensor};
use lapidary::testing::kernels::Planner;
use lapidary::testing::kernels::choice::sample;
use lapidary::testing::kernels::choice::sample::Draw;
use lapidary::testing::kernels::choice::{argmax, strip_max};
use lapidary::testing::kernels::{tuning, tuning_mut};

const VOCAB: usize = 262_144;

/// Microseconds of a chain of dispatches, by repetition.
fn chained(gpu: &Gpu, dispatches: &[Dispatch]) -> Result<f64> {
    const TIMES: usize = 100;
    let mut best = f64::INFINITY;
    for _ in 0..4 {
        let mut recorder = Recorder::new(gpu);
        for _ in 0..TIMES {
            dispatches.iter().for_each(|dispatch| recorder.dispatch(dispatch, 1));
        }
        let start = Instant::now();
        recorder.submit();
        gpu.wait()?;
        best = best.min(start.elapsed().as_secs_f64() * 1e6 / TIMES as f64);
    }
    Ok(best)
}

/// Logits between -12 and 12, as a sum of four uniform numbers.
fn logits(gpu: &Gpu) -> Result<Tensor> {
    let mut state = 1u64;
    let mut uniform = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32 * 6.0 - 3.0
    };
    let values: Vec<f32> = (0..VOCAB).map(|_| uniform() + uniform() + uniform() + uniform()).collect();
    Tensor::from_rows(gpu, "logits", VOCAB, &values)
}

fn main() -> Result<()> {
    // Cargo passes --bench.
    let wanted = std::env::args().skip(1).find(|a| !a.starts_with("--"));
    let gpu = Gpu::open(wanted.as_deref())?;
    println!("{} ({}, {})", gpu.adapter().info.name, gpu.adapter().api(), gpu.adapter().driver());
    let mut planner = Planner::new(&gpu);
    let logits = logits(&gpu)?;
    let scratch = Tensor::compact(&gpu, "scratch", 1, argmax::SCRATCH_WIDTH)?;
    let maxima = Tensor::compact(&gpu, "maxima", 1, strip_max::strips(VOCAB))?;
    let draws = Tensor::compact(&gpu, "draws", 1, sample::DRAW_WORDS)?;
    let ids = Tensor::compact(&gpu, "ids", 1, 1)?;
    for threads in [tuning(&planner).norms.threads, 64, 128, 256] {
        tuning_mut(&mut planner).norms.threads = threads;
        let greedy = planner.bind_all(&argmax::plan(&planner, "argmax", &logits, &scratch, &ids)?)?;
        let drawn = planner.bind_all(&[
            strip_max::plan(&planner, "strip_max", &logits, &maxima)?,
            sample::plan(&planner, "sample", &logits, &maxima, &draws, &ids)?,
        ])?;
        println!("{threads} threads: greedy {:.1} us, strips {:.1} us", chained(&gpu, &greedy)?, {
            chained(&gpu, &drawn[..1])?
        });
        for top_k in [1, 20, 64, 128] {
            gpu.write(&draws.buffer, 0, &[Draw { top_k, top_p: 0.95, inverse_temperature: 1.0, random: 0.5 }])?;
            println!("{threads} threads: drawn among {top_k} {:.1} us", chained(&gpu, &drawn)?);
        }
    }
    Ok(())
}
