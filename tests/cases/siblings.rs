//! Other checkpoints of the kinds that went wrong: golden ones, said or stored in another way that means the same, or nearly.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::folders::{copy_of, each, gives_logits, shared};
use crate::harness::{Call, GENERATE, INSPECT};

type Change = fn(&mut Value);

fn edit(dir: &Path, name: &str, change: impl FnOnce(&mut Value)) {
    let path = dir.join(name);
    let mut value = fs::read(&path).map_or(json!({}), |bytes| serde_json::from_slice(&bytes).unwrap());
    change(&mut value);
    fs::write(path, value.to_string()).unwrap();
}

fn golden(name: &str) -> PathBuf {
    crate::harness::here("tests/golden").join(name)
}

/// The changed configuration is taken, and the logits are as before where `run`.
fn still_right(base: &Path, file: &str, cases: &[(&str, bool, Change)]) {
    each(cases, |(what, run, change)| {
        let dir = copy_of(base);
        edit(dir.path(), file, change);
        INSPECT.accepts(what, &Call::inspect(dir.path()));
        if *run {
            gives_logits(what, dir.path(), &base.join("golden.safetensors"));
        }
    });
}

/// The changed configuration is refused by `inspect`, with these words.
fn refused(base: &Path, file: &str, cases: &[(&str, &[&str], Change)]) {
    each(cases, |(what, words, change)| {
        let dir = copy_of(base);
        edit(dir.path(), file, change);
        INSPECT.refuses(what, &Call::inspect(dir.path()), 3, words);
    });
}

/// Values that nothing depends on.
#[test]
fn values_that_nothing_depends_on() {
    still_right(
        &golden("moe-autoround-sym"),
        "generation_config.json",
        &[
            ("top_k 64.0", false, |g| g["top_k"] = json!(64.0)),
            ("top_k -1", false, |g| g["top_k"] = json!(-1)),
            ("top_k null", false, |g| g["top_k"] = json!(null)),
            ("top_p null", false, |g| g["top_p"] = json!(null)),
            ("top_p 2", false, |g| g["top_p"] = json!(2)),
            ("temperature -1", false, |g| g["temperature"] = json!(-1)),
            ("temperature a word", false, |g| g["temperature"] = json!("warm")),
            ("pad -1", false, |g| g["pad_token_id"] = json!(-1)),
            ("bos a list", false, |g| g["bos_token_id"] = json!([2])),
            ("cache_implementation", false, |g| g["cache_implementation"] = json!("hybrid")),
        ],
    );
    still_right(
        &golden("moe-autoround-sym"),
        "config.json",
        &[
            ("dtype auto", true, |c| c["dtype"] = json!("auto")),
            ("dtype torch.bfloat16", false, |c| c["dtype"] = json!("torch.bfloat16")),
            ("dtype null", false, |c| c["dtype"] = json!(null)),
            ("dtype of the text alone", false, |c| c["text_config"]["dtype"] = json!("auto")),
            ("torch_dtype", false, |c| c["torch_dtype"] = json!("torch.float16")),
            ("pad -1", false, |c| c["text_config"]["pad_token_id"] = json!(-1)),
            ("pad null", false, |c| c["text_config"]["pad_token_id"] = json!(null)),
            ("bos a list", false, |c| c["text_config"]["bos_token_id"] = json!([2])),
            ("transformers_version", false, |c| c["transformers_version"] = json!(5)),
        ],
    );
}

/// Flags that override a value win over what is wrong with it.
#[test]
fn flags_win_over_what_they_override() {
    let dir = copy_of(&golden("dense-gptq-desc-act"));
    edit(dir.path(), "generation_config.json", |g| {
        *g = json!({"do_sample": true, "temperature": -5, "top_p": 7, "top_k": "many"});
    });
    let mut call = Call::generate(dir.path());
    call.arguments.extend(["--top-p", "0.9", "--top-k", "3"].map(Into::into));
    GENERATE.accepts("all overridden", &call);
}

