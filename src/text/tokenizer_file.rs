//! Checks of `tokenizer.json` before the tokenizer crate sees it: sizes, ids, and a form that can be decoded in a stream.

use std::collections::{HashMap, HashSet};
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use crate::error::{Error, Result};

/// Largest file that is read.
pub const MAX_FILE_BYTES: usize = 64 << 20;
/// Largest vocabulary, and one more than the largest id.
pub const MAX_VOCABULARY: usize = 1 << 20;
/// Most merges.
const MAX_MERGES: usize = 2_000_000;
/// Regular expressions that are known to be harmless. The engine can backtrack, so others are refused.
const KNOWN_PATTERNS: [&str; 1] = [r"[^\n]+|[\n]+"];

/// What the rest of the module needs to know about the file.
#[derive(Debug)]
pub(crate) struct Facts {
    /// Text replacements of the decoder, in order.
    pub(crate) replacements: Vec<(String, String)>,
    /// Whether `<0xE2>` and the like are bytes.
    pub(crate) byte_fallback: bool,
    /// Tokens that are listed by name, with their ids.
    pub(crate) added: Vec<(String, u32)>,
    /// The name of the token for what the vocabulary does not have.
    pub(crate) unknown: Option<String>,
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    added_tokens: Vec<Added>,
    #[serde(default)]
    normalizer: Value,
    #[serde(default)]
    pre_tokenizer: Value,
    #[serde(default)]
    post_processor: Value,
    #[serde(default)]
    decoder: Value,
    model: Model,
}

#[derive(Deserialize)]
struct Added {
    id: u32,
    content: String,
}

#[derive(Deserialize)]
struct Model {
    #[serde(rename = "type")]
    kind: Option<String>,
    unk_token: Option<String>,
    vocab: Ids,
    #[serde(rename = "merges")]
    _merges: Merges,
}

/// Checks the file.
///
/// # Errors
/// [`Error::Model`] with the first fault.
pub(crate) fn check(json: &[u8]) -> Result<Facts> {
    let file: File = serde_json::from_slice(json).map_err(|e| fault(e.to_string()))?;
    if let Some(kind) = file.model.kind.filter(|kind| kind != "BPE") {
        return Err(fault(format!("model type {kind:?}, expected \"BPE\"")));
    }
    let parts = [
        ("normalizer", &file.normalizer),
        ("pre_tokenizer", &file.pre_tokenizer),
        ("post_processor", &file.post_processor),
        ("decoder", &file.decoder),
    ];
    for (name, part) in parts {
        check_patterns(name, part)?;
    }
    check_added(&file.added_tokens, file.model.vocab.0.len())?;
    let (replacements, byte_fallback) = read_decoder(&file.decoder)?;
    let added = file.added_tokens.into_iter().map(|token| (token.content, token.id)).collect();
    Ok(Facts { replacements, byte_fallback, added, unknown: file.model.unk_token })
}

/// A fault of the file.
pub(crate) fn fault(what: impl fmt::Display) -> Error {
    Error::model(format!("tokenizer.json: {what}"))
}

fn check_added(added: &[Added], vocabulary: usize) -> Result<()> {
    let limit = (vocabulary + added.len()).min(MAX_VOCABULARY);
    let mut names: HashMap<u32, &str> = HashMap::new();
    let mut ids: HashMap<&str, u32> = HashMap::new();
    for Added { id, content } in added {
        if content.is_empty() {
            return Err(fault(format!("added token {id}: empty text, expected a name")));
        }
        if *id as usize >= limit {
            return Err(fault(format!("added token {content:?}: id {id}, expected less than {limit}")));
        }
        if let Some(other) = names.insert(*id, content).filter(|other| other != content) {
            return Err(fault(format!("added tokens {other:?} and {content:?}: both have id {id}, expected two ids")));
        }
        if let Some(other) = ids.insert(content, *id).filter(|other| other != id) {
            return Err(fault(format!("added token {content:?}: ids {other} and {id}, expected one id")));
        }
    }
    Ok(())
}

fn check_patterns(place: &str, part: &Value) -> Result<()> {
    match part {
        Value::Array(list) => list.iter().try_for_each(|entry| check_patterns(place, entry)),
        Value::Object(map) => map.iter().try_for_each(|(key, entry)| match (key.as_str(), entry) {
            ("Regex", Value::String(pattern)) if !KNOWN_PATTERNS.contains(&pattern.as_str()) => {
                let shown: String = pattern.chars().take(60).collect();
                Err(fault(format!("{place}: found the regular expression {shown:?}, expected a plain string")))
            }
            _ => check_patterns(place, entry),
        }),
        _ => Ok(()),
    }
}

/// The decoder must work token by token, as a stream does: replacements, then bytes, then joining.
fn read_decoder(decoder: &Value) -> Result<(Vec<(String, String)>, bool)> {
    let kind = |step: &Value| step["type"].as_str().unwrap_or("nothing").to_owned();
    let steps = match (kind(decoder).as_str(), &decoder["decoders"]) {
        ("Sequence", Value::Array(steps)) => steps.clone(),
        _ => vec![decoder.clone()],
    };
    let mut replacements = Vec::new();
    let mut byte_fallback = false;
    let mut joined = false;
    for step in &steps {
        match (kind(step).as_str(), step["pattern"]["String"].as_str(), step["content"].as_str()) {
            ("Replace", Some(from), Some(to)) if !from.is_empty() && !byte_fallback && !joined => {
                replacements.push((from.to_owned(), to.to_owned()));
            }
            ("ByteFallback", ..) if !joined => byte_fallback = true,
            ("Fuse", ..) => joined = true,
            (other, ..) => {
                let expected = "Replace of a string, ByteFallback, Fuse, in this order";
                return Err(fault(format!("decoder: found {other}, expected {expected}")));
            }
        }
    }
    Ok((replacements, byte_fallback))
}

/// The vocabulary's ids. The texts are the crate's business.
struct Ids(HashSet<u32>);

impl<'de> Deserialize<'de> for Ids {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Map;
        impl<'de> Visitor<'de> for Map {
            type Value = Ids;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a vocabulary of tokens and ids")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Ids, A::Error> {
                let mut ids = HashSet::new();
                while let Some((_, id)) = map.next_entry::<IgnoredAny, u32>()? {
                    if id as usize >= MAX_VOCABULARY {
                        return Err(A::Error::custom(format!(
                            "vocabulary: id {id}, expected less than {MAX_VOCABULARY}"
                        )));
                    }
                    if !ids.insert(id) {
                        return Err(A::Error::custom(format!("vocabulary: id {id} twice, expected one token each")));
                    }
                }
                Ok(Ids(ids))
            }
        }
        deserializer.deserialize_map(Map)
    }
}

/// Counts the merges.
struct Merges;

impl<'de> Deserialize<'de> for Merges {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Merges;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of merges")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> std::result::Result<Merges, A::Error> {
                let mut count = 0;
                while list.next_element::<IgnoredAny>()?.is_some() {
                    count += 1;
                    if count > MAX_MERGES {
                        return Err(A::Error::custom(format!("more than {MAX_MERGES} merges, expected fewer")));
                    }
                }
                Ok(Merges)
            }
        }
        deserializer.deserialize_seq(List)
    }
}
