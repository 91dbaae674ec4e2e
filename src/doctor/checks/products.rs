//! Checks of products with weights: for few rows, for many, and in what they round.

use std::ops::Range;

use crate::Result;
use crate::gpu::{Tensor, Tier};
use crate::kernels::Weights;
use crate::kernels::product::{self, Product, Rows};
use crate::kernels::rounding::int8_by_16;
use crate::kernels::rounding::int8_by_16::Input;
use crate::quant::{DenseMatrix, Dtype, Matrix};
use crate::testing::bounds::Measure;
use crate::testing::matrices::{Order, Scales, Spec, Unpacked, columns, dense, file_bytes, interesting, one_hot};
use crate::testing::random::{Random, Spread};
use crate::testing::twins;
use crate::testing::twins::Bounded;
use crate::testing::workbench::{Output, Workbench};

/// A quantized matrix, or rows of it, as a rank holds them.
pub(super) struct Layout {
    what: &'static str,
    pub full: Unpacked,
    pub rows: Range<usize>,
}

/// Widths and groups of released models, where groups do not fit: 704 = 5.5 x 128, 2112 = 16.5 x 128; the requantized head;
/// a shard that begins and ends inside groups; act-order.
pub(super) fn layouts(bench: &Workbench, random: &mut Random, scales: Scales) -> Vec<Layout> {
    let spec = |n_in, group_size| Spec { scales, ..Spec::new(33, n_in, group_size) };
    let cut = Spec { asymmetric: true, scale_dtype: Dtype::BF16, ..spec(704, 64) };
    let ordered = Spec { order: Order::Shuffled, asymmetric: true, scale_dtype: Dtype::F32, ..spec(272, 32) };
    let mut layout = |what, spec: Spec, rows| Layout { what, full: Unpacked::random(random, spec), rows };
    let mut usual = vec![layout("int4 g128", spec(704, 128), 0..704)];
    if !bench.is_hasty() {
        usual.push(layout("int8 g32", Spec { bits: 8, ..spec(352, 32) }, 0..352));
    }
    if bench.brief {
        return usual;
    }
    let more = [
        layout("int4 g128 asym", Spec { asymmetric: true, ..spec(2112, 128) }, 0..2112),
        layout("int4 g64 asym, a shard", cut, 235..470),
        layout("int4 g32 asym, act-order", ordered, 0..272),
    ];
    usual.into_iter().chain(more).collect()
}

/// Input features that are looked at, and rows that are 1 at one of them each.
struct Probes {
    ks: Vec<usize>,
    x: Vec<f32>,
}

impl Layout {
    pub(super) fn matrix(&self) -> Matrix {
        Matrix::RowShard(self.full.shard(self.rows.clone()))
    }

    /// One-hot rows at the edges of groups and of the shard, and which.
    fn probes(&self, random: &mut Random) -> Probes {
        let ks = interesting(random, &self.full, &self.rows);
        let x = one_hot(self.rows.len(), &ks);
        Probes { ks, x }
    }
}

fn upload(bench: &Workbench, matrix: &Matrix) -> Result<Weights> {
    Weights::upload(bench.gpu(), "weight", matrix)
}

fn run(bench: &Workbench, weights: &Weights, rows: Rows, input: Input, n_rows: usize) -> Result<Vec<f32>> {
    let y = Output::new(bench.gpu(), n_rows, weights.out_features)?;
    let planned = product::plan(&bench.planner, "product", &Product::new(weights, rows, input, &y.tensor))?;
    bench.run_for(&planned, n_rows, &y)
}

/// The product of all rows of `x`, by the kernels for few rows or by those for many.
fn plain(bench: &Workbench, many: bool, matrix: &Matrix, x: &[f32]) -> Result<Vec<f32>> {
    let (weights, n_rows) = (upload(bench, matrix)?, x.len() / matrix.in_features());
    let (x, count) = (bench.tensor(matrix.in_features(), x)?, bench.compact(1, &[n_rows as u32])?);
    run(bench, &weights, if many { Rows::Many(&count) } else { Rows::Few }, (&x).into(), n_rows)
}

