//! What a device is to do without: features and limits of its adapter that are left unused.
//!
//! It is the one seam between what an adapter offers and what kernels see. What stands in a [`Mask`] is neither asked of the
//! driver nor shown by [`super::Gpu::adapter`] and [`super::Gpu::limits`], so that wgpu refuses whatever uses it all the same.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use crate::error::Usage;
use crate::{Error, Result};

/// Something that kernels use where a device has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ability {
    /// f16 arithmetic, and with it cooperative matrices.
    F16,
    /// Operations of subgroups, and with them cooperative matrices.
    Subgroups,
    /// Products of four 8-bit integers, and with them every tier above the plain one: all of those use them for few rows.
    Dot,
    /// Cooperative matrices.
    Matrix,
    /// Timestamps, which time kernels.
    Timestamps,
    /// Parameters that reach shaders with the commands.
    Immediates,
    /// Compiled pipelines in a file.
    PipelineCache,
    /// Kernels shaped for software adapters, with every index checked: without them such an adapter runs those of GPUs that no
    /// table is for.
    CpuKernels,
    /// Keys and values in f16, which the fast path keeps in f32 without it.
    KvF16,
    /// Keys and values in int8.
    KvInt8,
}

impl Ability {
    /// All of them.
    pub const ALL: [Ability; 10] = [
        Ability::F16,
        Ability::Subgroups,
        Ability::Dot,
        Ability::Matrix,
        Ability::Timestamps,
        Ability::Immediates,
        Ability::PipelineCache,
        Ability::CpuKernels,
        Ability::KvF16,
        Ability::KvInt8,
    ];

    /// As it is written on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Ability::F16 => "f16",
            Ability::Subgroups => "subgroups",
            Ability::Dot => "dot",
            Ability::Matrix => "matrix",
            Ability::Timestamps => "timestamps",
            Ability::Immediates => "immediates",
            Ability::PipelineCache => "pipeline-cache",
            Ability::CpuKernels => "cpu-kernels",
            Ability::KvF16 => "kv-f16",
            Ability::KvInt8 => "kv-int8",
        }
    }

    /// The features of wgpu that go with it.
    pub(super) fn features(self) -> wgpu::Features {
        use wgpu::Features as F;
        match self {
            Ability::F16 => F::SHADER_F16 | F::EXPERIMENTAL_COOPERATIVE_MATRIX,
            Ability::Subgroups => F::SUBGROUP | F::SUBGROUP_BARRIER | F::EXPERIMENTAL_COOPERATIVE_MATRIX,
            Ability::Matrix => F::EXPERIMENTAL_COOPERATIVE_MATRIX,
            Ability::Timestamps => {
                F::TIMESTAMP_QUERY | F::TIMESTAMP_QUERY_INSIDE_ENCODERS | F::TIMESTAMP_QUERY_INSIDE_PASSES
            }
            Ability::Immediates => F::IMMEDIATES,
            Ability::PipelineCache => F::PIPELINE_CACHE,
            Ability::Dot | Ability::CpuKernels | Ability::KvF16 | Ability::KvInt8 => F::empty(),
        }
    }
}

/// A limit that kernels are planned by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Limit {
    /// Storage buffers of a shader.
    Buffers,
    /// Bytes of a storage buffer binding.
    Binding,
    /// Bytes of a buffer.
    Buffer,
    /// Threads of a workgroup.
    Threads,
    /// Bytes of a workgroup's memory.
    Workgroup,
    /// Bytes of parameters that reach shaders with the commands.
    Immediates,
    /// Lanes that kernels take the smallest subgroups to have, fewer than they do: so subgroups of several sizes in one device
    /// look to them.
    Lanes,
}

impl Limit {
    /// All of them.
    pub const ALL: [Limit; 7] = [
        Limit::Buffers,
        Limit::Binding,
        Limit::Buffer,
        Limit::Threads,
        Limit::Workgroup,
        Limit::Immediates,
        Limit::Lanes,
    ];

