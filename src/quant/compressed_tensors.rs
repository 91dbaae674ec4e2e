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

use super::PackedMatrix;
use super::gptq::{Layout, OddZero, group_index};

/// Some rows of one quantized matrix as words of the file; 16-bit scales two a word, low half first.
#[derive(Debug, Clone, Copy)]
pub struct Raw<'a> {
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
/// If the tensors do not have the sizes that `layout` says, or `g_idx` names a group that there is not: the caller
/// checks both.
pub fn pack(layout: &Layout, raw: &Raw, rows: Range<usize>) -> PackedMatrix {
    let (k, groups, dtype) = (layout.in_features, layout.groups, layout.scale_dtype);
    let file_words = k.div_ceil(layout.codes_per_word());
    assert!(rows.start <= rows.end && rows.end <= layout.out_features, "rows {rows:?} of {}", layout.out_features);
    assert_eq!(raw.packed.len(), rows.len() * file_words, "words of weight_packed");
    assert_eq!(raw.scales.len(), dtype.words(rows.len() * groups), "words of weight_scale");

    let row_words = PackedMatrix::code_words(k, layout.bits);
    let mut codes = vec![0; rows.len() * row_words];
    // What a file holds beyond the last input feature is not ours to trust.
    let used_bits = k * layout.bits as usize % 32;
    for (row, source) in codes.chunks_exact_mut(row_words).zip(raw.packed.chunks_exact(file_words)) {
        row[..file_words].copy_from_slice(source);
        if used_bits > 0 {
            row[file_words - 1] &= (1 << used_bits) - 1;
        }
    }
    PackedMatrix {
        out_features: rows.len(),
        in_features: k,
        bits: layout.bits,
        codes,
        groups,
        scale_dtype: dtype,
        scales: pack_scales(layout, raw.scales, rows.len()),
        zeros: raw.zero_points.and_then(|words| pack_zeros(layout, words, rows)),
        group_index: group_index(k, layout.group_size, groups, raw.g_idx),
    }
}

/// Rows of scales padded to whole words.
fn pack_scales(layout: &Layout, scales: &[u32], n_rows: usize) -> Vec<u32> {
    let (groups, dtype) = (layout.groups, layout.scale_dtype);
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

/// The first of the `zero_points` of a whole matrix that is not `2^(bits - 1)`. What fills the last words up is none.
pub fn find_odd_zero(layout: &Layout, zero_points: &[u32]) -> Option<OddZero> {
    let odd = |row: usize, group: usize| {
        let value = zero(layout, zero_points, row, group);
        (value != 1 << (layout.bits - 1)).then_some(OddZero { group, row, value })
    };
    (0..layout.out_features).find_map(|row| (0..layout.groups).find_map(|group| odd(row, group)))
}

fn zero(layout: &Layout, zero_points: &[u32], row: usize, group: usize) -> u32 {
    let (bits, per_word) = (layout.bits as usize, layout.codes_per_word());
    (zero_points[row / per_word * layout.groups + group] >> (bits * (row % per_word))) & ((1 << bits) - 1)
}

/// `None` where all zero points of the whole matrix are `2^(bits - 1)`: of one matrix all column shards have them, or none.
fn pack_zeros(layout: &Layout, zero_points: &[u32], rows: Range<usize>) -> Option<Vec<u32>> {
    let (groups, bits, per_word) = (layout.groups, layout.bits as usize, layout.codes_per_word());
    assert_eq!(zero_points.len(), layout.out_features.div_ceil(per_word) * groups, "words of weight_zero_point");
    find_odd_zero(layout, zero_points)?;
    let row_words = PackedMatrix::zero_words(groups, layout.bits);
    let mut out = vec![0u32; rows.len() * row_words];
    for (words, row) in out.chunks_exact_mut(row_words).zip(rows) {
        for group in 0..groups {
            words[group / per_word] |= zero(layout, zero_points, row, group) << (bits * (group % per_word));
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quant::Dtype;
    use crate::quant::gptq::ZeroPoints;

    /// 11 rows in words of 8: five fields of the last word are nobody's.
    #[test]
    fn what_fills_a_word_up_is_no_zero_point() {
        let (groups, zero_points) = (3, ZeroPoints::AsStored);
        let layout = Layout {
            bits: 4,
            in_features: 96,
            out_features: 11,
            groups,
            group_size: 32,
            scale_dtype: Dtype::F16,
            zero_points,
        };
        let mut words = vec![0x8888_8888, 0x8888_8888, 0x8888_8888, 0x0000_0888, 0x9000_0888, 0x8888_8888];
        assert_eq!(find_odd_zero(&layout, &words), None);
        words[4] ^= 0x0300;
        assert_eq!(find_odd_zero(&layout, &words), Some(OddZero { group: 1, row: 10, value: 11 }));
    }
}
