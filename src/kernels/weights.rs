//! Weight matrices on the device: a stack of equally shaped matrices, cut into parts that fit a binding.

use super::Planner;
use super::fill_random;
use crate::gpu::{Gpu, Recorder};
use crate::quant::{DenseMatrix, Dtype, GroupIndex, Groups, Matrix, PackedMatrix, Random, ShardGroups};
use crate::{Error, Result};

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
}

impl Weights {
    /// Uploads one matrix.
    ///
    /// # Errors
    /// [`Error::Memory`] where it does not fit.
    pub fn upload(gpu: &Gpu, label: &str, matrix: &Matrix) -> Result<Self> {
        let mut builder = WeightsBuilder::new(gpu, label, 1, matrix.out_features(), matrix.in_features());
        builder.add(0, 0, matrix)?;
        builder.finish()
    }

    /// Bytes on the device.
    pub fn size_bytes(&self) -> u64 {
        let buffers = |part: &Part| {
            let optional = [&part.scales, &part.zeros, &part.g_idx].into_iter().flatten();
            optional.map(wgpu::Buffer::size).sum::<u64>() + part.data.size()
        };
        self.parts.iter().map(buffers).sum()
    }

    /// Makes a stack `[matrices, out_features, in_features]` of random weights where it lies, in parts of at most
    /// `max_part_bytes`: no host memory, no upload. Inputs of order 1 give outputs of order 1. The same label, shape and
    /// kind give the same weights on every device.
    ///
    /// # Errors
    /// [`Error::Memory`] where it does not fit.
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

    /// Words of weights or codes in a row.
    pub(super) fn row_words(&self) -> usize {
        self.kind.row_words(self.in_features)
    }
}

impl Kind {
    fn row_words(self, in_features: usize) -> usize {
        match self {
            Kind::Dense(dtype) => DenseMatrix::row_words(in_features, dtype),
            Kind::Packed { bits, .. } => PackedMatrix::code_words(in_features, bits),
        }
    }

    fn of_random(random: Random, in_features: usize) -> Self {
        match random {
            Random::Dense(dtype) => Kind::Dense(dtype),
            Random::Int4 { group_size } => Kind::Packed {
                bits: 4,
                scale_dtype: Dtype::F16,
                groups: in_features.div_ceil(group_size),
                group_size,
                first_row: 0,
                first_group: 0,
            },
        }
    }

