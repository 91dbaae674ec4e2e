//! The choice of the next token: the most probable one or a drawn one.

pub mod argmax;
pub mod sample;
pub mod strip_max;
pub mod suppress;
