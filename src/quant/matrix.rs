//! The matrices that kernels read: rows are output features, padded along the input dimension to whole chunks.

use half::{bf16, f16};

use super::dtype::Dtype;
use super::format::{Format, Grouped, Order, Shift, Values};
use crate::{Error, Result};

/// Input features a kernel reads at a time; every row of a matrix is padded to a multiple of it.
pub const CHUNK: usize = 32;

/// A dense weight `[out_features, in_features]` in its stored precision.
#[derive(Debug, Clone, PartialEq)]
pub struct DenseMatrix {
    /// Rows.
    pub out_features: usize,
    /// Columns, without padding.
    pub in_features: usize,
    /// Precision of each value.
    pub dtype: Dtype,
    /// `[out_features, row_words]`; values beyond `in_features` are zero.
    pub words: Vec<u32>,
}

impl DenseMatrix {
    /// Words of one row of `in_features` values: whole chunks. More than can be counted are as many as can be.
    pub fn row_words(in_features: usize, dtype: Dtype) -> usize {
        dtype.words(in_features.div_ceil(CHUNK).saturating_mul(CHUNK))
    }

    /// A matrix from f32 values, row by row.
    ///
    /// # Errors
    /// [`crate::error::Usage::Shape`] for another number of values, or a matrix without columns.
    pub fn from_f32(out_features: usize, in_features: usize, values: &[f32]) -> Result<Self> {
        check_values("values", [out_features, in_features], 1, values.len())?;
        let row_words = Self::row_words(in_features, Dtype::F32);
        let mut words = vec![0; out_features * row_words];
        for (row, source) in words.chunks_exact_mut(row_words).zip(values.chunks_exact(in_features)) {
            for (word, value) in row.iter_mut().zip(source) {
                *word = value.to_bits();
            }
        }
        Ok(DenseMatrix { out_features, in_features, dtype: Dtype::F32, words })
    }

    /// A matrix from little-endian file bytes `[out_features, in_features]`.
    ///
    /// # Errors
    /// [`crate::error::Usage::Shape`] for another number of bytes, or a matrix without columns.
    pub fn from_bytes(out_features: usize, in_features: usize, dtype: Dtype, bytes: &[u8]) -> Result<Self> {
        check_values("bytes", [out_features, in_features], dtype.size_bytes(), bytes.len())?;
        let row_bytes = in_features * dtype.size_bytes();
        let row_words = Self::row_words(in_features, dtype);
        let mut words = vec![0u32; out_features * row_words];
        for (row, source) in words.chunks_exact_mut(row_words).zip(bytes.chunks_exact(row_bytes)) {
            bytemuck::cast_slice_mut(row)[..row_bytes].copy_from_slice(source);
        }
        if cfg!(target_endian = "big") {
            words.iter_mut().for_each(|word| *word = word.swap_bytes());
        }
        Ok(DenseMatrix { out_features, in_features, dtype, words })
    }

    /// Row `n` as f32. The caller has checked the matrix, the number and the room.
    pub(crate) fn read_row(&self, n: usize, out: &mut [f32]) {
        let row_words = Self::row_words(self.in_features, self.dtype);
        let words = &self.words[n * row_words..][..row_words];
        let out = &mut out[..self.in_features];
        match self.dtype {
            Dtype::F32 => out.iter_mut().zip(words).for_each(|(value, word)| *value = f32::from_bits(*word)),
            Dtype::F16 => read_halves(words, out, |bits| f16::from_bits(bits).to_f32()),
            Dtype::BF16 => read_halves(words, out, |bits| bf16::from_bits(bits).to_f32()),
        }
    }
}

/// Ok where `found` is as many as `[out_features, in_features]` values of `each` have, and there are columns.
fn check_values(what: &'static str, shape: [usize; 2], each: usize, found: usize) -> Result<()> {
    let [out_features, in_features] = shape;
    Error::check_shape(DENSE, "input features", in_features > 0, &in_features, &"at least 1")?;
    let expected = out_features.checked_mul(in_features).and_then(|count| count.checked_mul(each));
    let shown = expected.map_or_else(|| format!("{out_features} x {in_features} x {each}"), |count| count.to_string());
    Error::check_shape(DENSE, what, expected == Some(found), &found, &shown)
}

/// What a matrix without a name is called in messages.
const DENSE: &str = "dense matrix";

fn read_halves(words: &[u32], out: &mut [f32], value: impl Fn(u16) -> f32) {
    for (pair, &word) in out.chunks_mut(2).zip(words) {
        pair.iter_mut().zip([word as u16, (word >> 16) as u16]).for_each(|(to, bits)| *to = value(bits));
    }
}

