//! The forward pass: a flat list of dispatches over named, preallocated buffers.

pub(crate) mod activations;
pub(crate) mod layer;
pub(crate) mod op;
pub(crate) mod plan;
