//! Damaged, contradictory and hostile checkpoints: each must end in one clear error that names the thing, quickly, and
//! never in a panic. All are mutations of one small checkpoint.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod config;
mod converted;
mod foreign;
mod headers;
mod layouts;
mod names;
mod tensors;
mod under_way;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lapidary::Error;
use lapidary::checkpoint::{Checkpoint, Source};
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
        Self::read("moe-gptq-desc-act")
    }

    /// A golden checkpoint.
    fn read(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
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
    let start = processor_time();
    let error = open(dir).err().unwrap_or_else(|| panic!("{what}: was accepted"));
    let took = processor_time().zip(start).map(|(end, start)| end - start);
    assert!(took.is_none_or(|took| took < Duration::from_secs(5)), "{what}: took {took:?}");
    expect(what, &error, needles)
}

/// Processor time of this thread, where the system tells it.
fn processor_time() -> Option<Duration> {
    let text = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
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
    // More than anybody needs, and less than there is: both leave no doubt.
    wrong = map.clone();
    wrong["ghost"] = json!("a.safetensors");
    wrong["lm_head.weight"] = json!("missing.safetensors");
    wrong.as_object_mut().unwrap().remove(&last).unwrap();
    write_index(dir.path(), &wrong);
    open(dir.path()).unwrap().verify_contents().unwrap();
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
