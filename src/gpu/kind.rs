//! Kinds of devices, and which of them an adapter is.

use std::fmt;
use std::str::FromStr;

use super::adapter::AdapterReport;
use super::mask::{Ability, Mask};
use crate::error::Usage;
use crate::{Error, Result};

/// A kind of device: one architecture of registers and one compiler, as far as shapes of workgroups depend on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// NVIDIA's GPUs: 255 registers a lane, subgroups of 32.
    Nvidia,
    /// AMD's GPUs whose subgroups have 32 or 64 lanes: RDNA 1 to 4.
    Rdna,
    /// AMD's GPUs whose subgroups have 64 lanes always: GCN and CDNA.
    Gcn,
    /// Intel's GPUs: subgroups of 8, 16 or 32, as the compiler chooses.
    Intel,
    /// Apple's GPUs, under Metal and under Vulkan.
    Apple,
    /// Qualcomm's GPUs.
    Adreno,
    /// Software adapters: a CPU pays for every barrier and has no latency to hide. Every index is checked.
    Cpu,
    /// Every other GPU: values that no compiler spills with.
    Unknown,
}

/// Numbers by which adapters name who made them.
const NVIDIA: u32 = 0x10de;
const AMD: u32 = 0x1002;
const INTEL: u32 = 0x8086;
const APPLE: u32 = 0x106b;
const QUALCOMM: u32 = 0x5143;

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 8] =
        [Kind::Nvidia, Kind::Rdna, Kind::Gcn, Kind::Intel, Kind::Apple, Kind::Adreno, Kind::Cpu, Kind::Unknown];

    /// As it is written on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Nvidia => "nvidia",
            Kind::Rdna => "rdna",
            Kind::Gcn => "gcn",
            Kind::Intel => "intel",
            Kind::Apple => "apple",
            Kind::Adreno => "adreno",
            Kind::Cpu => "cpu",
            Kind::Unknown => "unknown",
        }
    }

    /// The kind of an adapter of which `mask` leaves something unused, and what that follows from.
    pub fn of_adapter(adapter: &AdapterReport, mask: &Mask) -> Recognized {
        if adapter.is_software() {
            return match mask.has(Ability::CpuKernels) {
                true => Recognized::new(Kind::Unknown, "a software adapter without cpu-kernels"),
                false => Recognized::new(Kind::Cpu, "a software adapter"),
            };
        }
        let wgpu::AdapterInfo { vendor, subgroup_min_size: least, subgroup_max_size: most, .. } = adapter.info;
        of_gpu(vendor, &adapter.info.name, least, most)
    }
}

/// A kind of device, and what it was recognized by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recognized {
    /// The kind.
    pub kind: Kind,
    /// What it follows from.
    pub reason: String,
}

impl Recognized {
    pub(super) fn new(kind: Kind, reason: impl Into<String>) -> Self {
        Recognized { kind, reason: reason.into() }
    }
}

/// The kind of a GPU by its maker's number, its name and the sizes of its subgroups. Metal gives no numbers, and wgpu no
/// sizes for it.
fn of_gpu(vendor: u32, name: &str, least: u32, most: u32) -> Recognized {
    let says = |maker: &str| name.to_lowercase().starts_with(maker);
    match vendor {
        NVIDIA => Recognized::new(Kind::Nvidia, "NVIDIA"),
        AMD if least == 64 => Recognized::new(Kind::Gcn, "AMD, subgroups of 64"),
        AMD if (least, most) == (32, 64) => Recognized::new(Kind::Rdna, "AMD, subgroups of 32 to 64"),
        AMD if most == 32 => Recognized::new(Kind::Rdna, "AMD, subgroups of 32"),
        INTEL => Recognized::new(Kind::Intel, "Intel"),
        APPLE => Recognized::new(Kind::Apple, "Apple"),
        QUALCOMM => Recognized::new(Kind::Adreno, "Qualcomm"),
        _ if says("apple ") => Recognized::new(Kind::Apple, "Apple, by its name"),
        _ if says("intel") => Recognized::new(Kind::Intel, "Intel, by its name"),
        AMD => Recognized::new(Kind::Unknown, format!("AMD, but with subgroups of {least} to {most}")),
        _ => Recognized::new(Kind::Unknown, format!("no table is for the maker {vendor:#06x}")),
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Kind {
    type Err = Error;

    /// # Errors
    /// [`Error::Usage`] for a name that is none; it lists the names.
    fn from_str(text: &str) -> Result<Self> {
        Kind::ALL.into_iter().find(|kind| kind.name() == text).ok_or_else(|| {
            let names = Kind::ALL.map(Kind::name).join(", ");
            let expected = format!("one of {names}");
            Error::Usage(Usage::Name { what: "kind of device", name: text.to_owned(), expected })
        })
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    /// What drivers were seen to report, and what wgpu says under Metal.
    #[test]
    fn adapters_are_known_by_what_they_report() {
        for (vendor, name, sizes, kind) in [
            (NVIDIA, "NVIDIA H100 80GB HBM3", (32, 32), Kind::Nvidia),
            (AMD, "AMD Radeon Graphics (RADV NAVI31)", (32, 64), Kind::Rdna),
            (AMD, "AMD Radeon RX Vega (RADV VEGA10)", (64, 64), Kind::Gcn),
            (AMD, "AMD Instinct MI200", (64, 64), Kind::Gcn),
            (AMD, "a card to come", (16, 128), Kind::Unknown),
            (INTEL, "Intel(R) Arc(tm) A770M Graphics (DG2)", (8, 32), Kind::Intel),
            (QUALCOMM, "Turnip Adreno (TM) 740", (64, 128), Kind::Adreno),
            (0x10005, "Apple M1 (G13G B0)", (32, 32), Kind::Apple),
            (APPLE, "Apple M2", (32, 32), Kind::Apple),
            (0, "Apple M3 Pro", (4, 64), Kind::Apple),
            (0, "Intel(R) Iris(TM) Plus Graphics 655", (4, 64), Kind::Intel),
            (0, "AMD Radeon Pro 5300M", (4, 64), Kind::Unknown),
            (0x13b5, "Mali-G715", (16, 16), Kind::Unknown),
            (0x1010, "PowerVR B-Series BXM-4-64", (32, 32), Kind::Unknown),
            (0x14e4, "V3D 7.1.7.0", (16, 16), Kind::Unknown),
        ] {
            let Recognized { kind: found, reason: why } = of_gpu(vendor, name, sizes.0, sizes.1);
            assert_eq!(found, kind, "{name}: {why}");
            assert!(!why.is_empty(), "{name}");
        }
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for kind in Kind::ALL {
            assert_eq!(kind.to_string().parse::<Kind>().unwrap(), kind);
        }
        let error = "amd".parse::<Kind>().unwrap_err().to_string();
        assert!(error.contains("\"amd\"") && error.contains("rdna, gcn"), "{error}");
    }
}
