//! Checks of what a mixture of experts adds: the choice, the products of chosen experts, one by one and grouped.

use crate::Result;
use crate::gpu::{Tensor, Tier};
use crate::kernels::experts::moe_group;
use crate::kernels::experts::moe_group::Groups;
use crate::kernels::experts::moe_sum;
use crate::kernels::experts::router;
use crate::kernels::experts::router::Choice;
use crate::kernels::product::{self, Beside, Gated, Product, Rows, Summed};
use crate::kernels::rounding::int8_by_16::Input;
use crate::kernels::{Weights, WeightsBuilder};
use crate::quant::{Dtype, Matrix};
use crate::reference::ops;
use crate::testing::bounds::{EPS, Measure};
use crate::testing::matrices::{DTYPES, Scales, Spec, Unpacked, dense};
use crate::testing::random::{Random, Spread};
use crate::testing::twins;
use crate::testing::twins::Bounded;
use crate::testing::workbench::{Output, Workbench};

use super::products::{Rounded, few_rows, of_many, on_grid, round, rounded_rows};

/// Expert 2 has no token, experts 0 and 4 have several, and one token may name an expert twice.
const IDS: [u32; 12] = [0, 4, 4, 1, 3, 0, 0, 0, 4, 1, 0, 4];
const TOP_K: usize = 4;
const N_EXPERTS: usize = 5;

fn stack(bench: &Workbench, matrices: &[Matrix]) -> Result<Weights> {
    let (n_out, n_in) = (matrices[0].out_features(), matrices[0].in_features());
    let mut builder = WeightsBuilder::new(bench.gpu(), "experts", matrices.len(), n_out, n_in);
    for (e, matrix) in matrices.iter().enumerate() {
        builder.add(e, 0, matrix)?;
    }
    builder.finish()
}

fn packed(random: &mut Random, n_out: usize, n_in: usize) -> Vec<Matrix> {
    let spec = Spec { scales: Scales::Ordinary, ..Spec::new(n_out, n_in, 128) };
    (0..N_EXPERTS).map(|_| Matrix::Packed(Unpacked::random(random, spec).pack())).collect()
}

/// Activations, and what products of few rows read of them in the tier of `bench`.
struct Activations {
    x: Tensor,
    rounded: Option<Tensor>,
    values: Vec<f32>,
}

impl Activations {
    fn new(bench: &Workbench, measure: &mut Measure, width: usize, values: &[f32]) -> Result<Self> {
        if bench.planner.tier == Tier::Plain {
            return Ok(Activations { x: bench.tensor(width, values)?, rounded: None, values: values.to_vec() });
        }
        let Rounded { x, words: rounded, values } = round(bench, measure, width, values)?;
        Ok(Activations { x, rounded: Some(rounded), values })
    }

    fn input(&self) -> Input<'_> {
        Input { x: &self.x, rounded: self.rounded.as_ref() }
    }
}

/// Gate and up of a token's experts; the result is also rounded where products round.
pub(super) fn gates(bench: &Workbench, measure: &mut Measure) -> Result<()> {
    let (mut random, n_in, width) = (Random::new(10), 704, 48);
    let matrices = packed(&mut random, 2 * width, n_in);
    let values: Vec<f32> = random.values(IDS.len() / TOP_K * n_in, Spread::Normal).iter().map(|v| 0.1 * v).collect();
    let x = Activations::new(bench, measure, n_in, &values)?;
    let (weights, ids) = (stack(bench, &matrices)?, bench.compact(TOP_K, &IDS)?);
    let act = Output::new(bench.gpu(), IDS.len(), width)?;
    let words = Output::rounded(bench.gpu(), IDS.len(), width)?;
    let to = Gated { gate_up: None, y: &act.tensor, rounded: x.rounded.is_some().then_some(&words.tensor) };
    let rows = Rows::Experts { ids: &ids, repeat: TOP_K, several: false };
    let planned = product::plan(&bench.planner, "gated", &Product::gated(&weights, rows, x.input(), to))?;
    let results = bench.run(&planned, IDS.len() / TOP_K, &[&act, &words])?;
    for (p, &e) in IDS.iter().enumerate() {
        let row = &x.values[p / TOP_K * n_in..][..n_in];
        let (expected, bound) = twins::gated(&twins::products(row, &matrices[e as usize]));
        let what = format!("row {p}, expert {e}");
        measure.close(&what, &expected, &results[0][p * width..][..width], |i| bound[i]);
    }
    if x.rounded.is_some() {
        twins::measure_rounding(measure, "gated", &results[0], width, &results[1]);
    }
    Ok(())
}

