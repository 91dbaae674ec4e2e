//! Which token comes next.

use crate::kernels::choice::argmax::NOT_FINITE;
use crate::kernels::choice::sample::Draw;
use crate::kernels::choice::strip_max::{STRIP, strips};

/// A NaN or plus infinity: no choice is made among such logits.
fn is_garbage(logit: f32) -> bool {
    logit.is_nan() || logit == f32::INFINITY
}

/// The index of the largest value, the lowest on a tie; [`NOT_FINITE`] where one is NaN or plus infinity.
pub fn argmax(values: &[f32]) -> u32 {
    if values.iter().any(|&v| is_garbage(v)) {
        return NOT_FINITE;
    }
    let mut best = 0;
    for (i, v) in values.iter().enumerate() {
        if *v > values[best] {
            best = i;
        }
    }
    best as u32
}

/// The keys of the largest logits of a row's strips: floats' own total order, from 0 for minus infinity and nothing to the
/// largest for NaN and plus infinity.
pub fn strip_max(logits: &[f32]) -> Vec<u32> {
    let key = |&logit: &f32| match (logit + 0.0).to_bits() {
        _ if is_garbage(logit) => u32::MAX,
        _ if logit == f32::NEG_INFINITY => 0,
        bits if bits >> 31 == 1 => !bits,
        bits => bits | 1 << 31,
    };
    let mut keys: Vec<u32> = logits.chunks(STRIP).map(|strip| strip.iter().map(key).max().unwrap_or(0)).collect();
    keys.resize(strips(logits.len()), 0);
    keys
}

/// The token that `draw` gives: of the `top_k` largest logits the fewest whose probabilities reach `top_p`, of these the
/// one on which `random` falls. [`NOT_FINITE`] where a logit is NaN or plus infinity, or all are minus infinity.
pub fn sample(logits: &[f32], draw: &Draw) -> u32 {
    let mut order: Vec<usize> = (0..logits.len()).filter(|&id| logits[id] > f32::NEG_INFINITY).collect();
    if order.is_empty() || logits.iter().any(|&l| is_garbage(l)) {
        return NOT_FINITE;
    }
    // Stable: ties keep the lower id first. Adding 0 makes -0 a tie with 0.
    order.sort_by(|&a, &b| (logits[b] + 0.0).total_cmp(&(logits[a] + 0.0)));
    order.truncate(draw.top_k as usize);
    let exponent = |id: usize| f64::from(logits[id] - logits[order[0]]) * f64::from(draw.inverse_temperature);
    let mut reached: Vec<f64> = Vec::with_capacity(order.len());
    for &id in &order {
        reached.push(reached.last().unwrap_or(&0.0) + exponent(id).exp());
    }
    let enough = f64::from(draw.top_p) * reached[reached.len() - 1];
    let last = reached.iter().position(|&sum| sum >= enough).unwrap_or(reached.len() - 1);
    let target = f64::from(draw.random) * reached[last];
    order[reached[..last].iter().position(|&sum| sum > target).unwrap_or(last)] as u32
}

/// The logits of `ids` become minus infinity; ids beyond the row change nothing.
pub fn suppress(logits: &mut [f32], ids: &[u32]) {
    for &id in ids {
        if let Some(logit) = logits.get_mut(id as usize) {
            *logit = f32::NEG_INFINITY;
        }
    }
}
