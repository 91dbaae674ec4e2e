//! JSON files of a checkpoint: parsed once, with duplicate keys refused, and read key by key with errors that name the
//! key, what was found and what was expected.

use std::cell::{Cell, RefCell};
use std::{fmt, io};

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::strict::{DIGITS, number};
use crate::{Fault, Faults, Result, decode};

/// Most values of one file: each takes up to 200 bytes of memory, however short it is written. Real files have thousands.
const VALUE_LIMIT: usize = 1 << 19;

/// Parses `bytes` of `file`. Unlike plain serde_json, a key that occurs twice in an object is an error: two readers
/// of the same file must not see two models. A byte order mark is skipped, and says how to read.
///
/// # Errors
/// The first fault.
pub(crate) fn parse(file: &str, bytes: &[u8]) -> std::result::Result<Map<String, Value>, Box<Fault>> {
    let fault = |what: String| Box::new(Fault::config(file).found(format!("not valid JSON: {what}")));
    let text = decode::text(bytes).map_err(|error| fault(error.to_string()))?;
    let values = Cell::new(0);
    let mut reader = serde_json::Deserializer::from_str(&text);
    let parsed = Strict(&values).deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
    match parsed {
        Ok(Value::Object(map)) => Ok(map),
        Ok(other) => {
            let fault = Fault::config(file).found(format!("found {}", show(&other)));
            Err(Box::new(fault.expected("a JSON object")))
        }
        Err(error) => Err(fault(error.to_string())),
    }
}

/// A value without duplicate keys; the number of values so far.
#[derive(Clone, Copy)]
pub(crate) struct Strict<'a>(&'a Cell<usize>);

