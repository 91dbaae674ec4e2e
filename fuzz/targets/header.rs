//! Headers of safetensors files, and the index that names the files. What is accepted fills its files without a gap, is
//! what the `safetensors` crate reads of them, and gives the same bytes. Then a configuration is laid beside them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use lapidary::checkpoint::{Checkpoint, Source};
use lapidary::fuzzing::{Listed, tensors};
use lapidary_fuzz::mutate::{Kind, sections};
use lapidary_fuzz::{Bounds, check_error, folder, input, run};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use safetensors::SafeTensors;
use serde_json::Value;

const BOUNDS: Bounds = Bounds::new(64, 2000);
/// Data that is made up for what a header describes.
const MOST_DATA: u64 = 4 << 20;
const NAMES: [&str; 5] = ["a.safetensors", "b.safetensors", "c.safetensors", "d.safetensors", "model.safetensors"];
const WORDS: [&str; 40] = [
    "dtype",
    "shape",
    "data_offsets",
    "__metadata__",
    "format",
    "pt",
    "F32",
    "F16",
    "BF16",
    "I32",
    "U8",
    "F8_E4M3",
    "F4",
    "BOOL",
    "metadata",
    "total_size",
    "weight_map",
    "model.safetensors",
    "a.safetensors",
    "b.safetensors",
    "c.safetensors",
    "model.language_model.layers.0.self_attn.q_proj.qweight",
    "model.language_model.layers.0.self_attn.q_proj.scales",
    "model.language_model.layers.0.self_attn.q_proj.qzeros",
    "model.language_model.layers.0.self_attn.q_proj.g_idx",
    "model.language_model.layers.0.self_attn.q_proj.weight",
    "model.language_model.layers.1.self_attn.v_proj.weight",
    "model.language_model.embed_tokens.weight",
    "model.language_model.norm.weight",
    "lm_head.weight",
    "model.norm.weight",
    "base_model.model.model.norm.weight",
    "_orig_mod.model.norm.weight",
    "model.model.norm.weight",
    "language_model.",
    "model.language_model.layers.0.router.proj.weight",
    "model.language_model.layers.0.experts.gate_up_proj",
    "model.vision_tower.x",
    "../x.safetensors",
    "x.bin",
];
static FOLDER: LazyLock<PathBuf> = LazyLock::new(folder);

fn main() {
    run();
}

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    sections(data, size, max_size, seed, &[Kind::Json(&WORDS)])
});

fuzz_target!(|data: &[u8]| {
    let Some((way, parts)) = input::parts(data) else { return };
    fs::remove_dir_all(&*FOLDER).ok();
    fs::create_dir_all(&*FOLDER).expect("a folder");
    let [index, config, headers @ ..] = &parts[..] else { return };
    let write = |name: &str, bytes: &[u8]| fs::write(FOLDER.join(name), bytes).expect("room for a file");
    if !index.is_empty() {
        write("model.safetensors.index.json", index);
    }
    for (number, header) in headers.iter().take(NAMES.len()).enumerate() {
        let count = headers.len().min(NAMES.len());
        let name = match (index.is_empty(), count) {
            (true, 1) => "model.safetensors".to_owned(),
            (true, _) => format!("model-{:05}-of-{count:05}.safetensors", number + 1),
            (false, _) => NAMES[number].to_owned(),
        };
        write(&name, &file(way, header));
    }
    let source = Source::Directory(FOLDER.clone());
    match BOUNDS.hold(|| tensors(&source)) {
        Ok(listed) => check(&FOLDER, &listed),
        Err(error) => check_error(&error, &[3]),
    }
    write("config.json", config);
    if let Err(error) = BOUNDS.hold(|| Checkpoint::open(source).and_then(|checkpoint| checkpoint.verify_contents())) {
        check_error(&error, &[3]);
    }
});

/// A file with this header. By `way`, it has the data that the header describes (zeros, or what makes floats and zero points that are sensible), a
/// byte more or less, or none, or the text is the whole file.
fn file(way: u8, header: &[u8]) -> Vec<u8> {
    let described = described(header).min(MOST_DATA) as usize;
    let length = match way % 8 {
        5 => return header.to_vec(),
        6 => described + 1,
        7 => described.saturating_sub(1),
        4 => 0,
        _ => described,
    };
    let mut file = [&(header.len() as u64).to_le_bytes(), header].concat();
    file.resize(file.len() + length, if way % 16 < 8 { 0 } else { 0x77 });
    file
}

/// Where the last tensor ends.
fn described(header: &[u8]) -> u64 {
    let Ok(Value::Object(entries)) = serde_json::from_slice(header) else { return 0 };
    entries.values().filter_map(|entry| entry["data_offsets"][1].as_u64()).max().unwrap_or(0)
}

/// Compares with what the crate makes of each file.
fn check(folder: &Path, listed: &[Listed]) {
    let mut files: Vec<&str> = listed.iter().map(|tensor| tensor.file.as_str()).collect();
    files.sort_unstable();
    files.dedup();
    for name in files {
        let bytes = fs::read(folder.join(name)).expect("it was read before");
        let theirs = SafeTensors::deserialize(&bytes).expect("the crate accepts what we accept");
        let ours: Vec<&Listed> = listed.iter().filter(|tensor| tensor.file == name).collect();
        assert_eq!(ours.len(), theirs.len(), "tensors of {name}");
        for tensor in ours {
            let view = theirs.tensor(&tensor.name).expect("a tensor of this name");
            assert_eq!((tensor.dtype.as_str(), &tensor.shape[..]), (view.dtype().to_string().as_str(), view.shape()));
            assert_eq!(tensor.data, view.data(), "bytes of {:?}", tensor.name);
        }
    }
}
