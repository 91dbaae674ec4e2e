//! Products of activations with weights: few rows, tiles of rows, and the weights as they lie on a device.

pub mod gelu_mul;
pub(crate) mod host_stack;
pub(crate) mod joined;
pub(crate) mod many;
pub(crate) mod matmul;
pub(crate) mod matmul_grouped;
pub mod matvec;
pub(crate) mod operands;
pub(crate) mod plan;
pub mod sum_shares;
pub(crate) mod tile;
pub(crate) mod tile_size;
pub(crate) mod weights;
pub(crate) mod weights_builder;

pub use matvec::Beside;
pub use operands::{Params, Rows};
pub use plan::{Gated, Product, Summed, plan};