impl<'a> Strict<'a> {
    /// Counts on in `values`.
    pub(crate) fn new(values: &'a Cell<usize>) -> Self {
        Strict(values)
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<Value, D::Error> {
        self.0.set(self.0.get() + 1);
        if self.0.get() > VALUE_LIMIT {
            return Err(D::Error::custom(format!("more than {VALUE_LIMIT} values")));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
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
        while let Some(value) = access.next_element_seed(self)? {
            list.push(value);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> std::result::Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            if key == DIGITS {
                return number(&access.next_value::<String>()?);
            }
            if map.contains_key(&key) {
                return Err(A::Error::custom(format!("duplicate key {key:?}")));
            }
            let value = access.next_value_seed(self)?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

/// `value` for an error message: JSON, cut to a line.
pub(crate) fn show(value: &Value) -> String {
    const LIMIT: usize = 80;
    match value {
        Value::Array(list) if list.len() > 16 => return format!("a list of {}", list.len()),
        Value::Object(map) if map.len() > 8 => return format!("an object of {} keys", map.len()),
        _ => {}
    }
    let mut start = Start { bytes: Vec::new(), room: 4 * LIMIT };
    let is_whole = serde_json::to_writer(&mut start, value).is_ok();
    let text = String::from_utf8_lossy(&start.bytes);
    match text.char_indices().nth(LIMIT) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None if is_whole => text.into_owned(),
        None => format!("{text}..."),
    }
}

/// The first bytes of what is written; more is refused, so that no more is made.
struct Start {
    bytes: Vec<u8>,
    room: usize,
}

impl io::Write for Start {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.room - self.bytes.len();
        self.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
        if bytes.len() > room { Err(io::ErrorKind::WriteZero.into()) } else { Ok(bytes.len()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An object of a JSON file. Wrong values are noted as faults and replaced by a default, so that one pass finds all.
pub(crate) struct Keys<'a> {
    file: &'a str,
    /// The way to this object, with a closing dot: `text_config.`.
    path: String,
    map: &'a Map<String, Value>,
    faults: &'a RefCell<Faults>,
}

impl<'a> Keys<'a> {
    pub(crate) fn new(file: &'a str, map: &'a Map<String, Value>, faults: &'a RefCell<Faults>) -> Self {
        Keys { file, path: String::new(), map, faults }
    }

    /// The value of `key`, unless it is absent or null.
    pub(crate) fn value(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    /// Notes that `key` holds something else than `expected`.
    pub(crate) fn fault(&self, key: &str, expected: &str) {
        self.faults.borrow_mut().push(self.told(key, expected));
    }

    /// Notes that `key` asks for what nothing here does; `expected` is what is done.
    pub(crate) fn unsupported(&self, key: &str, expected: &str) {
        let fault = self.told(key, expected);
        self.faults.borrow_mut().push(if self.map.contains_key(key) { fault.unsupported() } else { fault });
    }

    fn told(&self, key: &str, expected: &str) -> Fault {
        let fault = Fault::key(self.file, format!("{}{key}", self.path));
        let fault = match self.map.get(key) {
            None => fault.missing("is missing"),
            Some(value) => fault.found(format!("is {}", show(value))),
        };
        fault.expected(expected)
    }

    /// All faults noted so far, as an error.
    pub(crate) fn finish(&self) -> Result<()> {
        self.faults.take().into_result(())
    }

    /// Takes the faults noted so far away, to put them back with [`Self::put_faults`].
    pub(crate) fn take_faults(&self) -> Faults {
        self.faults.take()
    }

    pub(crate) fn put_faults(&self, faults: Faults) {
        self.faults.replace(faults);
    }

    /// Entries in the file's order.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&'a String, &'a Value)> {
        self.map.iter()
    }

    /// The object under `key`.
    pub(crate) fn object(&self, key: &str) -> Option<Keys<'a>> {
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
    pub(crate) fn integer(&self, key: &str, default: Option<usize>, least: usize, most: usize) -> usize {
        let found = match self.value(key) {
            None => default,
            Some(value) => {
                as_integer(value).and_then(|v| usize::try_from(v).ok()).filter(|v| (least..=most).contains(v))
            }
        };
        found.unwrap_or_else(|| {
            self.fault(key, &format!("an integer from {least} to {most}"));
            least.max(1)
        })
    }

    /// A size that must be there: 1 or more.
    pub(crate) fn size(&self, key: &str, most: usize) -> usize {
        self.integer(key, None, 1, most)
    }

    /// A size that may be absent, null or 0, which are all 0.
    pub(crate) fn optional_size(&self, key: &str, most: usize) -> usize {
        self.integer(key, Some(0), 0, most)
    }

    /// A number from `least` to `most`, which are such that f32 has it too.
    pub(crate) fn number(&self, key: &str, least: f64, most: f64) -> Option<f64> {
        let number = self.value(key)?.as_f64().filter(|number| (least..=most).contains(number));
        if number.is_none() {
            self.fault(key, &format!("a number from {} to {}", plain(least), plain(most)));
        }
        number
    }

    pub(crate) fn flag(&self, key: &str) -> Option<bool> {
        let flag = self.value(key)?.as_bool();
        if flag.is_none() {
            self.fault(key, "true or false");
        }
        flag
    }

    pub(crate) fn text(&self, key: &str) -> Option<&'a str> {
        let text = self.value(key)?.as_str();
        if text.is_none() {
            self.fault(key, "a string");
        }
        text
    }

    /// One token id or a list of them; absent is empty.
    pub(crate) fn ids(&self, key: &str) -> Vec<u32> {
        let ids = self.value(key).map_or_else(|| Some(Vec::new()), as_ids);
        ids.unwrap_or_else(|| {
            self.fault(key, "a token id or a list of token ids");
            Vec::new()
        })
    }
}

/// A number as people write it: 0.01, 1e-12, 10000.
fn plain(number: f64) -> String {
    if number != 0.0 && !(1e-3..1e6).contains(&number.abs()) { format!("{number:e}") } else { number.to_string() }
}

/// A whole number from 0 on. Some writers make 64.0 of 64.
pub(crate) fn as_integer(value: &Value) -> Option<u64> {
    let whole = |number: &f64| (0.0..=9e15).contains(number) && number.fract() == 0.0;
    value.as_u64().or_else(|| value.as_f64().filter(whole).map(|number| number as u64))
}

/// The token ids in `value`: one, or a list. As elsewhere, -1 and null stand for none.
pub(crate) fn as_ids(value: &Value) -> Option<Vec<u32>> {
    let is_none = |value: &&Value| value.is_null() || value.as_f64() == Some(-1.0);
    let id = |value: &Value| as_integer(value).and_then(|id| u32::try_from(id).ok());
    let list = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
    list.iter().filter(|value| !is_none(value)).map(id).collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_is_read_in_the_encodings_that_editors_write() {
        let text = r#"{"a":"ä"}"#;
        let pairs: Vec<u8> = "\u{feff}".encode_utf16().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect();
        for bytes in [text.as_bytes().to_vec(), [b"\xef\xbb\xbf", text.as_bytes()].concat(), pairs.clone()] {
            assert_eq!(parse("x", &bytes).unwrap()["a"], "ä", "{bytes:?}");
        }
        for bytes in [&pairs[2..], b"{\xff}"] {
            let error = parse("x", bytes).unwrap_err().to_string();
            assert!(
                error.starts_with("x: not valid JSON: found ") && error.ends_with("expected UTF-8 text"),
                "{error}"
            );
        }
    }

    #[test]
    fn long_values_are_cut_before_they_are_written() {
        assert_eq!(show(&json!({"a": [1, null]})), r#"{"a":[1,null]}"#);
        let long = show(&json!(["x".repeat(1 << 20)]));
        assert!(long.len() < 100 && long.ends_with("x..."), "{long}");
        let many = format!("{{\"a\":[{}0]}}", "0,".repeat(VALUE_LIMIT));
        assert!(parse("x", many.as_bytes()).unwrap_err().to_string().contains("more than 524288 values"));
    }

    #[test]
    fn ids_and_sizes_as_files_have_them() {
        for (value, ids) in
            [(json!(3), vec![3]), (json!([1, 106.0]), vec![1, 106]), (json!(-1), vec![]), (json!([]), vec![])]
        {
            assert_eq!(as_ids(&value), Some(ids), "{value}");
        }
        for value in [json!("1"), json!([[1]]), json!(-2), json!(1.5), json!(true), json!(5_000_000_000u64)] {
            assert_eq!(as_ids(&value), None, "{value}");
        }
        assert_eq!([1e-12, 0.01, 1e9, 1.0].map(plain), ["1e-12", "0.01", "1e9", "1"]);
    }
}