/// Keys that change the mathematics, in each kind of quantization configuration; and those that do not.
#[test]
fn keys_that_change_the_mathematics() {
    let Some(shared) = shared("keys of quantization configurations") else { return };
    let rotate = |what: &str| json!({"config_groups": {"R1": {"type": "hadamard", "apply": [{"targets": ["Linear"], "location": what}]}}});
    let bases = ["moe-ct-fused-experts", "moe-autoround-sym", "moe-gptq-desc-act", "moe-awq"];
    for base in bases {
        let base = shared.join("fixtures").join(base);
        let mut cases = Vec::new();
        for key in ["rotation_config", "spinquant_config", "quarot_config", "hadamard_config"] {
            cases.push((key, json!({"a": 1}), true));
        }
        cases.push(("transform_config", rotate("input"), true));
        cases.push(("transform_config", rotate("output"), true));
        cases.push(("transform_config", rotate("q_attn"), true));
        cases.push(("transform_config", rotate("k_cache"), true));
        cases.push((
            "transform_config",
            json!({"config_groups": {"R1": {"type": "hadamard", "apply": [
            {"targets": ["Linear"], "location": "weight_output"}, {"targets": ["Linear"], "location": "input"}]}}}),
            true,
        ));
        cases.push(("transform_config", rotate("weight_input"), false));
        cases.push(("transform_config", rotate("weight_output"), false));
        cases.push(("transform_config", json!({}), false));
        cases.push(("transform_config", json!(null), false));
        cases.push(("transform_config", json!({"config_groups": {}}), false));
        cases.push(("rotation_config", json!(null), false));
        cases.push(("spinquant_config", json!({}), false));
        each(cases, |(key, value, is_refused)| {
            let dir = copy_of(&base);
            let what = format!("{}: {key} {value}", base.file_name().unwrap().display());
            edit(dir.path(), "config.json", |c| c["quantization_config"][key] = value);
            match is_refused {
                true => _ = INSPECT.refuses(&what, &Call::inspect(dir.path()), 3, &["config.json: ", key]),
                false => _ = INSPECT.accepts(&what, &Call::inspect(dir.path())),
            }
        });
    }
    // What nobody knows is named in a warning, and no more than that.
    let dir = copy_of(&shared.join("fixtures/moe-autoround-sym"));
    edit(dir.path(), "config.json", |c| c["quantization_config"]["nobody_knows_this"] = json!(5));
    let ended = INSPECT.ends("unknown key", &Call::inspect(dir.path()));
    let said = format!("{}{}", ended.text(), String::from_utf8_lossy(&ended.out));
    assert!(ended.code == Some(0) && said.contains("nobody_knows_this"), "{said}");
}

/// Where configurations for quantization may stand.
#[test]
fn configurations_in_other_files() {
    let Some(shared) = shared("quantization configurations in other files") else { return };
    each(["moe-gptq-asym-v1", "moe-gptq-asym-v2", "moe-gptq-desc-act", "moe-gptq-8bit", "moe-awq"], |name| {
        let base = shared.join("fixtures").join(name);
        for file in ["quantize_config.json", "quant_config.json"] {
            if (file == "quant_config.json") != (name == "moe-awq") {
                continue;
            }
            let dir = copy_of(&base);
            let mut taken = Value::Null;
            edit(dir.path(), "config.json", |c| {
                taken = c.as_object_mut().unwrap().remove("quantization_config").unwrap()
            });
            if name == "moe-awq" {
                // AutoAWQ's own file has other names for the same.
                let object = taken.as_object_mut().unwrap();
                for (from, to) in [("bits", "w_bit"), ("group_size", "q_group_size")] {
                    let value = object.remove(from).unwrap();
                    object.insert(to.to_owned(), value);
                }
            }
            fs::write(dir.path().join(file), taken.to_string()).unwrap();
            gives_logits(&format!("{name} by {file}"), dir.path(), &base.join("golden.safetensors"));
        }
    });
}

