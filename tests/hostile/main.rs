//! Damaged, contradictory and hostile checkpoints: each must end in one clear error that names the thing, quickly, and
//! never in a panic. Checkpoints are mutations of a small one; whatever is refused is refused by the program as well, in a
//! child process with bounds (`tests/common/harness.rs`), as are templates, tokenizers, conversations and cache files.
#![cfg_attr(not(unix), allow(unused_imports, dead_code, reason = "some tests are for Unix alone"))]
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod cache;
mod claims;
mod config;
mod contents;
mod conversations;
mod converted;
mod damage;
mod draw;
mod fields;
mod foreign;
#[path = "../common/harness.rs"]
mod harness;
mod headers;
mod itself;
mod large;
mod layouts;
mod names;
mod numbers;
mod quantization;
#[path = "../common/seed.rs"]
mod seed;
mod starts;
mod steering;
mod template_work;
mod templates;
mod tensors;
mod tokenizers;
mod under_way;

use std::cell::RefCell;
use std::fs;
use std::path::Path;

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

/// The error of opening `dir`, which must hold all of `needles`. The program must say the same.
fn refused(what: &str, dir: &Path, needles: &[&str]) -> String {
    let error = open(dir).err().unwrap_or_else(|| panic!("{what}: was accepted"));
    let text = expect(what, &error, needles);
    inspected(what, dir, &text);
    text
}

/// The error of the checks of contents of `dir`, which opens; it must hold all of `needles`. The program must say the same.
fn refused_contents(what: &str, dir: &Path, needles: &[&str]) -> String {
    let checkpoint = open(dir).unwrap_or_else(|e| panic!("{what}: {e}"));
    let error = checkpoint.verify_contents().err().unwrap_or_else(|| panic!("{what}: was accepted"));
    let text = expect(what, &error, needles);
    inspected(what, dir, &text);
    text
}

/// `inspect` of `dir` must end with 3 and `text`. Of a test's cases the first hundred come here, and an eighth of the rest:
/// those are alike, a tensor after the other.
fn inspected(what: &str, dir: &Path, text: &str) {
    thread_local! {
        static DRAW: RefCell<draw::Draw> = RefCell::new(draw::Draw::new("inspected"));
    }
    if harness::report::is_run(100, || DRAW.with_borrow_mut(|draw| draw.below(8) == 0)) {
        // The program names a flag for what would help.
        let text = text.replace("following links allows others", "--follow-links allows others");
        harness::INSPECT.refuses(what, &harness::Call::inspect(dir), 3, &[&format!("error: {text}\n")]);
    }
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
    refused("file", &file, &["model.gguf", "is a file, expected a directory", "GGUF is not supported yet"]);
    refused("gguf alone", dir.path(), &["no config.json", "model.gguf", "GGUF, which is not supported yet"]);
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
    refused("link to a device", dir.path(), &["\"model.safetensors\"", "is a link to"]);
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
