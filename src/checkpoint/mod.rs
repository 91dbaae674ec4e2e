//! Files to configuration and named tensors.
