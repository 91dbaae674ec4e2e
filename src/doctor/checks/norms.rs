//! Checks of norms and of what stands between products.

use crate::Result;
use crate::kernels::experts::moe_combine;
use crate::kernels::experts::moe_combine::MoeCombine;
use crate::kernels::norm::add_norm;
use crate::kernels::norm::add_norm::AddNorm;
use crate::kernels::norm::per_layer_inputs::PerLayerInputs;
use crate::kernels::norm::rms_norm::NormRow;
use crate::kernels::norm::{per_layer_inputs, rms_norm};
use crate::kernels::product::gelu_mul;
use crate::kernels::rounding::int8_by_16::Outputs;
use crate::reference::ops;
use crate::testing::bounds::{EPS, Measure, norm};
use crate::testing::random::{Random, Spread};
use crate::testing::twins;
use crate::testing::twins::{Bounded, NORM_EPS};
use crate::testing::workbench::{Output, Workbench};

/// A row that a lane holds in registers, and one that is walked, with a half block at its end.
fn widths(bench: &Workbench) -> &'static [usize] {
    if bench.brief { &[2816] } else { &[2816, 1055] }
}

const N_ROWS: usize = 3;

fn exact(x: &[f32]) -> Bounded {
    (x.to_vec(), vec![0.0; x.len()])
}

/// Lanes of a row's reduction at most.
fn threads(bench: &Workbench) -> u32 {
    bench.planner.tuning.norms.row_threads
}

pub(super) fn rms_exact(bench: &Workbench, measure: &mut Measure) -> Result<()> {
    rms(bench, false, measure)
}

pub(super) fn rms_rounded(bench: &Workbench, measure: &mut Measure) -> Result<()> {
    rms(bench, true, measure)
}

pub(super) fn add_exact(bench: &Workbench, measure: &mut Measure) -> Result<()> {
    add(bench, false, measure)
}

pub(super) fn add_rounded(bench: &Workbench, measure: &mut Measure) -> Result<()> {
    add(bench, true, measure)
}

pub(super) fn combine_exact(bench: &Workbench, measure: &mut Measure) -> Result<()> {
    combine(bench, false, measure)
}

pub(super) fn combine_rounded(bench: &Workbench, measure: &mut Measure) -> Result<()> {
    combine(bench, true, measure)
}

fn rms(bench: &Workbench, rounds: bool, measure: &mut Measure) -> Result<()> {
    let mut random = Random::new(20);
    for &width in widths(bench) {
        let (norms, x) = (random.values(3 * width, Spread::Normal), random.values(N_ROWS * width, Spread::Outliers));
        let y = Output::new(bench.gpu(), N_ROWS, width)?;
        let words = Output::rounded(bench.gpu(), N_ROWS, width)?;
        let to = Outputs { y: &y.tensor, rounded: rounds.then_some(&words.tensor) };
        let (norms_tensor, x_tensor) = (bench.tensor(width, &norms)?, bench.tensor(width, &x)?);
        let planned = rms_norm::plan(
            &bench.planner,
            "rms_norm",
            NormRow { norms: &norms_tensor, row: 2 },
            &x_tensor,
            to,
            NORM_EPS,
        )?;
        let results = bench.run(&[planned], N_ROWS, &[&y, &words])?;
        for (t, (x, actual)) in x.chunks_exact(width).zip(results[0].chunks_exact(width)).enumerate() {
            let (expected, bound) = twins::normed(&exact(x), &norms[2 * width..], threads(bench));
            measure.close(&format!("width {width}, row {t}"), &expected, actual, |i| bound[i]);
        }
        if rounds {
            twins::measure_rounding(measure, &format!("width {width}"), &results[0], width, &results[1]);
        }
    }
    Ok(())
}

