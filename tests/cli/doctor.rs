//! `lapidary doctor`, what it leaves behind, and `--disable`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use lapidary::doctor::Record;
use lapidary::gpu::Gpu;

use crate::process::{Run, bare_model, command, finish, run};

/// A command with `home` for the cache folder's place.
fn command_in(home: &Path, arguments: &[&str]) -> Command {
    let mut command = command(arguments);
    command.env_remove("LAPIDARY_NO_CACHE");
    for name in ["XDG_CACHE_HOME", "HOME", "LOCALAPPDATA"] {
        command.env(name, home);
    }
    command
}

fn run_in(home: &Path, arguments: &[&str]) -> Run {
    finish(command_in(home, arguments).spawn().unwrap())
}

/// Two tokens of a model.
pub(crate) fn two_tokens(model: &str, home: &Path, more: &[&str]) -> Command {
    let ids = ["generate", "--model", model, "--ids", "2,5", "--max-tokens", "2", "--temperature", "0"];
    command_in(home, &[&ids[..], more].concat())
}

/// Two tokens of a small model.
fn generate(home: &Path, more: &[&str]) -> Run {
    finish(two_tokens(&bare_model(), home, more).spawn().unwrap())
}

/// The cache folder below `home`.
pub(crate) fn cache(home: &Path) -> PathBuf {
    let folder = if cfg!(target_os = "macos") { home.join("Library/Caches") } else { home.to_owned() };
    folder.join("lapidary")
}

/// Where the record below `home` has its place.
pub(crate) fn record_path(home: &Path) -> PathBuf {
    let gpu = Gpu::open(None).unwrap();
    Record::path(&cache(home), gpu.adapter(), gpu.kind())
}

/// The record below `home`.
fn record(home: &Path) -> Option<PathBuf> {
    Some(record_path(home)).filter(|path| path.exists())
}

/// A record that somebody has changed, with the checksum that goes with it.
fn sign(text: &str) -> String {
    let body = &text[..text.rfind(",\n  \"checksum\"").unwrap()];
    let length = (body.len() as u64).to_le_bytes();
    let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    let sum = body.as_bytes().iter().chain(&length).fold(0xcbf2_9ce4_8422_2325, mix);
    format!("{body},\n  \"checksum\": \"{sum:016x}\"\n}}\n")
}

#[test]
fn everything_is_checked_and_the_report_says_so() {
    let home = tempfile::tempdir().unwrap();
    let report = run_in(home.path(), &["doctor", "--json"]).json();
    assert_eq!((&report["passed"], &report["switched_off"]), (&true.into(), &"".into()), "{report}");
    let rounds = report["rounds"].as_array().unwrap();
    let checks = rounds[0]["checks"].as_array().unwrap();
    assert_eq!((rounds.len(), rounds[0]["without"].as_str()), (1, Some("")));
    for check in checks {
        assert!(["passed", "unused"].contains(&check["outcome"].as_str().unwrap()), "{check}");
    }
    let named = |name: &str| checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("{name}"));
    assert!(named("rms_norm")["error"].as_f64().unwrap() < named("rms_norm")["bound"].as_f64().unwrap());
    assert!(named("demo model, exact")["values"].as_u64().unwrap() > 50, "ids and logits");
    for key in ["adapter", "api", "driver", "features", "limits", "tier", "decode_tier", "version", "seconds"] {
        assert!(!report[key].is_null(), "{key}");
    }
    // The next start knows, and says nothing of it.
    assert!(record(home.path()).is_some());
    let next = generate(home.path(), &[]);
    assert!(!next.err.contains("first start") && !next.err.contains("without"), "{}", next.err);
    next.ok();
}

#[test]
fn the_short_form_prints_a_line_a_check_and_a_block_to_paste() {
    let home = tempfile::tempdir().unwrap();
    let run = run_in(home.path(), &["doctor", "--short", "--disable", "dot"]);
    assert_eq!(record(home.path()), None, "what is left unused by hand is not known");
    let out = run.ok();
    assert!(out.contains("\nwithout dot\n") && out.contains("  ok  plain  rms_norm "), "{out}");
    assert!(out.contains(" checks passed in ") && !out.contains("int8 products"), "{out}");
    let block = out.split("```\n").nth(1).unwrap_or_else(|| panic!("{out}"));
    for start in [
        "lapidary ",
        "adapter: ",
        "driver: ",
        "features: ",
        "limits: buffers ",
        "tier: plain",
        "tuning: ",
        "without dot: ",
    ] {
        assert!(block.lines().any(|line| line.starts_with(start)), "{start:?} in {block}");
    }
}

