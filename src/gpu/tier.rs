//! Tiers: which instructions of a device kernels may use.

use std::fmt;

use super::adapter::AdapterReport;

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

/// What kernels of [`Tier::Matrix`] need.
pub(super) const MATRIX_FEATURES: wgpu::Features =
    wgpu::Features::SHADER_F16.union(wgpu::Features::SUBGROUP).union(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX);
/// Bytes of workgroup memory that their tiles may take.
const MATRIX_WORKGROUP_BYTES: u32 = 32 << 10;
/// Storage buffers that they bind.
const MATRIX_BUFFERS: u32 = 9;
/// Subgroups of their workgroups, at most.
const MATRIX_SUBGROUPS: u32 = 8;

/// As [`super::Gpu::subgroup_lanes`].
pub(super) fn subgroup_lanes(adapter: &AdapterReport) -> u32 {
    // wgpu knows no better than "4 to 64" for Metal, where subgroups that multiply matrices have 32 lanes.
    if adapter.info.backend == wgpu::Backend::Metal { 32 } else { adapter.info.subgroup_max_size }
}

/// As [`super::Gpu::matrix_side`]. Shaders can only name square matrices.
pub(super) fn matrix_side(adapter: &AdapterReport) -> Option<u32> {
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

/// The features that tiers use.
pub(super) struct TierFeatures {
    pub(super) features: wgpu::Features,
    /// wgpu's leave to use those that are experimental.
    pub(super) leave: wgpu::ExperimentalFeatures,
}

/// The features that tiers use, of those that an adapter has.
pub(super) fn features(adapter: &AdapterReport) -> TierFeatures {
    let subgroups = adapter.features & wgpu::Features::SUBGROUP;
    match matrix_side(adapter) {
        Some(_) => TierFeatures { features: MATRIX_FEATURES | subgroups, leave: experimental() },
        None => TierFeatures { features: subgroups, leave: wgpu::ExperimentalFeatures::disabled() },
    }
}

#[expect(unsafe_code, reason = "wgpu's token for experimental features")]
fn experimental() -> wgpu::ExperimentalFeatures {
    // SAFETY: the token says that we know of undefined behaviour which such features may still have. Of these we use
    // cooperative matrices alone, in `common/matrix_tile.wgsl` and `attention_matrix.wgsl`: all lanes of a subgroup load,
    // multiply and store whole matrices within arrays, at multiples of 16 bytes, which is what the extension defines.
    unsafe { wgpu::ExperimentalFeatures::enabled() }
}
