//! Files and their headers: what is there, and where in it the bytes of a tensor are.

pub(crate) mod blob;
pub(crate) mod folder;
pub(crate) mod foreign;
pub(crate) mod index;
pub(crate) mod missing;
pub(crate) mod safetensors;
pub(crate) mod shards;
pub(crate) mod source;
pub(crate) mod weight_map;
