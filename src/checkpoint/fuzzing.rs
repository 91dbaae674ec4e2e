//! What headers and index say before a configuration is asked: for the fuzz target that compares it with another reader.

use super::Source;
use super::files::index::Index;
use crate::Result;

/// One tensor of the files.
#[derive(Debug)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// The type of its elements, as the file spells it.
    pub dtype: String,
    /// Its sizes.
    pub shape: Vec<usize>,
    /// The file that holds it.
    pub file: String,
    /// Its bytes.
    pub data: Vec<u8>,
}

/// All tensors of all files, read as a model's are.
///
/// # Errors
/// Those of [`super::Checkpoint::open`] that concern headers, index and files.
pub fn tensors(source: &Source) -> Result<Vec<Listed>> {
    let index = Index::open(source)?;
    let listed = index.tensors.iter().enumerate().map(|(id, tensor)| {
        Ok(Listed {
            name: tensor.name.clone(),
            dtype: tensor.dtype.to_string(),
            shape: tensor.shape.clone(),
            file: index.place(id).blob.name.clone(),
            data: index.read_bytes(id, 0, tensor.size_bytes as usize)?,
        })
    });
    listed.collect()
}