/// One-hot rows must come out bit for bit, any others within their bounds.
fn exact_layouts(bench: &Workbench, many: bool, measure: &mut Measure) -> Result<()> {
    let mut random = Random::new(1);
    let scales: &[Scales] = if bench.brief { &[Scales::Ordinary] } else { &[Scales::Edges, Scales::Ordinary] };
    for &scales in scales {
        for layout in layouts(bench, &mut random, scales) {
            let (matrix, Probes { ks, mut x }) = (layout.matrix(), layout.probes(&mut random));
            let more = random.values(2 * layout.rows.len(), Spread::Outliers);
            x.extend(&more);
            let y = plain(bench, many, &matrix, &x)?;
            let (of_probes, of_more) = y.split_at(ks.len() * layout.full.spec.out_features);
            measure.exact(&format!("{}, one-hot", layout.what), &columns(&layout.full, &layout.rows, &ks), of_probes);
            let (expected, bound) = twins::products(&more, &matrix);
            measure.close(layout.what, &expected, of_more, |i| bound[i]);
        }
    }
    Ok(())
}

fn exact_dense(bench: &Workbench, many: bool, measure: &mut Measure) -> Result<()> {
    let mut random = Random::new(2);
    let all = [(Dtype::BF16, 2816), (Dtype::F16, 41), (Dtype::F32, 96)];
    for (dtype, n_in) in all.into_iter().take(if bench.brief { 1 } else { all.len() }) {
        let matrix = Matrix::Dense(dense(&mut random, 33, n_in, dtype));
        let x = random.values(5 * n_in, Spread::Outliers);
        let y = plain(bench, many, &matrix, &x)?;
        let (expected, bound) = twins::products(&x, &matrix);
        measure.close(&format!("{dtype:?} [33, {n_in}]"), &expected, &y, |i| bound[i]);
    }
    Ok(())
}

pub(super) fn matvec_packed(bench: &Workbench, measure: &mut Measure) -> Result<()> {
    exact_layouts(bench, false, measure)
}

pub(super) fn matvec_dense(bench: &Workbench, measure: &mut Measure) -> Result<()> {
    exact_dense(bench, false, measure)
}

/// With tiles for few rows, with those for many, and in shares of the input features.
fn tilings<'a>(bench: &Workbench<'a>) -> Vec<Workbench<'a>> {
    let whole = |number: usize| {
        bench.tuned(|t| {
            (t.tiles.workgroups, t.tiles.plain[0]) = (1, t.tiles.plain[number]);
            t.experts.plain[0] = t.experts.plain[number];
            t.experts.dot[0] = t.experts.dot[number];
            t.tiles.matrix[0] = t.tiles.matrix[number];
            t.experts.matrix[0] = t.experts.matrix[number];
        })
    };
    // Shapes here are small: with more workgroups to be filled there are shares whatever the tiles are.
    let shares = bench.tuned(|t| t.tiles.workgroups *= 8);
    if bench.brief { vec![shares] } else { vec![whole(0), whole(1), shares] }
}

pub(super) fn matmul_packed(bench: &Workbench, measure: &mut Measure) -> Result<()> {
    tilings(bench).iter().try_for_each(|bench| exact_layouts(bench, true, measure))
}

pub(super) fn matmul_dense(bench: &Workbench, measure: &mut Measure) -> Result<()> {
    tilings(bench).iter().try_for_each(|bench| exact_dense(bench, true, measure))
}

/// Rows that were rounded to int8.
pub(super) struct Rounded {
    pub(super) x: Tensor,
    /// What came of them on the device.
    pub(super) words: Tensor,
    /// The values that these stand for.
    pub(super) values: Vec<f32>,
}

/// Rounds `x` to int8 on the device and measures that.
pub(super) fn round(bench: &Workbench, measure: &mut Measure, width: usize, x: &[f32]) -> Result<Rounded> {
    let n_rows = x.len() / width;
    let (x_tensor, out) = (bench.tensor(width, x)?, Output::rounded(bench.gpu(), n_rows, width)?);
    let planned = int8_by_16::plan(&bench.planner, "round", &x_tensor, &out.tensor)?;
    let words = bench.run_for(&[planned], n_rows, &out)?;
    twins::measure_rounding(measure, &format!("rounding of {width}"), x, width, &words);
    Ok(Rounded { x: x_tensor, words: out.tensor, values: rounded_rows(&words, n_rows, width) })
}

/// The values that rounded rows stand for.
pub(super) fn rounded_rows(words: &[f32], n_rows: usize, width: usize) -> Vec<f32> {
    let words: Vec<u32> = words.iter().map(|word| word.to_bits()).collect();
    words.chunks_exact(words.len() / n_rows).flat_map(|row| twins::rounded_values(row, width).0).collect()
}