/// Which quantization group an input row belongs to, counted from row 0 and group 0 of the **whole** matrix. This is all
/// that a whole matrix or a column-parallel shard needs: neither can start inside a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupIndex {
    /// Row `k` lies in group `k / group`, with the size of a group that the matrix's format says.
    Sequential,
    /// The group of each row (`g_idx`, act-order).
    PerRow(Vec<u32>),
}

impl GroupIndex {
    /// The order of groups that a format with this index has.
    pub(super) fn order(&self) -> Order {
        match self {
            GroupIndex::Sequential => Order::Consecutive,
            GroupIndex::PerRow(_) => Order::PerRow,
        }
    }
}

/// The groups of a row-parallel shard: the numbers of the whole matrix, and what the shard begins with. Only this type
/// carries an offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardGroups {
    /// The shard's row 0 in the whole matrix.
    pub first_row: usize,
    /// The first group whose scales the shard stores.
    pub first_group: usize,
    /// The index of the whole matrix; of act-order the shard's own rows, still with the whole's group numbers.
    pub index: GroupIndex,
}

/// What a matrix begins with, by the numbers of the whole one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offset {
    /// The number of its row 0.
    pub row: usize,
    /// The first group that is stored.
    pub group: usize,
}

/// Where the stored group of an input row comes from. Only this crate's types tell: the trait has no public path.
pub trait Groups: Clone + PartialEq + std::fmt::Debug {
    /// What the matrix begins with.
    fn offset(&self) -> Offset;

    /// The groups' numbers in the whole matrix.
    fn index(&self) -> &GroupIndex;

    /// The stored group of input row `k`, where neighbours are groups of `size`.
    fn group(&self, k: usize, size: usize) -> usize {
        let first = self.offset();
        match self.index() {
            GroupIndex::Sequential => (first.row + k) / size - first.group,
            GroupIndex::PerRow(table) => table[k] as usize - first.group,
        }
    }
}

impl Groups for GroupIndex {
    fn offset(&self) -> Offset {
        Offset { row: 0, group: 0 }
    }

    fn index(&self) -> &GroupIndex {
        self
    }
}

impl Groups for ShardGroups {
    fn offset(&self) -> Offset {
        Offset { row: self.first_row, group: self.first_group }
    }

    fn index(&self) -> &GroupIndex {
        &self.index
    }
}

/// The data of a group-wise quantized weight `[out_features, in_features]`, as kernels read it:
/// `w[n, k] = scale[n, g] * (code[n, k] - zero[n, g])` with `g = group(k)`, or what else its format says. Codes are unsigned. Scales
/// may be negative: AutoRound gives them the sign of the larger extreme.
///
/// A whole matrix or a column-parallel shard is a `PackedMatrix`, a row-parallel shard a [`RowShard`].
#[derive(Debug, Clone, PartialEq)]
pub struct PackedMatrix<G = GroupIndex> {
    /// Rows.
    pub out_features: usize,
    /// Columns, without padding.
    pub in_features: usize,
    /// How it is stored. Zero points and a table of groups are there if it says so.
    pub format: Grouped,
    /// `[out_features, in_features padded to whole chunks / codes a word]`, first code in the lowest bits, padding 0.
    pub codes: Vec<u32>,
    /// Groups that are stored.
    pub groups: usize,
    /// `[out_features, format.scale.words(groups)]`.
    pub scales: Vec<u32>,
    /// `[out_features, groups / codes a word, rounded up]`; `None` where every zero point is `2^(bits - 1)`.
    pub zeros: Option<Vec<u32>>,
    /// `[out_features, words(groups)]` of the precision of [`Shift::Addend`]; empty where there are none.
    pub addends: Vec<u32>,
    /// Which group a row belongs to.
    pub group_index: G,
}

/// Some input rows of a quantized matrix, for all its output features: the only matrix with a group offset.
pub type RowShard = PackedMatrix<ShardGroups>;

impl PackedMatrix {
    /// Words of codes in one row: a chunk of 32 codes has as many as a code has bits. More than can be counted are as many as
    /// can be.
    pub fn code_words(in_features: usize, bits: u32) -> usize {
        in_features.div_ceil(CHUNK).saturating_mul(bits as usize)
    }

    /// Words of zero points in one row. More than can be counted are as many as can be.
    pub fn zero_words(groups: usize, bits: u32) -> usize {
        groups.saturating_mul(bits as usize).div_ceil(32)
    }

    /// A word of zero points that are all `2^(bits - 1)`.
    pub(crate) fn symmetric_zeros(bits: u32) -> u32 {
        ones(bits) << (bits - 1)
    }
}

impl<G: Groups> PackedMatrix<G> {
    fn field(words: &[u32], index: usize, bits: u32) -> u32 {
        let per_word = 32 / bits as usize;
        (words[index / per_word] >> (bits as usize * (index % per_word))) & ((1 << bits) - 1)
    }

