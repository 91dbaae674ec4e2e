//! Hostile files in the cache folder. None is needed: with any of them a start ends as one with an empty folder does. Each
//! case is a first start of seconds, so that a run takes some of them, others each time.
#![cfg(all(unix, not(target_os = "macos")))]

use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;

use super::draw::Draw;
use super::harness::{self, Call, Failures, Kind, here};
use super::{Path, Value, fs, json};

/// A cache folder that a good start has left: the record, and the pipelines where the API has them.
struct Kept {
    dir: tempfile::TempDir,
    files: Vec<String>,
    out: Vec<u8>,
}

static KEPT: LazyLock<Kept> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    let ended = start(dir.path()).run(None);
    assert_eq!(ended.code, Some(0), "{}", ended.text());
    let mut files: Vec<String> = fs::read_dir(dir.path().join("lapidary"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    assert!(files.iter().any(|name| name.ends_with(".json")), "{files:?}");
    Kept { dir, files, out: ended.out }
});

/// Starts with a cache folder that was never used: all checks run.
pub(super) static FIRST_START: Kind =
    Kind::new("generate, first start", true, || start(&tempfile::tempdir().unwrap().keep()));

pub(super) fn start(cache: &Path) -> Call {
    let mut call = Call::generate(&here("tests/golden/dense-gptq-desc-act")).env("XDG_CACHE_HOME", cache);
    call.unset.push("LAPIDARY_NO_CACHE");
    call
}

/// A copy of the kept folder.
fn copy() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("lapidary");
    fs::create_dir(&folder).unwrap();
    for name in &KEPT.files {
        fs::copy(KEPT.dir.path().join("lapidary").join(name), folder.join(name)).unwrap();
    }
    (dir, folder)
}

fn record() -> (&'static str, Value) {
    let name = KEPT.files.iter().find(|name| name.starts_with("doctor-")).unwrap();
    let text = fs::read(KEPT.dir.path().join("lapidary").join(name)).unwrap();
    (name, serde_json::from_slice(&text).unwrap())
}

/// The answer is that of the good start.
fn ends_well(what: &str, cache: &Path) {
    let out = FIRST_START.accepts(what, &start(cache));
    assert_eq!(out.as_bytes(), KEPT.out, "{what}");
}

/// Pipes, folders, devices, links and endless files in the place of each.
#[test]
fn what_is_no_file_in_the_place_of_one() {
    let (mut failures, mut draw) = (Failures::default(), Draw::new("what_is_no_file_in_the_place_of_one"));
    for name in &KEPT.files {
        for kind in
            ["pipe", "folder", "link to itself", "link to /dev/zero", "link to a pipe", "sparse", "unreadable", "zeros"]
        {
            let (dir, folder) = copy();
            let path = folder.join(name);
            fs::remove_file(&path).unwrap();
            let pipe = |path: &Path| assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
            match kind {
                "pipe" => pipe(&path),
                "folder" => fs::create_dir(&path).unwrap(),
                "link to itself" => std::os::unix::fs::symlink(&path, &path).unwrap(),
                "link to /dev/zero" => std::os::unix::fs::symlink("/dev/zero", &path).unwrap(),
                "link to a pipe" => {
                    pipe(&folder.join("pipe"));
                    std::os::unix::fs::symlink(folder.join("pipe"), &path).unwrap();
                }
                "sparse" => fs::File::create(&path).unwrap().set_len(1 << 40).unwrap(),
                "zeros" => fs::write(&path, vec![0; 1 << 16]).unwrap(),
                _ => {
                    use std::os::unix::fs::PermissionsExt;
                    fs::write(&path, "x").unwrap();
                    fs::set_permissions(&path, fs::Permissions::from_mode(0o0)).unwrap();
                }
            }
            if harness::report::is_run(2, || draw.below(4) == 0) {
                failures.case(|| ends_well(&format!("{name}: {kind}"), dir.path()));
            }
        }
    }
    failures.done();
}

