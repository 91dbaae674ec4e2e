//! Layouts of names, files and folders that are found in real life: read with a note, or named in one line.

use std::fs;
use std::path::Path;

use lapidary::checkpoint::{Checkpoint, Source};
use serde_json::json;

use super::{Model, PREFIX, Tensor, expect, open, refused, serialize, write_config};

/// The base with names that begin with something else.
fn renamed(rename: impl Fn(&str) -> String) -> Model {
    let mut model = Model::base();
    model.tensors.iter_mut().for_each(|tensor| tensor.name = rename(&tensor.name));
    model
}

#[test]
fn names_under_other_prefixes_are_read() {
    let usual = open(Model::base().write().path()).unwrap();
    let expected = usual.load("layers.1.mlp.down_proj").unwrap();
    for (from, to) in [
        ("", "base_model.model."),
        ("", "_orig_mod."),
        ("", "module."),
        ("", "module._orig_mod."),
        ("", "base_model.model._fsdp_wrapped_module."),
        (PREFIX, "model.model."),
        (PREFIX, "transformer."),
        (PREFIX, "base_model.model.model.language_model."),
        (PREFIX, "language_model."),
        (PREFIX, "thinker.model."),
        ("self_attn.", "_checkpoint_wrapped_module.self_attn."),
        ("mlp.", "_orig_mod.mlp."),
    ] {
        let model = renamed(|name| if from.is_empty() { format!("{to}{name}") } else { name.replacen(from, to, 1) });
        let what = format!("{from:?} becomes {to:?}");
        let checkpoint = open(model.write().path()).unwrap_or_else(|error| panic!("{what}: {error}"));
        checkpoint.verify_contents().unwrap();
        assert_eq!(checkpoint.load("layers.1.mlp.down_proj").unwrap(), expected, "{what}");
    }
}

/// Training frameworks wrap the head too.
#[test]
fn a_head_under_another_prefix_is_read() {
    let mut model = Model::base();
    model.config["tie_word_embeddings"] = json!(false);
    let data = vec![1; 512 * 96 * 2];
    model.tensors.push(Tensor { name: "lm_head.weight".into(), dtype: "BF16".into(), shape: vec![512, 96], data });
    model.tensors.iter_mut().for_each(|tensor| tensor.name = format!("base_model.model.{}", tensor.name));
    assert!(open(model.write().path()).unwrap().has("lm_head"));
}

#[test]
fn names_that_cannot_be_are_one_line() {
    let line = |what: &str, model: &Model, needles: &[&str]| {
        let found = refused(what, model.write().path(), needles);
        assert!(!found.contains('\n'), "{what}: {found}");
    };
    let other = renamed(|name| name.replacen(PREFIX, "encoder.block_", 1).replace("layers.", "h_"));
    let other = Model { tensors: other.tensors.into_iter().filter(|t| !t.name.contains("embed")).collect(), ..other };
    line("another family", &other, &["tensor names", "encoder.block_", "model.language_model."]);
    let mut two = renamed(|name| name.replacen(PREFIX, "student.", 1));
    two.tensors.extend(renamed(|name| name.replacen(PREFIX, "teacher.", 1)).tensors);
    line("two models", &two, &["\"student.\", \"teacher.\"", "expected one"]);
    let mut adapter = Model::base();
    let name = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight".to_owned();
    adapter.tensors.push(Tensor { name, dtype: "BF16".into(), shape: vec![1, 1], data: vec![0; 2] });
    line("an adapter not merged", &adapter, &["lora_A.weight", "adapter that is not merged"]);
    let mut twice = renamed(|name| format!("_orig_mod.{name}"));
    twice.tensors.push(Model::base().tensors[0].clone());
    line("with and without", &twice, &["embed_tokens", "beside", "one of the two"]);
    // One cause is one line.
    let mut layers = Model::base();
    layers
        .tensors
        .retain(|tensor| ![".2.", ".3.", ".4."].iter().any(|at| tensor.name.contains(&format!("layers{at}"))));
    line("three layers", &layers, &["layers 2 to 4 of 6", "all tensors missing"]);
    let mut norms = Model::base();
    norms.tensors.retain(|tensor| !tensor.name.ends_with("input_layernorm.weight"));
    line("all norms", &norms, &["layers.0.input_layernorm.weight", "missing, expected [96]", "the same of 5 others"]);
    let mut plain = Model::base();
    plain.config.as_object_mut().unwrap().remove("quantization_config").unwrap();
    line("not quantized", &plain, &["has no quantization_config", "others"]);
}

/// Writes the tensors into so many files named as shards.
fn write_shards(model: &Model, dir: &Path, count: usize, name: impl Fn(usize) -> String) {
    write_config(dir, &model.config);
    for (number, part) in model.tensors.chunks(model.tensors.len().div_ceil(count)).enumerate() {
        fs::write(dir.join(name(number + 1)), serialize(part)).unwrap();
    }
}

