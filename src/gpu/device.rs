//! An open device: the handle that everything on the GPU goes through.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use super::adapter::{self, AdapterReport};
use super::blocking::block_on;
use super::failure::{Failures, Noted};
use super::kind::{Kind, Recognized};
use super::mask::Mask;
use super::pending::{Patience, Waits};
use super::pipeline::Pipelines;
use super::place::Place;
use super::profile::{self, Profile};
use super::speed::Pace;
use super::testing::fault_injector::FaultInjector;
use super::tier::{self, TierFeatures, Tiers};
use crate::error::{Bound, NoRoom, Unfit};
use crate::{Error, Result};

/// Bytes of one write: larger ones allocate a new staging buffer each and reach a third of the speed.
const UPLOAD_BYTES: usize = 8 << 20;
/// Writes are handed to the device after this many bytes, which bounds the staging memory that waits.
const FLUSH_BYTES: u64 = 64 << 20;
/// Different tickets: far more than there are copies to the host under way.
const TICKETS: u32 = 1023;
/// Bytes of the buffer that holds them.
pub(super) const TICKETS_BYTES: u64 = 4 * TICKETS as u64;

/// Bytes of parameters that a kernel has at most: what browsers grant.
pub const IMMEDIATE_BYTES: u32 = 64;

/// An open device with its queue, its pipelines and the first error that it reported.
#[derive(Debug)]
pub struct Gpu {
    pub(super) device: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    pub(super) pipelines: Pipelines,
    pub(super) profile: Profile,
    pub(super) pace: Pace,
    report: AdapterReport,
    mask: Mask,
    /// Default tiers, where they were measured.
    pub(super) measured_tiers: OnceLock<Tiers>,
    failures: Arc<Failures>,
    pub(super) faults: FaultInjector,
    /// The numbers 1 to [`TICKETS`]: one is copied with each result that goes to the host, so that what was never computed
    /// is not taken for a result.
    tickets: OnceLock<wgpu::Buffer>,
    last_ticket: AtomicU32,
    pub(super) waits: Waits,
    pub(super) allocated_bytes: Arc<AtomicU64>,
    unflushed_bytes: AtomicU64,
    /// Bytes that were taken when a buffer found no room, or [`u64::MAX`].
    refused_at: AtomicU64,
    /// Nothing is behind it: bytes are counted and none is taken.
    rehearses: bool,
    /// Whose shapes of workgroups kernels take, and why.
    kind: Recognized,
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
        let TierFeatures { features: tier_features, leave: experimental_features } = tier::features(&report);
        let request = report.adapter().request_device(&wgpu::DeviceDescriptor {
            label: Some("lapidary"),
            required_features: profile::features(report.features)
                | (report.features & (wgpu::Features::PIPELINE_CACHE | wgpu::Features::IMMEDIATES))
                | tier_features,
            experimental_features,
            required_limits: report.limits.clone(),
            memory_hints: wgpu::MemoryHints::MemoryUsage,
            ..Default::default()
        });
        let (device, queue) = block_on(request)?
            .map_err(|e| Unfit::NotOpened { device: report.info.name.clone(), why: e.to_string() })?;
        let gpu = Self::over(device, queue, report, mask, false);
        let tickets = gpu.storage_with("tickets", &(1..=TICKETS).collect::<Vec<_>>())?;
        gpu.tickets.set(tickets).expect("set once");
        Ok(gpu)
    }

    pub(super) fn over(
        device: wgpu::Device,
        queue: wgpu::Queue,
        report: AdapterReport,
        mask: &Mask,
        rehearses: bool,
    ) -> Self {
        let (failures, allocated_bytes) = (Arc::new(Failures::new(&report.info.name)), Arc::new(AtomicU64::new(0)));
        report_to(&device, &failures, &allocated_bytes);
        let kind = Kind::of_adapter(&report, mask);
        Gpu {
            faults: FaultInjector::new(device.clone()),
            device,
            queue,
            pipelines: Pipelines::default(),
            profile: Profile::default(),
            pace: Pace::default(),
            waits: Waits::new(Patience::of(&report)),
            report,
            mask: mask.clone(),
            measured_tiers: OnceLock::new(),
            failures,
            tickets: OnceLock::new(),
            last_ticket: AtomicU32::new(0),
            allocated_bytes,
            unflushed_bytes: AtomicU64::new(0),
            refused_at: AtomicU64::new(u64::MAX),
            rehearses,
            kind,
        }
    }

    /// Whether it only counts: [`Gpu::rehearsal`].
    pub(crate) fn rehearses(&self) -> bool {
        self.rehearses
    }

    /// Bytes that were taken when a buffer found no room: what there is room for, at least. `None` where none was refused.
    pub(crate) fn refused_at(&self) -> Option<u64> {
        Some(self.refused_at.load(Ordering::Relaxed)).filter(|bytes| *bytes != u64::MAX)
    }

    /// What plants faults in this device, for tests.
    pub(crate) fn faults(&self) -> FaultInjector {
        self.faults.clone()
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

    /// The kind of device whose shapes of workgroups kernels take: what the adapter is, or what was asked for.
    pub fn kind(&self) -> Kind {
        self.kind.kind
    }

    /// What [`Gpu::kind`] follows from.
    pub fn kind_reason(&self) -> &str {
        &self.kind.reason
    }

    /// With the shapes of workgroups for devices of `kind`, whatever the adapter is.
    #[must_use]
    pub fn with_kind(self, kind: Kind) -> Self {
        Gpu { kind: Recognized::new(kind, "by request"), ..self }
    }

    /// Of the kind of `other`, for the same reason.
    pub(super) fn like(self, other: &Gpu) -> Self {
        Gpu { kind: other.kind.clone(), ..self }
    }

    /// Whether kernels are those for software adapters, with every index checked.
    pub fn has_cpu_kernels(&self) -> bool {
        self.kind() == Kind::Cpu
    }

    /// True where parameters reach shaders with the commands: a uniform buffer would be read from memory first, and all
    /// else would wait for that. There is room for [`IMMEDIATE_BYTES`].
    pub fn has_immediates(&self) -> bool {
        let has = self.device.features().contains(wgpu::Features::IMMEDIATES);
        has && self.report.limits.max_immediate_size >= IMMEDIATE_BYTES
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
    /// [`Error::DeviceLost`] where the device is lost; else [`Error::Run`] or [`Error::Memory`] with the first message.
    pub fn check(&self) -> Result<()> {
        if !self.failures.any() {
            return Ok(());
        }
        self.settle();
        self.failures.error().map_or(Ok(()), Err)
    }

    /// Gives all memory on the device back. Every later call fails.
    pub(crate) fn give_up(&self) {
        self.device.destroy();
        self.poll_until(None).ok(); // Of a device that is lost nothing else is expected.
    }

    /// Where something has failed: wgpu tells of a loss when the queue is empty, and until then of what follows from it.
    fn settle(&self) {
        if !self.failures.is_lost() {
            self.poll_until(None).ok(); // What has failed is known already, or becomes so.
        }
    }

    /// The error for something that has failed, `what`, for a reason that wgpu may not have told: a loss if there was
    /// one.
    pub(super) fn failed(&self, what: impl std::fmt::Display) -> Error {
        self.failures.note(Noted::Failed(what.to_string()));
        self.settle();
        self.failures.error().expect("one was noted")
    }

    /// As [`Gpu::failed`], but this device goes on where it was not lost.
    pub(super) fn loss_or(&self, other: Error) -> Error {
        self.settle();
        if self.failures.is_lost() { self.failures.error().unwrap_or(other) } else { other }
    }

    /// What a buffer of `size_bytes` takes.
    pub(crate) fn taken_bytes(size_bytes: u64) -> u64 {
        size_bytes.max(1).div_ceil(16).saturating_mul(16)
    }

    /// A zero-filled buffer.
    ///
    /// # Errors
    /// [`Error::Memory`] where it exceeds a limit or the memory that is left.
    pub fn buffer(&self, label: &str, size_bytes: u64, usage: wgpu::BufferUsages) -> Result<wgpu::Buffer> {
        let size = Self::taken_bytes(size_bytes);
        if size > self.max_binding_bytes() {
            let (device, most) = (&self.report.info.name, self.max_binding_bytes());
            return Err(NoRoom::new(Some(device), label, size, most, Bound::Binding).into());
        }
        self.check()?;
        if self.rehearses {
            self.allocated_bytes.fetch_add(size, Ordering::Relaxed);
            // Buffers are told apart by what they are, not by what they hold.
            let descriptor = wgpu::BufferDescriptor { label: None, size: 16, usage, mapped_at_creation: false };
            return Ok(self.device.create_buffer(&descriptor));
        }
        let planted = self.faults.allocating(label);
        let out_of_memory = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let buffer = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(label),
            size,
            usage,
            mapped_at_creation: false,
        });
        if block_on(out_of_memory.pop())?.is_some() || planted {
            self.refused_at.store(self.allocated_bytes(), Ordering::Relaxed);
            let (device, taken) = (&self.report.info.name, self.allocated_bytes());
            return Err(NoRoom::new(Some(device), label, size, taken, Bound::Taken).into());
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
    /// As [`Gpu::check`]; [`Error::Usage`] where that is no place in the buffer: whole words, up to its end.
    pub fn write<T: bytemuck::Pod>(&self, buffer: &wgpu::Buffer, offset_bytes: u64, data: &[T]) -> Result<()> {
        self.check()?;
        if self.rehearses {
            return Ok(());
        }
        let bytes: &[u8] = bytemuck::cast_slice(data);
        let is_inside = offset_bytes.checked_add(bytes.len() as u64).is_some_and(|end| end <= buffer.size());
        let is_whole = offset_bytes.is_multiple_of(4) && bytes.len().is_multiple_of(4);
        let found = format_args!("{} from byte {offset_bytes} on", bytes.len());
        let expected = format_args!("whole words of its {} bytes", buffer.size());
        Error::check_shape("a buffer", "bytes to write", is_inside && is_whole, &found, &expected)?;
        let mut offset = offset_bytes;
        for piece in bytes.chunks(UPLOAD_BYTES) {
            self.queue.write_buffer(buffer, offset, piece);
            offset += piece.len() as u64;
            let waiting = self.unflushed_bytes.fetch_add(piece.len() as u64, Ordering::Relaxed) + piece.len() as u64;
            if waiting >= FLUSH_BYTES {
                self.unflushed_bytes.store(0, Ordering::Relaxed);
                self.submit(None, None);
                self.wait()?;
            }
        }
        Ok(())
    }

    /// A new ticket.
    ///
    /// # Errors
    /// [`Error::Device`] on a device that only counts: nothing comes back from it.
    pub(super) fn ticket(&self) -> Result<Ticket<'_>> {
        let only_counts = || Unfit::OnlyCounts { device: self.adapter().info.name.clone() };
        let tickets = self.tickets.get().ok_or_else(only_counts)?;
        let number = self.last_ticket.fetch_add(1, Ordering::Relaxed) % TICKETS;
        let place = Place { buffer: tickets, offset: u64::from(number) * 4 };
        Ok(Ticket { place, number: number + 1 })
    }
}

/// A number that was never used before, or long ago.
pub(super) struct Ticket<'a> {
    /// Where it stands on the device.
    pub place: Place<'a>,
    pub number: u32,
}

/// Lets `device` report its errors and its loss to `failures`; instead, wgpu would panic.
fn report_to(device: &wgpu::Device, failures: &Arc<Failures>, allocated_bytes: &Arc<AtomicU64>) {
    let (on_error, taken) = (failures.clone(), allocated_bytes.clone());
    device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| match error {
        wgpu::Error::OutOfMemory { source } => {
            let taken = taken.load(Ordering::Relaxed);
            on_error.note(Noted::OutOfMemory { taken, why: source.to_string() });
        }
        other => on_error.note(Noted::Failed(format!("the device reports: {other}"))),
    }));
    let (on_loss, taken) = (failures.clone(), allocated_bytes.clone());
    device.set_device_lost_callback(move |reason, message| {
        let taken = taken.load(Ordering::Relaxed);
        on_loss.note_loss(match reason {
            wgpu::DeviceLostReason::Destroyed => "it was destroyed".into(),
            wgpu::DeviceLostReason::Unknown => format!("{message} (with {taken} bytes taken)"),
        });
    });
}
