//! What `config.json` and the files beside it say.

use super::claimed::{self, QuantizationConfig};
use crate::Result;
use crate::gemma4::Config;

/// The model of a checkpoint, and how it is quantized.
#[derive(Debug, Clone, PartialEq)]
pub struct Configuration {
    /// The model.
    pub model: Config,
    /// How its quantized matrices are; `None` where nothing says so.
    pub quantization: Option<QuantizationConfig>,
}

impl Configuration {
    /// Reads `config.json`.
    ///
    /// # Errors
    /// [`crate::Error::Model`] with every key that is missing, out of range, contradictory or not supported.
    pub fn parse(config_json: &[u8]) -> Result<Self> {
        Self::parse_beside(config_json, &[])
    }

    /// Reads `config.json`, and of [`claimed::FILES`] those that lie beside it, by name.
    pub(super) fn parse_beside(config_json: &[u8], beside: &[claimed::Beside]) -> Result<Self> {
        let (model, quantization) =
            Config::parse_with(config_json, |top, keys, faults| claimed::read(top, keys, faults, beside))?;
        Ok(Configuration { model, quantization })
    }
}
