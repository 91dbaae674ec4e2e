//! Damaged, contradictory and hostile checkpoints: each must end in one clear error that names the thing, quickly, and
//! never in a panic. All are mutations of one small checkpoint.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lapidary::Error;
use lapidary::checkpoint::{Checkpoint, Config, GenerationConfig, Projection, Source};
use safetensors::SafeTensors;
use serde_json::{Value, json};
use tempfile::TempDir;

const PREFIX: &str = "model.language_model.";

/// A tensor to be written, not necessarily a consistent one.
#[derive(Clone)]
struct Tensor {
    name: String,
    dtype: String,
    shape: Vec<usize>,
    data: Vec<u8>,
}

/// A checkpoint in memory.
#[derive(Clone)]
struct Model {
    config: Value,
    tensors: Vec<Tensor>,
}

impl Model {
    /// Experts, quantized router, `g_idx` everywhere.
    fn base() -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/moe-gptq-desc-act");
        let bytes = fs::read(folder.join("model.safetensors")).unwrap();
        let mut tensors: Vec<Tensor> = SafeTensors::deserialize(&bytes)
            .unwrap()
            .iter()
            .map(|(name, view)| Tensor {
                name: name.to_owned(),
                dtype: view.dtype().to_string(),
                shape: view.shape().to_vec(),
                data: view.data().to_vec(),
            })
            .collect();
        tensors.sort_by(|a, b| a.name.cmp(&b.name));
        Model { config: serde_json::from_slice(&fs::read(folder.join("config.json")).unwrap()).unwrap(), tensors }
    }

    fn get(&mut self, name: &str) -> &mut Tensor {
        let full = format!("{PREFIX}{name}");
        self.tensors.iter_mut().find(|tensor| tensor.name == full).unwrap_or_else(|| panic!("no {full}"))
    }

    fn without(mut self, name: &str) -> Self {
        let full = format!("{PREFIX}{name}");
        let before = self.tensors.len();
        self.tensors.retain(|tensor| tensor.name != full);
        assert_eq!(self.tensors.len(), before - 1, "{full}");
        self
    }

    fn write(&self) -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        write_config(dir.path(), &self.config);
        fs::write(dir.path().join("model.safetensors"), serialize(&self.tensors)).unwrap();
        dir
    }

    /// Two files and an index, whose `weight_map` comes back for changes.
    fn write_two(&self) -> (TempDir, Value) {
        let dir = tempfile::tempdir().unwrap();
        write_config(dir.path(), &self.config);
        let mut map = json!({});
        for (file, part) in
            ["a.safetensors", "b.safetensors"].iter().zip(self.tensors.chunks(self.tensors.len().div_ceil(2)))
        {
            fs::write(dir.path().join(file), serialize(part)).unwrap();
            part.iter().for_each(|tensor| map[&tensor.name] = json!(file));
        }
        write_index(dir.path(), &map);
        (dir, map)
    }
}

fn write_config(dir: &Path, config: &Value) {
    fs::write(dir.join("config.json"), config.to_string()).unwrap();
}

fn write_index(dir: &Path, map: &Value) {
    let index = json!({"metadata": {}, "weight_map": map});
    fs::write(dir.join("model.safetensors.index.json"), index.to_string()).unwrap();
}

fn serialize(tensors: &[Tensor]) -> Vec<u8> {
    let mut header = serde_json::Map::new();
    let mut data: Vec<u8> = Vec::new();
    for tensor in tensors {
        let offsets = [data.len(), data.len() + tensor.data.len()];
        let entry = json!({"dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": offsets});
        header.insert(tensor.name.clone(), entry);
        data.extend(&tensor.data);
    }
    raw_file(Value::Object(header).to_string().as_bytes(), &data)
}

fn raw_file(header: &[u8], data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header, data].concat()
}

fn open(dir: &Path) -> lapidary::Result<Checkpoint> {
    Checkpoint::open(Source::Directory(dir.to_owned()))
}

/// The error of opening `dir`; it must come quickly and hold all of `needles`.
fn refused(what: &str, dir: &Path, needles: &[&str]) -> String {
    let start = Instant::now();
    let error = open(dir).err().unwrap_or_else(|| panic!("{what}: was accepted"));
    assert!(start.elapsed() < Duration::from_secs(5), "{what}: took {:?}", start.elapsed());
    expect(what, &error, needles)
}

fn expect(what: &str, error: &Error, needles: &[&str]) -> String {
    let text = error.to_string();
    assert_eq!(error.exit_code(), 3, "{what}: {text}");
    for needle in needles {
        assert!(text.contains(needle), "{what}: expected {needle:?} in: {text}");
    }
    assert!(text.len() < 8000 && !text.ends_with('.') && !text.contains('\0'), "{what}: {text}");
    text
}

#[test]
fn the_base_is_accepted() {
    let model = Model::base();
    let dir = model.write();
    open(dir.path()).unwrap().verify_contents().unwrap();
    let (dir, _) = model.write_two();
    open(dir.path()).unwrap().verify_contents().unwrap();
}

