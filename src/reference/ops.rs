//! The operations, row-major and one row after the other. Sums are taken in f64, so that a difference to a kernel is the
//! kernel's rounding and not this one's.

use half::f16;

use crate::kernels::{KV_BLOCK, KvDtype};
use crate::quant::Matrix;

/// `y[t, n] = sum_k x[t, k] * w[n, k]`; x is `[tokens, in_features]`.
pub fn product(x: &[f32], w: &Matrix) -> Vec<f32> {
    let (n_out, n_in) = (w.out_features(), w.in_features());
    let tokens = x.len() / n_in;
    let mut y = vec![0.0; tokens * n_out];
    let mut row = vec![0.0; n_in];
    for n in 0..n_out {
        w.row(n, &mut row);
        for (t, x_row) in x.chunks_exact(n_in).enumerate() {
            y[t * n_out + n] = dot(x_row, &row) as f32;
        }
    }
    y
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}

/// `cap * tanh(x / cap)`, NaN where x is not finite; `None` leaves x.
pub fn softcap(x: &mut [f32], cap: Option<f32>) {
    if let Some(cap) = cap {
        x.iter_mut().for_each(|v| *v = if v.is_finite() { cap * (*v / cap).tanh() } else { f32::NAN });
    }
}

/// `x / sqrt(mean(x^2) + eps) * weight`; `None` for the norms without a weight. x is one row.
pub fn rms_norm(x: &[f32], weight: Option<&[f32]>, eps: f32) -> Vec<f32> {
    let mean = dot(x, x) / x.len() as f64;
    let factor = (1.0 / (mean + f64::from(eps)).sqrt()) as f32;
    match weight {
        None => x.iter().map(|v| v * factor).collect(),
        Some(w) => x.iter().zip(w).map(|(v, w)| v * factor * w).collect(),
    }
}

/// `h = (h + rms(x) * post) * scalar`, in place; the norms that follow are [`rms_norm`] of the new h. One row.
pub fn add_norm(h: &mut [f32], x: &[f32], post: &[f32], scalar: f32, eps: f32) {
    for (h, x) in h.iter_mut().zip(rms_norm(x, Some(post), eps)) {
        *h = (*h + x) * scalar;
    }
}

/// The weighted sum of the chosen experts for one row: weight and product, `[width]`, of each.
pub fn moe_sum(chosen: &[(f32, &[f32])], width: usize) -> Vec<f32> {
    let sum = |i: usize| chosen.iter().map(|(weight, product)| f64::from(*weight) * f64::from(product[i])).sum::<f64>();
    (0..width).map(|i| sum(i) as f32).collect()
}

/// The end of a mixture-of-experts layer for one row: `m = rms(mlp) * post_1 + rms(experts) * post_2`, then
/// `h = (h + rms(m) * post) * scalar`. `experts` is the weighted sum of the chosen experts.
pub fn moe_combine(h: &mut [f32], mlp: &[f32], experts: &[f32], norms: [&[f32]; 3], scalar: f32, eps: f32) {
    let [post_1, post_2, post] = norms;
    let mut m = rms_norm(mlp, Some(post_1), eps);
    for (m, e) in m.iter_mut().zip(rms_norm(experts, Some(post_2), eps)) {
        *m += e;
    }
    add_norm(h, &m, post, scalar, eps);
}

/// The `top_k` most probable experts of one row, by descending probability, the lower index first on a tie, and their
/// weights: the softmax over all experts, renormalized over the chosen ones, times `per_expert_scale`.
pub fn router(logits: &[f32], per_expert_scale: &[f32], top_k: usize) -> (Vec<u32>, Vec<f32>) {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exps: Vec<f64> = logits.iter().map(|&l| f64::from(l - largest).exp()).collect();
    let all: f64 = exps.iter().sum();
    let mut order: Vec<usize> = (0..logits.len()).collect();
    // Stable: ties keep the lower index first. Adding 0 makes -0 a tie with 0.
    order.sort_by(|&a, &b| (logits[b] + 0.0).total_cmp(&(logits[a] + 0.0)));
    order.truncate(top_k);
    let chosen: f64 = order.iter().map(|&e| exps[e] / all).sum();
    let weights = order.iter().map(|&e| (exps[e] / all / chosen) as f32 * per_expert_scale[e]).collect();
    (order.into_iter().map(|e| e as u32).collect(), weights)
}

/// The pairs `row * top_k + slot` of `n_experts` experts from `first_expert` on, by expert and number, and places for tiles
/// of up to `tile_rows` of them: expert, first in the list, pairs, 0. Expert `e` begins at place `first / tile_rows + e`.
pub fn moe_group(ids: &[u32], first_expert: u32, n_experts: u32, tile_rows: usize) -> (Vec<u32>, Vec<[u32; 4]>) {
    let mut pairs: Vec<u32> = Vec::new();
    let mut tiles = vec![[0; 4]; ids.len().div_ceil(tile_rows) + n_experts as usize];
    for e in 0..n_experts {
        let first = pairs.len();
        pairs.extend((0..ids.len() as u32).filter(|&p| ids[p as usize] == first_expert + e));
        for (i, tile) in pairs[first..].chunks(tile_rows).enumerate() {
            let place = first / tile_rows + e as usize + i;
            tiles[place] = [first_expert + e, (first + i * tile_rows) as u32, tile.len() as u32, 0];
        }
    }
    (pairs, tiles)
}

