//! Reading `tokenizer.json`: every count and length has a bound that is looked at while the file is read, what is not known
//! is refused by name, and nothing of the file is parsed a second time. The tokenizer crate gets a checked vocabulary.

use std::collections::HashMap;
use std::fmt;

use ahash::AHashMap;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::tokenizer_fault::{fault, part, show};
use super::tokenizer_model::{MAX_VOCABULARY, Model};
use super::tokenizer_parts::Parts;
use crate::decode;
use crate::error::{Result, harmless};
use crate::strict::Reader;

/// Largest file that is read.
pub const MAX_FILE_BYTES: usize = 64 << 20;
/// Bytes of one component, such as the decoder: Gemma's post-processor has 300.
const MAX_PART_BYTES: usize = 64 << 10;
/// Tokens that are listed by name, bytes of one and of all: Gemma 3 lists 6,415 of 96 KiB.
const MAX_ADDED: usize = 1 << 16;
const MAX_ADDED_BYTES: usize = 256;
const MAX_ADDED_BYTES_TOGETHER: usize = 1 << 20;

/// A file, checked.
pub(crate) struct File {
    /// Tokens that are listed by name.
    pub(crate) added: Vec<Added>,
    /// Normalizer, pre-tokenizer, post-processor, decoder.
    pub(crate) parts: Parts,
    /// The vocabulary and how it is used.
    pub(crate) model: Model,
}

/// A token that is listed by name.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Added {
    pub(crate) id: u32,
    pub(crate) content: String,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    #[serde(default)]
    pub(crate) normalized: bool,
    #[serde(default)]
    pub(crate) special: bool,
}

/// Reads and checks the file.
///
/// # Errors
/// [`crate::Error::Model`] with the first fault.
pub(crate) fn read(json: &[u8]) -> Result<File> {
    if json.len() > MAX_FILE_BYTES {
        return Err(fault(format!("{} bytes", json.len())).expected(format!("at most {MAX_FILE_BYTES}")).into());
    }
    let text =
        decode::text(json).map_err(|error| fault(format!("found {}", error.found())).expected(decode::EXPECTED))?;
    let mut text = serde_json::Deserializer::from_str(&text);
    let raw = text.deserialize_map(RawVisitor).and_then(|raw| text.end().map(|()| raw));
    let raw = raw.map_err(|error| fault(error.to_string()))?;
    raw.model.check()?;
    check_added(&raw.added, &raw.model.vocab)?;
    let [normalizer, pre_tokenizer, post_processor, decoder] = &raw.parts;
    let parts = Parts::read(normalizer, pre_tokenizer, post_processor, decoder)?;
    Ok(File { added: raw.added, parts, model: raw.model })
}

fn check_added(added: &[Added], vocabulary: &AHashMap<String, u32>) -> Result<()> {
    let limit = (vocabulary.len() + added.len()).min(MAX_VOCABULARY);
    let mut names: HashMap<u32, &str> = HashMap::new();
    let mut ids: HashMap<&str, u32> = HashMap::new();
    for token in added {
        let Added { id, content, .. } = token;
        if content.is_empty() {
            return Err(part(format!("added token {id}")).found("empty text").expected("a name").into());
        }
        let name = show(content);
        if *id as usize >= limit {
            return Err(part(format!("added token {name}"))
                .found(format!("id {id}"))
                .expected(format!("less than {limit}"))
                .into());
        }
        if let Some(other) = names.insert(*id, content).filter(|other| other != content) {
            let other = show(other);
            return Err(part(format!("added tokens {other} and {name}"))
                .found(format!("both have id {id}"))
                .expected("two ids")
                .into());
        }
        if let Some(other) = ids.insert(content, *id).filter(|other| other != id) {
            return Err(part(format!("added token {name}"))
                .found(format!("ids {other} and {id}"))
                .expected("one id")
                .into());
        }
        // A prompt is cut at its special tokens before the tokenizer sees it, so none of these would be obeyed.
        for (flag, on) in [("single_word", token.single_word), ("lstrip", token.lstrip), ("rstrip", token.rstrip)] {
            if on {
                return Err(part(format!("added token {name}"))
                    .found(format!("{flag} is true"))
                    .expected("false")
                    .into());
            }
        }
    }
    Ok(())
}

/// The file before its components are looked at.
struct Raw {
    added: Vec<Added>,
    parts: [Value; 4],
    model: Model,
}

const PARTS: [&str; 4] = ["normalizer", "pre_tokenizer", "post_processor", "decoder"];

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with model, added_tokens, normalizer, pre_tokenizer, post_processor and decoder")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Raw, A::Error> {
        let (mut seen, mut added, mut model) = (Vec::new(), Vec::new(), None);
        let mut parts = [const { Value::Null }; 4];
        while let Some(key) = map.next_key::<String>()? {
            if seen.contains(&key) {
                return Err(A::Error::custom(format!("the key {} twice, expected once", show(&key))));
            }
            match key.as_str() {
                "version" => {
                    let version: Value = map.next_value_seed(Reader::new(MAX_PART_BYTES).seed())?;
                    if version != "1.0" {
                        return Err(A::Error::custom(format!(
                            "version is {}, expected \"1.0\"",
                            harmless(&version.to_string(), 60)
                        )));
                    }
                }
                // Both belong to training and batches; prompts are never cut or filled up.
                "truncation" | "padding" => drop(map.next_value::<serde::de::IgnoredAny>()?),
                "added_tokens" => added = map.next_value_seed(AddedTokens)?,
                "model" => model = Some(map.next_value::<Model>()?),
                name => match PARTS.iter().position(|part| *part == name) {
                    Some(part) => parts[part] = part_value(name, &mut map)?,
                    None => {
                        let known = "version, truncation, padding, added_tokens, model, normalizer, pre_tokenizer, \
                                     post_processor or decoder";
                        return Err(A::Error::custom(format!("found the key {}, expected {known}", show(name))));
                    }
                },
            }
            seen.push(key);
        }
        let model = model.ok_or_else(|| A::Error::custom("no model, expected one"))?;
        Ok(Raw { added, parts, model })
    }
}

/// A component as JSON, within its bound.
fn part_value<'de, A: MapAccess<'de>>(name: &str, map: &mut A) -> std::result::Result<Value, A::Error> {
    let reader = Reader::new(MAX_PART_BYTES);
    map.next_value_seed(reader.seed()).map_err(|error| match reader.refusal() {
        Some(refusal) => A::Error::custom(format!("{name}: {refusal}")),
        None => error,
    })
}

/// Reads the list of added tokens and counts on the way.
struct AddedTokens;

impl<'de> DeserializeSeed<'de> for AddedTokens {
    type Value = Vec<Added>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<Vec<Added>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for AddedTokens {
    type Value = Vec<Added>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of added tokens")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> std::result::Result<Vec<Added>, A::Error> {
        let (mut added, mut bytes) = (Vec::new(), 0);
        while let Some(token) = list.next_element::<Added>()? {
            let length = token.content.len();
            bytes += length;
            if length > MAX_ADDED_BYTES {
                let name = show(&token.content);
                return Err(A::Error::custom(format!(
                    "added token {name}: {length} bytes, expected at most {MAX_ADDED_BYTES}"
                )));
            }
            added.push(token);
            if added.len() > MAX_ADDED || bytes > MAX_ADDED_BYTES_TOGETHER {
                return Err(A::Error::custom(format!(
                    "added_tokens: {} of {bytes} bytes or more, expected at most {MAX_ADDED} of \
                     {MAX_ADDED_BYTES_TOGETHER}",
                    added.len()
                )));
            }
        }
        Ok(added)
    }
}
