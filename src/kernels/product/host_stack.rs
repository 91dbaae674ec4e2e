//! Stacks of weights that stay in host memory, matrix by matrix in the layout that the device has: of experts, a step needs few.

use std::sync::{Mutex, PoisonError};

use super::weights::Spot;
use crate::Result;
use crate::error::Usage;
use crate::gpu::{Gpu, Upload};
use crate::kernels::Weights;
use crate::quant::{CHUNK, Matrix, PackedMatrix};

/// The matrices of a stack in host memory. Its **window** is a stack of the same shapes on the device, which several such
/// stacks may share: each matrix has one place there, and whoever runs products brings those that they read.
#[derive(Debug)]
pub(crate) struct HostStack {
    window: Weights,
    images: Vec<Image>,
}

/// What one buffer of the window holds.
#[derive(Debug)]
struct Image {
    buffer: wgpu::Buffer,
    first_matrix: usize,
    n_matrices: usize,
    /// Words of one matrix, or of the part of the only one that this buffer has.
    matrix_words: usize,
    /// Filled by the threads that load.
    words: Mutex<Vec<u32>>,
}

impl HostStack {
    /// Room for the matrices of `window`. On a device that only counts, none is taken.
    pub(crate) fn new(gpu: &Gpu, window: &Weights) -> Self {
        let (row_words, groups) = (window.row_words(), window.extent.groups);
        let (scale_words, zero_words) = match window.format.grouped() {
            None => (0, 0),
            Some(format) => (format.scale.words(groups), PackedMatrix::zero_words(groups, format.bits)),
        };
        let table_words = window.in_features.next_multiple_of(CHUNK);
        let mut images = Vec::new();
        for part in &window.parts {
            let mut add = |buffer: Option<&wgpu::Buffer>, matrix_words: usize| {
                images.extend(buffer.map(|buffer| Image {
                    buffer: buffer.clone(),
                    first_matrix: part.first_matrix,
                    n_matrices: part.n_matrices,
                    matrix_words,
                    words: Mutex::new(vec![0; if gpu.rehearses() { 0 } else { part.n_matrices * matrix_words }]),
                }));
            };
            add(Some(&part.data), part.n_rows * row_words);
            add(part.scales.as_ref(), part.n_rows * scale_words);
            add(part.zeros.as_ref(), part.n_rows * zero_words);
            add(part.g_idx.as_ref(), table_words);
        }
        HostStack { window: window.clone(), images }
    }

    /// Bytes of host memory.
    pub(crate) fn size_bytes(&self) -> u64 {
        self.images.iter().map(|image| 4 * (image.n_matrices * image.matrix_words) as u64).sum()
    }

    /// As [`Weights::write`], into host memory.
    ///
    /// # Errors
    /// As [`Weights::write`].
    pub(crate) fn write(&self, spot: Spot, matrix: &Matrix) -> Result<()> {
        self.window.write(&mut &*self, spot, matrix)
    }

    /// Brings matrix number `index`, counted from the first of the stack, to its place in the window.
    ///
    /// # Errors
    /// [`crate::Error::Run`] where the device has failed.
    pub(crate) fn bring(&self, gpu: &Gpu, index: usize) -> Result<()> {
        assert!(index < self.window.n_matrices, "matrix {index} of {}", self.window.n_matrices);
        let holds = |image: &&Image| (image.first_matrix..image.first_matrix + image.n_matrices).contains(&index);
        self.images.iter().filter(holds).try_for_each(|image| {
            let first = (index - image.first_matrix) * image.matrix_words;
            let words = image.words.lock().unwrap_or_else(PoisonError::into_inner);
            gpu.write(&image.buffer, 4 * first as u64, &words[first..first + image.matrix_words])
        })
    }
}

impl Upload for &HostStack {
    fn upload(&mut self, buffer: &wgpu::Buffer, offset_bytes: u64, words: &[u32]) -> Result<()> {
        let image = self.images.iter().find(|image| image.buffer == *buffer);
        let image = image.ok_or_else(|| Usage::Shape {
            name: "a stack in host memory".into(),
            what: "a buffer",
            found: format!("one of {} bytes", buffer.size()),
            expected: "one of its window's".into(),
        })?;
        let first = offset_bytes as usize / 4;
        let mut all = image.words.lock().unwrap_or_else(PoisonError::into_inner);
        all[first..first + words.len()].copy_from_slice(words);
        Ok(())
    }
}
