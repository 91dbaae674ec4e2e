//! From a checkpoint to a planned model: options, the memory that is taken before anything is read, weights, their upload.

pub(crate) mod advice;
pub(crate) mod layout;
pub(crate) mod loader;
pub(crate) mod memory;
pub(crate) mod options;
pub(crate) mod pipelines;
pub(crate) mod prepared;
pub(crate) mod share;
pub(crate) mod synthetic;
pub(crate) mod uploads;
pub(crate) mod weights;
