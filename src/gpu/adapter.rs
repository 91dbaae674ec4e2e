//! Which adapter runs the model, and why.

use wgpu::{Backend, DeviceType};

use super::blocking::block_on;
use super::mask::Mask;
use crate::{Error, Result};

/// A limit's name, how to read it, and what is needed of it.
type Need = (&'static str, fn(&wgpu::Limits) -> u64, u64);

/// What lapidary's plain kernels need of a device: the floor of WebGPU, and of bindings half of that.
pub(super) const NEEDED: [Need; 5] = [
    ("storage buffers a shader stage", |l| l.max_storage_buffers_per_shader_stage as u64, 8),
    ("bytes of a storage buffer binding", |l| l.max_storage_buffer_binding_size, 64 << 20),
    ("invocations a workgroup", |l| l.max_compute_invocations_per_workgroup as u64, 256),
    ("bytes of workgroup memory", |l| l.max_compute_workgroup_storage_size as u64, 16 << 10),
    ("workgroups a dimension", |l| l.max_compute_workgroups_per_dimension as u64, 65535),
];

/// What lapidary makes of an adapter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is used unless another is asked for; why.
    Default(String),
    /// It can be asked for; why it is not the default.
    Available(String),
    /// It cannot run the kernels; what is missing.
    Unusable(String),
}

/// One adapter of this machine.
#[derive(Debug, Clone)]
pub struct AdapterReport {
    /// Name, driver, API and type as wgpu reports them.
    pub info: wgpu::AdapterInfo,
    /// What it allows.
    pub limits: wgpu::Limits,
    /// What it offers.
    pub features: wgpu::Features,
    /// Cooperative matrices that it multiplies.
    pub matrices: Vec<wgpu::CooperativeMatrixProperties>,
    /// Default, available or unusable, with the reason.
    pub verdict: Verdict,
    pub(super) adapter: wgpu::Adapter,
}

impl AdapterReport {
    /// True for adapters that compute on the CPU, such as lavapipe.
    pub fn is_software(&self) -> bool {
        self.info.device_type == DeviceType::Cpu
    }

    /// True for GPUs with memory of their own, also where a virtual machine passes one on.
    pub fn is_card(&self) -> bool {
        matches!(self.info.device_type, DeviceType::DiscreteGpu | DeviceType::VirtualGpu)
    }

    /// The name of the API: Vulkan, Metal, DX12 or OpenGL.
    pub fn api(&self) -> &'static str {
        match self.info.backend {
            Backend::Vulkan => "Vulkan",
            Backend::Metal => "Metal",
            Backend::Dx12 => "DX12",
            Backend::Gl => "OpenGL",
            Backend::BrowserWebGpu => "WebGPU",
            Backend::Noop => "none",
        }
    }

    /// True on DX12 where shaders are compiled by FXC, which Windows has of its own: then there is no f16, no subgroups and
    /// no instruction for integer dot products. wgpu takes DXC where it finds dxcompiler.dll.
    pub fn lacks_dxc(&self) -> bool {
        lacks_dxc(self.info.backend, self.features)
    }

    /// Driver name and version.
    pub fn driver(&self) -> String {
        [self.info.driver.trim(), self.info.driver_info.trim()].join(" ").trim().to_string()
    }

    pub(super) fn adapter(&self) -> &wgpu::Adapter {
        &self.adapter
    }

    /// Preference: the kind of device, then the API (OpenGL last: it lacks most features).
    fn rank(&self) -> (u8, u8) {
        let kind = match self.info.device_type {
            DeviceType::DiscreteGpu => 4,
            DeviceType::IntegratedGpu => 3,
            DeviceType::VirtualGpu => 2,
            DeviceType::Other => 1,
            DeviceType::Cpu => 0,
        };
        (kind, u8::from(self.info.backend != Backend::Gl))
    }

    fn kind(&self) -> &'static str {
        match self.info.device_type {
            DeviceType::DiscreteGpu => "a discrete GPU",
            DeviceType::IntegratedGpu => "an integrated GPU",
            DeviceType::VirtualGpu => "a virtual GPU",
            DeviceType::Cpu => "a software adapter",
            DeviceType::Other => "of unknown type",
        }
    }
}

/// wgpu does not say which compiler it has found. These features come with DXC's shader models from 6.0 on, and DX12 has
/// such on every GPU that has any of them.
fn lacks_dxc(backend: Backend, features: wgpu::Features) -> bool {
    use wgpu::Features as F;
    backend == Backend::Dx12 && !features.intersects(F::SUBGROUP | F::SHADER_INT64 | F::SHADER_F16)
}

fn missing(limits: &wgpu::Limits, flags: wgpu::DownlevelFlags) -> Option<String> {
    if !flags.contains(wgpu::DownlevelFlags::COMPUTE_SHADERS) {
        return Some("it has no compute shaders".to_string());
    }
    let short = NEEDED.iter().find(|(_, read, needed)| read(limits) < *needed)?;
    Some(format!("{}: it has {}, needed are {}", short.0, short.1(limits), short.2))
}

/// All adapters of this machine, the default first, then in order of preference. OpenGL is looked at only where nothing
/// else is found: it lacks most features, and its loader writes to stderr on machines without a desktop.
pub fn adapters() -> Vec<AdapterReport> {
    let reports = adapters_of(wgpu::Backends::PRIMARY);
    if reports.is_empty() { adapters_of(wgpu::Backends::GL) } else { reports }
}

