//! GPTQ and AutoRound: `qweight`, `qzeros`, `scales`, `g_idx`.
//!
//! The files are transposed against our layout: every tensor has the output features last. With `K` input and `N`
//! output features, `bits` of 4 or 8 and `F = 32 / bits` codes a word:
//!
//! ```text
//! qweight [K / F, N]       word (r, n), field i = code of input feature F r + i
//! qzeros  [groups, N / F]  word (g, c), field i = zero point of output feature F c + i
//! scales  [groups, N]      f16, bf16 or f32; may be negative
//! g_idx   [K]              group of an input feature; absent = k / group_size
//! ```
//!
//! The last group is short where `K` is not a multiple of the group size: there are `ceil(K / group_size)` groups.

use std::ops::Range;

use super::matrix::ones;
use super::{Dtype, GroupIndex, PackedMatrix};

/// Tile of the transposition, words each way: reads and writes stay in one or two cache lines a row.
const TILE: usize = 32;

/// How `qzeros` hold a zero point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ZeroPoints {
    /// Minus one (`gptq`, `auto_round:auto_gptq`). Undone by one wrapping addition a word, carries included, as
    /// GPTQModel writes it; only so a zero point of 0, stored as 15, reads back right.
    MinusOne,
    /// As they are (`gptq_v2`, `auto_round`, `auto_round:gptqmodel`).
    AsStored,
}

impl ZeroPoints {
    /// A word of `qzeros` as zero points of `bits` bits.
    pub fn decode(self, word: u32, bits: u32) -> u32 {
        match self {
            ZeroPoints::MinusOne => word.wrapping_add(ones(bits)),
            ZeroPoints::AsStored => word,
        }
    }

    /// The other of the two.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            ZeroPoints::MinusOne => ZeroPoints::AsStored,
            ZeroPoints::AsStored => ZeroPoints::MinusOne,
        }
    }

    /// For messages: how they are stored.
    pub fn describe(self) -> &'static str {
        match self {
            ZeroPoints::MinusOne => "minus one (as \"gptq\" has them)",
            ZeroPoints::AsStored => "as they are (as \"gptq_v2\" has them)",
        }
    }
}

/// A zero point that is not `2^(bits - 1)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OddZero {
    /// Its group.
    pub group: usize,
    /// Its output feature.
    pub row: usize,
    /// What it is.
    pub value: u32,
}

/// The shapes of one quantized matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Bits of a code: 4 or 8.
    pub bits: u32,
    /// `K`, whole words.
    pub in_features: usize,
    /// `N`, whole words.
    pub out_features: usize,
    /// Rows of `scales` and `qzeros`.
    pub groups: usize,
    /// Input features of a group.
    pub group_size: usize,
    /// Precision of `scales`.
    pub scale_dtype: Dtype,
    /// Convention of `qzeros`.
    pub zero_points: ZeroPoints,
}

impl Layout {
    /// Codes, or zero points, a word.
    pub fn codes_per_word(&self) -> usize {
        32 / self.bits as usize
    }
}

/// The tensors of one quantized matrix as words of the file; 16-bit scales two a word, low half first.
#[derive(Debug, Clone, Copy)]
pub struct Raw<'a> {
    /// `[K / F, N]`.
    pub qweight: &'a [u32],
    /// `[groups, N / F]`.
    pub qzeros: &'a [u32],
    /// `[groups, N]`.
    pub scales: &'a [u32],
    /// `[K]`.
    pub g_idx: Option<&'a [u32]>,
}

/// The first element of `g_idx` that is not a group, with its value (negative ones included).
pub fn find_bad_group(g_idx: &[u32], groups: usize) -> Option<(usize, i32)> {
    g_idx.iter().position(|&group| group as usize >= groups).map(|element| (element, g_idx[element] as i32))
}

/// The first of `groups` groups that no element of `g_idx` names.
pub fn find_empty_group(g_idx: &[u32], groups: usize) -> Option<usize> {
    let mut named = vec![false; groups];
    for &group in g_idx {
        named.get_mut(group as usize).into_iter().for_each(|named| *named = true);
    }
    named.iter().position(|&named| !named)
}

