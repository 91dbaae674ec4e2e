//! Uploading much: staging buffers that stay mapped and are used again and again.
//!
//! A write of the queue's allocates staging memory each time, which costs more than the copy. An [`Uploader`] owns two
//! buffers: one is filled while the device copies out of the other. Each thread has its own, so that none waits for
//! another; nothing depends on whose copies the device does first, as long as no two write to the same place.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, channel};

use super::blocking::receive;
use super::testing::fault_injector::STAGING;
use super::{Gpu, Place, Submission};
use crate::{Error, Result};

/// Bytes of one staging buffer.
const STAGING_BYTES: u64 = 4 << 20;
/// Staging buffers of an uploader.
const BUFFERS: usize = 2;
/// Pieces begin at multiples of it: what a mapped range must.
const ALIGNMENT: u64 = 16;

/// Bytes of staging memory that an [`Uploader`] takes at most.
pub(crate) const UPLOADER_BYTES: u64 = BUFFERS as u64 * STAGING_BYTES;

/// Where words go: straight to the device, or through an [`Uploader`].
pub trait Upload {
    /// Writes `words` at `offset_bytes` of `buffer`.
    ///
    /// # Errors
    /// As [`Gpu::check`].
    fn upload(&mut self, buffer: &wgpu::Buffer, offset_bytes: u64, words: &[u32]) -> Result<()>;
}

impl Upload for &Gpu {
    fn upload(&mut self, buffer: &wgpu::Buffer, offset_bytes: u64, words: &[u32]) -> Result<()> {
        self.write(buffer, offset_bytes, words)
    }
}

/// Collects what a thread uploads and hands it to the device a staging buffer at a time, the last when it is dropped.
#[derive(Debug)]
pub struct Uploader<'a> {
    gpu: &'a Gpu,
    filling: Option<Filling>,
    /// What the device copies out of, the oldest first.
    copying: VecDeque<Staging>,
}

/// A mapped staging buffer with its copies.
#[derive(Debug)]
struct Filling {
    buffer: wgpu::Buffer,
    used: u64,
    encoder: wgpu::CommandEncoder,
}

/// A staging buffer that will be mapped: after the submission that reads it, if there is one.
#[derive(Debug)]
struct Staging {
    buffer: wgpu::Buffer,
    submission: Option<Submission>,
    mapped: Receiver<std::result::Result<(), wgpu::BufferAsyncError>>,
}

impl Gpu {
    /// An uploader for one thread. Its memory is taken when it is first used.
    pub(crate) fn uploader(&self) -> Uploader<'_> {
        Uploader { gpu: self, filling: None, copying: VecDeque::new() }
    }
}

impl Upload for Uploader<'_> {
    fn upload(&mut self, buffer: &wgpu::Buffer, offset_bytes: u64, words: &[u32]) -> Result<()> {
        let (mut offset, mut bytes): (u64, &[u8]) = (offset_bytes, bytemuck::cast_slice(words));
        while !bytes.is_empty() {
            let mut filling = match self.filling.take() {
                Some(filling) => filling,
                None => self.next()?,
            };
            let (piece, rest) = bytes.split_at(bytes.len().min((STAGING_BYTES - filling.used) as usize));
            filling.add(piece, Place { buffer, offset }).map_err(|e| failed(self.gpu, &e))?;
            self.filling = Some(filling);
            if self.filling.as_ref().is_some_and(|filling| filling.used == STAGING_BYTES) {
                self.flush();
            }
            offset += piece.len() as u64;
            bytes = rest;
        }
        self.gpu.check()
    }
}

impl Uploader<'_> {
    /// A mapped staging buffer: a new one, or the oldest once the device has copied out of it.
    fn next(&mut self) -> Result<Filling> {
        let staging = match self.copying.len() {
            BUFFERS => self.copying.pop_front().expect("there are as many"),
            _ => {
                let usage = wgpu::BufferUsages::MAP_WRITE | wgpu::BufferUsages::COPY_SRC;
                Staging::new(self.gpu.buffer(STAGING, STAGING_BYTES, usage)?, None)
            }
        };
        let descriptor = wgpu::CommandEncoderDescriptor { label: Some("upload") };
        let encoder = self.gpu.device.create_command_encoder(&descriptor);
        Ok(Filling { buffer: staging.wait(self.gpu)?, used: 0, encoder })
    }

    /// Hands what was staged to the device.
    fn flush(&mut self) {
        let Some(Filling { buffer, encoder, .. }) = self.filling.take() else { return };
        buffer.unmap();
        let submission = self.gpu.submit(Some(encoder.finish()), None);
        self.copying.push_back(Staging::new(buffer, Some(submission)));
    }
}

