//! Damaged safetensors headers and files.

use std::fs;

use lapidary::checkpoint::Projection;

use super::{Model, Tensor, expect, open, raw_file, refused, serialize, write_config};

/// A header with one tensor of 4 bytes, given as JSON.
fn one(entry: &str) -> Vec<u8> {
    raw_file(format!("{{\"x\":{entry}}}").as_bytes(), &[0; 4])
}

fn text(header: &str) -> Vec<u8> {
    raw_file(header.as_bytes(), &[])
}

#[test]
fn hostile_headers() {
    let entry = r#"{"dtype":"F32","shape":[1],"data_offsets":[0,4]}"#;
    let two = |a: &str, b: &str| {
        let header = format!(
            "{{\"x\":{{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":{a}}},\
             \"y\":{{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":{b}}}}}"
        );
        raw_file(header.as_bytes(), &[0; 8])
    };
    let named = |name: &str| raw_file(format!("{{\"{name}\":{entry}}}").as_bytes(), &[0; 4]);
    let length = |n: u64| [&n.to_le_bytes()[..], b"{}"].concat();
    let mut bad_utf8 = text(r#"{"a":"?"}"#);
    bad_utf8[14] = 0xff;
    let many = (0..262_145).map(|i| format!("\"{i}\":{{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}"));
    let many = format!("{{{}}}", many.collect::<Vec<_>>().join(","));
    // Together 40 bytes less than 2^64: with the header in front, the sum wraps around.
    let large = (1u64 << 61) - (1 << 31);
    let vast = (0..8).map(|i| (i, "2147483648,1073741823", i * large, (i + 1) * large));
    let vast = vast.chain([(8, "8,2147483643", 8 * large, u64::MAX - 39)]).map(|(i, shape, begin, end)| {
        format!("\"{i}\":{{\"dtype\":\"U8\",\"shape\":[{shape}],\"data_offsets\":[{begin},{end}]}}")
    });
    let vast = format!("{{{}}}", vast.collect::<Vec<_>>().join(","));
    let metadata = (0..2_000_000).map(|i| format!("\"{i}\":\"\"")).collect::<Vec<_>>().join(",");
    let metadata = format!("{{\"__metadata__\":{{{metadata}}}}}");
    let dims = |dims: &str| one(&format!(r#"{{"dtype":"F32","shape":[{dims}],"data_offsets":[0,4]}}"#));
    let cases: Vec<(&str, Vec<u8>, &[&str])> = vec![
        ("empty", vec![], &["truncated", "0 bytes"]),
        ("7 bytes", vec![0; 7], &["truncated", "7 bytes"]),
        ("no header", vec![0; 8], &["header is not valid", "line 1"]),
        ("hello", text("hello"), &["header is not valid", "line 1 column 1"]),
        ("list", text("[]"), &["header is not valid", "expected an object"]),
        ("trailing text", text("{} x"), &["header is not valid", "trailing characters"]),
        ("huge length", length(u64::MAX), &["header of 18446744073709551615 bytes", "33554432"]),
        ("crate's limit", length(100_000_001), &["header of 100000001 bytes", "33554432"]),
        ("our limit", length((32 << 20) + 1), &["header of 33554433 bytes", "33554432"]),
        ("beyond the end", length(1000), &["truncated", "ends at 1008"]),
        ("not UTF-8", bad_utf8, &["not UTF-8", "byte 14"]),
        ("one byte short", one(entry)[..one(entry).len() - 1].to_vec(), &["truncated", "its header describes"]),
        ("one byte long", [one(entry), vec![0]].concat(), &["1 trailing bytes", "its header describes"]),
        ("overlap", two("[0,4]", "[2,6]"), &["\"y\"", "overlap", "begin at 4"]),
        ("hole", two("[0,4]", "[6,10]"), &["\"y\"", "hole", "begin at 4"]),
        ("hole at the front", one(r#"{"dtype":"F32","shape":[1],"data_offsets":[4,8]}"#), &["\"x\"", "hole"]),
        ("reversed", one(r#"{"dtype":"F32","shape":[1],"data_offsets":[4,0]}"#), &["\"x\"", "reversed"]),
        ("overflow", dims("2147483648,2147483648,2147483648"), &["\"x\"", "overflows"]),
        ("overflow times zero", dims("2147483648,2147483648,2147483648,0"), &["\"x\"", "overflows"]),
        ("zero times huge", dims("0,18446744073709551615"), &["\"x\"", "18446744073709551615", "2147483648"]),
        ("2^62 elements", dims("4611686018427387904"), &["\"x\"", "2147483648"]),
        ("too many for a number", dims("99999999999999999999999"), &["header is not valid"]),
        ("unknown dtype", one(r#"{"dtype":"Q4","shape":[1],"data_offsets":[0,4]}"#), &["\"x\"", "dtype \"Q4\""]),
        ("negative size", dims("-1"), &["header is not valid", "-1"]),
        ("fraction", dims("1.5"), &["header is not valid", "1.5"]),
        ("no offsets", one(r#"{"dtype":"F32","shape":[1]}"#), &["\"x\"", "no data_offsets"]),
        ("no shape", one(r#"{"dtype":"F32","data_offsets":[0,4]}"#), &["\"x\"", "no shape"]),
        ("no dtype", one(r#"{"shape":[1],"data_offsets":[0,4]}"#), &["\"x\"", "no dtype"]),
        ("entry is a number", one("5"), &["\"x\"", "header is not valid"]),
        ("wrong size", dims("2"), &["\"x\"", "needs 8 bytes", "give 4"]),
        ("three offsets", one(r#"{"dtype":"F32","shape":[1],"data_offsets":[0,4,8]}"#), &["header is not valid"]),
        (
            "field twice",
            one(r#"{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}"#),
            &["duplicate", "dtype"],
        ),
        (
            "name twice",
            raw_file(format!("{{\"x\":{entry},\"x\":{entry}}}").as_bytes(), &[0; 4]),
            &["duplicate", "\"x\""],
        ),
        (
            "same name escaped",
            raw_file(format!("{{\"x\":{entry},\"\\u0078\":{entry}}}").as_bytes(), &[0; 4]),
            &["duplicate"],
        ),
        ("metadata twice", text(r#"{"__metadata__":{},"__metadata__":{}}"#), &["duplicate", "__metadata__"]),
        ("metadata key twice", text(r#"{"__metadata__":{"a":"","a":""}}"#), &["duplicate", "\"a\""]),
        ("metadata of numbers", text(r#"{"__metadata__":{"a":1}}"#), &["header is not valid"]),
        ("path and NUL", named("../../x\\u0000"), &["control characters", "../../x"]),
        ("empty name", named(""), &["empty tensor name"]),
        ("long name", named(&"n".repeat(513)), &["name of 513 bytes", "512"]),
        ("nine dimensions", dims("1,1,1,1,1,1,1,1,1"), &["\"x\"", "more than 8 dimensions"]),
        ("a million dimensions", dims(&vec!["1"; 1_000_000].join(",")), &["\"x\"", "more than 8 dimensions"]),
        ("nested lists", dims(&"[".repeat(100_000)), &["header is not valid"]),
        ("nested unknown", one(&format!("{{\"z\":{}", "[".repeat(1_000_000))), &["header is not valid"]),
        ("only brackets", text(&"[".repeat(1_000_000)), &["header is not valid"]),
        ("vast", text(&vast), &["truncated", "its header describes 18446744073709551615"]),
        ("too many tensors", text(&many), &["more than 262144 tensors"]),
        ("too much metadata", text(&metadata), &["more than 65536 entries"]),
    ];
    let dir = tempfile::tempdir().unwrap();
    write_config(dir.path(), &Model::base().config);
    for (what, bytes, needles) in cases {
        fs::write(dir.path().join("model.safetensors"), bytes).unwrap();
        let found = refused(what, dir.path(), needles);
        assert!(found.starts_with("file \"model.safetensors\": "), "{what}: {found}");
        assert!(found.lines().count() == 1, "{what}: {found}");
    }
}

/// Fields that the format does not know are no reason to refuse a file.
#[test]
fn unknown_fields_are_accepted() {
    let mut model = Model::base();
    model.tensors.push(Tensor { name: "extra".into(), dtype: "I64".into(), shape: vec![], data: vec![0; 8] });
    let bytes = serialize(&model.tensors);
    let header = String::from_utf8(bytes[8..8 + bytes[..8].iter().rev().fold(0, |n, b| n << 8 | *b as usize)].to_vec());
    let header = header.unwrap();
    let data = &bytes[8 + header.len()..];
    let changed = header.replacen("\"shape\"", "\"mood\":{\"x\":[1]},\"shape\"", 1);
    let dir = tempfile::tempdir().unwrap();
    write_config(dir.path(), &model.config);
    fs::write(dir.path().join("model.safetensors"), raw_file(changed.as_bytes(), data)).unwrap();
    let checkpoint = open(dir.path()).unwrap();
    let unknown: Vec<&str> =
        checkpoint.skipped().unknown().flat_map(|group| &group.names).map(String::as_str).collect();
    assert_eq!(unknown, ["extra"]);
}

#[test]
fn a_file_cut_anywhere_is_truncated() {
    let dir = Model::base().write();
    let path = dir.path().join("model.safetensors");
    let whole = fs::metadata(&path).unwrap().len();
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    let step = whole / 150;
    let near_end = (1..50).map(|cut| whole - cut);
    for len in near_end.chain((0..150).rev().map(|cut| cut * step)) {
        file.set_len(len).unwrap();
        refused(&format!("{len} of {whole}"), dir.path(), &["\"model.safetensors\"", "truncated"]);
    }
}

#[test]
fn a_file_that_changes_after_opening() {
    let dir = Model::base().write();
    let path = dir.path().join("model.safetensors");
    let checkpoint = open(dir.path()).unwrap();
    checkpoint.check_unchanged().unwrap();
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(200_000).unwrap();
    expect("check", &checkpoint.check_unchanged().unwrap_err(), &["\"model.safetensors\"", "changed"]);
    let needles = ["\"model.safetensors\"", "to 200000 bytes, while it was read"];
    expect("verify", &checkpoint.verify_contents().unwrap_err(), &needles);
    let error = checkpoint.expert(5, 15, Projection::Up).unwrap_err();
    expect("load", &error, &needles);
}
