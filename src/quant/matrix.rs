//! The matrices that kernels read: rows are output features, padded along the input dimension to whole chunks.

use half::{bf16, f16};

/// Input features a kernel reads at a time; every row of a matrix is padded to a multiple of it.
pub const CHUNK: usize = 32;

/// How a number is stored, in a file as on the GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dtype {
    /// IEEE binary16.
    F16,
    /// The upper half of an IEEE binary32.
    BF16,
    /// IEEE binary32.
    F32,
}

impl Dtype {
    /// Bytes of one number.
    pub fn size_bytes(self) -> usize {
        match self {
            Dtype::F16 | Dtype::BF16 => 2,
            Dtype::F32 => 4,
        }
    }

    /// Words (u32) that hold `count` numbers; the last may be half used.
    pub fn words(self, count: usize) -> usize {
        (count * self.size_bytes()).div_ceil(4)
    }

    /// Number `index` of a packed row of words, two 16-bit numbers a word, low half first.
    pub fn read(self, words: &[u32], index: usize) -> f32 {
        match self {
            Dtype::F32 => f32::from_bits(words[index]),
            Dtype::F16 => f16::from_bits(half_word(words, index)).to_f32(),
            Dtype::BF16 => bf16::from_bits(half_word(words, index)).to_f32(),
        }
    }
}

