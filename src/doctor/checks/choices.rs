//! Checks of what stands at a pass's ends: rows of tables, logits, the choice of a token.

use crate::Result;
use crate::gpu::{Binding, Tensor};
use crate::kernels::WeightsBuilder;
use crate::kernels::choice::sample;
use crate::kernels::choice::sample::Draw;
use crate::kernels::choice::{argmax, strip_max, suppress};
use crate::kernels::product::{self, Product, Rows};
use crate::kernels::rows::embed::Embed;
use crate::kernels::rows::{copy_words, embed, fill_random, gather_rows, not_finite};
use crate::quant::{Bits, Dtype, Matrix};
use crate::reference::ops;
use crate::testing::bounds::Measure;
use crate::testing::matrices::{Spec, Unpacked, dense};
use crate::testing::random::{Random, Spread};
use crate::testing::twins;
use crate::testing::workbench::{Output, Workbench, step_rows};

/// Around a strip and a workgroup's quads, with a short last quad.
const VOCABULARY: usize = 4101;

/// Rows of a table in bf16 and of a requantized one, in one part and in two.
pub(super) fn tables(bench: &Workbench, measure: &mut Measure) -> Result<()> {
    let (mut random, n_tokens, width) = (Random::new(40), 200, 352);
    let spec = Spec { bits: 8, ..Spec::new(n_tokens, width, 32) };
    let packed = Matrix::Packed(Unpacked::random(&mut random, spec).pack());
    let plain = Matrix::Dense(dense(&mut random, n_tokens, width, Dtype::BF16));
    let tokens = [0, 63, 64, 127, 128, 199, 64, 150];
    let rows: Vec<_> = tokens.iter().enumerate().map(|(i, &token)| (0, i as u32, token)).collect();
    let (rows, scale) = (bench.rows(&step_rows(&rows))?, (width as f32).sqrt());
    for (what, table, row_bytes) in [("bf16", plain, 2 * width), ("int8", packed, width)] {
        for part_rows in [200, 128].into_iter().skip(usize::from(bench.brief)) {
            let mut builder = WeightsBuilder::new(bench.gpu(), "table", 1, n_tokens, width);
            builder = builder.max_part_bytes((part_rows * row_bytes) as u64);
            builder.add(0, 0, &table)?;
            let (weights, y) = (builder.finish()?, Output::new(bench.gpu(), tokens.len(), width)?);
            let planned = embed::plan(
                &bench.planner,
                "embed",
                &Embed {
                    table: &weights,
                    first_token: 0,
                    partial: false,
                    rows: &rows,
                    ids: &rows,
                    y: &y.tensor,
                    scale,
                },
            )?;
            let actual = bench.run_for(&planned, tokens.len(), &y)?;
            let mut row = vec![0.0; width];
            let mut expected = Vec::new();
            for &token in &tokens {
                table.row(token as usize, &mut row)?;
                expected.extend(row.iter().map(|v| v * scale));
            }
            // A product for the weight's value, one for the scale: exact.
            measure.exact(&format!("{what}, parts of {part_rows}"), &expected, &actual);
        }
    }
    Ok(())
}

/// Logits under a cap.
pub(super) fn capped(bench: &Workbench, measure: &mut Measure) -> Result<()> {
    let (mut random, cap) = (Random::new(41), 30.0);
    let matrix = Matrix::Dense(dense(&mut random, 65, 96, Dtype::BF16));
    let mut builder = WeightsBuilder::new(bench.gpu(), "head", 1, 65, 96);
    builder.add(0, 0, &matrix)?;
    let (weights, x) = (builder.finish()?, random.values(3 * 96, Spread::Outliers));
    let (x_tensor, y) = (bench.tensor(96, &x)?, Output::new(bench.gpu(), 3, 65)?);
    let planned =
        product::plan(&bench.planner, "head", &Product::new(&weights, Rows::Few, &x_tensor, &y.tensor).capped(cap))?;
    let actual = bench.run_for(&planned, 3, &y)?;
    let (mut expected, bound) = twins::products(&x, &matrix);
    ops::softcap(&mut expected, Some(cap));
    let cap = f64::from(cap);
    // tanh grows no error; its own is a few epsilon of 1.
    measure.close("logits", &expected, &actual, |i| bound[i].min(2.0 * cap) + 8.0 * f64::from(f32::EPSILON) * cap);
    Ok(())
}

