//! Weight matrices on the device: a stack of equally shaped matrices, cut into parts that fit a binding.

use super::Planner;
use super::fill_random;
use super::weights_builder::WeightsBuilder;
use crate::Result;
use crate::gpu::{Gpu, Recorder};
use crate::quant::{CHUNK, DenseMatrix, Dtype, GroupIndex, Groups, Matrix, PackedMatrix, Random};

/// What all matrices of a stack have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Dense(Dtype),
    Packed { bits: u32, scale_dtype: Dtype, groups: usize, group_size: usize, first_row: usize, first_group: usize },
}

/// A part of a stack that fits one binding: whole matrices, or rows of the only one.
#[derive(Debug, Clone)]
pub(super) struct Part {
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
    pub(super) kind: Kind,
    pub(super) parts: Vec<Part>,
    pub(super) size_bytes: u64,
}

impl Weights {
    /// Uploads one matrix.
    ///
    /// # Errors
    /// [`crate::Error::Memory`] where it does not fit.
    pub fn upload(gpu: &Gpu, label: &str, matrix: &Matrix) -> Result<Self> {
        let mut builder = WeightsBuilder::new(gpu, label, 1, matrix.out_features(), matrix.in_features());
        builder.add(0, 0, matrix)?;
        builder.finish()
    }

    /// Bytes on the device.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Makes a stack `[matrices, out_features, in_features]` of random weights where it lies, in parts of at most
    /// `max_part_bytes`: no host memory, no upload. Inputs of order 1 give outputs of order 1. The same label, shape and
    /// kind give the same weights on every device.
    ///
    /// # Errors
    /// [`crate::Error::Memory`] where it does not fit.
    pub fn random(
        planner: &Planner,
        label: &str,
        shape: [usize; 3],
        random: Random,
        max_part_bytes: u64,
    ) -> Result<Self> {
        let [n_matrices, out_features, in_features] = shape;
        let mut builder = WeightsBuilder::new(planner.gpu, label, n_matrices, out_features, in_features)
            .max_part_bytes(max_part_bytes);
        let kind = Kind::of_random(random, in_features);
        builder.kind = Some(kind);
        builder.allocate(kind)?;
        builder.rows = n_matrices * out_features;
        if planner.gpu.rehearses() {
            return builder.finish();
        }
        let (data, scales) = random.bits(in_features);
        let mut seed = label.bytes().fold(0u32, |hash, byte| hash.wrapping_mul(0x0100_0193) ^ u32::from(byte));
        let mut fills = Vec::new();
        for part in &builder.parts {
            for (buffer, bits) in [(Some(&part.data), data), (part.scales.as_ref(), scales)] {
                if let Some(buffer) = buffer {
                    fills.push(fill_random::plan(planner, "fill_random", buffer, seed, bits)?);
                    seed = seed.wrapping_add((buffer.size() / 4) as u32);
                }
            }
        }
        let mut recorder = Recorder::new(planner.gpu);
        for dispatch in planner.bind_all(&fills)? {
            recorder.dispatch(&dispatch, 1);
        }
        recorder.submit();
        builder.finish()
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
    pub(super) fn row_words(&self) -> usize {
        self.kind.row_words(self.in_features)
    }
}

impl Kind {
    pub(super) fn row_words(self, in_features: usize) -> usize {
        match self {
            Kind::Dense(dtype) => DenseMatrix::row_words(in_features, dtype),
            Kind::Packed { bits, .. } => PackedMatrix::code_words(in_features, bits),
        }
    }

    fn of_random(random: Random, in_features: usize) -> Self {
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

    pub(super) fn of(matrix: &Matrix) -> Self {
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
    pub(super) fn merged(self, other: Kind, per_row: bool) -> Option<Kind> {
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
