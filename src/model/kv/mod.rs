//! Keys and values of past positions.

pub(crate) mod cache;
