//! RMS norms and what is fused with them.

pub mod add_norm;
pub mod per_layer_inputs;
pub mod rms_norm;