    /// The unsigned code at output feature `n`, input feature `k`.
    pub(crate) fn code(&self, n: usize, k: usize) -> u32 {
        let bits = self.format.bits;
        let row_words = PackedMatrix::code_words(self.in_features, bits);
        Self::field(&self.codes[n * row_words..], k, bits)
    }

    /// The scale of group `g` in row `n`.
    pub(crate) fn scale(&self, n: usize, g: usize) -> f32 {
        let row_words = self.format.scale.words(self.groups);
        self.format.scale.read(&self.scales[n * row_words..][..row_words], g)
    }

    /// The zero point of group `g` in row `n`.
    fn zero(&self, n: usize, g: usize) -> u32 {
        let bits = self.format.bits;
        match &self.zeros {
            None => 1 << (bits - 1),
            Some(zeros) => Self::field(&zeros[n * PackedMatrix::zero_words(self.groups, bits)..], g, bits),
        }
    }

    /// What is added to the values of group `g` in row `n`.
    fn addend(&self, n: usize, g: usize) -> f32 {
        let Shift::Addend(dtype) = self.format.shift else { return 0.0 };
        let row_words = dtype.words(self.groups);
        dtype.read(&self.addends[n * row_words..][..row_words], g)
    }

    /// The stored group of input row `k`.
    pub(super) fn group(&self, k: usize) -> usize {
        self.group_index.group(k, self.format.group)
    }

    /// Row `n` as f32: one rounding a value, as in the kernels. The caller has checked the matrix, the number and the room.
    pub(crate) fn read_row(&self, n: usize, out: &mut [f32]) {
        for (k, value) in out[..self.in_features].iter_mut().enumerate() {
            let g = self.group(k);
            let (scale, code) = (self.scale(n, g), self.code(n, k));
            let number = match &self.format.values {
                Values::Linear => code as f32,
                Values::Table(table) => table.value(code),
            };
            *value = match (self.format.shift, &self.format.values) {
                (Shift::Addend(_), _) => scale.mul_add(number, self.addend(n, g)),
                (Shift::None, Values::Table(_)) => scale * number,
                (Shift::None | Shift::Zero, _) => scale * (number - self.zero(n, g) as f32),
            };
        }
    }

    /// Fails unless what is there is what its format says.
    pub(crate) fn check(&self) {
        let is_per_row = matches!(self.group_index.index(), GroupIndex::PerRow(_));
        assert_eq!(is_per_row, self.format.order == Order::PerRow, "a table of groups");
        assert_eq!(self.zeros.is_some(), self.format.shift == Shift::Zero, "zero points");
        let addends = match self.format.shift {
            Shift::Addend(dtype) => self.out_features * dtype.words(self.groups),
            Shift::None | Shift::Zero => 0,
        };
        assert_eq!(self.addends.len(), addends, "words of addends");
    }
}

/// A word whose fields of `bits` bits are all 1.
pub(super) fn ones(bits: u32) -> u32 {
    u32::MAX / ((1 << bits) - 1)
}

/// A weight matrix, dense or quantized.
#[derive(Debug, Clone, PartialEq)]
pub enum Matrix {
    /// In its stored precision.
    Dense(DenseMatrix),
    /// Group-wise quantized, whole or column-parallel.
    Packed(PackedMatrix),
    /// Group-wise quantized, row-parallel.
    RowShard(RowShard),
}

impl Matrix {
    /// Rows.
    pub fn out_features(&self) -> usize {
        match self {
            Matrix::Dense(m) => m.out_features,
            Matrix::Packed(m) => m.out_features,
            Matrix::RowShard(m) => m.out_features,
        }
    }

    /// Columns, without padding.
    pub fn in_features(&self) -> usize {
        match self {
            Matrix::Dense(m) => m.in_features,
            Matrix::Packed(m) => m.in_features,
            Matrix::RowShard(m) => m.in_features,
        }
    }

    /// How it is stored.
    pub fn format(&self) -> Format {
        match self {
            Matrix::Dense(m) => Format::Dense(m.dtype),
            Matrix::Packed(m) => Format::Grouped(m.format),
            Matrix::RowShard(m) => Format::Grouped(m.format),
        }
    }

