//! lapidary: Gemma 4 on any GPU.

pub mod checkpoint;
pub mod error;
pub mod quant;
pub mod text;

pub use error::{Error, Faults, Result};