/// Gate and up of one matrix, for one row and for several.
pub(super) fn gate(bench: &Workbench, measure: &mut Measure) -> Result<()> {
    let (mut random, n_in, width) = (Random::new(11), 352, 48);
    let matrix = packed(&mut random, 2 * width, n_in).remove(0);
    let weights = Weights::upload(bench.gpu(), "gate_up", &matrix)?;
    for n_rows in [1, 2, 5] {
        let values: Vec<f32> = random.values(n_rows * n_in, Spread::Normal).iter().map(|v| 0.1 * v).collect();
        let (x, count) = (Activations::new(bench, measure, n_in, &values)?, bench.compact(1, &[n_rows as u32])?);
        let rows = if x.rounded.is_some() { few_rows(n_rows, &count) } else { Rows::Few };
        let act = Output::new(bench.gpu(), n_rows, width)?;
        let words = Output::rounded(bench.gpu(), n_rows, width)?;
        let to = Gated { gate_up: None, y: &act.tensor, rounded: x.rounded.is_some().then_some(&words.tensor) };
        let planned = product::plan(&bench.planner, "gated", &Product::gated(&weights, rows, x.input(), to))?;
        let results = bench.run(&planned, n_rows, &[&act, &words])?;
        for (t, row) in x.values.chunks_exact(n_in).enumerate() {
            let (expected, bound) = twins::gated(&twins::products(row, &matrix));
            let actual = &results[0][t * width..][..width];
            measure.close(&format!("row {t} of {n_rows}"), &expected, actual, |i| bound[i]);
        }
        if x.rounded.is_some() {
            twins::measure_rounding(measure, "gated", &results[0], width, &results[1]);
        }
    }
    Ok(())
}

/// A token's experts added up, each times its factor.
pub(super) fn sums(bench: &Workbench, measure: &mut Measure) -> Result<()> {
    let (mut random, n_out) = (Random::new(12), 33);
    let dense_stack = |random: &mut Random| -> Vec<Matrix> {
        (0..N_EXPERTS).map(|_| Matrix::Dense(dense(random, n_out, 41, Dtype::BF16))).collect()
    };
    let stacks = [packed(&mut random, n_out, 704), dense_stack(&mut random)];
    for matrices in stacks.into_iter().take(if bench.brief { 1 } else { 2 }) {
        let n_in = matrices[0].in_features();
        let x = Activations::new(bench, measure, n_in, &random.values(IDS.len() * n_in, Spread::Outliers))?;
        let factors: Vec<f32> = IDS.iter().map(|_| random.uniform()).collect();
        let (weights, ids) = (stack(bench, &matrices)?, bench.compact(TOP_K, &IDS)?);
        let y = Output::new(bench.gpu(), IDS.len() / TOP_K, n_out)?;
        let factors_of = bench.compact(TOP_K, &factors)?;
        let to = Summed { ids: &ids, factors: &factors_of, held: 0..N_EXPERTS, products: None, y: &y.tensor };
        let rows = Rows::Experts { ids: &ids, repeat: 1, several: false };
        let planned = product::plan(&bench.planner, "sum", &Product::summed(&weights, rows, x.input(), to))?;
        let actual = bench.run_for(&planned, IDS.len() / TOP_K, &y)?;
        let values = if weights.has_whole_chunks() { x.values } else { x_of(&x.x, bench)? };
        for (t, actual) in actual.chunks_exact(n_out).enumerate() {
            let (expected, bound) = sum(&matrices, &values, &factors, t);
            measure.close(&format!("row {t} of {n_in} features"), &expected, actual, |i| bound[i]);
        }
    }
    Ok(())
}

/// What stands in a tensor.
fn x_of(tensor: &Tensor, bench: &Workbench) -> Result<Vec<f32>> {
    let mut recorder = crate::gpu::Recorder::new(bench.gpu());
    let copy = recorder.read_back(tensor, tensor.rows)?;
    recorder.submit();
    copy.read(bench.gpu(), tensor.rows)
}

/// The weighted sum of token `t`. The bound of a product is a multiple of the sum of its terms' sizes, as a longer sum's is.
fn sum(matrices: &[Matrix], x: &[f32], factors: &[f32], t: usize) -> Bounded {
    let (n_out, n_in) = (matrices[0].out_features(), matrices[0].in_features());
    let (mut expected, mut bound) = (vec![0.0f64; n_out], vec![1e-30; n_out]);
    for slot in t * TOP_K..(t + 1) * TOP_K {
        let (y, of_y) = twins::products(&x[slot * n_in..][..n_in], &matrices[IDS[slot] as usize]);
        for n in 0..n_out {
            let factor = f64::from(factors[slot]);
            expected[n] += factor * f64::from(y[n]);
            bound[n] += 2.0 * factor.abs() * of_y[n];
        }
    }
    (expected.into_iter().map(|v| v as f32).collect(), bound)
}

