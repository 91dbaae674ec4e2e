//! Compute pipelines: compiled once for each shader and set of constants, on several threads at load.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use super::Gpu;
use super::pipeline_cache::PipelineCache;
use super::specialize::specialize;
use crate::{Error, Result, threads};

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

/// How shaders declare their parameters, and how they get them where [`Gpu::has_immediates`].
const UNIFORM: &str = "@group(0) @binding(0) var<uniform> params";
const IMMEDIATE: &str = "var<immediate> params";

/// A shader's text as devices get it that have [`Gpu::has_immediates`].
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

impl Gpu {
    /// The pipeline for `key`, compiled from `wgsl` unless it is there already.
    ///
    /// # Errors
    /// As [`Gpu::check`]; [`Error::Device`] where the device rejects the shader.
    pub fn pipeline(&self, key: &PipelineKey, wgsl: impl FnOnce() -> String) -> Result<Arc<Pipeline>> {
        let lock = || self.pipelines.ready.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(pipeline) = lock().get(key) {
            return Ok(pipeline.clone());
        }
        let pipeline = Arc::new(self.compile(key, &wgsl())?);
        Ok(lock().entry(key.clone()).or_insert(pipeline).clone())
    }

    /// Compiles all of `keys` on the machine's threads; `done` is called with the number that are ready.
    ///
    /// # Errors
    /// As [`Gpu::check`]; [`Error::Device`] where the device rejects a shader.
    pub fn prepare(
        &self,
        keys: &[PipelineKey],
        wgsl: impl Fn(&PipelineKey) -> String + Sync,
        done: impl Fn(usize) + Sync,
    ) -> Result<()> {
        let ready = AtomicUsize::new(0);
        let work = |(): &mut (), key: &PipelineKey| {
            self.pipeline(key, || wgsl(key))?;
            done(ready.fetch_add(1, Ordering::Relaxed) + 1);
            Ok(())
        };
        threads::map_in_order(keys, threads::available(), || (), work).map(drop)
    }

    /// What its compiled pipelines were made from, in no order.
    pub fn pipeline_keys(&self) -> Vec<PipelineKey> {
        self.pipelines.ready.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).keys().cloned().collect()
    }

    /// A shader module with all of wgpu's checks but two. wgpu adds a counter to every loop, so that none is endless, and
    /// that counter keeps compilers from unrolling: without it decode is 21 % faster on an H200, prefill 15 %. And it clamps
    /// every index into an array: without that decode is another 5 % faster. What a request says is still clamped.
    #[expect(unsafe_code, reason = "wgpu cannot know that the loops end, nor what the plan has checked")]
    fn module(&self, label: &str, module: wgpu::naga::Module) -> wgpu::ShaderModule {
        let source = wgpu::ShaderSource::Naga(Cow::Owned(module));
        let descriptor = wgpu::ShaderModuleDescriptor { label: Some(label), source };
        let checks = wgpu::ShaderRuntimeChecks {
            force_loop_bounding: false,
            bounds_checks: has_bounds_checks(label, self.has_cpu_kernels()),
            ..wgpu::ShaderRuntimeChecks::checked()
        };
        // SAFETY: every loop of the shaders counts up to a constant, a parameter or a position, or halves a number, and
        // none of these is near the largest u32, so that it ends. Indices are made of sizes that the plan of each kernel was
        // checked for, of positions and slots that the cache was, of group indices that loading was, and of experts that the
        // router has ranked; shaders clamp numbers of rows and features to them. `moe_group` lists each pair below the
        // capacity once, and the host makes arrays in workgroup memory as long as what walks them. Tokens, which a request
        // names, are looked up with all checks. CPU kernels keep the checks, so that tests run with them too.
        unsafe { self.device.create_shader_module_trusted(descriptor, checks) }
    }

    /// All buffers that the shader declares and uses with any constants: a kernel binds them whether or not they are read.
    fn bind_group_layout(&self, label: &str, bindings: &[(u32, wgpu::BufferBindingType)]) -> wgpu::BindGroupLayout {
        let entries: Vec<_> = bindings
            .iter()
            .map(|&(binding, ty)| wgpu::BindGroupLayoutEntry {
                binding,
                visibility: wgpu::ShaderStages::COMPUTE,
                ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None },
                count: None,
            })
            .collect();
        self.device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: Some(label), entries: &entries })
    }

    fn compile(&self, key: &PipelineKey, wgsl: &str) -> Result<Pipeline> {
        let label = format!("{}/pipeline", key.stem);
        let wgsl = if self.has_immediates() { with_immediates(wgsl) } else { wgsl.to_owned() };
        let rejected = |why: &dyn fmt::Display| {
            let (stem, constants, name) = (key.stem, &key.constants, &self.adapter().info.name);
            Error::Device(format!("shader {stem} {constants:?} was rejected by \"{name}\": {why}"))
        };
        let shader = specialize(&wgsl, &key.constants).map_err(|why| rejected(&why))?;
        let scope = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let layout = self.bind_group_layout(key.stem, &shader.bindings);
        let pipeline_layout = self.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some(&label),
            bind_group_layouts: &[Some(&layout)],
            immediate_size: shader.immediate_bytes,
        });
        let module = self.module(key.stem, shader.module);
        let pipeline = self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(&label),
            layout: Some(&pipeline_layout),
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: &[],
                // No kernel reads workgroup memory that it has not written.
                zero_initialize_workgroup_memory: false,
            },
            cache: self.pipelines.cache.get().and_then(Option::as_ref).map(|kept| &kept.cache),
        });
        match pollster::block_on(scope.pop()) {
            None => self.check().map(|()| Pipeline { pipeline, layout }),
            // On a lost device nothing compiles, whatever the shader.
            Some(e) => Err(self.loss_or(rejected(&e))),
        }
    }
}
