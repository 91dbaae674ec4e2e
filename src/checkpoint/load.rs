//! Reading tensors of an opened checkpoint, one at a time.

use std::ops::Range;

use super::claimed::Packing;
use super::formats::matrix_info::{MatrixFormat, MatrixInfo, Projection, Slice, Storage};
use super::{Checkpoint, Content, verify};
use crate::error::Usage;
use crate::gemma4::tensors::Role;
use crate::quant::gptq::{self, Layout, Raw, ZeroPoints};
use crate::quant::{DenseMatrix, Matrix, awq, compressed_tensors};
use crate::{Error, Result};

impl Checkpoint {
    /// A norm, scale or scalar as f32: `norm.weight`, `layers.3.layer_scalar`, `layers.3.router.scale`.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Model`] if the file cannot be read any more;
    /// [`Error::Usage`] if the configuration asks for no such vector.
    pub fn vector(&self, name: &str) -> Result<Vec<f32>> {
        let &(id, _) = self.resolved.vectors.get(name).ok_or_else(|| Error::no_tensor("vector", name))?;
        self.index.read_vector(id)
    }

    /// Values of the vector `name`, one that the configuration asks for; nothing is read.
    pub(crate) fn vector_len(&self, name: &str) -> usize {
        let tensor = &self.index.tensors[self.resolved.vectors[name].0];
        let dtype = tensor.float().expect("open() checked the dtype");
        tensor.size_bytes as usize / dtype.size_bytes()
    }

    /// The matrix `name`; see [`Self::matrix_info`]. A router comes dense in f32, however the file stores it.
    ///
    /// # Errors
    /// [`Error::Model`] if `g_idx` names a group that there is not or leaves one out, or zero points contradict what the
    /// configuration claims of them; [`Error::Io`] or [`Error::Model`]
    /// if the file cannot be read any more; [`Error::Usage`] like [`Self::matrix_info`].
    pub fn load(&self, name: &str) -> Result<Matrix> {
        let info = self.matrix_info(name)?;
        self.read_matrix(info, 0..info.out_features)
    }

    /// Some rows of the matrix `name`. Little else is read.
    ///
    /// # Errors
    /// Like [`Self::load`]; [`Error::Usage`] also if `rows` goes beyond the matrix.
    pub fn load_rows(&self, name: &str, rows: Range<usize>) -> Result<Matrix> {
        let info = self.matrix_info(name)?;
        if rows.start > rows.end || rows.end > info.out_features {
            let name = name.to_owned();
            return Err(Usage::Range { name, what: "rows", asked: rows, found: info.out_features }.into());
        }
        self.read_matrix(info, rows)
    }

    /// One matrix of an expert, however the file names and nests it.
    ///
    /// # Errors
    /// Like [`Self::load`]; [`Error::Usage`] like [`Self::expert_info`].
    pub fn expert(&self, layer: usize, expert: usize, projection: Projection) -> Result<Matrix> {
        let info = self.expert_info(layer, expert, projection)?;
        self.read_matrix(info, 0..info.out_features)
    }

    /// As [`Self::expert`], by the number of a projection in the table of tensors, of an expert that the configuration asks for.
    pub(crate) fn load_expert(&self, layer: usize, expert: usize, projection: usize) -> Result<Matrix> {
        let info = self.expert_matrix(layer, expert, projection);
        self.read_matrix(info, 0..info.out_features)
    }

    /// The output features `rows` of the matrix of `info`, whose `content` is known: little else is read. Zero points come
    /// where the whole matrix has them.
    ///
    /// # Errors
    /// Like [`Self::load`].
    pub(crate) fn load_part(&self, info: &MatrixInfo, content: Content, rows: Range<usize>) -> Result<Matrix> {
        assert!(rows.start <= rows.end && rows.end <= info.out_features, "rows {rows:?} of {}", info.out_features);
        let matrix = match info.format {
            MatrixFormat::Dense(_) => self.read_dense(info, rows)?,
            MatrixFormat::Packed { .. } => self.read_packed(info, content.asymmetric, rows)?,
        };
        match info.role {
            Role::Router => Ok(Matrix::Dense(matrix.to_dense())),
            _ => Ok(matrix),
        }
    }

    fn read_matrix(&self, info: &MatrixInfo, rows: Range<usize>) -> Result<Matrix> {
        let content = Content { asymmetric: self.is_asymmetric(info)?, reordered: false };
        self.load_part(info, content, rows)
    }

