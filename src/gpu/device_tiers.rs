//! Which tiers an open device has, and which suit it.

use super::Gpu;
use super::mask::Ability;
use super::tier::{Tier, Tiers, matrix_side, subgroup_lanes};

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
