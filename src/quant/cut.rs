//! Cutting matrices into shards, and joining shards again.
//!
//! A **column shard** has some output features with all input features; a **row shard** some input features for all output
//! features (the words of tensor parallelism, after the transposed layout of GPTQ files). In our layout a column shard
//! is some whole rows of every array. A row shard may start and end anywhere: inside a word of codes, which are shifted to
//! start at a word, and inside a group, whose scales both neighbours store. Group numbers stay those of the whole matrix.

use std::ops::Range;

use super::format::{Grouped, Shift};
use super::matrix::{DenseMatrix, GroupIndex, Matrix, PackedMatrix, RowShard, ShardGroups};

/// Which groups' scales, zero points and addends a row shard stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoredGroups {
    /// From the first to the last that its rows are in.
    Touched,
    /// All of the matrix: shards of a stack of matrices must store equally many, also where some are act-order.
    All,
}

impl PackedMatrix {
    /// Output features `outputs` with all input features.
    ///
    /// # Panics
    /// If `outputs` goes beyond the matrix or is empty.
    pub fn column_shard(&self, outputs: Range<usize>) -> PackedMatrix {
        check(&outputs, self.out_features);
        PackedMatrix {
            out_features: outputs.len(),
            codes: lines(&self.codes, self.out_features, &outputs),
            scales: lines(&self.scales, self.out_features, &outputs),
            zeros: self.zeros.as_ref().map(|zeros| lines(zeros, self.out_features, &outputs)),
            addends: lines(&self.addends, self.out_features, &outputs),
            group_index: self.group_index.clone(),
            ..*self
        }
    }

    /// Input features `inputs` for all output features.
    ///
    /// # Panics
    /// If `inputs` goes beyond the matrix or is empty.
    pub fn row_shard(&self, inputs: Range<usize>, stored: StoredGroups) -> RowShard {
        check(&inputs, self.in_features);
        let groups = match stored {
            StoredGroups::All => 0..self.groups,
            StoredGroups::Touched => {
                let touched = || inputs.clone().map(|k| self.group(k));
                touched().min().expect("a row")..touched().max().expect("a row") + 1
            }
        };
        let index = match &self.group_index {
            GroupIndex::PerRow(table) => GroupIndex::PerRow(table[inputs.clone()].to_vec()),
            GroupIndex::Sequential => GroupIndex::Sequential,
        };
        let Grouped { bits, scale, .. } = self.format;
        let (code_words, zero_words) =
            (PackedMatrix::code_words(inputs.len(), bits), PackedMatrix::zero_words(groups.len(), bits));
        let (n, bits, scale_bits) = (self.out_features, bits as usize, 8 * scale.size_bytes());
        PackedMatrix {
            out_features: n,
            in_features: inputs.len(),
            format: self.format,
            codes: fields(&self.codes, n, &inputs, bits, code_words),
            groups: groups.len(),
            scales: fields(&self.scales, n, &groups, scale_bits, scale.words(groups.len())),
            zeros: self.zeros.as_ref().map(|zeros| fields(zeros, n, &groups, bits, zero_words)),
            addends: match self.format.shift {
                Shift::Addend(dtype) => {
                    fields(&self.addends, n, &groups, 8 * dtype.size_bytes(), dtype.words(groups.len()))
                }
                Shift::None | Shift::Zero => Vec::new(),
            },
            group_index: ShardGroups { first_row: inputs.start, first_group: groups.start, index },
        }
    }

