//! What a profile holds, and where devices can write timestamps.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::label::Label;

/// Where a device can write timestamps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timestamps {
    /// Anywhere in a pass.
    InPass,
    /// At the ends of passes only: each dispatch runs in a pass of its own.
    PassEach,
}

/// How long a dispatch took.
#[derive(Debug, Clone, PartialEq)]
pub struct Timing {
    /// Its name.
    pub label: Label,
    /// How long, by the device's clock.
    pub nanoseconds: f64,
}

/// The features that profiles use, of those that an adapter has.
pub(super) fn features(offered: wgpu::Features) -> wgpu::Features {
    offered & (wgpu::Features::TIMESTAMP_QUERY | wgpu::Features::TIMESTAMP_QUERY_INSIDE_PASSES)
}

/// Those that `kind` needs.
pub(super) fn features_of(kind: Timestamps) -> wgpu::Features {
    match kind {
        Timestamps::InPass => wgpu::Features::TIMESTAMP_QUERY | wgpu::Features::TIMESTAMP_QUERY_INSIDE_PASSES,
        Timestamps::PassEach => wgpu::Features::TIMESTAMP_QUERY,
    }
}

/// The profile of a device: which kind runs, and the submissions that it has seen.
#[derive(Debug, Default)]
pub(super) struct Profile {
    state: Mutex<Option<Running>>,
}

/// A profile that runs.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) kind: Timestamps,
    pub(super) submissions: Vec<Timed>,
}

/// A submission's timestamps on their way to the host.
#[derive(Debug)]
pub(super) struct Timed {
    pub(super) spans: Vec<Span>,
    pub(super) buffers: Vec<wgpu::Buffer>,
}

/// A dispatch's label and the numbers of its two timestamps.
#[derive(Debug)]
pub(super) struct Span {
    pub(super) label: Label,
    pub(super) from: u32,
    pub(super) to: u32,
}

impl Profile {
    pub(super) fn lock(&self) -> MutexGuard<'_, Option<Running>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
