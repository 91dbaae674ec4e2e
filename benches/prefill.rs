//! Products of many rows with the shapes of 26B-A4B, tile by tile: time on the GPU by timestamps, arithmetic rate, and the
//! largest difference from the plain tiles of NVIDIA's table.
//!
//! `cargo bench --bench prefill -- [ROWS...] [TEXT...]`: only these numbers of rows, only lines whose shape or tile has one
//! of these texts.

use lapidary::gpu::{Gpu, Kind, Tier, Timing};
use lapidary::quant::{Dtype, Format};
use lapidary::testing::gpu::{Recorder, Tensor};
use lapidary::testing::kernels::experts::moe_group;
use lapidary::testing::kernels::experts::moe_group::Groups;
use lapidary::testing::kernels::product::{self, Product, Rows};
use lapidary::testing::kernels::tuning_mut;
use lapidary::testing::kernels::{DotTile, MatrixTile, Planned, Planner, Tile, Tuning, Weights};

/// Runs that are timed; the fastest counts.
const RUNS: usize = 4;
/// Rows of y that are compared.
const COMPARED: usize = 192;

/// A stack of matrices, and how many of them a row is multiplied with.
struct Shape {
    name: &'static str,
    matrices: usize,
    top_k: usize,
    out_features: usize,
    in_features: usize,
    format: Format,
    /// Consecutive rows of y that read one row of x.
    repeat: usize,
}

const INT4: Format = Format::int(4, 128);

const fn shape(name: &'static str, out_features: usize, in_features: usize) -> Shape {
    Shape { name, matrices: 1, top_k: 1, out_features, in_features, format: INT4, repeat: 1 }
}

const SHAPES: [Shape; 7] = [
    shape("qkv", 8192, 2816),
    shape("o_proj", 2816, 4096),
    shape("mlp.gate_up", 4224, 2816),
    shape("mlp.down", 2816, 2112),
    Shape { matrices: 128, top_k: 8, repeat: 8, ..shape("experts.gate_up", 1408, 2816) },
    Shape { matrices: 128, top_k: 8, ..shape("experts.down", 2816, 704) },
    Shape { format: Format::Dense(Dtype::F32), ..shape("router.proj", 128, 2816) },
];

/// A tier with a shape of tiles.
struct Candidate {
    name: String,
    tier: Tier,
    tuning: Tuning,
}

fn candidates(gpu: &Gpu) -> Vec<Candidate> {
    let mut all = Vec::new();
    for (lanes_t, lanes_n, rows, k_step) in [
        (8, 16, 8, 16),
        (16, 8, 4, 16),
        (16, 16, 8, 16),
        (16, 16, 8, 8),
        (16, 8, 8, 16),
        (8, 16, 8, 8),
        (8, 8, 8, 16),
        (4, 16, 8, 16),
        (4, 8, 8, 32),
        (8, 8, 4, 32),
        (8, 32, 4, 16),
        (8, 16, 4, 16),
        (10, 16, 4, 16),
        (16, 16, 4, 16),
        (8, 16, 4, 32),
    ] {
        let tile = Tile { lanes_t, lanes_n, rows, features: 8, k_step: Some(k_step), ahead: true };
        let (height, width) = (tile.height(), tile.width());
        let mut tuning = Tuning::of(Kind::Nvidia);
        (tuning.tiles.plain, tuning.tiles.few_features, tuning.experts.plain) = ([tile; 2], tile, [tile; 2]);
        let name = format!("plain {height}x{width} rows {rows} k {k_step}");
        if (height + width) * k_step * 4 <= gpu.limits().max_compute_workgroup_storage_size {
            all.push(Candidate { name, tier: Tier::Plain, tuning });
        }
    }
    for (lanes_t, lanes_n, rows, k_step) in [
        (8, 16, 8, 64),
        (8, 16, 8, 32),
        (16, 16, 8, 32),
        (16, 16, 8, 64),
        (16, 16, 4, 64),
        (16, 8, 8, 64),
        (8, 8, 8, 64),
        (4, 16, 8, 64),
        (4, 16, 8, 32),
        (4, 32, 8, 64),
    ] {
        let tile = DotTile { lanes_t, lanes_n, rows, features: 8, k_step, ahead: true, rolled: false };
        let mut tuning = Tuning::of(Kind::Nvidia);
        (tuning.tiles.dot, tuning.experts.dot) = (tile, [tile; 2]);
        let name = format!("dot {}x{} rows {rows} k {k_step}", tile.height(), tile.width());
        if tile.workgroup_bytes() <= gpu.limits().max_compute_workgroup_storage_size {
            all.push(Candidate { name, tier: Tier::Dot, tuning });
        }
    }
    let Some(side) = gpu.matrix_side() else { return all };
    for (blocks_t, blocks_n, across, k_step, ahead) in [
        (4, 2, 4, 32, true),
        (4, 2, 4, 64, true),
        (4, 2, 4, 64, false),
        (4, 4, 2, 64, true),
        (2, 2, 4, 32, true),
        (2, 2, 4, 64, true),
        (2, 4, 2, 32, true),
        (2, 4, 2, 64, true),
        (2, 4, 2, 64, false),
        (2, 4, 4, 64, true),
        (2, 2, 2, 64, true),
        (2, 2, 2, 32, true),
        (4, 2, 2, 64, true),
        (2, 1, 4, 32, true),
        (1, 4, 2, 32, true),
        (1, 4, 2, 64, true),
        (1, 4, 4, 64, true),
        (1, 2, 2, 64, true),
    ] {
        let tile = MatrixTile { blocks_t, blocks_n, across, k_step, ahead };
        let mut tuning = Tuning::of(Kind::Nvidia);
        (tuning.tiles.matrix, tuning.experts.matrix) = ([tile; 2], [tile; 2]);
        let read = if ahead { " ahead" } else { "" };
        let (height, width) = (tile.height(side), tile.width(side));
        let name = format!("matrix{side} {height}x{width} across {across} k {k_step}{read}");
        if tile.workgroup_bytes(side) <= gpu.limits().max_compute_workgroup_storage_size {
            all.push(Candidate { name, tier: Tier::Matrix, tuning });
        }
    }
    all
}

