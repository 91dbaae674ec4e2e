//! Whether what stands in a matrix is what its format and its size say: its fields are public.

use super::format::{Format, Grouped, Order, Shift, Values};
use super::matrix::{DenseMatrix, GroupIndex, Groups, Matrix, PackedMatrix};
use crate::{Error, Result};

/// Features, groups and rows of a matrix at most: what is made of these numbers fits a shader's.
const MOST: usize = 1 << 24;

impl Matrix {
    /// Ok where kernels can be given the matrix: each array is as long as its shape says. Which of the stored groups an input
    /// row is in is the matrix's own affair, as long as it has a number.
    ///
    /// # Errors
    /// [`crate::error::Usage::Shape`] with what is wrong of the matrix `name`; [`Error::Model`] for a format that no kernel
    /// multiplies by.
    pub(crate) fn check_shape(&self, name: &str) -> Result<()> {
        count(name, "output features", self.out_features(), 1)?;
        count(name, "input features", self.in_features(), 1)?;
        self.format().check_runs()?;
        match self {
            Matrix::Dense(m) => m.check_arrays(name),
            Matrix::Packed(m) => m.check_arrays(name),
            Matrix::RowShard(m) => m.check_arrays(name),
        }
    }
}

/// What a matrix that comes without a name is called.
pub(super) const UNNAMED: &str = "matrix";

impl DenseMatrix {
    /// Ok where the matrix has `least` rows and can be read.
    ///
    /// # Errors
    /// [`crate::error::Usage::Shape`] with what is wrong.
    pub(super) fn check_readable(&self, least: usize) -> Result<()> {
        count(UNNAMED, "output features", self.out_features, least)?;
        count(UNNAMED, "input features", self.in_features, 1)?;
        self.check_arrays(UNNAMED)
    }

    fn check_arrays(&self, name: &str) -> Result<()> {
        words(name, "words", &self.words, self.out_features, Self::row_words(self.in_features, self.dtype))
    }
}

impl Format {
    /// Ok where a matrix `name` of `[matrices, out_features, in_features]` can be of this format.
    ///
    /// # Errors
    /// As [`Matrix::check_shape`].
    pub(crate) fn check_shape(&self, name: &str, shape: [usize; 3]) -> Result<()> {
        for (what, found) in ["matrices", "output features", "input features"].into_iter().zip(shape) {
            count(name, what, found, 1)?;
        }
        self.grouped().map_or(Ok(()), |grouped| count(name, "input features of a group", grouped.group, 1))?;
        self.check_runs()
    }
}

impl<G: Groups> PackedMatrix<G> {
    /// Ok where the matrix has `least` rows and can be read, whether or not kernels multiply by its format.
    ///
    /// # Errors
    /// As [`DenseMatrix::check_readable`].
    pub(super) fn check_readable(&self, least: usize) -> Result<()> {
        count(UNNAMED, "output features", self.out_features, least)?;
        count(UNNAMED, "input features", self.in_features, 1)?;
        let Grouped { bits, group, values, .. } = self.format;
        let is_known = bits == 4 || (bits == 8 && values == Values::Linear);
        let expected = if values == Values::Linear { "4 or 8" } else { "4" };
        Error::check_shape(UNNAMED, "bits of a code", is_known, &bits, &expected)?;
        self.check_arrays(UNNAMED)?;
        let first = self.group_index.offset();
        let touched = first.row / group..(first.row + self.in_features).div_ceil(group);
        let stored = first.group..first.group + self.groups;
        let is_stored = *self.group_index.index() != GroupIndex::Sequential
            || (stored.start <= touched.start && touched.end <= stored.end);
        let (found, expected) = (format!("{stored:?}"), format!("{touched:?}"));
        Error::check_shape(UNNAMED, "groups that are stored", is_stored, &found, &expected)
    }