/// The residual stream and the norms of the blocks that read it next: one, or three of a mixture of experts.
fn add(bench: &Workbench, rounds: bool, measure: &mut Measure) -> Result<()> {
    let mut random = Random::new(21);
    for (width, n_outputs) in widths(bench).iter().flat_map(|&width| [(width, 3), (width, 1)]) {
        if bench.brief && n_outputs == 1 {
            continue;
        }
        let norms = random.values(6 * width, Spread::Normal);
        let norm = |row: usize| &norms[row * width..][..width];
        let x = random.values(N_ROWS * width, Spread::Outliers);
        let h = random.values(N_ROWS * width, Spread::Outliers);
        let h_out = Output::in_place(bench.gpu(), width, &h)?;
        let new = |_| Output::new(bench.gpu(), N_ROWS, width);
        let y = (0..3).map(new).collect::<Result<Vec<_>>>()?;
        let new = |_| Output::rounded(bench.gpu(), N_ROWS, width);
        let words = (0..2).map(new).collect::<Result<Vec<_>>>()?;
        let rounded = |i: usize| (rounds && i < n_outputs).then_some(&words[i].tensor);
        let (x_tensor, norms_tensor, scalar) = (bench.tensor(width, &x)?, bench.tensor(width, &norms)?, 0.37);
        let arguments = AddNorm {
            norms: &norms_tensor,
            post: 1,
            pre: 3,
            scalar,
            eps: NORM_EPS,
            h: &h_out.tensor,
            y: [&y[0].tensor, &y[1].tensor, &y[2].tensor],
            n_outputs,
            rounded: [rounded(0), rounded(1)],
        };
        let planned = add_norm::plan(&bench.planner, "add_norm", &x_tensor, &arguments)?;
        let outputs: Vec<&Output> = [&h_out].into_iter().chain(&y).chain(&words).collect();
        let results = bench.run(&[planned], N_ROWS, &outputs)?;
        for t in 0..N_ROWS {
            let (row, what) = (t * width..(t + 1) * width, format!("width {width}, {n_outputs} outputs, row {t}"));
            let of_x = vec![0.0; width];
            let of_h = twins::added_norm(&h[row.clone()], &x[row.clone()], &of_x, norm(1), scalar, threads(bench));
            measure.close(&what, &of_h.0, &results[0][row.clone()], |i| of_h.1[i]);
            for o in 0..n_outputs {
                let (expected, bound) = twins::normed(&of_h, norm(3 + o), threads(bench));
                measure.close(&format!("{what}, output {o}"), &expected, &results[1 + o][row.clone()], |i| bound[i]);
            }
        }
        for i in (0..2).filter(|&i| rounded(i).is_some()) {
            twins::measure_rounding(measure, &format!("width {width}"), &results[1 + i], width, &results[4 + i]);
        }
    }
    Ok(())
}

/// The end of a layer with experts.
fn combine(bench: &Workbench, rounds: bool, measure: &mut Measure) -> Result<()> {
    let mut random = Random::new(22);
    for &width in widths(bench) {
        let norms = random.values(7 * width, Spread::Normal);
        let norm = |row: usize| &norms[row * width..][..width];
        let mut values = || random.values(N_ROWS * width, Spread::Outliers);
        let (mlp, experts, h, scalar) = (values(), values(), values(), 0.7);
        let (y, h_out) = (Output::new(bench.gpu(), N_ROWS, width)?, Output::in_place(bench.gpu(), width, &h)?);
        let words = Output::rounded(bench.gpu(), N_ROWS, width)?;
        let arguments = MoeCombine {
            mlp: &bench.tensor(width, &mlp)?,
            norms: &bench.tensor(width, &norms)?,
            norm_rows: [5, 0, 3, 6],
            scalar,
            eps: NORM_EPS,
            experts: &bench.tensor(width, &experts)?,
            h: &h_out.tensor,
            y: &y.tensor,
            rounded: rounds.then_some(&words.tensor),
        };
        let planned = moe_combine::plan(&bench.planner, "moe_combine", &arguments)?;
        let results = bench.run(&[planned], N_ROWS, &[&h_out, &y, &words])?;
        for t in 0..N_ROWS {
            let (row, what) = (t * width..(t + 1) * width, format!("width {width}, row {t}"));
            let threads = threads(bench);
            let (m, of_m) = twins::combined(&mlp[row.clone()], &experts[row.clone()], [norm(5), norm(0)], threads);
            let of_h = twins::added_norm(&h[row.clone()], &m, &of_m, norm(3), scalar, threads);
            measure.close(&what, &of_h.0, &results[0][row.clone()], |i| of_h.1[i]);
            let (expected, bound) = twins::normed(&of_h, norm(6), threads);
            measure.close(&format!("{what}, next"), &expected, &results[1][row.clone()], |i| bound[i]);
        }
        if rounds {
            twins::measure_rounding(measure, &format!("width {width}"), &results[1], width, &results[2]);
        }
    }
    Ok(())
}

