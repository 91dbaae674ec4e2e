//! Compute pipelines, by what they are made from.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::pipeline_cache::PipelineCache;

/// Values of a shader's `override` constants.
pub type Constants = Vec<(&'static str, u32)>;

/// What a pipeline is made from: a shader's whole WGSL text and the values of its constants.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PipelineKey {
    /// The shader's stem, for labels and messages.
    pub stem: &'static str,
    /// Distinguishes texts of one stem: which snippets stand before the shader.
    pub variant: &'static str,
    /// Values of `override` constants.
    pub constants: Constants,
}

/// A compiled compute pipeline.
#[derive(Debug, Clone)]
pub struct Pipeline {
    pub(super) pipeline: wgpu::ComputePipeline,
    pub(super) layout: wgpu::BindGroupLayout,
}

/// The pipelines of a device.
#[derive(Debug, Default)]
pub(super) struct Pipelines {
    ready: Mutex<HashMap<PipelineKey, Arc<Pipeline>>>,
    /// Set once, and to `None` where there is no such thing.
    pub(super) cache: OnceLock<Option<PipelineCache>>,
}

impl Pipelines {
    /// Those that are compiled.
    pub(super) fn ready(&self) -> MutexGuard<'_, HashMap<PipelineKey, Arc<Pipeline>>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How shaders declare their parameters, and how they get them where [`super::Gpu::has_immediates`].
const UNIFORM: &str = "@group(0) @binding(0) var<uniform> params";
const IMMEDIATE: &str = "var<immediate> params";

/// A shader's text as devices get it that have [`super::Gpu::has_immediates`].
pub fn with_immediates(wgsl: &str) -> String {
    wgsl.replace(UNIFORM, IMMEDIATE)
}

/// Whether every index of the shader `stem` into an array is clamped, on a device with or without the kernels for software
/// adapters.
pub fn has_bounds_checks(stem: &str, cpu_kernels: bool) -> bool {
    let by_request = matches!(stem, "embed" | "gather_rows");
    // Products of many rows index workgroup memory by constants and lane numbers alone, and a clamp at every such read
    // costs a fifth of their speed.
    let is_tiled = matches!(stem, "matmul" | "matmul_grouped");
    by_request || (cpu_kernels && !is_tiled)
}
