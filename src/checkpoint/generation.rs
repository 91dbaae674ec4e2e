//! `generation_config.json`: how the model's makers want it sampled. Everything is optional, and a value that cannot be is said
//! when it is used: no command fails for what it does not need.

use std::cell::RefCell;

use serde_json::Value;

use crate::gemma4::json;
use crate::gemma4::json::{Keys, as_ids, as_integer};
use crate::{Faults, Result};

const FILE: &str = "generation_config.json";

/// Defaults for sampling, as far as the checkpoint gives any.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct GenerationConfig {
    /// Sample rather than take the most probable token.
    pub do_sample: Option<bool>,
    /// Divides the logits.
    pub temperature: Option<f32>,
    /// Only the so many most probable tokens are drawn from; 0 is no limit (`-1` in some files).
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
    /// Values that cannot be.
    wrong: Vec<Wrong>,
}

/// What is wrong with a value.
#[derive(Debug, Clone, PartialEq)]
struct Wrong {
    /// Its key; none for the file as a whole.
    key: Option<&'static str>,
    faults: Faults,
}

impl GenerationConfig {
    /// Reads `generation_config.json`. What is out of range is left out; [`Self::check`] says it.
    ///
    /// # Errors
    /// [`crate::Error::Model`] if it is no JSON object.
    pub fn parse(generation_config_json: &[u8]) -> Result<GenerationConfig> {
        let map = json::parse(FILE, generation_config_json)?;
        let faults: RefCell<Faults> = RefCell::default();
        let (keys, mut wrong) = (Keys::new(FILE, &map, &faults), Vec::new());
        let mut note = |key: &'static str| match faults.take() {
            found if found.count() > 0 => wrong.push(Wrong { key: Some(key), faults: found }),
            _ => {}
        };
        let mut number = |key, most| {
            let found = keys.number(key, 0.0, most).map(|number| number as f32);
            note(key);
            found
        };
        let temperature = number("temperature", 1e4);
        let (top_p, min_p) = (number("top_p", 1.0), number("min_p", 1.0));
        let repetition_penalty = number("repetition_penalty", 1e4);
        let do_sample = keys.flag("do_sample");
        note("do_sample");
        let top_k = keys.value("top_k").and_then(|value| {
            let found = as_top_k(value);
            if found.is_none() {
                keys.fault("top_k", "a whole number; 0 and -1 are no limit");
            }
            found
        });
        note("top_k");
        let mut ids = |key| {
            let found = keys.ids(key);
            note(key);
            found
        };
        let (eos_token_id, suppress_tokens) = (ids("eos_token_id"), ids("suppress_tokens"));
        // Nothing depends on these two.
        let first = |key| as_ids(keys.value(key)?)?.first().copied();
        let (bos_token_id, pad_token_id) = (first("bos_token_id"), first("pad_token_id"));
        Ok(GenerationConfig {
            do_sample,
            temperature,
            top_k,
            top_p,
            min_p,
            repetition_penalty,
            eos_token_id,
            bos_token_id,
            pad_token_id,
            suppress_tokens,
            wrong,
        })
    }

    /// All defaults, for a file of which nothing can be read because of `faults`.
    pub(super) fn unreadable(faults: Faults) -> Self {
        GenerationConfig { wrong: vec![Wrong { key: None, faults }], ..GenerationConfig::default() }
    }

    /// Fails if one of `keys`, which are about to be used, holds what it cannot.
    ///
    /// # Errors
    /// [`crate::Error::Model`] with key, found and expected.
    pub fn check(&self, keys: &[&str]) -> Result<()> {
        self.faults_of(keys).into_result(())
    }

    /// What is wrong with `keys`.
    pub(crate) fn faults_of(&self, keys: &[&str]) -> Faults {
        let used = |wrong: &&Wrong| !keys.is_empty() && wrong.key.is_none_or(|key| keys.contains(&key));
        let mut all = Faults::default();
        for wrong in self.wrong.iter().filter(used) {
            all.append(wrong.faults.clone());
        }
        all
    }
}

/// As many tokens as `top_k` says; beyond every vocabulary there is no limit.
fn as_top_k(value: &Value) -> Option<usize> {
    match value.as_f64() {
        Some(-1.0) => Some(0),
        _ => as_integer(value).map(|number| usize::try_from(number).unwrap_or(0)),
    }
}
