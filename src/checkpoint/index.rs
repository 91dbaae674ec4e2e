//! All tensors of a checkpoint by name: one `model.safetensors`, or the files that `model.safetensors.index.json` names.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use safetensors::tensor::Dtype as FileDtype;
use serde_json::Value;

use super::json;
use super::source::{Blob, Source};
use super::{header, json::show};
use crate::quant::Dtype;
use crate::{Error, Faults, Result};

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
/// Most files of one checkpoint.
const FILE_LIMIT: usize = 1000;

/// A tensor of any of the files.
#[derive(Debug, Clone)]
pub(super) struct Tensor {
    pub(super) name: String,
    pub(super) dtype: FileDtype,
    pub(super) shape: Vec<usize>,
    pub(super) size_bytes: u64,
    offset: u64,
    file: usize,
}

impl Tensor {
    /// The precision, if it is one of a weight.
    pub(super) fn float(&self) -> Option<Dtype> {
        match self.dtype {
            FileDtype::F16 => Some(Dtype::F16),
            FileDtype::BF16 => Some(Dtype::BF16),
            FileDtype::F32 => Some(Dtype::F32),
            _ => None,
        }
    }
}

/// Opened files and the tensors in them.
#[derive(Debug)]
pub(super) struct Index {
    files: Vec<Arc<Blob>>,
    pub(super) tensors: Vec<Tensor>,
    by_name: HashMap<String, usize>,
}

impl Index {
    /// Opens all files and reads all headers.
    pub(super) fn open(source: &Source) -> Result<Index> {
        let mut index = Index { files: Vec::new(), tensors: Vec::new(), by_name: HashMap::new() };
        let mut faults = Faults::default();
        if let Some(bytes) = source.read(INDEX)? {
            index.open_listed(source, &bytes, &mut faults)?;
            if index.files.iter().all(|blob| blob.name != SINGLE) && source.open(SINGLE)?.is_some() {
                log::warn!("{}: {SINGLE} is not used, because {INDEX} does not name it", source.describe());
            }
        } else if let Some(blob) = source.open(SINGLE)? {
            index.add(blob, &mut faults)?;
        } else {
            return Err(nothing_found(source));
        }
        faults.into_result(index)
    }

    fn open_listed(&mut self, source: &Source, index_json: &[u8], faults: &mut Faults) -> Result<()> {
        let map = json::parse(INDEX, index_json)?;
        let Some(Value::Object(weight_map)) = map.get("weight_map") else {
            return Err(Error::model(format!("{INDEX}: no weight_map, expected an object of tensor and file names")));
        };
        let mut listed: HashMap<&str, Vec<&str>> = HashMap::new();
        for (tensor, file) in weight_map {
            match file.as_str() {
                Some(file) if file.ends_with(".safetensors") => listed.entry(file).or_default().push(tensor),
                _ => faults.push(format!(
                    "{INDEX}: weight_map has {} for {tensor:?}, expected the name of a .safetensors file",
                    show(file)
                )),
            }
        }
        if listed.len() > FILE_LIMIT {
            return Err(Error::model(format!("{INDEX}: names {} files, at most {FILE_LIMIT}", listed.len())));
        }
        let mut files: Vec<(&str, Vec<&str>)> = listed.into_iter().collect();
        files.sort_unstable();
        for (file, tensors) in files {
            match source.open(file) {
                Ok(Some(blob)) => self.add(blob, faults)?,
                Ok(None) => faults.push(format!("{INDEX}: names file {file:?}, which does not exist")),
                Err(Error::Model(more)) => faults.append(more),
                Err(other) => return Err(other),
            }
            self.compare(file, &tensors, faults);
        }
        for tensor in self.tensors.iter().filter(|tensor| !weight_map.contains_key(&tensor.name)) {
            faults.push(format!(
                "{INDEX}: does not name tensor {:?}, which file {:?} holds",
                tensor.name, self.files[tensor.file].name
            ));
        }
        Ok(())
    }

    /// Adds the tensors of one file; what is wrong with it goes to `faults`.
    fn add(&mut self, blob: Blob, faults: &mut Faults) -> Result<()> {
        let entries = match header::read(&blob) {
            Ok(entries) => entries,
            Err(Error::Model(more)) => {
                faults.append(more);
                return Ok(());
            }
            Err(other) => return Err(other),
        };
        let file = self.files.len();
        for entry in entries {
            if let Some(&other) = self.by_name.get(&entry.name) {
                let other = &self.files[self.tensors[other].file].name;
                faults.push(format!("tensor {:?}: is in both {other:?} and {:?}", entry.name, blob.name));
                continue;
            }
            self.by_name.insert(entry.name.clone(), self.tensors.len());
            let (offset, size_bytes) = (entry.offset, entry.size_bytes);
            let tensor = Tensor { name: entry.name, dtype: entry.dtype, shape: entry.shape, size_bytes, offset, file };
            self.tensors.push(tensor);
        }
        self.files.push(Arc::new(blob));
        Ok(())
    }

