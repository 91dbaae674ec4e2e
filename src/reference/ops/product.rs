//! Products of activations and weights, and what is done to them.

use crate::quant::Matrix;

/// `y[n] = sum_k x[k] * w[n, k]` for one row.
pub fn matvec(x: &[f32], w: &Matrix) -> Vec<f32> {
    assert_eq!(x.len(), w.in_features(), "one row");
    matmul(x, w)
}

/// `y[t, n] = sum_k x[t, k] * w[n, k]`; x is `[tokens, in_features]`.
pub fn matmul(x: &[f32], w: &Matrix) -> Vec<f32> {
    let (n_out, n_in) = (w.out_features(), w.in_features());
    let tokens = x.len() / n_in;
    let mut y = vec![0.0; tokens * n_out];
    let mut row = vec![0.0; n_in];
    for n in 0..n_out {
        w.read_row(n, &mut row);
        for (t, x_row) in x.chunks_exact(n_in).enumerate() {
            y[t * n_out + n] = dot(x_row, &row) as f32;
        }
    }
    y
}

/// `y[p] = w x[p / repeat]` with the matrix `w = stack[ids[p] - first_matrix]`; `None` for rows whose matrix is not among
/// these.
pub fn matmul_grouped(
    x: &[f32],
    repeat: usize,
    stack: &[Matrix],
    first_matrix: u32,
    ids: &[u32],
) -> Vec<Option<Vec<f32>>> {
    let row = |p: usize, id: u32| {
        let w = stack.get(id.checked_sub(first_matrix)? as usize)?;
        let n_in = w.in_features();
        Some(matvec(&x[p / repeat * n_in..][..n_in], w))
    };
    ids.iter().enumerate().map(|(p, &id)| row(p, id)).collect()
}

/// `y[i] = sum_s parts[s, i]` of `shares` results that lie one behind the other.
pub fn sum_shares(parts: &[f32], shares: usize) -> Vec<f32> {
    let n = parts.len() / shares;
    (0..n).map(|i| parts[i..].iter().step_by(n).map(|&part| f64::from(part)).sum::<f64>() as f32).collect()
}

/// `cap * tanh(x / cap)`, NaN where x is not finite; `None` leaves x.
pub fn softcap(x: &mut [f32], cap: Option<f32>) {
    if let Some(cap) = cap {
        x.iter_mut().for_each(|v| *v = if v.is_finite() { cap * (*v / cap).tanh() } else { f32::NAN });
    }
}

pub(super) fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}
