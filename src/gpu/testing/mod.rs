//! What tests ask of a device: faults at a place of their choice.

pub(crate) mod fault_injector;