#[test]
fn places_that_are_no_model() {
    let dir = tempfile::tempdir().unwrap();
    refused("empty", dir.path(), &["no config.json"]);
    refused("absent", &dir.path().join("nowhere"), &["nowhere", "does not exist"]);
    let file = dir.path().join("model.gguf");
    fs::write(&file, "GGUF").unwrap();
    refused("file", &file, &["model.gguf", "is a file, expected a directory"]);
    refused("below a file", &file.join("x"), &["does not exist"]);

    write_config(dir.path(), &Model::base().config);
    refused("gguf", dir.path(), &["no model.safetensors", "model.gguf", "not supported yet"]);
    fs::write(dir.path().join("pytorch_model.bin"), "x").unwrap();
    refused("pickle", dir.path(), &["pytorch_model.bin", "never opened", "convert it to safetensors"]);
    fs::create_dir(dir.path().join("model.safetensors")).unwrap();
    refused("folder as file", dir.path(), &["model.safetensors", "not a regular file"]);
}

#[cfg(unix)]
#[test]
fn links_and_pipes() {
    use std::os::unix::fs::symlink;
    let model = Model::base();
    let outside = model.write();
    let dir = tempfile::tempdir().unwrap();
    write_config(dir.path(), &model.config);
    let link = dir.path().join("model.safetensors");
    symlink(outside.path().join("model.safetensors"), &link).unwrap();
    refused(
        "link to the outside",
        dir.path(),
        &["\"model.safetensors\"", "is a link to", "inside the model directory"],
    );
    fs::remove_file(&link).unwrap();
    symlink(dir.path().join("gone"), &link).unwrap();
    refused("dangling link", dir.path(), &["\"model.safetensors\"", "does not exist"]);
    fs::remove_file(&link).unwrap();
    symlink("/dev/zero", &link).unwrap();
    refused("device", dir.path(), &["\"model.safetensors\""]);
    fs::remove_file(&link).unwrap();
    if std::process::Command::new("mkfifo").arg(&link).status().is_ok_and(|status| status.success()) {
        refused("pipe", dir.path(), &["\"model.safetensors\"", "not a regular file"]);
    }

    // The Hugging Face cache links every file of a snapshot into its blobs.
    let cache = tempfile::tempdir().unwrap();
    let (blobs, snapshot) = (cache.path().join("m/blobs"), cache.path().join("m/snapshots/0123"));
    fs::create_dir_all(&blobs).unwrap();
    fs::create_dir_all(&snapshot).unwrap();
    for name in ["config.json", "model.safetensors"] {
        fs::copy(outside.path().join(name), blobs.join(format!("hash-of-{name}"))).unwrap();
        symlink(format!("../../blobs/hash-of-{name}"), snapshot.join(name)).unwrap();
    }
    open(&snapshot).unwrap().verify_contents().unwrap();
}

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
    expect("verify", &checkpoint.verify_contents().unwrap_err(), &["\"model.safetensors\"", "ends before byte"]);
    let error = checkpoint.expert(5, 15, Projection::Up).unwrap_err();
    expect("load", &error, &["\"model.safetensors\"", "ends before byte"]);
}

/// Each tensor of layer 2, of two experts and of the top, one after the other: gone, of another type, of another shape.
#[test]
fn every_role_missing_mistyped_or_misshapen() {
    let base = Model::base();
    let mut cases = 0;
    for number in 0..base.tensors.len() {
        let name = base.tensors[number].name.clone();
        let relative = name.strip_prefix(PREFIX).unwrap();
        let expert = relative.contains(".experts.") && !relative.contains(".experts.0.") && !relative.contains(".15.");
        if (relative.starts_with("layers.") && !relative.starts_with("layers.2.")) || expert {
            continue;
        }
        let quoted = format!("tensor {name:?}: ");
        let refused = |what: &str, model: Model, needles: &[&str]| {
            let found = refused(&format!("{relative} {what}"), model.write().path(), needles);
            assert!(found.contains(&quoted), "{relative} {what}: {found}");
        };
        refused("missing", base.clone().without(relative), &["missing, expected"]);

        let mut model = base.clone();
        let tensor = &mut model.tensors[number];
        tensor.dtype = if tensor.dtype == "I32" { "F32".into() } else { "I16".into() };
        refused("mistyped", model.clone(), &["dtype ", "expected "]);

        let mut model = base.clone();
        let tensor = &mut model.tensors[number];
        tensor.shape.push(1);
        refused("with a dimension more", model.clone(), &["shape [", "expected "]);

        let mut model = base.clone();
        let tensor = &mut model.tensors[number];
        let row = tensor.data.len() / tensor.shape[0];
        tensor.data.truncate(tensor.data.len() - row);
        tensor.shape[0] -= 1;
        refused("one row short", model.clone(), &["shape ["]);
        cases += 4;
        let mut model = base.clone();
        let tensor = &mut model.tensors[number];
        if tensor.shape.len() == 2 && tensor.shape[0] != tensor.shape[1] {
            tensor.shape.reverse();
            refused("transposed", model.clone(), &["shape ["]);
            cases += 1;
        }
    }
    assert!(cases >= 200, "{cases}");
    println!("{cases} cases");
}

