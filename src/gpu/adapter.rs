//! Which adapter runs the model, and why.

use wgpu::{Backend, DeviceType};

use super::blocking::block_on;
use super::compiler::{self, Compiler};
use super::mask::Mask;
use crate::error::{Remedy, Unfit, lack};
use crate::{Error, Result};

/// A limit's name, how to read it, and what is needed of it.
pub(super) struct Need {
    pub(super) name: &'static str,
    pub(super) read: fn(&wgpu::Limits) -> u64,
    pub(super) least: u64,
}

/// What lapidary's plain kernels need of a device: the floor of WebGPU, and of bindings half of that.
pub(super) const NEEDED: [Need; 5] = [
    Need { name: "storage buffers a shader stage", read: |l| l.max_storage_buffers_per_shader_stage as u64, least: 8 },
    Need { name: "bytes of a storage buffer binding", read: |l| l.max_storage_buffer_binding_size, least: 64 << 20 },
    Need { name: "invocations a workgroup", read: |l| l.max_compute_invocations_per_workgroup as u64, least: 256 },
    Need { name: "bytes of workgroup memory", read: |l| l.max_compute_workgroup_storage_size as u64, least: 16 << 10 },
    Need { name: "workgroups a dimension", read: |l| l.max_compute_workgroups_per_dimension as u64, least: 65535 },
];

