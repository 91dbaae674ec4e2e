//! Gemma 4 as it is written down: configuration, presets, and the table of its tensors. No files, no GPU.

mod check;
mod config;
mod fields;
pub(crate) mod json;
mod layers;
mod presets;
mod read_layers;
mod rotary;
pub(crate) mod tensors;

pub use fields::{Config, ParameterCounts};
pub use layers::{LayerConfig, LayerKind, Rope};
pub use presets::Cut;
pub use tensors::Role;
