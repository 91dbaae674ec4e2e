//! One product on a GPU: rows of activations times a matrix of weights in any of its formats, as `examples/hello_kernel.rs`
//! shows it.
//!
//! [`Weights::upload`] takes a [`crate::quant::Matrix`]; [`plan()`] checks shapes and chooses a kernel, and what does not go
//! together is [`crate::error::Usage::Shape`]; [`Planner::bind_all`] compiles and binds it; a [`Recorder`] runs it as often as it is
//! told.

pub use crate::gpu::buffer::Tensor;
pub use crate::gpu::pass::{Dispatch, Readback, Recorder};
pub use crate::gpu::pending::Submission;
pub use crate::gpu::place::Place;
pub use crate::kernels::experts::moe_group::Groups;
pub use crate::kernels::experts::router::Choice;
pub use crate::kernels::product::{Beside, Gated, Product, Rows, Summed, plan};
pub use crate::kernels::rounding::int8_by_16::Input;
pub use crate::kernels::{Planned, Planner, ShaderName, Weights};
