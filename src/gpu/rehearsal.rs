//! Devices with nothing behind them, on which taking memory is rehearsed: what plans and allocates is run as it is, and bytes
//! are counted. wgpu has a backend that does nothing; the limits and the features are those of the device that is meant.

use std::sync::atomic::Ordering;

use super::Gpu;
use super::adapter::{AdapterReport, Verdict};
use super::blocking::block_on;
use super::compiler::Compiler;
use super::device::TICKETS_BYTES;
use super::mask::Mask;
use super::tier::MATRIX_FEATURES;
use crate::Result;
use crate::error::Unfit;

impl Gpu {
    /// A card that is not there, for planning what a model takes on one: bytes are counted, and none is taken.
    ///
    /// # Errors
    /// [`crate::Error::Device`] where wgpu has no adapter that does nothing.
    pub fn imagined() -> Result<Self> {
        Imagined::default().open()
    }

    /// A device that says of itself what this one does, but has nothing behind it: its buffers have a size that is counted
    /// and checked against the limits, what is written to them is lost, and nothing runs. What allocates on it shows
    /// what it would take here.
    ///
    /// # Errors
    /// As [`Gpu::imagined`].
    pub(crate) fn rehearsal(&self) -> Result<Self> {
        let gpu = Self::rehearsing(self.adapter().clone(), self.mask())?.like(self);
        if let Some(tiers) = self.measured_tiers.get() {
            gpu.measured_tiers.set(*tiers).expect("a new device has none");
        }
        Ok(gpu)
    }

    fn rehearsing(report: AdapterReport, mask: &Mask) -> Result<Self> {
        // What plans depend on; the rest they take from the report.
        let features = report.features & (wgpu::Features::SUBGROUP | wgpu::Features::IMMEDIATES);
        let max_immediate_size = report.limits.max_immediate_size;
        let request = noop(features)?;
        let request = request.request_device(&wgpu::DeviceDescriptor {
            label: Some("rehearsal"),
            required_features: features,
            required_limits: wgpu::Limits { max_immediate_size, ..wgpu::Limits::downlevel_defaults() },
            ..Default::default()
        });
        let (device, queue) = block_on(request)?.map_err(|e| Unfit::Rehearsal { why: e.to_string() })?;
        let gpu = Self::over(device, queue, report, mask, true);
        gpu.allocated_bytes.store(Self::taken_bytes(TICKETS_BYTES), Ordering::Relaxed);
        Ok(gpu)
    }
}

/// What a device that is not there says of itself: limits that all cards of today have, integer dot products, and these.
#[derive(Debug, Clone, Copy)]
pub struct Imagined {
    /// Lanes of the smallest and of the largest subgroups; `None` without subgroups.
    pub subgroups: Option<(u32, u32)>,
    /// Rows of the cooperative matrices that it multiplies, 16 or 8.
    pub matrix_side: Option<u32>,
    /// Bytes of parameters that come with the commands.
    pub immediate_bytes: u32,
    /// Storage buffers that a shader binds.
    pub storage_buffers: u32,
    /// Lanes of a workgroup.
    pub threads: u32,
    /// Bytes of a workgroup's memory.
    pub workgroup_bytes: u32,
    /// Whether it is reached through DX12 with FXC, which has neither subgroups nor integer dot products.
    pub fxc: bool,
}

impl Default for Imagined {
    fn default() -> Self {
        Imagined {
            subgroups: Some((32, 32)),
            matrix_side: None,
            immediate_bytes: 128,
            storage_buffers: 16,
            threads: 1024,
            workgroup_bytes: 32 << 10,
            fxc: false,
        }
    }
}

impl Imagined {
    /// What WebGPU grants everywhere, without subgroups.
    pub const FLOOR: Imagined = Imagined {
        subgroups: None,
        matrix_side: None,
        immediate_bytes: 0,
        storage_buffers: 8,
        threads: 256,
        workgroup_bytes: 16 << 10,
        fxc: false,
    };

    /// What Windows makes of a card of today with the compiler of its own.
    pub const FXC: Imagined = Imagined {
        subgroups: None,
        matrix_side: None,
        immediate_bytes: 128,
        storage_buffers: 16,
        threads: 1024,
        workgroup_bytes: 32 << 10,
        fxc: true,
    };

    /// A device that only counts bytes, of which none are taken.
    ///
    /// # Errors
    /// [`crate::Error::Device`] where wgpu has no adapter that does nothing.
    pub fn open(self) -> Result<Gpu> {
        Gpu::rehearsing(self.report()?, &Mask::default())
    }

