//! Gemma 4 on the device.
//!
//! [`Gemma4::load`] verifies a checkpoint, uploads its weights and plans the forward pass: a flat list of dispatches over
//! preallocated activations, once for steps of few rows and once for chunks. There is one forward pass,
//! and it takes rows: `(slot, position, token)`. One row is a decode step, many rows of a slot are a prefill chunk, rows
//! of several slots are a batch. Running a step uploads its rows and records the list; nothing is allocated.

mod gemma4;
mod kv;
pub(crate) mod load;
mod pass;
mod run;

pub use crate::kernels::KvDtype;
pub use crate::kernels::choice::sample::Draw;
pub use gemma4::Gemma4;
pub use load::memory::{DevicePlan, MemoryPlan};
pub use load::options::{Head, LoadTimes, Options, Precision, Progress};
pub use load::synthetic::Outliers;
pub use load::weights::HostExperts;
pub use run::copy_rate::copy_rate;
pub use run::rank::{PlacedRank, RankMemory};
pub use run::step::{Activation, Output, Row, Traced, Want};
pub use run::traffic::{StepShape, Traffic};
pub use run::under_way::{Chosen, Next};
