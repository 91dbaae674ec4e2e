//! Norms, choices and samplers: lanes of a workgroup.

use super::kind::Kind;

/// What norms, choices and samplers run with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NormTuning {
    /// Lanes of kernels that reduce something short: a power of two from 2 to 256.
    pub threads: u32,
    /// Lanes of kernels that norm a row at most: a power of two from 2 to 1024, cut to what the device allows.
    pub row_threads: u32,
}

impl NormTuning {
    /// The values for devices of `kind`.
    pub const fn of(kind: Kind) -> Self {
        match kind {
            Kind::Cpu => NormTuning { threads: 16, row_threads: 16 },
            Kind::Nvidia | Kind::Rdna | Kind::Gcn | Kind::Intel | Kind::Apple | Kind::Adreno | Kind::Unknown => {
                NormTuning { threads: 256, row_threads: 1024 }
            }
        }
    }
}
