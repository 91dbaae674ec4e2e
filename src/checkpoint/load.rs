//! Reading tensors of an opened checkpoint, one at a time.

use std::ops::Range;

use super::config::Packing;
use super::index::Index;
use super::matrix_info::{MatrixFormat, MatrixInfo, Projection, Storage};
use super::roles::Role;
use super::{Checkpoint, verify};
use crate::quant::gptq::{self, Layout, Raw, ZeroPoints};
use crate::quant::{DenseMatrix, Matrix, awq, compressed_tensors};
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
    /// [`Error::Model`] if `g_idx` names a group that there is not or leaves one out; [`Error::Io`] or [`Error::Model`]
    /// if the file cannot be read any more.
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

    /// Whether the `g_idx` of an expert's matrix says other than its group size does. Many files have one that does not.
    ///
    /// # Errors
    /// Like [`Self::load`].
    ///
    /// # Panics
    /// Like [`Self::expert_info`].
    pub fn is_reordered(&self, layer: usize, expert: usize, projection: Projection) -> Result<bool> {
        let info = self.expert_info(layer, expert, projection);
        let MatrixFormat::Packed { group_size, groups, .. } = info.format else { return Ok(false) };
        let (id, matrix) = match info.storage {
            Storage::Packed { g_idx: Some(id), .. } => (id, 0),
            Storage::Compressed { g_idx: Some(id), slice, .. } => (id, slice.matrix),
            _ => return Ok(false),
        };
        let table = self.read_groups(id, matrix, info, groups)?;
        Ok(!verify::is_unused(&table) && !gptq::is_sequential(&table, group_size))
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
        let MatrixFormat::Packed { bits, group_size, groups, scale_dtype, .. } = info.format else {
            unreachable!("a packed matrix has a packed format");
        };
        let layout = Layout {
            bits,
            in_features: info.in_features,
            out_features: info.out_features,
            groups,
            group_size,
            scale_dtype,
            zero_points: ZeroPoints::AsStored,
        };
        match info.storage {
            Storage::Dense { .. } => unreachable!("a packed matrix has packed storage"),
            Storage::Packed { qweight, qzeros, scales, g_idx, packing } => {
                let (mut qweight, mut qzeros) = (self.index.read_words(qweight)?, self.index.read_words(qzeros)?);
                let scales = self.index.read_words(scales)?;
                let g_idx = g_idx.map(|id| self.read_groups(id, 0, info, groups)).transpose()?;
                let zero_points = match packing {
                    Packing::Gptq(zero_points) => zero_points,
                    Packing::Awq => {
                        (qweight, qzeros) =
                            (awq::repack_codes(&qweight, info.out_features), awq::repack_zeros(&qzeros));
                        ZeroPoints::AsStored
                    }
                    Packing::Compressed => unreachable!("the packing of a qweight"),
                };
                let layout = Layout { zero_points, ..layout };
                let raw = Raw { qweight: &qweight, qzeros: &qzeros, scales: &scales, g_idx: g_idx.as_deref() };
                Ok(Matrix::Packed(gptq::pack(&layout, &raw, rows)))
            }
            Storage::Compressed { packed, scales, zero_points, g_idx, slice, .. } => {
                let layout = Layout { out_features: slice.n_rows, ..layout };
                let rows = slice.first_row + rows.start..slice.first_row + rows.end;
                let first = (slice.matrix * slice.n_rows + rows.start) as u64;
                let row_bytes = 4 * info.in_features.div_ceil(layout.codes_per_word());
                let packed = self.index.read_words_at(packed, first * row_bytes as u64, rows.len() * row_bytes)?;
                let row_bytes = groups * scale_dtype.size_bytes();
                let scales = self.index.read_words_at(scales, first * row_bytes as u64, rows.len() * row_bytes)?;
                let zero_bytes = 4 * slice.n_rows.div_ceil(layout.codes_per_word()) * groups;
                let read = |id| self.index.read_words_at(id, (slice.matrix * zero_bytes) as u64, zero_bytes);
                let zero_points = zero_points.map(read).transpose()?;
                let g_idx = g_idx.map(|id| self.read_groups(id, slice.matrix, info, groups)).transpose()?;
                // compressed-tensors fills a table that it does not use with -1.
                let g_idx = g_idx.filter(|table| !verify::is_unused(table));
                let (zero_points, g_idx) = (zero_points.as_deref(), g_idx.as_deref());
                let raw = compressed_tensors::Raw { packed: &packed, scales: &scales, zero_points, g_idx };
                Ok(Matrix::Packed(compressed_tensors::pack(&layout, &raw, rows)))
            }
        }
    }

    /// The `g_idx` of `matrix` in a stack, with each group checked: it is an index into GPU memory.
    fn read_groups(&self, id: usize, matrix: usize, info: &MatrixInfo, groups: usize) -> Result<Vec<u32>> {
        let size = 4 * info.in_features;
        let table = self.index.read_words_at(id, (matrix * size) as u64, size)?;
        let fault = verify::group_fault(&self.index.tensors[id].name, &table, info, groups);
        fault.map_or(Ok(table), |fault| Err(Error::model(fault)))
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
