//! The data that kernels trust: every scale and norm must be finite, and `g_idx` is an index into GPU memory.

use super::Checkpoint;
use super::load::read_vector;
use super::matrix_info::{MatrixFormat, MatrixInfo, Storage};
use crate::quant::gptq;
use crate::{Faults, Result};

impl Checkpoint {
    /// Reads the scales and `g_idx` of every quantized matrix and all vectors, about a fortieth of an int4 model. To be
    /// called before anything goes to a GPU.
    ///
    /// # Errors
    /// [`crate::Error::Model`] with every tensor that holds NaN, infinity or a group that there is not;
    /// [`crate::Error::Io`] or [`crate::Error::Model`] if a file cannot be read any more.
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
        let (MatrixFormat::Packed { groups, scale_dtype, .. }, Storage::Packed { scales, g_idx, .. }) =
            (info.format, info.storage)
        else {
            return Ok(());
        };
        let words = self.index.read_words(scales)?;
        let bad = gptq::find_bad_scale(&words, scale_dtype, groups * info.out_features);
        if let Some((element, value)) = bad {
            faults.push(value_fault(&self.index.tensors[scales].name, element, value));
        }
        if let Some(id) = g_idx {
            let table = self.index.read_words(id)?;
            if let Some(fault) = group_fault(&self.index.tensors[id].name, &table, groups) {
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

/// What is wrong with a `g_idx`, if anything.
pub(super) fn group_fault(name: &str, table: &[u32], groups: usize) -> Option<String> {
    let (element, found) = gptq::find_bad_group(table, groups)?;
    let last = groups - 1;
    Some(format!("tensor {name:?}: element {element} is {found}, expected a group from 0 to {last}"))
}
