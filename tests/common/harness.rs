//! One harness for hostile input: the real binary in a child process with bounds on its address space and its processor
//! time, and what must be so of every end: exit code, standard output, standard error.
//!
//! A [`Kind`] is a command with its valid input, which is measured once a run; every other input of the kind gets a fixed
//! amount more. Bounds need Linux; elsewhere code and text are looked at. Each test says at its end how many cases it ran
//! and the worst of them; `LAPIDARY_HARNESS_REPORT` names a file that gets the same as lines of a table.
#![allow(dead_code, reason = "each test binary uses its own part")]

#[path = "harness_measure.rs"]
pub(crate) mod measure;
#[path = "harness_report.rs"]
pub(crate) mod report;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{LazyLock, OnceLock};
use std::thread;
use std::time::Duration;

use measure::{Spent, watched};

/// Address space above what the valid input takes.
const SPACE: u64 = 512 << 20;
/// And so much more where an adapter is opened: drivers and their compilers map what they like.
const SPACE_OF_ADAPTERS: u64 = 1 << 30;
/// Processor time above what the valid input takes. Without optimization, everything takes many times as long.
pub(crate) static TIME: LazyLock<Duration> =
    LazyLock::new(|| Duration::from_secs(if cfg!(debug_assertions) && OTHER.is_none() { 12 } else { 1 }));
/// And so much more where an adapter is opened: a driver compiles what it has not kept from an earlier run.
const TIME_OF_ADAPTERS: Duration = Duration::from_secs(5);
/// `LAPIDARY` names another binary than this build's, an optimized one, as it does for the scripts of known faults.
static OTHER: LazyLock<Option<OsString>> = LazyLock::new(|| std::env::var_os("LAPIDARY"));
/// A case over its time is tried so often: on a machine with other work, time is also spent waiting for caches.
const TRIES: usize = 3;
/// More than this on standard error is no message.
const MOST_ERR: usize = 16 << 10;
/// More than this of an output is counted, not kept.
const MOST_KEPT: usize = 64 << 20;

/// What standard input is.
#[derive(Clone, Default)]
pub(crate) enum Input {
    #[default]
    Nothing,
    Bytes(Vec<u8>),
    /// A file, a device, a pipe.
    File(PathBuf),
}

/// One start of the program.
#[derive(Clone, Default)]
pub(crate) struct Call {
    pub(crate) arguments: Vec<OsString>,
    pub(crate) input: Input,
    /// Variables beside the usual ones.
    pub(crate) env: Vec<(&'static str, OsString)>,
    /// Usual variables that it goes without.
    pub(crate) unset: Vec<&'static str>,
    /// Instead of lapidary, for the test of the harness.
    pub(crate) program: Option<&'static str>,
}

impl Call {
    pub(crate) fn new<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Self {
        let arguments = arguments.into_iter().map(|argument| argument.as_ref().to_owned()).collect();
        Call { arguments, ..Call::default() }
    }

    pub(crate) fn with(mut self, input: Input) -> Self {
        self.input = input;
        self
    }

    pub(crate) fn env(mut self, name: &'static str, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name, value.as_ref().to_owned()));
        self
    }

    /// `inspect` of a folder.
    pub(crate) fn inspect(model: &Path) -> Self {
        Call::new([OsStr::new("inspect"), OsStr::new("--model"), model.as_os_str()])
    }

    /// `prompt` of a folder's tokenizer and template for `messages` on standard input, as ids.
    pub(crate) fn ids(model: &Path, messages: &str) -> Self {
        let mut call = Call::prompt(model, messages);
        call.arguments.push("--ids".into());
        call
    }

    /// As [`Call::ids`], as text: nothing is tokenized.
    pub(crate) fn prompt(model: &Path, messages: &str) -> Self {
        let arguments =
            [OsStr::new("prompt"), "--model".as_ref(), model.as_os_str(), "--messages".as_ref(), "-".as_ref()];
        Call::new(arguments).with(Input::Bytes(messages.as_bytes().to_vec()))
    }

    /// Two greedy tokens behind three given ones: the shortest run of a model.
    pub(crate) fn generate(model: &Path) -> Self {
        let rest = ["--ids", "2,5,6", "--max-tokens", "2", "--temperature", "0"].map(OsStr::new);
        Call::new([OsStr::new("generate"), OsStr::new("--model"), model.as_os_str()].into_iter().chain(rest))
    }

