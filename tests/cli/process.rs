//! Running the binary, and what it is compared with.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// No command takes that long, also on a slow machine.
const LIMIT: Duration = Duration::from_secs(240);

/// A finished run.
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// The command, with pipes for everything.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lapidary"));
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.env_remove("RUST_LOG").env_remove("NODEVICE_SELECT");
    // Nothing is left in the folders of whoever runs the tests.
    command.env("LAPIDARY_NO_CACHE", "1");
    command
}

/// Runs with nothing on stdin.
pub(crate) fn run(arguments: &[&str]) -> Run {
    run_with(arguments, "")
}

/// Runs with `input` on stdin. Nothing here is a terminal: there must be no escape codes.
pub(crate) fn run_with(arguments: &[&str], input: &str) -> Run {
    let mut child = command(arguments).spawn().unwrap();
    let (mut stdin, input) = (child.stdin.take().unwrap(), input.to_owned());
    // Who refuses its arguments does not read its input.
    thread::spawn(move || stdin.write_all(input.as_bytes()).ok());
    finish(child)
}

/// What becomes of a child.
pub(crate) fn finish(mut child: Child) -> Run {
    drop(child.stdin.take());
    let (out, err) = (collect(child.stdout.take().unwrap()), collect(child.stderr.take().unwrap()));
    let code = wait(&mut child);
    let run = Run { code, out: out.join().unwrap(), err: err.join().unwrap() };
    assert!(!run.out.contains('\x1b') && !run.err.contains('\x1b'), "escape codes: {:?} {:?}", run.out, run.err);
    assert!(!run.err.contains("panicked"), "{}", run.err);
    run
}

/// The exit code, or `None` after a signal.
pub(crate) fn wait(child: &mut Child) -> Option<i32> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        if start.elapsed() > LIMIT {
            child.kill().unwrap();
            panic!("still running after {LIMIT:?}");
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Reads to the end in a thread.
pub(crate) fn collect(mut from: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).ok();
        String::from_utf8(bytes).expect("output is UTF-8")
    })
}

impl Run {
    /// Standard output of a run that must have gone well.
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{}", self.err);
        self.out
    }

    /// As [`Run::ok`], as JSON.
    pub(crate) fn json(self) -> Value {
        let out = self.ok();
        assert_eq!(out.lines().count(), 1, "{out}");
        serde_json::from_str(&out).unwrap()
    }
}

/// A case of the demo model's golden chats.
pub(crate) fn golden(name: &str) -> Value {
    golden_cases().into_iter().find(|case| case["name"] == name).unwrap()
}

/// All of them.
pub(crate) fn golden_cases() -> Vec<Value> {
    let bytes = std::fs::read(here("examples/demo-model/golden.json")).unwrap();
    let golden: Value = serde_json::from_slice(&bytes).unwrap();
    golden["cases"].as_array().unwrap().clone()
}

/// The greedy answer without the token that ends it.
pub(crate) fn golden_text(case: &Value) -> &str {
    let text = case["greedy_text"].as_str().unwrap();
    text.strip_suffix("<turn|>").unwrap_or(text)
}

/// The case's ids under `key` as `--ids` takes them.
pub(crate) fn id_list(case: &Value, key: &str) -> String {
    let ids: Vec<String> = case[key].as_array().unwrap().iter().map(Value::to_string).collect();
    ids.join(",")
}

/// The case as a file for `--messages`.
pub(crate) fn messages(case: &Value, folder: &Path) -> String {
    let mut file = serde_json::Map::new();
    for key in ["messages", "tools", "enable_thinking"] {
        if let Some(value) = case.get(key) {
            file.insert(key.to_owned(), value.clone());
        }
    }
    let path = folder.join("messages.json");
    std::fs::write(&path, Value::Object(file).to_string()).unwrap();
    path.to_str().unwrap().to_owned()
}

/// A path of the repository.
pub(crate) fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A checkpoint without a tokenizer.
pub(crate) fn bare_model() -> String {
    here("tests/golden/moe-autoround-sym").to_str().unwrap().to_owned()
}