/// The first of `count` scales that is NaN or infinite.
pub fn find_bad_scale(scales: &[u32], dtype: Dtype, count: usize) -> Option<(usize, f32)> {
    // A number is finite where not all bits of its exponent are set, and most lines have only such numbers.
    let exponents: &[u32] = match dtype {
        Dtype::F32 => &[0x7f80_0000],
        Dtype::F16 => &[0x7c00, 0x7c00_0000],
        Dtype::BF16 => &[0x7f80, 0x7f80_0000],
    };
    let is_bad = |word: u32| exponents.iter().fold(false, |bad, &mask| bad | (word & mask == mask));
    if !scales.iter().fold(false, |bad, &word| bad | is_bad(word)) {
        return None;
    }
    (0..count).map(|element| (element, dtype.read(scales, element))).find(|(_, scale)| !scale.is_finite())
}

/// Whether all of `qzeros` are `2^(bits - 1)`, whatever the configuration says.
pub fn is_symmetric(layout: &Layout, qzeros: &[u32]) -> bool {
    find_odd_zero(layout, qzeros).is_none()
}

/// The first of `qzeros` that is not `2^(bits - 1)`.
pub fn find_odd_zero(layout: &Layout, qzeros: &[u32]) -> Option<OddZero> {
    let (bits, per_word) = (layout.bits as usize, layout.codes_per_word());
    let symmetric = PackedMatrix::symmetric_zeros(layout.bits);
    let decode = |word| layout.zero_points.decode(word, layout.bits);
    let at = qzeros.iter().position(|&word| decode(word) != symmetric)?;
    let field = |word: u32, field: usize| (word >> (bits * field)) & ((1 << bits) - 1);
    let word = decode(qzeros[at]);
    let odd = (0..per_word).find(|&i| field(word, i) != field(symmetric, i))?;
    let width = layout.out_features / per_word;
    Some(OddZero { group: at / width, row: at % width * per_word + odd, value: field(word, odd) })
}

/// Output features `rows` of the matrix in the layout of the kernels. Zero points come with them unless those of the whole
/// matrix are all `2^(bits - 1)`.
///
/// # Panics
/// If the tensors do not have the sizes that `layout` says, or `g_idx` names a group that there is not: the caller
/// checks both.
pub fn pack(layout: &Layout, raw: &Raw, rows: Range<usize>) -> PackedMatrix {
    pack_part(layout, raw, !is_symmetric(layout, raw.qzeros), rows)
}

/// As [`pack`] of a part of a larger matrix, of which is known whether it is `asymmetric` anywhere.
///
/// # Panics
/// As [`pack`].
pub fn pack_part(layout: &Layout, raw: &Raw, asymmetric: bool, rows: Range<usize>) -> PackedMatrix {
    let (k, n, groups) = (layout.in_features, layout.out_features, layout.groups);
    let per_word = layout.codes_per_word();
    assert!(k.is_multiple_of(per_word) && n.is_multiple_of(per_word), "a GPTQ matrix of {n} x {k}");
    assert_eq!(raw.qweight.len(), k / per_word * n, "words of qweight");
    assert_eq!(raw.qzeros.len(), groups * n / per_word, "words of qzeros");
    assert_eq!(raw.scales.len(), layout.scale_dtype.words(groups * n), "words of scales");
    assert!(rows.start <= rows.end && rows.end <= n, "rows {rows:?} of {n}");

    let row_words = PackedMatrix::code_words(k, layout.bits);
    let mut codes = vec![0; rows.len() * row_words];
    transpose(raw.qweight, n, rows.clone(), &mut codes, row_words);
    PackedMatrix {
        out_features: rows.len(),
        in_features: k,
        bits: layout.bits,
        codes,
        groups,
        scale_dtype: layout.scale_dtype,
        scales: pack_scales(layout, raw.scales, rows.clone()),
        zeros: asymmetric.then(|| pack_zeros(layout, raw.qzeros, rows)),
        group_index: group_index(layout.in_features, layout.group_size, layout.groups, raw.g_idx),
    }
}

