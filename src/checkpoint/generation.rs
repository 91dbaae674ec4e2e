//! `generation_config.json`: how the model's makers want it sampled. Everything is optional.

use std::cell::RefCell;

use super::json::{self, Keys};
use crate::{Faults, Result};

const FILE: &str = "generation_config.json";

/// Defaults for sampling, as far as the checkpoint gives any.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct GenerationConfig {
    /// Sample rather than take the most probable token.
    pub do_sample: Option<bool>,
    /// Divides the logits.
    pub temperature: Option<f32>,
    /// Only the so many most probable tokens are drawn from; 0 is no limit.
    pub top_k: Option<usize>,
    /// Only the most probable tokens that together have this probability are drawn from.
    pub top_p: Option<f32>,
    /// Only tokens with at least this share of the best token's probability are drawn from.
    pub min_p: Option<f32>,
    /// Above 1, makes tokens that occurred less probable.
    pub repetition_penalty: Option<f32>,
    /// Tokens that end a text.
    pub eos_token_id: Vec<u32>,
    /// Begin of text.
    pub bos_token_id: Option<u32>,
    /// Padding.
    pub pad_token_id: Option<u32>,
    /// Tokens that are never drawn.
    pub suppress_tokens: Vec<u32>,
}

impl GenerationConfig {
    /// Reads `generation_config.json`.
    ///
    /// # Errors
    /// [`crate::Error::Model`] with every value that is out of range.
    pub fn parse(generation_config_json: &[u8]) -> Result<GenerationConfig> {
        let map = json::parse(FILE, generation_config_json)?;
        let faults: RefCell<Faults> = RefCell::default();
        let keys = Keys::new(FILE, &map, &faults);
        let config = GenerationConfig {
            do_sample: keys.flag("do_sample"),
            temperature: number(&keys, "temperature", 1e4),
            top_k: keys.value("top_k").map(|_| keys.integer("top_k", None, 0, 1 << 24)),
            top_p: number(&keys, "top_p", 1.0),
            min_p: number(&keys, "min_p", 1.0),
            repetition_penalty: number(&keys, "repetition_penalty", 1e4),
            eos_token_id: keys.ids("eos_token_id"),
            bos_token_id: keys.id("bos_token_id"),
            pad_token_id: keys.id("pad_token_id"),
            suppress_tokens: keys.ids("suppress_tokens"),
        };
        keys.finish()?;
        Ok(config)
    }
}

fn number(keys: &Keys, key: &str, most: f64) -> Option<f32> {
    let found = keys.value(key)?.as_f64().filter(|number| (0.0..=most).contains(number));
    if found.is_none() {
        keys.fault(key, &format!("a number from 0 to {most}"));
    }
    found.map(|number| number as f32)
}