    /// Row `n` as f32. The caller has checked the matrix, the number and the room.
    pub(crate) fn read_row(&self, n: usize, out: &mut [f32]) {
        match self {
            Matrix::Dense(m) => m.read_row(n, out),
            Matrix::Packed(m) => m.read_row(n, out),
            Matrix::RowShard(m) => m.read_row(n, out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quant::Codebook;

    /// Two rows of four codes in two groups, with scales 0.5, -2 and 1, 4.
    fn matrix(bits: u32, shift: Shift, values: Values) -> PackedMatrix {
        let format = Grouped { shift, values, ..Grouped::symmetric(bits, 2, Dtype::F32) };
        let codes = [[0u32, 1, 9, 15], [8, 7, 2, 3]].iter().flat_map(|row| {
            let word = row.iter().rev().fold(0, |word, code| (word << bits) | code);
            [vec![word], vec![0; PackedMatrix::code_words(4, bits) - 1]].concat()
        });
        PackedMatrix {
            out_features: 2,
            in_features: 4,
            format,
            codes: codes.collect(),
            groups: 2,
            scales: [0.5f32, -2.0, 1.0, 4.0].map(f32::to_bits).to_vec(),
            zeros: None,
            addends: Vec::new(),
            group_index: GroupIndex::Sequential,
        }
    }

    fn values(matrix: PackedMatrix) -> [f32; 8] {
        matrix.check();
        let dense = Matrix::Packed(matrix).to_dense().expect("a matrix");
        let mut out = [0.0; 8];
        out.chunks_exact_mut(4).enumerate().for_each(|(n, row)| dense.read_row(n, row));
        out
    }

    fn table() -> Values {
        // Halves of -7.5 to 7.5, but for one value that lies off that line.
        let mut table = std::array::from_fn(|code| 0.5 * (code as f32 - 7.5));
        table[9] = 100.0;
        Values::Table(Codebook::new(table))
    }

    /// Zero points 3, 14 and 8, 1.
    fn zeros(bits: u32) -> Option<Vec<u32>> {
        Some([[3, 14], [8, 1]].map(|[first, second]| first | (second << bits)).to_vec())
    }

    /// f16: 1, -0.5 and 0, 10.
    const ADDENDS: [u32; 2] = [0xb800_3c00, 0x4900_0000];

    #[test]
    fn codes_are_shifted_as_the_format_says() {
        let symmetric = matrix(4, Shift::None, Values::Linear);
        assert_eq!(values(symmetric), [-4.0, -3.5, -2.0, -14.0, 0.0, -1.0, -24.0, -20.0]);
        for bits in [4, 8] {
            let whole = PackedMatrix { zeros: zeros(bits), ..matrix(bits, Shift::Zero, Values::Linear) };
            assert_eq!(values(whole), [-1.5, -1.0, 10.0, -2.0, 0.0, -1.0, 4.0, 8.0]);
            let addend = Shift::Addend(Dtype::F16);
            let floats = PackedMatrix { addends: ADDENDS.to_vec(), ..matrix(bits, addend, Values::Linear) };
            assert_eq!(values(floats), [1.0, 1.5, -18.5, -30.5, 8.0, 7.0, 18.0, 22.0]);
        }
    }

    #[test]
    fn codes_stand_for_the_values_of_a_table() {
        let plain = matrix(4, Shift::None, table());
        assert_eq!(values(plain), [-1.875, -1.625, -200.0, -7.5, 0.25, -0.25, -11.0, -9.0]);
        let whole = PackedMatrix { zeros: zeros(4), ..matrix(4, Shift::Zero, table()) };
        assert_eq!(values(whole), [-3.375, -3.125, -172.0, 20.5, -7.75, -8.25, -15.0, -13.0]);
        let addend = Shift::Addend(Dtype::F16);
        let floats = PackedMatrix { addends: ADDENDS.to_vec(), ..matrix(4, addend, table()) };
        assert_eq!(values(floats), [-0.875, -0.625, -200.5, -8.0, 0.25, -0.25, -1.0, 1.0]);
    }

    /// Shards have the addends of their groups, and give them back.
    #[test]
    fn addends_are_cut_and_joined() {
        use crate::quant::StoredGroups;
        let addend = Shift::Addend(Dtype::F16);
        let whole = PackedMatrix { addends: ADDENDS.to_vec(), ..matrix(4, addend, Values::Linear) };
        let columns = [0..1, 1..2].map(|outputs| whole.column_shard(outputs).expect("a part"));
        assert_eq!(columns[1].addends, [ADDENDS[1]]);
        assert_eq!(crate::quant::join::join_columns(&columns), whole);
        let rows = [0..3, 3..4].map(|inputs| whole.row_shard(inputs, StoredGroups::Touched).expect("a part"));
        assert_eq!(rows[1].addends, [0xb800, 0x4900]);
        let mut row = [0.0];
        rows[1].read_row(0, &mut row);
        assert_eq!(row, [-30.5]);
        assert_eq!(crate::quant::join::join_rows(&rows), whole);
    }

    #[test]
    #[should_panic(expected = "words of addends")]
    fn addends_that_the_format_has_not_are_refused() {
        PackedMatrix { addends: ADDENDS.to_vec(), ..matrix(4, Shift::None, Values::Linear) }.check();
    }
}
