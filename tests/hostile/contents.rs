//! Contents of tensors that contradict the configuration or that no kernel may see: `inspect` finds them, and
//! `--headers-only` does not look.

use super::harness::{Call, Failures, INSPECT};
use super::{Model, Path, json, refused_contents};

fn headers_only(dir: &Path) -> Call {
    let mut call = Call::inspect(dir);
    call.arguments.push("--headers-only".into());
    call
}

/// Bytes of a matrix's part at an element.
fn put(model: &mut Model, name: &str, element: usize, bytes: &[u8]) {
    let at = element * bytes.len();
    model.get(name).data[at..at + bytes.len()].copy_from_slice(bytes);
}

#[test]
fn numbers_that_are_none() {
    let mut failures = Failures::default();
    for (name, element) in [
        ("layers.1.mlp.gate_proj.scales", 5),
        ("layers.0.router.proj.scales", 0),
        ("layers.5.experts.15.down_proj.scales", 3),
    ] {
        for (bits, shown) in [(0x7e00u16, "NaN"), (0x7c00, "inf"), (0xfc00, "-inf"), (0xfc01, "NaN"), (0x7c01, "NaN")] {
            let mut model = Model::base();
            put(&mut model, name, element, &bits.to_le_bytes());
            let dir = model.write();
            failures.case(|| {
                refused_contents(&format!("{name} {shown}"), dir.path(), &[name, &format!("element {element}"), shown])
            });
            failures.case(|| INSPECT.accepts(name, &headers_only(dir.path())));
        }
    }
    for (name, bits) in
        [("layers.0.input_layernorm.weight", 0x7fc0u16), ("norm.weight", 0x7f80), ("layers.3.layer_scalar", 0x7fc1)]
    {
        let mut model = Model::base();
        put(&mut model, name, 0, &bits.to_le_bytes());
        let dir = model.write();
        failures.case(|| refused_contents(name, dir.path(), &[name, "element 0"]));
    }
    failures.done();
}

#[test]
fn tables_that_lead_elsewhere() {
    let mut failures = Failures::default();
    for name in ["layers.2.experts.3.down_proj.g_idx", "layers.4.mlp.down_proj.g_idx", "layers.3.router.proj.g_idx"] {
        for value in [-1, 9, 1 << 20, i32::MAX, i32::MIN] {
            let mut model = Model::base();
            put(&mut model, name, 17, &value.to_le_bytes());
            let dir = model.write();
            failures.case(|| {
                refused_contents(&format!("{name} {value}"), dir.path(), &[name, "element 17", &value.to_string()])
            });
            failures.case(|| INSPECT.accepts(name, &headers_only(dir.path())));
        }
    }
    failures.done();
}

/// `sym: true` with zero points that are not the middle: one matrix, all of them, one nibble, of each convention.
#[test]
fn zero_points_that_contradict_sym() {
    let mut failures = Failures::default();
    let base = Model::read("moe-autoround-sym");
    assert_eq!(base.config["quantization_config"]["sym"], json!(true));
    let names: Vec<String> =
        base.tensors.iter().map(|tensor| tensor.name.clone()).filter(|name| name.ends_with(".qzeros")).collect();
    let own = base.tensors.iter().find(|tensor| tensor.name == names[0]).unwrap().data[0];
    assert!(matches!(own, 0x77 | 0x88), "{own:#x}");
    let other = 0xff - own;
    for (what, count, byte, expected) in [
        ("all under the other convention", names.len(), other, 0),
        ("one under the other convention", 1, other, 3),
        ("all but one under the other convention", names.len() - 1, other, 3),
        ("all zero", names.len(), 0x00, 3),
        ("one zero", 1, 0x00, 3),
        ("all fifteen", names.len(), 0xff, 3),
        ("all five", names.len(), 0x55, 3),
        ("all of both conventions", names.len(), 0x78, 3),
    ] {
        let mut model = base.clone();
        for tensor in model.tensors.iter_mut().filter(|tensor| names[..count].contains(&tensor.name)) {
            tensor.data.fill(byte);
        }
        let dir = model.write();
        failures.case(|| {
            let ended = INSPECT.ends(what, &Call::inspect(dir.path()));
            let text = ended.text();
            assert_eq!(ended.code, Some(expected), "{what}: {text}");
            let words: &[&str] = if expected == 3 { &["qzeros", "sym", "expected"] } else { &[] };
            words.iter().for_each(|word| assert!(text.contains(word), "{what}: no {word:?} in {text}"));
        });
    }
    // A file that does not say whether it is symmetric, and one that says so of a single matrix.
    for (what, count, byte, said, expected) in [
        ("absent, as declared", 0, own, json!(null), (0, "")),
        ("absent, all under the other convention", names.len(), other, json!(null), (0, "sym is absent")),
        ("absent, one under the other convention", 1, other, json!(null), (0, "")),
        ("false, all under the other convention", names.len(), other, json!(false), (0, "")),
        ("said of one that is under the other convention", 1, other, json!("one"), (3, "does not")),
    ] {
        let mut model = base.clone();
        let quantization = &mut model.config["quantization_config"];
        quantization["sym"] = if said == json!("one") { json!(false) } else { said };
        if expected.1 == "does not" {
            let matrix = names[0].strip_suffix(".qzeros").unwrap();
            quantization["extra_config"] = json!({ matrix: {"sym": true} });
        }
        for tensor in model.tensors.iter_mut().filter(|tensor| names[..count].contains(&tensor.name)) {
            tensor.data.fill(byte);
        }
        let dir = model.write();
        failures.case(|| {
            let ended = INSPECT.ends(what, &Call::inspect(dir.path()));
            let text = ended.text();
            assert_eq!(ended.code, Some(expected.0), "{what}: {text}");
            assert!(text.contains(expected.1), "{what}: no {:?} in {text}", expected.1);
            assert_eq!(text.contains("is taken"), expected.1 == "sym is absent", "{what}: {text}");
        });
    }
    // A single field of the last matrix.
    let mut model = base.clone();
    let last = model.tensors.iter_mut().rfind(|tensor| tensor.name.ends_with(".qzeros")).unwrap();
    *last.data.last_mut().unwrap() ^= 0x10;
    let (name, dir) = (last.name.clone(), model.write());
    failures.case(|| INSPECT.refuses("one field", &Call::inspect(dir.path()), 3, &[&name, "expected"]));
    failures.done();
}
