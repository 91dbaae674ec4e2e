//! Inputs of several files: sections with a separator between them.

use serde_json::Value;

/// Stands between sections. No JSON has it, and no template needs it.
pub const SEPARATOR: u8 = 0x1e;

/// The first byte of `data`, by which a target chooses among its ways, and the sections behind it.
pub fn parts(data: &[u8]) -> Option<(u8, Vec<&[u8]>)> {
    let (way, rest) = data.split_first()?;
    Some((*way, rest.split(|byte| *byte == SEPARATOR).collect()))
}

/// The input of these parts.
pub fn join<T: AsRef<[u8]>>(way: u8, sections: &[T]) -> Vec<u8> {
    let mut data = vec![way];
    for (number, section) in sections.iter().enumerate() {
        if number > 0 {
            data.push(SEPARATOR);
        }
        data.extend(section.as_ref());
    }
    data
}

/// Whether a key stands twice in any object of a valid JSON text: then it has more colons outside of strings than the
/// value that serde_json makes of it has entries.
pub fn has_key_twice(json: &[u8]) -> bool {
    let Ok(value) = serde_json::from_slice(json) else { return false };
    let (mut colons, mut in_string, mut escaped) = (0, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b':' if !in_string => colons += 1,
            _ => {}
        }
    }
    colons > entries(&value)
}

fn entries(value: &Value) -> usize {
    match value {
        Value::Array(list) => list.iter().map(entries).sum(),
        Value::Object(map) => map.len() + map.values().map(entries).sum::<usize>(),
        _ => 0,
    }
}

/// FNV-1a, as the cache folder's files have it.
pub fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}