/// The rows of a step of few rows, `count`, as products of rounded activations take them.
pub(super) fn few_rows(n_rows: usize, count: &Tensor) -> Rows<'_> {
    match n_rows {
        1 => Rows::Few,
        2 => Rows::Two,
        _ => Rows::Several(count),
    }
}

/// Products of rounded activations are those of what the codes stand for: integers add up exactly.
pub(super) fn matvec_rounded(bench: &Workbench, measure: &mut Measure) -> Result<()> {
    let mut random = Random::new(3);
    for layout in layouts(bench, &mut random, Scales::Ordinary) {
        let (matrix, Probes { mut x, .. }) = (layout.matrix(), layout.probes(&mut random));
        x.extend(random.values(2 * layout.rows.len(), Spread::Outliers));
        let (weights, width) = (upload(bench, &matrix)?, layout.rows.len());
        let Rounded { x, words, values } = round(bench, measure, width, &x)?;
        let count = bench.compact(1, &[x.rows as u32])?;
        let (expected, bound) = if weights.has_whole_chunks() {
            twins::products(&values, &matrix)
        } else {
            continue; // Such weights take the exact kernels.
        };
        for (rows, n_rows) in [(Rows::Few, x.rows), (Rows::Two, x.rows / 2 * 2), (Rows::Several(&count), x.rows)] {
            let y = run(bench, &weights, rows, Input { x: &x, rounded: Some(&words) }, n_rows)?;
            measure.close(layout.what, &expected[..y.len()], &y, |i| bound[i]);
        }
        let y = run(bench, &weights, Rows::Two, Input { x: &x, rounded: Some(&words) }, 2)?;
        measure.close(&format!("{}, two rows", layout.what), &expected[..y.len()], &y, |i| bound[i]);
    }
    Ok(())
}

/// Rows of integers of up to 127 times a power of two for each block of 32, the largest among them: rounding to int8
/// changes nothing.
pub(super) fn on_grid(random: &mut Random, rows: usize, width: usize) -> Vec<f32> {
    let mut x = vec![0.0; rows * width];
    for row in x.chunks_exact_mut(width) {
        for block in row.chunks_mut(32) {
            let step = [0.0625, 0.5, 1.0, 8.0][random.below(4)];
            block.iter_mut().for_each(|v| *v = step * (random.below(255) as f32 - 127.0));
            block[random.below(block.len())] = 127.0 * step;
        }
    }
    x
}

/// What products of many rows are in the tier of `bench`.
pub(super) fn of_many(bench: &Workbench, x: &[f32], matrix: &Matrix) -> Bounded {
    if bench.planner.tier == Tier::Matrix { twins::matrix_products(x, matrix) } else { twins::products(x, matrix) }
}

/// Products of many rows, in int8 or f16.
pub(super) fn matmul_rounded(bench: &Workbench, measure: &mut Measure) -> Result<()> {
    let mut random = Random::new(4);
    for bench in tilings(bench).iter().take(2) {
        for layout in layouts(bench, &mut random, Scales::Ordinary) {
            let (matrix, Probes { mut x, .. }) = (layout.matrix(), layout.probes(&mut random));
            x.extend(on_grid(&mut random, 3, layout.rows.len()));
            let y = plain(bench, true, &matrix, &x)?;
            let (expected, bound) = of_many(bench, &x, &matrix);
            measure.close(layout.what, &expected, &y, |i| bound[i]);
        }
    }
    Ok(())
}

/// Dense weights of many features go through cooperative matrices.
pub(super) fn matmul_dense_rounded(bench: &Workbench, measure: &mut Measure) -> Result<()> {
    let mut random = Random::new(5);
    for bench in tilings(bench).iter().take(2) {
        for (dtype, n_out, n_in) in [(Dtype::BF16, 520, 96), (Dtype::F16, 513, 72)] {
            let values: Vec<f32> = (0..n_out * n_in).map(|_| random.normal()).collect();
            let matrix = DenseMatrix::from_bytes(n_out, n_in, dtype, &file_bytes(dtype, &values))?;
            let (matrix, x) = (Matrix::Dense(matrix), on_grid(&mut random, 9, n_in));
            let y = plain(bench, true, &matrix, &x)?;
            let (expected, bound) = of_many(bench, &x, &matrix);
            measure.close(&format!("{dtype:?} [{n_out}, {n_in}]"), &expected, &y, |i| bound[i]);
        }
    }
    Ok(())
}
