//! The forward pass: a flat list of dispatches over named, preallocated buffers.

pub(crate) mod activations;
mod attention;
mod layer;
mod mlp;
pub(crate) mod op;
pub(crate) mod plan;
