//! Formats of matrices in files, a reader each: what tensors a matrix has, whether they fit together, and what they hold.

pub(crate) mod awq;
pub(crate) mod compressed;
pub(crate) mod dense;
pub(crate) mod experts;
pub(crate) mod gptq;
pub(crate) mod matrix_info;
pub(crate) mod numbers;
pub(crate) mod zeros;
