//! Cutting matrices into shards.
//!
//! A **column shard** has some output features with all input features; a **row shard** some input features for all output
//! features (the words of tensor parallelism, after the transposed layout of GPTQ files). In our layout a column shard
//! is some whole rows of every array. A row shard may start and end anywhere: inside a word of codes, which are shifted to
//! start at a word, and inside a group, whose scales both neighbours store. Group numbers stay those of the whole matrix.

use std::ops::Range;

use super::format::{Grouped, Shift};
use super::matrix::{DenseMatrix, GroupIndex, Matrix, PackedMatrix, RowShard, ShardGroups};
use super::shape::UNNAMED;
use crate::error::Usage;
use crate::{Error, Result};

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
    /// # Errors
    /// As [`Matrix::column_shard`].
    pub fn column_shard(&self, outputs: Range<usize>) -> Result<PackedMatrix> {
        self.check_readable(1)?;
        check("output features", &outputs, self.out_features)?;
        Ok(PackedMatrix {
            out_features: outputs.len(),
            codes: lines(&self.codes, self.out_features, &outputs),
            scales: lines(&self.scales, self.out_features, &outputs),
            zeros: self.zeros.as_ref().map(|zeros| lines(zeros, self.out_features, &outputs)),
            addends: lines(&self.addends, self.out_features, &outputs),
            group_index: self.group_index.clone(),
            ..*self
        })
    }

    /// Input features `inputs` for all output features.
    ///
    /// # Errors
    /// As [`Matrix::row_shard`].
    pub fn row_shard(&self, inputs: Range<usize>, stored: StoredGroups) -> Result<RowShard> {
        self.check_readable(1)?;
        check("input features", &inputs, self.in_features)?;
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
        Ok(PackedMatrix {
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
        })
    }
}

impl DenseMatrix {
    /// Output features `outputs` with all input features.
    ///
    /// # Errors
    /// As [`Matrix::column_shard`].
    pub fn column_shard(&self, outputs: Range<usize>) -> Result<DenseMatrix> {
        self.check_readable(1)?;
        check("output features", &outputs, self.out_features)?;
        let words = lines(&self.words, self.out_features, &outputs);
        Ok(DenseMatrix { out_features: outputs.len(), words, ..*self })
    }

    /// Input features `inputs` for all output features.
    ///
    /// # Errors
    /// As [`Matrix::row_shard`].
    pub fn row_shard(&self, inputs: Range<usize>) -> Result<DenseMatrix> {
        self.check_readable(1)?;
        check("input features", &inputs, self.in_features)?;
        let row_words = DenseMatrix::row_words(inputs.len(), self.dtype);
        let words = fields(&self.words, self.out_features, &inputs, 8 * self.dtype.size_bytes(), row_words);
        Ok(DenseMatrix { in_features: inputs.len(), words, ..*self })
    }
}

impl Matrix {
    /// Output features `outputs` with all input features.
    ///
    /// # Errors
    /// [`Usage::Range`] where `outputs` goes beyond the matrix; [`Usage::Shape`] where it is empty, for a row shard, which is not
    /// cut again, and where the matrix's arrays are not what its format and its size say.
    pub fn column_shard(&self, outputs: Range<usize>) -> Result<Matrix> {
        match self {
            Matrix::Dense(m) => Ok(Matrix::Dense(m.column_shard(outputs)?)),
            Matrix::Packed(m) => Ok(Matrix::Packed(m.column_shard(outputs)?)),
            Matrix::RowShard(_) => Err(not_again()),
        }
    }

    /// Input features `inputs` for all output features.
    ///
    /// # Errors
    /// As [`Self::column_shard`], for `inputs`.
    pub fn row_shard(&self, inputs: Range<usize>, stored: StoredGroups) -> Result<Matrix> {
        match self {
            Matrix::Dense(m) => Ok(Matrix::Dense(m.row_shard(inputs)?)),
            Matrix::Packed(m) => Ok(Matrix::RowShard(m.row_shard(inputs, stored)?)),
            Matrix::RowShard(_) => Err(not_again()),
        }
    }
}

/// Ok where `range` is some of `size` features.
fn check(what: &'static str, range: &Range<usize>, size: usize) -> Result<()> {
    if range.start > range.end || range.end > size {
        let (name, asked) = (UNNAMED.to_owned(), range.clone());
        return Err(Usage::Range { name, what, asked, found: size }.into());
    }
    Error::check_shape(UNNAMED, what, !range.is_empty(), &format_args!("{range:?}"), &"at least one of them")
}

fn not_again() -> Error {
    let (name, what) = (UNNAMED.to_owned(), "part");
    Usage::Shape { name, what, found: "a row shard".into(), expected: "what is not cut along its rows yet".into() }
        .into()
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
