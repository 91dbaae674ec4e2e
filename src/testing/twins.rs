//! What kernels should make, each value with a bound of how far off a device may be. Values come from
//! [`crate::reference::ops`]; bounds from lengths, epsilon and what WGSL allows its functions.

use half::f16;

use super::bounds::{EPS, Measure, norm};
use crate::kernels::{KV_BLOCK, KvDtype};
use crate::quant::Matrix;
use crate::reference::ops;

/// Values, each with its bound.
pub type Bounded = (Vec<f32>, Vec<f64>);

/// Bounds of products `x w^T`. For each element 8 epsilon of `S = sum_k |w| |x|`, and more for long sums: each of a lane's
/// K additions rounds by at most half an epsilon of S (deviation epsilon / 2 / sqrt(3)), errors walk at random, and 5
/// deviations of such a walk are 1.44 sqrt(K) epsilon. Early outliers come close to that.
pub fn of_products(x: &[f32], matrix: &Matrix) -> Vec<f64> {
    let (n_out, n_in) = (matrix.out_features(), matrix.in_features());
    let mut row = vec![0.0; n_in];
    let mut sums = vec![0.0f64; x.len() / n_in * n_out];
    for n in 0..n_out {
        matrix.read_row(n, &mut row);
        for (t, x) in x.chunks_exact(n_in).enumerate() {
            sums[t * n_out + n] = x.iter().zip(&row).map(|(&x, &w)| (f64::from(x) * f64::from(w)).abs()).sum();
        }
    }
    // Subnormal terms may be taken for zero.
    let flushed = n_in as f64 * f64::from(f32::MIN_POSITIVE) * 65504.0 * 255.0;
    let factor = (1.44 * (n_in as f64).sqrt()).max(8.0) * EPS;
    sums.into_iter().map(|sum| factor * sum + flushed).collect()
}

/// Products `x w^T`.
pub fn products(x: &[f32], matrix: &Matrix) -> Bounded {
    (ops::matmul(x, matrix), of_products(x, matrix))
}

/// Products as cooperative matrices make them: x rounded to f16 relative to its row, weights to f16, added up in f32. What
/// is left is that addition: a matrix unit may cut off bits at each step of 8 or more input features.
pub fn matrix_products(x: &[f32], matrix: &Matrix) -> Bounded {
    let (n_out, n_in) = (matrix.out_features(), matrix.in_features());
    let mut row = vec![0.0; n_in];
    let mut y = vec![0.0; x.len() / n_in * n_out];
    let mut bound = vec![0.0; y.len()];
    let additions = (n_in as f64 / 8.0 + 8.0).max(1.44 * (n_in as f64).sqrt());
    for n in 0..n_out {
        matrix.read_row(n, &mut row);
        for (t, x) in x.chunks_exact(n_in).enumerate() {
            let largest = x.iter().fold(0.0f32, |most, v| most.max(v.abs())).max(f32::MIN_POSITIVE * 4.0);
            let inverse = 2f32.powi(13 - largest.log2().floor().clamp(-113.0, 127.0) as i32);
            let (mut sum, mut size, mut flushed) = (0.0, 0.0, 0.0);
            for (&x, &w) in x.iter().zip(&row) {
                let (x16, w16) = (f16::from_f32(x * inverse), f16::from_f32(w * 64.0));
                let term = x16.to_f64() / f64::from(inverse) * w16.to_f64() / 64.0;
                sum += term;
                size += term.abs();
                // Subnormal numbers may be taken for zero.
                if !x16.is_normal() || !w16.is_normal() {
                    flushed += term.abs();
                }
            }
            y[t * n_out + n] = sum as f32;
            bound[t * n_out + n] = additions * EPS * size + flushed;
        }
    }
    (y, bound)
}

/// `gelu(gate) * up` of products, gate's half before up's: gelu has a slope of up to 1.13 and tanh is good to a few units
/// of 1.
pub fn gated((y, of_y): &Bounded) -> Bounded {
    let half = y.len() / 2;
    let values = ops::gelu_mul(&y[..half], &y[half..]);
    let bound = (0..half).map(|i| {
        let (gate, up) = (f64::from(y[i].abs()), f64::from(y[half + i].abs()));
        let of_gelu = 1.13 * of_y[i] + 16.0 * EPS * gate + 1e-30;
        of_gelu * (up + of_y[half + i]) + gate * of_y[half + i] + 2.0 * EPS * gate * up + 1e-30
    });
    (values, bound.collect())
}

