//! JSON files of a checkpoint: parsed once, with duplicate keys refused, and read key by key with errors that name the
//! key, what was found and what was expected.

use std::cell::RefCell;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::{Error, Faults, Result};

/// Parses `bytes` of `file`. Unlike plain serde_json, a key that occurs twice in an object is an error: two readers
/// of the same file must not see two models.
pub(super) fn parse(file: &str, bytes: &[u8]) -> Result<Map<String, Value>> {
    match serde_json::from_slice(bytes) {
        Ok(Strict(Value::Object(map))) => Ok(map),
        Ok(Strict(other)) => Err(Error::model(format!("{file}: found {}, expected a JSON object", show(&other)))),
        Err(error) => Err(Error::model(format!("{file}: not valid JSON: {error}"))),
    }
}

/// A value without duplicate keys.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Strict)
    }
}

struct StrictVisitor;

/// The key under which serde_json, which keeps the digits of numbers for the sake of conversations, hands a visitor what
/// is neither a `u64` nor an `i64`.
const NUMBER: &str = "$serde_json::private::Number";

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> std::result::Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> std::result::Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> std::result::Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> std::result::Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> std::result::Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> std::result::Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> std::result::Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> std::result::Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Strict(value)) = access.next_element()? {
            list.push(value);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> std::result::Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            if map.is_empty() && key == NUMBER {
                let digits = access.next_value::<String>()?;
                return digits.parse().map(Value::Number).map_err(A::Error::custom);
            }
            if map.contains_key(&key) {
                return Err(A::Error::custom(format!("duplicate key {key:?}")));
            }
            let Strict(value) = access.next_value()?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

/// `value` for an error message: JSON, cut to a line.
pub(super) fn show(value: &Value) -> String {
    const LIMIT: usize = 80;
    let text = match value {
        Value::Array(list) if list.len() > 16 => return format!("a list of {}", list.len()),
        Value::Object(map) if map.len() > 8 => return format!("an object of {} keys", map.len()),
        other => other.to_string(),
    };
    match text.char_indices().nth(LIMIT) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

/// An object of a JSON file. Wrong values are noted as faults and replaced by a default, so that one pass finds all.
pub(super) struct Keys<'a> {
    file: &'a str,
    /// The way to this object, with a closing dot: `text_config.`.
    path: String,
    map: &'a Map<String, Value>,
    faults: &'a RefCell<Faults>,
}

impl<'a> Keys<'a> {
    pub(super) fn new(file: &'a str, map: &'a Map<String, Value>, faults: &'a RefCell<Faults>) -> Self {
        Keys { file, path: String::new(), map, faults }
    }

    /// The value of `key`, unless it is absent or null.
    pub(super) fn value(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    /// Notes that `key` holds something else than `expected`.
    pub(super) fn fault(&self, key: &str, expected: &str) {
        let found = match self.map.get(key) {
            None => "is missing".to_owned(),
            Some(value) => format!("is {}", show(value)),
        };
        self.faults.borrow_mut().push(format!("{}: {}{key} {found}, expected {expected}", self.file, self.path));
    }

    /// All faults noted so far, as an error.
    pub(super) fn finish(&self) -> Result<()> {
        self.faults.take().into_result(())
    }

    /// Entries in the file's order.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&'a String, &'a Value)> {
        self.map.iter()
    }

    /// The object under `key`.
    pub(super) fn object(&self, key: &str) -> Option<Keys<'a>> {
        match self.value(key)? {
            Value::Object(map) => {
                Some(Keys { file: self.file, path: format!("{}{key}.", self.path), map, faults: self.faults })
            }
            _ => {
                self.fault(key, "an object");
                None
            }
        }
    }

    /// An integer in `least..=most`; absent and null give `default`, or a fault where there is none.
    pub(super) fn integer(&self, key: &str, default: Option<usize>, least: usize, most: usize) -> usize {
        let found = match self.value(key) {
            None => default,
            Some(value) => value.as_u64().and_then(|v| usize::try_from(v).ok()).filter(|v| (least..=most).contains(v)),
        };
        found.unwrap_or_else(|| {
            self.fault(key, &format!("an integer from {least} to {most}"));
            least.max(1)
        })
    }

    /// A size that must be there: 1 or more.
    pub(super) fn size(&self, key: &str, most: usize) -> usize {
        self.integer(key, None, 1, most)
    }

    /// A size that may be absent, null or 0, which are all 0.
    pub(super) fn optional_size(&self, key: &str, most: usize) -> usize {
        self.integer(key, Some(0), 0, most)
    }

    /// A positive finite number.
    pub(super) fn positive(&self, key: &str) -> Option<f64> {
        let number = self.value(key)?.as_f64().filter(|v| v.is_finite() && *v > 0.0);
        if number.is_none() {
            self.fault(key, "a positive number");
        }
        number
    }

    pub(super) fn flag(&self, key: &str) -> Option<bool> {
        let flag = self.value(key)?.as_bool();
        if flag.is_none() {
            self.fault(key, "true or false");
        }
        flag
    }

    pub(super) fn text(&self, key: &str) -> Option<&'a str> {
        let text = self.value(key)?.as_str();
        if text.is_none() {
            self.fault(key, "a string");
        }
        text
    }

    /// A token id.
    pub(super) fn id(&self, key: &str) -> Option<u32> {
        let id = as_id(self.value(key)?);
        if id.is_none() {
            self.fault(key, "a token id");
        }
        id
    }

    /// One token id or a list of them; absent is empty.
    pub(super) fn ids(&self, key: &str) -> Vec<u32> {
        let ids = match self.value(key) {
            None => Some(Vec::new()),
            Some(Value::Array(list)) => list.iter().map(as_id).collect(),
            Some(value) => as_id(value).map(|id| vec![id]),
        };
        ids.unwrap_or_else(|| {
            self.fault(key, "a token id or a list of token ids");
            Vec::new()
        })
    }
}

fn as_id(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|id| u32::try_from(id).ok())
}