/// Other names for the same.
#[test]
fn other_spellings() {
    let Some(shared) = shared("other spellings") else { return };
    let fixtures = shared.join("fixtures");
    still_right(
        &fixtures.join("moe-awq"),
        "config.json",
        &[
            ("w_bit and q_group_size", true, |c| {
                let object = c["quantization_config"].as_object_mut().unwrap();
                for (from, to) in [("bits", "w_bit"), ("group_size", "q_group_size")] {
                    let value = object.remove(from).unwrap();
                    object.insert(to.to_owned(), value);
                }
            }),
            ("auto_round:awq", true, |c| {
                let size = c["quantization_config"]["group_size"].clone();
                c["quantization_config"] = json!({"quant_method": "auto-round", "bits": 4, "group_size": size, "sym": false,
                "data_type": "int", "packing_format": "auto_round:awq"});
            }),
            ("GEMM", false, |c| c["quantization_config"]["version"] = json!("GEMM")),
        ],
    );
    still_right(
        &fixtures.join("moe-autoround-sym"),
        "config.json",
        &[("tie_word_embeddings of the text alone", true, |c| {
            c.as_object_mut().unwrap().remove("tie_word_embeddings");
            c["text_config"]["tie_word_embeddings"] = json!(true);
        })],
    );
    refused(
        &fixtures.join("moe-autoround-sym"),
        "config.json",
        &[
            ("sym is a word", &["sym is \"yes\""], |c| c["quantization_config"]["sym"] = json!("yes")),
            ("data_type float", &["data_type"], |c| c["quantization_config"]["data_type"] = json!("fp")),
        ],
    );
}

/// Weights that are something else: said what, whichever file it is.
#[test]
fn weights_that_are_something_else() {
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5127431392\n";
    let base = golden("moe-autoround-sym");
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("a pointer of Git LFS", pointer.as_bytes().to_vec(), "Git LFS"),
        ("a pointer with CRLF", pointer.replace('\n', "\r\n").into_bytes(), "Git LFS"),
        ("a pointer with a mark", format!("\u{feff}{pointer}").into_bytes(), "Git LFS"),
        ("a web page", b"<!DOCTYPE html>\n<html>Sign in</html>".to_vec(), "HTML"),
        ("a web page in lower case", b"<!doctype html><html lang=en>".to_vec(), "HTML"),
        ("a web page without type", b"<html><body>403 Forbidden</body></html>".to_vec(), "HTML"),
        ("a zip file", [b"PK\x03\x04".as_slice(), &[0; 100]].concat(), "zip"),
        ("a GGUF file", [b"GGUF\x03\0\0\0".as_slice(), &[0; 100]].concat(), "GGUF"),
        ("zeros", vec![0; 1 << 20], "zero"),
        ("nothing", Vec::new(), "0 bytes"),
    ];
    each(cases, |(what, bytes, word)| {
        for name in ["model.safetensors", "config.json"] {
            let dir = copy_of(&base);
            fs::write(dir.path().join(name), &bytes).unwrap();
            let what = format!("{what} as {name}");
            let text = INSPECT.refuses(&what, &Call::inspect(dir.path()), 3, &[name]);
            let is_named = text.contains(word) || (name == "config.json" && bytes.is_empty());
            assert!(is_named && text.lines().count() == 1, "{what}: no {word:?} in {text}");
        }
    });
}