/// Numbers of order 1 that look random, a few of them large.
fn values(count: usize) -> Vec<f32> {
    let mut state = 12345u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / 8_388_608.0 - 1.0
    };
    (0..count).map(|i| if i % 997 == 0 { 50.0 * next() } else { 1.7 * next() }).collect()
}

struct Case<'a> {
    shape: &'a Shape,
    weights: &'a Weights,
    x: &'a Tensor,
    y: &'a Tensor,
    ids: &'a Tensor,
    count: &'a Tensor,
}

/// Microseconds of each dispatch by label, and the first rows of y.
type Run = (Vec<(String, f64)>, Vec<f32>);

impl Case<'_> {
    fn plan(&self, planner: &Planner) -> lapidary::Result<Vec<Planned>> {
        let shape = self.shape;
        if shape.matrices == 1 {
            return product::plan(
                planner,
                "product",
                &Product::new(self.weights, Rows::Many(self.count), self.x, self.y),
            );
        }
        let groups = Groups::new(planner.gpu, self.ids.rows, shape.top_k, shape.matrices)?;
        let mut planned = moe_group::plan(planner, "group", self.ids, self.count, 0..shape.matrices, &groups)?;
        let rows = Rows::Grouped { groups: &groups, repeat: shape.repeat };
        planned.extend(product::plan(planner, "product", &Product::new(self.weights, rows, self.x, self.y))?);
        Ok(planned)
    }

    /// Microseconds of each dispatch by label, the least of some runs, and the first rows of y.
    fn run(&self, gpu: &Gpu, candidate: &Candidate, rows: usize) -> lapidary::Result<Run> {
        let mut planner = Planner::new(gpu).with_tier(candidate.tier);
        *tuning_mut(&mut planner) = candidate.tuning;
        let dispatches = planner.bind_all(&self.plan(&planner)?)?;
        let record = |times| {
            let mut recorder = Recorder::new(gpu);
            for _ in 0..times {
                dispatches.iter().for_each(|dispatch| recorder.dispatch(dispatch, rows));
            }
            recorder.submit();
        };
        record(1);
        gpu.wait()?;
        gpu.start_profile(gpu.timestamps()?)?;
        record(RUNS);
        let times = gpu.finish_profile()?;
        let mut least: Vec<(String, f64)> = Vec::new();
        for Timing { label, nanoseconds } in times {
            let (label, ns) = (label.name, nanoseconds);
            match least.iter_mut().find(|(known, _)| *known == label) {
                Some((_, us)) => *us = us.min(ns / 1e3),
                None => least.push((label, ns / 1e3)),
            }
        }
        let mut recorder = Recorder::new(gpu);
        let compared = COMPARED.min(self.y.rows);
        let copy = recorder.read_back(self.y, compared)?;
        recorder.submit();
        Ok((least, copy.read(gpu, compared)?))
    }
}