/// Rows grouped by expert, one of which has more than a tile of them and one none.
pub(super) fn grouped(bench: &Workbench, measure: &mut Measure) -> Result<()> {
    let (mut random, n_out, n_in, top_k) = (Random::new(13), 33, 704, 4);
    let matrices = packed(&mut random, n_out, n_in);
    let weights = stack(bench, &matrices)?;
    let ids: Vec<u32> = (0..160).map(|_| [0, 0, 0, 1, 4][random.below(5)]).collect();
    let (n_rows, ids_tensor) = (ids.len() / top_k, bench.compact(top_k, &ids)?);
    let x = on_grid(&mut random, n_rows, n_in);
    let x_tensor = bench.tensor(n_in, &x)?;
    for number in 0..if bench.brief { 1 } else { 2 } {
        let bench = bench.tuned(|t| {
            t.experts.plain[0] = t.experts.plain[number];
            t.experts.dot[0] = t.experts.dot[number];
            t.experts.matrix[0] = t.experts.matrix[number];
        });
        let y = Output::new(bench.gpu(), ids.len(), n_out)?;
        let count = bench.compact(1, &[n_rows as u32])?;
        let groups = Groups::new(bench.gpu(), n_rows, top_k, N_EXPERTS)?;
        let mut planned = moe_group::plan(&bench.planner, "moe_group", &ids_tensor, &count, 0..N_EXPERTS, &groups)?;
        let rows = Rows::Grouped { groups: &groups, repeat: top_k };
        planned.extend(product::plan(&bench.planner, "experts", &Product::new(&weights, rows, &x_tensor, &y.tensor))?);
        let actual = bench.run_for(&planned, n_rows, &y)?;
        for (p, &e) in ids.iter().enumerate() {
            let (expected, bound) = of_many(&bench, &x[p / top_k * n_in..][..n_in], &matrices[e as usize]);
            let what = format!("row {p}, expert {e}");
            measure.close(&what, &expected, &actual[p * n_out..][..n_out], |i| bound[i]);
        }
    }
    Ok(())
}

/// Dense experts, grouped.
pub(super) fn grouped_dense(bench: &Workbench, measure: &mut Measure) -> Result<()> {
    let is_matrix = bench.planner.tier == Tier::Matrix;
    // Fewer features stay exact.
    let (mut random, n_out, n_in) = (Random::new(14), if is_matrix { 520 } else { 33 }, 41);
    let values = |random: &mut Random| -> Result<Matrix> {
        let values: Vec<f32> = (0..n_out * n_in).map(|_| random.normal()).collect();
        let bytes = crate::testing::matrices::file_bytes(Dtype::BF16, &values);
        Ok(Matrix::Dense(crate::quant::DenseMatrix::from_bytes(n_out, n_in, Dtype::BF16, &bytes)?))
    };
    let matrices: Vec<Matrix> = (0..N_EXPERTS).map(|_| values(&mut random)).collect::<Result<_>>()?;
    let (weights, ids) = (stack(bench, &matrices)?, bench.compact(TOP_K, &IDS)?);
    let (n_rows, x) = (IDS.len() / TOP_K, on_grid(&mut random, IDS.len(), n_in));
    let y = Output::new(bench.gpu(), IDS.len(), n_out)?;
    let count = bench.compact(1, &[n_rows as u32])?;
    let groups = Groups::new(bench.gpu(), n_rows, TOP_K, N_EXPERTS)?;
    let mut planned = moe_group::plan(&bench.planner, "moe_group", &ids, &count, 0..N_EXPERTS, &groups)?;
    let rows = Rows::Grouped { groups: &groups, repeat: 1 };
    let x_tensor = bench.tensor(n_in, &x)?;
    planned.extend(product::plan(&bench.planner, "experts", &Product::new(&weights, rows, &x_tensor, &y.tensor))?);
    let actual = bench.run_for(&planned, n_rows, &y)?;
    for (p, &e) in IDS.iter().enumerate() {
        let (expected, bound) = of_many(bench, &x[p * n_in..][..n_in], &matrices[e as usize]);
        measure.close(&format!("row {p}"), &expected, &actual[p * n_out..][..n_out], |i| bound[i]);
    }
    Ok(())
}

