//! Norms, rotation and gates.

use super::product::dot;

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

/// A head of queries or keys on its way into attention: normed, then rotated; of values normed without weight and angles.
pub fn head_norm_rope(head: &[f32], weight: Option<&[f32]>, angles: &[[f32; 2]], eps: f32) -> Vec<f32> {
    let mut head = rms_norm(head, weight, eps);
    rope(&mut head, angles);
    head
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
