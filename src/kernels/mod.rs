//! The kernels: for each `shaders/NAME.wgsl` a `NAME.rs` with its parameters and `plan`, which checks shapes and names
//! the buffers that the shader binds. A plan is compiled and bound once ([`Planner::bind`]); running it only records.
//! What kernels share is in files without a shader: `planner` and `params`; `operands` and `tile_size` for products, `heads` for
//! attention.
//!
//! Parameters stand at binding 0, before the buffers, whose number differs from variant to variant.
//!
//! Kernels know tensors and numbers, not layers or checkpoint names. `reference::ops` has the same operations in plain
//! Rust, under the same names.

pub mod add_norm;
pub mod argmax;
pub mod attention;
pub mod attention_join;
pub mod attention_matrix;
pub mod attention_tile;
pub mod copy_words;
pub mod embed;
pub mod fill_random;
pub mod gather_rows;
pub mod gelu_mul;
pub mod head_norm_rope;
mod heads;
mod host_stack;
mod kv;
pub mod kv_store;
mod matmul;
pub mod matvec;
pub mod moe_combine;
pub mod moe_group;
pub mod moe_sum;
pub mod not_finite;
mod operands;
mod params;
pub mod per_layer_inputs;
mod planner;
pub mod product;
pub mod quantize_rows;
pub mod rms_norm;
pub mod round_rows;
pub mod rounded;
pub mod router;
pub mod sample;
mod shaders;
mod step_row;
pub mod strip_max;
pub mod sum_shares;
pub mod suppress;
mod tile;
mod tile_size;
pub mod tuning;
mod weights;
mod weights_builder;

pub use crate::quant::Random;
pub(crate) use host_stack::HostStack;
pub use kv::{KV_BLOCK, KvDtype};
pub(crate) use params::params;
use params::word;
use planner::flat_grid;
pub use planner::{Planned, Planner};
pub(crate) use shaders::version;
pub use shaders::{SHADERS, SUBGROUP, Shader, source};
pub use step_row::{STEP_ROW_FIELDS, StepRow};
pub use tile::{DotTile, MatrixTile, Tile};
pub use tuning::Tuning;
pub use weights::Weights;
pub(crate) use weights_builder::Form;
pub use weights_builder::WeightsBuilder;