#[test]
fn faults_come_all_at_once() {
    let model =
        Model::base().without("norm.weight").without("layers.1.router.proj.scales").without("layers.0.layer_scalar");
    let mut model = model.without("layers.5.experts.7.up_proj.qweight");
    model.get("layers.3.self_attn.q_norm.weight").dtype = "U16".into();
    let names = ["norm.weight", "layers.1.router.proj.scales", "layers.0.layer_scalar", "experts.7.up_proj.qweight"];
    let found = refused("five faults", model.write().path(), &names);
    assert!(found.starts_with("5 faults:\n") && found.contains("dtype U16"), "{found}");

    let mut model = Model::base();
    model.tensors.retain(|tensor| !tensor.name.contains(".experts."));
    let found = refused("no experts", model.write().path(), &["layers.0.experts", "layers.5.experts", "16 experts"]);
    assert!(found.starts_with("6 faults:"), "{found}");

    model.tensors.clear();
    refused("no tensors", model.write().path(), &["faults:", "model.language_model.embed_tokens.weight", "more"]);
}

#[test]
fn an_incomplete_router_is_named() {
    for part in ["qweight", "qzeros", "scales"] {
        let model = Model::base().without(&format!("layers.4.router.proj.{part}"));
        let name = format!("tensor \"{PREFIX}layers.4.router.proj.{part}\": missing");
        refused(part, model.write().path(), &[&name]);
    }
    let mut model = Model::base();
    let weight = Tensor {
        name: format!("{PREFIX}layers.4.router.proj.weight"),
        dtype: "BF16".into(),
        shape: vec![16, 96],
        data: vec![0; 16 * 96 * 2],
    };
    model.tensors.push(weight);
    refused("both", model.write().path(), &["layers.4.router.proj.weight", "beside quantized tensors"]);
}

#[test]
fn data_that_kernels_would_trust() {
    let groups: [(i32, &str); 5] =
        [(2, "is 2"), (-1, "is -1"), (i32::MAX, "2147483647"), (i32::MIN, "-2147483648"), (3, "is 3")];
    for (value, shown) in groups {
        let mut model = Model::base();
        let name = "layers.2.experts.3.down_proj.g_idx";
        model.get(name).data[4 * 17..4 * 18].copy_from_slice(&value.to_le_bytes());
        let dir = model.write();
        let checkpoint = open(dir.path()).unwrap();
        let needles = [name, "element 17", shown, "expected a group from 0 to 1"];
        expect(name, &checkpoint.verify_contents().unwrap_err(), &needles);
        expect(name, &checkpoint.expert(2, 3, Projection::Down).unwrap_err(), &needles);
    }
    for (bits, shown) in [(0x7e00u16, "NaN"), (0x7c00, "inf"), (0xfc00, "-inf"), (0xfc01, "NaN")] {
        let mut model = Model::base();
        let name = "layers.1.mlp.gate_proj.scales";
        model.get(name).data[10..12].copy_from_slice(&bits.to_le_bytes());
        let dir = model.write();
        let error = open(dir.path()).unwrap().verify_contents().unwrap_err();
        expect(shown, &error, &[name, "element 5", shown, "finite"]);
    }
    let mut model = Model::base();
    model.get("layers.0.input_layernorm.weight").data[2..4].copy_from_slice(&0x7fc0u16.to_le_bytes());
    model.get("layers.0.router.proj.scales").data[0..2].copy_from_slice(&0x7c00u16.to_le_bytes());
    model.get("layers.0.router.proj.g_idx").data[0..4].copy_from_slice(&9i32.to_le_bytes());
    let dir = model.write();
    let error = open(dir.path()).unwrap().verify_contents().unwrap_err();
    let found = expect("three", &error, &["input_layernorm.weight", "router.proj.scales", "router.proj.g_idx"]);
    assert!(found.starts_with("3 faults:"), "{found}");
}

/// Sets the value at `path` (dots between keys) or, for `null` with a leading `-`, removes it.
fn changed(config: &Value, path: &str, value: Value) -> Value {
    let mut config = config.clone();
    let pointer = format!("/{}", path.trim_start_matches('-').replace('.', "/"));
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let object = config.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    if path.starts_with('-') {
        object.remove(key).unwrap();
    } else {
        object.insert(key.to_owned(), value);
    }
    config
}