    /// Checks that the file named `file`, if it could be read, holds `tensors`.
    fn compare(&self, file: &str, tensors: &[&str], faults: &mut Faults) {
        let Some(number) = self.files.iter().position(|blob| blob.name == file) else { return };
        for name in tensors {
            if self.by_name.get(*name).is_none_or(|&id| self.tensors[id].file != number) {
                faults.push(format!("{INDEX}: says that tensor {name:?} is in {file:?}, which does not hold it"));
            }
        }
    }

    /// The number of the tensor called `name`.
    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// `count` bytes of tensor `id` from `first` on.
    pub(super) fn read_bytes(&self, id: usize, first: u64, count: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        self.fill(id, first, &mut bytes)?;
        Ok(bytes)
    }

    /// The file that holds tensor `id`, and where in it the tensor's data begins.
    pub(super) fn place(&self, id: usize) -> (Arc<Blob>, u64) {
        let tensor = &self.tensors[id];
        (self.files[tensor.file].clone(), tensor.offset)
    }

    /// The whole tensor `id` as little-endian words; an odd 16-bit number at the end fills half of one.
    pub(super) fn read_words(&self, id: usize) -> Result<Vec<u32>> {
        self.read_words_at(id, 0, self.tensors[id].size_bytes as usize)
    }

    /// `count` bytes of tensor `id` from `first` on, as little-endian words like [`Self::read_words`].
    pub(super) fn read_words_at(&self, id: usize, first: u64, count: usize) -> Result<Vec<u32>> {
        let mut words = vec![0u32; count.div_ceil(4)];
        self.fill(id, first, &mut bytemuck::cast_slice_mut(&mut words)[..count])?;
        if cfg!(target_endian = "big") {
            words.iter_mut().for_each(|word| *word = word.swap_bytes());
        }
        Ok(words)
    }

    /// The `columns` of tensor `id`, which has `lines` lines of elements of `size` bytes, as words like [`Self::read_words`].
    /// Those of a line must be whole words.
    pub(super) fn read_columns(&self, id: usize, lines: usize, columns: Range<usize>, size: usize) -> Result<Vec<u32>> {
        let line_bytes = self.tensors[id].size_bytes as usize / lines;
        let bytes = columns.len() * size;
        if bytes == line_bytes {
            return self.read_words(id);
        }
        assert!(bytes.is_multiple_of(4), "whole words of tensor {:?}", self.tensors[id].name);
        let mut words = vec![0u32; lines * bytes / 4];
        for (line, part) in words.chunks_exact_mut(bytes / 4).enumerate() {
            let first = (line * line_bytes + columns.start * size) as u64;
            self.fill(id, first, bytemuck::cast_slice_mut(part))?;
        }
        if cfg!(target_endian = "big") {
            words.iter_mut().for_each(|word| *word = word.swap_bytes());
        }
        Ok(words)
    }

    fn fill(&self, id: usize, first: u64, out: &mut [u8]) -> Result<()> {
        let tensor = &self.tensors[id];
        assert!(first + out.len() as u64 <= tensor.size_bytes, "bytes of tensor {:?}", tensor.name);
        self.files[tensor.file].read_at(tensor.offset + first, out)
    }

    /// Fails if any file was written to since it was opened.
    pub(super) fn check_unchanged(&self) -> Result<()> {
        self.files.iter().try_for_each(|blob| blob.check_unchanged())
    }
}

/// Says what there is instead of safetensors, where that helps.
fn nothing_found(source: &Source) -> Error {
    let names = source.names();
    let ending = |ends: &[&str]| names.iter().find(|name| ends.iter().any(|end| name.ends_with(end))).cloned();
    let found = if let Some(name) = ending(&[".bin", ".pt", ".pth", ".pkl"]) {
        format!("; {name:?} is a pickle, which is never opened: convert it to safetensors")
    } else if let Some(name) = ending(&[".gguf"]) {
        format!("; {name:?} is GGUF, which is not supported yet")
    } else if let Some(name) = ending(&[".safetensors"]) {
        format!("; found {name:?}")
    } else {
        String::new()
    };
    Error::model(format!("model {:?}: no {SINGLE} and no {INDEX}{found}", source.describe()))
}
