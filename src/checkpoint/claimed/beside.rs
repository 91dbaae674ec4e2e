//! Files beside `config.json` that say how a checkpoint is quantized. They are read where `config.json` does not say it;
//! otherwise they are only compared with it.

use std::cell::RefCell;

use super::entry::{QuantizationConfig, Reader};
use super::known;
use super::method::read_method;
use crate::error::harmless;
use crate::gemma4::json;
use crate::gemma4::json::Keys;
use crate::{Fault, Faults};

/// Their names: of AutoGPTQ and GPTQModel, of AutoAWQ, of AutoRound.
pub(crate) const FILES: [&str; 3] = ["quantize_config.json", "quant_config.json", "quantization_config.json"];

/// A file beside `config.json`.
pub(crate) struct Beside {
    pub(crate) name: &'static str,
    pub(crate) bytes: Vec<u8>,
}

/// What the first of `files` says; the others are compared with it.
pub(super) fn read(faults: &RefCell<Faults>, files: &[Beside]) -> Option<QuantizationConfig> {
    let (Beside { name, bytes }, rest) = files.split_first()?;
    let map = match json::parse(name, bytes) {
        Ok(map) => map,
        Err(fault) => {
            faults.borrow_mut().push(*fault);
            return None;
        }
    };
    let mut config = read_method(&Keys::new(name, &map, faults), Some(name))?;
    compare(&mut config, faults, rest);
    Some(config)
}

/// Notes where `files` differ from `config`, which is taken. How zero points are stored must be the same where they do not
/// show it, and what changes the mathematics is refused wherever it stands.
pub(super) fn compare(config: &mut QuantizationConfig, faults: &RefCell<Faults>, files: &[Beside]) {
    for Beside { name, bytes } in files {
        let taken = config.file.unwrap_or("config.json");
        let map = match json::parse(name, bytes) {
            Ok(map) => map,
            Err(error) => {
                config.notes.push(format!("{}; {taken} is taken", harmless(&error.to_string(), 300)));
                continue;
            }
        };
        known::check_rotations(&Keys::new(name, &map, faults));
        // What else is wrong in it does not matter.
        let ignored = RefCell::default();
        let Some(other) = read_method(&Keys::new(name, &map, &ignored), Some(name)) else { continue };
        if let (Reader::Gptq(own), Reader::Gptq(others)) = (config.reader, other.reader)
            && own != others
            && config.sym_claim != Some(true)
        {
            let (found, expected) = (&other.format, config.key(&config.format));
            let fault = Fault::config(name).found(format!("{found} stores zero points in another way"));
            faults.borrow_mut().push(fault.expected(format!("the same as {expected}")));
        }
        let differing: Vec<&str> = [
            ("quant_method", other.quant_method != config.quant_method),
            ("bits", other.bits != config.bits),
            ("group_size", other.group_size != config.group_size),
            ("sym", other.sym_claim.is_some() && other.sym_claim != config.sym_claim),
            ("desc_act", other.desc_act != config.desc_act),
        ]
        .into_iter()
        .filter_map(|(key, differs)| differs.then_some(key))
        .collect();
        if !differing.is_empty() {
            let keys = differing.join(", ");
            config.notes.push(format!("{name}: says other than {taken}, which is taken, of {keys}"));
        }
    }
}