    /// As it is written on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Limit::Buffers => "buffers",
            Limit::Binding => "binding",
            Limit::Buffer => "buffer",
            Limit::Threads => "threads",
            Limit::Workgroup => "workgroup",
            Limit::Immediates => "immediates",
            Limit::Lanes => "lanes",
        }
    }

    /// Lowers it to `most`, where it is higher.
    pub(super) fn lower(self, limits: &mut wgpu::Limits, info: &mut wgpu::AdapterInfo, most: u64) {
        // Limits of 32 bits that the mask exceeds stay as they are.
        let short = |limit: &mut u32| *limit = (*limit).min(u32::try_from(most).unwrap_or(u32::MAX));
        match self {
            Limit::Buffers => short(&mut limits.max_storage_buffers_per_shader_stage),
            Limit::Binding => {
                limits.max_storage_buffer_binding_size = limits.max_storage_buffer_binding_size.min(most);
            }
            Limit::Buffer => limits.max_buffer_size = limits.max_buffer_size.min(most),
            Limit::Threads => {
                short(&mut limits.max_compute_invocations_per_workgroup);
                short(&mut limits.max_compute_workgroup_size_x);
                short(&mut limits.max_compute_workgroup_size_y);
                short(&mut limits.max_compute_workgroup_size_z);
            }
            Limit::Workgroup => short(&mut limits.max_compute_workgroup_storage_size),
            Limit::Immediates => short(&mut limits.max_immediate_size),
            Limit::Lanes => short(&mut info.subgroup_min_size),
        }
    }
}

/// What an open device leaves unused of what its adapter has. As text, both ways:
/// `f16,subgroups,buffers=8,binding=128M,threads=256,workgroup=16K`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mask {
    pub(super) without: BTreeSet<Ability>,
    pub(super) at_most: BTreeMap<Limit, u64>,
}

impl Mask {
    /// Without `ability` too.
    #[must_use]
    pub fn without(mut self, ability: Ability) -> Self {
        self.without.insert(ability);
        self
    }

    /// With at most `most` of `limit`: bytes, or a number.
    #[must_use]
    pub fn at_most(mut self, limit: Limit, most: u64) -> Self {
        let kept = self.at_most.entry(limit).or_insert(most);
        *kept = most.min(*kept);
        self
    }

    /// What either of two masks leaves unused.
    #[must_use]
    pub fn and(&self, other: &Mask) -> Self {
        let mut both = self.clone();
        both.without.extend(&other.without);
        other.at_most.iter().fold(both, |both, (limit, most)| both.at_most(*limit, *most))
    }

    /// Whether `ability` is left unused.
    pub fn has(&self, ability: Ability) -> bool {
        self.without.contains(&ability)
    }

    /// Whether nothing is left unused.
    pub fn is_empty(&self) -> bool {
        self.without.is_empty() && self.at_most.is_empty()
    }
}

impl fmt::Display for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let abilities = self.without.iter().map(|ability| ability.name().to_owned());
        let limits = self.at_most.iter().map(|(limit, most)| format!("{}={}", limit.name(), short_size(*most)));
        f.write_str(&abilities.chain(limits).collect::<Vec<_>>().join(","))
    }
}

impl FromStr for Mask {
    type Err = Error;

    /// # Errors
    /// [`Error::Usage`] for a name or a size that is none; it lists the names.
    fn from_str(text: &str) -> Result<Self> {
        let mut mask = Mask::default();
        for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            let (name, most) = item.split_once('=').map_or((item, None), |(name, most)| (name.trim(), Some(most)));
            let ability = Ability::ALL.into_iter().find(|ability| ability.name() == name);
            let limit = Limit::ALL.into_iter().find(|limit| limit.name() == name);
            mask = match (ability, limit, most) {
                (Some(ability), _, None) => mask.without(ability),
                (_, Some(limit), Some(most)) => mask.at_most(limit, parse_size(most).ok_or_else(|| unknown(item))?),
                _ => return Err(unknown(item)),
            };
        }
        Ok(mask)
    }
}

fn unknown(item: &str) -> Error {
    let abilities = Ability::ALL.map(Ability::name).join(", ");
    let limits = Limit::ALL.map(|limit| format!("{}=N", limit.name())).join(", ");
    let expected = format!("one of {abilities}, {limits} (N may end in K, M or G)");
    Usage::Name { what: "feature or limit", name: item.to_owned(), expected }.into()
}

const UNITS: [(char, u32); 3] = [('G', 30), ('M', 20), ('K', 10)];

/// `128M` as a number.
fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let unit = UNITS.iter().find(|(unit, _)| text.ends_with([*unit, unit.to_ascii_lowercase()]));
    let digits = if unit.is_some() { &text[..text.len() - 1] } else { text };
    let number: u64 = digits.parse().ok()?;
    number.checked_mul(1 << unit.map_or(0, |(_, bits)| *bits))
}

