//! Tiers: which instructions of a device kernels may use.

use std::fmt;

use super::Gpu;

/// What kernels may use beyond WebGPU's floor. Each tier includes those before it; a kernel that has nothing to gain from
/// a tier is the same in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// f32 arithmetic in storage and workgroup memory: no f16, no subgroups, no integer dot product. Every device.
    Plain,
    /// Products of four 8-bit integers (`dot4I8Packed`), with activations rounded to int8 in blocks. It is defined
    /// everywhere, and fast where the device has an instruction for it.
    Dot,
    /// f16 arithmetic in tiles of many rows.
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

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Gpu {
    /// The strongest tier that this device can run.
    pub fn strongest_tier(&self) -> Tier {
        Tier::Dot
    }

    /// The tier that suits it: software adapters emulate integer dot products.
    pub fn default_tier(&self) -> Tier {
        if self.adapter().is_software() { Tier::Plain } else { self.strongest_tier() }
    }
}