#[test]
fn configurations_that_cannot_be() {
    let config = Model::base().config;
    let huge = json!(18_446_744_073_709_551_615u64);
    let cases: Vec<(&str, Value, &[&str])> = vec![
        ("model_type", json!("llama"), &["model_type is \"llama\"", "\"gemma4\""]),
        ("-model_type", json!(null), &["model_type is missing"]),
        ("text_config", json!(5), &["text_config is 5", "an object"]),
        ("text_config.model_type", json!("gemma3_text"), &["text_config.model_type is \"gemma3_text\""]),
        ("text_config.use_bidirectional_attention", json!("all"), &["use_bidirectional_attention is \"all\""]),
        ("text_config.attention_bias", json!(true), &["attention_bias is true, expected false"]),
        ("text_config.hidden_activation", json!("silu"), &["hidden_activation is \"silu\"", "gelu_pytorch_tanh"]),
        ("-text_config.hidden_size", json!(null), &["text_config.hidden_size is missing"]),
        ("text_config.hidden_size", json!(0), &["text_config.hidden_size is 0", "from 1 to"]),
        ("text_config.hidden_size", json!(-96), &["text_config.hidden_size is -96"]),
        ("text_config.hidden_size", json!("96"), &["text_config.hidden_size is \"96\""]),
        ("text_config.hidden_size", json!(96.5), &["text_config.hidden_size is 96.5"]),
        ("text_config.hidden_size", huge.clone(), &["text_config.hidden_size is 18446744073709551615"]),
        ("text_config.vocab_size", huge.clone(), &["text_config.vocab_size"]),
        ("text_config.num_hidden_layers", huge.clone(), &["text_config.num_hidden_layers"]),
        ("text_config.num_hidden_layers", json!(0), &["text_config.num_hidden_layers is 0"]),
        ("text_config.num_hidden_layers", json!(5), &["layer_types", "a list of 5"]),
        ("text_config.layer_types", json!(["full_attention"]), &["layer_types", "a list of 6"]),
        ("text_config.layer_types", json!(["a", "b", "c", "d", "e", "f"]), &["layer_types", "sliding_attention"]),
        ("text_config.num_attention_heads", json!(0), &["num_attention_heads is 0"]),
        ("text_config.num_attention_heads", json!(3), &["num_attention_heads is 3", "a multiple of the 2"]),
        ("text_config.num_key_value_heads", json!(0), &["num_key_value_heads is 0"]),
        ("text_config.head_dim", json!(15), &["head_dim is 15", "even"]),
        ("text_config.head_dim", huge.clone(), &["head_dim is 184"]),
        ("text_config.global_head_dim", json!(0), &["global_head_dim is 0"]),
        ("text_config.intermediate_size", json!(null), &["intermediate_size is null"]),
        ("text_config.num_experts", json!(null), &["num_experts is null"]),
        ("text_config.num_experts", json!(200_000), &["num_experts is 200000", "at most 262144"]),
        ("text_config.top_k_experts", json!(17), &["top_k_experts is 17", "from 1 to 16"]),
        ("text_config.top_k_experts", json!(0), &["top_k_experts is 0"]),
        ("text_config.moe_intermediate_size", json!(null), &["moe_intermediate_size is null"]),
        ("text_config.sliding_window", json!(0), &["sliding_window is 0"]),
        ("text_config.rms_norm_eps", json!(-1e-6), &["rms_norm_eps", "positive"]),
        ("text_config.rms_norm_eps", json!("x"), &["rms_norm_eps is \"x\""]),
        ("text_config.final_logit_softcapping", json!(0), &["final_logit_softcapping is 0"]),
        ("text_config.num_kv_shared_layers", json!(6), &["num_kv_shared_layers is 6", "less than the 6"]),
        (
            "text_config.num_kv_shared_layers",
            json!(5),
            &["num_kv_shared_layers is 5", "full_attention layer for layer 2"],
        ),
        ("text_config.per_layer_config", json!({"6": {}}), &["per_layer_config.6", "below 6"]),
        ("text_config.per_layer_config", json!({"2": {}, "02": {}}), &["per_layer_config.02", "once"]),
        ("text_config.per_layer_config", json!({"x": {}}), &["per_layer_config.x"]),
        ("text_config.per_layer_config", json!({"2": {"head_dim": 0}}), &["per_layer_config.2.head_dim is 0"]),
        ("text_config.per_layer_config", json!({"2": {"skip": 1}}), &["per_layer_config.2.skip is 1"]),
        ("text_config.rope_parameters", json!({}), &["rope_parameters.sliding_attention is missing"]),
        (
            "text_config.rope_parameters.full_attention.rope_type",
            json!("yarn"),
            &["full_attention.rope_type is \"yarn\""],
        ),
        ("text_config.rope_parameters.full_attention.rope_theta", json!(0), &["full_attention.rope_theta is 0"]),
        ("text_config.rope_parameters.full_attention.partial_rotary_factor", json!(2), &["partial_rotary_factor is 2"]),
        ("text_config.rope_parameters.sliding_attention.partial_rotary_factor", json!(0.5), &["rotary_factor is 0.5"]),
        ("text_config.rope_parameters.full_attention.beta_fast", json!(1), &["beta_fast is 1"]),
        ("text_config.dtype", json!("int4"), &["dtype is \"int4\"", "bfloat16"]),
        ("text_config.use_double_wide_mlp", json!("yes"), &["use_double_wide_mlp is \"yes\""]),
        ("eos_token_id", json!([1, -1]), &["eos_token_id is [1,-1]", "token id"]),
        ("quantization_config.quant_method", json!("awq"), &["quant_method is \"awq\"", "not supported yet", "gptq"]),
        ("quantization_config.quant_method", json!("bitsandbytes"), &["quant_method is \"bitsandbytes\""]),
        ("-quantization_config.quant_method", json!(null), &["quant_method is missing"]),
        ("quantization_config.bits", json!(8), &["quantization_config.bits is 8, expected 4", "not supported yet"]),
        ("quantization_config.bits", json!(0), &["quantization_config.bits is 0"]),
        ("-quantization_config.bits", json!(null), &["quantization_config.bits is missing"]),
        ("quantization_config.group_size", json!(0), &["group_size is 0"]),
        ("quantization_config.group_size", json!(-2), &["group_size is -2", "-1 or"]),
        ("quantization_config.group_size", json!("32"), &["group_size is \"32\""]),
        ("quantization_config.checkpoint_format", json!("marlin"), &["checkpoint_format is \"marlin\"", "gptq_v2"]),
        ("quantization_config.dynamic", json!({"+:x.*": 5}), &["dynamic.+:x.* is 5"]),
        ("quantization_config", json!([]), &["quantization_config is []"]),
        ("compression_config", json!({"format": "x"}), &["compression_config", "not supported yet"]),
    ];
    for (path, value, needles) in cases {
        let shown = format!("{path} {value}");
        let error = Config::parse(changed(&config, path, value).to_string().as_bytes()).expect_err(&shown);
        let found = expect(&shown, &error, needles);
        assert!(found.contains("config.json: "), "{found}");
    }
    let mut vast = config;
    for key in ["vocab_size", "hidden_size", "intermediate_size", "moe_intermediate_size"] {
        vast = changed(&vast, &format!("text_config.{key}"), json!(1 << 24));
    }
    let error = Config::parse(vast.to_string().as_bytes()).unwrap_err();
    expect("vast", &error, &["sizes add up to"]);
}

