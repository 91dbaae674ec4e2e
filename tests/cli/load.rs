//! Made-up checkpoints: written, then loaded like any other; and what a run keeps for the next one.

use std::fs;
use std::path::Path;

use crate::process::run;
#[cfg(all(unix, not(target_os = "macos")))]
use crate::process::{bare_model, command};

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Two layers, few tokens, but the real widths: per-layer inputs, shared keys, the wide MLP.
#[test]
fn a_written_model_is_loaded_and_measured() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("model");
    let path = folder.to_str().unwrap();
    let write = ["bench", "--synthetic", "e2b", "--layers", "2", "--vocab", "512", "--write", path];
    let out = run(&write).ok();
    assert!(out.starts_with("e2b, random weights: ") && out.contains(" in 1 file in "), "{out}");
    assert_eq!(names(&folder), ["config.json", "model-00001-of-00001.safetensors", "model.safetensors.index.json"]);

    let out = run(&["inspect", "--model", path]).ok();
    for word in ["int4 g128 sym", "per-layer embedding", "every tensor of the files is used"] {
        assert!(out.contains(word), "{word:?} in {out}");
    }
    let bench = ["bench", "--model", path, "-p", "0", "-n", "2", "-r", "1"];
    let json = run(&[&bench[..], &["--json"]].concat()).json();
    let seconds = |key: &str| json["load"][key].as_f64().unwrap_or_else(|| panic!("{key} of {json}"));
    assert!(seconds("weights_seconds") > 0.0 && seconds("pipelines_seconds") > 0.0);
    assert!(seconds("first_token_seconds") > seconds("weights_seconds").max(seconds("pipelines_seconds")));
    assert_eq!(json["load"]["peak_host_bytes"].is_u64(), cfg!(target_os = "linux"));
    let out = run(&bench).ok();
    assert!(out.contains("to the first token, weights after "), "{out}");

    // What is there is not overwritten.
    let again = run(&write);
    assert_eq!(again.code, Some(2));
    assert!(again.err.contains("is not empty, expected a new or an empty one"), "{}", again.err);
}

#[test]
fn written_experts_answer_with_tokens_of_the_vocabulary() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    let cut = ["--layers", "1", "--experts", "8", "--vocab", "256"];
    run(&[&["bench", "--synthetic", "26b-a4b", "--write", path][..], &cut].concat()).ok();
    let out = run(&["generate", "--model", path, "--ids", "2,5,9", "--max-tokens", "3", "--temperature", "0"]).ok();
    let ids: Vec<u32> = out.trim().split(',').map(|id| id.parse().unwrap()).collect();
    assert!(!ids.is_empty() && ids.iter().all(|&id| id < 256), "{out}");
}

#[test]
fn a_model_that_cannot_be_written_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let out = run(&["bench", "--synthetic", "e2b", "--write", file.to_str().unwrap()]);
    assert_eq!((out.code, out.err.lines().count()), (Some(3), 1), "{}", out.err);
    let folder = dir.path().join("model");
    let out = run(&["bench", "--synthetic", "e2b", "--layers", "99", "--write", folder.to_str().unwrap()]);
    assert_eq!(out.code, Some(2), "{}", out.err);
    assert!(!folder.exists());
}

/// The file is there after a run where the API has such a thing, unless it is not wanted; and the answer is the same with it.
#[cfg(all(unix, not(target_os = "macos")))]
#[test]
fn compiled_pipelines_are_kept_unless_not_wanted() {
    let dir = tempfile::tempdir().unwrap();
    let kept = dir.path().join("lapidary");
    let generate = |more: &[&str]| {
        let model = bare_model();
        let ids = ["generate", "--model", &model, "--ids", "2,5", "--max-tokens", "2", "--temperature", "0"];
        let mut command = command(&[&ids[..], more].concat());
        let out = command.env_remove("LAPIDARY_NO_CACHE").env("XDG_CACHE_HOME", dir.path()).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        out.stdout
    };
    let first = generate(&["--no-cache"]);
    assert!(names(&kept).is_empty());
    assert_eq!(generate(&[]), first);
    let all = names(&kept);
    let (files, others): (Vec<_>, Vec<_>) = all.iter().partition(|name| name.ends_with(".bin"));
    let records = others.iter().filter(|name| name.ends_with(".json")).count();
    // Beside them is the lock of first starts.
    assert!(files.len() < 2 && records == 1 && others.len() <= 2, "{all:?}");
    assert_eq!(generate(&[]), first);
    for name in &files {
        fs::write(kept.join(name), "damaged").unwrap();
    }
    assert_eq!(generate(&[]), first);
    assert_eq!(names(&kept), all);
}