fn half_word(words: &[u32], index: usize) -> u16 {
    (words[index / 2] >> (16 * (index % 2))) as u16
}

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
    /// Words of one row of `in_features` values: whole chunks.
    pub fn row_words(in_features: usize, dtype: Dtype) -> usize {
        dtype.words(in_features.next_multiple_of(CHUNK))
    }

    /// A matrix from f32 values, row by row.
    pub fn from_f32(out_features: usize, in_features: usize, values: &[f32]) -> Self {
        assert_eq!(values.len(), out_features * in_features, "values of a dense matrix");
        let row_words = Self::row_words(in_features, Dtype::F32);
        let mut words = vec![0; out_features * row_words];
        for (row, source) in words.chunks_exact_mut(row_words).zip(values.chunks_exact(in_features)) {
            for (word, value) in row.iter_mut().zip(source) {
                *word = value.to_bits();
            }
        }
        DenseMatrix { out_features, in_features, dtype: Dtype::F32, words }
    }

    /// A matrix from little-endian file bytes `[out_features, in_features]`.
    pub fn from_bytes(out_features: usize, in_features: usize, dtype: Dtype, bytes: &[u8]) -> Self {
        let row_bytes = in_features * dtype.size_bytes();
        assert_eq!(bytes.len(), out_features * row_bytes, "bytes of a dense matrix");
        let row_words = Self::row_words(in_features, dtype);
        let mut words = vec![0u32; out_features * row_words];
        for (row, source) in words.chunks_exact_mut(row_words).zip(bytes.chunks_exact(row_bytes)) {
            bytemuck::cast_slice_mut(row)[..row_bytes].copy_from_slice(source);
        }
        if cfg!(target_endian = "big") {
            words.iter_mut().for_each(|word| *word = word.swap_bytes());
        }
        DenseMatrix { out_features, in_features, dtype, words }
    }

    /// Row `n` as f32.
    pub fn row(&self, n: usize, out: &mut [f32]) {
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

fn read_halves(words: &[u32], out: &mut [f32], value: impl Fn(u16) -> f32) {
    for (pair, &word) in out.chunks_mut(2).zip(words) {
        pair.iter_mut().zip([word as u16, (word >> 16) as u16]).for_each(|(to, bits)| *to = value(bits));
    }
}

/// Which quantization group an input row belongs to, counted from row 0 and group 0 of the **whole** matrix. This is all
/// that a whole matrix or a column-parallel shard needs: neither can start inside a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupIndex {
    /// Row `k` lies in group `k / group_size`.
    Sequential {
        /// Rows of a group; the last one may be short.
        group_size: usize,
    },
    /// The group of each row (`g_idx`, act-order).
    PerRow(Vec<u32>),
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

/// Where the stored group of an input row comes from.
pub trait Groups: Clone + PartialEq + std::fmt::Debug {
    /// Row 0's number in the whole matrix, and the first group that is stored.
    fn offset(&self) -> (usize, usize);

    /// The groups' numbers in the whole matrix.
    fn index(&self) -> &GroupIndex;

    /// The stored group of input row `k`.
    fn group(&self, k: usize) -> usize {
        let (first_row, first_group) = self.offset();
        match self.index() {
            GroupIndex::Sequential { group_size } => (first_row + k) / group_size - first_group,
            GroupIndex::PerRow(table) => table[k] as usize - first_group,
        }
    }
}

impl Groups for GroupIndex {
    fn offset(&self) -> (usize, usize) {
        (0, 0)
    }

    fn index(&self) -> &GroupIndex {
        self
    }
}

impl Groups for ShardGroups {
    fn offset(&self) -> (usize, usize) {
        (self.first_row, self.first_group)
    }

    fn index(&self) -> &GroupIndex {
        &self.index
    }
}

/// A group-wise quantized weight `[out_features, in_features]`: `w[n, k] = scale[n, g] * (code[n, k] - zero[n, g])` with
/// `g = group(k)`. Codes are unsigned. Scales may be negative: AutoRound gives them the sign of the larger extreme.
///
/// A whole matrix or a column-parallel shard is a `PackedMatrix`, a row-parallel shard a [`RowShard`].
#[derive(Debug, Clone, PartialEq)]
pub struct PackedMatrix<G = GroupIndex> {
    /// Rows.
    pub out_features: usize,
    /// Columns, without padding.
    pub in_features: usize,
    /// Bits of a code: 4 or 8.
    pub bits: u32,
    /// `[out_features, in_features padded to whole chunks / codes a word]`, first code in the lowest bits, padding 0.
    pub codes: Vec<u32>,
    /// Groups that are stored.
    pub groups: usize,
    /// Precision of the scales.
    pub scale_dtype: Dtype,
    /// `[out_features, scale_dtype.words(groups)]`.
    pub scales: Vec<u32>,
    /// `[out_features, groups / codes a word, rounded up]`; `None` where every zero point is `2^(bits - 1)`.
    pub zeros: Option<Vec<u32>>,
    /// Which group a row belongs to.
    pub group_index: G,
}

/// Some input rows of a quantized matrix, for all its output features: the only matrix with a group offset.
pub type RowShard = PackedMatrix<ShardGroups>;

impl PackedMatrix {
    /// Words of codes in one row.
    pub fn code_words(in_features: usize, bits: u32) -> usize {
        in_features.next_multiple_of(CHUNK) * bits as usize / 32
    }

    /// Words of zero points in one row.
    pub fn zero_words(groups: usize, bits: u32) -> usize {
        (groups * bits as usize).div_ceil(32)
    }

    /// A word of zero points that are all `2^(bits - 1)`.
    pub fn symmetric_zeros(bits: u32) -> u32 {
        ones(bits) << (bits - 1)
    }
}

impl<G: Groups> PackedMatrix<G> {
    fn field(words: &[u32], index: usize, bits: u32) -> u32 {
        let per_word = 32 / bits as usize;
        (words[index / per_word] >> (bits as usize * (index % per_word))) & ((1 << bits) - 1)
    }

    /// The unsigned code at output feature `n`, input feature `k`.
    pub fn code(&self, n: usize, k: usize) -> u32 {
        let row_words = PackedMatrix::code_words(self.in_features, self.bits);
        Self::field(&self.codes[n * row_words..], k, self.bits)
    }

    /// The scale of group `g` in row `n`.
    pub fn scale(&self, n: usize, g: usize) -> f32 {
        let row_words = self.scale_dtype.words(self.groups);
        self.scale_dtype.read(&self.scales[n * row_words..][..row_words], g)
    }

    /// The zero point of group `g` in row `n`.
    pub fn zero(&self, n: usize, g: usize) -> u32 {
        match &self.zeros {
            None => 1 << (self.bits - 1),
            Some(zeros) => Self::field(&zeros[n * PackedMatrix::zero_words(self.groups, self.bits)..], g, self.bits),
        }
    }

    /// Row `n` as f32: one rounding a value, as in the kernels.
    pub fn row(&self, n: usize, out: &mut [f32]) {
        for (k, value) in out[..self.in_features].iter_mut().enumerate() {
            let g = self.group_index.group(k);
            *value = self.scale(n, g) * (self.code(n, k) as f32 - self.zero(n, g) as f32);
        }
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

    /// Row `n` as f32.
    pub fn row(&self, n: usize, out: &mut [f32]) {
        match self {
            Matrix::Dense(m) => m.row(n, out),
            Matrix::Packed(m) => m.row(n, out),
            Matrix::RowShard(m) => m.row(n, out),
        }
    }

    /// The whole matrix as dense f32: what a router becomes on load.
    pub fn to_dense(&self) -> DenseMatrix {
        let mut values = vec![0.0; self.out_features() * self.in_features()];
        for (n, row) in values.chunks_exact_mut(self.in_features()).enumerate() {
            self.row(n, row);
        }
        DenseMatrix::from_f32(self.out_features(), self.in_features(), &values)
    }
}
