//! Compiling: once for each shader and set of constants, on several threads at load.

use std::borrow::Cow;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::Gpu;
use super::blocking::block_on;
use super::pipeline::{Pipeline, PipelineKey, has_bounds_checks, with_immediates};
use super::pipeline_cache::PipelineCache;
use super::specialize::specialize;
use crate::error::Unfit;
use crate::kept::checksum;
use crate::{Error, Result, threads};

impl Gpu {
    /// The pipeline for `key`, compiled from `wgsl` unless it is there already.
    ///
    /// # Errors
    /// As [`Gpu::check`]; [`Error::Device`] where the device rejects the shader.
    pub(crate) fn pipeline(&self, key: &PipelineKey, wgsl: impl FnOnce() -> String) -> Result<Arc<Pipeline>> {
        if let Some(pipeline) = self.pipelines.ready().get(key) {
            return Ok(pipeline.clone());
        }
        let pipeline = Arc::new(self.compile(key, &wgsl())?);
        Ok(self.pipelines.ready().entry(key.clone()).or_insert(pipeline).clone())
    }

    /// Compiles all of `keys` on the machine's threads; `done` is called with the number that are ready.
    ///
    /// # Errors
    /// As [`Gpu::check`]; [`Error::Device`] where the device rejects a shader.
    pub(crate) fn prepare(
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
    pub(crate) fn pipeline_keys(&self) -> Vec<PipelineKey> {
        self.pipelines.ready().keys().cloned().collect()
    }

    /// From here on pipelines come out of a file in `folder` where it has them, for this adapter, its driver, the kind that
    /// kernels are shaped for, and `version`: a text that changes with any shader. The first call decides.
    pub fn use_pipeline_cache(&self, folder: &Path, version: &str) {
        if !self.device.features().contains(wgpu::Features::PIPELINE_CACHE) {
            return;
        }
        let info = &self.adapter().info;
        let Some(key) = wgpu::util::pipeline_cache_key(info) else { return };
        self.pipelines.cache.get_or_init(|| {
            let rest = [info.name.as_str(), &info.driver, &info.driver_info, self.kind().name(), version].join("\0");
            let path = folder.join(format!("{key}-{:016x}.bin", checksum(rest.as_bytes())));
            PipelineCache::open(&self.device, path)
        });
    }

    /// Writes the file of [`Gpu::use_pipeline_cache`], if there is more to keep than it had.
    pub fn save_pipeline_cache(&self) {
        if let Some(Some(cache)) = self.pipelines.cache.get() {
            cache.save();
        }
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
            let shader = format!("{stem} {constants:?}");
            Error::Device(Unfit::Shader { device: name.clone(), shader, why: why.to_string() })
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
        match block_on(scope.pop())? {
            None => self.check().map(|()| Pipeline { pipeline, layout }),
            // On a lost device nothing compiles, whatever the shader.
            Some(e) => Err(self.loss_or(rejected(&e))),
        }
    }
}