    fn read_dense(&self, info: &MatrixInfo, rows: Range<usize>) -> Result<Matrix> {
        let (MatrixFormat::Dense(dtype), Storage::Dense { tensor, first_byte }) = (info.format, info.storage) else {
            unreachable!("a dense matrix has dense storage");
        };
        let (n, k) = (rows.len(), info.in_features);
        let row_bytes = k * dtype.size_bytes();
        let first = first_byte + (rows.start * row_bytes) as u64;
        if row_bytes == 4 * DenseMatrix::row_words(k, dtype) {
            let words = self.index.read_words_at(tensor, first, n * row_bytes)?;
            return Ok(Matrix::Dense(DenseMatrix { out_features: n, in_features: k, dtype, words }));
        }
        let bytes = self.index.read_bytes(tensor, first, n * row_bytes)?;
        Ok(Matrix::Dense(DenseMatrix::from_bytes(n, k, dtype, &bytes)))
    }

    fn read_packed(&self, info: &MatrixInfo, asymmetric: bool, rows: Range<usize>) -> Result<Matrix> {
        let MatrixFormat::Packed { groups, scale_dtype, .. } = info.format else {
            unreachable!("a packed matrix has a packed format");
        };
        let layout = info.layout();
        match info.storage {
            Storage::Dense { .. } => unreachable!("a packed matrix has packed storage"),
            Storage::Packed { qweight, qzeros, scales, g_idx, packing, .. } => {
                let g_idx = g_idx.map(|id| self.read_groups(id, 0, info, groups)).transpose()?;
                // The columns of these rows, whole words of zero points: a matrix of its own.
                let per_word = layout.codes_per_word();
                let start = rows.start.min(info.out_features - 1) / per_word * per_word;
                let block = start..rows.end.max(start + 1).next_multiple_of(per_word);
                let words = block.start / per_word..block.end / per_word;
                let lines = layout.in_features / per_word;
                let zeros = self.index.read_columns(qzeros, groups, words.clone(), 4)?;
                let (codes, zeros) = match packing {
                    Packing::Awq => {
                        let codes = self.index.read_columns(qweight, layout.in_features, words, 4)?;
                        (awq::repack_codes(&codes, block.len()), awq::repack_zeros(&zeros))
                    }
                    _ => (self.index.read_columns(qweight, lines, block.clone(), 4)?, zeros),
                };
                let scales = self.index.read_columns(scales, groups, block.clone(), scale_dtype.size_bytes())?;
                let zero_points = match packing {
                    Packing::Gptq(said) => self.stored_zeros(said)?,
                    _ => ZeroPoints::AsStored,
                };
                let layout = Layout { zero_points, out_features: block.len(), ..layout };
                let raw = Raw { qweight: &codes, qzeros: &zeros, scales: &scales, g_idx: g_idx.as_deref() };
                let rows = rows.start - block.start..rows.end - block.start;
                Ok(Matrix::Packed(gptq::pack_part(&layout, &raw, asymmetric, rows)))
            }
            Storage::Compressed { packed, scales, zero_points, g_idx, slice, .. } => {
                let layout = Layout { out_features: slice.n_rows, ..layout };
                let own_rows = slice.first_row + rows.start..slice.first_row + rows.end;
                let first = (slice.matrix * slice.n_rows + own_rows.start) as u64;
                let row_bytes = 4 * info.in_features.div_ceil(layout.codes_per_word());
                let packed = self.index.read_words_at(packed, first * row_bytes as u64, rows.len() * row_bytes)?;
                let row_bytes = groups * scale_dtype.size_bytes();
                let scales = self.index.read_words_at(scales, first * row_bytes as u64, rows.len() * row_bytes)?;
                let zero_points = zero_points.filter(|_| asymmetric);
                let zero_points = zero_points.map(|id| self.read_zero_points(id, &layout, slice)).transpose()?;
                let g_idx = g_idx.map(|id| self.read_groups(id, slice.matrix, info, groups)).transpose()?;
                // compressed-tensors fills a table that it does not use with -1.
                let g_idx = g_idx.filter(|table| !verify::is_unused(table));
                let (zero_points, g_idx) = (zero_points.as_deref(), g_idx.as_deref());
                let raw = compressed_tensors::Raw { packed: &packed, scales: &scales, zero_points, g_idx };
                Ok(Matrix::Packed(compressed_tensors::pack(&layout, &raw, own_rows)))
            }
        }
    }

    /// All zero points of one matrix of a stack.
    pub(super) fn read_zero_points(&self, id: usize, layout: &Layout, slice: Slice) -> Result<Vec<u32>> {
        let bytes = 4 * slice.n_rows.div_ceil(layout.codes_per_word()) * layout.groups;
        self.index.read_words_at(id, (slice.matrix * bytes) as u64, bytes)
    }

    /// The `g_idx` of `matrix` in a stack, with each group checked: it is an index into GPU memory.
    fn read_groups(&self, id: usize, matrix: usize, info: &MatrixInfo, groups: usize) -> Result<Vec<u32>> {
        let size = 4 * info.in_features;
        let table = self.index.read_words_at(id, (matrix * size) as u64, size)?;
        let fault = verify::group_fault(&self.index.tensors[id].name, &table, info, groups);
        let Some(fault) = fault else { return Ok(table) };
        self.check_unchanged()?;
        Err(Error::model(fault))
    }
}