    fn command(&self, limits: Option<&Limits>) -> Command {
        let own = OTHER.as_deref().unwrap_or(OsStr::new(env!("CARGO_BIN_EXE_lapidary")));
        let program = self.program.map_or(own, OsStr::new);
        let mut command = match limits {
            // A shell has what std has not: limits for the process that it turns into.
            Some(limits) if cfg!(target_os = "linux") => {
                let script = "ulimit -c 0 && ulimit -v \"$1\" && ulimit -t \"$2\" || exit 99; shift 2; exec \"$@\"";
                let mut command = Command::new("sh");
                command.args(["-c", script, "sh"]).arg((limits.space >> 10).to_string());
                command.arg((limits.time.as_secs() + 2).to_string()).arg(program);
                command
            }
            _ => Command::new(program),
        };
        command.args(&self.arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.stdin(match &self.input {
            Input::Nothing => Stdio::null(),
            Input::Bytes(_) => Stdio::piped(),
            Input::File(path) => Stdio::from(File::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))),
        });
        command.env_remove("RUST_LOG").env_remove("NODEVICE_SELECT").env("LAPIDARY_NO_CACHE", "1");
        // What must not be shown is shown where there is something to be seen.
        command.env("RUST_BACKTRACE", "1").envs(self.env.iter().map(|(name, value)| (name, value)));
        for name in &self.unset {
            command.env_remove(name);
        }
        command
    }

    /// Runs it to its end.
    pub(crate) fn run(&self, limits: Option<&Limits>) -> Ended {
        finish(self.spawn(limits))
    }

    /// Starts it, for [`finish`].
    pub(crate) fn spawn(&self, limits: Option<&Limits>) -> Child {
        let mut child = self.command(limits).spawn().unwrap();
        if let (Some(mut stdin), Input::Bytes(bytes)) = (child.stdin.take(), &self.input) {
            let bytes = bytes.clone();
            // Who refuses its arguments does not read its input.
            thread::spawn(move || stdin.write_all(&bytes).ok());
        }
        child
    }
}

/// Waits for the end of a child whose outputs are pipes.
pub(crate) fn finish(mut child: Child) -> Ended {
    let (out, err) = (collect(child.stdout.take()), collect(child.stderr.take()));
    let (status, spent) = watched(&mut child);
    let (out, err) = (out.join().unwrap(), err.join().unwrap());
    Ended { code: status.code(), status: status.to_string(), out: out.0, err: err.0, err_bytes: err.1, spent }
}

/// Reads to the end in a thread; what is kept, and how much it was.
fn collect(from: Option<impl Read + Send + 'static>) -> thread::JoinHandle<(Vec<u8>, usize)> {
    thread::spawn(move || {
        let (mut kept, mut count, mut buffer) = (Vec::new(), 0, vec![0; 1 << 16]);
        let Some(mut from) = from else { return (kept, count) };
        while let Ok(n @ 1..) = from.read(&mut buffer) {
            count += n;
            kept.extend_from_slice(&buffer[..n.min(MOST_KEPT.saturating_sub(kept.len()))]);
        }
        (kept, count)
    })
}

/// What a case may take.
pub(crate) struct Limits {
    pub(crate) space: u64,
    pub(crate) time: Duration,
}

/// How a start ended.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    status: String,
    pub(crate) out: Vec<u8>,
    pub(crate) err: Vec<u8>,
    err_bytes: usize,
    pub(crate) spent: Spent,
}

impl Ended {
    /// All that is wrong with this end, whatever the input was.
    pub(crate) fn faults(&self, limits: &Limits) -> Vec<String> {
        let mut faults = Vec::new();
        match self.code {
            Some(0) => {}
            Some(2 | 3) => {
                if !self.out.is_empty() {
                    let start = String::from_utf8_lossy(&self.out[..self.out.len().min(200)]);
                    faults.push(format!("it failed, and standard output has {} bytes: {start:?}", self.out.len()));
                }
                if !self.text().lines().any(|line| line.starts_with("error: ")) {
                    faults.push("it failed without a line that begins with \"error: \"".to_owned());
                }
            }
            _ => faults.push(format!("it ended with {}, expected exit code 0, 2 or 3", self.status)),
        }
        if self.err_bytes > MOST_ERR {
            faults.push(format!("standard error has {} bytes, expected at most {MOST_ERR}", self.err_bytes));
        }
        faults.extend(unclean("standard error", &self.err));
        for word in ["panicked at", "stack backtrace", "RUST_BACKTRACE", "overflowed its stack", "memory allocation of"]
        {
            if self.text().contains(word) {
                faults.push(format!("standard error says {word:?}"));
            }
        }
        if self.spent.time > limits.time {
            faults.push(format!("it took {:?} of processor time, expected at most {:?}", self.spent.time, limits.time));
        }
        faults
    }

    /// Standard error as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.err).into_owned()
    }
}