/// Epsilon of the norms that are checked.
pub const NORM_EPS: f32 = 1e-6;

/// One head after norm and rotation.
pub fn head(x: &[f32], weight: Option<&[f32]>, angles: &[[f32; 2]], threads: u32) -> Bounded {
    let d = x.len();
    let normed = ops::rms_norm(x, weight, NORM_EPS);
    let exact = vec![0.0; d];
    let of_normed = norm(x, &exact, &normed, |i| weight.map_or(1.0, |w| w[i]), NORM_EPS, threads);
    let (value, mut bound) = (ops::head_norm_rope(x, weight, angles, NORM_EPS), of_normed.clone());
    for (i, [cos, sin]) in angles.iter().enumerate() {
        let (cos, sin) = (f64::from(cos.abs()), f64::from(sin.abs()));
        let (a, b) = (f64::from(normed[i].abs()), f64::from(normed[i + d / 2].abs()));
        let (of_a, of_b) = (of_normed[i], of_normed[i + d / 2]);
        bound[i] = cos * of_a + sin * of_b + 3.0 * EPS * (a * cos + b * sin);
        bound[i + d / 2] = cos * of_b + sin * of_a + 3.0 * EPS * (b * cos + a * sin);
    }
    (value, bound)
}

/// What the cache gives back of a head that may be off by its bound. A device may round f16 either way, and take what is
/// below its normal numbers for zero; int8 is half a step off, and rounds a bound of f32 to either side.
pub fn stored((values, bound): Bounded, dtype: KvDtype) -> Bounded {
    let stored = ops::kv_unpack(&ops::kv_pack(&values, dtype), dtype, values.len());
    let step = |i: usize| match dtype {
        KvDtype::F32 => 0.0,
        KvDtype::F16 => f64::from(values[i].abs()) * 2f64.powi(-10) + 2f64.powi(-14),
        KvDtype::Int8 => {
            let block = &values[i / KV_BLOCK * KV_BLOCK..values.len().min((i / KV_BLOCK + 1) * KV_BLOCK)];
            block.iter().fold(0.0, |a, v| f64::from(v.abs()).max(a)) / 127.0 * 1.01
        }
    };
    let bound = (0..values.len()).map(|i| bound[i] + step(i)).collect();
    (stored, bound)
}

/// What f16 rounds by, relative to a number, and below the normal ones.
const HALF_EPS: f64 = 1.0 / 2048.0;
const HALF_STEP: f64 = 1.0 / (1 << 25) as f64;

/// `values` on their way through f16.
pub fn halved((values, bound): &Bounded) -> Bounded {
    let rounding = |(v, b): (&f32, &f64)| b + f64::from(v.abs()) * HALF_EPS + HALF_STEP;
    (values.clone(), values.iter().zip(bound).map(rounding).collect())
}

/// One query head over `keys` and `values`. Scores are sums of head_dim products, four to a `dot`; exp is good to 3 + 2 |x|
/// units and turns an absolute error of its argument into a relative one; the weighted sum has as many additions as
/// positions. What queries, keys and values may be off by goes through the products. With `rounds` weights, and with them
/// their total, are rounded to f16, relative to the largest weight or to a larger number.
pub fn attention((q, of_q): &Bounded, keys: &[&Bounded], values: &[&Bounded], rounds: bool) -> Bounded {
    let k: Vec<&[f32]> = keys.iter().map(|k| k.0.as_slice()).collect();
    let v: Vec<&[f32]> = values.iter().map(|v| v.0.as_slice()).collect();
    let expected = ops::attention(q, &k, &v);
    let abs = |v: f32| f64::from(v).abs();
    let score = |k: &[f32]| q.iter().zip(k).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let scores: Vec<f64> = k.iter().map(|k| score(k)).collect();
    let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let of_score = |(k, of_k): &Bounded| -> f64 {
        let rounding = (q.len() as f64 / 4.0 + 4.0) * EPS;
        (0..q.len()).map(|i| rounding * abs(q[i]) * abs(k[i]) + abs(q[i]) * of_k[i] + abs(k[i]) * of_q[i]).sum()
    };
    let of_score: Vec<f64> = keys.iter().map(|k| of_score(k)).collect();
    let worst = of_score.iter().copied().fold(0.0, f64::max);
    let exps: Vec<f64> = scores.iter().map(|s| (s - largest).exp()).collect();
    let total: f64 = exps.iter().sum();
    let relative: Vec<f64> = (0..keys.len())
        .map(|p| of_score[p] + worst + EPS * (6.0 + 3.0 * (largest - scores[p])) + EPS * keys.len() as f64)
        .collect();
    let of_weight = |p: usize| {
        let rounding = if rounds { HALF_EPS * exps[p] + HALF_STEP } else { 0.0 };
        (exps[p] * relative[p] + rounding) / total
    };
    let of_weight: Vec<f64> = (0..keys.len()).map(of_weight).collect();
    let of_total: f64 = of_weight.iter().sum();
    let of_value = |p: usize, i: usize| {
        let weight = exps[p] / total;
        abs(values[p].0[i]) * (of_weight[p] + weight * of_total) + (weight + of_weight[p]) * values[p].1[i]
    };
    let bound = |i: usize| (0..keys.len()).map(|p| of_value(p, i)).sum::<f64>() + 1e-30;
    (expected, (0..q.len()).map(bound).collect())
}

