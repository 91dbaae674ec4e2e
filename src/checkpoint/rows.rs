//! Rows of a dense matrix straight from its file, for tables that are too large for the GPU.

use std::sync::Arc;

use super::Checkpoint;
use super::files::blob::Blob;
use super::files::index::FilePlace;
use super::formats::numbers::{DenseNumbers, Numbers};
use crate::error::Usage;
use crate::quant::{DenseMatrix, Dtype, Format};
use crate::{Fault, Result};

/// An open dense matrix `[rows, width]` of which single rows are read: the per-layer embedding of 4.7 to 5.6 GB, where a
/// token needs one row.
#[derive(Debug, Clone)]
pub struct RowReader {
    name: String,
    rows: usize,
    width: usize,
    place: Place,
}

/// Where the rows are.
#[derive(Debug, Clone)]
enum Place {
    File {
        blob: Arc<Blob>,
        first_byte: u64,
        dtype: Dtype,
    },
    /// Nowhere: they are made up.
    Random,
}

impl Checkpoint {
    /// A reader of single rows of the matrix `name`.
    ///
    /// # Errors
    /// [`crate::Error::Model`] where the matrix is quantized; [`crate::Error::Usage`] like [`Self::matrix_info`].
    pub fn row_reader(&self, name: &str) -> Result<RowReader> {
        let info = self.matrix_info(name)?;
        let (Format::Dense(dtype), Numbers::Dense(DenseNumbers { tensor, first_byte })) = (info.format, info.numbers)
        else {
            let found = info.format.describe(info.in_features);
            let fault = Fault::tensor(name).found(format!("{found} is not supported here"));
            return Err(fault.expected("bf16, f16 or f32").unsupported().into());
        };
        let FilePlace { blob, offset } = self.index.place(tensor);
        let place = Place::File { blob, first_byte: offset + first_byte, dtype };
        Ok(RowReader { name: name.to_owned(), rows: info.out_features, width: info.in_features, place })
    }
}

impl RowReader {
    /// A matrix that no file holds: pseudo-random values that deviate from 0 by about `width^-0.5`, the same each time.
    pub(crate) fn random(rows: usize, width: usize) -> Self {
        RowReader { name: "made-up rows".to_owned(), rows, width, place: Place::Random }
    }

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
    /// [`crate::Error::Io`] or [`crate::Error::Model`] if the file cannot be read any more; [`crate::Error::Usage`] if there is no such row.
    pub fn read(&self, row: usize) -> Result<Vec<f32>> {
        if row >= self.rows {
            let (name, asked) = (self.name.clone(), row..row.saturating_add(1));
            return Err(Usage::Range { name, what: "rows", asked, found: self.rows }.into());
        }
        let (blob, first_byte, dtype) = match &self.place {
            Place::File { blob, first_byte, dtype } => (blob, *first_byte, *dtype),
            Place::Random => return Ok(random_row(row, self.width)),
        };
        let row_bytes = self.width * dtype.size_bytes();
        let mut bytes = vec![0; row_bytes];
        blob.read_at(first_byte + (row * row_bytes) as u64, &mut bytes)?;
        let mut values = vec![0.0; self.width];
        DenseMatrix::from_bytes(1, self.width, dtype, &bytes)?.row(0, &mut values)?;
        Ok(values)
    }
}

/// Evenly spread values of a linear congruential generator (Knuth's constants) that starts at the row's number.
fn random_row(row: usize, width: usize) -> Vec<f32> {
    let mut state = row as u64;
    let scale = (12.0 / width as f32).sqrt();
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 40) as f32 / (1 << 24) as f32 - 0.5) * scale
    };
    (0..width).map(|_| next()).collect()
}
