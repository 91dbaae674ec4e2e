//! `lapidary logits`, `prompt`, `inspect`, `devices`, `--help` and `--version`.

use std::path::Path;

use safetensors::{Dtype, SafeTensors};

use crate::not_run::not_run;
use crate::process::{bare_model, golden_cases, here, id_list, messages, run, run_with};

fn floats(data: &[u8]) -> Vec<f32> {
    data.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
}

/// Fails unless the tensor has the golden one's shape and is within `limit` of it.
fn assert_near(name: &str, found: &SafeTensors, golden: &SafeTensors, limit: f32) {
    let (a, b) = (found.tensor(name).unwrap(), golden.tensor(name).unwrap());
    assert_eq!((a.dtype(), a.shape()), (Dtype::F32, b.shape()), "{name}");
    for (i, (x, y)) in floats(a.data()).iter().zip(floats(b.data())).enumerate() {
        assert!((x - y).abs() <= limit, "{name}[{i}]: {x}, expected {y}");
    }
}

#[test]
fn logits_and_inner_tensors_are_the_golden_ones() {
    let folder = tempfile::tempdir().unwrap();
    let (ids_file, output) = (folder.path().join("ids.json"), folder.path().join("out.safetensors"));
    let golden_bytes = std::fs::read(here("tests/golden/moe-autoround-sym/golden.safetensors")).unwrap();
    let golden = SafeTensors::deserialize(&golden_bytes).unwrap();
    let ids = golden.tensor("input_ids").unwrap();
    let size = if ids.dtype() == Dtype::I64 { 8 } else { 4 };
    let ids: Vec<u32> = ids.data().chunks_exact(size).map(|b| u32::from_le_bytes(b[..4].try_into().unwrap())).collect();
    std::fs::write(&ids_file, format!("{ids:?}\n")).unwrap();

    let (model, path) = (bare_model(), output.to_str().unwrap());
    let files = ["--ids-file", ids_file.to_str().unwrap(), "--output", path];
    assert_eq!(
        run(&[&["logits", "--precision", "exact", "--model", &model, "--activations"], &files[..]].concat()).ok(),
        ""
    );
    let bytes = std::fs::read(&output).unwrap();
    let found = SafeTensors::deserialize(&bytes).unwrap();
    assert_near("logits", &found, &golden, 1e-3);
    let mut names = found.names();
    names.sort_unstable();
    for name in names.iter().filter(|name| **name != "logits") {
        assert_near(name, &found, &golden, 2e-3);
    }
    assert!(names.contains(&"layer.0.router.weights") && names.contains(&"final_norm"), "{names:?}");
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "nothing but the two files: {left:?}");
}

#[test]
fn long_sequences_run_in_chunks() {
    let folder = tempfile::tempdir().unwrap();
    let logits = |count: usize, name: &str| {
        let ids: Vec<String> = (0..count).map(|i| (30 + i * 37 % 4000).to_string()).collect();
        let path = folder.path().join(name);
        run(&["logits", "--precision", "exact", "--ids", &ids.join(","), "--output", path.to_str().unwrap()]).ok();
        let bytes = std::fs::read(&path).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!((file.names(), file.tensor("logits").unwrap().shape()), (vec!["logits"], &[count, 4096][..]));
        floats(file.tensor("logits").unwrap().data())
    };
    let (long, short) = (logits(260, "long"), logits(3, "short"));
    for (i, (a, b)) in long.iter().zip(&short).enumerate() {
        assert!((a - b).abs() <= 1e-3, "{i}: {a}, {b}");
    }
}

#[test]
fn inner_tensors_of_e2b_are_the_golden_ones() {
    let Some(fixtures) = std::env::var_os("LAPIDARY_FIXTURES") else {
        return not_run("LAPIDARY_FIXTURES is not set");
    };
    let model = Path::new(&fixtures).join("e2b-bf16");
    let golden_bytes = std::fs::read(model.join("golden.safetensors")).unwrap();
    let golden = SafeTensors::deserialize(&golden_bytes).unwrap();
    let ids = golden.tensor("input_ids").unwrap();
    let ids: Vec<String> =
        ids.data().chunks_exact(4).map(|b| u32::from_le_bytes(b.try_into().unwrap()).to_string()).collect();
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out.safetensors");
    let (model, path) = (model.to_str().unwrap(), output.to_str().unwrap());
    run(&[
        "logits",
        "--precision",
        "exact",
        "--model",
        model,
        "--activations",
        "--ids",
        &ids.join(","),
        "--output",
        path,
    ])
    .ok();

    let bytes = std::fs::read(&output).unwrap();
    let found = SafeTensors::deserialize(&bytes).unwrap();
    let (mut names, mut expected) = (found.names(), golden.names());
    expected.retain(|name| !["input_ids", "greedy_ids", "greedy_logits"].contains(name));
    names.sort_unstable();
    expected.sort_unstable();
    assert_eq!(names, expected);
    assert_eq!(found.tensor("per_layer_inputs").unwrap().shape(), [40, 15, 32]);
    for name in names {
        assert_near(name, &found, &golden, if name == "logits" { 1e-3 } else { 2e-3 });
    }
}