/// Words of a chunk of 32 activations rounded to int8, as `kernels::rounding::int8_by_16` lays them out.
pub const ROUNDED_WORDS: usize = 12;

/// The values that the words of one row of rounded activations stand for, and for each block of 16 its scale, the sum of its
/// codes and the scaled sum beside them, which should be the product of both.
pub fn rounded_values(words: &[u32], width: usize) -> (Vec<f32>, Vec<(f32, i32, f32)>) {
    let (mut values, mut sums) = (Vec::new(), Vec::new());
    let chunks = words.len() / ROUNDED_WORDS;
    // Three planes: codes of first blocks, of second ones, scales and sums.
    let word = |plane: usize, chunk: usize, i: usize| words[4 * (plane * chunks + chunk) + i];
    for chunk in 0..chunks {
        for half in 0..2 {
            let (scale, sum) = (f32::from_bits(word(2, chunk, half)), f32::from_bits(word(2, chunk, 2 + half)));
            let codes: Vec<i8> =
                (0..16).map(|k| (word(half, chunk, 2 * (k / 8) + k % 2) >> (8 * (k % 8 / 2))) as i8).collect();
            sums.push((scale, codes.iter().map(|&code| i32::from(code)).sum(), sum));
            values.extend(codes.iter().map(|&code| scale * f32::from(code)));
        }
    }
    values.truncate(width);
    (values, sums)
}

/// How far a value may be from what it was before rounding to int8 with the largest of its block: half a step of 127, and
/// the rounding of scale, reciprocal and products.
pub fn of_rounding(block: &[f32]) -> f64 {
    let largest = block.iter().fold(0.0f32, |largest, v| largest.max(v.abs()));
    f64::from(largest) / 127.0 * (0.5 + 8.0 * 127.0 * EPS) + 1e-30
}

/// Measures rows of `width` values and what they have become rounded to int8 in blocks of 16.
pub fn measure_rounding(measure: &mut Measure, what: &str, x: &[f32], width: usize, words: &[f32]) {
    let rows = x.len() / width;
    for (t, (x, words)) in x.chunks_exact(width).zip(words.chunks_exact(words.len() / rows)).enumerate() {
        let words: Vec<u32> = words.iter().map(|word| word.to_bits()).collect();
        let (values, sums) = rounded_values(&words, width);
        for (block, (x, values)) in x.chunks(16).zip(values.chunks(16)).enumerate() {
            let (bound, (scale, total, sum)) = (of_rounding(x), sums[block]);
            measure.close(&format!("{what}, row {t}, block {block}, rounded"), x, values, |_| bound);
            let bound = 1e-6 * f64::from(scale.abs());
            measure.close(&format!("{what}, row {t}, block {block}, sum"), &[scale * total as f32], &[sum], |_| bound);
        }
    }
}

/// A norm added to the residual stream: `(h + rms(x) * post) * scalar`, of x that may be off by `of_x`.
pub fn added_norm(h: &[f32], x: &[f32], of_x: &[f64], post: &[f32], scalar: f32, threads: u32) -> Bounded {
    let mut expected = h.to_vec();
    ops::add_norm(&mut expected, x, post, scalar, NORM_EPS);
    let normed = ops::rms_norm(x, Some(post), NORM_EPS);
    let of_normed = norm(x, of_x, &normed, |i| post[i], NORM_EPS, threads);
    let size = |i: usize| f64::from(h[i].abs()) + f64::from(normed[i].abs());
    let bound = (0..h.len()).map(|i| f64::from(scalar.abs()) * (of_normed[i] + 2.0 * EPS * size(i)));
    let bound = bound.collect();
    (expected, bound)
}

