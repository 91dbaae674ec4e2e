//! The `model` of `tokenizer.json`: byte-pair encoding, its vocabulary and its merges, counted while they are read.

use std::fmt;

use ahash::AHashMap;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use super::tokenizer_fault::{part, show};
use crate::error::Result;

/// Largest vocabulary, twice that of Gemma 4, and one more than the largest id.
pub const MAX_VOCABULARY: usize = 1 << 19;
/// Most merges, half as many again as Gemma 4 has (514,906): what is accepted is read within a second of what Gemma takes.
const MAX_MERGES: usize = 3 << 18;
/// Longest token in bytes; Gemma 4's longest has 93.
const MAX_TOKEN_BYTES: usize = 1024;

/// Why dropout is refused.
const NO_DROPOUT: &str = "expected null or 0 (it makes other tokens of the same text each time)";

/// A byte-pair vocabulary.
#[derive(Default)]
pub(crate) struct Model {
    /// Ids by text.
    pub(crate) vocab: AHashMap<String, u32>,
    /// Pairs that become one token, the first first.
    pub(crate) merges: Vec<(String, String)>,
    /// The name of the token for what the vocabulary does not have.
    pub(crate) unknown: Option<String>,
    pub(crate) fuse_unknown: bool,
    pub(crate) byte_fallback: bool,
    pub(crate) ignore_merges: bool,
}

