//! Models with tensors that no model has: rows that are added to the table, and where what they name turns up.

use std::path::Path;

use crate::Result;
use crate::checkpoint::{Checkpoint, Source, Written, write_model};
use crate::gemma4::Config;
use crate::gemma4::json;
pub use crate::gemma4::tensors::{CutBy, Entry, Norm, Place, Scope, Shape, SizeOf, Table, When};
use crate::model::Gemma4;

/// The configuration that `config_json` says, with the tensors `more`.
///
/// # Errors
/// As [`Config::parse`].
pub fn config(config_json: &[u8], more: &[Entry]) -> Result<Config> {
    let mut config = Config::parse(config_json)?;
    more.iter().for_each(|entry| config.tensors.push(*entry));
    Ok(config)
}

/// Writes a model of it with random weights, as [`crate::checkpoint::write_random`] does.
///
/// # Errors
/// As [`crate::checkpoint::write_random`] and [`config`].
pub fn write(directory: &Path, config_json: &[u8], more: &[Entry]) -> Result<Written> {
    let map = json::parse("config.json", config_json)?;
    write_model(directory, map, &config(config_json, more)?, &|_, _| ())
}

/// Opens a checkpoint that must have the tensors `more`.
///
/// # Errors
/// As [`Checkpoint::open`].
pub fn open(directory: &Path, more: &[Entry]) -> Result<Checkpoint> {
    let change = |config: &mut Config| more.iter().for_each(|entry| config.tensors.push(*entry));
    Checkpoint::open_with(Source::Directory(directory.into()), change)
}

/// The words that each rank's device holds of the place `label` in `layer`: rows, weights or codes. Empty where it holds none.
///
/// # Errors
/// [`crate::Error::Memory`] and [`crate::Error::Run`] of the device.
pub fn held(model: &Gemma4, label: &str, layer: Option<usize>) -> Result<Vec<Vec<u32>>> {
    model.held(label, layer)
}
