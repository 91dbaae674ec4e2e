//! What `inspect` says of configurations that differ from the data, and what it leaves out.

use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::{here, run};

/// A golden checkpoint whose configuration was changed.
fn changed(change: impl FnOnce(&mut Value)) -> TempDir {
    let golden = here("tests/golden/moe-autoround-sym");
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(golden.join("model.safetensors"), folder.path().join("model.safetensors")).unwrap();
    let mut config = serde_json::from_slice(&std::fs::read(golden.join("config.json")).unwrap()).unwrap();
    change(&mut config);
    std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    folder
}

fn inspect(folder: &Path, more: &[&str]) -> crate::process::Run {
    run(&[&["inspect", "--model", folder.to_str().unwrap()], more].concat())
}

#[test]
fn what_differs_harmlessly_is_noted_once() {
    let config = |change: &dyn Fn(&mut Value)| changed(|config| change(&mut config["quantization_config"]));
    let other = config(&|config| config["packing_format"] = json!("auto_round"));
    let unknown = config(&|config| {
        config["brand_new"] = json!({"a": 1});
        config["extra_config"] = json!({"model.layers.0.mlp.up_proj": {"bits": 4, "newer\u{1b}": 5}});
    });
    let idle =
        config(&|config| config["extra_config"] = json!({r"nothing\.here": {"bits": 8}, "vision": {"bits": 16}}));
    for (folder, needles) in [
        (&other, &["packing_format \"auto_round\"", "stored minus one", "8"][..]),
        (&unknown, &["unknown keys", "quantization_config.brand_new", "up_proj.newer\\u{1b}"]),
        (&idle, &["nothing\\.here", "fits no tensor"]),
    ] {
        let run = inspect(folder.path(), &[]);
        assert_eq!(run.err.lines().count(), 1, "{}", run.err);
        assert!(needles.iter().all(|needle| run.err.contains(needle)), "{}", run.err);
        assert!(run.ok().contains("GPU memory at a context"));
    }
    assert_eq!(inspect(changed(|_| ()).path(), &[]).err, "");
}

/// Checks that need data are made unless only headers are asked for; of what fails nothing is shown.
#[test]
fn inspect_checks_data() {
    let folder = changed(|config| config["quantization_config"]["sym"] = json!(true));
    let path = folder.path().join("model.safetensors");
    let whole = std::fs::read(&path).unwrap();
    let start = 8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&whole[8..start]).unwrap();
    for (name, word, needle) in [
        ("model.language_model.layers.5.mlp.down_proj.qzeros", 0x7777_7787u32, "row 1 is 9, expected 8"),
        ("model.language_model.layers.0.router.proj.scales", 0x7c00_7c00, "element 0 is inf"),
    ] {
        let mut bytes = whole.clone();
        let at = start + header[name]["data_offsets"][0].as_u64().unwrap() as usize;
        bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
        std::fs::write(&path, bytes).unwrap();
        let run = inspect(folder.path(), &[]);
        assert_eq!((run.code, run.out.as_str()), (Some(3), ""), "{}", run.err);
        assert!(run.err.contains(name) && run.err.contains(needle), "{}", run.err);
        let headers = inspect(folder.path(), &["--headers-only"]);
        assert_eq!(headers.err, "");
        assert!(headers.ok().contains("GPU memory at a context"));
    }
}