/// Lines of text, and nothing in them that steers a terminal or turns the direction of writing.
pub(crate) fn unclean(what: &str, bytes: &[u8]) -> Option<String> {
    let Ok(text) = std::str::from_utf8(bytes) else { return Some(format!("{what} is not UTF-8")) };
    let steers = |c: char| {
        (c.is_control() && c != '\n')
            || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
            || matches!(c, '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
    };
    let bad = text.chars().find(|&c| steers(c))?;
    Some(format!("{what} holds U+{:04X}", u32::from(bad)))
}

/// A command, and what it takes with valid input.
pub(crate) struct Kind {
    name: &'static str,
    opens_adapter: bool,
    valid: fn() -> Call,
    limits: OnceLock<Limits>,
}

/// Kinds of commands that hostile input comes to.
pub(crate) static INSPECT: Kind =
    Kind::new("inspect", false, || Call::inspect(&here("tests/golden/moe-gptq-desc-act")));
pub(crate) static PROMPT: Kind = Kind::new("prompt", false, || Call::prompt(&demo(), HELLO));
pub(crate) static IDS: Kind = Kind::new("prompt --ids", false, || Call::ids(&demo(), HELLO));
pub(crate) static GENERATE: Kind =
    Kind::new("generate", true, || Call::generate(&here("tests/golden/dense-gptq-desc-act")));
pub(crate) static CHAT: Kind = Kind::new("generate --messages", true, || {
    let rest = ["generate", "--messages", "-", "--max-tokens", "2", "--temperature", "0"];
    Call::new(rest).with(Input::Bytes(HELLO.as_bytes().to_vec()))
});

/// The shortest conversation.
pub(crate) const HELLO: &str = r#"[{"role":"user","content":"What does Vec::push do?"}]"#;

impl Kind {
    pub(crate) const fn new(name: &'static str, opens_adapter: bool, valid: fn() -> Call) -> Self {
        Kind { name, opens_adapter, valid, limits: OnceLock::new() }
    }

    /// What a case of this kind may take. The valid input is run at the first call; it must end well.
    pub(crate) fn limits(&self) -> &Limits {
        self.limits.get_or_init(|| {
            let runs: Vec<Ended> = (0..TRIES).map(|_| (self.valid)().run(None)).collect();
            for run in &runs {
                assert_eq!(run.code, Some(0), "{} with valid input: {}: {}", self.name, run.status, run.text());
            }
            let space = runs.iter().map(|run| run.spent.space).max().unwrap_or(0);
            let time = runs.iter().map(|run| run.spent.time).max().unwrap_or_default();
            let (more, longer) = match self.opens_adapter {
                true => (SPACE_OF_ADAPTERS, TIME_OF_ADAPTERS),
                false => (0, Duration::ZERO),
            };
            report::valid(self.name, space, time);
            Limits { space: space + SPACE + more, time: time + *TIME + longer }
        })
    }

    /// Runs a case: whatever the input is, it must end in order.
    #[track_caller]
    pub(crate) fn ends(&self, what: &str, call: &Call) -> Ended {
        let limits = self.limits();
        let mut ended = call.run(Some(limits));
        for _ in 1..TRIES {
            // Far beyond it is no matter of the machine's load.
            if ended.spent.time <= limits.time || ended.spent.time > limits.time * 2 {
                break;
            }
            ended = call.run(Some(limits));
        }
        self.judge(what, &ended);
        ended
    }

    /// Counts a case that ended, and fails where it did not end in order.
    #[track_caller]
    pub(crate) fn judge(&self, what: &str, ended: &Ended) {
        report::case(self.name, what, &ended.spent);
        let faults = ended.faults(self.limits());
        let text = ended.text();
        let shown: String = text.chars().take(600).collect();
        assert!(faults.is_empty(), "{}: {what}: {}\nstandard error: {shown:?}", self.name, faults.join("; "));
    }

    /// Runs a case that must end with `code` and an error that holds all of `needles`.
    #[track_caller]
    pub(crate) fn refuses(&self, what: &str, call: &Call, code: i32, needles: &[&str]) -> String {
        let ended = self.ends(what, call);
        let text = ended.text();
        assert_eq!(ended.code, Some(code), "{}: {what}: {text}", self.name);
        for needle in needles {
            assert!(text.contains(needle), "{}: {what}: expected {needle:?} in: {text}", self.name);
        }
        text
    }

    /// Runs a case that is nothing bad; what it printed.
    #[track_caller]
    pub(crate) fn accepts(&self, what: &str, call: &Call) -> String {
        let ended = self.ends(what, call);
        assert_eq!(ended.code, Some(0), "{}: {what}: {}", self.name, ended.text());
        String::from_utf8(ended.out).unwrap_or_else(|_| panic!("{what}: standard output is not UTF-8"))
    }
}

/// Cases that fail are told together: one that is wrong hides none behind it.
#[derive(Default)]
pub(crate) struct Failures(Vec<String>);

impl Failures {
    /// Runs a case, which may panic.
    pub(crate) fn case<T>(&mut self, case: impl FnOnce() -> T) -> Option<T> {
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(case));
        let panic = match result {
            Ok(value) => return Some(value),
            Err(panic) => panic,
        };
        let text = panic.downcast_ref::<String>().cloned();
        self.0.push(text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default());
        None
    }

    #[track_caller]
    pub(crate) fn done(self) {
        let short = self.0.iter().map(|text| text.chars().take(300).collect::<String>().replace('\n', " "));
        assert!(self.0.is_empty(), "{} cases failed:\n{}", self.0.len(), short.collect::<Vec<_>>().join("\n"));
    }
}

/// A path of the repository.
pub(crate) fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The demo model's folder.
pub(crate) fn demo() -> PathBuf {
    here("examples/demo-model")
}

/// A new folder with the demo's tokenizer and template.
pub(crate) fn text_folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"] {
        std::fs::copy(demo().join(name), dir.path().join(name)).unwrap();
    }
    dir
}
