//! AWQ gemm (and AutoRound `auto_round:auto_awq`): the tensors of GPTQ, packed along the output features in an order of
//! their own. 4 bits only; groups divide the input features, and there is no `g_idx`.
//!
//! ```text
//! qweight [K, N / 8]       word (k, c), nibble i = code of output feature 8 c + ORDER[i]
//! qzeros  [groups, N / 8]  word (g, c), nibble i = zero point of output feature 8 c + ORDER[i], as it is
//! scales  [groups, N]
//! ```
//!
//! Moving nibbles makes GPTQ of it; nothing is rounded.

/// The output feature of each nibble, within eight (`AutoAWQ`, `awq/utils/packing_utils.py`).
const ORDER: [usize; 8] = [0, 2, 4, 6, 1, 3, 5, 7];

/// `qweight [K, N / 8]` as that of GPTQ, `[K / 8, N]`.
///
/// # Panics
/// If `out_features` or the input features are no multiple of 8.
pub fn repack_codes(qweight: &[u32], out_features: usize) -> Vec<u32> {
    let width = out_features / 8;
    assert!(out_features.is_multiple_of(8) && qweight.len().is_multiple_of(8 * width), "an AWQ matrix");
    let mut out = vec![0u32; qweight.len()];
    for (eight, line) in qweight.chunks_exact(8 * width).zip(out.chunks_exact_mut(out_features)) {
        for (k, row) in eight.chunks_exact(width).enumerate() {
            for (word, columns) in row.iter().zip(line.chunks_exact_mut(8)) {
                for (i, column) in ORDER.into_iter().enumerate() {
                    columns[column] |= ((word >> (4 * i)) & 15) << (4 * k);
                }
            }
        }
    }
    out
}

/// `qzeros` as those of GPTQ, with zero points as they are.
pub fn repack_zeros(qzeros: &[u32]) -> Vec<u32> {
    let moved = |word: u32| -> u32 {
        ORDER.into_iter().enumerate().map(|(i, column)| ((word >> (4 * i)) & 15) << (4 * column)).sum()
    };
    qzeros.iter().map(|&word| moved(word)).collect()
}
