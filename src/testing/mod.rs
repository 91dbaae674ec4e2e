//! What tests and the doctor share: made-up matrices, steps and rows of the table of tensors, twins of kernels on buffers, derived bounds.

pub mod attention_step;
pub mod bounds;
pub mod matrices;
pub mod random;
pub mod table;
pub mod twins;
pub mod workbench;
