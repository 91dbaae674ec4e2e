//! Rows that are looked up or chosen, and words that are looked at or made.

use crate::quant::Matrix;

/// Row `token` of a table whose first row is that of `first_token`, times `scale`; zeros where it has no such row.
pub fn embed(table: &Matrix, first_token: u32, token: u32, scale: f32) -> Vec<f32> {
    let mut row = vec![0.0; table.in_features()];
    let held = token.checked_sub(first_token).map(|row| row as usize).filter(|&row| row < table.out_features());
    if let Some(held) = held {
        table.read_row(held, &mut row);
    }
    row.iter_mut().for_each(|v| *v *= scale);
    row
}

/// `y[i] = x[chosen[i]]`, rows of `width` values.
pub fn gather_rows(x: &[f32], width: usize, chosen: &[u32]) -> Vec<f32> {
    chosen.iter().flat_map(|&row| &x[row as usize * width..][..width]).copied().collect()
}

/// Whether one of `words` is NaN or infinite as f32.
pub fn not_finite(words: &[u32]) -> bool {
    words.iter().any(|&word| !f32::from_bits(word).is_finite())
}

/// Word `i` of random numbers: a hash of the counter, of which the bits in `keep` count; the others are those of `base`.
pub fn fill_random(i: u32, seed: u32, keep: u32, base: u32) -> u32 {
    let state = seed.wrapping_add(i).wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
    let word = ((state >> ((state >> 28) + 4)) ^ state).wrapping_mul(277_803_737);
    ((word >> 22) ^ word) & keep | base
}
