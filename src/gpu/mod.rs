//! The only place that creates wgpu objects: adapter choice, device, buffers, pipelines, recorded passes.
//!
//! [`adapters`] lists what the machine has and why an adapter is or is not the default; [`Gpu::open`] opens one, and
//! [`Gpu::open_without`] one that does without some of its features and limits ([`Mask`]).
//! [`Gpu`] hands out buffers ([`Tensor`]) and compiled [`Pipeline`]s, runs lists of [`Dispatch`]es in one compute pass
//! each, and turns every wgpu error into [`crate::Error`]: the first one is what every later call gives. `FaultInjector` plants
//! some. [`Recorder::paced`] keeps submissions short. [`Gpu::start_profile`] times each dispatch.

mod adapter;
mod blocking;
pub(crate) mod buffer;
mod compile;
mod compiler;
pub(crate) mod device;
mod device_tiers;
mod failure;
mod kind;
mod label;
mod mask;
mod pace;
pub(crate) mod pass;
pub(crate) mod pending;
pub(crate) mod pipeline;
mod pipeline_cache;
pub(crate) mod place;
mod profile;
pub(crate) mod rehearsal;
pub(crate) mod specialize;
mod speed;
pub(crate) mod testing;
mod tier;
mod timing;
pub(crate) mod upload;
mod waiting;

pub use adapter::{AdapterReport, Verdict, adapters, dx12_trouble, no_adapter};
pub(crate) use buffer::{Binding, Tensor, Uniforms};
pub use compiler::Compiler;
pub use device::Gpu;
pub use kind::{Kind, Recognized};
pub use label::Label;
pub use mask::{Ability, Limit, Mask};
pub(crate) use pass::{Dispatch, Grid, Readback, Recorder, StepRows};
pub(crate) use pending::Submission;
pub(crate) use pipeline::{Constants, Pipeline, PipelineKey};
#[cfg(feature = "fuzzing")]
pub(crate) use pipeline_cache::decode as decode_pipelines;
pub(crate) use place::Place;
pub use profile::{Timestamps, Timing};
pub(crate) use speed::TARGET_SECONDS;
pub use tier::{Tier, Tiers};
pub(crate) use upload::{UPLOADER_BYTES, Upload, Uploader};
