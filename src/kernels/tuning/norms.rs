//! Norms, choices and samplers: lanes of a workgroup.

use crate::gpu::Kind;

/// What norms, choices and samplers run with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NormTuning {
    /// Lanes of kernels that reduce something short: a power of two from 2 to 256.
    pub threads: u32,
    /// Lanes of kernels that norm a row at most: a power of two from 2 to 1024, cut to what the device allows.
    pub row_threads: u32,
    /// Whether weights of norms are read when they are needed, and not with the rest, which takes registers.
    pub late: bool,
    /// Whether the sampler's loops over a row of logits have a bound that compilers do not know, so that they unroll none.
    pub rolled: bool,
}

impl NormTuning {
    /// The values for devices of `kind`.
    pub const fn of(kind: Kind) -> Self {
        match kind {
            Kind::Cpu => NormTuning { threads: 16, row_threads: 16, late: false, rolled: false },
            Kind::Nvidia | Kind::Rdna | Kind::Gcn => {
                NormTuning { threads: 256, row_threads: 1024, late: false, rolled: false }
            }
            // Of workgroups of 1024 lanes a lane has 32 to 52 registers.
            Kind::Intel | Kind::Apple | Kind::Adreno | Kind::Unknown => {
                NormTuning { threads: 256, row_threads: 512, late: true, rolled: true }
            }
        }
    }
}
