//! Amounts of memory.

mod parse;
mod size;

pub use size::Bytes;