    /// The matrix that `shards` were cut from: their output features one after the other.
    ///
    /// # Panics
    /// If there is no shard or they are not of one matrix.
    pub fn join_columns(shards: &[PackedMatrix]) -> PackedMatrix {
        let first = shards.first().expect("at least one shard");
        let like = |m: &PackedMatrix| (m.in_features, m.groups, m.format);
        let same = |m: &PackedMatrix| like(m) == like(first) && m.group_index == first.group_index;
        assert!(shards.iter().all(same), "column shards of one matrix");
        PackedMatrix {
            out_features: shards.iter().map(|m| m.out_features).sum(),
            codes: shards.iter().flat_map(|m| &m.codes).copied().collect(),
            scales: shards.iter().flat_map(|m| &m.scales).copied().collect(),
            zeros: first
                .zeros
                .is_some()
                .then(|| shards.iter().flat_map(|m| m.zeros.iter().flatten()).copied().collect()),
            addends: shards.iter().flat_map(|m| &m.addends).copied().collect(),
            group_index: first.group_index.clone(),
            ..*first
        }
    }

    /// The matrix that `shards` were cut from: their input features one after the other. Groups that two shards store must
    /// agree.
    ///
    /// # Panics
    /// If there is no shard, the first does not begin with row 0, or they are not neighbours of one matrix.
    pub fn join_rows(shards: &[RowShard]) -> PackedMatrix {
        let first = shards.first().expect("at least one shard");
        let like = |m: &RowShard| (m.out_features, m.format);
        assert!(shards.iter().all(|m| like(m) == like(first)), "row shards of one matrix");
        let in_features = shards.iter().fold(0, |end, m| {
            assert_eq!(m.group_index.first_row, end, "row shards are neighbours");
            end + m.in_features
        });
        let group_index = join_indices(shards);
        let groups = shards.iter().map(|m| m.group_index.first_group + m.groups).max().expect("at least one");
        let (n, format) = (first.out_features, first.format);
        let (bits, scale_bits) = (format.bits as usize, 8 * format.scale.size_bytes());
        let mut codes = vec![0; n * PackedMatrix::code_words(in_features, format.bits)];
        let mut scales = vec![0; n * format.scale.words(groups)];
        let mut zeros = first.zeros.as_ref().map(|_| vec![0; n * PackedMatrix::zero_words(groups, format.bits)]);
        let addend = match format.shift {
            Shift::Addend(dtype) => Some(dtype),
            Shift::None | Shift::Zero => None,
        };
        let mut addends = vec![0; addend.map_or(0, |dtype| n * dtype.words(groups))];
        let mut known = vec![false; groups];
        for m in shards {
            let (row, group) = (m.group_index.first_row, m.group_index.first_group);
            let known = &mut known[group..group + m.groups];
            place(&mut codes, n, row, &m.codes, &vec![false; m.in_features], bits);
            place(&mut scales, n, group, &m.scales, known, scale_bits);
            if let (Some(zeros), Some(source)) = (&mut zeros, &m.zeros) {
                place(zeros, n, group, source, known, bits);
            }
            if let Some(dtype) = addend {
                place(&mut addends, n, group, &m.addends, known, 8 * dtype.size_bytes());
            }
            known.fill(true);
        }
        PackedMatrix { out_features: n, in_features, format, codes, groups, scales, zeros, addends, group_index }
    }
}

/// The group index of the matrix that `shards` were cut from.
fn join_indices(shards: &[RowShard]) -> GroupIndex {
    let of_one_matrix = "row shards of one matrix";
    let indices = || shards.iter().map(|m| &m.group_index.index);
    match &shards[0].group_index.index {
        GroupIndex::PerRow(_) => {
            let tables = indices().map(|index| match index {
                GroupIndex::PerRow(table) => table.as_slice(),
                GroupIndex::Sequential => panic!("{of_one_matrix}"),
            });
            GroupIndex::PerRow(tables.collect::<Vec<_>>().concat())
        }
        sequential => {
            assert!(indices().all(|index| index == sequential), "{of_one_matrix}");
            sequential.clone()
        }
    }
}

impl DenseMatrix {
    /// Output features `outputs` with all input features.
    ///
    /// # Panics
    /// If `outputs` goes beyond the matrix or is empty.
    pub fn column_shard(&self, outputs: Range<usize>) -> DenseMatrix {
        check(&outputs, self.out_features);
        let words = lines(&self.words, self.out_features, &outputs);
        DenseMatrix { out_features: outputs.len(), words, ..*self }
    }

