//! Doors to what no caller needs, for the targets in `fuzz/`; there only with the feature `fuzzing`.

use crate::doctor::Record;

pub use crate::checkpoint::fuzzing::{Listed, tensors};

/// The doctor's record in a file's `bytes`, `None` where they are not what was written.
pub fn record(bytes: &[u8]) -> Option<Record> {
    Record::decode(std::str::from_utf8(bytes).ok()?)
}

/// The driver's data in the `bytes` of a file of compiled pipelines, `None` where they are not what was written.
pub fn pipelines(bytes: &[u8]) -> Option<&[u8]> {
    crate::gpu::decode_pipelines(bytes)
}
