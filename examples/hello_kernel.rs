//! One int4 product on your GPU, compared with a plain loop on the CPU.
//!
//! `cargo run --release --example hello_kernel [ADAPTER]`

use half::f16;
use lapidary::Result;
use lapidary::gpu::Gpu;
use lapidary::product::{Planner, Product, Recorder, Rows, Tensor, Weights, plan};
use lapidary::quant::{Dtype, GroupIndex, Grouped, Matrix, PackedMatrix};

/// 80 input features are two and a half groups of 32.
const IN_FEATURES: usize = 80;
const OUT_FEATURES: usize = 8;
const GROUP_SIZE: usize = 32;

fn main() -> Result<()> {
    let gpu = Gpu::open(std::env::args().nth(1).as_deref())?;
    println!("{} ({}, {})", gpu.adapter().info.name, gpu.adapter().api(), gpu.adapter().driver());

    // y = x w^T with x [1, in_features] and w [out_features, in_features].
    let w = Matrix::Packed(weights());
    let x: Vec<f32> = (0..IN_FEATURES).map(|k| (k as f32 * 0.1).sin()).collect();
    let expected: Vec<f32> = (0..OUT_FEATURES).map(|n| dot(&w, n, &x)).collect::<lapidary::Result<_>>()?;

    // The same on the GPU: upload, plan (checks shapes), compile and bind, record, read back.
    let weights = Weights::upload(&gpu, "w", &w)?;
    let x = Tensor::from_rows(&gpu, "x", IN_FEATURES, &x)?;
    let y = Tensor::new(&gpu, "y", 1, OUT_FEATURES)?;
    let planner = Planner::new(&gpu);
    let planned = plan(&planner, "hello", &Product::new(&weights, Rows::Few, &x, &y))?;
    let mut recorder = Recorder::new(&gpu);
    for dispatch in planner.bind_all(&planned)? {
        recorder.dispatch(&dispatch, 1);
    }
    let readback = recorder.read_back(&y, 1)?;
    recorder.submit();
    let computed: Vec<f32> = readback.read(&gpu, 1)?;

    println!("{:>3} {:>12} {:>12} {:>10}", "n", "GPU", "CPU", "difference");
    for (n, (gpu, cpu)) in computed.iter().zip(&expected).enumerate() {
        println!("{n:>3} {gpu:>12.7} {cpu:>12.7} {:>10.1e}", (gpu - cpu).abs());
    }
    Ok(())
}

/// Row `n` of the matrix, dequantized, times `x`.
fn dot(w: &Matrix, n: usize, x: &[f32]) -> lapidary::Result<f32> {
    let mut row = vec![0.0; w.in_features()];
    w.row(n, &mut row)?;
    Ok(row.iter().zip(x).map(|(w, x)| w * x).sum())
}

/// A quantized matrix: code k of row n is `(3 k + 5 n) mod 16`, minus the zero point 8, times the scale of its group.
fn weights() -> PackedMatrix {
    let groups = IN_FEATURES.div_ceil(GROUP_SIZE);
    let code = |n: usize, k: usize| if k < IN_FEATURES { ((3 * k + 5 * n) % 16) as u32 } else { 0 };
    let row_words = PackedMatrix::code_words(IN_FEATURES, 4);
    let codes = (0..OUT_FEATURES * row_words)
        .map(|word| (0..8).map(|i| code(word / row_words, word % row_words * 8 + i) << (4 * i)).sum())
        .collect();
    // Two f16 scales a word, negative ones too: AutoRound gives a scale the sign of the group's larger extreme.
    let scale = |n: usize, g: usize| u32::from(f16::from_f32(0.01 * (n as f32 - 3.5) * (g + 1) as f32).to_bits());
    let scale_words = Dtype::F16.words(groups);
    let scales = (0..OUT_FEATURES * scale_words)
        .map(|word| (word / scale_words, word % scale_words * 2))
        .map(|(n, g)| scale(n, g) | if g + 1 < groups { scale(n, g + 1) << 16 } else { 0 })
        .collect();
    PackedMatrix {
        out_features: OUT_FEATURES,
        in_features: IN_FEATURES,
        format: Grouped::symmetric(4, GROUP_SIZE, Dtype::F16),
        codes,
        groups,
        scales,
        zeros: None,
        addends: Vec::new(),
        group_index: GroupIndex::Sequential,
    }
}