    /// Input features `inputs` for all output features.
    ///
    /// # Panics
    /// If `inputs` goes beyond the matrix or is empty.
    pub fn row_shard(&self, inputs: Range<usize>) -> DenseMatrix {
        check(&inputs, self.in_features);
        let row_words = DenseMatrix::row_words(inputs.len(), self.dtype);
        let words = fields(&self.words, self.out_features, &inputs, 8 * self.dtype.size_bytes(), row_words);
        DenseMatrix { in_features: inputs.len(), words, ..*self }
    }
}

impl Matrix {
    /// Output features `outputs` with all input features.
    ///
    /// # Panics
    /// If `outputs` goes beyond the matrix or is empty, or for a row shard.
    pub fn column_shard(&self, outputs: Range<usize>) -> Matrix {
        match self {
            Matrix::Dense(m) => Matrix::Dense(m.column_shard(outputs)),
            Matrix::Packed(m) => Matrix::Packed(m.column_shard(outputs)),
            Matrix::RowShard(_) => panic!("a row shard is not cut again"),
        }
    }

    /// Input features `inputs` for all output features.
    ///
    /// # Panics
    /// If `inputs` goes beyond the matrix or is empty, or for a row shard.
    pub fn row_shard(&self, inputs: Range<usize>, stored: StoredGroups) -> Matrix {
        match self {
            Matrix::Dense(m) => Matrix::Dense(m.row_shard(inputs)),
            Matrix::Packed(m) => Matrix::RowShard(m.row_shard(inputs, stored)),
            Matrix::RowShard(_) => panic!("a row shard is not cut again"),
        }
    }
}

fn check(range: &Range<usize>, size: usize) {
    assert!(range.start < range.end && range.end <= size, "features {range:?} of {size}");
}

/// Lines `range` of `count` equally long ones.
fn lines(words: &[u32], count: usize, range: &Range<usize>) -> Vec<u32> {
    let width = words.len() / count;
    words[range.start * width..range.end * width].to_vec()
}

/// Fields `range`, of `bits` bits each, of every one of `count` lines, in lines of `width` words.
fn fields(words: &[u32], count: usize, range: &Range<usize>, bits: usize, width: usize) -> Vec<u32> {
    let mut out = vec![0; count * width];
    let (first, shift) = (range.start * bits / 32, range.start * bits % 32);
    let (used, rest) = ((range.len() * bits).div_ceil(32), range.len() * bits % 32);
    for (from, to) in words.chunks_exact(words.len() / count).zip(out.chunks_exact_mut(width)) {
        for (i, word) in to[..used].iter_mut().enumerate() {
            *word = from[first + i] >> shift;
            if let Some(next) = from.get(first + i + 1).filter(|_| shift > 0) {
                *word |= next << (32 - shift);
            }
        }
        if rest > 0 {
            to[used - 1] &= (1 << rest) - 1;
        }
    }
    out
}

/// Writes the fields, of `bits` bits each, of every line of `source` into the lines of `out`, from field `first` on.
/// Beside `source` stands of each field whether `out` has it already.
///
/// # Panics
/// If a field that `out` has already is another.
fn place(out: &mut [u32], count: usize, first: usize, source: &[u32], known: &[bool], bits: usize) {
    let (out_width, width) = (out.len() / count, source.len() / count);
    let mask = if bits == 32 { u32::MAX } else { (1 << bits) - 1 };
    for (to, from) in out.chunks_exact_mut(out_width).zip(source.chunks_exact(width)) {
        for (field, &is_known) in known.iter().enumerate() {
            let value = (from[field * bits / 32] >> (field * bits % 32)) & mask;
            let (word, shift) = ((first + field) * bits / 32, (first + field) * bits % 32);
            assert!(!is_known || (to[word] >> shift) & mask == value, "shards that overlap agree");
            to[word] |= value << shift;
        }
    }
}
