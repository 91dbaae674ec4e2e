//! An open device: the handle that everything on the GPU goes through.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use super::adapter::{self, AdapterReport};
use super::mask::{Ability, Mask};
use super::pass::Submission;
use super::pipeline::Pipelines;
use super::tier::{self, Tiers};
use super::timing::{self, Profile};
use crate::{Error, Result};

/// Bytes of one write: larger ones allocate a new staging buffer each and reach a third of the speed.
const UPLOAD_BYTES: usize = 8 << 20;
/// Writes are handed to the device after this many bytes, which bounds the staging memory that waits.
const FLUSH_BYTES: u64 = 64 << 20;

/// An open device with its queue, its pipelines and the first error that it reported.
#[derive(Debug)]
pub struct Gpu {
    pub(super) device: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    pub(super) pipelines: Pipelines,
    pub(super) profile: Profile,
    report: AdapterReport,
    mask: Mask,
    /// Default tiers, where they were measured.
    pub(super) measured_tiers: OnceLock<Tiers>,
    // wgpu may go on after an error, and even report success on a lost device: the first error stays.
    failure: Arc<Mutex<Option<String>>>,
    allocated_bytes: AtomicU64,
    unflushed_bytes: AtomicU64,
}

impl Gpu {
    /// Opens the default adapter, or the first one whose name, driver or API contains `wanted`.
    ///
    /// # Errors
    /// [`Error::Device`] where no adapter fits or the device cannot be opened.
    pub fn open(wanted: Option<&str>) -> Result<Self> {
        Self::open_without(wanted, 0, &Mask::default())
    }

    /// As [`Gpu::open`]; of several equal adapters the one with number `nth`, from 0, and where they are fewer those that
    /// come first once more. What stands in `mask` is not used.
    ///
    /// # Errors
    /// As [`Gpu::open`], also where what is left is too little.
    pub fn open_without(wanted: Option<&str>, nth: usize, mask: &Mask) -> Result<Self> {
        let report = adapter::choose(wanted, nth, mask)?;
        let (tier_features, experimental_features) = tier::features(&report);
        let request = report.adapter().request_device(&wgpu::DeviceDescriptor {
            label: Some("lapidary"),
            required_features: timing::features(report.features)
                | (report.features & (wgpu::Features::PIPELINE_CACHE | wgpu::Features::IMMEDIATES))
                | tier_features,
            experimental_features,
            required_limits: report.limits.clone(),
            memory_hints: wgpu::MemoryHints::MemoryUsage,
            ..Default::default()
        });
        let (device, queue) = pollster::block_on(request)
            .map_err(|e| Error::Device(format!("adapter \"{}\" could not be opened: {e}", report.info.name)))?;
        let failure = Arc::new(Mutex::new(None));
        let (on_error, on_loss) = (failure.clone(), failure.clone());
        device.on_uncaptured_error(Arc::new(move |e: wgpu::Error| note(&on_error, format!("the device reports: {e}"))));
        device.set_device_lost_callback(move |reason, message| {
            if reason != wgpu::DeviceLostReason::Destroyed {
                note(&on_loss, format!("the device was lost: {message}"));
            }
        });
        Ok(Gpu {
            device,
            queue,
            pipelines: Pipelines::default(),
            profile: Profile::default(),
            report,
            mask: mask.clone(),
            measured_tiers: OnceLock::new(),
            failure,
            allocated_bytes: AtomicU64::new(0),
            unflushed_bytes: AtomicU64::new(0),
        })
    }

    /// The adapter that this device runs on, without what its mask leaves unused.
    pub fn adapter(&self) -> &AdapterReport {
        &self.report
    }

    /// The limits that hold on this device.
    pub fn limits(&self) -> &wgpu::Limits {
        &self.report.limits
    }

    /// What this device leaves unused of its adapter.
    pub fn mask(&self) -> &Mask {
        &self.mask
    }

    /// Whether kernels are those for software adapters, with every index checked.
    pub fn has_cpu_kernels(&self) -> bool {
        self.report.is_software() && !self.mask.has(Ability::CpuKernels)
    }

    /// True where parameters reach shaders with the commands: a uniform buffer would be read from memory first, and all
    /// else would wait for that. There is room for 128 bytes.
    pub fn has_immediates(&self) -> bool {
        self.device.features().contains(wgpu::Features::IMMEDIATES) && self.report.limits.max_immediate_size >= 128
    }

