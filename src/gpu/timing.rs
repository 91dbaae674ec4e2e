//! How long each dispatch takes, by timestamps that the device writes.
//!
//! While a profile runs ([`Gpu::start_profile`] to [`Gpu::finish_profile`]), every [`super::Recorder`] times what it
//! records. Inside one pass ([`Timestamps::InPass`]) a timestamp follows each dispatch and a dispatch's time is that
//! since the one before: dispatches may still overlap, and the times add up to the pass's. Where a device can only mark
//! the ends of passes ([`Timestamps::PassEach`]), each dispatch gets a pass of its own, which costs time between them.

use super::Gpu;
use super::blocking::receive;
use super::label::Label;
use super::profile::{Profile, Running, Span, Timed, Timestamps, Timing, features_of};
use crate::Result;
use crate::error::Unfit;

/// Timestamps of one set; the most that wgpu allows, and an even number: a pass marks its two ends in one set.
const SET_SIZE: u32 = wgpu::QUERY_SET_MAX_QUERIES;

/// Times the dispatches of one recording.
#[derive(Debug)]
pub(super) struct Timer {
    kind: Timestamps,
    sets: Vec<wgpu::QuerySet>,
    /// Timestamps used so far, of all sets.
    used: u32,
    spans: Vec<Span>,
}

impl Gpu {
    /// The best way that this device has to time a dispatch.
    ///
    /// # Errors
    /// [`crate::Error::Device`] where it has no timestamps.
    pub fn timestamps(&self) -> Result<Timestamps> {
        let features = self.device.features();
        if features.contains(features_of(Timestamps::InPass)) {
            Ok(Timestamps::InPass)
        } else if features.contains(features_of(Timestamps::PassEach)) {
            Ok(Timestamps::PassEach)
        } else {
            let name = &self.adapter().info.name;
            Err(Unfit::Timestamps { device: name.clone(), kind: None }.into())
        }
    }

    /// From here on every dispatch is timed; a profile that runs already is dropped.
    ///
    /// # Errors
    /// [`crate::Error::Device`] where the device cannot do `kind`.
    pub fn start_profile(&self, kind: Timestamps) -> Result<()> {
        if !self.device.features().contains(features_of(kind)) {
            let name = &self.adapter().info.name;
            return Err(Unfit::Timestamps { device: name.clone(), kind: Some(format!("{kind:?}")) }.into());
        }
        *self.profile.lock() = Some(Running { kind, submissions: Vec::new() });
        Ok(())
    }

    /// Waits for the device and ends the profile: the label of each dispatch since [`Gpu::start_profile`] and its
    /// nanoseconds, in the order of recording. Empty where no profile ran.
    ///
    /// # Errors
    /// [`crate::Error::Run`] where the device has failed.
    pub fn finish_profile(&self) -> Result<Vec<Timing>> {
        let Some(Running { submissions, .. }) = self.profile.lock().take() else { return Ok(Vec::new()) };
        let period = f64::from(self.queue.get_timestamp_period());
        let (sender, receiver) = std::sync::mpsc::channel();
        for buffer in submissions.iter().flat_map(|timed| &timed.buffers) {
            let sender = sender.clone();
            buffer.map_async(wgpu::MapMode::Read, .., move |result| {
                sender.send(result).ok();
            });
        }
        drop(sender);
        self.wait()?;
        let failed = |what: &dyn std::fmt::Display| self.failed(format_args!("reading timestamps failed: {what}"));
        for _ in submissions.iter().flat_map(|timed| &timed.buffers) {
            receive(&receiver).map_err(|e| failed(&e))?.map_err(|e| failed(&e))?;
        }
        let mut all = Vec::new();
        for timed in submissions {
            let mut ticks: Vec<u64> = Vec::new();
            for buffer in &timed.buffers {
                let view = buffer.get_mapped_range(..).map_err(|e| failed(&e))?;
                ticks.extend_from_slice(bytemuck::cast_slice(&view));
                self.forget_bytes(buffer.size());
            }
            all.extend(timed.spans.into_iter().map(|span| {
                // A driver may step back by a tick between two passes.
                let passed = ticks[span.to as usize].saturating_sub(ticks[span.from as usize]);
                Timing { label: span.label, nanoseconds: passed as f64 * period }
            }));
        }
        Ok(all)
    }
}

