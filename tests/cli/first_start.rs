//! First starts that are interrupted or killed, several at once, and whatever may stand in the cache folder.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};

use crate::doctor::{cache, record_path, two_tokens};
use crate::not_run::not_run;
use crate::process::{Run, finish, here, wait};

/// Two tokens of the model with the fewest kernels: each start compiles its own.
fn start_command(home: &Path) -> Command {
    two_tokens(here("tests/golden/dense-gptq-desc-act").to_str().unwrap(), home, &[])
}

fn start(home: &Path) -> Child {
    start_command(home).spawn().unwrap()
}

fn generate(home: &Path) -> Run {
    finish(start(home))
}

/// How often "first start", "waiting" and "unchecked" are said.
fn said(err: &str) -> [usize; 3] {
    let lines = |what: &str| err.lines().filter(|line| line.contains(what)).count();
    [lines("first start on \""), lines("waiting for the checks of another start on \""), lines(" is used unchecked")]
}

/// A first start in which a check is under way; `None` where it came to its end too soon.
fn in_the_middle(home: &Path, journal: &Path) -> Option<Child> {
    let mut child = start(home);
    while child.try_wait().unwrap().is_none() {
        if fs::read_to_string(journal).is_ok_and(|text| text.contains("+ ")) {
            return Some(child);
        }
        thread::sleep(Duration::from_millis(1));
    }
    None
}

/// Sends `signal` to a first start in the middle of its checks.
fn interrupt(home: &Path, journal: &Path, signal: Signal) {
    for _ in 0..20 {
        if let Some(mut child) = in_the_middle(home, journal) {
            kill(Pid::from_raw(child.id() as i32), signal).unwrap();
            let status = child.wait().unwrap();
            if status.signal() == Some(signal as i32) {
                return;
            }
        }
        fs::remove_dir_all(cache(home)).unwrap(); // It was too fast: again.
    }
    panic!("no first start was still checking at {signal}");
}

/// Signals that ask for the end leave nothing behind; one that nobody can catch leaves a suspicion, and the next start checks.
#[test]
fn an_interrupted_first_start_is_no_failed_check() {
    let home = tempfile::tempdir().unwrap();
    let journal = record_path(home.path()).with_extension("begun");
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT] {
        interrupt(home.path(), &journal, signal);
        assert!(!journal.exists(), "{signal}");
    }
    interrupt(home.path(), &journal, Signal::SIGKILL);
    let text = fs::read_to_string(&journal).unwrap();
    interrupt(home.path(), &journal, Signal::SIGTERM);
    assert_eq!(fs::read_to_string(&journal).unwrap(), text, "what the killed one noted, and no more");
    let first = generate(home.path());
    assert_eq!(said(&first.err), [1, 0, 0], "{}", first.err);
    assert!(first.err.contains(" all passed") && !journal.exists(), "{}", first.err);
    let second = generate(home.path());
    assert_eq!(said(&second.err), [0; 3], "{}", second.err);
    assert_eq!(first.ok(), second.ok());
}

/// One of them checks, the others wait for it and know what it knows.
#[test]
fn first_starts_at_once_agree() {
    for count in [2, 8] {
        let home = tempfile::tempdir().unwrap();
        let children: Vec<Child> = (0..count).map(|_| start(home.path())).collect();
        let runs: Vec<Run> = children.into_iter().map(finish).collect();
        let sums = runs.iter().map(|run| said(&run.err)).fold([0; 3], |sum, said| [0, 1, 2].map(|i| sum[i] + said[i]));
        let all: Vec<&str> = runs.iter().map(|run| run.err.as_str()).collect();
        assert!(sums[0] == 1 && sums[1] < count && sums[2] == 0, "{all:#?}");
        let mut texts: Vec<String> = runs.into_iter().map(Run::ok).collect();
        texts.dedup();
        assert_eq!(texts.len(), 1, "{texts:?}");
        let names: Vec<_> = fs::read_dir(cache(home.path())).unwrap().map(|entry| entry.unwrap().path()).collect();
        let is_left = |path: &&std::path::PathBuf| path.extension().is_some_and(|end| end == "part" || end == "begun");
        assert_eq!(names.iter().find(is_left), None);
    }
}

