//! The header of one safetensors file: our own limits and checks first, so that a hostile file costs no time and no
//! memory and is refused with its reason, then the `safetensors` crate's own rules.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::hash::{BuildHasher, RandomState};

use safetensors::tensor::{Dtype, Metadata, TensorInfo};
use serde::de::value::{Error as ValueError, StrDeserializer};
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::blob::Blob;
use super::foreign;
use crate::Result;
use crate::error::{Fault, Remedy};

/// Largest header that is parsed, and most that those of all files have together: a real Gemma 4 with 57,600 tensors has
/// 10 MB.
const HEADER_LIMIT: u64 = 32 << 20;
/// Most tensors of all files together.
pub(crate) const TENSOR_LIMIT: usize = 262_144;
/// Most entries of `__metadata__`, which real files have a handful of.
const METADATA_LIMIT: usize = 65_536;
const RANK_LIMIT: usize = 8;
const NAME_LIMIT: usize = 512;
const DIMENSION_LIMIT: u64 = 1 << 31;
/// What the end of a file is compared with.
const DESCRIBES: &str = ", its header describes ";
/// Bytes of the length before the header.
const PREFIX: u64 = 8;

/// A tensor's place in its file.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    /// First byte, counted from the beginning of the file.
    pub(crate) offset: u64,
    pub(crate) size_bytes: u64,
}

/// What headers that are still to be read may have, so that a thousand files cost no more than one.
#[derive(Debug)]
pub(crate) struct Room {
    bytes: u64,
    tensors: usize,
}

impl Room {
    /// That of a whole checkpoint.
    pub(crate) fn new() -> Self {
        Room { bytes: HEADER_LIMIT, tensors: TENSOR_LIMIT }
    }
}

/// Reads and checks the header of `blob`: all its tensors in the order of the file.
pub(crate) fn read(blob: &Blob, room: &mut Room) -> Result<Vec<Entry>> {
    let text = read_text(blob, room)?;
    let fault = |what: String| Fault::file(&blob.name).found(what);
    let mut reader = serde_json::Deserializer::from_slice(&text);
    let parsed = HeaderSeed(room.tensors).deserialize(&mut reader).and_then(|parsed| reader.end().map(|()| parsed));
    let Parsed(mut tensors, extra) = parsed.map_err(|error| fault(format!("header is not valid: {error}")))?;
    room.tensors -= tensors.len();
    let start = PREFIX + text.len() as u64;
    drop(text);
    if let Some(extra) = extra {
        log::warn!("file {:?}: {extra}", blob.name);
    }
    tensors.sort_by_key(|(_, info)| info.data_offsets);
    let data_bytes = check_layout(&blob.name, &tensors)?;
    let (expected, found) = (start.saturating_add(data_bytes), blob.len());
    if found < expected {
        let fault = fault(format!("truncated: {found} bytes")).remedy(Remedy::DownloadAgain);
        return Err(fault.expected_in(DESCRIBES, expected.to_string(), "").into());
    }
    if found > expected {
        let more = found - expected;
        let fault = fault(format!("{more} trailing bytes: {found} bytes"));
        return Err(fault.expected_in(DESCRIBES, expected.to_string(), "").into());
    }
    // The crate has the last word: its rules are the format's reference. They do not ask for names.
    let infos = tensors.iter().map(|(_, info)| (String::new(), info.clone())).collect();
    Metadata::new(None, infos).map_err(|error| fault(format!("header is not valid: {error}")))?;
    let entries = tensors.into_iter().map(|(name, info)| Entry {
        name,
        dtype: info.dtype,
        shape: info.shape,
        offset: start + info.data_offsets.0 as u64,
        size_bytes: (info.data_offsets.1 - info.data_offsets.0) as u64,
    });
    Ok(entries.collect())
}

