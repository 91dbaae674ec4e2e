//! JSON from strangers: no key twice in an object, since two readers of one file must not see two contents, and no more of
//! it than was agreed.

use std::cell::{Cell, RefCell};
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::error::harmless;

/// The key under which serde_json hands on the digits of a number, where it keeps them.
pub(crate) const DIGITS: &str = "$serde_json::private::Number";

/// What is wrong with a text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// No JSON, or nested deeper than 128 levels.
    Syntax(String),
    /// `key` occurs twice in the object at `place`, such as `messages[3]`; empty for the outermost one.
    Twice { place: String, key: String },
    /// More than so many bytes of text, keys and values.
    Large(usize),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Syntax(what) => write!(f, "not JSON: {what}"),
            Fault::Twice { place, key } => {
                let place = if place.is_empty() { String::new() } else { format!("{}: ", harmless(place, 200)) };
                write!(f, "{place}found the key \"{}\" twice, expected once", harmless(key, 60))
            }
            Fault::Large(most) => write!(f, "found more than {most} bytes, expected at most {most}"),
        }
    }
}

/// Parses `json`. Each value counts as a byte, strings and keys as their own bytes too; there may be `most`.
///
/// # Errors
/// [`Fault`], the first one.
pub(crate) fn parse(json: &[u8], most: usize) -> Result<Value, Fault> {
    let reader = Reader::new(most);
    let mut text = serde_json::Deserializer::from_slice(json);
    let parsed = reader.seed().deserialize(&mut text).and_then(|value| text.end().map(|()| value));
    parsed.map_err(|error| reader.refusal().unwrap_or_else(|| Fault::Syntax(error.to_string())))
}

/// The state of one parse.
pub(crate) struct Reader {
    most: usize,
    left: Cell<usize>,
    place: RefCell<Vec<Step>>,
    fault: RefCell<Option<Fault>>,
}

/// A step from a value to one inside it.
enum Step {
    Key(String),
    Item(usize),
}

impl Reader {
    /// A reader of a text that may have `most` bytes.
    pub(crate) fn new(most: usize) -> Self {
        Self { most, left: Cell::new(most), place: RefCell::default(), fault: RefCell::default() }
    }

    /// What reads one value.
    pub(crate) fn seed(&self) -> Seed<'_> {
        Seed(self)
    }

    /// Why the parse was ended here, where it was not the parser that ended it.
    pub(crate) fn refusal(&self) -> Option<Fault> {
        self.fault.take()
    }

    fn spend<E: Error>(&self, bytes: usize) -> Result<(), E> {
        match self.left.get().checked_sub(bytes) {
            Some(left) => {
                self.left.set(left);
                Ok(())
            }
            None => Err(self.stop(Fault::Large(self.most))),
        }
    }

    fn stop<E: Error>(&self, fault: Fault) -> E {
        self.fault.replace(Some(fault));
        E::custom("refused")
    }

    fn place(&self) -> String {
        let mut out = String::new();
        for step in self.place.borrow().iter() {
            match step {
                Step::Item(at) => out.push_str(&format!("[{at}]")),
                Step::Key(key) if out.is_empty() => out.push_str(key),
                Step::Key(key) => out.push_str(&format!(".{key}")),
            }
        }
        out
    }

    /// Reads what is behind `step` by `read`.
    fn inside<T>(&self, step: Step, read: impl FnOnce() -> T) -> T {
        self.place.borrow_mut().push(step);
        let done = read();
        self.place.borrow_mut().pop();
        done
    }
}

/// Reads one value.
pub(crate) struct Seed<'r>(&'r Reader);

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.0.spend(1)?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        self.0.spend(value.len())?;
        Ok(value.into())
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        self.0.spend(value.len())?;
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = self.0.inside(Step::Item(list.len()), || access.next_element_seed(self.0.seed()))? {
            list.push(value);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            if key == DIGITS {
                let digits = access.next_value::<String>()?;
                self.0.spend(digits.len())?;
                return number(&digits);
            }
            self.0.spend(key.len())?;
            if map.contains_key(&key) {
                return Err(self.0.stop(Fault::Twice { place: self.0.place(), key }));
            }
            let value = self.0.inside(Step::Key(key.clone()), || access.next_value_seed(self.0.seed()))?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

/// A number by its digits, as serde_json hands it on behind [`DIGITS`].
pub(crate) fn number<E: Error>(digits: &str) -> Result<Value, E> {
    serde_json::from_str::<Number>(digits).map(Value::Number).map_err(E::custom)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_what_serde_json_makes_of_them() {
        let text =
            r#"{"a": [1, -2, 0.5, 1e300, true, null, "x\u00e9", {}], "b": {"a": [[]]}, "n": 18446744073709551615}"#;
        assert_eq!(parse(text.as_bytes(), 1000).unwrap(), serde_json::from_str::<Value>(text).unwrap());
    }

    #[test]
    fn a_key_twice_is_named_with_its_place() {
        let twice = |text: &str| match parse(text.as_bytes(), 1000) {
            Err(Fault::Twice { place, key }) => (place, key),
            other => panic!("{text}: {other:?}"),
        };
        for (text, place, key) in [
            (r#"{"a": 1, "a": 1}"#, "", "a"),
            (r#"[{"role": "user"}, {"role": 1, "x": {}, "role": 2}]"#, "[1]", "role"),
            (r#"{"m": [[{"k": {"z": 0, "\u007a": 1}}]]}"#, "m[0][0].k", "z"),
        ] {
            assert_eq!(twice(text), (place.into(), key.into()), "{text}");
        }
        assert_eq!(parse(br#"[{"a": {"b": 1}}, {"b": {"a": 1}}]"#, 1000).unwrap()[1], json!({"b": {"a": 1}}));
    }

    #[test]
    fn what_is_large_or_deep_or_no_json_is_refused() {
        // A list of three counts 1 + 3, its strings 2 more.
        assert!(parse(br#"["a", "b", 1]"#, 6).is_ok());
        assert_eq!(parse(br#"["a", "b", 1]"#, 5), Err(Fault::Large(5)));
        assert_eq!(parse(br#"{"abc": 1}"#, 4), Err(Fault::Large(4)));
        let deep = "[".repeat(100_000);
        for text in ["", "{", "1 2", "{'a': 1}", deep.as_str()] {
            assert!(matches!(parse(text.as_bytes(), 1 << 20), Err(Fault::Syntax(_))), "{:.20}", text);
        }
    }
}
