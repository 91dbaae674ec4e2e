//! Gemma 4 on the device.
//!
//! [`Gemma4::load`] verifies a checkpoint, uploads its weights and plans the forward pass: a flat list of dispatches over
//! preallocated activations, once for steps of few rows and once for chunks. There is one forward pass,
//! and it takes rows: `(slot, position, token)`. One row is a decode step, many rows of a slot are a prefill chunk, rows
//! of several slots are a batch. Running a step uploads its rows and records the list; nothing is allocated.

mod activations;
mod advice;
mod ahead;
mod fault;
mod gemma4;
mod host_experts;
mod kv_cache;
mod layer;
mod loader;
mod memory;
mod op;
mod options;
mod pass;
mod pipelines;
mod prepared;
mod rank;
mod run;
mod share;
mod step;
mod synthetic;
mod traffic;
mod under_way;
mod uploads;
mod weights;
mod windows;

pub use gemma4::Gemma4;
pub use memory::{DevicePlan, MemoryPlan};
pub use options::{Head, LoadTimes, Options, Precision, Progress};
pub use pipelines::PlannedPipeline;
pub use rank::RankMemory;
pub use step::{Activation, Output, Row, Want};
pub use synthetic::Outliers;
pub use traffic::{StepShape, Traffic};
pub use under_way::Next;