/// The norm of a row that may be off by its bound.
pub fn normed((x, of_x): &Bounded, weight: &[f32], threads: u32) -> Bounded {
    let y = ops::rms_norm(x, Some(weight), NORM_EPS);
    let bound = norm(x, of_x, &y, |i| weight[i], NORM_EPS, threads);
    (y, bound)
}

/// What `moe_combine` reads before its last norm: `rms(mlp) * post_1 + rms(experts) * post_2`.
pub fn combined(mlp: &[f32], experts: &[f32], [post_1, post_2]: [&[f32]; 2], threads: u32) -> Bounded {
    let exact = |x: &[f32]| (x.to_vec(), vec![0.0; x.len()]);
    let (a, of_a) = normed(&exact(mlp), post_1, threads);
    let (b, of_b) = normed(&exact(experts), post_2, threads);
    let size = |i: usize| f64::from(a[i].abs()) + f64::from(b[i].abs());
    let bound = (0..a.len()).map(|i| of_a[i] + of_b[i] + 2.0 * EPS * size(i)).collect();
    (a.iter().zip(&b).map(|(a, b)| a + b).collect(), bound)
}

/// The router's choice and its weights. exp is good to 3 + 2 |x| units (WGSL); its argument rounds once; the sum of top_k
/// terms rounds as often.
pub fn routed(logits: &[f32], per_expert_scale: &[f32], top_k: usize) -> (Vec<u32>, Bounded) {
    let (ids, weights) = ops::router(logits, per_expert_scale, top_k);
    let largest = logits[ids[0] as usize];
    let bound = ids.iter().zip(&weights).map(|(&id, weight)| {
        let below = f64::from(largest - logits[id as usize]).min(90.0);
        let relative = (2.0 * (3.0 + 3.0 * below) + top_k as f64 + 6.0) * EPS;
        f64::from(weight.abs()) * relative + f64::from(f32::MIN_POSITIVE)
    });
    let bound = bound.collect();
    (ids, (weights, bound))
}

/// The ids that rounding leaves open for a draw with `random`, the right one among them. A weight's exponent is
/// a product with a rounded reciprocal, and WGSL's exp is off by 3 + 2 |exponent| units; sums add half a unit each time.
pub fn drawable(logits: &[f32], top_k: usize, top_p: f32, temperature: f32, random: f64) -> Vec<u32> {
    let mut order: Vec<usize> = (0..logits.len()).filter(|&id| logits[id] > f32::NEG_INFINITY).collect();
    order.sort_by(|&a, &b| logits[b].partial_cmp(&logits[a]).expect("no NaN").then(a.cmp(&b)));
    order.truncate(top_k);
    let exponent = |id: usize| f64::from(logits[id] - logits[order[0]]) / f64::from(temperature);
    let (mut reached, mut error) = (vec![0.0], 0.0);
    for &id in &order {
        let weight = exponent(id).exp();
        reached.push(reached[reached.len() - 1] + weight);
        error += if weight > 0.0 { weight * (3.0 + 3.0 * exponent(id).abs()) * EPS } else { 0.0 };
    }
    let (n, total) = (order.len(), reached[order.len()]);
    // Both sums, the product with top_p or the random number, which is rounded too.
    error += (n as f64 + 2.0) * EPS * total;
    let enough = f64::from(top_p) * total;
    let is_cut = |&kept: &usize| {
        (kept == n || reached[kept] >= enough - error) && (kept == 1 || reached[kept - 1] < enough + error)
    };
    let mut ids = Vec::new();
    for kept in (1..=n).filter(is_cut) {
        let target = random * reached[kept];
        let falls_on = |&at: &usize| reached[at + 1] > target - error && (at == 0 || reached[at] <= target + error);
        ids.extend((0..kept).filter(falls_on).map(|at| order[at] as u32));
    }
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// `gelu(gate) * up`: 1 + tanh is off by a few epsilon of 1 (drivers compute it from exp), and so gelu(x) by as much of |x|.
pub fn gelu_mul(gate: &[f32], up: &[f32]) -> Bounded {
    let bound = |(gate, up): (&f32, &f32)| {
        8.0 * EPS * f64::from(gate.abs()) * f64::from(up.abs()) + f64::from(f32::MIN_POSITIVE)
    };
    (ops::gelu_mul(gate, up), gate.iter().zip(up).map(bound).collect())
}
