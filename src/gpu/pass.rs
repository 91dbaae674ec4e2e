//! Running: dispatches recorded into one compute pass a submission, with copies of results in between where asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::blocking::receive;
use super::label::Label;
use super::speed::{Kind, Work};
use super::timing::Timer;
use super::{Binding, Gpu, Pipeline, Place, Submission, Tensor};
use crate::{Error, Result};

/// Bytes ahead of the values of a readback: the ticket of the last copy, and what aligns a mapped range.
const HEADER_BYTES: u64 = 16;

/// How many workgroups a dispatch has; some grow with the rows of the step.
#[derive(Debug, Clone, Copy)]
pub struct Grid {
    /// Workgroups along x.
    pub x: u32,
    /// Rows that one workgroup along y serves.
    pub rows_per_group: u32,
    /// Workgroup rows that one row of the step makes: `top_k` for experts.
    pub rows_per_row: u32,
    /// Workgroup rows beyond those: one for each expert, whose rows begin a tile of their own.
    pub more_rows: u32,
    /// Workgroups along z.
    pub z: u32,
    /// Rows of the steps that run this dispatch, least and most; steps of other sizes have a dispatch of their own.
    pub step_rows: StepRows,
}

/// Rows of steps, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepRows {
    /// The fewest.
    pub least: u32,
    /// The most.
    pub most: u32,
}

impl StepRows {
    /// Those of all steps.
    pub const ALL: StepRows = StepRows { least: 0, most: u32::MAX };
}

impl Grid {
    /// One workgroup along y for each row of the step, `x` along x.
    pub fn per_row(x: usize) -> Self {
        Grid { x: x as u32, rows_per_group: 1, rows_per_row: 1, more_rows: 0, z: 1, step_rows: StepRows::ALL }
    }

    fn groups(self, n_rows: u32) -> [u32; 3] {
        let along = n_rows.saturating_mul(self.rows_per_row).div_ceil(self.rows_per_group);
        [self.x, along.saturating_add(self.more_rows), self.z]
    }

    fn count(self, n_rows: u32) -> u64 {
        self.groups(n_rows).into_iter().fold(1, |count, along| u64::saturating_mul(count, along.into()))
    }
}

/// A kernel bound to its buffers: recording it allocates nothing.
#[derive(Debug, Clone)]
pub struct Dispatch {
    label: Label,
    pipeline: Arc<Pipeline>,
    bind_group: wgpu::BindGroup,
    immediates: Vec<u8>,
    grid: Grid,
    kind: Arc<Kind>,
}

impl Dispatch {
    /// Binds `buffers` (number, buffer) to `pipeline`. `immediates` are its parameters where [`Gpu::has_immediates`], else
    /// empty.
    pub(crate) fn new(
        gpu: &Gpu,
        label: &Label,
        pipeline: Arc<Pipeline>,
        buffers: &[(u32, Binding)],
        immediates: &[u8],
        grid: Grid,
    ) -> Self {
        let entries: Vec<_> = buffers
            .iter()
            .map(|(binding, bound)| wgpu::BindGroupEntry {
                binding: *binding,
                resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                    buffer: &bound.buffer,
                    offset: bound.offset,
                    size: bound.size,
                }),
            })
            .collect();
        let bind_group = gpu.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some(&label.to_string()),
            layout: &pipeline.layout,
            entries: &entries,
        });
        let kind = gpu.pace.kind(&label.name, &pipeline);
        Dispatch { label: label.clone(), pipeline, bind_group, immediates: immediates.to_vec(), grid, kind }
    }

    /// The name under which it was planned.
    pub fn label(&self) -> &Label {
        &self.label
    }

    /// Whether a step of `n_rows` has it at all.
    fn runs(&self, n_rows: usize) -> bool {
        let StepRows { least, most } = self.grid.step_rows;
        (least..=most).contains(&(n_rows as u32))
    }

    /// Seconds that it is likely to take in a step of `n_rows`, where it was ever timed.
    pub(crate) fn seconds(&self, n_rows: usize) -> Option<f64> {
        if self.runs(n_rows) { self.kind.seconds(self.grid.count(n_rows as u32)) } else { Some(0.0) }
    }
}

/// A copy of a tensor's first rows that [`Readback::read`] brings to the host. With each copy goes a ticket: where it is
/// not that of the last copy that was recorded, that copy was never made, and what is there is no result.
#[derive(Debug)]
pub struct Readback {
    buffer: wgpu::Buffer,
    rows: usize,
    width: usize,
    stride: usize,
    /// The ticket of the last copy that was recorded.
    ticket: AtomicU32,
}

/// Records dispatches and copies and submits them.
#[derive(Debug)]
pub struct Recorder<'a> {
    gpu: &'a Gpu,
    /// Made when something is recorded.
    encoder: Option<wgpu::CommandEncoder>,
    pass: Option<wgpu::ComputePass<'static>>,
    /// While a profile runs.
    timer: Option<Timer>,
    /// What is recorded since something was handed over; `None` where it is all to be one submission.
    work: Option<Work>,
}

