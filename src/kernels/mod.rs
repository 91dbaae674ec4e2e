//! The kernels in families: for each `shaders/FAMILY/NAME.wgsl` a `FAMILY/NAME.rs` with its parameters and `plan`, which checks
//! shapes and names the buffers that the shader binds. A plan is compiled and bound once ([`Planner::bind`]); running it only records.
//! What kernels share is in files without a shader: `planner` and `params`; `operands` and `tile_size` of products, `heads` of
//! attention.
//!
//! Parameters stand at binding 0, before the buffers, whose number differs from variant to variant.
//!
//! Kernels know tensors and numbers, not layers or checkpoint names. `reference::ops` has the same operations in plain
//! Rust, under the same names.

pub mod attention;
pub mod choice;
pub mod experts;
pub mod norm;
mod params;
mod planner;
pub mod product;
pub mod rounding;
pub mod rows;
mod shaders;
mod step_row;
pub mod tuning;

pub use crate::quant::Random;
pub use attention::kv::{KV_BLOCK, KvDtype};
pub(crate) use params::params;
use params::word;
use planner::flat_grid;
pub use planner::{Planned, Planner};
pub(crate) use product::host_stack::HostStack;
pub use product::tile::{DotTile, MatrixTile, Tile};
pub(crate) use product::weights::Extent;
pub use product::weights::Weights;
pub use product::weights_builder::WeightsBuilder;
pub(crate) use shaders::version;
pub use shaders::{SHADERS, SUBGROUP, Shader, source};
pub use step_row::{STEP_ROW_FIELDS, StepRow};
pub use tuning::Tuning;
