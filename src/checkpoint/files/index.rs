//! All tensors of a checkpoint by name: one `model.safetensors`, or the files that `model.safetensors.index.json` names, or,
//! without an index, the files that are plainly meant. What an index says beyond what anybody needs is no fault.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use safetensors::tensor::Dtype as FileDtype;

use super::blob::Blob;
use super::safetensors as header;
use super::safetensors::Room;
use super::shards;
use super::source::{Source, Whole};
use super::weight_map::{self, INDEX, SINGLE, WeightMap};
use crate::quant::Dtype;
use crate::{Error, Fault, Faults, Result};

/// A tensor of any of the files.
#[derive(Debug, Clone)]
pub(crate) struct Tensor {
    pub(crate) name: String,
    pub(crate) dtype: FileDtype,
    pub(crate) shape: Vec<usize>,
    pub(crate) size_bytes: u64,
    offset: u64,
    file: usize,
}

impl Tensor {
    /// The precision, if it is one of a weight.
    pub(crate) fn float(&self) -> Option<Dtype> {
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
pub(crate) struct Index {
    files: Vec<Arc<Blob>>,
    pub(crate) tensors: Vec<Tensor>,
    by_name: HashMap<String, usize>,
    /// What is wrong with a tensor, if anybody needs it: number and fault.
    doubts: HashMap<usize, Fault>,
    /// What the index names and no file holds.
    absent: HashMap<String, Absent>,
    /// Files that the index names and that do not exist.
    missing_files: Vec<String>,
    /// The index itself.
    listed_by: Option<Blob>,
}

/// Where a tensor should be that is nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Absent {
    /// In this of the files that do not exist.
    WithFile(usize),
    /// In this of the files that do.
    FromFile(usize),
}

/// Where a tensor's data is.
pub(crate) struct FilePlace {
    pub(crate) blob: Arc<Blob>,
    /// Bytes before it.
    pub(crate) offset: u64,
}

impl Index {
    /// Opens all files and reads all headers.
    pub(crate) fn open(source: &Source) -> Result<Index> {
        let mut index = Index {
            files: Vec::new(),
            tensors: Vec::new(),
            by_name: HashMap::new(),
            doubts: HashMap::new(),
            absent: HashMap::new(),
            missing_files: Vec::new(),
            listed_by: None,
        };
        let (mut faults, mut room) = (Faults::default(), Room::new());
        if let Some(Whole { bytes, blob }) = source.read_whole(INDEX)? {
            super::foreign::check(INDEX, &bytes)?;
            index.listed_by = Some(blob);
            let map = weight_map::parse(&bytes)?;
            drop(bytes);
            index.open_listed(source, map, &mut room, &mut faults)?;
            if index.files.iter().all(|blob| blob.name != SINGLE) && source.open(SINGLE)?.is_some() {
                log::warn!("{}: {SINGLE} is not used, because {INDEX} does not name it", source.describe());
            }
        } else if let Some(blob) = source.open(SINGLE)? {
            index.add(blob, &mut room, &mut faults)?;
        } else {
            for name in shards::find(source)? {
                let Some(blob) = source.open(&name)? else { continue };
                index.add(blob, &mut room, &mut faults)?;
            }
            index.doubts.values().for_each(|doubt| faults.push(doubt.clone()));
        }
        let names = source.names();
        for blob in &index.files {
            let mark = format!("{}.aria2", blob.name);
            if names.contains(&mark) {
                let found = format!("is an unfinished download, {mark:?} is beside it");
                faults.push(Fault::file(&blob.name).found(found));
            }
        }
        faults.into_result(index)
    }

