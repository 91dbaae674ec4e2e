//! Formats of quantized matrices, as tools write them.

pub(crate) mod compressed;
pub(crate) mod experts;
pub(crate) mod matrix_info;
pub(crate) mod zeros;
