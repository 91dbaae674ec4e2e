//! The same mathematics on the CPU in plain loops: the oracle of every test. [`ops`] has a twin for each kernel, under
//! the kernel's name; [`model`] is the whole forward pass. Nothing here is fast, and nothing here runs unasked.

pub mod model;
pub mod ops;