impl Drop for Uploader<'_> {
    fn drop(&mut self) {
        self.flush();
        self.gpu.forget_bytes(self.copying.len() as u64 * STAGING_BYTES);
    }
}

impl Filling {
    /// Stages `piece`, which fits, and records its copy to `to`.
    fn add(&mut self, piece: &[u8], to: Place) -> std::result::Result<(), wgpu::MapRangeError> {
        let (start, len) = (self.used, piece.len() as u64);
        self.buffer.get_mapped_range_mut(start..start + len)?.copy_from_slice(piece);
        self.encoder.copy_buffer_to_buffer(&self.buffer, start, to.buffer, to.offset, len);
        self.used = (start + len).next_multiple_of(ALIGNMENT);
        Ok(())
    }
}

impl Staging {
    /// Asks for the mapping of `buffer`.
    fn new(buffer: wgpu::Buffer, submission: Option<Submission>) -> Self {
        let (sender, mapped) = channel();
        buffer.map_async(wgpu::MapMode::Write, .., move |result| {
            sender.send(result).ok();
        });
        Staging { buffer, submission, mapped }
    }

    /// The buffer, mapped.
    fn wait(self, gpu: &Gpu) -> Result<wgpu::Buffer> {
        match &self.submission {
            Some(submission) => gpu.wait_for(Some(submission))?,
            // What nothing was handed to the device for is mapped by the next look at it.
            None => gpu.poll_once()?,
        }
        // Another thread's poll may have seen the end first: then it tells.
        receive(&self.mapped).map_err(|e| failed(gpu, &e))?.map_err(|e| failed(gpu, &e))?;
        Ok(self.buffer)
    }
}

fn failed(gpu: &Gpu, what: &dyn std::fmt::Display) -> Error {
    gpu.failed(format_args!("uploading to the device failed: {what}"))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::gpu::{Readback, Tensor};

    /// Pieces shorter than a staging buffer, as long, and longer, from several threads: all arrive where they belong.
    #[test]
    fn threads_fill_a_buffer_together() {
        let gpu = Gpu::open(None).unwrap();
        let staging = STAGING_BYTES as usize / 4;
        let lengths = [1, 2, 3, 5, 1000, staging - 1, staging, staging + 1, 3 * staging + 7, 11];
        let starts: Vec<usize> = lengths.iter().scan(0, |end, len| Some(std::mem::replace(end, *end + len))).collect();
        let words: Vec<u32> = (0..lengths.iter().sum::<usize>() as u32).map(|i| i.wrapping_mul(0x9e37_79b9)).collect();
        let tensor = Tensor::compact(&gpu, "words", 1, words.len()).unwrap();
        let before = gpu.allocated_bytes();
        std::thread::scope(|scope| {
            for thread in 0..3 {
                let (gpu, tensor, words, starts) = (&gpu, &tensor, &words, &starts);
                scope.spawn(move || {
                    let mut uploader = gpu.uploader();
                    for (&start, len) in starts.iter().zip(lengths).skip(thread).step_by(3) {
                        uploader.upload(&tensor.buffer, 4 * start as u64, &words[start..start + len]).unwrap();
                    }
                });
            }
        });
        assert_eq!(gpu.allocated_bytes(), before, "staging buffers are given back");
        let readback = Readback::new(&gpu, &tensor, 1).unwrap();
        let mut recorder = crate::gpu::Recorder::new(&gpu);
        recorder.read_into(&tensor, 1, &readback).unwrap();
        recorder.submit();
        assert!(readback.read::<u32>(&gpu, 1).unwrap() == words, "words differ");
    }
}