/// Marks in front of JSON, and UTF-16, in each file of a checkpoint.
#[test]
fn byte_order_marks_in_json() {
    let Some(shared) = shared("byte order marks") else { return };
    let base = shared.join("fixtures/moe-index-new-dialect");
    each(["config.json", "model.safetensors.index.json", "generation_config.json"], |name| {
        let dir = copy_of(&base);
        let text = fs::read_to_string(dir.path().join(name)).unwrap_or_else(|_| "{}".to_owned());
        fs::write(dir.path().join(name), format!("\u{feff}{text}")).unwrap();
        INSPECT.accepts(&format!("{name} with a mark"), &Call::inspect(dir.path()));
        for little in [true, false] {
            let units = format!("\u{feff}{text}").encode_utf16().collect::<Vec<u16>>();
            let bytes = units.into_iter().flat_map(|u| if little { u.to_le_bytes() } else { u.to_be_bytes() });
            fs::write(dir.path().join(name), bytes.collect::<Vec<u8>>()).unwrap();
            let ended = INSPECT.ends(&format!("{name} in UTF-16"), &Call::inspect(dir.path()));
            let named = ended.code == Some(3) && ended.text().contains("UTF-16") && ended.text().contains(name);
            assert!(named || ended.code == Some(0), "{name}: {}", ended.text());
        }
    });
}

/// Shards without an index; a snapshot's folder, its repository's root, and files that are links.
#[cfg(unix)]
#[test]
fn folders_of_other_shapes() {
    use std::os::unix::fs::symlink;
    let Some(shared) = shared("folders of other shapes") else { return };
    let base = shared.join("fixtures/moe-index-new-dialect");
    let golden = base.join("golden.safetensors");

    let dir = copy_of(&base);
    fs::remove_file(dir.path().join("model.safetensors.index.json")).unwrap();
    fs::remove_file(dir.path().join("golden.safetensors")).unwrap();
    gives_logits("no index", dir.path(), &golden);
    fs::remove_file(dir.path().join("model-00002-of-00003.safetensors")).unwrap();
    INSPECT.refuses("a shard is gone", &Call::inspect(dir.path()), 3, &["model-00002-of-00003.safetensors"]);

    let cache = tempfile::tempdir().unwrap();
    let root = cache.path().join("models--a--b");
    let (blobs, snapshot) = (root.join("blobs"), root.join("snapshots/0123"));
    fs::create_dir_all(&blobs).unwrap();
    fs::create_dir_all(&snapshot).unwrap();
    for entry in fs::read_dir(&base).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        fs::copy(entry.path(), blobs.join(format!("hash-of-{name}"))).unwrap();
        symlink(format!("../../blobs/hash-of-{name}"), snapshot.join(name)).unwrap();
    }
    INSPECT.accepts("a snapshot", &Call::inspect(&snapshot));
    INSPECT.accepts("a repository's root with one snapshot", &Call::inspect(&root));
    fs::create_dir(root.join("snapshots/4567")).unwrap();
    let ended = INSPECT.ends("two snapshots", &Call::inspect(&root));
    assert!(ended.code == Some(0) || ended.text().contains("snapshots"), "{}", ended.text());
    let moved = cache.path().join("elsewhere");
    fs::rename(&blobs, &moved).unwrap();
    symlink(&moved, &blobs).unwrap();
    INSPECT.accepts("blobs as a link", &Call::inspect(&snapshot));

    let links = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(&base).unwrap().map(Result::unwrap) {
        symlink(entry.path(), links.path().join(entry.file_name())).unwrap();
    }
    let text =
        INSPECT.refuses("links to elsewhere", &Call::inspect(links.path()), 3, &["is a link to", "--follow-links"]);
    assert!(text.lines().count() <= 2, "{text}");
    let mut call = Call::inspect(links.path());
    call.arguments.push("--follow-links".into());
    INSPECT.accepts("links that are followed", &call);

    let adapter = tempfile::tempdir().unwrap();
    fs::write(adapter.path().join("adapter_config.json"), r#"{"peft_type": "LORA", "base_model_name_or_path": "x"}"#)
        .unwrap();
    fs::write(adapter.path().join("adapter_model.safetensors"), [0; 8]).unwrap();
    INSPECT.refuses("a LoRA adapter", &Call::inspect(adapter.path()), 3, &["LoRA"]);
}
