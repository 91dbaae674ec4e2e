//! compressed-tensors `pack-quantized`: `weight_packed`, `weight_scale`, `weight_zero_point`, `weight_g_idx`.
//!
//! Rows are output features, as in our layout, but are not padded to chunks. With `K` input and `N` output features,
//! `bits` of 4 or 8 and `F = 32 / bits` codes a word:
//!
//! ```text
//! weight_packed      [N, ceil(K / F)]       word (n, r), field i = code of input feature F r + i
//! weight_scale       [N, groups]            f16, bf16 or f32
//! weight_zero_point  [ceil(N / F), groups]  word (c, g), field i = zero point of output feature F c + i; asymmetric only
//! weight_g_idx       [K]                    group of an input feature; absent = k / group_size
//! ```
//!
//! Codes and zero points are signed numbers plus `2^(bits - 1)`, which cancels: they are used unsigned, as they are.

use std::ops::Range;

use super::format::{Grouped, Shift};
use super::gptq::{OddZero, group_index};
use super::matrix::PackedMatrix;

/// Some rows of one quantized matrix as words of the file; 16-bit scales two a word, low half first.
#[derive(Debug, Clone, Copy)]
pub struct Raw<'a> {
    /// How the matrix is, as far as is known before its tensors are read.
    pub format: Grouped,
    /// `K`.
    pub in_features: usize,
    /// `N` of the whole matrix.
    pub out_features: usize,
    /// `[rows, ceil(K / F)]`.
    pub packed: &'a [u32],
    /// `[rows, groups]`, without gaps between the rows.
    pub scales: &'a [u32],
    /// `[ceil(N / F), groups]`: of all rows.
    pub zero_points: Option<&'a [u32]>,
    /// `[K]`.
    pub g_idx: Option<&'a [u32]>,
}

/// The output features `rows`, whose codes and scales `raw` holds, in the layout of the kernels.
///
/// # Panics
/// If the tensors do not have the sizes that `raw` says, or `g_idx` names a group that there is not: the caller checks both.
pub fn pack(raw: &Raw, rows: Range<usize>) -> PackedMatrix {
    let (k, format) = (raw.in_features, raw.format);
    let groups = format.groups(k);
    let file_words = k.div_ceil(format.codes_per_word());
    assert!(rows.start <= rows.end && rows.end <= raw.out_features, "rows {rows:?} of {}", raw.out_features);
    assert_eq!(raw.packed.len(), rows.len() * file_words, "words of weight_packed");
    assert_eq!(raw.scales.len(), format.scale.words(rows.len() * groups), "words of weight_scale");

    let row_words = PackedMatrix::code_words(k, format.bits);
    let mut codes = vec![0; rows.len() * row_words];
    // What a file holds beyond the last input feature is not ours to trust.
    let used_bits = k * format.bits as usize % 32;
    for (row, source) in codes.chunks_exact_mut(row_words).zip(raw.packed.chunks_exact(file_words)) {
        row[..file_words].copy_from_slice(source);
        if used_bits > 0 {
            row[file_words - 1] &= (1 << used_bits) - 1;
        }
    }
    let zeros = raw.zero_points.and_then(|words| pack_zeros(raw, groups, words, rows.clone()));
    let shift = if zeros.is_some() { Shift::Zero } else { Shift::None };
    let group_index = group_index(&format, k, raw.g_idx);
    PackedMatrix {
        out_features: rows.len(),
        in_features: k,
        format: Grouped { shift, order: group_index.order(), ..format },
        codes,
        groups,
        scales: pack_scales(raw, groups, rows.len()),
        zeros,
        addends: Vec::new(),
        group_index,
    }
}

/// Rows of scales padded to whole words.
fn pack_scales(raw: &Raw, groups: usize, n_rows: usize) -> Vec<u32> {
    let (scales, dtype) = (raw.scales, raw.format.scale);
    if (groups * dtype.size_bytes()).is_multiple_of(4) {
        return scales.to_vec();
    }
    let row_words = dtype.words(groups);
    let mut out = vec![0u32; n_rows * row_words];
    for (row, words) in out.chunks_exact_mut(row_words).enumerate() {
        for group in 0..groups {
            let element = row * groups + group;
            let half = (scales[element / 2] >> (16 * (element % 2))) & 0xffff;
            words[group / 2] |= half << (16 * (group % 2));
        }
    }
    out
}

/// The first of the `zero_points` of a whole matrix of `[out_features, groups]` that is not `2^(bits - 1)`. What fills the last
/// words up is none.
pub fn find_odd_zero(bits: u32, [out_features, groups]: [usize; 2], zero_points: &[u32]) -> Option<OddZero> {
    let odd = |row: usize, group: usize| {
        let value = zero(bits, groups, zero_points, row, group);
        (value != 1 << (bits - 1)).then_some(OddZero { group, row, value })
    };
    (0..out_features).find_map(|row| (0..groups).find_map(|group| odd(row, group)))
}

fn zero(bits: u32, groups: usize, zero_points: &[u32], row: usize, group: usize) -> u32 {
    let (bits, per_word) = (bits as usize, 32 / bits as usize);
    (zero_points[row / per_word * groups + group] >> (bits * (row % per_word))) & ((1 << bits) - 1)
}

/// `None` where all zero points of the whole matrix are `2^(bits - 1)`: of one matrix all column shards have them, or none.
fn pack_zeros(raw: &Raw, groups: usize, zero_points: &[u32], rows: Range<usize>) -> Option<Vec<u32>> {
    let (bits, per_word) = (raw.format.bits, raw.format.codes_per_word());
    assert_eq!(zero_points.len(), raw.out_features.div_ceil(per_word) * groups, "words of weight_zero_point");
    find_odd_zero(bits, [raw.out_features, groups], zero_points)?;
    let row_words = PackedMatrix::zero_words(groups, bits);
    let mut out = vec![0u32; rows.len() * row_words];
    for (words, row) in out.chunks_exact_mut(row_words).zip(rows) {
        for group in 0..groups {
            let zero = zero(bits, groups, zero_points, row, group);
            words[group / per_word] |= zero << (bits as usize * (group % per_word));
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 11 rows in words of 8: five fields of the last word are nobody's.
    #[test]
    fn what_fills_a_word_up_is_no_zero_point() {
        let find = |words: &[u32]| find_odd_zero(4, [11, 3], words);
        let mut words = vec![0x8888_8888, 0x8888_8888, 0x8888_8888, 0x0000_0888, 0x9000_0888, 0x8888_8888];
        assert_eq!(find(&words), None);
        words[4] ^= 0x0300;
        assert_eq!(find(&words), Some(OddZero { group: 1, row: 10, value: 11 }));
    }
}
