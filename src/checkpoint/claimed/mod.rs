//! How a checkpoint is quantized: `quantization_config` of `config.json`, or a file beside it. Which matrices are quantized
//! is read from the files' headers, and everything that the tensors show themselves is checked against what is said here.

mod beside;
mod entry;
mod groups;
mod known;
mod method;
mod name;
mod names;
mod values;

use std::cell::RefCell;

use crate::Faults;
use crate::gemma4::json::Keys;
pub(crate) use beside::{Beside, FILES};
pub use entry::QuantizationConfig;
pub(crate) use entry::{Claim, Reader};
use method::{SUPPORTED, read_method};
pub(crate) use names::{Rules, Said};

/// `quantization_config` of the top level or of `text_config`; where there is none, the first of the files `beside`, each
/// with its name.
pub(crate) fn read(top: &Keys, text: &Keys, faults: &RefCell<Faults>, beside: &[Beside]) -> Option<QuantizationConfig> {
    known::check_rotations(top);
    if !std::ptr::eq(top, text) {
        known::check_rotations(text);
    }
    if let Some(keys) = [top, text].into_iter().find(|keys| keys.value("compression_config").is_some()) {
        keys.unsupported("compression_config", SUPPORTED);
        return None;
    }
    let is_there = |keys: &&Keys| keys.value("quantization_config").is_some();
    match [top, text].into_iter().find(is_there) {
        Some(outer) => {
            let mut config = read_method(&outer.object("quantization_config")?, None)?;
            beside::compare(&mut config, faults, beside);
            Some(config)
        }
        None => beside::read(faults, beside),
    }
}