pub(super) fn gathered(bench: &Workbench, measure: &mut Measure) -> Result<()> {
    let (mut random, width, n_rows) = (Random::new(42), 1055, 9);
    let x = random.values(n_rows * width, Spread::Normal);
    let chosen = [8u32, 0, 3, 3, 7];
    let y = Output::new(bench.gpu(), chosen.len(), width)?;
    let from = (bench.tensor(width, &x)?, bench.compact(1, &chosen)?);
    let planned = gather_rows::plan(&bench.planner, "gather_rows", &from.0, &from.1, &y.tensor)?;
    let actual = bench.run_for(&[planned], chosen.len(), &y)?;
    let expected: Vec<f32> = chosen.iter().flat_map(|&c| x[c as usize * width..][..width].to_vec()).collect();
    measure.exact("rows", &expected, &actual);
    Ok(())
}

/// Rows of logits: random ones, equal ones, and such as have garbage at an edge.
fn logits(random: &mut Random) -> Vec<f32> {
    let mut rows = random.values(6 * VOCABULARY, Spread::Normal);
    let mut set = |row: usize, at: usize, value: f32| rows[row * VOCABULARY + at] = value;
    set(1, VOCABULARY - 1, 100.0);
    set(2, 1023, 50.0);
    set(2, 1024, 50.0);
    (0..VOCABULARY).for_each(|at| set(3, at, if at % 2 == 0 { -0.0 } else { 0.0 }));
    set(4, VOCABULARY - 1, f32::NAN);
    set(5, 64, f32::INFINITY);
    rows
}

/// Rows of [`logits`] before those with garbage.
const CLEAN: usize = 4;

pub(super) fn largest(bench: &Workbench, measure: &mut Measure) -> Result<()> {
    let rows = logits(&mut Random::new(43));
    let n_rows = rows.len() / VOCABULARY;
    let ids = Output::compact(bench.gpu(), n_rows, 1)?;
    let scratch = Tensor::compact(bench.gpu(), "scratch", n_rows, argmax::SCRATCH_WIDTH)?;
    let rows_tensor = bench.tensor(VOCABULARY, &rows)?;
    let planned = argmax::plan(&bench.planner, "argmax", &rows_tensor, &scratch, &ids.tensor)?;
    let actual = bench.run_for(&planned, n_rows, &ids)?;
    let expected: Vec<u32> = rows.chunks_exact(VOCABULARY).map(ops::argmax).collect();
    let actual: Vec<u32> = actual.iter().map(|id| id.to_bits()).collect();
    measure.words("ids", &expected, &actual);
    Ok(())
}

pub(super) fn drawn(bench: &Workbench, measure: &mut Measure) -> Result<()> {
    let mut random = Random::new(44);
    let rows = logits(&mut random);
    let (n_rows, strips) = (rows.len() / VOCABULARY, strip_max::strips(VOCABULARY));
    let rows_tensor = bench.tensor(VOCABULARY, &rows)?;
    let maxima = Output::compact(bench.gpu(), n_rows, strips)?;
    let planned = strip_max::plan(&bench.planner, "strip_max", &rows_tensor, &maxima.tensor)?;
    let keys = bench.run_for(&[planned], n_rows, &maxima)?;
    for (row, actual) in rows.chunks_exact(VOCABULARY).zip(keys.chunks_exact(strips)) {
        measure.words("maxima", &ops::strip_max(row), &actual.iter().map(|key| key.to_bits()).collect::<Vec<_>>());
    }
    for (top_k, top_p, temperature) in [(64, 0.95, 1.0), (128, 1.0, 0.7), (2, 0.5, 4.0)] {
        let draws: Vec<Draw> = (0..n_rows)
            .map(|_| Draw { top_k, top_p, inverse_temperature: 1.0 / temperature, random: random.uniform().abs() })
            .collect();
        let ids = Output::compact(bench.gpu(), n_rows, 1)?;
        let draws_tensor = bench.compact(sample::DRAW_WORDS, &draws)?;
        let planned = sample::plan(&bench.planner, "sample", &rows_tensor, &maxima.tensor, &draws_tensor, &ids.tensor)?;
        let actual = bench.run_for(&[planned], n_rows, &ids)?;
        for (i, (row, id)) in rows.chunks_exact(VOCABULARY).zip(&actual).enumerate() {
            let expected = match i < CLEAN {
                true => twins::drawable(row, top_k as usize, top_p, temperature, draws[i].random.into()),
                false => vec![argmax::NOT_FINITE],
            };
            let id = id.to_bits();
            let otherwise = || format!("{id}, expected one of {expected:?}");
            measure.holds(&format!("row {i}, top-k {top_k}"), expected.contains(&id), otherwise);
        }
    }
    Ok(())
}