#[test]
fn broken_json_files() {
    let dir = Model::base().write();
    let deep = "[".repeat(1_000_000);
    for (bytes, needle) in [
        ("", "EOF"),
        ("{", "EOF"),
        ("[]", "expected a JSON object"),
        ("{\"a\":1,\"a\":2}", "duplicate key \"a\""),
        ("{\"text_config\":{\"a\":1,\"\\u0061\":2}}", "duplicate key \"a\""),
        (deep.as_str(), "recursion"),
    ] {
        fs::write(dir.path().join("config.json"), bytes).unwrap();
        refused(needle, dir.path(), &["config.json: ", needle]);
    }
    fs::write(dir.path().join("config.json"), b"{\"a\":\"\xff\"}").unwrap();
    refused("not UTF-8", dir.path(), &["config.json: not valid JSON"]);
    fs::File::create(dir.path().join("config.json")).unwrap().set_len(65 << 20).unwrap();
    refused("too long", dir.path(), &["\"config.json\"", "68157440 bytes", "67108864"]);

    let dir = Model::base().write();
    fs::write(dir.path().join("generation_config.json"), r#"{"temperature":-1,"top_p":2,"top_k":-5}"#).unwrap();
    let found = refused("generation", dir.path(), &["temperature is -1", "top_p is 2", "top_k is -5"]);
    assert!(found.contains("generation_config.json: "));
    assert_eq!(GenerationConfig::parse(b"{}").unwrap(), GenerationConfig::default());
}

#[test]
fn configuration_against_tensors() {
    let base = Model::base();
    let with = |path: &str, value: Value| Model { config: changed(&base.config, path, value), ..base.clone() };
    let cases: Vec<(&str, Model, &[&str])> = vec![
        ("group size", with("quantization_config.group_size", json!(64)), &["scales\": shape [3, ", "64 makes 2"]),
        ("per channel", with("quantization_config.group_size", json!(-1)), &["-1 makes 1"]),
        ("not quantized", with("-quantization_config", json!(null)), &["qweight", "has no quantization_config"]),
        (
            "fewer layers",
            {
                let model = with("text_config.num_hidden_layers", json!(3));
                let kinds = json!(["sliding_attention", "sliding_attention", "full_attention"]);
                Model { config: changed(&model.config, "text_config.layer_types", kinds), ..model }
            },
            &["layers.3.", "num_hidden_layers 3"],
        ),
        (
            "fewer experts",
            with("text_config.num_experts", json!(8)),
            &["layers.0.experts.", "num_experts 8", "router.proj"],
        ),
        ("dense", with("text_config.enable_moe_block", json!(false)), &["without experts"]),
        (
            "V is not K",
            with("text_config.attention_k_eq_v", json!(false)),
            &["layers.2.self_attn.v_proj.weight", "missing"],
        ),
        ("own head", with("tie_word_embeddings", json!(false)), &["lm_head.weight", "missing, expected [512, 96]"]),
        (
            "wider",
            with("text_config.hidden_size", json!(104)),
            &["embed_tokens.weight\": shape [512, 96], expected [512, 104]"],
        ),
        (
            "per-layer embeddings",
            with("text_config.hidden_size_per_layer_input", json!(32)),
            &["embed_tokens_per_layer.weight"],
        ),
    ];
    for (what, model, needles) in cases {
        refused(what, model.write().path(), needles);
    }

    let mut eight = base.clone();
    let tensor = eight.get("layers.0.mlp.up_proj.qweight");
    tensor.shape[0] *= 2;
    tensor.data.extend(tensor.data.clone());
    refused("8-bit tensor", eight.write().path(), &["up_proj.qweight", "8-bit codes", "bits is 4"]);
    let mixed = json!({"+:.*mlp.*": {"bits": 8}});
    eight.config = changed(&eight.config, "quantization_config.dynamic", mixed);
    refused("8-bit override", eight.write().path(), &["up_proj.qweight", "8-bit codes", "not supported yet"]);

    let name = "layers.0.mlp.up_proj.g_idx";
    refused("no g_idx", base.clone().without(name).write().path(), &[name, "desc_act is true"]);
    let mut stray = base.clone();
    let name = format!("{PREFIX}layers.2.per_layer_input_gate.weight");
    stray.tensors.push(Tensor { name, dtype: "BF16".into(), shape: vec![1], data: vec![0; 2] });
    refused("stray", stray.write().path(), &["per_layer_input_gate.weight", "hidden_size_per_layer_input 0"]);
}

/// A matrix with a group size of its own, by name or by pattern.
#[test]
fn overrides_of_the_group_size() {
    let mut model = Model::base();
    for pattern in [format!("+:^{PREFIX}layers.0.mlp.up_proj$").replace('.', "\\."), r"+:.*layers\.0\.mlp\.up.*".into()]
    {
        // 96 input features in 2 groups of 64 rather than 3 of 32.
        for (part, row) in [("scales", 160), ("qzeros", 40)] {
            let tensor = model.get(&format!("layers.0.mlp.up_proj.{part}"));
            tensor.shape[0] = 2;
            tensor.data.truncate(2 * row);
        }
        let table: Vec<u8> = (0..96).flat_map(|k: i32| (k / 64).to_le_bytes()).collect();
        model.get("layers.0.mlp.up_proj.g_idx").data = table;
        model.config["quantization_config"]["dynamic"] = json!({});
        refused("no override", model.write().path(), &["up_proj.scales", "2 groups for 96", "32 makes 3"]);
        model.config["quantization_config"]["dynamic"] = json!({pattern: {"group_size": 64}});
        let dir = model.write();
        let checkpoint = open(dir.path()).unwrap();
        checkpoint.verify_contents().unwrap();
        checkpoint.load("layers.0.mlp.up_proj").unwrap();
    }
}

#[test]
fn hostile_indices() {
    let model = Model::base();
    let first = model.tensors[0].name.clone();
    let last = model.tensors.last().unwrap().name.clone();
    let (dir, map) = model.write_two();
    for bad in [
        "../a.safetensors",
        "/etc/a.safetensors",
        "sub/a.safetensors",
        "a\0.safetensors",
        "..\\a.safetensors",
        "C:a.safetensors",
        ".safetensors",
        "ä.safetensors",
    ] {
        let mut map = map.clone();
        map[&first] = json!(bad);
        write_index(dir.path(), &map);
        refused(bad, dir.path(), &["file name", "expected one component"]);
    }
    for bad in [json!("pytorch_model.bin"), json!(5), json!(null), json!(["a.safetensors"]), json!("")] {
        let mut map = map.clone();
        map[&first] = bad.clone();
        write_index(dir.path(), &map);
        refused(&bad.to_string(), dir.path(), &["weight_map", &first, ".safetensors file"]);
    }
    let mut wrong = map.clone();
    wrong[&first] = json!("missing.safetensors");
    write_index(dir.path(), &wrong);
    refused("missing file", dir.path(), &["\"missing.safetensors\"", "does not exist"]);
    wrong[&first] = json!("b.safetensors");
    write_index(dir.path(), &wrong);
    refused("wrong file", dir.path(), &[&first, "\"b.safetensors\"", "does not hold it"]);
    wrong = map.clone();
    wrong["ghost"] = json!("a.safetensors");
    write_index(dir.path(), &wrong);
    refused("no such tensor", dir.path(), &["\"ghost\"", "does not hold it"]);
    wrong = map.clone();
    wrong.as_object_mut().unwrap().remove(&last).unwrap();
    write_index(dir.path(), &wrong);
    refused("not listed", dir.path(), &["does not name tensor", &last]);
    let many: Value = (0..2000).map(|i| (format!("t{i}"), json!(format!("{i}.safetensors")))).collect();
    write_index(dir.path(), &many);
    refused("many files", dir.path(), &["names 2000 files", "1000"]);
    for (text, needle) in [("{}", "no weight_map"), ("{\"weight_map\":[]}", "no weight_map"), ("x", "not valid JSON")] {
        fs::write(dir.path().join("model.safetensors.index.json"), text).unwrap();
        refused(text, dir.path(), &["model.safetensors.index.json", needle]);
    }
    fs::write(dir.path().join("model.safetensors.index.json"), r#"{"weight_map":{"a":"x","a":"y"}}"#).unwrap();
    refused("name twice", dir.path(), &["duplicate key \"a\""]);

    write_index(dir.path(), &map);
    let mut second = model.tensors[model.tensors.len().div_ceil(2)..].to_vec();
    second.push(model.tensors[0].clone());
    fs::write(dir.path().join("b.safetensors"), serialize(&second)).unwrap();
    refused("in two files", dir.path(), &[&first, "is in both \"a.safetensors\" and \"b.safetensors\""]);
    fs::write(dir.path().join("b.safetensors"), b"short").unwrap();
    refused("damaged file", dir.path(), &["file \"b.safetensors\": truncated"]);
}

/// Random damage to the configuration, the index and the header: accepted or refused, but no panic.
#[test]
fn random_damage_never_panics() {
    let (dir, _) = Model::base().write_two();
    let mut state = 3u64;
    let mut random = move |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let pieces: [&[u8]; 12] =
        [b"0", b"-1", b"null", b"{}", b"[", b"\"", b"18446744073709551615", b"1e400", b",", b"\0", b"\xff", b"true"];
    for (name, length) in [("config.json", usize::MAX), ("model.safetensors.index.json", 4000), ("a.safetensors", 4000)]
    {
        let path = PathBuf::from(dir.path()).join(name);
        let whole = fs::read(&path).unwrap();
        for _ in 0..400 {
            let mut bytes = whole.clone();
            for _ in 0..1 + random(3) {
                let at = random(bytes.len().min(length));
                let piece = pieces[random(pieces.len())];
                let end = (at + random(piece.len() + 4)).min(bytes.len());
                bytes.splice(at..end, piece.iter().copied());
            }
            fs::write(&path, bytes).unwrap();
            if let Ok(checkpoint) = open(dir.path()) {
                let _ = checkpoint.verify_contents();
                let _ = checkpoint.load("layers.0.mlp.up_proj");
            }
        }
        fs::write(&path, whole).unwrap();
    }
}

/// A model with per-layer embeddings, shared K and V and wide MLPs, or one with fused experts, all of it bf16 zeros:
/// `[name, shape]` written down here, not taken from the program.
fn synthetic(prefix: &str, fused_experts: bool) -> Model {
    let mut text = json!({
        "model_type": "gemma4_text", "vocab_size": 40, "hidden_size": 16, "intermediate_size": 24, "head_dim": 4,
        "num_hidden_layers": 4, "num_attention_heads": 2, "num_key_value_heads": 1, "global_head_dim": 8,
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention", "full_attention"],
    });
    let moe = [("num_experts", 3), ("top_k_experts", 2), ("moe_intermediate_size", 8)];
    let per_layer = [("hidden_size_per_layer_input", 6), ("num_kv_shared_layers", 2)];
    for (key, value) in if fused_experts { moe.as_slice() } else { per_layer.as_slice() } {
        text[key] = json!(value);
    }
    text["use_double_wide_mlp"] = json!(!fused_experts);
    let mut shapes: Vec<(String, Vec<usize>)> =
        vec![("embed_tokens.weight".into(), vec![40, 16]), ("norm.weight".into(), vec![16])];
    if !fused_experts {
        shapes.push(("embed_tokens_per_layer.weight".into(), vec![40, 24]));
        shapes.push(("per_layer_model_projection.weight".into(), vec![24, 16]));
        shapes.push(("per_layer_projection_norm.weight".into(), vec![6]));
    }
    for layer in 0..4 {
        let head = if layer % 2 == 1 { 8 } else { 4 };
        let width = if !fused_experts && layer >= 2 { 48 } else { 24 };
        let mut add = |name: &str, shape: &[usize]| shapes.push((format!("layers.{layer}.{name}"), shape.to_vec()));
        for norm in ["input", "post_attention", "pre_feedforward", "post_feedforward"] {
            add(&format!("{norm}_layernorm.weight"), &[16]);
        }
        add("layer_scalar", &[1]);
        add("self_attn.q_proj.weight", &[2 * head, 16]);
        add("self_attn.k_proj.weight", &[head, 16]);
        add("self_attn.v_proj.weight", &[head, 16]);
        add("self_attn.o_proj.weight", &[16, 2 * head]);
        add("self_attn.q_norm.weight", &[head]);
        add("self_attn.k_norm.weight", &[head]);
        add("mlp.gate_proj.weight", &[width, 16]);
        add("mlp.up_proj.weight", &[width, 16]);
        add("mlp.down_proj.weight", &[16, width]);
        if fused_experts {
            add("router.proj.weight", &[3, 16]);
            add("router.scale", &[16]);
            add("router.per_expert_scale", &[3]);
            add("experts.gate_up_proj", &[3, 16, 16]);
            add("experts.down_proj", &[3, 16, 8]);
            add("pre_feedforward_layernorm_2.weight", &[16]);
            add("post_feedforward_layernorm_1.weight", &[16]);
            add("post_feedforward_layernorm_2.weight", &[16]);
        } else {
            add("per_layer_input_gate.weight", &[6, 16]);
            add("per_layer_projection.weight", &[16, 6]);
            add("post_per_layer_input_norm.weight", &[16]);
        }
    }
    let tensors = shapes.into_iter().map(|(name, shape)| Tensor {
        name: format!("{prefix}{name}"),
        dtype: "BF16".into(),
        data: vec![0; 2 * shape.iter().product::<usize>()],
        shape,
    });
    Model { config: json!({"model_type": "gemma4", "text_config": text}), tensors: tensors.collect() }
}

fn dead(name: &str) -> bool {
    let shared = name.contains("layers.2.") || name.contains("layers.3.");
    shared && ["k_proj", "v_proj", "k_norm"].iter().any(|part| name.contains(part))
}

#[test]
fn every_role_of_dense_models() {
    for (prefix, fused_experts) in
        [(PREFIX, false), ("model.", false), ("", false), ("language_model.model.", true), ("model.", true)]
    {
        let base = synthetic(prefix, fused_experts);
        let checkpoint = open(base.write().path()).unwrap();
        assert_eq!(checkpoint.skipped().tensors(), if fused_experts { 0 } else { 6 }, "{:?}", checkpoint.skipped());
        for number in 0..base.tensors.len() {
            let name = &base.tensors[number].name;
            let mut missing = base.clone();
            missing.tensors.remove(number);
            let mut reshaped = base.clone();
            reshaped.tensors[number].shape.insert(0, 1);
            let mut mistyped = base.clone();
            mistyped.tensors[number].dtype = "I16".into();
            for (what, model) in [("missing", missing), ("shape [", reshaped), ("dtype I16", mistyped)] {
                let dir = model.write();
                match !fused_experts && dead(name) {
                    true => assert!(open(dir.path()).is_ok(), "{name} is not used"),
                    false => _ = refused(name, dir.path(), &[&format!("tensor {name:?}: "), what]),
                }
            }
        }
    }
}

#[test]
fn skipped_tensors_are_listed() {
    let mut model = synthetic(PREFIX, false);
    let extra = [
        ("lm_head.weight", 40 * 16),
        ("model.vision_tower.encoder.layers.0.mlp.gate_proj.weight", 10),
        ("model.vision_tower.patch.weight", 6),
        ("model.embed_audio.embedding_projection.weight", 5),
        ("model.language_model.rotary_emb.inv_freq", 4),
    ];
    for (name, length) in extra {
        let data = vec![0; 2 * length];
        model.tensors.push(Tensor { name: name.into(), dtype: "BF16".into(), shape: vec![length], data });
    }
    let checkpoint = open(model.write().path()).unwrap();
    let groups = &checkpoint.skipped().groups;
    let found: Vec<(&str, usize, u64, bool)> =
        groups.iter().map(|g| (g.reason.as_str(), g.tensors, g.size_bytes, g.known)).collect();
    let expected = [
        ("K and V of layers that read another layer's", 6, 2 * (64 + 64 + 4 + 128 + 128 + 8), true),
        ("head that is tied to the embedding", 1, 1280, true),
        ("model.embed_audio.*", 1, 10, true),
        ("model.vision_tower.*", 2, 32, true),
        ("unknown", 1, 8, false),
    ];
    assert_eq!(found, expected);
    assert_eq!(checkpoint.skipped().tensors(), 11);
    assert_eq!(checkpoint.config.layers[2].kv_source, Some(0));
    assert_eq!(checkpoint.load_rows("embed_tokens_per_layer", 3..5).unwrap().in_features(), 24);

    model.config["tie_word_embeddings"] = json!(false);
    refused("own head", model.write().path(), &["lm_head.weight", "shape [640], expected [40, 16]"]);
    let head = model.tensors.iter_mut().find(|tensor| tensor.name == "lm_head.weight").unwrap();
    head.shape = vec![40, 16];
    let checkpoint = open(model.write().path()).unwrap();
    assert!(checkpoint.has("lm_head") && checkpoint.config.parameter_counts().head == 640);
}

/// Files in the program go the same way as files in a directory.
#[test]
fn embedded_files() {
    let model = Model::base();
    let leak = |bytes: Vec<u8>| -> &'static [u8] { Box::leak(bytes.into_boxed_slice()) };
    let config = leak(model.config.to_string().into_bytes());
    let weights = leak(serialize(&model.tensors));
    let files = Box::leak(Box::new([("config.json", config), ("model.safetensors", weights)]));
    let checkpoint = Checkpoint::open(Source::Embedded(files)).unwrap();
    checkpoint.verify_contents().unwrap();
    let dir = model.write();
    let other = open(dir.path()).unwrap();
    assert_eq!(checkpoint.load("layers.1.mlp.down_proj").unwrap(), other.load("layers.1.mlp.down_proj").unwrap());

    let cut = Box::leak(Box::new([("config.json", config), ("model.safetensors", &weights[..weights.len() - 1])]));
    expect("cut", &Checkpoint::open(Source::Embedded(cut)).unwrap_err(), &["model.safetensors", "truncated"]);
    let none = Box::leak(Box::new([("config.json", config)]));
    expect("none", &Checkpoint::open(Source::Embedded(none)).unwrap_err(), &["embedded model", "no model.safetensors"]);
    let source = Source::Embedded(files);
    assert!(source.read("tokenizer.json").unwrap().is_none());
    expect("name", &source.read("../config.json").unwrap_err(), &["file name", "../config.json"]);
}
