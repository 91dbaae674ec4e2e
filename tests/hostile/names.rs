//! Names and kinds of files that lead out of the model's folder, in an index and as files: watched by strace, nothing outside
//! is opened, and nothing waits.
#![cfg(target_os = "linux")]

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;

use super::{Model, write_index};

/// What any program opens on its way up, and what this one asks the system.
const SYSTEM: [&str; 12] = [
    "/lib",
    "/usr/lib",
    "/usr/local/lib",
    "/usr/share/",
    "/etc/ld.so",
    "/etc/localtime",
    "/sys/fs/cgroup",
    "/sys/devices/system",
    "/proc/self/cgroup",
    "/proc/self/maps",
    "/proc/self/mountinfo",
    "/dev/null",
];

/// A folder outside of every model, whose files nobody may open.
struct Outside(TempDir);

impl Outside {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let model = Model::base().write();
        for name in ["config.json", "model.safetensors"] {
            fs::copy(model.path().join(name), dir.path().join(name)).unwrap();
        }
        fs::copy(model.path().join("model.safetensors"), dir.path().join("x.safetensors")).unwrap();
        fs::write(dir.path().join("other.json"), "{}").unwrap();
        Outside(dir)
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }
}

/// Runs a command on the model in `dir` under strace: its exit code, standard error, and the paths that it tried to open.
fn watched(command: &[&str], dir: &Path) -> io::Result<(Option<i32>, String, Vec<String>)> {
    let place = tempfile::tempdir()?;
    let (log, errors) = (place.path().join("log"), place.path().join("errors"));
    let mut child = Command::new("strace")
        .args(["-f", "-qq", "-s", "5000", "-e", "trace=open,openat,openat2,creat", "-o"])
        .arg(&log)
        .arg(env!("CARGO_BIN_EXE_lapidary"))
        .args(command)
        .arg("--model")
        .arg(dir)
        .env_remove("LD_LIBRARY_PATH")
        .env("LAPIDARY_NO_CACHE", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::create(&errors)?)
        .spawn()?;
    let start = Instant::now();
    let code = loop {
        match child.try_wait()? {
            Some(status) => break status.code(),
            None if start.elapsed() > Duration::from_secs(60) => {
                child.kill()?;
                child.wait()?;
                break None;
            }
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    let log = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
    let paths = log.lines().filter_map(|line| Some(line.split_once('"')?.1.rsplit_once('"')?.0.to_owned())).collect();
    Ok((code, fs::read_to_string(&errors)?, paths))
}

/// Whether strace can watch here; if not, it is said.
fn can_watch() -> bool {
    let model = Model::base().write();
    match watched(&["inspect"], model.path()) {
        Ok((Some(0), _, paths)) if paths.iter().any(|path| path.ends_with("config.json")) => true,
        other => {
            println!("SKIPPED: strace is not there or may not watch ({other:?})");
            false
        }
    }
}

/// Fails unless the command ends with `codes`, with clean lines, and has opened only what is in the folder.
fn expect_inside(what: &str, command: &[&str], dir: &Path, codes: &[i32]) {
    let (code, errors, paths) = watched(command, dir).unwrap();
    assert!(code.is_some_and(|code| codes.contains(&code)), "{what}: exit code {code:?}: {errors}");
    let is_clean = |c: char| c == '\n' || !(c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c));
    assert!(errors.chars().all(is_clean), "{what}: {errors:?}");
    let own = fs::canonicalize(dir).unwrap();
    let binary = Path::new(env!("CARGO_BIN_EXE_lapidary")).parent().unwrap().to_owned();
    for path in paths {
        let plain = !path.split('/').any(|part| part == "..");
        let inside = [dir, &own, &binary].iter().any(|root| Path::new(&path).starts_with(root));
        let system = SYSTEM.iter().any(|prefix| path.starts_with(prefix));
        assert!(plain && (inside || system), "{what}: opened {path:?}");
    }
}

/// Names for the file of a tensor in an index.
fn names(outside: &Outside) -> Vec<String> {
    let long = |length: usize| format!("{}.safetensors", "n".repeat(length - ".safetensors".len()));
    let mut names = vec![
        outside.path("x.safetensors"),
        format!("..{}", outside.path("x.safetensors")),
        format!("../../../../../../..{}", outside.path("x.safetensors")),
        format!("file://{}", outside.path("x.safetensors")),
        format!("a.safetensors/../..{}", outside.path("x.safetensors")),
        long(255),
        long(256),
        long(5000),
    ];
    let plain = [
        "../a.safetensors",
        "/etc/passwd.safetensors",
        "sub/a.safetensors",
        "./a.safetensors",
        "..\\a.safetensors",
        "\\\\server\\share\\a.safetensors",
        "C:a.safetensors",
        "C:\\a.safetensors",
        "a\0.safetensors",
        "\0.safetensors",
        "a\n.safetensors",
        "a\r.safetensors",
        "\u{1b}[31m.safetensors",
        "\u{7}.safetensors",
        "\u{202e}a.safetensors",
        "a\u{200b}.safetensors",
        "a.safetensors ",
        " a.safetensors",
        "a .safetensors",
        "a.safetensors.",
        "...safetensors",
        ".safetensors",
        "CON.safetensors",
        "nul.safetensors",
        "A.safetensors",
        "a.SAFETENSORS",
        "ä.safetensors",
        "ａ.safetensors",
        "%2e%2e%2fa.safetensors",
        "..%2fa.safetensors",
        "a%00.safetensors",
        "~/a.safetensors",
        "$HOME.safetensors",
        "*.safetensors",
        "`id`.safetensors",
        "|id.safetensors",
        "-rf.safetensors",
        "a:stream.safetensors",
        "http://localhost/a.safetensors",
        "dev/zero",
        "",
        ".",
        "..",
    ];
    names.extend(plain.map(str::to_owned));
    names
}

#[test]
fn names_in_an_index_lead_nowhere() {
    if !can_watch() {
        return;
    }
    let (outside, model) = (Outside::new(), Model::read("dense-gptq-desc-act"));
    let (dir, map) = model.write_two();
    let first = &model.tensors[0].name;
    let names = names(&outside);
    assert!(names.len() >= 40, "{}", names.len());
    for name in names {
        let mut map = map.clone();
        map[first] = json!(name);
        write_index(dir.path(), &map);
        expect_inside(&format!("{name:?}"), &["inspect"], dir.path(), &[3]);
    }
}

/// What can lie in a folder under the name of a file.
fn lay(kind: &str, at: &Path, outside: &Outside) -> io::Result<bool> {
    let run = |program: &str, arguments: &[&str]| {
        let status = Command::new(program).arg(at).args(arguments).stderr(Stdio::null()).status();
        Ok(status.is_ok_and(|status| status.success()))
    };
    let name = at.file_name().unwrap().to_str().unwrap();
    let target = if name.ends_with(".json") && name != "config.json" { "other.json" } else { name };
    match kind {
        "absolute link" => symlink(outside.path(target), at)?,
        "relative link" => {
            let up: PathBuf = at.components().skip(2).map(|_| "..").collect();
            symlink(up.join(outside.path(target).trim_start_matches('/')), at)?;
        }
        "link by a folder" => {
            symlink(outside.0.path(), at.with_file_name("inner"))?;
            symlink(format!("inner/{target}"), at)?;
        }
        "link to itself" => symlink(name, at)?,
        "loop" => {
            symlink("there", at)?;
            symlink(name, at.with_file_name("there"))?;
        }
        "dangling link" => symlink("nowhere", at)?,
        "link to a folder" => symlink(outside.0.path(), at)?,
        "link to a device" => symlink("/dev/zero", at)?,
        "link to a process" => symlink("/proc/self/environ", at)?,
        "link to standard input" => symlink("/dev/stdin", at)?,
        "folder" => fs::create_dir(at)?,
        "socket" => drop(UnixListener::bind(at)?),
        "pipe" => return run("mkfifo", &[]),
        "device" => return run("mknod", &["c", "1", "5"]),
        "disk" => return run("mknod", &["b", "7", "250"]),
        "terminal" => return run("mknod", &["c", "5", "0"]),
        other => panic!("{other}"),
    }
    Ok(true)
}

#[test]
fn files_that_are_none_lead_nowhere() {
    if !can_watch() {
        return;
    }
    let kinds = [
        "absolute link",
        "relative link",
        "link by a folder",
        "link to itself",
        "loop",
        "dangling link",
        "link to a folder",
        "link to a device",
        "link to a process",
        "link to standard input",
        "folder",
        "socket",
        "pipe",
        "device",
        "disk",
        "terminal",
    ];
    let (outside, model) = (Outside::new(), Model::read("dense-gptq-desc-act"));

    for name in
        ["config.json", "model.safetensors", "generation_config.json", "model.safetensors.index.json", "tokenizer.json"]
    {
        for kind in kinds {
            let dir = model.write();
            // What is asked for on the command line is no part of the model.
            let messages = dir.path().join("messages.json");
            fs::write(&messages, r#"[{"role": "user", "content": "x"}]"#).unwrap();
            let at = dir.path().join(name);
            let _ = fs::remove_file(&at);
            if !lay(kind, &at, &outside).unwrap() {
                println!("skipped: no {kind} can be made here");
                continue;
            }
            let messages = messages.display().to_string();
            let command =
                if name == "tokenizer.json" { vec!["prompt", "--messages", &messages] } else { vec!["inspect"] };
            expect_inside(&format!("{name}: {kind}"), &command, dir.path(), &[3]);
        }
    }
}