/// Compiles on all threads what the candidates need. What fails fails again where it runs, and is shown there.
fn prepare<'a>(case: &Case, maker: &Planner, candidates: impl Iterator<Item = &'a Candidate>) {
    let mut planned = Vec::new();
    for candidate in candidates {
        let mut planner = Planner::new(maker.gpu).with_tier(candidate.tier);
        *tuning_mut(&mut planner) = candidate.tuning;
        planned.extend(case.plan(&planner).unwrap_or_default());
    }
    maker.bind_all(&planned).ok();
}

fn main() -> lapidary::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let mut row_counts: Vec<usize> = args.iter().filter_map(|arg| arg.parse().ok()).collect();
    let texts: Vec<&String> = args.iter().filter(|arg| arg.parse::<usize>().is_err()).collect();
    if row_counts.is_empty() {
        row_counts = vec![512, 2048];
    }
    let wanted = |line: &str| texts.is_empty() || texts.iter().any(|text| line.contains(text.as_str()));
    let gpu = Gpu::open(std::env::var("LAPIDARY_TEST_ADAPTER").ok().as_deref())?;
    let gpu = &gpu;
    println!("{}, {}, strongest tier {}", gpu.adapter().info.name, gpu.adapter().driver(), gpu.strongest_tier());
    println!("matrices: {:?}", gpu.adapter().matrices);
    let candidates = candidates(gpu);
    let maker = Planner::new(gpu);
    for shape in &SHAPES {
        let dimensions = [shape.matrices, shape.out_features, shape.in_features];
        let weights = Weights::random(&maker, shape.name, dimensions, shape.format, gpu.max_binding_bytes())?;
        for &rows in &row_counts {
            let pairs = rows * shape.top_k;
            let x_rows = pairs / shape.repeat;
            let x = Tensor::from_rows(gpu, "x", shape.in_features, &values(x_rows * shape.in_features))?;
            let y = Tensor::new(gpu, "y", pairs, shape.out_features)?;
            let mut state = 7u32;
            let ids: Vec<u32> = (0..pairs)
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (state >> 16) % shape.matrices as u32
                })
                .collect();
            let ids_tensor = Tensor::compact(gpu, "ids", rows, shape.top_k)?;
            gpu.write(&ids_tensor.buffer, 0, &ids)?;
            let count = Tensor::compact(gpu, "count", 1, 1)?;
            gpu.write(&count.buffer, 0, &[rows as u32])?;
            let case = Case { shape, weights: &weights, x: &x, y: &y, ids: &ids_tensor, count: &count };
            let reference = Candidate { name: String::new(), tier: Tier::Plain, tuning: Tuning::of(Kind::Nvidia) };
            prepare(&case, &maker, candidates.iter().filter(|c| wanted(&format!("{} {}", shape.name, c.name))));
            let (_, expected) = case.run(gpu, &reference, rows)?;
            let size = (expected.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / expected.len() as f64).sqrt();
            println!(
                "\n{} [{}, {}], {rows} rows, root mean square of y {size:.3}",
                shape.name, shape.out_features, shape.in_features
            );
            for candidate in candidates.iter().filter(|c| wanted(&format!("{} {}", shape.name, c.name))) {
                let (times, actual) = match case.run(gpu, candidate, rows) {
                    Ok(result) => result,
                    Err(e) => {
                        println!("  {:32} {e}", candidate.name);
                        continue;
                    }
                };
                let differences = || expected.iter().zip(&actual).map(|(&e, &a)| f64::from(e - a).abs());
                let largest = differences().fold(0.0, |most: f64, d| if d > most || d.is_nan() { d } else { most });
                let mean = (differences().map(|d| d * d).sum::<f64>() / expected.len() as f64).sqrt();
                let us = times.iter().find(|(label, _)| label == "product").map_or(f64::NAN, |(_, us)| *us);
                let flops = 2.0 * (pairs * shape.out_features * shape.in_features) as f64;
                let rest: Vec<String> = times
                    .iter()
                    .filter(|(label, _)| label != "product")
                    .map(|(label, us)| format!("{label} {us:.0}"))
                    .collect();
                println!(
                    "  {:32} {us:9.1} us {:7.1} TFLOP/s  max error {:.1e} rms {:.1e} of y's  {}",
                    candidate.name,
                    flops / us / 1e6,
                    largest / size,
                    mean / size,
                    rest.join(", ")
                );
            }
        }
    }
    Ok(())
}