    fn open_listed(&mut self, source: &Source, map: WeightMap, room: &mut Room, faults: &mut Faults) -> Result<()> {
        let mut order: Vec<usize> = (0..map.files.len()).collect();
        order.sort_unstable_by_key(|&file| &map.files[file]);
        // By number in the map: the number of the opened file, or of the missing one; nothing for one that has a fault.
        let mut places: Vec<Option<Absent>> = vec![None; map.files.len()];
        for file in order {
            let name = &map.files[file];
            match source.open(name) {
                Ok(Some(blob)) => {
                    places[file] = self.add(blob, room, faults)?.then(|| Absent::FromFile(self.files.len() - 1));
                }
                Ok(None) => {
                    places[file] = Some(Absent::WithFile(self.missing_files.len()));
                    self.missing_files.push(name.clone());
                }
                Err(Error::Model(more)) => faults.append(more),
                Err(other) => return Err(other),
            }
        }
        self.compare(map, &places);
        Ok(())
    }

    /// Adds the tensors of one file; what is wrong with it goes to `faults`. Whether it could be read.
    fn add(&mut self, blob: Blob, room: &mut Room, faults: &mut Faults) -> Result<bool> {
        let entries = match header::read(&blob, room) {
            Ok(entries) => entries,
            Err(Error::Model(more)) => {
                faults.append(more);
                return Ok(false);
            }
            Err(other) => return Err(other),
        };
        let file = self.files.len();
        self.by_name.reserve(entries.len());
        self.tensors.reserve(entries.len());
        for entry in entries {
            if let Some(&id) = self.by_name.get(&entry.name) {
                let other = &self.files[self.tensors[id].file].name;
                let doubt = Fault::tensor(&entry.name).found(format!("is in both {other:?} and {:?}", blob.name));
                self.doubts.entry(id).or_insert(doubt);
                continue;
            }
            self.by_name.insert(entry.name.clone(), self.tensors.len());
            let (offset, size_bytes) = (entry.offset, entry.size_bytes);
            let tensor = Tensor { name: entry.name, dtype: entry.dtype, shape: entry.shape, size_bytes, offset, file };
            self.tensors.push(tensor);
        }
        self.files.push(Arc::new(blob));
        Ok(true)
    }

    /// Compares what the index says with what the files hold.
    fn compare(&mut self, map: WeightMap, places: &[Option<Absent>]) {
        let mut listed = vec![false; self.tensors.len()];
        for (name, file) in map.tensors {
            let place = places[file];
            if let Some(&id) = self.by_name.get(&name) {
                listed[id] = true;
                if place != Some(Absent::FromFile(self.tensors[id].file)) {
                    let (file, is_missing) = (&map.files[file], matches!(place, Some(Absent::WithFile(_))));
                    let what = if is_missing { "does not exist" } else { "does not hold it" };
                    let doubt = Fault::config(INDEX);
                    let doubt = doubt.found(format!("says that tensor {name:?} is in {file:?}, which {what}"));
                    self.doubts.entry(id).or_insert(doubt);
                }
            } else if let Some(place) = place {
                self.absent.insert(name, place);
            }
        }
        let mut unlisted = self.tensors.iter().zip(&listed).filter(|(_, listed)| !**listed).map(|(tensor, _)| tensor);
        if let Some(first) = unlisted.next() {
            let (count, file) = (1 + unlisted.count(), &self.files[first.file].name);
            log::warn!("{INDEX}: leaves out tensors that its files hold ({count}), first {:?} in {file:?}", first.name);
        }
    }

    /// What is wrong with tensor `id`, for those who need it.
    pub(crate) fn doubt(&self, id: usize) -> Option<&Fault> {
        self.doubts.get(&id)
    }

    /// Where the tensor called `name` should be that is nowhere, if the index names it.
    pub(crate) fn absent(&self, name: &str) -> Option<Absent> {
        self.absent.get(name).copied()
    }

    /// The name of the file where something should be.
    pub(crate) fn file_of(&self, absent: Absent) -> &str {
        match absent {
            Absent::WithFile(number) => &self.missing_files[number],
            Absent::FromFile(number) => &self.files[number].name,
        }
    }

    /// Names of all tensors that are there, or should be.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.iter().map(|tensor| tensor.name.as_str()).chain(self.absent.keys().map(String::as_str))
    }

