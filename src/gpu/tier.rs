//! Tiers: which instructions of a device kernels may use.

use std::fmt;

use super::Gpu;
use super::adapter::AdapterReport;
use super::mask::Ability;

/// What kernels may use beyond WebGPU's floor. Each tier includes those before it; a kernel that has nothing to gain from
/// a tier is the same in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// f32 arithmetic in storage and workgroup memory: no f16, no subgroups, no integer dot product. Every device.
    Plain,
    /// Products of four 8-bit integers (`dot4I8Packed`), with activations rounded to int8 in blocks. It is defined
    /// everywhere, and fast where the device has an instruction for it. Sums within subgroups, where there are such.
    Dot,
    /// f16 arithmetic. No kernel uses it without cooperative matrices yet: the kernels of [`Tier::Dot`] run.
    F16,
    /// Cooperative matrices of f16 with f32 sums: matrix units.
    Matrix,
}

impl Tier {
    /// All of them, the weakest first.
    pub const ALL: [Tier; 4] = [Tier::Plain, Tier::Dot, Tier::F16, Tier::Matrix];

    /// As it is written on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Tier::Plain => "plain",
            Tier::Dot => "dot",
            Tier::F16 => "f16",
            Tier::Matrix => "matrix",
        }
    }
}

/// The tiers of a device's kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tiers {
    /// For steps of few rows: decoding.
    pub few: Tier,
    /// For steps of many rows: prefill.
    pub many: Tier,
}

impl Tiers {
    /// The same for all steps.
    pub fn all(tier: Tier) -> Self {
        Tiers { few: tier, many: tier }
    }
}

impl fmt::Display for Tiers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.few.min(Tier::Dot) == self.many.min(Tier::Dot) {
            true => self.many.fmt(f),
            false => write!(f, "{}, decoding {}", self.many, self.few),
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Gpu {
    /// The strongest tier that this device can run.
    pub fn strongest_tier(&self) -> Tier {
        // What FXC makes of integer dot products is slower than products of f32, and takes it a minute a kernel.
        match (self.mask().has(Ability::Dot) || self.adapter().lacks_dxc(), self.matrix_side()) {
            (true, _) => Tier::Plain,
            (false, Some(_)) => Tier::Matrix,
            (false, None) => Tier::Dot,
        }
    }

    /// Rows of the cooperative matrices of f16 with f32 sums that this device multiplies, 16 or 8, if any.
    pub fn matrix_side(&self) -> Option<u32> {
        matrix_side(self.adapter())
    }

    /// Lanes of a subgroup, at most.
    pub(crate) fn subgroup_lanes(&self) -> u32 {
        subgroup_lanes(self.adapter())
    }

    /// Lanes that can add up within a subgroup without workgroup memory: those of the smallest subgroups, if the device has
    /// subgroups of 8 lanes at least. Neighbours of a workgroup of one dimension are neighbours in a subgroup.
    pub(crate) fn summing_lanes(&self) -> Option<u32> {
        // As for `subgroup_lanes`: Apple's have 32 lanes.
        let metal = self.adapter().info.backend == wgpu::Backend::Metal;
        let lanes = if metal { 32 } else { self.adapter().info.subgroup_min_size };
        let enabled = self.device.features().contains(wgpu::Features::SUBGROUP);
        Some(lanes).filter(|lanes| enabled && lanes.is_power_of_two() && *lanes >= 8)
    }

    /// The tiers that suit it, and what was measured ([`Gpu::set_default_tiers`]).
    pub fn default_tiers(&self) -> Tiers {
        self.measured_tiers.get().copied().unwrap_or(Tiers::all(self.default_tier()))
    }

    /// From here on these are the default tiers, as far as the device has them. The first call decides.
    pub fn set_default_tiers(&self, tiers: Tiers) {
        let most = self.strongest_tier();
        self.measured_tiers.get_or_init(|| Tiers { few: tiers.few.min(most), many: tiers.many.min(most) });
    }

    /// The tier that suits it: software adapters emulate integer dot products and matrices.
    pub fn default_tier(&self) -> Tier {
        if self.has_cpu_kernels() { Tier::Plain } else { self.strongest_tier() }
    }
}

/// What kernels of [`Tier::Matrix`] need.
pub(super) const MATRIX_FEATURES: wgpu::Features =
    wgpu::Features::SHADER_F16.union(wgpu::Features::SUBGROUP).union(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX);
/// Bytes of workgroup memory that their tiles may take.
const MATRIX_WORKGROUP_BYTES: u32 = 32 << 10;
/// Storage buffers that they bind.
const MATRIX_BUFFERS: u32 = 9;
/// Subgroups of their workgroups, at most.
const MATRIX_SUBGROUPS: u32 = 8;

fn subgroup_lanes(adapter: &AdapterReport) -> u32 {
    // wgpu knows no better than "4 to 64" for Metal, where subgroups that multiply matrices have 32 lanes.
    if adapter.info.backend == wgpu::Backend::Metal { 32 } else { adapter.info.subgroup_max_size }
}

/// As [`Gpu::matrix_side`]. Shaders can only name square matrices.
fn matrix_side(adapter: &AdapterReport) -> Option<u32> {
    use wgpu::CooperativeScalarType::{F16, F32};
    let enough = adapter.features.contains(MATRIX_FEATURES)
        && adapter.limits.max_compute_workgroup_storage_size >= MATRIX_WORKGROUP_BYTES
        && adapter.limits.max_storage_buffers_per_shader_stage >= MATRIX_BUFFERS
        && adapter.limits.max_compute_invocations_per_workgroup >= MATRIX_SUBGROUPS * subgroup_lanes(adapter);
    let has = |side: &u32| {
        adapter
            .matrices
            .iter()
            .any(|m| [m.m_size, m.n_size, m.k_size] == [*side; 3] && m.ab_type == F16 && m.cr_type == F32)
    };
    [16, 8].into_iter().find(has).filter(|_| enough)
}

/// The features that tiers use, of those that an adapter has, and wgpu's leave to use them.
pub(super) fn features(adapter: &AdapterReport) -> (wgpu::Features, wgpu::ExperimentalFeatures) {
    let subgroups = adapter.features & wgpu::Features::SUBGROUP;
    match matrix_side(adapter) {
        Some(_) => (MATRIX_FEATURES | subgroups, experimental()),
        None => (subgroups, wgpu::ExperimentalFeatures::disabled()),
    }
}

#[expect(unsafe_code, reason = "wgpu's token for experimental features")]
fn experimental() -> wgpu::ExperimentalFeatures {
    // SAFETY: the token says that we know of undefined behaviour which such features may still have. Of these we use
    // cooperative matrices alone, in `common/matrix_tile.wgsl` and `attention_matrix.wgsl`: all lanes of a subgroup load,
    // multiply and store whole matrices within arrays, at multiples of 16 bytes, which is what the extension defines.
    unsafe { wgpu::ExperimentalFeatures::enabled() }
}