pub(super) fn per_layer(bench: &Workbench, measure: &mut Measure) -> Result<()> {
    let (mut random, layers, n, scale) = (Random::new(23), 5, 256, 0.0255);
    let width = layers * n;
    let context = random.values(N_ROWS * width, Spread::Outliers);
    let tokens = random.values(N_ROWS * width, Spread::Normal);
    let weight = random.values(n, Spread::Normal);
    let y = Output::new(bench.gpu(), N_ROWS, width)?;
    let inputs = PerLayerInputs {
        context: &bench.tensor(width, &context)?,
        tokens: &bench.tensor(width, &tokens)?,
        norm: &bench.compact(n, &weight)?,
        y: &y.tensor,
        scale,
        eps: NORM_EPS,
    };
    let planned = per_layer_inputs::plan(&bench.planner, "inputs", &inputs)?;
    let actual = bench.run_for(&[planned], N_ROWS, &y)?;
    let parts = context.chunks_exact(n).zip(tokens.chunks_exact(n)).zip(actual.chunks_exact(n));
    for (part, ((context, tokens), actual)) in parts.enumerate() {
        let expected = ops::per_layer_inputs(context, tokens, &weight, scale, NORM_EPS);
        let scaled: Vec<f32> = context.iter().map(|v| v * scale).collect();
        let normed = ops::rms_norm(&scaled, Some(&weight), NORM_EPS);
        let of_scaled: Vec<f64> = scaled.iter().map(|v| EPS * f64::from(v.abs())).collect();
        let threads = bench.planner.tuning.norms.threads;
        let of_normed = norm(&scaled, &of_scaled, &normed, |i| weight[i], NORM_EPS, threads);
        let bound = |i: usize| of_normed[i] + 4.0 * EPS * f64::from(expected[i].abs() + tokens[i].abs());
        measure.close(&format!("part {part}"), &expected, actual, bound);
    }
    Ok(())
}

/// Gates of ordinary sizes, and of sizes where tanh is done.
pub(super) fn gates(bench: &Workbench, measure: &mut Measure) -> Result<()> {
    let (mut random, width) = (Random::new(24), 704);
    let mut gate = random.values(N_ROWS * width, Spread::Outliers);
    for (gate, value) in gate.iter_mut().zip([11.0, -15.0, 50.0, -100.0, 1e4, -3e12, 1e20, -1e-30, 0.0, -0.0]) {
        *gate = value;
    }
    let up = random.values(N_ROWS * width, Spread::Normal);
    let y = Output::new(bench.gpu(), N_ROWS, width)?;
    let (gate_tensor, up_tensor) = (bench.tensor(width, &gate)?, bench.tensor(width, &up)?);
    let planned = gelu_mul::plan(&bench.planner, "gelu_mul", &gate_tensor, &up_tensor, 0, &y.tensor, 1)?;
    let actual = bench.run_for(&[planned], N_ROWS, &y)?;
    let (expected, bound) = twins::gelu_mul(&gate, &up);
    measure.close("gates", &expected, &actual, |i| bound[i]);
    Ok(())
}
