//! The door through which tests, measurements and fuzz targets reach what no other program needs, and what they share with the
//! doctor: made-up matrices, steps and rows of the table of tensors, twins of kernels on buffers, derived bounds. None of it is public in the sense of a
//! promise: it changes with the inside.
//!
//! Modules that are named as those of the crate ([`kernels`], [`gpu`], ...) lead to what is private in these.

pub mod attention_step;
pub mod bounds;
pub mod matrices;
pub mod random;
pub mod table;
pub mod twins;
pub mod workbench;

/// All kernels.
pub mod kernels {
    pub use crate::kernels::*;
}

/// The forward pass and all operations on the CPU.
pub mod reference {
    pub use crate::reference::*;
}

/// Buffers, pipelines and recorded passes.
pub mod gpu {
    pub use crate::gpu::buffer::{Binding, Place, Tensor, Uniforms};
    pub use crate::gpu::device::IMMEDIATE_BYTES;
    pub use crate::gpu::pass::{Dispatch, Grid, Readback, Recorder};
    pub use crate::gpu::pending::Submission;
    pub use crate::gpu::pipeline::{Constants, Pipeline, PipelineKey, has_bounds_checks, with_immediates};
    pub use crate::gpu::rehearsal::Imagined;
    pub use crate::gpu::specialize::{Specialized, specialize};
    pub use crate::gpu::upload::{Upload, Uploader};
}

/// How files' words become matrices, and random ones.
pub mod quant {
    pub use crate::quant::random::{Bits, RandomBits};

    /// AWQ as GPTQ.
    pub mod awq {
        pub use crate::quant::awq::*;
    }

    /// What llm-compressor writes.
    pub mod compressed_tensors {
        pub use crate::quant::compressed_tensors::*;
    }

    /// The GPTQ family.
    pub mod gptq {
        pub use crate::quant::gptq::*;
    }

    /// Dense matrices as quantized ones.
    pub mod requantize {
        pub use crate::quant::requantize::*;
    }
}

/// How parts of ranks become whole.
pub mod parallel {
    pub use crate::parallel::collective::{Collective, HostMemory};
    pub use crate::parallel::part::Part;
}

/// What a planned pass compiles.
pub mod model {
    pub use crate::model::load::pipelines::PlannedPipeline;
}

/// Single checks of the doctor's.
pub mod doctor {
    pub use crate::doctor::dot_probe::probe;
    pub use crate::doctor::start::Start;

    /// One check for each kind of kernel.
    pub mod checks {
        pub use crate::doctor::checks::*;
    }
}
