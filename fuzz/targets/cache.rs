//! The cache folder's files: the doctor's record, and compiled pipelines. Whatever they hold is no error, and what a
//! record switches off is what the doctor would.

use lapidary_fuzz::input::checksum;
use lapidary_fuzz::mutate::{Kind, sections};
use lapidary_fuzz::{Bounds, check_text, run};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use serde_json::Value;

const BOUNDS: Bounds = Bounds::new(16, 500);
const RECORD: &str = r#"{"format": 2, "adapter": "a card", "driver": "1", "api": "Vulkan", "version": "0", "switched_off": "",
    "failures": [{"check": "router", "without": "", "message": ""}], "is_bad": false, "brief": true, "dot_times": null}"#;
/// What the doctor's checks speak of.
const SWITCHES: [&str; 6] = ["subgroups", "dot", "matrix", "immediates", "kv-f16", "kv-int8"];
const WORDS: [&str; 22] = [
    "format",
    "adapter",
    "driver",
    "api",
    "version",
    "switched_off",
    "failures",
    "is_bad",
    "brief",
    "dot_times",
    "check",
    "without",
    "message",
    "few",
    "many",
    "plain",
    "dot,kv-f16",
    "binding=1",
    "threads=0",
    "buffers=8",
    "f16,timestamps",
    "cpu-kernels,pipeline-cache",
];

fn main() {
    run();
}

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let kind = if data.first() == Some(&b'p') { Kind::Plain } else { Kind::Json(&WORDS) };
    sections(data, size, max_size, seed, &[kind])
});

fuzz_target!(|data: &[u8]| {
    let Some((way, rest)) = data.split_first() else { return };
    match way {
        b'p' => pipelines(rest),
        b's' => record(&sealed(rest)),
        b'o' => record(&sealed(&overlaid(rest))),
        _ => record(rest),
    }
});

fn record(bytes: &[u8]) {
    let Some(record) = BOUNDS.hold(|| lapidary::fuzzing::record(bytes)) else { return };
    let off = record.switched_off().to_string();
    for item in off.split(',').filter(|item| !item.is_empty()) {
        assert!(SWITCHES.contains(&item), "a record switches off {item:?}, expected some of {SWITCHES:?}");
    }
    for failure in record.failures() {
        for text in [&failure.check, &failure.without, &failure.message] {
            check_text(text, false);
        }
    }
}

/// A record that is right but for what the input says: most that is changed at random is no record at all.
fn overlaid(json: &[u8]) -> Vec<u8> {
    let mut record: Value = serde_json::from_str(RECORD).expect("it is JSON");
    if let (Some(record), Ok(Value::Object(changes))) = (record.as_object_mut(), serde_json::from_slice(json)) {
        for (key, value) in changes {
            record.entry(key).and_modify(|old| *old = value);
        }
    }
    record.to_string().into_bytes()
}

/// As the doctor writes it: with a checksum as the last key, by the same measure.
fn sealed(json: &[u8]) -> Vec<u8> {
    let text = json.trim_ascii_end();
    let body = text.strip_suffix(b"}").unwrap_or(text).trim_ascii_end();
    let tail =
        format!(",\n  \"checksum\": \"{:016x}\"\n}}\n", checksum(&[body, &(body.len() as u64).to_le_bytes()].concat()));
    [body, tail.as_bytes()].concat()
}

/// Whole files give what is behind their header, and no other file with this header gives anything.
fn pipelines(bytes: &[u8]) {
    let Some(data) = BOUNDS.hold(|| lapidary::fuzzing::pipelines(bytes)) else { return };
    assert_eq!(data, &bytes[bytes.len() - data.len()..], "the end of the file");
    for at in [0, 8, 15, bytes.len() - 1] {
        let mut damaged = bytes.to_vec();
        damaged[at] ^= 1;
        assert_eq!(lapidary::fuzzing::pipelines(&damaged), None, "with a bit of byte {at} turned");
    }
    assert_eq!(lapidary::fuzzing::pipelines(&bytes[..bytes.len() - 1]), None, "without the last byte");
}
