//! lapidary: Gemma 4 on any GPU.

pub mod checkpoint;
pub mod error;
pub mod generate;
pub mod gpu;
pub mod kernels;
pub mod model;
pub mod quant;
pub mod reference;
pub mod text;

pub use error::{Error, Faults, Result};
