//! Reading tensors of an opened checkpoint, one at a time.

use std::ops::Range;

use super::index::Index;
use super::matrix_info::{MatrixFormat, MatrixInfo, Projection, Storage};
use super::roles::Role;
use super::{Checkpoint, verify};
use crate::quant::gptq::{self, Layout, Raw};
use crate::quant::{DenseMatrix, Matrix};
use crate::{Error, Result};

impl Checkpoint {
    /// A norm, scale or scalar as f32: `norm.weight`, `layers.3.layer_scalar`, `layers.3.router.scale`.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Model`] if the file cannot be read any more.
    ///
    /// # Panics
    /// If the configuration asks for no such vector; [`Self::has`] tells.
    pub fn vector(&self, name: &str) -> Result<Vec<f32>> {
        let found = self.resolved.vectors.get(name);
        assert!(found.is_some(), "no vector {name:?} in this model");
        let &(id, _) = found.expect("asserted above");
        read_vector(&self.index, id)
    }

    /// The matrix `name`; see [`Self::matrix_info`]. A router comes dense in f32, however the file stores it.
    ///
    /// # Errors
    /// [`Error::Model`] if `g_idx` names a group that there is not; [`Error::Io`] or [`Error::Model`] if the file cannot
    /// be read any more.
    ///
    /// # Panics
    /// Like [`Self::matrix_info`].
    pub fn load(&self, name: &str) -> Result<Matrix> {
        let info = self.matrix_info(name);
        self.read_matrix(info, 0..info.out_features)
    }

    /// Some rows of the matrix `name`. Of a dense one nothing else is read.
    ///
    /// # Errors
    /// Like [`Self::load`].
    ///
    /// # Panics
    /// Like [`Self::matrix_info`], or if `rows` goes beyond the matrix.
    pub fn load_rows(&self, name: &str, rows: Range<usize>) -> Result<Matrix> {
        self.read_matrix(self.matrix_info(name), rows)
    }

    /// One matrix of an expert, however the file names and nests it.
    ///
    /// # Errors
    /// Like [`Self::load`].
    ///
    /// # Panics
    /// Like [`Self::expert_info`].
    pub fn expert(&self, layer: usize, expert: usize, projection: Projection) -> Result<Matrix> {
        let info = self.expert_info(layer, expert, projection);
        self.read_matrix(info, 0..info.out_features)
    }

    fn read_matrix(&self, info: &MatrixInfo, rows: Range<usize>) -> Result<Matrix> {
        assert!(rows.start <= rows.end && rows.end <= info.out_features, "rows {rows:?} of {}", info.out_features);
        let matrix = match info.format {
            MatrixFormat::Dense(_) => self.read_dense(info, rows)?,
            MatrixFormat::Packed { .. } => self.read_packed(info, rows)?,
        };
        match info.role {
            Role::Router => Ok(Matrix::Dense(matrix.to_dense())),
            _ => Ok(matrix),
        }
    }

    fn read_dense(&self, info: &MatrixInfo, rows: Range<usize>) -> Result<Matrix> {
        let (MatrixFormat::Dense(dtype), Storage::Dense { tensor, first_byte }) = (info.format, info.storage) else {
            unreachable!("a dense matrix has dense storage");
        };
        let row_bytes = info.in_features * dtype.size_bytes();
        let first = first_byte + (rows.start * row_bytes) as u64;
        let bytes = self.index.read_bytes(tensor, first, rows.len() * row_bytes)?;
        Ok(Matrix::Dense(DenseMatrix::from_bytes(rows.len(), info.in_features, dtype, &bytes)))
    }

    fn read_packed(&self, info: &MatrixInfo, rows: Range<usize>) -> Result<Matrix> {
        let (
            MatrixFormat::Packed { bits, group_size, groups, scale_dtype, .. },
            Storage::Packed { qweight, qzeros, scales, g_idx, zero_points },
        ) = (info.format, info.storage)
        else {
            unreachable!("a packed matrix has packed storage");
        };
        let g_idx = g_idx.map(|id| Ok::<_, Error>((id, self.index.read_words(id)?))).transpose()?;
        if let Some((id, table)) = &g_idx
            && let Some(fault) = verify::group_fault(&self.index.tensors[*id].name, table, groups)
        {
            return Err(Error::model(fault));
        }
        let layout = Layout {
            bits,
            in_features: info.in_features,
            out_features: info.out_features,
            groups,
            group_size,
            scale_dtype,
            zero_points,
        };
        let (qweight, qzeros) = (self.index.read_words(qweight)?, self.index.read_words(qzeros)?);
        let scales = self.index.read_words(scales)?;
        let table = g_idx.as_ref().map(|(_, table)| table.as_slice());
        let raw = Raw { qweight: &qweight, qzeros: &qzeros, scales: &scales, g_idx: table };
        Ok(Matrix::Packed(gptq::pack(&layout, &raw, rows)))
    }
}

/// A whole vector as f32.
pub(super) fn read_vector(index: &Index, id: usize) -> Result<Vec<f32>> {
    let tensor = &index.tensors[id];
    let dtype = tensor.float().expect("open() checked the dtype");
    let words = index.read_words(id)?;
    let count = tensor.size_bytes as usize / dtype.size_bytes();
    Ok((0..count).map(|element| dtype.read(&words, element)).collect())
}