/// `out[c, r] = words[r, columns.start + c]`, in tiles that go through a small square: a real file has 14 GB of this, and
/// walking down a column whose stride is a power of two would throw each line out of the cache before its next use.
fn transpose(words: &[u32], width: usize, columns: Range<usize>, out: &mut [u32], row_words: usize) {
    let height = words.len() / width;
    let mut tile = [[0u32; TILE]; TILE];
    for first_column in columns.clone().step_by(TILE) {
        let tile_columns = (columns.end - first_column).min(TILE);
        for first_row in (0..height).step_by(TILE) {
            let tile_rows = (height - first_row).min(TILE);
            for (row, line) in tile.iter_mut().enumerate().take(tile_rows) {
                let source = &words[(first_row + row) * width + first_column..][..tile_columns];
                line[..tile_columns].copy_from_slice(source);
            }
            for column in 0..tile_columns {
                let target = &mut out[(first_column - columns.start + column) * row_words + first_row..][..tile_rows];
                for (word, line) in target.iter_mut().zip(&tile) {
                    *word = line[column];
                }
            }
        }
    }
}

fn pack_scales(layout: &Layout, scales: &[u32], rows: Range<usize>) -> Vec<u32> {
    let (n, groups, dtype) = (layout.out_features, layout.groups, layout.scale_dtype);
    let row_words = dtype.words(groups);
    let mut out = vec![0u32; rows.len() * row_words];
    if rows.is_empty() {
        return out;
    }
    if dtype == Dtype::F32 {
        transpose(scales, n, rows, &mut out, row_words);
        return out;
    }
    // Two groups a word first, in lines as long as the file's: what is left is a transposition.
    let columns = rows.len();
    let half = |group: usize, row: usize| {
        let element = group * n + row;
        (scales[element / 2] >> (16 * (element % 2))) & 0xffff
    };
    let mut pairs = vec![0u32; row_words * columns];
    for (pair, line) in pairs.chunks_exact_mut(columns).enumerate() {
        let (low, high) = (2 * pair, 2 * pair + 1);
        for (word, row) in line.iter_mut().zip(rows.clone()) {
            *word = half(low, row) | if high < groups { half(high, row) << 16 } else { 0 };
        }
    }
    transpose(&pairs, columns, 0..columns, &mut out, row_words);
    out
}

fn pack_zeros(layout: &Layout, qzeros: &[u32], rows: Range<usize>) -> Vec<u32> {
    let (bits, per_word) = (layout.bits as usize, layout.codes_per_word());
    let decode = |word| layout.zero_points.decode(word, layout.bits);
    let width = layout.out_features / per_word;
    let row_words = PackedMatrix::zero_words(layout.groups, layout.bits);
    let mut out = vec![0u32; rows.len() * row_words];
    for group in 0..layout.groups {
        let shift = bits * (group % per_word);
        for row in rows.clone() {
            let word = decode(qzeros[group * width + row / per_word]);
            let zero = (word >> (bits * (row % per_word))) & ((1 << bits) - 1);
            out[(row - rows.start) * row_words + group / per_word] |= zero << shift;
        }
    }
    out
}

/// Whether a `g_idx` says what `group_size` says.
pub fn is_sequential(g_idx: &[u32], group_size: usize) -> bool {
    g_idx.iter().enumerate().all(|(k, &group)| group as usize == k / group_size)
}

/// The groups of `in_features` input features. Many tools write `g_idx` also where nothing was reordered.
pub(super) fn group_index(in_features: usize, group_size: usize, groups: usize, g_idx: Option<&[u32]>) -> GroupIndex {
    let sequential = GroupIndex::Sequential { group_size };
    let Some(g_idx) = g_idx else { return sequential };
    assert_eq!(g_idx.len(), in_features, "elements of g_idx");
    assert!(find_bad_group(g_idx, groups).is_none(), "g_idx names a group beyond {groups}");
    match is_sequential(g_idx, group_size) {
        true => sequential,
        false => GroupIndex::PerRow(g_idx.to_vec()),
    }
}