/// A number as [`parse_size`] reads it.
fn short_size(number: u64) -> String {
    let unit = UNITS.iter().find(|(_, bits)| number > 0 && number.is_multiple_of(1 << bits));
    unit.map_or(number.to_string(), |(unit, bits)| format!("{}{unit}", number >> bits))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::gpu::{Gpu, Tier};

    #[test]
    fn a_device_has_nothing_of_its_mask() {
        let text = "f16,subgroups,dot,timestamps,immediates,cpu-kernels,\
                    buffers=8,binding=64M,buffer=256M,threads=256,workgroup=16K";
        let gpu = Gpu::open_without(None, 0, &text.parse().unwrap()).unwrap();
        let (limits, features) = (gpu.limits(), gpu.adapter().features);
        assert!(!features.intersects(wgpu::Features::SHADER_F16 | wgpu::Features::SUBGROUP));
        assert_eq!(
            [limits.max_storage_buffers_per_shader_stage, limits.max_compute_invocations_per_workgroup],
            [8, 256]
        );
        assert_eq!([gpu.max_binding_bytes(), limits.max_buffer_size], [64 << 20, 256 << 20]);
        assert_eq!(limits.max_compute_workgroup_storage_size, 16 << 10);
        assert!(!gpu.has_immediates() && gpu.timestamps().is_err() && !gpu.has_cpu_kernels());
        assert_eq!((gpu.strongest_tier(), gpu.matrix_side()), (Tier::Plain, None));
        // The driver was not asked for it either.
        assert_eq!(&gpu.device.limits(), limits);
        assert!(!gpu.device.features().contains(wgpu::Features::TIMESTAMP_QUERY));
    }

    /// Parameters come with the commands where the largest of them fit, as in browsers, and in a buffer where they do not.
    #[test]
    fn parameters_fit_what_browsers_have() {
        let open = |text: &str| Gpu::open_without(None, 0, &text.parse().unwrap()).unwrap();
        assert_eq!(open("immediates=64").has_immediates(), open("").has_immediates());
        assert!(!open("immediates=60").has_immediates());
    }

    /// Kernels are told of fewer lanes than subgroups have, as on devices with subgroups of two sizes.
    #[test]
    fn subgroups_may_be_larger_than_kernels_know() {
        let open = |text: &str| Gpu::open_without(None, 0, &text.parse().unwrap()).unwrap();
        let lanes = open("").summing_lanes();
        assert_eq!(open("lanes=8").summing_lanes(), lanes.map(|_| 8));
        assert_eq!(open("lanes=4").summing_lanes(), None, "sums want 8 lanes");
        assert_eq!(open("lanes=1024").summing_lanes(), lanes);
    }

    #[test]
    fn too_little_is_said() {
        for (text, what) in
            [("buffers=7", "storage buffers"), ("binding=32M", "binding"), ("threads=128", "invocations")]
        {
            let error = Gpu::open_without(None, 0, &text.parse().unwrap()).unwrap_err().to_string();
            assert!(error.contains(text) && error.contains(what), "{error}");
        }
    }

    #[test]
    fn text_and_mask_are_the_same() {
        for text in ["", "f16", "f16,subgroups,dot", "cpu-kernels,buffers=8,binding=128M,threads=256,workgroup=16K"] {
            assert_eq!(text.parse::<Mask>().unwrap().to_string(), text);
        }
        let all = Ability::ALL.into_iter().fold(Mask::default(), Mask::without);
        let all = Limit::ALL.into_iter().fold(all, |mask, limit| mask.at_most(limit, 1000));
        assert_eq!(all.to_string().parse::<Mask>().unwrap(), all);
        assert_eq!(" threads = 1k ,dot,".parse::<Mask>().unwrap().to_string(), "dot,threads=1K");
        for wrong in ["f32", "f16=1", "threads", "threads=", "threads=-1", "binding=M", "binding=99999999999G", "=3"] {
            let error = wrong.parse::<Mask>().unwrap_err().to_string();
            assert!(error.contains(wrong) && error.contains("subgroups"), "{error}");
        }
    }

    #[test]
    fn of_two_masks_the_lower_limit_counts() {
        let [a, b]: [Mask; 2] = ["f16,threads=256,buffer=1G", "dot,threads=512"].map(|text| text.parse().unwrap());
        assert_eq!(a.and(&b).to_string(), "f16,dot,buffer=1G,threads=256");
        assert_eq!(a.and(&b), b.and(&a));
        assert_eq!(a.and(&Mask::default()), a);
    }
}
