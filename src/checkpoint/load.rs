//! Reading tensors of an opened checkpoint, one at a time.

use std::ops::Range;

use super::formats::matrix_info::MatrixInfo;
use super::formats::numbers::Numbers;
use super::{Checkpoint, verify};
use crate::error::Usage;
use crate::gemma4::tensors::{Projection, Role};
use crate::quant::{Format, Grouped, Matrix, Shift};
use crate::{Error, Result};

impl Checkpoint {
    /// A norm, scale or scalar as f32: `norm.weight`, `layers.3.layer_scalar`, `layers.3.router.scale`.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Model`] if the file cannot be read any more;
    /// [`Error::Usage`] if the configuration asks for no such vector.
    pub fn vector(&self, name: &str) -> Result<Vec<f32>> {
        let vector = self.resolved.vectors.get(name).ok_or_else(|| Error::no_tensor("vector", name))?;
        self.index.read_vector(vector.tensor)
    }

    /// Values of the vector `name`, one that the configuration asks for; nothing is read.
    pub(crate) fn vector_len(&self, name: &str) -> usize {
        let tensor = &self.index.tensors[self.resolved.vectors[name].tensor];
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

    /// The output features `rows` of the matrix of `info`, whose `format` is known: little else is read. Zero points come
    /// where the whole matrix has them.
    ///
    /// # Errors
    /// Like [`Self::load`].
    pub(crate) fn load_part(&self, info: &MatrixInfo, format: Format, rows: Range<usize>) -> Result<Matrix> {
        assert!(rows.start <= rows.end && rows.end <= info.out_features, "rows {rows:?} of {}", info.out_features);
        let matrix = match (info.numbers, format) {
            (Numbers::Dense(numbers), Format::Dense(dtype)) => self.read_dense(info, dtype, numbers, rows)?,
            (Numbers::Gptq(numbers), Format::Grouped(grouped)) => self.read_gptq(info, grouped, numbers, rows)?,
            (Numbers::Awq(numbers), Format::Grouped(grouped)) => self.read_awq(info, grouped, numbers, rows)?,
            (Numbers::Compressed(numbers), Format::Grouped(grouped)) => {
                self.read_compressed(info, grouped, numbers, rows)?
            }
            _ => unreachable!("a dense matrix has a dense format, and only such a one"),
        };
        match info.role {
            Role::Router => Ok(Matrix::Dense(matrix.to_dense()?)),
            _ => Ok(matrix),
        }
    }

    fn read_matrix(&self, info: &MatrixInfo, rows: Range<usize>) -> Result<Matrix> {
        let format = match info.format {
            Format::Grouped(claimed) => {
                let shift = if self.is_asymmetric(info)? { Shift::Zero } else { Shift::None };
                Format::Grouped(Grouped { shift, ..claimed })
            }
            dense @ Format::Dense(_) => dense,
        };
        self.load_part(info, format, rows)
    }

    /// The `g_idx` of `matrix` in a stack, with each group checked: it is an index into GPU memory.
    pub(super) fn read_groups(&self, id: usize, matrix: usize, info: &MatrixInfo) -> Result<Vec<u32>> {
        let size = 4 * info.in_features;
        let table = self.index.read_words_at(id, (matrix * size) as u64, size)?;
        let fault = verify::group_fault(&self.index.tensors[id].name, &table, info);
        let Some(fault) = fault else { return Ok(table) };
        self.check_unchanged()?;
        Err(fault.into())
    }
}