/// Once for an adapter; again where the record is damaged; never where nothing is to be kept or something is left unused.
#[test]
fn the_first_start_is_checked() {
    let home = tempfile::tempdir().unwrap();
    let starts = |more: &[&str]| {
        let run = generate(home.path(), more);
        let lines = run.err.lines().filter(|line| line.starts_with("first start on \"")).count();
        assert!(lines == 0 || run.err.contains(" s, all passed; lapidary doctor runs them all"), "{}", run.err);
        (lines, run.ok())
    };
    let (none, first) = starts(&["--no-cache"]);
    assert_eq!(none, 0);
    assert_eq!(starts(&["--disable", "timestamps"]), (0, first.clone()));
    assert_eq!(record(home.path()), None);
    assert_eq!(starts(&[]), (1, first.clone()));
    assert_eq!(starts(&[]), (0, first.clone()));
    // A check that ended two starts is not run again by itself.
    let path = record(home.path()).unwrap();
    let (begun, text) = (path.with_extension("begun"), fs::read_to_string(&path).unwrap());
    assert!(!begun.exists() && sign(&text) == text);
    fs::remove_file(&path).unwrap();
    fs::write(&begun, "start\n+ router\n+ rms_norm\nstart\n+ router\n").unwrap();
    for _ in 0..2 {
        let unchecked = generate(home.path(), &[]);
        let why =
            " is used unchecked: 2 starts ended in the middle of the check \"router\"; lapidary doctor runs it again\n";
        assert!(unchecked.err.contains(why), "{}", unchecked.err);
        assert_eq!((unchecked.ok(), record(home.path())), (first.clone(), None));
    }
    // One alone may have been killed.
    fs::write(&begun, "start\n+ router\nstart\n+ rms_norm\n").unwrap();
    assert_eq!(starts(&[]), (1, first.clone()));
    assert!(!begun.exists());
    fs::write(record(home.path()).unwrap(), "{\"format\": 1, \"switched_off\": 7}").unwrap();
    assert_eq!(starts(&[]), (1, first.clone()));
    // What no doctor switches off.
    for off in ["binding=1", "threads=0", "timestamps"] {
        fs::write(&path, sign(&text.replace("\"switched_off\": \"\"", &format!("\"switched_off\": \"{off}\""))))
            .unwrap();
        assert_eq!(starts(&[]), (1, first.clone()), "{off}");
    }
    assert_eq!(starts(&[]), (0, first));
}

/// What a record says is said at each start and left unused; so is what was asked for.
#[test]
fn what_failed_is_left_unused() {
    let home = tempfile::tempdir().unwrap();
    generate(home.path(), &[]).ok();
    let path = record(home.path()).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    let failure = "\"failures\": [{\"check\": \"int8 sums of experts\", \"without\": \"\", \"message\": \"wrong\"}]";
    let wrong =
        text.replace("\"switched_off\": \"\"", "\"switched_off\": \"dot\"").replace("\"failures\": []", failure);
    assert_ne!(text, wrong);
    fs::write(&path, sign(&wrong)).unwrap();
    for _ in 0..2 {
        let run = generate(home.path(), &[]);
        assert!(
            run.err.contains("is used without dot, which failed a check (\"int8 sums of experts\")"),
            "{}",
            run.err
        );
        run.ok();
    }
    let refused = "tier dot was asked for, but the strongest that ";
    let run = generate(home.path(), &["--tier", "dot"]);
    assert!(run.code == Some(2) && run.err.contains(refused), "{}", run.err);
    generate(home.path(), &["--tier", "dot", "--no-cache"]).ok();
    let by_hand = generate(home.path(), &["--tier", "dot", "--no-cache", "--disable", "dot"]);
    assert!(by_hand.code == Some(2) && by_hand.err.contains(refused), "{}", by_hand.err);
    fs::write(&path, sign(&wrong.replace("\"is_bad\": false", "\"is_bad\": true"))).unwrap();
    let run = generate(home.path(), &[]);
    assert!(run.err.contains("computes wrongly, also with plain kernels (\"int8 sums of experts\")"), "{}", run.err);
}

#[test]
fn an_unknown_ability_ends_with_2_and_a_list() {
    for command in [
        &["generate", "--ids", "2"][..],
        &["logits", "--ids", "2", "--output", "never-written"],
        &["bench"],
        &["chat"],
        &["doctor"],
    ] {
        let run = run(&[command, &["--disable", "f16,dots"]].concat());
        assert_eq!((run.code, run.out.as_str(), run.err.lines().count()), (Some(2), "", 1), "{command:?}: {}", run.err);
        assert!(run.err.contains("\"dots\"") && run.err.contains("subgroups, dot, matrix"), "{}", run.err);
    }
    let run = run(&["generate", "--ids", "2", "--disable", "kv-f16", "--kv", "f16"]);
    assert!(
        run.code == Some(2) && run.err.contains("a KV cache in F16 was asked for, but it is switched off"),
        "{}",
        run.err
    );
}

#[test]
fn an_unknown_kind_ends_with_2_and_a_list() {
    for command in [
        &["generate", "--ids", "2"][..],
        &["logits", "--ids", "2", "--output", "never-written"],
        &["bench"],
        &["chat"],
        &["doctor"],
    ] {
        let run = run(&[command, &["--tuning", "amd"]].concat());
        assert_eq!((run.code, run.out.as_str(), run.err.lines().count()), (Some(2), "", 1), "{command:?}: {}", run.err);
        assert!(run.err.contains("\"amd\"") && run.err.contains("nvidia, rdna, gcn, intel"), "{}", run.err);
        let both = finish(
            crate::process::command(&[command, &["--tuning", "cpu", "--disable", "cpu-kernels"]].concat())
                .spawn()
                .unwrap(),
        );
        assert_eq!((both.code, both.out.as_str()), (Some(2), ""), "{command:?}: {}", both.err);
        assert!(both.err.contains("--tuning cpu asks for the kernels"), "{}", both.err);
    }
}

/// What is found with one table says nothing of another one.
#[test]
fn each_table_has_a_record_of_its_own() {
    let home = tempfile::tempdir().unwrap();
    let starts = |more: &[&str]| {
        let run = generate(home.path(), more);
        let lines = run.err.lines().filter(|line| line.starts_with("first start on \"")).count();
        (lines, run.ok())
    };
    let (first, ids) = starts(&["--tuning", "cpu"]);
    assert_eq!((first, starts(&["--tuning", "cpu"])), (1, (0, ids.clone())));
    assert_eq!((starts(&["--tuning", "unknown"]).0, starts(&["--tuning", "unknown"]).0), (1, 0));
    let report = run_in(home.path(), &["doctor", "--short", "--tuning", "unknown", "--json"]).json();
    assert_eq!((&report["tuning"], &report["tuning_reason"]), (&"unknown".into(), &"by request".into()), "{report}");
}