impl<'a> Recorder<'a> {
    /// An empty recording.
    pub fn new(gpu: &'a Gpu) -> Self {
        Recorder { gpu, encoder: None, pass: None, timer: Timer::of(&gpu.profile), work: None }
    }

    /// An empty recording that is handed to the device in parts, where it is long: no submission is to take more than
    /// 100 ms, by what was measured. While a profile runs it is one.
    pub fn paced(gpu: &'a Gpu) -> Self {
        let recorder = Self::new(gpu);
        let work = recorder.timer.is_none().then(Work::default);
        Recorder { work, ..recorder }
    }

    fn encoder(&mut self) -> &mut wgpu::CommandEncoder {
        encoder(&mut self.encoder, self.gpu)
    }

    /// Records `dispatch` for a step of `n_rows` rows.
    pub fn dispatch(&mut self, dispatch: &Dispatch, n_rows: usize) {
        if !dispatch.runs(n_rows) {
            return;
        }
        let runs_alone = self.make_room(dispatch, n_rows);
        let open = self.pass.take();
        let encoder = encoder(&mut self.encoder, self.gpu);
        let mut pass = match &mut self.timer {
            Some(timer) => timer.begin(self.gpu, encoder, open),
            None => open.unwrap_or_else(|| {
                encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default()).forget_lifetime()
            }),
        };
        let [x, y, z] = dispatch.grid.groups(n_rows as u32);
        pass.set_pipeline(&dispatch.pipeline.pipeline);
        pass.set_bind_group(0, &dispatch.bind_group, &[]);
        if !dispatch.immediates.is_empty() {
            pass.set_immediates(0, &dispatch.immediates);
        }
        pass.dispatch_workgroups(x, y, z);
        self.pass = match &mut self.timer {
            Some(timer) => timer.end(self.gpu, pass, &dispatch.label),
            None => Some(pass),
        };
        if runs_alone {
            self.hand_over();
            self.gpu.pace.finish(self.gpu);
        }
    }

    /// Hands over what was recorded where `dispatch` would make it too long; true where it is to run alone, to be timed.
    fn make_room(&mut self, dispatch: &Dispatch, n_rows: usize) -> bool {
        let Some(work) = &self.work else { return false };
        let (groups, seconds) = (dispatch.grid.count(n_rows as u32), dispatch.seconds(n_rows));
        let is_new = seconds.is_none();
        if is_new || work.is_full(seconds.unwrap_or(0.0)) {
            self.hand_over();
        }
        if is_new {
            self.gpu.pace.finish(self.gpu);
        }
        if let Some(work) = &mut self.work {
            work.add(&dispatch.kind, groups, seconds.unwrap_or(0.0));
        }
        is_new
    }

    /// Submits what was recorded so far.
    fn hand_over(&mut self) {
        self.pass = None;
        if let (Some(encoder), Some(work)) = (self.encoder.take(), &mut self.work) {
            let commands = encoder.finish();
            self.gpu.pace.before_submission(self.gpu);
            let submission = self.gpu.submit(Some(commands), work.expected());
            self.gpu.pace.submitted(self.gpu, &submission, std::mem::take(work));
        }
    }

    /// Copies `size_bytes` from one place to another.
    pub fn copy(&mut self, from: Place, to: Place, size_bytes: u64) {
        self.pass = None; // Ends the pass: copies stand between passes.
        self.encoder().copy_buffer_to_buffer(from.buffer, from.offset, to.buffer, to.offset, size_bytes);
    }

    /// Fills `buffer` with zeros.
    pub fn clear(&mut self, buffer: &wgpu::Buffer) {
        self.pass = None;
        self.encoder().clear_buffer(buffer, 0, None);
    }

    /// Keeps the first `rows` rows of `tensor` as they are at this point of the recording.
    ///
    /// # Errors
    /// [`crate::Error::Memory`] where there is no room for the copy; [`crate::Error::Usage`] for more rows than there are;
    /// [`crate::Error::Device`] on a device that only counts.
    pub fn read_back(&mut self, tensor: &Tensor, rows: usize) -> Result<Readback> {
        let (is_there, most) = (rows <= tensor.rows && tensor.width <= tensor.stride, tensor.rows);
        Error::check_shape("a readback", "rows", is_there, &rows, &format_args!("at most {most}"))?;
        let readback = Readback::new(self.gpu, tensor, rows)?;
        self.read_into(tensor, rows, &readback)?;
        Ok(readback)
    }

    /// Copies the first `rows` rows of `tensor` into a readback made by [`Readback::new`].
    ///
    /// # Errors
    /// [`crate::Error::Usage`] for more rows than that has, or others; [`crate::Error::Device`] on a device that only counts.
    pub fn read_into(&mut self, tensor: &Tensor, rows: usize, readback: &Readback) -> Result<()> {
        let (is_there, most) = (rows <= readback.rows, readback.rows);
        Error::check_shape("a readback", "rows", is_there, &rows, &format_args!("at most {most}"))?;
        let (found, expected) = (tensor.stride, readback.stride);
        Error::check_shape("a readback", "stride of the tensor", found == expected, &found, &expected)?;
        let to = Place { buffer: &readback.buffer, offset: HEADER_BYTES };
        self.copy(Place::start(&tensor.buffer), to, tensor.bytes(rows));
        let ticket = self.gpu.ticket()?;
        self.copy(ticket.place, Place::start(&readback.buffer), 4);
        readback.ticket.store(ticket.number, Ordering::Relaxed);
        Ok(())
    }

    /// Hands everything that was recorded to the device.
    pub fn submit(mut self) -> Submission {
        self.pass = None;
        if let Some(timer) = self.timer.take()
            && let Err(e) = timer.resolve(self.gpu, encoder(&mut self.encoder, self.gpu))
        {
            self.gpu.failed(e); // Whoever waits for the recording hears of it.
        }
        let commands = self.encoder.map(wgpu::CommandEncoder::finish);
        if self.work.is_some() {
            self.gpu.pace.before_submission(self.gpu);
        }
        let submission = self.gpu.submit(commands, self.work.as_ref().and_then(Work::expected));
        if let Some(work) = self.work {
            self.gpu.pace.submitted(self.gpu, &submission, work);
        }
        submission
    }
}