    fn of(matrix: &Matrix) -> Self {
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
    fn merged(self, other: Kind, per_row: bool) -> Option<Kind> {
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

/// Uploads a stack matrix by matrix, or a large matrix by row blocks.
#[derive(Debug)]
pub struct WeightsBuilder<'a> {
    gpu: &'a Gpu,
    label: String,
    n_matrices: usize,
    first_matrix: usize,
    out_features: usize,
    in_features: usize,
    max_part_bytes: u64,
    kind: Option<Kind>,
    parts: Vec<Part>,
    /// Rows uploaded so far, of all matrices.
    rows: usize,
    per_row: bool,
    /// Group indices of the matrices that came before the first act-order one.
    sequential: Vec<(usize, ShardGroups)>,
}

impl<'a> WeightsBuilder<'a> {
    /// An empty stack; memory is taken when the first matrix shows its kind.
    pub fn new(gpu: &'a Gpu, label: &str, n_matrices: usize, out_features: usize, in_features: usize) -> Self {
        WeightsBuilder {
            gpu,
            label: label.to_string(),
            n_matrices,
            first_matrix: 0,
            out_features,
            in_features,
            max_part_bytes: gpu.max_binding_bytes(),
            kind: None,
            parts: Vec::new(),
            rows: 0,
            per_row: false,
            sequential: Vec::new(),
        }
    }

    /// Cuts the stack into parts of at most `bytes` of weights or codes, where the device would bind more at once.
    #[must_use]
    pub fn max_part_bytes(mut self, bytes: u64) -> Self {
        self.max_part_bytes = bytes.min(self.gpu.max_binding_bytes());
        self
    }

    /// Numbers the matrices from `first` on: a rank's experts keep the numbers that the router knows.
    #[must_use]
    pub fn first_matrix(mut self, first: usize) -> Self {
        self.first_matrix = first;
        self
    }

    /// Uploads `matrix` as rows `first_row..` of matrix number `index`.
    ///
    /// # Errors
    /// [`Error::Memory`] where it does not fit; [`Error::Model`] where it differs in kind from the others of the stack.
    pub fn add(&mut self, index: usize, first_row: usize, matrix: &Matrix) -> Result<()> {
        assert_eq!(matrix.in_features(), self.in_features, "{}: columns", self.label);
        assert!(index < self.n_matrices && first_row + matrix.out_features() <= self.out_features, "{}", self.label);
        let kind = Kind::of(matrix);
        let per_row = match matrix {
            Matrix::Dense(_) => false,
            Matrix::Packed(m) => is_per_row(&m.group_index),
            Matrix::RowShard(m) => is_per_row(&m.group_index),
        };
        match self.kind {
            None => {
                self.kind = Some(kind);
                self.allocate(kind)?;
            }
            Some(first) => {
                let merged = first.merged(kind, per_row || self.per_row).ok_or_else(|| {
                    Error::model(format!("{} {index}: {kind:?}, but the first of the stack is {first:?}", self.label))
                })?;
                self.kind = Some(merged);
            }
        }
        self.rows += matrix.out_features();
        match matrix {
            Matrix::Dense(m) => self.write_rows(|part| &part.data, index, first_row, &m.words, m.out_features),
            Matrix::Packed(m) => self.add_packed(index, first_row, m),
            Matrix::RowShard(m) => self.add_packed(index, first_row, m),
        }
    }

    fn add_packed<G: Groups>(&mut self, index: usize, first_row: usize, m: &PackedMatrix<G>) -> Result<()> {
        assert!(matches!(m.bits, 4 | 8), "{}: codes of {} bits", self.label, m.bits);
        self.write_rows(|part| &part.data, index, first_row, &m.codes, m.out_features)?;
        self.write_rows(|part| part.scales.as_ref().expect("packed"), index, first_row, &m.scales, m.out_features)?;
        if m.zeros.is_some() && self.parts[0].zeros.is_none() {
            self.allocate_zeros(m.groups, m.bits)?;
        }
        if let Some(zeros) = &m.zeros {
            self.write_rows(|part| part.zeros.as_ref().expect("made above"), index, first_row, zeros, m.out_features)?;
        }
        if is_per_row(&m.group_index) && !self.per_row {
            self.allocate_tables()?;
            for (earlier, group_index) in std::mem::take(&mut self.sequential) {
                self.write_table(earlier, &group_index)?;
            }
        }
        if self.per_row {
            self.write_table(index, &m.group_index)
        } else {
            let ((first_row, first_group), group_index) = (m.group_index.offset(), m.group_index.index().clone());
            self.sequential.push((index, ShardGroups { first_row, first_group, index: group_index }));
            Ok(())
        }
    }

    /// All matrices are there.
    ///
    /// # Errors
    /// [`Error::Run`] where the device has failed meanwhile.
    pub fn finish(self) -> Result<Weights> {
        assert_eq!(self.rows, self.n_matrices * self.out_features, "{}: rows that were uploaded", self.label);
        self.gpu.check()?;
        Ok(Weights {
            n_matrices: self.n_matrices,
            first_matrix: self.first_matrix,
            out_features: self.out_features,
            in_features: self.in_features,
            kind: self.kind.expect("a stack has at least one matrix"),
            parts: self.parts,
        })
    }

    fn allocate(&mut self, kind: Kind) -> Result<()> {
        let row_bytes = kind.row_words(self.in_features) as u64 * 4;
        let limit = self.max_part_bytes;
        let matrix_bytes = row_bytes * self.out_features as u64;
        let per_part = (limit / matrix_bytes) as usize;
        // Whole matrices where one fits; else the only matrix by rows, 64 at a time so that tiles stay whole.
        let rows_per_part = if per_part > 0 { self.out_features } else { (limit / row_bytes) as usize / 64 * 64 };
        if rows_per_part == 0 || (per_part == 0 && self.n_matrices > 1) {
            return Err(Error::Memory(format!(
                "{}: a matrix of {matrix_bytes} bytes, but \"{}\" binds at most {limit} at once",
                self.label,
                self.gpu.adapter().info.name
            )));
        }
        for first_matrix in (0..self.n_matrices).step_by(per_part.max(1)) {
            for first_row in (0..self.out_features).step_by(rows_per_part) {
                let n_matrices = per_part.max(1).min(self.n_matrices - first_matrix);
                let n_rows = rows_per_part.min(self.out_features - first_row);
                let rows = (n_matrices * n_rows) as u64;
                let scales = match kind {
                    Kind::Dense(_) => None,
                    Kind::Packed { scale_dtype, groups, .. } => {
                        let words = scale_dtype.words(groups) as u64;
                        Some(self.gpu.storage(&format!("{}.scales", self.label), rows * words * 4)?)
                    }
                };
                let data = self.gpu.storage(&self.label, rows * row_bytes)?;
                self.parts.push(Part {
                    first_matrix,
                    n_matrices,
                    first_row,
                    n_rows,
                    data,
                    scales,
                    zeros: None,
                    g_idx: None,
                });
            }
        }
        Ok(())
    }

    fn allocate_zeros(&mut self, groups: usize, bits: u32) -> Result<()> {
        for part in &mut self.parts {
            let words = part.n_matrices * part.n_rows * PackedMatrix::zero_words(groups, bits);
            let label = format!("{}.zeros", self.label);
            part.zeros = Some(self.gpu.storage_with(&label, &vec![PackedMatrix::symmetric_zeros(bits); words])?);
        }
        Ok(())
    }

    fn allocate_tables(&mut self) -> Result<()> {
        self.per_row = true;
        let table_bytes = self.in_features.next_multiple_of(crate::quant::CHUNK) as u64 * 4;
        for part in &mut self.parts {
            let label = format!("{}.g_idx", self.label);
            part.g_idx = Some(self.gpu.storage(&label, part.n_matrices as u64 * table_bytes)?);
        }
        Ok(())
    }

    /// Writes `rows` rows of `words` into the parts that hold them.
    fn write_rows(
        &self,
        buffer: impl Fn(&Part) -> &wgpu::Buffer,
        index: usize,
        first_row: usize,
        words: &[u32],
        rows: usize,
    ) -> Result<()> {
        let row_words = words.len() / rows;
        for part in &self.parts {
            let matrices = part.first_matrix..part.first_matrix + part.n_matrices;
            let from = first_row.max(part.first_row);
            let to = (first_row + rows).min(part.first_row + part.n_rows);
            if !matrices.contains(&index) || from >= to {
                continue;
            }
            let at = ((index - part.first_matrix) * part.n_rows + from - part.first_row) * row_words;
            let piece = &words[(from - first_row) * row_words..(to - first_row) * row_words];
            self.gpu.write(buffer(part), at as u64 * 4, piece)?;
        }
        Ok(())
    }

    fn write_table<G: Groups>(&self, index: usize, group_index: &G) -> Result<()> {
        let padded = self.in_features.next_multiple_of(crate::quant::CHUNK);
        let mut table = vec![0u32; padded];
        for (k, group) in table[..self.in_features].iter_mut().enumerate() {
            *group = super::word(group_index.group(k));
        }
        for part in self.parts.iter().filter(|p| (p.first_matrix..p.first_matrix + p.n_matrices).contains(&index)) {
            let at = (index - part.first_matrix) * padded;
            self.gpu.write(part.g_idx.as_ref().expect("allocated with the first table"), at as u64 * 4, &table)?;
        }
        Ok(())
    }
}

fn is_per_row<G: Groups>(groups: &G) -> bool {
    matches!(groups.index(), GroupIndex::PerRow(_))
}
