//! Weight matrices on the device: a stack of equally shaped matrices, cut into parts that fit a binding.

use crate::quant::{CHUNK, DenseMatrix, Dtype, GroupIndex, Groups, Matrix, PackedMatrix, Random};

/// What all matrices of a stack have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Dense(Dtype),
    Packed { bits: u32, scale_dtype: Dtype, groups: usize, group_size: usize, first_row: usize, first_group: usize },
}

/// A part of a stack that fits one binding: whole matrices, or rows of the only one.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub first_matrix: usize,
    pub n_matrices: usize,
    pub first_row: usize,
    pub n_rows: usize,
    /// Weights or codes.
    pub data: wgpu::Buffer,
    pub scales: Option<wgpu::Buffer>,
    pub zeros: Option<wgpu::Buffer>,
    pub g_idx: Option<wgpu::Buffer>,
}

/// `n_matrices` weights `[out_features, in_features]` on the device: one for a linear layer, one an expert.
#[derive(Debug, Clone)]
pub struct Weights {
    /// Matrices of the stack.
    pub n_matrices: usize,
    /// Number of the first: not 0 where a rank holds some of the experts.
    pub first_matrix: usize,
    /// Rows of each.
    pub out_features: usize,
    /// Columns of each.
    pub in_features: usize,
    pub(crate) kind: Kind,
    pub(crate) parts: Vec<Part>,
    pub(crate) size_bytes: u64,
}

impl Weights {
    /// Bytes on the device.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Bytes of one matrix of the stack as products read it: weights or codes, scales and zero points.
    pub fn matrix_bytes(&self) -> u64 {
        let side = match self.kind {
            Kind::Dense(_) => 0,
            Kind::Packed { bits, scale_dtype, groups, .. } => {
                let zeros = self.parts.iter().any(|part| part.zeros.is_some());
                scale_dtype.words(groups) + if zeros { PackedMatrix::zero_words(groups, bits) } else { 0 }
            }
        };
        (self.out_features * (self.row_words() + side)) as u64 * 4
    }

    /// True where one binding holds all.
    pub fn is_one_part(&self) -> bool {
        self.parts.len() == 1
    }

    /// True for codes whose groups do not cut a chunk of input features.
    pub fn has_whole_chunks(&self) -> bool {
        let Kind::Packed { group_size, first_row, .. } = self.kind else { return false };
        let whole = group_size.is_multiple_of(CHUNK) && first_row.is_multiple_of(CHUNK);
        whole && self.parts.iter().all(|part| part.g_idx.is_none())
    }

    /// Words of weights or codes in a row.
    pub(crate) fn row_words(&self) -> usize {
        self.kind.row_words(self.in_features)
    }
}

impl Kind {
    pub(crate) fn row_words(self, in_features: usize) -> usize {
        match self {
            Kind::Dense(dtype) => DenseMatrix::row_words(in_features, dtype),
            Kind::Packed { bits, .. } => PackedMatrix::code_words(in_features, bits),
        }
    }

    pub(crate) fn of_random(random: Random, in_features: usize) -> Self {
        match random {
            Random::Dense(dtype) => Kind::Dense(dtype),
            Random::Packed { bits, group_size } => Kind::Packed {
                bits,
                scale_dtype: Dtype::F16,
                groups: in_features.div_ceil(group_size),
                group_size,
                first_row: 0,
                first_group: 0,
            },
        }
    }

    pub(crate) fn of(matrix: &Matrix) -> Self {
        match matrix {
            Matrix::Dense(m) => Kind::Dense(m.dtype),
            Matrix::Packed(m) => Kind::of_packed(m),
            Matrix::RowShard(m) => Kind::of_packed(m),
        }
    }

    fn of_packed<G: Groups>(m: &PackedMatrix<G>) -> Self {
        let ((first_row, first_group), group_size) = match m.group_index.index() {
            GroupIndex::Sequential { group_size } => (m.group_index.offset(), *group_size),
            // The table says it all.
            GroupIndex::PerRow(_) => ((0, 0), m.in_features),
        };
        let (bits, scale_dtype, groups) = (m.bits, m.scale_dtype, m.groups);
        Kind::Packed { bits, scale_dtype, groups, group_size, first_row, first_group }
    }

    /// Kinds that one stack can hold: act-order tables say the group themselves.
    pub(crate) fn merged(self, other: Kind, per_row: bool) -> Option<Kind> {
        match (self, other) {
            (a, b) if a == b => Some(a),
            (
                Kind::Packed { bits, scale_dtype, groups, .. },
                Kind::Packed { bits: b, scale_dtype: d, groups: g, .. },
            ) if per_row && bits == b && scale_dtype == d && groups == g => Some(self),
            _ => None,
        }
    }
}

/// Input rows from a multiple of it on that share a group, of the lengths that the shaders know: groups may begin in the
/// middle of what a shader decodes at once, but a constant that says where they do not saves looking.
pub(crate) fn run(first_row: usize, group_size: usize) -> u32 {
    let cuts_at = |length| group_size.is_multiple_of(length) && first_row.is_multiple_of(length);
    [32, 8].into_iter().find(|&length| cuts_at(length)).unwrap_or(1) as u32
}