/// The encoder of a recording, made when it is first needed.
fn encoder<'a>(slot: &'a mut Option<wgpu::CommandEncoder>, gpu: &Gpu) -> &'a mut wgpu::CommandEncoder {
    let new = || gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("step") });
    slot.get_or_insert_with(new)
}

impl Readback {
    /// A readback that can be used again and again for up to `rows` rows of `tensor`.
    ///
    /// # Errors
    /// [`crate::Error::Memory`] where there is no room for it; [`crate::Error::Usage`] for a tensor whose rows overlap.
    pub fn new(gpu: &Gpu, tensor: &Tensor, rows: usize) -> Result<Self> {
        use wgpu::BufferUsages as Usage;
        let expected = format_args!("at most its stride, {}", tensor.stride);
        let is_apart = tensor.width <= tensor.stride;
        Error::check_shape("a readback", "width of the tensor", is_apart, &tensor.width, &expected)?;
        let bytes = tensor.bytes(rows).saturating_add(HEADER_BYTES);
        let buffer = gpu.buffer("readback", bytes, Usage::MAP_READ | Usage::COPY_DST)?;
        Ok(Readback { buffer, rows, width: tensor.width, stride: tensor.stride, ticket: AtomicU32::new(0) })
    }

    /// Waits for the device and returns the first `rows` rows without padding.
    ///
    /// # Errors
    /// As [`Gpu::check`]; [`crate::Error::Run`] where the copy was never made.
    pub fn read<T: bytemuck::Pod>(&self, gpu: &Gpu, rows: usize) -> Result<Vec<T>> {
        self.read_when(gpu, None, rows)
    }

    /// As [`Readback::read`], but does not wait for what was handed to the device after `submission`, which filled it.
    ///
    /// # Errors
    /// As [`Gpu::check`]; [`crate::Error::Run`] where the copy was never made.
    pub fn read_after<T: bytemuck::Pod>(&self, gpu: &Gpu, submission: &Submission, rows: usize) -> Result<Vec<T>> {
        self.read_when(gpu, Some(submission), rows)
    }

    fn read_when<T: bytemuck::Pod>(&self, gpu: &Gpu, submission: Option<&Submission>, rows: usize) -> Result<Vec<T>> {
        let (is_there, most) = (rows <= self.rows && self.stride > 0, self.rows);
        Error::check_shape("a readback", "rows", is_there, &rows, &format_args!("at most {most}"))?;
        let value = size_of::<T>();
        Error::check_shape("a readback", "bytes of a value", value == 4, &value, &4)?;
        let failed =
            |what: &dyn std::fmt::Display| gpu.failed(format_args!("reading back from the device failed: {what}"));
        gpu.check()?;
        let (sender, receiver) = std::sync::mpsc::channel();
        let values = HEADER_BYTES as usize..HEADER_BYTES as usize + rows * self.stride * 4;
        let range = ..(values.end as u64).next_multiple_of(8).min(self.buffer.size());
        self.buffer.map_async(wgpu::MapMode::Read, range, move |result| {
            sender.send(result).ok();
        });
        gpu.wait_for(submission)?;
        receive(&receiver).map_err(|e| failed(&e))?.map_err(|e| failed(&e))?;
        let read;
        let (found, expected) = {
            let view = self.buffer.get_mapped_range(range).map_err(|e| failed(&e))?;
            let all: &[T] = bytemuck::cast_slice(&view[values]);
            read = all.chunks_exact(self.stride).flat_map(|row| &row[..self.width]).copied().collect();
            (bytemuck::pod_read_unaligned::<u32>(&view[..4]), self.ticket.load(Ordering::Relaxed))
        };
        self.buffer.unmap();
        if found != expected {
            return Err(failed(&format_args!("ticket {found} came with the result, expected {expected}")));
        }
        Ok(read)
    }

    /// Bytes that it holds on the device.
    pub fn size_bytes(&self) -> u64 {
        self.buffer.size()
    }
}