impl Timer {
    /// A timer for a new recording, if a profile runs.
    pub(super) fn of(profile: &Profile) -> Option<Self> {
        let kind = profile.lock().as_ref().map(|running| running.kind)?;
        Some(Timer { kind, sets: Vec::new(), used: 0, spans: Vec::new() })
    }

    /// The pass in which the next dispatch is recorded.
    pub(super) fn begin(
        &mut self,
        gpu: &Gpu,
        encoder: &mut wgpu::CommandEncoder,
        open: Option<wgpu::ComputePass<'static>>,
    ) -> wgpu::ComputePass<'static> {
        match (self.kind, open) {
            (Timestamps::InPass, Some(pass)) => pass,
            (Timestamps::InPass, None) => {
                let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default()).forget_lifetime();
                self.mark(gpu, &mut pass);
                pass
            }
            (Timestamps::PassEach, open) => {
                drop(open);
                let begin = self.take(gpu);
                let end = self.take(gpu);
                let timestamp_writes = Some(wgpu::ComputePassTimestampWrites {
                    query_set: &self.sets[(begin / SET_SIZE) as usize],
                    beginning_of_pass_write_index: Some(begin % SET_SIZE),
                    end_of_pass_write_index: Some(end % SET_SIZE),
                });
                let descriptor = wgpu::ComputePassDescriptor { label: None, timestamp_writes };
                encoder.begin_compute_pass(&descriptor).forget_lifetime()
            }
        }
    }

    /// Behind the dispatch `label`; returns the pass if it goes on.
    pub(super) fn end(
        &mut self,
        gpu: &Gpu,
        mut pass: wgpu::ComputePass<'static>,
        label: &Label,
    ) -> Option<wgpu::ComputePass<'static>> {
        let pass = match self.kind {
            Timestamps::InPass => {
                self.mark(gpu, &mut pass);
                Some(pass)
            }
            Timestamps::PassEach => None,
        };
        self.spans.push(Span { label: label.clone(), from: self.used - 2, to: self.used - 1 });
        pass
    }

    fn mark(&mut self, gpu: &Gpu, pass: &mut wgpu::ComputePass<'static>) {
        let number = self.take(gpu);
        pass.write_timestamp(&self.sets[(number / SET_SIZE) as usize], number % SET_SIZE);
    }

    /// The number of a timestamp that is not used yet.
    fn take(&mut self, gpu: &Gpu) -> u32 {
        if self.used.is_multiple_of(SET_SIZE) {
            self.sets.push(gpu.device.create_query_set(&wgpu::QuerySetDescriptor {
                label: Some("timestamps"),
                ty: wgpu::QueryType::Timestamp,
                count: SET_SIZE,
            }));
        }
        self.used += 1;
        self.used - 1
    }

    /// Records, behind the last pass, how the timestamps get to where the host reads them. [`Gpu::finish_profile`] does
    /// that once the recording has been submitted.
    ///
    /// # Errors
    /// [`crate::Error::Memory`] where there is no room for them.
    pub(super) fn resolve(self, gpu: &Gpu, encoder: &mut wgpu::CommandEncoder) -> Result<()> {
        use wgpu::BufferUsages as Usage;
        let mut buffers = Vec::new();
        for (i, set) in self.sets.iter().enumerate() {
            let count = SET_SIZE.min(self.used - i as u32 * SET_SIZE);
            let size = u64::from(count * wgpu::QUERY_SIZE);
            let resolved = gpu.buffer("timestamps", size, Usage::QUERY_RESOLVE | Usage::COPY_SRC)?;
            gpu.forget_bytes(resolved.size()); // It lives as long as the submission.
            let readable = gpu.buffer("timestamps", size, Usage::MAP_READ | Usage::COPY_DST)?;
            encoder.resolve_query_set(set, 0..count, &resolved, 0);
            encoder.copy_buffer_to_buffer(&resolved, 0, &readable, 0, readable.size());
            buffers.push(readable);
        }
        if let Some(Running { submissions, .. }) = &mut *gpu.profile.lock() {
            submissions.push(Timed { spans: self.spans, buffers });
        }
        Ok(())
    }
}