fn adapters_of(backends: wgpu::Backends) -> Vec<AdapterReport> {
    // VALIDATION_INDIRECT_CALL and debug layers cost time and say nothing that our own checks do not.
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = backends;
    descriptor.flags = wgpu::InstanceFlags::empty().with_env();
    let instance = wgpu::Instance::new(descriptor);
    let found = block_on(instance.enumerate_adapters(backends)).unwrap_or_else(|error| {
        log::error!("{error}");
        Vec::new()
    });
    let mut reports: Vec<_> = found
        .into_iter()
        .map(|adapter| {
            let limits = adapter.limits();
            let verdict = match missing(&limits, adapter.get_downlevel_capabilities().flags) {
                Some(what) => Verdict::Unusable(what),
                None => Verdict::Available(String::new()),
            };
            let (info, features) = (adapter.get_info(), adapter.features());
            let matrices = adapter.cooperative_matrix_properties();
            AdapterReport { info, limits, features, matrices, verdict, adapter }
        })
        .collect();
    reports.sort_by_key(|r| (matches!(r.verdict, Verdict::Unusable(_)), std::cmp::Reverse(r.rank())));
    judge(&mut reports);
    reports
}

/// Says of each usable adapter why it is or is not the default; the list is in order of preference.
fn judge(reports: &mut [AdapterReport]) {
    let Some(first) = reports.first() else { return };
    let (name, rank, kind) = (first.info.name.clone(), first.rank(), first.kind());
    let rivals = reports.iter().filter(|r| !matches!(r.verdict, Verdict::Unusable(_))).count();
    for (i, report) in reports.iter_mut().enumerate() {
        if matches!(report.verdict, Verdict::Unusable(_)) {
            continue;
        }
        report.verdict = if i > 0 {
            Verdict::Available(if report.rank().0 < rank.0 {
                format!("\"{name}\" is {kind}, this is {}", report.kind())
            } else if report.rank().1 < rank.1 {
                format!("\"{name}\" is reached through a better API")
            } else {
                format!("\"{name}\" comes first in the system's list")
            })
        } else if rivals == 1 {
            Verdict::Default("the only usable adapter".to_string())
        } else {
            Verdict::Default(format!("it is {kind}"))
        };
    }
}

/// Of the adapters `alike` (by name and API), the one that is `nth` from `first` on, and from the start again where they
/// are fewer: two equal cards are two adapters of one name.
fn nth_alike<K: PartialEq>(alike: &[K], first: usize, nth: usize) -> usize {
    let same: Vec<usize> = (0..alike.len()).filter(|&i| alike[i] == alike[first]).collect();
    same[nth % same.len()]
}

/// The adapter to use: the default, or the first usable one whose name, driver or API contains `wanted`; with `nth` the
/// next ones of the same name and API. What stands in `mask` is taken from what it says of itself.
///
/// # Errors
/// [`Error::Device`] where no adapter fits, which lists what there is, and where too little is left of it.
pub(super) fn choose(wanted: Option<&str>, nth: usize, mask: &Mask) -> Result<AdapterReport> {
    let reports = adapters();
    let listed = || {
        reports
            .iter()
            .map(|r| format!("\"{}\" ({}, {})", r.info.name, r.api(), r.driver()))
            .collect::<Vec<_>>()
            .join(", ")
    };
    if reports.is_empty() {
        return Err(Error::Device(
            "no GPU adapter found; install a Vulkan driver (on Debian or Ubuntu: apt install mesa-vulkan-drivers)"
                .into(),
        ));
    }
    let fits = |r: &&AdapterReport| match wanted {
        None => true,
        Some(text) => {
            let text = text.to_lowercase();
            [r.info.name.as_str(), &r.driver(), r.api()].iter().any(|field| field.to_lowercase().contains(&text))
        }
    };
    let first = reports.iter().position(|report| fits(&report)).ok_or_else(|| {
        Error::Device(format!("no adapter matches \"{}\"; there are: {}", wanted.unwrap_or_default(), listed()))
    })?;
    let names: Vec<_> = reports.iter().map(|r| (&r.info.name, r.api())).collect();
    let chosen = &reports[nth_alike(&names, first, nth)];
    if let Verdict::Unusable(what) = &chosen.verdict {
        return Err(Error::Device(format!("adapter \"{}\" cannot be used: {what}", chosen.info.name)));
    }
    let mut chosen = chosen.clone();
    mask.apply(&mut chosen);
    match missing(&chosen.limits, chosen.adapter.get_downlevel_capabilities().flags) {
        Some(what) => {
            Err(Error::Device(format!("adapter \"{}\" cannot be used without {mask}: {what}", chosen.info.name)))
        }
        None => Ok(chosen),
    }
}

#[cfg(test)]
mod tests {
    use wgpu::{Backend, Features};

    use super::{lacks_dxc, nth_alike};

    #[test]
    fn fxc_is_told_from_dxc() {
        let fxc = Features::TIMESTAMP_QUERY | Features::IMMEDIATES;
        assert!(lacks_dxc(Backend::Dx12, fxc) && !lacks_dxc(Backend::Vulkan, fxc));
        for with in [Features::SUBGROUP, Features::SHADER_INT64, Features::SHADER_F16] {
            assert!(!lacks_dxc(Backend::Dx12, fxc | with));
        }
    }

    #[test]
    fn equal_cards_are_taken_in_turn() {
        let cards = ["7900", "B580", "7900", "llvmpipe"];
        let taken: Vec<usize> = (0..3).map(|nth| nth_alike(&cards, 0, nth)).collect();
        assert_eq!(taken, [0, 2, 0]);
        assert_eq!(nth_alike(&cards, 3, 1), 3);
    }
}
