//! Who goes to which expert, and what comes back.

use super::norm::{add_norm, rms_norm};

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
