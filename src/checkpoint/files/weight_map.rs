//! `model.safetensors.index.json`: which file holds which tensor. Read without building a tree of values, so that a hostile
//! index costs little memory.

use std::cell::Cell;
use std::collections::HashMap;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::Value;

use super::safetensors::TENSOR_LIMIT;
use crate::gemma4::json::{Strict, show};
use crate::{Fault, Faults, Result, decode};

/// Where all tensors are in one file.
pub(crate) const SINGLE: &str = "model.safetensors";
/// The index.
pub(crate) const INDEX: &str = "model.safetensors.index.json";
/// Most files of one checkpoint.
pub(crate) const FILE_LIMIT: usize = 1000;

/// The `weight_map` of an index.
#[derive(Debug, Default)]
pub(crate) struct WeightMap {
    /// Names of files.
    pub(crate) files: Vec<String>,
    /// The number of the file of each tensor.
    pub(crate) tensors: HashMap<String, usize>,
}

/// Reads an index.
///
/// # Errors
/// [`crate::Error::Model`] if it is not JSON, has no map, or names too many files or tensors, and with all entries that cannot be.
pub(crate) fn parse(bytes: &[u8]) -> Result<WeightMap> {
    let fault = |what: String| Fault::config(INDEX).found(format!("not valid JSON: {what}"));
    let text = decode::text(bytes).map_err(|error| fault(error.to_string()))?;
    let (mut map, mut faults) = (None, Faults::default());
    let mut reader = serde_json::Deserializer::from_str(&text);
    let read = Top { map: &mut map, faults: &mut faults }.deserialize(&mut reader).and_then(|()| reader.end());
    let no_map = || Fault::config(INDEX).missing("no weight_map").expected("an object of tensor and file names");
    match read {
        Ok(()) => {}
        // Only the two objects have a type that must be.
        Err(error) if error.is_data() && error.to_string().starts_with("invalid type") => return Err(no_map().into()),
        Err(error) => return Err(fault(error.to_string()).into()),
    }
    let map = map.ok_or_else(no_map)?;
    if map.files.len() > FILE_LIMIT {
        let fault = Fault::config(INDEX).found(format!("names {} files", map.files.len()));
        return Err(fault.expected_in(", ", format!("at most {FILE_LIMIT}"), "").into());
    }
    faults.into_result(map)
}

/// The top level.
struct Top<'a> {
    map: &'a mut Option<WeightMap>,
    faults: &'a mut Faults,
}

impl<'de> DeserializeSeed<'de> for Top<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Top<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with weight_map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> std::result::Result<(), A::Error> {
        let values = Cell::new(0);
        let mut seen: Vec<String> = Vec::new();
        while let Some(key) = access.next_key::<String>()? {
            if seen.contains(&key) {
                return Err(A::Error::custom(format!("duplicate key {key:?}")));
            }
            if key == "weight_map" {
                *self.map = access.next_value_seed(MapSeed { faults: self.faults })?;
            } else {
                access.next_value_seed(Strict::new(&values))?;
            }
            seen.push(key);
            if seen.len() > 100 {
                return Err(A::Error::custom("more than 100 keys beside weight_map"));
            }
        }
        Ok(())
    }
}

/// The map itself; nothing if it is something else.
struct MapSeed<'a> {
    faults: &'a mut Faults,
}

impl<'de> DeserializeSeed<'de> for MapSeed<'_> {
    type Value = Option<WeightMap>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for MapSeed<'_> {
    type Value = Option<WeightMap>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensor and file names as weight_map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> std::result::Result<Self::Value, A::Error> {
        let (mut map, mut numbers) = (WeightMap::default(), HashMap::<String, usize>::new());
        let values = Cell::new(0);
        let mut count = 0;
        while let Some(tensor) = access.next_key::<String>()? {
            count += 1;
            if count > TENSOR_LIMIT {
                return Err(A::Error::custom(format!("more than {TENSOR_LIMIT} tensors in weight_map")));
            }
            if map.tensors.contains_key(&tensor) {
                return Err(A::Error::custom(format!("duplicate key {tensor:?}")));
            }
            match access.next_value_seed(Strict::new(&values))? {
                Value::String(file) if file.ends_with(".safetensors") => {
                    let next = map.files.len();
                    let number = *numbers.entry(file).or_insert_with_key(|file| {
                        map.files.push(file.clone());
                        next
                    });
                    map.tensors.insert(tensor, number);
                }
                other => {
                    let fault = Fault::key(INDEX, "weight_map").found(format!("has {} for {tensor:?}", show(&other)));
                    self.faults.push(fault.expected("the name of a .safetensors file"));
                    // Known by its name, for whoever comes twice; where it is matters no more.
                    map.tensors.insert(tensor, 0);
                }
            }
        }
        Ok(Some(map))
    }
}
