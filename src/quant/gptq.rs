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

use super::dtype::Dtype;
use super::format::{Grouped, Shift};
use super::matrix::{GroupIndex, PackedMatrix, ones};

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

/// The tensors of one quantized matrix as words of the file; 16-bit scales two a word, low half first.
#[derive(Debug, Clone, Copy)]
pub struct Raw<'a> {
    /// How the matrix is, as far as is known before its tensors are read.
    pub format: Grouped,
    /// `K`, whole words.
    pub in_features: usize,
    /// `N`, whole words.
    pub out_features: usize,
    /// How `qzeros` are stored.
    pub zero_points: ZeroPoints,
    /// `[K / F, N]`.
    pub qweight: &'a [u32],
    /// `[groups, N / F]`.
    pub qzeros: &'a [u32],
    /// `[groups, N]`.
    pub scales: &'a [u32],
    /// `[K]`.
    pub g_idx: Option<&'a [u32]>,
}

/// An element that is not what it should be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BadElement<T> {
    /// Its number in its tensor.
    pub element: usize,
    /// What it is.
    pub value: T,
}

/// The first element of `g_idx` that is not a group, with its value (negative ones included).
pub fn find_bad_group(g_idx: &[u32], groups: usize) -> Option<BadElement<i32>> {
    let element = g_idx.iter().position(|&group| group as usize >= groups)?;
    Some(BadElement { element, value: g_idx[element] as i32 })
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
pub fn find_bad_scale(scales: &[u32], dtype: Dtype, count: usize) -> Option<BadElement<f32>> {
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
    let all = (0..count).map(|element| BadElement { element, value: dtype.read(scales, element) });
    all.into_iter().find(|scale| !scale.value.is_finite())
}

/// The first of `qzeros` that is not `2^(bits - 1)`, of a matrix of `out_features` with codes of `bits`.
pub fn find_odd_zero(bits: u32, zero_points: ZeroPoints, out_features: usize, qzeros: &[u32]) -> Option<OddZero> {
    let symmetric = PackedMatrix::symmetric_zeros(bits);
    let decode = |word| zero_points.decode(word, bits);
    let at = qzeros.iter().position(|&word| decode(word) != symmetric)?;
    let (bits, per_word) = (bits as usize, 32 / bits as usize);
    let field = |word: u32, field: usize| (word >> (bits * field)) & ((1 << bits) - 1);
    let word = decode(qzeros[at]);
    let odd = (0..per_word).find(|&i| field(word, i) != field(symmetric, i))?;
    let width = out_features / per_word;
    Some(OddZero { group: at / width, row: at % width * per_word + odd, value: field(word, odd) })
}

/// Output features `rows` of the matrix in the layout of the kernels. Zero points come with them unless those of the whole
/// matrix are all `2^(bits - 1)`.
///
/// # Panics
/// If the tensors do not have the sizes that `raw` says, or `g_idx` names a group that there is not: the caller checks both.
pub fn pack(raw: &Raw, rows: Range<usize>) -> PackedMatrix {
    let odd = find_odd_zero(raw.format.bits, raw.zero_points, raw.out_features, raw.qzeros);
    let shift = if odd.is_some() { Shift::Zero } else { Shift::None };
    pack_part(&Raw { format: Grouped { shift, ..raw.format }, ..*raw }, rows)
}

/// As [`pack`] of a part of a larger matrix, whose format says whether there are zero points.
///
/// # Panics
/// As [`pack`].
pub fn pack_part(raw: &Raw, rows: Range<usize>) -> PackedMatrix {
    let (k, n, format) = (raw.in_features, raw.out_features, raw.format);
    let (groups, per_word) = (format.groups(k), format.codes_per_word());
    assert!(k.is_multiple_of(per_word) && n.is_multiple_of(per_word), "a GPTQ matrix of {n} x {k}");
    assert_eq!(raw.qweight.len(), k / per_word * n, "words of qweight");
    assert_eq!(raw.qzeros.len(), groups * n / per_word, "words of qzeros");
    assert_eq!(raw.scales.len(), format.scale.words(groups * n), "words of scales");
    assert!(rows.start <= rows.end && rows.end <= n, "rows {rows:?} of {n}");

    let row_words = PackedMatrix::code_words(k, format.bits);
    let mut codes = vec![0; rows.len() * row_words];
    transpose(raw.qweight, n, rows.clone(), &mut codes, row_words);
    let group_index = group_index(&format, k, raw.g_idx);
    PackedMatrix {
        out_features: rows.len(),
        in_features: k,
        format: Grouped { order: group_index.order(), ..format },
        codes,
        groups,
        scales: pack_scales(raw, groups, rows.clone()),
        zeros: (format.shift == Shift::Zero).then(|| pack_zeros(raw, groups, rows)),
        addends: Vec::new(),
        group_index,
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

fn pack_scales(raw: &Raw, groups: usize, rows: Range<usize>) -> Vec<u32> {
    let (n, dtype, scales) = (raw.out_features, raw.format.scale, raw.scales);
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

fn pack_zeros(raw: &Raw, groups: usize, rows: Range<usize>) -> Vec<u32> {
    let (bits, per_word) = (raw.format.bits as usize, raw.format.codes_per_word());
    let decode = |word| raw.zero_points.decode(word, raw.format.bits);
    let width = raw.out_features / per_word;
    let row_words = PackedMatrix::zero_words(groups, raw.format.bits);
    let mut out = vec![0u32; rows.len() * row_words];
    for group in 0..groups {
        let shift = bits * (group % per_word);
        for row in rows.clone() {
            let word = decode(raw.qzeros[group * width + row / per_word]);
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
pub(super) fn group_index(format: &Grouped, in_features: usize, g_idx: Option<&[u32]>) -> GroupIndex {
    let (Some(g_idx), groups) = (g_idx, format.groups(in_features)) else { return GroupIndex::Sequential };
    assert_eq!(g_idx.len(), in_features, "elements of g_idx");
    assert!(find_bad_group(g_idx, groups).is_none(), "g_idx names a group beyond {groups}");
    match is_sequential(g_idx, format.group) {
        true => GroupIndex::Sequential,
        false => GroupIndex::PerRow(g_idx.to_vec()),
    }
}