#[test]
fn prompts_are_the_golden_ones() {
    let folder = tempfile::tempdir().unwrap();
    for case in golden_cases() {
        let file = messages(&case, folder.path());
        assert_eq!(run(&["prompt", "--messages", &file]).ok(), case["prompt"].as_str().unwrap());
        assert_eq!(run(&["prompt", "--messages", &file, "--ids"]).ok(), format!("{}\n", id_list(&case, "prompt_ids")));
    }
    let input = std::fs::read_to_string(messages(&golden_cases()[0], folder.path())).unwrap();
    assert_eq!(run_with(&["prompt", "--messages", "-"], &input).ok(), golden_cases()[0]["prompt"].as_str().unwrap());
}

#[test]
fn a_prompt_needs_no_weights() {
    let folder = tempfile::tempdir().unwrap();
    let demo = here("examples/demo-model");
    let copy = |name: &str, to: &Path| std::fs::copy(demo.join(name), to.join(name)).unwrap();
    for name in ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"] {
        copy(name, folder.path());
    }
    let model = folder.path().to_str().unwrap();
    let out = run_with(&["prompt", "--model", model, "--messages", "-"], r#"[{"role": "user", "content": "a"}]"#).ok();
    assert!(out.starts_with("<bos><|turn>user\na<turn|>"), "{out}");
}

#[test]
fn inspect_shows_what_there_is_and_what_it_takes() {
    let run = run(&["inspect", "--context", "1024"]);
    assert_eq!(run.err, "");
    let out = run.ok();
    for line in [
        "demo model (built in)",
        "  type           gemma4, mixture of experts",
        "  experts        8 of width 80, 2 for a token",
        "  every tensor of the files is used",
        "GPU memory at a context of 1024",
    ] {
        assert!(out.lines().any(|found| found == line), "{line:?} in {out}");
    }
    for start in ["  experts    int4 g32 sym ", "  router     bf16 ", "  KV cache ", "  total "] {
        assert!(out.lines().any(|found| found.starts_with(start)), "{start:?} in {out}");
    }
}

/// Parameters of the released models, counted from `config.json` alone.
#[test]
fn inspect_counts_parameters_of_a_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().to_str().unwrap();
    let (golden, copy) = (here("tests/golden/configs"), folder.path().join("config.json"));
    let sizes = [("e2b", "4.63 B"), ("e4b", "7.46 B"), ("12b", "11.91 B"), ("26b-a4b", "25.23 B"), ("31b", "30.70 B")];
    for (name, total) in sizes {
        std::fs::copy(golden.join(format!("{name}.json")), &copy).unwrap();
        let out = run(&["inspect", "--model", model]).ok();
        assert!(out.contains(&format!("  parameters     {total} (")), "{name}: {out}");
        assert!(out.ends_with("no tensors in this directory: formats and GPU memory are not known\n"), "{out}");
    }
    let beyond = run(&["inspect", "--model", model, "--context", "999999999"]);
    assert_eq!((beyond.code, beyond.out.as_str()), (Some(2), ""), "{}", beyond.err);
    assert_eq!(run(&["logits", "--model", model, "--ids", "2", "--output", "x"]).code, Some(3));
}

/// Also: Mesa's device-select layer, which main switches off, would write to stderr where there is no XDG_RUNTIME_DIR.
#[test]
fn devices_are_listed_and_nothing_is_written_to_stderr() {
    let run = run(&["devices"]);
    assert_eq!(run.err, "");
    let out = run.ok();
    assert!(out.contains("  verdict   the default: "), "{out}");
    for key in ["type", "API", "driver", "limits", "features", "tuning"] {
        assert!(out.lines().any(|line| line.starts_with(&format!("  {key} "))), "{key} in {out}");
    }
}

#[test]
fn help_and_version_go_to_stdout() {
    let version = run(&["--version"]).ok();
    assert_eq!(version, format!("lapidary {}\n", env!("CARGO_PKG_VERSION")));
    let help = run(&["--help"]).ok();
    for command in ["chat", "generate", "prompt", "logits", "inspect", "devices", "doctor"] {
        assert!(help.contains(&format!("\n  {command} ")), "{help}");
        let own = run(&[command, "--help"]).ok();
        assert!(own.contains("Usage: lapidary "), "{own}");
    }
    assert!(help.contains("Exit codes: 0 ok, 2 usage"), "{help}");
    let bare = run(&[]);
    assert_eq!((bare.code, bare.out.as_str()), (Some(2), ""));
}