    fn report(self) -> Result<AdapterReport> {
        let subgroups = self.subgroups.map_or(wgpu::Features::empty(), |_| wgpu::Features::SUBGROUP);
        let counted = subgroups | wgpu::Features::IMMEDIATES;
        let adapter = noop(counted)?;
        let (subgroup_min_size, subgroup_max_size) = self.subgroups.unwrap_or((4, 4));
        let mut info = wgpu::AdapterInfo {
            name: "a GPU".into(),
            device_type: wgpu::DeviceType::DiscreteGpu,
            subgroup_min_size,
            subgroup_max_size,
            ..adapter.get_info()
        };
        if self.fxc {
            info.backend = wgpu::Backend::Dx12;
        }
        let limits = wgpu::Limits {
            max_buffer_size: 1 << 40,
            // wgpu's own bound on Vulkan.
            max_storage_buffer_binding_size: (2 << 30) - 4,
            max_storage_buffers_per_shader_stage: self.storage_buffers,
            max_compute_invocations_per_workgroup: self.threads,
            max_compute_workgroup_size_x: self.threads,
            max_compute_workgroup_storage_size: self.workgroup_bytes,
            max_immediate_size: self.immediate_bytes,
            ..wgpu::Limits::default()
        };
        let matrix = |side| wgpu::CooperativeMatrixProperties {
            m_size: side,
            n_size: side,
            k_size: side,
            ab_type: wgpu::CooperativeScalarType::F16,
            cr_type: wgpu::CooperativeScalarType::F32,
            saturating_accumulation: false,
        };
        let matrices: Vec<_> = self.matrix_side.into_iter().map(matrix).collect();
        let features = if matrices.is_empty() { counted } else { counted | MATRIX_FEATURES };
        let verdict = Verdict::Available("it is not there".into());
        let compiler = self.fxc.then_some(Compiler::Fxc(None));
        Ok(AdapterReport { info, limits, features, matrices, compiler, verdict, adapter })
    }
}

/// An adapter without a device behind it, which offers `features`: buffers made there are host memory.
fn noop(features: wgpu::Features) -> Result<wgpu::Adapter> {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = wgpu::Backends::NOOP;
    descriptor.flags = wgpu::InstanceFlags::empty();
    descriptor.backend_options.noop =
        wgpu::NoopBackendOptions { enable: true, features: Some(features), ..Default::default() };
    let found = block_on(wgpu::Instance::new(descriptor).enumerate_adapters(wgpu::Backends::NOOP))?;
    let none = || Unfit::Rehearsal { why: "wgpu has no adapter that does nothing, expected one".into() };
    Ok(found.into_iter().next().ok_or_else(none)?)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::gpu::Tier;

    /// A terabyte in buffers, none of which is there; but none larger than a binding.
    #[test]
    fn bytes_are_counted_and_not_taken() {
        let gpu = Gpu::imagined().unwrap();
        let own = gpu.allocated_bytes();
        for _ in 0..1024 {
            let buffer = gpu.storage("large", 1 << 30).unwrap();
            gpu.write(&buffer, 1 << 29, &[1u32; 100]).unwrap();
        }
        assert_eq!(gpu.allocated_bytes() - own, 1 << 40);
        let error = gpu.storage("larger", 1 << 31).unwrap_err().to_string();
        assert!(error.starts_with("larger: 2147483648 bytes, but \"a GPU\" binds at most 2147483644"), "{error}");
        assert_eq!((gpu.strongest_tier(), gpu.has_immediates(), gpu.has_cpu_kernels()), (Tier::Dot, true, false));
    }

    #[test]
    fn what_is_imagined_is_what_plans_see() {
        let open = |imagined: Imagined| imagined.open().unwrap();
        let matrix = Imagined { subgroups: Some((32, 64)), matrix_side: Some(16), ..Imagined::default() };
        let said = |gpu: &Gpu| (gpu.summing_lanes(), gpu.matrix_side(), gpu.has_immediates(), gpu.strongest_tier());
        assert_eq!(said(&open(Imagined::FLOOR)), (None, None, false, Tier::Dot));
        assert_eq!(said(&open(matrix)), (Some(32), Some(16), true, Tier::Matrix));
    }

    /// A rehearsal says of itself what the device says.
    #[test]
    fn a_rehearsal_is_like_its_device() {
        let gpu = Gpu::open(None).unwrap();
        let twin = gpu.rehearsal().unwrap();
        let said = |gpu: &Gpu| {
            let own = (gpu.has_immediates(), gpu.has_cpu_kernels(), gpu.summing_lanes(), gpu.matrix_side());
            let own = (own, gpu.kind(), gpu.kind_reason().to_owned());
            (own, gpu.default_tiers(), gpu.strongest_tier(), gpu.limits().clone(), gpu.allocated_bytes())
        };
        assert_eq!(said(&twin), said(&gpu));
        assert!(twin.rehearses() && !gpu.rehearses());
    }
}