/// Lists of pairs and tiles, to the word.
pub(super) fn groups(bench: &Workbench, measure: &mut Measure) -> Result<()> {
    let mut random = Random::new(15);
    for (n_experts, top_k, n_rows) in [(4, 2, 33), (128, 8, 70)] {
        let ids: Vec<u32> = (0..n_rows * top_k).map(|_| random.below(n_experts) as u32).collect();
        let (ids_tensor, count) = (bench.compact(top_k, &ids)?, bench.compact(1, &[n_rows as u32])?);
        let places = Groups::places(n_rows, top_k, n_experts);
        let pairs = Output::compact(bench.gpu(), n_rows, top_k)?;
        let tiles = Output::compact(bench.gpu(), places, 4)?;
        let groups = Groups { pairs: pairs.tensor.clone(), tiles: tiles.tensor.clone() };
        let planned = moe_group::plan(&bench.planner, "moe_group", &ids_tensor, &count, 0..n_experts, &groups)?;
        let results = bench.run(&planned, n_rows, &[&pairs, &tiles])?;
        let words = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        let tile_rows = bench.planner.expert_tile_rows(n_rows, top_k, n_experts) as usize;
        let (expected, expected_tiles) = ops::moe_group(&ids, 0, n_experts as u32, tile_rows);
        measure.words("pairs", &expected, &words(&results[0]));
        for (tile, expected) in words(&results[1]).chunks_exact(4).zip(&expected_tiles) {
            // Of a place that is left over only the count says something.
            let from = if expected[2] == 0 { 2 } else { 0 };
            measure.words("tiles", &expected[from..3], &tile[from..3]);
        }
    }
    Ok(())
}

/// The weighted sum of grouped experts' products.
pub(super) fn sums_of_products(bench: &Workbench, measure: &mut Measure) -> Result<()> {
    let (mut random, width, top_k, n_rows) = (Random::new(16), 2816, 8, 2);
    let ids: Vec<u32> = (0..n_rows * top_k).map(|_| random.below(128) as u32).collect();
    let weights: Vec<f32> = ids.iter().map(|_| random.uniform()).collect();
    let products = random.values(ids.len() * width, Spread::Outliers);
    let sum = Output::new(bench.gpu(), n_rows, width)?;
    let (ids_of, weights_of) = (bench.compact(top_k, &ids)?, bench.compact(top_k, &weights)?);
    let from = bench.tensor(width, &products)?;
    let planned = moe_sum::plan(&bench.planner, "sum", &from, &ids_of, &weights_of, 0..128, &sum.tensor)?;
    let actual = bench.run_for(&[planned], n_rows, &sum)?;
    for (t, actual) in actual.chunks_exact(width).enumerate() {
        let slots = t * top_k..(t + 1) * top_k;
        let chosen: Vec<(f32, &[f32])> = slots.map(|s| (weights[s], &products[s * width..][..width])).collect();
        let size = |i: usize| chosen.iter().map(|(w, d)| f64::from((w * d[i]).abs())).sum::<f64>();
        // Each product and each addition rounds.
        let bound = |i: usize| (top_k + 1) as f64 * EPS * size(i);
        measure.close(&format!("row {t}"), &ops::moe_sum(&chosen, width), actual, bound);
    }
    Ok(())
}

/// The router's choice, ties included, which go to the lower index.
pub(super) fn choice(bench: &Workbench, measure: &mut Measure) -> Result<()> {
    let mut random = Random::new(17);
    for (n_experts, top_k, spread) in [(128, 8, 3.0), (31, 7, 0.0)] {
        let n_rows = 20;
        let value = |random: &mut Random| if spread > 0.0 { spread * random.normal() } else { random.below(5) as f32 };
        let logits: Vec<f32> = (0..n_rows * n_experts).map(|_| value(&mut random)).collect();
        let scale: Vec<f32> = (0..n_experts).map(|_| 1.0 + 0.5 * random.uniform()).collect();
        let ids = Output::compact(bench.gpu(), n_rows, top_k)?;
        let weights = Output::compact(bench.gpu(), n_rows, top_k)?;
        let (logits_tensor, scale_tensor) = (bench.tensor(n_experts, &logits)?, bench.compact(n_experts, &scale)?);
        let choice = Choice {
            logits: &logits_tensor,
            per_expert_scale: &scale_tensor,
            ids: &ids.tensor,
            weights: &weights.tensor,
        };
        let planned = router::plan(&bench.planner, "router", choice)?;
        let results = bench.run(&[planned], n_rows, &[&ids, &weights])?;
        measure_choice(measure, &logits, &scale, top_k, &results[0], &results[1]);
    }
    Ok(())
}