    /// Says what is amiss with tensors that are not `used`, where nothing is wrong with the others.
    pub(crate) fn note_unneeded(&self, used: &[bool]) {
        let unused = self.doubts.iter().filter(|(id, _)| !used[**id]);
        let mut doubts: Vec<String> = unused.map(|(_, doubt)| doubt.to_string()).collect();
        doubts.sort_unstable();
        if let Some(first) = doubts.first() {
            log::warn!("of tensors that are not needed: {first} ({} such)", doubts.len());
        }
        if let Some(first) = self.absent.keys().min() {
            let (count, file) = (self.absent.len(), self.file_of(self.absent[first]));
            log::warn!(
                "{INDEX}: names tensors that are not there and not needed ({count}), first {first:?} in {file:?}"
            );
        }
    }

    /// Gives all tensors the names that `rename` makes of theirs, where it makes any.
    ///
    /// # Errors
    /// [`Error::Model`] if two become one.
    pub(crate) fn rename(&mut self, rename: impl Fn(&str) -> Option<String>) -> Result<()> {
        let mut faults = Faults::default();
        for id in 0..self.tensors.len() {
            let Some(new) = rename(&self.tensors[id].name) else { continue };
            let old = std::mem::replace(&mut self.tensors[id].name, new.clone());
            self.by_name.remove(&old);
            if self.by_name.insert(new.clone(), id).is_some() {
                let fault = Fault::tensor(&old).found(format!("is there beside {new:?}"));
                faults.push(fault.expected("one of the two"));
            }
        }
        let renamed = std::mem::take(&mut self.absent).into_iter();
        self.absent = renamed.map(|(name, place)| (rename(&name).unwrap_or(name), place)).collect();
        faults.into_result(())
    }

    /// The number of the tensor called `name`.
    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// `count` bytes of tensor `id` from `first` on.
    pub(crate) fn read_bytes(&self, id: usize, first: u64, count: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        self.fill(id, first, &mut bytes)?;
        Ok(bytes)
    }

    /// The file that holds tensor `id`, and where in it the tensor's data begins.
    pub(crate) fn place(&self, id: usize) -> FilePlace {
        let tensor = &self.tensors[id];
        FilePlace { blob: self.files[tensor.file].clone(), offset: tensor.offset }
    }

    /// The whole tensor `id` as little-endian words; an odd 16-bit number at the end fills half of one.
    pub(crate) fn read_words(&self, id: usize) -> Result<Vec<u32>> {
        self.read_words_at(id, 0, self.tensors[id].size_bytes as usize)
    }

    /// `count` bytes of tensor `id` from `first` on, as little-endian words like [`Self::read_words`].
    pub(crate) fn read_words_at(&self, id: usize, first: u64, count: usize) -> Result<Vec<u32>> {
        let mut words = vec![0u32; count.div_ceil(4)];
        self.fill(id, first, &mut bytemuck::cast_slice_mut(&mut words)[..count])?;
        if cfg!(target_endian = "big") {
            words.iter_mut().for_each(|word| *word = word.swap_bytes());
        }
        Ok(words)
    }

    /// The `columns` of tensor `id`, which has `lines` lines of elements of `size` bytes, as words like [`Self::read_words`].
    /// Those of a line must be whole words.
    pub(crate) fn read_columns(&self, id: usize, lines: usize, columns: Range<usize>, size: usize) -> Result<Vec<u32>> {
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

    /// A whole vector as f32.
    pub(crate) fn read_vector(&self, id: usize) -> Result<Vec<f32>> {
        let tensor = &self.tensors[id];
        let dtype = tensor.float().expect("open() checked the dtype");
        let words = self.read_words(id)?;
        let count = tensor.size_bytes as usize / dtype.size_bytes();
        Ok((0..count).map(|element| dtype.read(&words, element)).collect())
    }

    /// Fails if any file was written to or replaced since it was opened.
    pub(crate) fn check_unchanged(&self) -> Result<()> {
        self.listed_by.iter().try_for_each(Blob::check_unchanged)?;
        self.files.iter().try_for_each(|blob| blob.check_unchanged())
    }
}