/// The tanh form of GELU.
pub fn gelu(x: f32) -> f32 {
    let x = f64::from(x);
    (0.5 * x * (1.0 + (0.797_884_560_802_865_4 * (x + 0.044715 * x * x * x)).tanh())) as f32
}

/// `gelu(gate) * up`, element by element.
pub fn gelu_mul(gate: &[f32], up: &[f32]) -> Vec<f32> {
    gate.iter().zip(up).map(|(&g, &u)| gelu(g) * u).collect()
}

/// One layer's per-layer input of one row: `(rms(context * scale) * norm + tokens) / sqrt(2)`.
pub fn per_layer_inputs(context: &[f32], tokens: &[f32], norm: &[f32], scale: f32, eps: f32) -> Vec<f32> {
    let scaled: Vec<f32> = context.iter().map(|v| v * scale).collect();
    let normed = rms_norm(&scaled, Some(norm), eps);
    normed.iter().zip(tokens).map(|(x, t)| (x + t) * std::f32::consts::FRAC_1_SQRT_2).collect()
}

/// Rotates the pairs `(i, i + d / 2)` of one head by `angles[i]` = (cos, sin); dimensions beyond the angles stay.
pub fn rope(head: &mut [f32], angles: &[[f32; 2]]) {
    let half = head.len() / 2;
    for (i, [cos, sin]) in angles.iter().enumerate() {
        let (a, b) = (head[i], head[i + half]);
        head[i] = a * cos - b * sin;
        head[i + half] = b * cos + a * sin;
    }
}

/// A head of keys or values as words of the KV cache: f16 rounded to the nearest, int8 with a scale for each block of 32
/// values. The head is padded with zeros to whole blocks.
pub fn kv_pack(head: &[f32], dtype: KvDtype) -> Vec<u32> {
    let mut padded = head.to_vec();
    padded.resize(head.len().next_multiple_of(KV_BLOCK), 0.0);
    let half = |v: f32| {
        let finite = if v.is_nan() { v } else { v.clamp(-65504.0, 65504.0) };
        u32::from(f16::from_f32(finite).to_bits())
    };
    match dtype {
        KvDtype::F32 => padded.into_iter().map(f32::to_bits).collect(),
        KvDtype::F16 => padded.chunks_exact(2).map(|pair| half(pair[0]) | half(pair[1]) << 16).collect(),
        KvDtype::Int8 => {
            let blocks = || padded.chunks_exact(KV_BLOCK);
            let largest = |block: &[f32]| block.iter().fold(0.0f32, |a, v| if v.abs() > a { v.abs() } else { a });
            let code = |v: f32, largest: f32| {
                let inverse = if largest == 0.0 { 0.0 } else { 127.0 / largest };
                (v * inverse).round_ties_even().clamp(-127.0, 127.0) as i8
            };
            let codes: Vec<u8> = blocks().flat_map(|b| b.iter().map(|&v| code(v, largest(b)) as u8)).collect();
            let mut words: Vec<u32> =
                codes.chunks_exact(4).map(|c| u32::from_le_bytes([c[0], c[1], c[2], c[3]])).collect();
            words.extend(blocks().map(|b| (largest(b) * (1.0 / 127.0)).to_bits()));
            words.resize(dtype.head_words(head.len()), 0);
            words
        }
    }
}

/// What attention reads of a head's words in the KV cache: `head_dim` values.
pub fn kv_unpack(words: &[u32], dtype: KvDtype, head_dim: usize) -> Vec<f32> {
    let padded = head_dim.next_multiple_of(KV_BLOCK);
    let value = |i: usize| match dtype {
        KvDtype::F32 => f32::from_bits(words[i]),
        KvDtype::F16 => f16::from_bits((words[i / 2] >> (16 * (i % 2))) as u16).to_f32(),
        KvDtype::Int8 => {
            let code = words[i / 4].to_le_bytes()[i % 4] as i8;
            f32::from(code) * f32::from_bits(words[padded / 4 + i / KV_BLOCK])
        }
    };
    (0..head_dim).map(value).collect()
}

/// Softmax attention of one query head over keys and values `[positions, head_dim]`, all of them visible, no scale.
pub fn attention(q: &[f32], keys: &[&[f32]], values: &[&[f32]]) -> Vec<f32> {
    let scores: Vec<f64> = keys.iter().map(|k| dot(q, k)).collect();
    let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let exps: Vec<f64> = scores.iter().map(|s| (s - largest).exp()).collect();
    let total: f64 = exps.iter().sum();
    let mut out = vec![0.0f64; q.len()];
    for (e, v) in exps.iter().zip(values) {
        for (o, v) in out.iter_mut().zip(*v) {
            *o += e / total * f64::from(*v);
        }
    }
    out.into_iter().map(|v| v as f32).collect()
}

/// Word `i` of random numbers: a hash of the counter, of which the bits in `keep` count; the others are those of `base`.
pub fn fill_random(i: u32, seed: u32, keep: u32, base: u32) -> u32 {
    let state = seed.wrapping_add(i).wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
    let word = ((state >> ((state >> 28) + 4)) ^ state).wrapping_mul(277_803_737);
    ((word >> 22) ^ word) & keep | base
}

/// The index of the largest value, the lowest on a tie.
pub fn argmax(values: &[f32]) -> u32 {
    let mut best = 0;
    for (i, v) in values.iter().enumerate() {
        if *v > values[best] {
            best = i;
        }
    }
    best as u32
}