/// The JSON text, after its length was checked against the limit and the file.
fn read_text(blob: &Blob, room: &mut Room) -> Result<Vec<u8>> {
    let fault = |what: String| Fault::file(&blob.name).found(what);
    let head = blob.head(foreign::HEAD)?;
    let begins = head.get(PREFIX as usize) == Some(&b'{');
    if let Some(fault) = (!begins).then(|| foreign::describe(&blob.name, &head, blob.len(), false)).flatten() {
        return Err(fault.into());
    }
    let truncated = || fault(format!("truncated: {} bytes", blob.len()));
    let Some(prefix) = head.first_chunk() else {
        return Err(truncated().expected(format!("at least the {PREFIX} of a header length")).into());
    };
    let length = u64::from_le_bytes(*prefix);
    if length > HEADER_LIMIT {
        let damaged = || fault(format!("is no safetensors file, or damaged: header of {length} bytes"));
        let foreign = foreign::no_header(&blob.name, &head, blob.len());
        return Err(foreign.unwrap_or_else(|| damaged().accepted(HEADER_LIMIT)).into());
    }
    if PREFIX + length > blob.len() {
        return Err(truncated().expected_in(", its header alone ends at ", (PREFIX + length).to_string(), "").into());
    }
    let Some(rest) = room.bytes.checked_sub(length) else {
        let most = format!("at most {HEADER_LIMIT} of all files");
        return Err(fault(format!("header of {length} bytes")).expected_in(", ", most, " are accepted").into());
    };
    room.bytes = rest;
    let mut text = vec![0; length as usize];
    blob.read_at(PREFIX, &mut text)?;
    if let Err(error) = std::str::from_utf8(&text) {
        return Err(fault(format!("header is not UTF-8 from byte {}", PREFIX + error.valid_up_to() as u64)).into());
    }
    Ok(text)
}

/// Checks that the tensors of `file`, sorted by offset, fill the data without holes or overlaps; gives its size.
fn check_layout(file: &str, tensors: &[(String, TensorInfo)]) -> Result<u64> {
    let mut end_before = 0;
    for (name, info) in tensors {
        let (begin, end) = info.data_offsets;
        let fault = || Fault::entry(file, name);
        let offsets = |what: &str| fault().found(format!("data_offsets [{begin}, {end}] {what}"));
        if end < begin {
            return Err(offsets("are reversed").into());
        }
        if begin != end_before {
            let what = if begin < end_before { "overlap the tensor before" } else { "leave a hole" };
            return Err(offsets(what).expected(format!("to begin at {end_before}")).into());
        }
        let elements = info.shape.iter().try_fold(1usize, |all, &size| all.checked_mul(size));
        let bits = elements.and_then(|elements| elements.checked_mul(info.dtype.bitsize()));
        let Some(bits) = bits else {
            return Err(fault().found(format!("shape {:?} overflows", info.shape)).into());
        };
        if bits % 8 != 0 || bits / 8 != end - begin {
            let (shape, dtype, held) = (&info.shape, info.dtype, end - begin);
            let found = format!("shape {shape:?} of {dtype} needs {} bytes", bits.div_ceil(8));
            return Err(fault().found(found).expected_in(", data_offsets give ", held.to_string(), "").into());
        }
        end_before = end;
    }
    Ok(end_before as u64)
}

/// A parsed header: tensors as listed, and what to warn of.
struct Parsed(Vec<(String, TensorInfo)>, Option<String>);

/// Reads a header of at most so many tensors.
struct HeaderSeed(usize);