fn measure_choice(measure: &mut Measure, logits: &[f32], scale: &[f32], top_k: usize, ids: &[f32], weights: &[f32]) {
    for (t, logits) in logits.chunks_exact(scale.len()).enumerate() {
        let (expected_ids, (expected, bound)) = twins::routed(logits, scale, top_k);
        let ids: Vec<u32> = ids[t * top_k..][..top_k].iter().map(|id| id.to_bits()).collect();
        measure.words(&format!("ids of row {t}"), &expected_ids, &ids);
        measure.close(&format!("weights of row {t}"), &expected, &weights[t * top_k..][..top_k], |i| bound[i]);
    }
}

/// The router's product beside a gated one, and its choice beside a plain one.
pub(super) fn beside(bench: &Workbench, measure: &mut Measure) -> Result<()> {
    let (mut random, n_in, width, top_k) = (Random::new(18), 352, 48, 4);
    let all = [(1, 33, DTYPES[1]), (2, 8, DTYPES[0]), (5, 128, DTYPES[2])];
    for (n_rows, n_experts, dtype) in all.into_iter().take(if bench.brief { 1 } else { 3 }) {
        let gate_up = packed(&mut random, 2 * width, n_in).remove(0);
        let down = packed(&mut random, 40, width).remove(0);
        let router = Matrix::Dense(dense(&mut random, n_experts, n_in, dtype));
        let (gate_up_weights, down_weights, router_weights) = (
            Weights::upload(bench.gpu(), "gate_up", &gate_up)?,
            Weights::upload(bench.gpu(), "down", &down)?,
            Weights::upload(bench.gpu(), "router", &router)?,
        );
        let values: Vec<f32> = random.values(n_rows * n_in, Spread::Normal).iter().map(|v| 0.1 * v).collect();
        let (x, router_x) =
            (Activations::new(bench, measure, n_in, &values)?, random.values(n_rows * n_in, Spread::Normal));
        let count = bench.compact(1, &[n_rows as u32])?;
        let rows = few_rows(n_rows, &count);
        let (act, logits) = (Output::new(bench.gpu(), n_rows, width)?, Output::new(bench.gpu(), n_rows, n_experts)?);
        let words = Output::rounded(bench.gpu(), n_rows, width)?;
        let (weights, router_in) = (&router_weights, bench.tensor(n_in, &router_x)?);
        let logits_of = Beside::Product { label: "router", weights, x: &router_in, y: &logits.tensor };
        let to = Gated { gate_up: None, y: &act.tensor, rounded: Some(&words.tensor) };
        let gated = Product::gated(&gate_up_weights, rows, x.input(), to).beside(logits_of);
        let planned = product::plan(&bench.planner, "gated", &gated)?;
        let results = bench.run(&planned, n_rows, &[&act, &words, &logits])?;
        for (t, row) in x.values.chunks_exact(n_in).enumerate() {
            let (expected, bound) = twins::gated(&twins::products(row, &gate_up));
            measure.close("gated", &expected, &results[0][t * width..][..width], |i| bound[i]);
        }
        let (expected, bound) = twins::products(&router_x, &router);
        measure.close("logits beside", &expected, &results[2], |i| bound[i]);

        let scale = random.values(n_experts, Spread::Uniform);
        let chosen_from = random.values(n_rows * n_experts, Spread::Normal);
        let (ids, weights) =
            (Output::compact(bench.gpu(), n_rows, top_k)?, Output::compact(bench.gpu(), n_rows, top_k)?);
        let (logits, scale_tensor) = (bench.tensor(n_experts, &chosen_from)?, bench.compact(n_experts, &scale)?);
        let choice =
            Choice { logits: &logits, per_expert_scale: &scale_tensor, ids: &ids.tensor, weights: &weights.tensor };
        let y = Output::new(bench.gpu(), n_rows, 40)?;
        let input = Input { x: &act.tensor, rounded: Some(&words.tensor) };
        let down_product = Product::new(&down_weights, rows, input, &y.tensor);
        let down_product = down_product.beside(Beside::Choice { label: "choice", choice });
        let planned = product::plan(&bench.planner, "down", &down_product)?;
        let actual = bench.run(&planned, n_rows, &[&y, &ids, &weights])?;
        let act_values = rounded_rows(&results[1], n_rows, width);
        let (expected, bound) = twins::products(&act_values, &down);
        measure.close("product beside the choice", &expected, &actual[0], |i| bound[i]);
        measure_choice(measure, &chosen_from, &scale, top_k, &actual[1], &actual[2]);
    }
    Ok(())
}