impl Model {
    /// Checks what only the whole model tells: tokens that merges and the unknown token's name speak of are there.
    ///
    /// # Errors
    /// [`crate::Error::Model`] with the first fault.
    pub(crate) fn check(&self) -> Result<()> {
        let is_token = |text: &str| self.vocab.contains_key(text);
        if let Some(name) = self.unknown.as_deref().filter(|name| !is_token(name)) {
            return Err(part("model")
                .found(format!("unk_token {} is not in the vocabulary", show(name)))
                .expected("a token of it")
                .into());
        }
        let mut whole = String::new();
        for (i, (a, b)) in self.merges.iter().enumerate() {
            whole.clear();
            whole.push_str(a);
            whole.push_str(b);
            if let Some(missing) = [a.as_str(), b, &whole].into_iter().find(|text| !is_token(text)) {
                let (a, b, missing) = (show(a), show(b), show(missing));
                return Err(part("model")
                    .found(format!("merge {i} of {a} and {b}: {missing} is not in the vocabulary"))
                    .expected("all three")
                    .into());
            }
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Model {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_map(ModelVisitor)
    }
}

struct ModelVisitor;

impl<'de> Visitor<'de> for ModelVisitor {
    type Value = Model;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a byte-pair model")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Model, A::Error> {
        let (mut seen, mut model) = (Vec::new(), Model::default());
        while let Some(key) = map.next_key::<String>()? {
            if seen.contains(&key) {
                return Err(A::Error::custom(format!("model: the key {} twice, expected once", show(&key))));
            }
            match key.as_str() {
                "type" => {
                    let kind: Option<String> = map.next_value()?;
                    if let Some(kind) = kind.filter(|kind| kind != "BPE") {
                        return Err(A::Error::custom(format!("model type {}, expected \"BPE\"", show(&kind))));
                    }
                }
                "dropout" => {
                    if let Some(dropout) = map.next_value::<Option<f64>>()?.filter(|dropout| *dropout != 0.0) {
                        return Err(A::Error::custom(format!("model: dropout is {dropout}, {NO_DROPOUT}")));
                    }
                }
                "continuing_subword_prefix" | "end_of_word_suffix" => {
                    let affix: Option<String> = map.next_value()?;
                    if let Some(affix) = affix.filter(|affix| !affix.is_empty()) {
                        let affix = show(&affix);
                        return Err(A::Error::custom(format!("model: {key} is {affix}, expected null")));
                    }
                }
                "unk_token" => model.unknown = map.next_value()?,
                "fuse_unk" => model.fuse_unknown = map.next_value::<Option<bool>>()?.unwrap_or(false),
                "byte_fallback" => model.byte_fallback = map.next_value::<Option<bool>>()?.unwrap_or(false),
                "ignore_merges" => model.ignore_merges = map.next_value::<Option<bool>>()?.unwrap_or(false),
                "vocab" => model.vocab = map.next_value_seed(Vocabulary)?,
                "merges" => model.merges = map.next_value_seed(Merges)?,
                unknown => {
                    let known = "type, dropout, unk_token, continuing_subword_prefix, end_of_word_suffix, fuse_unk, \
                                 byte_fallback, ignore_merges, vocab or merges";
                    return Err(A::Error::custom(format!("model: found the key {}, expected {known}", show(unknown))));
                }
            }
            seen.push(key);
        }
        match ["vocab", "merges"].into_iter().find(|key| !seen.iter().any(|found| found == key)) {
            Some(key) => Err(A::Error::custom(format!("model: no {key}, expected the vocabulary and its merges"))),
            None => Ok(model),
        }
    }
}

/// Reads the vocabulary.
struct Vocabulary;

impl<'de> DeserializeSeed<'de> for Vocabulary {
    type Value = AHashMap<String, u32>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Vocabulary {
    type Value = AHashMap<String, u32>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a vocabulary of tokens and ids")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Self::Value, A::Error> {
        let mut vocab: AHashMap<String, u32> = AHashMap::new();
        // A bit for each id.
        let mut taken = vec![0u64; MAX_VOCABULARY / 64];
        while let Some((token, id)) = map.next_entry::<String, u32>()? {
            let at = id as usize;
            if at >= MAX_VOCABULARY {
                return Err(A::Error::custom(format!("vocabulary: id {id}, expected less than {MAX_VOCABULARY}")));
            }
            if token.len() > MAX_TOKEN_BYTES {
                let (name, bytes) = (show(&token), token.len());
                return Err(A::Error::custom(format!(
                    "vocabulary: token {name} of {bytes} bytes, expected at most {MAX_TOKEN_BYTES}"
                )));
            }
            if taken[at / 64] >> (at % 64) & 1 == 1 {
                return Err(A::Error::custom(format!("vocabulary: id {id} twice, expected one token each")));
            }
            taken[at / 64] |= 1 << (at % 64);
            if let Some((token, _)) = vocab.get_key_value(token.as_str()) {
                return Err(A::Error::custom(format!("vocabulary: token {} twice, expected one id each", show(token))));
            }
            vocab.insert(token, id);
        }
        Ok(vocab)
    }
}

/// Reads the merges: pairs, or as older files have them, two tokens around a space.
struct Merges;

impl<'de> DeserializeSeed<'de> for Merges {
    type Value = Vec<(String, String)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Merges {
    type Value = Vec<(String, String)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of merges")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> std::result::Result<Self::Value, A::Error> {
        let (mut merges, mut count) = (Vec::new(), 0);
        while let Some(Merge(pair)) = list.next_element()? {
            count += 1;
            if count > MAX_MERGES {
                return Err(A::Error::custom(format!("more than {MAX_MERGES} merges, expected fewer")));
            }
            merges.extend(pair);
        }
        Ok(merges)
    }
}

/// One merge; `None` for the line of old files that names their version.
struct Merge(Option<(String, String)>);

impl<'de> Deserialize<'de> for Merge {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Pair;
        impl<'de> Visitor<'de> for Pair {
            type Value = Merge;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a merge of two tokens")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut pair: A) -> std::result::Result<Merge, A::Error> {
                let mut next = |at: usize| pair.next_element()?.ok_or_else(|| A::Error::invalid_length(at, &self));
                let both = (next(0)?, next(1)?);
                match pair.next_element::<String>()? {
                    None => Ok(Merge(Some(both))),
                    Some(_) => Err(A::Error::invalid_length(3, &self)),
                }
            }

            fn visit_str<E: serde::de::Error>(self, line: &str) -> std::result::Result<Merge, E> {
                if line.starts_with("#version") {
                    return Ok(Merge(None));
                }
                match line.split_once(' ') {
                    Some((a, b)) if !b.contains(' ') => Ok(Merge(Some((a.to_owned(), b.to_owned())))),
                    _ => Err(E::custom(format!("merge {}, expected two tokens around a space", show(line)))),
                }
            }
        }
        deserializer.deserialize_any(Pair)
    }
}