/// Records that no doctor wrote: what they say is not done, least of all what would end the start.
#[test]
fn records_that_nobody_wrote() {
    let (name, good) = record();
    let with = |key: &str, value: Value| {
        let mut record = good.clone();
        record[key] = value;
        record.to_string().into_bytes()
    };
    let mut cases: Vec<(String, Vec<u8>)> = Vec::new();
    for off in [
        "binding=1",
        "threads=0",
        "buffers=0",
        "buffer=1",
        "workgroup=0",
        "f16,binding=1",
        "binding=18446744073709551615",
        "nonsense",
        "\u{1b}[31mRED",
        "immediates",
        "f16,f16,f16",
    ] {
        cases.push((format!("switched_off {off:?}"), with("switched_off", json!(off))));
    }
    for (key, value) in [
        ("format", json!(2)),
        ("format", json!(-1)),
        ("adapter", json!("\u{1b}]0;title\u{7}")),
        ("is_bad", json!(true)),
        ("failures", json!([{"check": "\u{1b}[2J", "without": "\u{202e}", "message": "\n".repeat(1000)}])),
        ("failures", json!(vec![json!({"check": "x", "without": "", "message": "x".repeat(100)}); 5000])),
        ("dot_times", json!({"few": {"dot": 1e308, "plain": -1e308}, "many": null})),
        ("dot_times", json!({"few": {"dot": 0.0, "plain": 0.0}, "many": {"dot": 5e-324, "plain": 1e308}})),
    ] {
        cases.push((format!("{key} {}", &value.to_string()[..value.to_string().len().min(40)]), with(key, value)));
    }
    let text = good.to_string();
    for (what, bytes) in [
        ("half", text.as_bytes()[..text.len() / 2].to_vec()),
        ("nothing", Vec::new()),
        ("not UTF-8", b"\xff\xfe".to_vec()),
        ("deep", "[".repeat(500_000).into_bytes()),
        ("a key twice", text.replacen('{', "{\"switched_off\":\"binding=1\",", 1).into_bytes()),
        ("a key twice, behind", format!("{},\"switched_off\":\"binding=1\"}}", &text[..text.len() - 1]).into_bytes()),
        ("2 MB", format!("{text}{}", " ".repeat(2 << 20)).into_bytes()),
        ("2 MB of numbers", format!("{},\"zz\":[{}0]}}", &text[..text.len() - 1], "0,".repeat(1 << 20)).into_bytes()),
    ] {
        cases.push((what.to_owned(), bytes));
    }
    let (mut failures, mut draw) = (Failures::default(), Draw::new("records_that_nobody_wrote"));
    for (what, bytes) in cases {
        let (dir, folder) = copy();
        fs::write(folder.join(name), bytes).unwrap();
        if harness::report::is_run(2, || draw.below(8) == 0) {
            failures.case(|| ends_well(&what, dir.path()));
        }
    }
    failures.done();
}

/// The folder itself is something else, or cannot be written.
#[test]
fn a_folder_that_is_none() {
    let mut failures = Failures::default();
    let dir = tempfile::tempdir().unwrap();
    let place = |name: &str| dir.path().join(name);
    fs::write(place("file"), "x").unwrap();
    fs::create_dir(place("with-file")).unwrap();
    fs::write(place("with-file/lapidary"), "x").unwrap();
    fs::create_dir(place("with-pipe")).unwrap();
    assert!(Command::new("mkfifo").arg(place("with-pipe/lapidary")).status().unwrap().success());
    fs::create_dir(place("with-loop")).unwrap();
    std::os::unix::fs::symlink(place("with-loop/lapidary"), place("with-loop/lapidary")).unwrap();
    for name in ["file", "with-file", "with-pipe", "with-loop", "file/below"] {
        failures.case(|| ends_well(name, &place(name)));
    }
    failures.case(|| ends_well("/proc", Path::new("/proc")));
    failures.case(|| ends_well("/dev/null", Path::new("/dev/null")));
    // Drivers write where lapidary does not: a folder of ours, by the way there from the current one.
    let up: PathBuf = std::env::current_dir().unwrap().components().skip(1).map(|_| "..").collect();
    failures.case(|| ends_well("relative", &up.join(place("nowhere").strip_prefix("/").unwrap())));
    failures.done();
}

/// Marks of checks that were begun, by a process that is gone: the start checks again, or goes on without; it does not hang.
#[test]
fn marks_that_were_left_behind() {
    let (name, _) = record();
    let (mut failures, mut draw) = (Failures::default(), Draw::new("marks_that_were_left_behind"));
    for (what, bytes) in [
        ("empty", Vec::new()),
        ("a number", b"999999999".to_vec()),
        ("our own", b"1".to_vec()),
        ("garbage", b"\xff\x1b[31m".repeat(1000)),
    ] {
        for keep_record in [true, false] {
            let (dir, folder) = copy();
            let mark = folder.join(Path::new(name).with_extension("begun"));
            fs::write(mark, &bytes).unwrap();
            if !keep_record {
                fs::remove_file(folder.join(name)).unwrap();
            }
            if harness::report::is_run(2, || draw.below(4) == 0) {
                failures.case(|| ends_well(&format!("{what}, record: {keep_record}"), dir.path()));
            }
        }
    }
    let (dir, folder) = copy();
    fs::remove_file(folder.join(name)).unwrap();
    assert!(
        Command::new("mkfifo").arg(folder.join(Path::new(name).with_extension("begun"))).status().unwrap().success()
    );
    failures.case(|| ends_well("a pipe", dir.path()));
    failures.done();
}