pub(super) fn suppressed(bench: &Workbench, measure: &mut Measure) -> Result<()> {
    let (mut random, width, n_rows) = (Random::new(45), 1055, 2);
    let ids = [0, suppress::NO_ID, 7, 1054, 1055, 1088, 999_999];
    let logits = random.values(n_rows * width, Spread::Normal);
    let output = Output::in_place(bench.gpu(), width, &logits)?;
    let planned = suppress::plan(&bench.planner, "suppress", &bench.compact(ids.len(), &ids)?, &output.tensor)?;
    let actual = bench.run_for(&[planned], n_rows, &output)?;
    let value = |(i, &logit): (usize, &f32)| match ids.contains(&((i % width) as u32)) {
        true => f32::NEG_INFINITY,
        false => logit,
    };
    measure.exact("logits", &logits.iter().enumerate().map(value).collect::<Vec<_>>(), &actual);
    Ok(())
}

/// What made-up models are filled with, and what measures the copy rate.
pub(super) fn fills(bench: &Workbench, measure: &mut Measure) -> Result<()> {
    let (n, seed) = (1028, 7);
    let (filled, copied) = (Output::compact(bench.gpu(), 1, n)?, Output::compact(bench.gpu(), 1, n)?);
    let from: Vec<f32> = Random::new(46).values(n, Spread::Normal);
    let x = bench.gpu().storage_with("x", &from)?;
    // Whole buffers are meant, guard words and all.
    let (fill, copy) = (bench.gpu().storage("fill", 4 * n as u64)?, bench.gpu().storage("copy", 4 * n as u64)?);
    let planned = [
        fill_random::plan(&bench.planner, "fill_random", &fill, seed, Bits::ALL)?,
        copy_words::plan(&bench.planner, "copy_words", &x, &copy)?,
        copy_words::plan(&bench.planner, "copy_words", &fill, &filled.tensor.buffer)?,
        copy_words::plan(&bench.planner, "copy_words", &copy, &copied.tensor.buffer)?,
    ];
    let results = bench.run(&planned, 1, &[&filled, &copied])?;
    let expected: Vec<u32> = (0..n as u32).map(|i| ops::fill_random(i, seed, u32::MAX, 0)).collect();
    measure.words("random words", &expected, &results[0].iter().map(|v| v.to_bits()).collect::<Vec<_>>());
    measure.exact("copied words", &from, &results[1]);
    Ok(())
}

/// What finds the kernel that has made NaN or infinity.
pub(super) fn numbers(bench: &Workbench, measure: &mut Measure) -> Result<()> {
    let n = 1028;
    let mut rows = vec![vec![1.0f32; n]; 5];
    (rows[1][n - 1], rows[2][0], rows[3][300]) = (f32::NAN, f32::NEG_INFINITY, f32::INFINITY);
    rows[4].iter_mut().zip([f32::MAX, f32::MIN, 0.0, -0.0, 1e-40]).for_each(|(v, edge)| *v = edge);
    let flags = Output::in_place(bench.gpu(), rows.len(), &vec![0.0; rows.len()])?;
    let plan = |(number, row): (usize, &Vec<f32>)| {
        let words = Binding::from(&bench.gpu().storage_with("words", row)?);
        not_finite::plan(&bench.planner, "not_finite", &words, &flags.tensor, number)
    };
    let planned = rows.iter().enumerate().map(plan).collect::<Result<Vec<_>>>()?;
    let actual = bench.run_for(&planned, 1, &flags)?;
    measure.words("flags", &[0, 1, 1, 1, 0], &actual.iter().map(|v| v.to_bits()).collect::<Vec<_>>());
    Ok(())
}