#[test]
fn shards_without_an_index() {
    let model = Model::base();
    for (what, first) in [("from 1", 0), ("from 0", 1)] {
        let dir = tempfile::tempdir().unwrap();
        write_shards(&model, dir.path(), 3, |number| format!("model-{:05}-of-00003.safetensors", number - first));
        open(dir.path()).unwrap_or_else(|error| panic!("{what}: {error}")).verify_contents().unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    write_shards(&model, dir.path(), 3, |number| format!("model-{number:05}-of-00003.safetensors"));
    fs::write(dir.path().join("extra.safetensors"), "not opened").unwrap();
    open(dir.path()).unwrap();
    fs::remove_file(dir.path().join("model-00002-of-00003.safetensors")).unwrap();
    refused("incomplete", dir.path(), &["2 of 3 shards", "missing \"model-00002-of-00003.safetensors\""]);
    write_shards(&model, dir.path(), 2, |number| format!("model-{number:05}-of-00002.safetensors"));
    refused("two sets", dir.path(), &["shards of more than one set"]);

    let dir = tempfile::tempdir().unwrap();
    write_shards(&model, dir.path(), 1, |_| "gemma4-int4.safetensors".into());
    open(dir.path()).unwrap().verify_contents().unwrap();
    fs::copy(dir.path().join("gemma4-int4.safetensors"), dir.path().join("other.safetensors")).unwrap();
    refused("two files", dir.path(), &["\"gemma4-int4.safetensors\", \"other.safetensors\"", "could be meant"]);
}

/// A shard that an index names and that is not there is one line, and no fault where nobody needs what it holds.
#[test]
fn a_shard_that_is_not_there() {
    let model = Model::base();
    let (dir, mut map) = model.write_two();
    fs::remove_file(dir.path().join("b.safetensors")).unwrap();
    let found = refused("gone", dir.path(), &["file \"b.safetensors\": does not exist", "such as"]);
    assert!(!found.contains('\n'), "{found}");
    let (dir, _) = model.write_two();
    map["model.vision_tower.x.weight"] = json!("c.safetensors");
    super::write_index(dir.path(), &map);
    open(dir.path()).unwrap().verify_contents().unwrap();
    // What may be there or not, like a table of groups, must be there if it is named.
    let mut model = Model::base();
    model.config["quantization_config"]["desc_act"] = json!(false);
    let name = format!("{PREFIX}layers.0.mlp.up_proj.g_idx");
    let (dir, map) = model.clone().without("layers.0.mlp.up_proj.g_idx").write_two();
    open(dir.path()).unwrap();
    let mut more = map.clone();
    more[&name] = json!("a.safetensors");
    super::write_index(dir.path(), &more);
    refused("named", dir.path(), &[&name, "\"a.safetensors\", which does not hold it"]);
}

/// V beside K, where the configuration says that it is K.
#[test]
fn a_v_that_is_k_is_a_note_and_another_an_error() {
    let base = Model::base();
    let full = base.config["text_config"]["layer_types"].as_array().unwrap();
    let full = full.iter().position(|kind| kind == "full_attention").unwrap();
    let at = format!("{PREFIX}layers.{full}.self_attn.");
    let copies: Vec<Tensor> =
        base.tensors.iter().filter(|tensor| tensor.name.starts_with(&format!("{at}k_proj."))).cloned().collect();
    assert!(!copies.is_empty());
    let copies = copies.into_iter().map(|tensor| Tensor { name: tensor.name.replace("k_proj", "v_proj"), ..tensor });
    let mut same = base.clone();
    same.tensors.extend(copies);
    let checkpoint = open(same.write().path()).unwrap();
    checkpoint.verify_contents().unwrap();
    let mut other = same.clone();
    let name = format!("layers.{full}.self_attn.v_proj.scales");
    other.get(&name).data[5] ^= 1;
    let checkpoint = open(other.write().path()).unwrap();
    expect("other", &checkpoint.verify_contents().unwrap_err(), &[&name, "element 2", "attention_k_eq_v true"]);
    let shape = &mut same.get(&name).shape;
    shape.push(1);
    refused("shape", same.write().path(), &[&name, "attention_k_eq_v true"]);
}

/// The top level says whether the head is tied, as transformers reads it.
#[test]
fn where_it_is_said_that_the_head_is_tied() {
    let base = Model::base();
    for (top, text, tied) in [
        (None, Some(false), true),
        (Some(true), Some(false), true),
        (None, None, true),
        (Some(false), Some(true), false),
    ] {
        let mut model = base.clone();
        let set = |config: &mut serde_json::Value, value: Option<bool>| {
            let config = config.as_object_mut().unwrap();
            config.remove("tie_word_embeddings");
            value.map(|value| config.insert("tie_word_embeddings".into(), json!(value)));
        };
        set(&mut model.config, top);
        set(&mut model.config["text_config"], text);
        let dir = model.write();
        match tied {
            true => assert!(!open(dir.path()).unwrap().has("lm_head"), "{top:?} {text:?}"),
            false => drop(refused("own head", dir.path(), &["lm_head.weight", "missing"])),
        }
    }
}

#[test]
fn folders_that_hold_no_whole_model() {
    let dir = tempfile::tempdir().unwrap();
    let config = json!({"peft_type": "LORA", "base_model_name_or_path": "google/gemma-4-E2B-it"});
    fs::write(dir.path().join("adapter_config.json"), config.to_string()).unwrap();
    fs::write(dir.path().join("adapter_model.safetensors"), "").unwrap();
    let needles = ["is a LoRA adapter for \"google/gemma-4-E2B-it\"", "expected a whole model", "merge"];
    refused("adapter", dir.path(), &needles);
    write_config(dir.path(), &Model::base().config);
    refused("adapter with config.json", dir.path(), &needles);
    // An adapter beside a whole model is none of our business.
    let model = Model::base();
    fs::write(dir.path().join("model.safetensors"), serialize(&model.tensors)).unwrap();
    open(dir.path()).unwrap();

    let parent = tempfile::tempdir().unwrap();
    fs::create_dir(parent.path().join("gemma")).unwrap();
    write_config(&parent.path().join("gemma"), &model.config);
    refused("parent", parent.path(), &["no config.json", "its folder \"gemma\" has one"]);
}

#[cfg(unix)]
mod links {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A repository in the Hugging Face cache with so many snapshots of the base.
    fn cached(root: &Path, blobs: &Path, snapshots: &[&str]) {
        let model = Model::base();
        fs::create_dir_all(blobs).unwrap();
        write_config(blobs, &model.config);
        fs::write(blobs.join("weights"), serialize(&model.tensors)).unwrap();
        for name in snapshots {
            let snapshot = root.join("snapshots").join(name);
            fs::create_dir_all(&snapshot).unwrap();
            symlink("../../blobs/config.json", snapshot.join("config.json")).unwrap();
            symlink("../../blobs/weights", snapshot.join("model.safetensors")).unwrap();
        }
    }

    #[test]
    fn the_root_of_a_cached_repository_is_its_snapshot() {
        let cache = tempfile::tempdir().unwrap();
        let root = cache.path().join("models--google--gemma");
        cached(&root, &root.join("blobs"), &["0123"]);
        let checkpoint = open(&root).unwrap();
        checkpoint.verify_contents().unwrap();
        assert!(checkpoint.source().describe().ends_with("snapshots/0123"));
        cached(&root, &root.join("blobs"), &["4567"]);
        refused("two", &root, &["a cached repository with 2 snapshots", "\"0123\", \"4567\""]);
        fs::create_dir(root.join("refs")).unwrap();
        fs::write(root.join("refs/main"), "4567\n").unwrap();
        assert!(open(&root).unwrap().source().describe().ends_with("snapshots/4567"));
        for bad in ["../blobs", "89ab", "", "\0"] {
            fs::write(root.join("refs/main"), bad).unwrap();
            refused(bad, &root, &["with 2 snapshots"]);
        }
    }

    #[test]
    fn blobs_may_be_on_another_disk() {
        let (cache, disk) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let root = cache.path().join("models--google--gemma");
        cached(&root, &disk.path().join("store"), &["0123"]);
        symlink(disk.path().join("store"), root.join("blobs")).unwrap();
        open(&root).unwrap().verify_contents().unwrap();
        open(&root.join("snapshots/0123")).unwrap().verify_contents().unwrap();
        // A blob that leads on is one link too many.
        fs::rename(disk.path().join("store/weights"), disk.path().join("elsewhere")).unwrap();
        symlink("../elsewhere", disk.path().join("store/weights")).unwrap();
        refused("beyond", &root, &["is a link to", "following links allows others"]);
    }

    #[test]
    fn links_are_followed_where_that_is_asked_for() {
        let outside = Model::base().write();
        let dir = tempfile::tempdir().unwrap();
        for name in ["config.json", "model.safetensors"] {
            symlink(outside.path().join(name), dir.path().join(name)).unwrap();
        }
        refused("not asked for", dir.path(), &["is a link to", "following links allows others"]);
        let linked = || Checkpoint::open(Source::Linked(dir.path().to_owned()));
        linked().unwrap().verify_contents().unwrap();
        fs::remove_file(dir.path().join("model.safetensors")).unwrap();
        symlink("/dev/zero", dir.path().join("model.safetensors")).unwrap();
        expect("device", &linked().unwrap_err(), &["not a regular file"]);
    }
}
