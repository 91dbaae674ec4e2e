//! Rows of a dense matrix straight from its file, for tables that are too large for the GPU.

use std::sync::Arc;

use super::Checkpoint;
use super::matrix_info::{MatrixFormat, Storage};
use super::source::Blob;
use crate::quant::{DenseMatrix, Dtype};
use crate::{Error, Result};

/// An open dense matrix `[rows, width]` of which single rows are read: the per-layer embedding of 4.7 to 5.6 GB, where a
/// token needs one row.
#[derive(Debug, Clone)]
pub struct RowReader {
    blob: Arc<Blob>,
    first_byte: u64,
    rows: usize,
    width: usize,
    dtype: Dtype,
}

impl Checkpoint {
    /// A reader of single rows of the matrix `name`.
    ///
    /// # Errors
    /// [`Error::Model`] where the matrix is quantized.
    ///
    /// # Panics
    /// Like [`Self::matrix_info`].
    pub fn row_reader(&self, name: &str) -> Result<RowReader> {
        let info = self.matrix_info(name);
        let (MatrixFormat::Dense(dtype), Storage::Dense { tensor, first_byte }) = (info.format, info.storage) else {
            let found = info.format.describe(info.in_features);
            return Err(Error::model(format!(
                "tensor \"{name}\": {found} is not supported here, expected bf16, f16 or f32"
            )));
        };
        let (blob, offset) = self.index.place(tensor);
        Ok(RowReader { blob, first_byte: offset + first_byte, rows: info.out_features, width: info.in_features, dtype })
    }
}

impl RowReader {
    /// Values of a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows of the matrix.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Row `row` as f32.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Model`] if the file cannot be read any more.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn read(&self, row: usize) -> Result<Vec<f32>> {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        let row_bytes = self.width * self.dtype.size_bytes();
        let mut bytes = vec![0; row_bytes];
        self.blob.read_at(self.first_byte + (row * row_bytes) as u64, &mut bytes)?;
        let mut values = vec![0.0; self.width];
        DenseMatrix::from_bytes(1, self.width, self.dtype, &bytes).row(0, &mut values);
        Ok(values)
    }
}