    fn check_arrays(&self, name: &str) -> Result<()> {
        let (n, format, first) = (self.out_features, &self.format, self.group_index.offset());
        count(name, "input features of a group", format.group, 1)?;
        count(name, "groups", self.groups, 1)?;
        count(name, "first row", first.row, 0)?;
        count(name, "first group", first.group, 0)?;
        words(name, "words of codes", &self.codes, n, PackedMatrix::code_words(self.in_features, format.bits))?;
        words(name, "words of scales", &self.scales, n, format.scale.words(self.groups))?;
        let there = |is_there| if is_there { "some" } else { "none" };
        let (has_zeros, wants_zeros) = (self.zeros.is_some(), format.shift == Shift::Zero);
        Error::check_shape(name, "zero points", has_zeros == wants_zeros, &there(has_zeros), &there(wants_zeros))?;
        if let Some(zeros) = &self.zeros {
            words(name, "words of zero points", zeros, n, PackedMatrix::zero_words(self.groups, format.bits))?;
        }
        let addend_words = match format.shift {
            Shift::Addend(dtype) => dtype.words(self.groups),
            Shift::None | Shift::Zero => 0,
        };
        words(name, "words of addends", &self.addends, n, addend_words)?;
        let wants_table = format.order == Order::PerRow;
        let GroupIndex::PerRow(table) = self.group_index.index() else {
            return Error::check_shape(name, "table of groups", !wants_table, &there(false), &there(true));
        };
        Error::check_shape(name, "table of groups", wants_table, &there(true), &there(false))?;
        words(name, "groups in the table", table, 1, self.in_features)?;
        let stored = first.group..first.group + self.groups;
        let wrong = table.iter().find(|group| !stored.contains(&(**group as usize)));
        let found = wrong.copied().unwrap_or_default();
        Error::check_shape(name, "group in the table", wrong.is_none(), &found, &format_args!("one of {stored:?}"))
    }
}

fn count(name: &str, what: &'static str, found: usize, least: usize) -> Result<()> {
    Error::check_shape(name, what, (least..=MOST).contains(&found), &found, &format_args!("{least} to {MOST}"))
}

fn words(name: &str, what: &'static str, found: &[u32], rows: usize, row: usize) -> Result<()> {
    let expected = rows.saturating_mul(row);
    Error::check_shape(name, what, found.len() == expected, &found.len(), &expected)
}

#[cfg(test)]
mod tests {
    use super::super::dtype::Dtype;
    use super::super::format::Grouped;
    use super::super::matrix::{RowShard, ShardGroups};
    use super::*;

    fn packed() -> PackedMatrix {
        PackedMatrix {
            out_features: 2,
            in_features: 40,
            format: Grouped::symmetric(4, 32, Dtype::F16),
            codes: vec![0; 16],
            groups: 2,
            scales: vec![0; 2],
            zeros: None,
            addends: Vec::new(),
            group_index: GroupIndex::Sequential,
        }
    }

    #[test]
    fn what_is_no_matrix_is_refused() {
        let wrong = |change: fn(&mut PackedMatrix)| {
            let mut m = packed();
            change(&mut m);
            Matrix::Packed(m).check_shape("w").err().map(|error| (error.code(), error.to_string()))
        };
        assert_eq!(wrong(|_| ()), None);
        let shape = |text: &str| Some(("E-SHAPE", text.to_owned()));
        assert_eq!(wrong(|m| m.out_features = 0), shape("w: output features: found 0, expected 1 to 16777216"));
        assert_eq!(
            wrong(|m| m.format.group = 0),
            shape("w: input features of a group: found 0, expected 1 to 16777216")
        );
        assert_eq!(wrong(|m| m.codes.truncate(15)), shape("w: words of codes: found 15, expected 16"));
        assert_eq!(wrong(|m| m.groups = 3), shape("w: words of scales: found 2, expected 4"));
        assert_eq!(wrong(|m| m.zeros = Some(vec![0; 2])), shape("w: zero points: found some, expected none"));
        assert_eq!(wrong(|m| m.format.shift = Shift::Zero), shape("w: zero points: found none, expected some"));
        assert_eq!(wrong(|m| m.format.order = Order::PerRow), shape("w: table of groups: found none, expected some"));
        assert!(wrong(|m| m.format.bits = 3).is_some_and(|(code, _)| code == "E-UNSUPPORTED"));
        let table = |m: &mut PackedMatrix, groups: Vec<u32>| {
            m.format.order = Order::PerRow;
            m.group_index = GroupIndex::PerRow(groups);
        };
        let mut m = packed();
        table(&mut m, vec![1; 40]);
        assert!(Matrix::Packed(m.clone()).check_shape("w").is_ok());
        let index = ShardGroups { first_row: 0, first_group: 2, index: m.group_index.clone() };
        let PackedMatrix { out_features, in_features, format, codes, groups, scales, zeros, addends, .. } = m;
        let shard =
            RowShard { out_features, in_features, format, codes, groups, scales, zeros, addends, group_index: index };
        let error = Matrix::RowShard(shard).check_shape("w").err().map(|error| error.to_string());
        assert_eq!(error.as_deref(), Some("w: group in the table: found 1, expected one of 2..4"));
        let dense = DenseMatrix { out_features: 2, in_features: 40, dtype: Dtype::F32, words: vec![0; 80] };
        let error = Matrix::Dense(dense).check_shape("w").err().map(|error| error.to_string());
        assert_eq!(error.as_deref(), Some("w: words: found 80, expected 128"));
    }
}
