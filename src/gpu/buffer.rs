//! Buffers with a shape, and the small uniform blocks that parameterize dispatches.

use std::sync::Mutex;

use super::Gpu;
use crate::quant::CHUNK;
use crate::{Error, Result};

/// f32 (or u32) values `[rows, width]` on the device. Rows stand `stride` values apart: whole chunks, so that products
/// read past `width` without a guard. What lies beyond `width` is zero and stays zero.
#[derive(Debug, Clone)]
pub struct Tensor {
    /// The storage buffer.
    pub buffer: wgpu::Buffer,
    /// Rows that it has room for.
    pub rows: usize,
    /// Values of a row.
    pub width: usize,
    /// Values from one row to the next.
    pub stride: usize,
}

impl Tensor {
    /// A zero-filled tensor whose rows are padded to whole chunks.
    ///
    /// # Errors
    /// [`crate::Error::Memory`] where it does not fit.
    pub fn new(gpu: &Gpu, label: &str, rows: usize, width: usize) -> Result<Self> {
        let stride = width.checked_next_multiple_of(CHUNK).unwrap_or(usize::MAX);
        Self::with_stride(gpu, label, rows, width, stride)
    }

    /// A zero-filled tensor without padding.
    ///
    /// # Errors
    /// [`crate::Error::Memory`] where it does not fit.
    pub fn compact(gpu: &Gpu, label: &str, rows: usize, width: usize) -> Result<Self> {
        Self::with_stride(gpu, label, rows, width, width)
    }

    fn with_stride(gpu: &Gpu, label: &str, rows: usize, width: usize, stride: usize) -> Result<Self> {
        // Too much for any device is refused like much, and rounding it up must not overflow.
        let bytes = (rows as u64).saturating_mul(stride as u64).saturating_mul(4).min(u64::MAX >> 1);
        let buffer = gpu.storage(label, bytes)?;
        Ok(Tensor { buffer, rows, width, stride })
    }

    /// A padded tensor that holds `values`, row by row.
    ///
    /// # Errors
    /// [`crate::Error::Memory`] where it does not fit; [`crate::Error::Usage`] where `values` are no whole rows.
    pub fn from_rows(gpu: &Gpu, label: &str, width: usize, values: &[f32]) -> Result<Self> {
        let is_whole = width > 0 && values.len().is_multiple_of(width);
        Error::check_shape(label, "values", is_whole, &values.len(), &format_args!("whole rows of {width}"))?;
        let tensor = Self::new(gpu, label, values.len() / width, width)?;
        tensor.write_rows(gpu, values)?;
        Ok(tensor)
    }

    /// Writes `values`, `[rows, width]` without padding, into the first rows.
    ///
    /// # Errors
    /// [`crate::Error::Run`] where the device has failed; [`crate::Error::Usage`] where `values` are no whole rows, or more
    /// than there are, or the buffer has no room for them.
    pub fn write_rows(&self, gpu: &Gpu, values: &[f32]) -> Result<()> {
        let (width, most) = (self.width, self.rows.saturating_mul(self.width));
        let is_whole = width > 0 && self.stride >= width && values.len().is_multiple_of(width) && values.len() <= most;
        let expected = format_args!("whole rows of {width}, at most {}", self.rows);
        Error::check_shape("a tensor", "values", is_whole, &values.len(), &expected)?;
        if self.stride == self.width {
            return gpu.write(&self.buffer, 0, values);
        }
        let rows = values.len() / self.width;
        let (is_there, size) = (self.bytes(rows) <= self.buffer.size() || gpu.rehearses(), self.buffer.size());
        Error::check_shape(
            "a tensor",
            "bytes of these rows",
            is_there,
            &self.bytes(rows),
            &format_args!("at most {size}"),
        )?;
        let mut padded = vec![0.0f32; values.len() / self.width * self.stride];
        for (to, from) in padded.chunks_exact_mut(self.stride).zip(values.chunks_exact(self.width)) {
            to[..self.width].copy_from_slice(from);
        }
        gpu.write(&self.buffer, 0, &padded)
    }

    /// Bytes of `rows` rows.
    pub fn bytes(&self, rows: usize) -> u64 {
        (rows as u64).saturating_mul(self.stride as u64).saturating_mul(4)
    }
}

/// A buffer, or a part of one, as a dispatch binds it.
#[derive(Debug, Clone)]
pub struct Binding {
    pub(super) buffer: wgpu::Buffer,
    pub(super) offset: u64,
    pub(super) size: Option<wgpu::BufferSize>,
}

impl Binding {
    /// The whole buffer.
    pub fn buffer(&self) -> &wgpu::Buffer {
        &self.buffer
    }
}

impl From<&wgpu::Buffer> for Binding {
    fn from(buffer: &wgpu::Buffer) -> Self {
        Binding { buffer: buffer.clone(), offset: 0, size: None }
    }
}

impl From<&Tensor> for Binding {
    fn from(tensor: &Tensor) -> Self {
        (&tensor.buffer).into()
    }
}

/// Uniform blocks, many to a buffer: a plan has thousands of dispatches with a few words of parameters each.
#[derive(Debug, Default)]
pub struct Uniforms {
    current: Mutex<Option<Shared>>,
}

/// A buffer of blocks, and the bytes that are taken of it.
#[derive(Debug)]
struct Shared {
    buffer: wgpu::Buffer,
    used: u64,
}

/// Bytes of one shared uniform buffer.
const BLOCK_BYTES: u64 = 64 << 10;

impl Uniforms {
    /// Writes `value` into a block of its own and returns where.
    ///
    /// # Errors
    /// [`crate::Error::Memory`] where no buffer can be made.
    pub fn add<T: bytemuck::Pod>(&self, gpu: &Gpu, value: &T) -> Result<Binding> {
        let bytes = bytemuck::bytes_of(value);
        let step = (bytes.len() as u64).next_multiple_of(gpu.limits().min_uniform_buffer_offset_alignment as u64);
        let mut current = self.current.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if current.as_ref().is_none_or(|shared| shared.used + step > BLOCK_BYTES) {
            let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
            *current = Some(Shared { buffer: gpu.buffer("uniforms", BLOCK_BYTES, usage)?, used: 0 });
        }
        let Shared { buffer, used } = current.as_mut().expect("set above");
        gpu.write(buffer, *used, bytes)?;
        let binding =
            Binding { buffer: buffer.clone(), offset: *used, size: wgpu::BufferSize::new(bytes.len() as u64) };
        *used += step;
        Ok(binding)
    }
}