/// How much an adapter is preferred: first by its kind, then by its API.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Preference {
    kind: u8,
    api: u8,
}

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
    /// What compiles its shaders, on DX12.
    pub compiler: Option<Compiler>,
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

    /// True on DX12 where FXC compiles the shaders: then there is no f16, no subgroups and no instruction for integer dot
    /// products.
    pub fn lacks_dxc(&self) -> bool {
        matches!(self.compiler, Some(Compiler::Fxc(_)))
    }

    /// Driver name and version.
    pub fn driver(&self) -> String {
        [self.info.driver.trim(), self.info.driver_info.trim()].join(" ").trim().to_string()
    }

    pub(super) fn adapter(&self) -> &wgpu::Adapter {
        &self.adapter
    }

    /// Takes what is in `mask` from what it says of itself.
    fn leave(&mut self, mask: &Mask) {
        for ability in &mask.without {
            self.features = self.features.difference(ability.features());
        }
        if !self.features.contains(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX) {
            self.matrices.clear();
        }
        if !self.features.contains(wgpu::Features::IMMEDIATES) {
            self.limits.max_immediate_size = 0;
        }
        for (limit, most) in &mask.at_most {
            limit.lower(&mut self.limits, &mut self.info, *most);
        }
    }

    /// Preference: the kind of device, then the API: OpenGL is last, since it lacks most features, and DX12 with FXC lacks some.
    fn rank(&self) -> Preference {
        let kind = match self.info.device_type {
            DeviceType::DiscreteGpu => 4,
            DeviceType::IntegratedGpu => 3,
            DeviceType::VirtualGpu => 2,
            DeviceType::Other => 1,
            DeviceType::Cpu => 0,
        };
        let api = match (self.info.backend, &self.compiler) {
            (Backend::Gl, _) => 0,
            (_, Some(Compiler::Fxc(_))) => 1,
            // It has neither cooperative matrices nor a cache of pipelines.
            (_, Some(Compiler::Dxc(_))) => 2,
            _ => 3,
        };
        Preference { kind, api }
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

/// What an adapter has too little of.
struct Missing {
    what: &'static str,
    found: u64,
    /// `None` where any would do.
    needed: Option<u64>,
}

fn missing(limits: &wgpu::Limits, flags: wgpu::DownlevelFlags) -> Option<Missing> {
    if !flags.contains(wgpu::DownlevelFlags::COMPUTE_SHADERS) {
        return Some(Missing { what: "compute shaders", found: 0, needed: None });
    }
    let short = NEEDED.iter().find(|need| (need.read)(limits) < need.least)?;
    Some(Missing { what: short.name, found: (short.read)(limits), needed: Some(short.least) })
}

/// All adapters of this machine, the default first, then in order of preference. OpenGL is looked at only where nothing
/// else is found: it lacks most features, and its loader writes to stderr on machines without a desktop.
pub fn adapters() -> Vec<AdapterReport> {
    let mut reports = listed(wgpu::Backends::PRIMARY - wgpu::Backends::DX12, None);
    reports.extend(dx12());
    if reports.is_empty() {
        reports = listed(wgpu::Backends::GL, None);
    }
    reports.sort_by_key(|r| (matches!(r.verdict, Verdict::Unusable(_)), std::cmp::Reverse(r.rank())));
    judge(&mut reports);
    reports
}

/// DX12's adapters: with DXC where a dxcompiler.dll is found, and with FXC where there is none, where it does not work, or
/// where no GPU is among those that it works for, since old ones have no shader model 6.
fn dx12() -> Vec<AdapterReport> {
    if !cfg!(windows) {
        return Vec::new();
    }
    let dxc = compiler::find_dxc();
    let with = |compiler: Compiler| listed(wgpu::Backends::DX12, Some(compiler));
    let mut reports = dxc.clone().map_or(Vec::new(), |dxc| with(Compiler::Dxc(dxc)));
    if reports.iter().all(AdapterReport::is_software) {
        let others = with(Compiler::Fxc(dxc));
        let is_new = |other: &AdapterReport| !reports.iter().any(|known| known.info.name == other.info.name);
        let others: Vec<_> = others.into_iter().filter(is_new).collect();
        reports.extend(others);
    }
    reports
}

/// Why DX12 has none of the adapters that `reports` lists, where it lacks a compiler for shaders.
pub fn dx12_trouble(reports: &[AdapterReport]) -> Option<String> {
    if reports.iter().any(|report| report.info.backend == Backend::Dx12) { None } else { compiler::trouble() }
}

/// What is said where there is no adapter at all.
pub fn no_adapter() -> Error {
    let (remedies, why) = match (cfg!(windows), cfg!(target_os = "macos")) {
        (true, _) => (vec![Remedy::CardDriver], dx12_trouble(&[])),
        (_, true) => (Vec::new(), Some("Metal offers none".to_owned())),
        _ => (vec![Remedy::VulkanDriver], dx12_trouble(&[])),
    };
    Unfit::NoAdapter { why, remedies }.into()
}

/// The adapters of some APIs; on DX12 those that `compiler` works for.
fn listed(backends: wgpu::Backends, compiler: Option<Compiler>) -> Vec<AdapterReport> {
    // VALIDATION_INDIRECT_CALL and debug layers cost time and say nothing that our own checks do not.
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = backends;
    descriptor.flags = wgpu::InstanceFlags::empty().with_env();
    descriptor.backend_options.dx12.shader_compiler = match &compiler {
        Some(Compiler::Dxc(path)) => wgpu::Dx12Compiler::DynamicDxc { dxc_path: path.to_string_lossy().into_owned() },
        _ => wgpu::Dx12Compiler::Fxc,
    };
    let instance = wgpu::Instance::new(descriptor);
    let found = block_on(instance.enumerate_adapters(backends)).unwrap_or_else(|error| {
        log::error!("{error}");
        Vec::new()
    });
    let report = |adapter: wgpu::Adapter| {
        let limits = adapter.limits();
        let verdict = match missing(&limits, adapter.get_downlevel_capabilities().flags) {
            Some(Missing { what, found, needed }) => Verdict::Unusable(lack(what, found, needed)),
            None => Verdict::Available(String::new()),
        };
        let (info, features) = (adapter.get_info(), adapter.features());
        let (matrices, compiler) = (adapter.cooperative_matrix_properties(), compiler.clone());
        AdapterReport { info, limits, features, matrices, compiler, verdict, adapter }
    };
    found.into_iter().map(report).collect()
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
            Verdict::Available(if report.rank().kind < rank.kind {
                format!("\"{name}\" is {kind}, this is {}", report.kind())
            } else if report.rank().api < rank.api {
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
    let all =
        || reports.iter().map(|r| format!("\"{}\" ({}, {})", r.info.name, r.api(), r.driver())).collect::<Vec<_>>();
    if reports.is_empty() {
        return Err(no_adapter());
    }
    let fits = |r: &&AdapterReport| match wanted {
        None => true,
        Some(text) => {
            let text = text.to_lowercase();
            [r.info.name.as_str(), &r.driver(), r.api()].iter().any(|field| field.to_lowercase().contains(&text))
        }
    };
    let first = reports.iter().position(|report| fits(&report)).ok_or_else(|| {
        let wanted = wanted.unwrap_or_default().to_owned();
        Error::Device(Unfit::NoMatch { wanted, known: all(), trouble: dx12_trouble(&reports) })
    })?;
    let names: Vec<_> = reports.iter().map(|r| (&r.info.name, r.api())).collect();
    let chosen = &reports[nth_alike(&names, first, nth)];
    let check = |chosen: &AdapterReport, without: Option<String>| {
        let flags = chosen.adapter.get_downlevel_capabilities().flags;
        let Some(Missing { what, found, needed }) = missing(&chosen.limits, flags) else { return Ok(()) };
        Err(Unfit::Adapter { device: chosen.info.name.clone(), without, what, found, needed })
    };
    check(chosen, None)?;
    let mut chosen = chosen.clone();
    chosen.leave(mask);
    check(&chosen, Some(mask.to_string()))?;
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::nth_alike;

    #[test]
    fn equal_cards_are_taken_in_turn() {
        let cards = ["7900", "B580", "7900", "llvmpipe"];
        let taken: Vec<usize> = (0..3).map(|nth| nth_alike(&cards, 0, nth)).collect();
        assert_eq!(taken, [0, 2, 0]);
        assert_eq!(nth_alike(&cards, 3, 1), 3);
    }
}