/// Whoever waits takes over from one that dies.
#[test]
fn a_start_that_dies_gives_its_turn_to_the_next() {
    let home = tempfile::tempdir().unwrap();
    let journal = record_path(home.path()).with_extension("begun");
    let mut owner = in_the_middle(home.path(), &journal).expect("checks take longer than to see that they began");
    // It stands still, so that it is not through before the other one waits.
    let send = |signal| kill(Pid::from_raw(owner.id() as i32), signal).unwrap();
    send(Signal::SIGSTOP);
    let wait_for_it = || {
        let mut next = start(home.path());
        let mut lines = BufReader::new(next.stderr.take().unwrap()).lines().map(Result::unwrap);
        let line = lines.find(|line| line.contains("waiting for the checks")).unwrap();
        assert_eq!(said(&line), [0, 1, 0]);
        (next, lines)
    };
    // Who waits obeys signals, and notes nothing.
    let (mut impatient, _) = wait_for_it();
    kill(Pid::from_raw(impatient.id() as i32), Signal::SIGINT).unwrap();
    assert_eq!(impatient.wait().unwrap().signal(), Some(Signal::SIGINT as i32));
    let (mut next, lines) = wait_for_it();
    send(Signal::SIGKILL);
    owner.wait().unwrap();
    let rest: Vec<String> = lines.collect();
    assert_eq!(said(&rest.join("\n")), [1, 0, 0], "{rest:?}");
    assert_eq!(wait(&mut next), Some(0));
    assert!(!journal.exists());
}

/// Puts something that is no file of ours at `path`.
type Put = fn(&Path);

/// What may stand in the place of each file of the cache folder; whether what is written there afterwards replaces it.
const OTHERS: &[(&str, bool, Put)] = &[
    ("a pipe", true, |path| mkfifo(path, Mode::S_IRWXU).unwrap()),
    ("a folder", false, |path| fs::create_dir(path).unwrap()),
    ("a loop of links", true, |path| symlink(path, path).unwrap()),
    ("a link to a device", true, |path| symlink("/dev/zero", path).unwrap()),
    ("a link to a pipe", true, |path| {
        mkfifo(&path.with_extension("other"), Mode::S_IRWXU).ok();
        symlink(path.with_extension("other"), path).unwrap();
    }),
    ("a huge file", true, |path| fs::File::create(path).unwrap().set_len(1 << 40).unwrap()),
    ("nothing but zeros", true, |path| fs::write(path, [0; 5000]).unwrap()),
];

/// Nobody waits for what never comes, and nothing that is there is needed.
#[test]
fn whatever_stands_in_the_cache_folder_does_no_harm() {
    let home = tempfile::tempdir().unwrap();
    let first = generate(home.path()).ok();
    let record = record_path(home.path());
    let mut paths: Vec<_> = fs::read_dir(cache(home.path())).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.push(record.with_extension("begun"));
    assert!(paths.contains(&record) && paths.contains(&record.with_extension("lock")), "{paths:?}");
    for (what, gives_way, put) in OTHERS {
        fs::remove_dir_all(cache(home.path())).unwrap();
        fs::create_dir(cache(home.path())).unwrap();
        paths.iter().for_each(|path| put(path));
        let run = generate(home.path());
        assert_eq!(said(&run.err), [1, 0, 0], "{what}: {}", run.err);
        assert_eq!(run.ok(), first, "{what}");
        assert_eq!(record.is_file(), *gives_way, "{what}");
    }
    // No folder.
    fs::remove_dir_all(cache(home.path())).unwrap();
    fs::write(cache(home.path()), "").unwrap();
    let run = generate(home.path());
    assert_eq!(said(&run.err), [1, 0, 0], "{}", run.err);
    assert_eq!(run.ok(), first);
}

/// Two starts at once on a disk that is full, which goes with the process.
const ON_A_FULL_DISK: &str = r#"
mount -t tmpfs -o size=4k tmpfs "$1" && head -c 4096 /dev/zero > "$1/full" || exit 77
shift
for i in 1 2; do "$@" < /dev/null & children="$children $!"; done
for child in $children; do wait "$child" || exit 1; done
"#;

/// Where nothing can be written each start checks, and nobody says that checks failed.
#[test]
fn a_full_disk_does_no_harm() {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir_all(cache(home.path())).unwrap();
    let may = |how: &str| Command::new("unshare").args([how, "true"]).output().is_ok_and(|out| out.status.success());
    let Some(how) = ["-m", "-rm"].into_iter().find(|how| may(how)) else {
        return not_run("it needs unshare and the right to use it");
    };
    let generate = start_command(home.path());
    let mut all = Command::new("unshare");
    all.args([how, "sh", "-c", ON_A_FULL_DISK, "sh"]).arg(cache(home.path()));
    all.arg(generate.get_program()).args(generate.get_args());
    for (name, value) in generate.get_envs() {
        match value {
            Some(value) => all.env(name, value),
            None => all.env_remove(name),
        };
    }
    let run = finish(all.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    if run.code == Some(77) {
        return not_run(&format!("no full disk can be made: {}", run.err.trim()));
    }
    let [first, _, unchecked] = said(&run.err);
    assert_eq!((run.code, first, unchecked), (Some(0), 2, 0), "{}", run.err);
}
