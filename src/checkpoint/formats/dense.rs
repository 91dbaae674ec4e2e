//! Dense matrices: one tensor of plain numbers, or a part of one.

use std::ops::Range;

use super::matrix_info::MatrixInfo;
use super::numbers::{DenseNumbers, Numbers};
use crate::Result;
use crate::checkpoint::Checkpoint;
use crate::checkpoint::resolve::Resolver;
use crate::gemma4::tensors::Role;
use crate::quant::{DenseMatrix, Dtype, Format, Matrix};

impl Resolver<'_> {
    /// A dense matrix.
    pub(crate) fn dense(&mut self, tensor: usize, role: Role, shape: [usize; 2]) -> Option<MatrixInfo> {
        let dtype = self.check_float(tensor);
        let fits = self.check_shape(tensor, &shape);
        fits?;
        let size_bytes = self.tensor(tensor).size_bytes;
        Some(MatrixInfo {
            out_features: shape[0],
            in_features: shape[1],
            format: Format::Dense(dtype?),
            role,
            size_bytes,
            numbers: Numbers::Dense(DenseNumbers { tensor, first_byte: 0 }),
        })
    }
}

impl Checkpoint {
    /// The output features `rows` of a dense matrix.
    pub(crate) fn read_dense(
        &self,
        info: &MatrixInfo,
        dtype: Dtype,
        numbers: DenseNumbers,
        rows: Range<usize>,
    ) -> Result<Matrix> {
        let (n, k) = (rows.len(), info.in_features);
        let row_bytes = k * dtype.size_bytes();
        let first = numbers.first_byte + (rows.start * row_bytes) as u64;
        if row_bytes == 4 * DenseMatrix::row_words(k, dtype) {
            let words = self.index.read_words_at(numbers.tensor, first, n * row_bytes)?;
            return Ok(Matrix::Dense(DenseMatrix { out_features: n, in_features: k, dtype, words }));
        }
        let bytes = self.index.read_bytes(numbers.tensor, first, n * row_bytes)?;
        Ok(Matrix::Dense(DenseMatrix::from_bytes(n, k, dtype, &bytes)?))
    }
}