    /// The largest storage binding, in bytes.
    pub fn max_binding_bytes(&self) -> u64 {
        self.report.limits.max_storage_buffer_binding_size.min(self.report.limits.max_buffer_size)
    }

    /// Bytes of all buffers made so far and not yet released through [`Gpu::forget_bytes`].
    pub fn allocated_bytes(&self) -> u64 {
        self.allocated_bytes.load(Ordering::Relaxed)
    }

    /// Takes a dropped buffer out of the count of [`Gpu::allocated_bytes`].
    pub fn forget_bytes(&self, bytes: u64) {
        self.allocated_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// The first error that the device reported, if any.
    ///
    /// # Errors
    /// [`Error::Run`] with the device's message.
    pub fn check(&self) -> Result<()> {
        match &*self.failure.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) {
            None => Ok(()),
            Some(message) => Err(Error::Run(message.clone())),
        }
    }

    /// A zero-filled buffer.
    ///
    /// # Errors
    /// [`Error::Memory`] where it exceeds a limit or the memory that is left.
    pub fn buffer(&self, label: &str, size_bytes: u64, usage: wgpu::BufferUsages) -> Result<wgpu::Buffer> {
        let size = size_bytes.max(16).next_multiple_of(16);
        if size > self.max_binding_bytes() {
            return Err(Error::Memory(format!(
                "{label}: {size} bytes, but \"{}\" binds at most {} at once",
                self.report.info.name,
                self.max_binding_bytes()
            )));
        }
        let out_of_memory = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let buffer = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(label),
            size,
            usage,
            mapped_at_creation: false,
        });
        if pollster::block_on(out_of_memory.pop()).is_some() {
            return Err(Error::Memory(format!(
                "{label}: no room for {size} bytes on \"{}\" beside {} bytes already taken",
                self.report.info.name,
                self.allocated_bytes()
            )));
        }
        self.check()?;
        self.allocated_bytes.fetch_add(size, Ordering::Relaxed);
        Ok(buffer)
    }

    /// A storage buffer that can be written, copied from and copied to.
    ///
    /// # Errors
    /// [`Error::Memory`] as for [`Gpu::buffer`].
    pub fn storage(&self, label: &str, size_bytes: u64) -> Result<wgpu::Buffer> {
        use wgpu::BufferUsages as Usage;
        self.buffer(label, size_bytes, Usage::STORAGE | Usage::COPY_DST | Usage::COPY_SRC)
    }

    /// A storage buffer that holds `words`.
    ///
    /// # Errors
    /// [`Error::Memory`] as for [`Gpu::buffer`].
    pub fn storage_with<T: bytemuck::Pod>(&self, label: &str, words: &[T]) -> Result<wgpu::Buffer> {
        let buffer = self.storage(label, std::mem::size_of_val(words) as u64)?;
        self.write(&buffer, 0, words)?;
        Ok(buffer)
    }

    /// Writes `data` at `offset_bytes`, in pieces that the driver's staging memory takes well.
    ///
    /// # Errors
    /// [`Error::Run`] where the device has failed.
    pub fn write<T: bytemuck::Pod>(&self, buffer: &wgpu::Buffer, offset_bytes: u64, data: &[T]) -> Result<()> {
        let bytes: &[u8] = bytemuck::cast_slice(data);
        let mut offset = offset_bytes;
        for piece in bytes.chunks(UPLOAD_BYTES) {
            self.queue.write_buffer(buffer, offset, piece);
            offset += piece.len() as u64;
            let waiting = self.unflushed_bytes.fetch_add(piece.len() as u64, Ordering::Relaxed) + piece.len() as u64;
            if waiting >= FLUSH_BYTES {
                self.unflushed_bytes.store(0, Ordering::Relaxed);
                self.queue.submit([]);
                self.wait()?;
            }
        }
        Ok(())
    }

    /// Waits until the device has done all that was submitted.
    ///
    /// # Errors
    /// [`Error::Run`] where the device has failed.
    pub fn wait(&self) -> Result<()> {
        self.wait_for(None)
    }

    /// Waits for `submission`, or for all that was submitted.
    pub(super) fn wait_for(&self, submission: Option<&Submission>) -> Result<()> {
        let submission_index = submission.map(|submission| submission.0.clone());
        self.device
            .poll(wgpu::PollType::Wait { submission_index, timeout: None })
            .map_err(|e| Error::Run(format!("waiting for the device failed: {e}")))?;
        self.check()
    }
}

fn note(failure: &Mutex<Option<String>>, message: String) {
    failure.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).get_or_insert(message);
}
