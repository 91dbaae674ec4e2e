//! Weight matrices on the device: a stack of equally shaped matrices, cut into parts that fit a binding.

use crate::quant::{CHUNK, DenseMatrix, Format, GroupIndex, Grouped, Groups, Matrix, Offset, Order, PackedMatrix};

/// Which groups of their matrices quantized weights store, and where their input rows begin among those of the whole. Nothing
/// for dense ones; where a table says the group of each row it says it all, and only the number counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Groups that are stored.
    pub groups: usize,
    /// The first input row's number in the whole matrix.
    pub first_row: usize,
    /// The first stored group's number in the whole matrix.
    pub first_group: usize,
}

/// Where in a stack rows go that are written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spot {
    /// Matrix, counted from the first of the stack.
    pub matrix: usize,
    /// The first of its rows.
    pub row: usize,
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
    /// What all matrices of the stack have in common.
    pub(crate) format: Format,
    pub(crate) extent: Extent,
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
        let side = self.format.grouped().map_or(0, |format| {
            let zeros = self.parts.iter().any(|part| part.zeros.is_some());
            let groups = self.extent.groups;
            format.scale.words(groups) + if zeros { PackedMatrix::zero_words(groups, format.bits) } else { 0 }
        });
        (self.out_features * (self.row_words() + side)) as u64 * 4
    }

    /// True where one binding holds all.
    pub fn is_one_part(&self) -> bool {
        self.parts.len() == 1
    }

    /// True for codes whose groups do not cut a chunk of input features.
    pub fn has_whole_chunks(&self) -> bool {
        let Some(format) = self.format.grouped() else { return false };
        let whole = format.group.is_multiple_of(CHUNK) && self.extent.first_row.is_multiple_of(CHUNK);
        whole && self.parts.iter().all(|part| part.g_idx.is_none())
    }

    /// Words of weights or codes in a row.
    pub(crate) fn row_words(&self) -> usize {
        row_words(&self.format, self.in_features)
    }
}

/// Words of weights or codes in a row.
pub(crate) fn row_words(format: &Format, in_features: usize) -> usize {
    match format {
        Format::Dense(dtype) => DenseMatrix::row_words(in_features, *dtype),
        Format::Grouped(grouped) => PackedMatrix::code_words(in_features, grouped.bits),
    }
}

impl Extent {
    /// All of a matrix of `format`.
    pub(crate) fn whole(format: &Format, in_features: usize) -> Self {
        let groups = format.grouped().map_or(0, |grouped| grouped.groups(in_features));
        Extent { groups, ..Extent::default() }
    }

    /// That of weights of `format`, of which this is said.
    pub(crate) fn of_format(self, format: &Format) -> Self {
        match format {
            Format::Dense(_) => Extent::default(),
            Format::Grouped(Grouped { order: Order::PerRow, .. }) => Extent { first_row: 0, first_group: 0, ..self },
            Format::Grouped(_) => self,
        }
    }

    pub(crate) fn of(matrix: &Matrix) -> Self {
        match matrix {
            Matrix::Dense(_) => Extent::default(),
            Matrix::Packed(m) => Extent::of_packed(m),
            Matrix::RowShard(m) => Extent::of_packed(m),
        }
    }

    fn of_packed<G: Groups>(m: &PackedMatrix<G>) -> Self {
        let first = match m.group_index.index() {
            GroupIndex::Sequential => m.group_index.offset(),
            GroupIndex::PerRow(_) => Offset { row: 0, group: 0 },
        };
        Extent { groups: m.groups, first_row: first.row, first_group: first.group }
    }

    /// Weights of `format` with this extent, in words: `int4 g32 sym with f16 scales in 4 groups`; where it is
    /// a shard's, `... in 2 groups from group 2 and input row 64 on`.
    pub(crate) fn describe(&self, format: &Format, in_features: usize) -> String {
        let (format, groups) = (format.describe_stack(in_features), self.groups);
        match (groups, self.first_group, self.first_row) {
            (0, ..) => format,
            (_, 0, 0) => format!("{format} in {groups} groups"),
            (_, first, row) => format!("{format} in {groups} groups from group {first} and input row {row} on"),
        }
    }

    /// Whether a stack of `format` with this extent can hold a matrix with `other`.
    pub(crate) fn holds(&self, format: &Format, other: &Extent) -> bool {
        let by_tables = format.grouped().is_some_and(|grouped| grouped.order == Order::PerRow);
        self == other || (by_tables && self.groups == other.groups)
    }
}

/// Input rows from a multiple of it on that share a group, of the lengths that the shaders know: groups may begin in the
/// middle of what a shader decodes at once, but a constant that says where they do not saves looking.
pub(crate) fn run(first_row: usize, group_size: usize) -> u32 {
    let cuts_at = |length| group_size.is_multiple_of(length) && first_row.is_multiple_of(length);
    [32, 8].into_iter().find(|&length| cuts_at(length)).unwrap_or(1) as u32
}

#[cfg(test)]
mod tests {
    use super::{Extent, Format};
    use crate::quant::Dtype;

    #[test]
    fn an_extent_is_told_in_words() {
        let said = |format: Format, groups, first_row, first_group| {
            Extent { groups, first_row, first_group }.describe(&format, 128)
        };
        assert_eq!(said(Format::Dense(Dtype::BF16), 0, 0, 0), "bf16");
        assert_eq!(said(Format::int(4, 32), 4, 0, 0), "int4 g32 sym with f16 scales in 4 groups");
        let shard = "int4 g32 sym with f16 scales in 2 groups from group 2 and input row 64 on";
        assert_eq!(said(Format::int(4, 32), 2, 64, 2), shard);
    }
}
