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

    use super::gpu::PipelineKey;

    /// The shapes of workgroups that `planner` plans with.
    pub fn tuning<'p>(planner: &'p Planner) -> &'p Tuning {
        &planner.tuning
    }

    /// As [`tuning()`], to try others.
    pub fn tuning_mut<'p>(planner: &'p mut Planner) -> &'p mut Tuning {
        &mut planner.tuning
    }

    /// Rows of a tile of the rows that a step of `rows` rows has for the experts of a rank, of which a token uses `top_k`.
    pub fn expert_tile_rows(planner: &Planner, rows: usize, top_k: usize, n_experts: usize) -> u32 {
        planner.expert_tile_rows(rows, top_k, n_experts)
    }

    /// What the pipeline of a kernel is compiled from.
    pub fn key(planned: &Planned) -> &PipelineKey {
        planned.key()
    }

    /// Binds `planned` with each shader text changed by `alter` and compiled under the name `variant`: how tests plant a bug
    /// and see it caught.
    ///
    /// # Errors
    /// As [`Planner::bind`].
    pub fn bind_altered(
        planner: &Planner,
        planned: &[Planned],
        variant: &'static str,
        alter: impl Fn(&str) -> String,
    ) -> crate::Result<Vec<super::gpu::Dispatch>> {
        planner.bind_altered(planned, variant, alter)
    }
}

/// The forward pass and all operations on the CPU.
pub mod reference {
    pub use crate::reference::*;
}

/// Buffers, pipelines and recorded passes.
pub mod gpu {
    pub use crate::gpu::buffer::{Binding, Tensor, Uniforms};
    pub use crate::gpu::device::IMMEDIATE_BYTES;
    pub use crate::gpu::pass::{Dispatch, Grid, Readback, Recorder};
    pub use crate::gpu::pending::Submission;
    pub use crate::gpu::pipeline::{Constants, Pipeline, PipelineKey, has_bounds_checks, with_immediates};
    pub use crate::gpu::place::Place;
    pub use crate::gpu::rehearsal::Imagined;
    pub use crate::gpu::specialize::{Specialized, specialize};
    pub use crate::gpu::testing::fault_injector::FaultInjector;
    pub use crate::gpu::upload::{Upload, Uploader};

    /// The pipeline for `key` on `gpu`, compiled from `wgsl` unless it is there already.
    ///
    /// # Errors
    /// [`crate::Error::Device`] where the device rejects the shader; as [`crate::gpu::Gpu::check`].
    pub fn pipeline(
        gpu: &crate::gpu::Gpu,
        key: &PipelineKey,
        wgsl: impl FnOnce() -> String,
    ) -> crate::Result<std::sync::Arc<Pipeline>> {
        gpu.pipeline(key, wgsl)
    }

    /// What the pipelines that `gpu` has compiled were made from, in no order.
    pub fn pipeline_keys(gpu: &crate::gpu::Gpu) -> Vec<PipelineKey> {
        gpu.pipeline_keys()
    }

    /// What plants faults in `gpu`.
    pub fn fault_injector(gpu: &crate::gpu::Gpu) -> FaultInjector {
        gpu.faults()
    }
}

/// How files' words become matrices, and random ones.
pub mod quant {
    use crate::quant::PackedMatrix;
    pub use crate::quant::join::{join_columns, join_rows};

    /// The code at output feature `n`, input feature `k`.
    pub fn code(m: &PackedMatrix, n: usize, k: usize) -> u32 {
        m.code(n, k)
    }

    /// The scale of group `g` in row `n`.
    pub fn scale(m: &PackedMatrix, n: usize, g: usize) -> f32 {
        m.scale(n, g)
    }

    pub use crate::quant::matrix::Groups;
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

/// Rows that no file holds.
pub mod checkpoint {
    use crate::checkpoint::RowReader;

    /// A matrix of made-up rows, which models without files look up.
    pub fn random_rows(rows: usize, width: usize) -> RowReader {
        RowReader::random(rows, width)
    }
}

/// How parts of ranks become whole.
pub mod parallel {
    pub use crate::parallel::collective::{Collective, HostMemory};
    pub use crate::parallel::part::Part;
}

/// What a planned pass compiles.
pub mod model {
    use std::sync::Arc;

    use crate::Result;
    use crate::gemma4::Config;
    use crate::gpu::Gpu;
    pub use crate::model::load::pipelines::PlannedPipeline;
    use crate::model::{Gemma4, Options};
    use crate::quant::Format;

    /// What the pipelines of a model of `config` are made from, whose layers are stored as `linear`; `None` for what
    /// [`Gemma4::synthetic`] makes. Nothing is compiled and nothing is taken of `gpu`.
    ///
    /// # Errors
    /// Those of [`Gemma4::synthetic`] that a device does not tell.
    pub fn synthetic_pipelines(
        gpu: &Arc<Gpu>,
        config: &Config,
        linear: Option<Format>,
        options: &Options,
    ) -> Result<Vec<PlannedPipeline>> {
        Gemma4::synthetic_pipelines(gpu, config, linear, options)
    }
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
