//! The data that kernels trust: every scale and norm must be finite, and `g_idx` is an index into GPU memory.

use safetensors::tensor::Dtype;

use super::Checkpoint;
use super::index::Tensor;
use super::load::read_vector;
use super::matrix_info::{MatrixFormat, MatrixInfo, Storage};
use crate::quant::gptq;
use crate::{Faults, Result};

impl Checkpoint {
    /// Reads the scales and `g_idx` of every quantized matrix and all vectors, about a fortieth of an int4 model. To be
    /// called before anything goes to a GPU.
    ///
    /// # Errors
    /// [`crate::Error::Model`] with every tensor that holds NaN or infinity, or names a group that there is not, or
    /// leaves one out; [`crate::Error::Io`] or [`crate::Error::Model`] if a file cannot be read any more.
    pub fn verify_contents(&self) -> Result<()> {
        let mut faults = Faults::default();
        let mut vectors: Vec<usize> = self.resolved.vectors.values().map(|&(id, _)| id).collect();
        vectors.sort_unstable();
        for id in vectors {
            let values = read_vector(&self.index, id)?;
            if let Some(element) = values.iter().position(|value| !value.is_finite()) {
                faults.push(value_fault(&self.index.tensors[id].name, element, values[element]));
            }
        }
        let mut matrices: Vec<(&String, &MatrixInfo)> = self.resolved.matrices.iter().collect();
        matrices.sort_unstable_by_key(|(name, _)| *name);
        for info in matrices.into_iter().map(|(_, info)| info).chain(&self.resolved.experts) {
            self.verify_matrix(info, &mut faults)?;
        }
        faults.into_result(())
    }

    fn verify_matrix(&self, info: &MatrixInfo, faults: &mut Faults) -> Result<()> {
        let MatrixFormat::Packed { groups, scale_dtype, .. } = info.format else { return Ok(()) };
        let (scales, g_idx, slice) = match info.storage {
            Storage::Dense { .. } => unreachable!("a packed matrix has packed storage"),
            Storage::Packed { scales, g_idx, .. } => (scales, g_idx, None),
            Storage::Compressed { scales, g_idx, shape, slice, .. } => {
                if let Some(id) = shape.filter(|_| slice.is_first()) {
                    let expected = [slice.n_matrices, slice.n_rows, info.in_features];
                    faults_of_shape(&self.index.tensors[id], &self.index.read_words(id)?, expected, faults);
                }
                (scales, g_idx, Some(slice))
            }
        };
        let first = slice.map_or(0, |slice| (slice.matrix * slice.n_rows + slice.first_row) * groups);
        let (count, size) = (groups * info.out_features, scale_dtype.size_bytes());
        let words = self.index.read_words_at(scales, (first * size) as u64, count * size)?;
        if let Some((element, value)) = gptq::find_bad_scale(&words, scale_dtype, count) {
            faults.push(value_fault(&self.index.tensors[scales].name, first + element, value));
        }
        if let Some(id) = g_idx {
            let (matrix, size) = (slice.map_or(0, |slice| slice.matrix), 4 * info.in_features);
            let table = self.index.read_words_at(id, (matrix * size) as u64, size)?;
            if let Some(fault) = group_fault(&self.index.tensors[id].name, &table, info, groups) {
                faults.push(fault);
            }
        }
        Ok(())
    }

    /// Fails if a file was written to since the checkpoint was opened: to be called when everything is loaded.
    ///
    /// # Errors
    /// [`crate::Error::Model`] naming the file.
    pub fn check_unchanged(&self) -> Result<()> {
        self.index.check_unchanged()
    }
}

fn value_fault(name: &str, element: usize, value: f32) -> String {
    format!("tensor {name:?}: element {element} is {value}, expected a finite number")
}

/// `weight_shape` must say `[matrices, out_features, in_features]`, or the last two of these.
fn faults_of_shape(tensor: &Tensor, words: &[u32], expected: [usize; 3], faults: &mut Faults) {
    let found: Vec<i64> = match tensor.dtype {
        Dtype::I32 => words.iter().map(|&word| i64::from(word as i32)).collect(),
        _ => words.chunks_exact(2).map(|pair| (u64::from(pair[1]) << 32 | u64::from(pair[0])) as i64).collect(),
    };
    let expected = &expected[expected.len() - found.len()..];
    if found.iter().zip(expected).any(|(&found, &expected)| found != expected as i64) {
        faults.push(format!("tensor {:?}: holds {found:?}, expected {expected:?}", tensor.name));
    }
}

/// Whether all of a `weight_g_idx` is -1, as compressed-tensors initializes it and then takes it for none
/// (`quantization/lifecycle/forward.py`).
pub(super) fn is_unused(table: &[u32]) -> bool {
    table.iter().all(|&group| group == u32::MAX)
}

/// What is wrong with the `g_idx` of `info`, if anything.
pub(super) fn group_fault(name: &str, table: &[u32], info: &MatrixInfo, groups: usize) -> Option<String> {
    if matches!(info.storage, Storage::Compressed { .. }) && is_unused(table) {
        return None;
    }
    let last = groups - 1;
    if let Some((element, found)) = gptq::find_bad_group(table, groups) {
        return Some(format!("tensor {name:?}: element {element} is {found}, expected a group from 0 to {last}"));
    }
    // Scales that nothing uses: the table is of another matrix, or damaged. Shards are joined by what their rows name.
    let group = gptq::find_empty_group(table, groups)?;
    Some(format!("tensor {name:?}: no element is {group}, expected every group from 0 to {last}"))
}