impl<'de> DeserializeSeed<'de> for HeaderSeed {
    type Value = Parsed;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<Parsed, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for HeaderSeed {
    type Value = Parsed;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> std::result::Result<Parsed, A::Error> {
        let (mut tensors, mut extra, mut has_metadata) = (Vec::new(), None, false);
        let mut seen = Seen::default();
        while let Some(name) = access.next_key::<String>()? {
            let is_metadata = name == "__metadata__";
            if (is_metadata && has_metadata) || (!is_metadata && seen.is_double(&name, &tensors)) {
                return Err(A::Error::custom(format!("duplicate tensor name {name:?}")));
            }
            if is_metadata {
                has_metadata = true;
                access.next_value_seed(MetadataSeed)?;
                continue;
            }
            check_name(&name).map_err(A::Error::custom)?;
            if tensors.len() == self.0 {
                let of = if self.0 == TENSOR_LIMIT { "" } else { " in all files" };
                return Err(A::Error::custom(format!("more than {TENSOR_LIMIT} tensors{of}")));
            }
            let info = access.next_value_seed(EntrySeed { name: &name, extra: &mut extra })?;
            tensors.push((name, info));
        }
        Ok(Parsed(tensors, extra))
    }
}

/// The names so far by their hash, which spares a copy of each.
#[derive(Default)]
struct Seen {
    hasher: RandomState,
    numbers: HashMap<u64, usize>,
}

impl Seen {
    /// Notes that `name` comes next behind `tensors`; whether it is among them.
    fn is_double(&mut self, name: &str, tensors: &[(String, TensorInfo)]) -> bool {
        match self.numbers.insert(self.hasher.hash_one(name), tensors.len()) {
            None => false,
            Some(number) => tensors[number].0 == name || tensors.iter().any(|(other, _)| other == name),
        }
    }
}

fn check_name(name: &str) -> std::result::Result<(), String> {
    if name.is_empty() {
        return Err("empty tensor name".to_owned());
    }
    if name.len() > NAME_LIMIT {
        return Err(format!("tensor name of {} bytes, at most {NAME_LIMIT} are accepted", name.len()));
    }
    if name.chars().any(char::is_control) {
        return Err(format!("tensor name {name:?} has control characters"));
    }
    Ok(())
}

/// `__metadata__`: strings by name, of no use to us but part of the format.
struct MetadataSeed;

impl<'de> DeserializeSeed<'de> for MetadataSeed {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for MetadataSeed {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of strings in __metadata__")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> std::result::Result<(), A::Error> {
        let mut seen = HashSet::new();
        while let Some((key, _)) = access.next_entry::<String, String>()? {
            if let Some(key) = seen.replace(key) {
                return Err(A::Error::custom(format!("duplicate key {key:?} in __metadata__")));
            }
            if seen.len() > METADATA_LIMIT {
                return Err(A::Error::custom(format!("more than {METADATA_LIMIT} entries in __metadata__")));
            }
        }
        Ok(())
    }
}

/// One tensor's entry.
struct EntrySeed<'a> {
    name: &'a str,
    extra: &'a mut Option<String>,
}

impl<'de> DeserializeSeed<'de> for EntrySeed<'_> {
    type Value = TensorInfo;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<TensorInfo, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for EntrySeed<'_> {
    type Value = TensorInfo;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object for tensor {:?}", self.name)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> std::result::Result<TensorInfo, A::Error> {
        let name = self.name;
        let fault = |what: String| A::Error::custom(format!("tensor {name:?}: {what}"));
        let (mut dtype, mut shape, mut offsets) = (None, None, None);
        while let Some(key) = access.next_key::<String>()? {
            let first = match key.as_str() {
                "dtype" => dtype.replace(access.next_value::<String>()?).is_none(),
                "shape" => shape.replace(access.next_value_seed(ShapeSeed { name })?).is_none(),
                "data_offsets" => offsets.replace(access.next_value::<(usize, usize)>()?).is_none(),
                _ => {
                    access.next_value::<IgnoredAny>()?;
                    self.extra.get_or_insert_with(|| format!("tensor {name:?}: unknown field {key:?} ignored"));
                    true
                }
            };
            if !first {
                return Err(fault(format!("duplicate field {key:?}")));
            }
        }
        let missing = |field: &str| fault(format!("no {field}"));
        let dtype = dtype.ok_or_else(|| missing("dtype"))?;
        Ok(TensorInfo {
            dtype: parse_dtype(&dtype).ok_or_else(|| fault(format!("unknown dtype {dtype:?}")))?,
            shape: shape.ok_or_else(|| missing("shape"))?,
            data_offsets: offsets.ok_or_else(|| missing("data_offsets"))?,
        })
    }
}

fn parse_dtype(name: &str) -> Option<Dtype> {
    Dtype::deserialize(StrDeserializer::<ValueError>::new(name)).ok()
}

struct ShapeSeed<'a> {
    name: &'a str,
}

impl<'de> DeserializeSeed<'de> for ShapeSeed<'_> {
    type Value = Vec<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<Vec<usize>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for ShapeSeed<'_> {
    type Value = Vec<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of sizes as shape of tensor {:?}", self.name)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> std::result::Result<Vec<usize>, A::Error> {
        let fault = |what: String| A::Error::custom(format!("tensor {:?}: {what}", self.name));
        let mut shape = Vec::new();
        while let Some(size) = access.next_element::<u64>()? {
            if shape.len() == RANK_LIMIT {
                return Err(fault(format!("more than {RANK_LIMIT} dimensions")));
            }
            if size > DIMENSION_LIMIT {
                return Err(fault(format!("dimension {size}, at most {DIMENSION_LIMIT} is accepted")));
            }
            shape.push(size as usize);
        }
        Ok(shape)
    }
}
