//! The kernels in families: for each `shaders/FAMILY/NAME.wgsl` a `FAMILY/NAME.rs`, its host, with its parameters and `plan`, which
//! checks shapes and gives a buffer for each variable that the shader binds. A plan is compiled and bound once ([`Planner::bind`]);
//! running it only records. What kernels share is in files without a shader: `planner` and `params`; `operands`, `many` (rows
//! in tiles) and `tile_size` of products, `heads` of attention.
//!
//! A shader's text is its own file behind the snippets in `shaders/common/` that it needs. Which these are depends on the variant:
//! how weights are stored, what is rounded, what multiplies, what else the dispatch does ([`Shader::variant`]). Each file's first
//! lines say which names it needs of which part and which it gives, and `shaders` composes by that.
//!
//! Hosts name buffers after the shader's variables; the planner finds their numbers. A name too many or too few ends planning
//! with a message that names shader, variant and variable. Parameters are the variable `params` at binding 0, which the
//! planner binds, or come with the commands; it compares names and types of the host's with those of the shader's struct.
//!
//! A new kernel is a shader with its head, a host, a twin in `reference::ops` and a test, all under one name: CONTRIBUTING.md
//! says where.
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

pub use attention::kv::{KV_BLOCK, KvDtype};
pub(crate) use params::params;
use params::word;
pub(crate) use params::{Parameter, Parameters};
use planner::{NamedBuffers, flat_grid};
pub use planner::{Planned, Planner, ShaderName};
pub(crate) use product::host_stack::HostStack;
pub use product::tile::{DotTile, MatrixTile, Tile};
pub use product::weights::Weights;
pub(crate) use product::weights::{Extent, Spot};
pub use product::weights_builder::WeightsBuilder;
pub(crate) use shaders::version;
pub use shaders::{SHADERS, SUBGROUP, Shader, source};
pub use step_row::{STEP_ROW_FIELDS, StepRow};
pub use tuning::Tuning;
