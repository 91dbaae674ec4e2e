//! Whose turn it is to run the checks of a first start, and which check has ended starts before.
//!
//! Two files stand beside the record. `.lock` is locked by the start that runs the checks, and the system unlocks it when the
//! process ends, however it ends. `.begun` is a journal, in which each check is noted when it begins and when it has ended.
//!
//! The rule:
//! - Whoever has the lock runs the checks. Other starts wait, read the record that comes of them, and take the lock where none
//!   comes.
//! - A start that goes on or ends in order takes back what it wrote into the journal: when the checks are through, when they
//!   cannot run, and at a signal that asks it to end ([`withdraw`]).
//! - So what is left in the journal is of starts that were ended in the middle of it: by the driver, or by SIGKILL, for want of
//!   memory, by a power failure. Nobody can tell these apart. All checks that were under way then are under suspicion, and
//!   the next start runs one at a time.
//! - A check under which [`ENOUGH`] starts have ended is not begun again by itself: the adapter is used unchecked and the check
//!   is named, until `lapidary doctor` has run.
//! - Where there is no folder to write to, or no locks, each start runs the checks and none leaves a trace.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, TryLockError as Busy, Weak};
use std::thread;
use std::time::{Duration, SystemTime};

use web_time::Instant;

use super::checks::CHECKS;
use super::examine::{PHASES, Stage};
use crate::{kept, threads};

/// So many starts have to end under a check.
pub(super) const ENOUGH: usize = 2;
/// Larger journals are not ours.
const MAX_BYTES: u64 = 1 << 20;
/// How often a start that waits looks again.
const LOOK: Duration = Duration::from_millis(20);

/// The line that begins a start's part of the journal.
const START: &str = "start";

/// The right to run the checks, for as long as it lives.
#[derive(Debug)]
pub(super) struct Turn {
    /// Locked.
    _lock: File,
    journal: PathBuf,
    /// Starts that have ended under a check.
    ended: BTreeMap<String, usize>,
}

/// What comes of asking for a [`Turn`].
pub(super) enum Asked<T> {
    /// It is ours.
    Turn(Turn),
    /// Another start has answered meanwhile.
    Answer(T),
    /// There is no taking turns: no folder to write to, no locks, or another start that does not get on.
    Alone,
}

/// What changes in a journal while a start gets on.
#[derive(PartialEq)]
struct Trace {
    bytes: u64,
    modified: Option<SystemTime>,
}

/// A check under which starts have ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fatal<'t> {
    pub(super) check: &'t str,
    /// How many have.
    pub(super) count: usize,
}

impl Turn {
    /// Waits for the turn of the record at `path`, or for what `answer` finds. `wait` is called once if there is somebody to
    /// wait for, and nobody who does not get on for `patience` is waited for.
    pub(super) fn ask<T>(path: &Path, patience: Duration, answer: &dyn Fn() -> Option<T>, wait: &dyn Fn()) -> Asked<T> {
        let (mut is_waiting, mut moved, mut trace) = (false, Instant::now(), None);
        loop {
            // The lock first: who has it writes the record before giving it up.
            let turn = Self::take(path);
            if let Some(answer) = answer() {
                return Asked::Answer(answer);
            }
            match turn {
                Ok(Some(turn)) => return Asked::Turn(turn),
                Err(error) => {
                    log::info!("{}: {error}: starts take no turns", path.with_extension("lock").display());
                    return Asked::Alone;
                }
                Ok(None) => {}
            }
            if !std::mem::replace(&mut is_waiting, true) {
                wait();
            }
            let now = Self::trace(path);
            if now != trace {
                (trace, moved) = (now, Instant::now());
            }
            if moved.elapsed() >= patience {
                return Asked::Alone;
            }
            threads::sleep(LOOK);
        }
    }

    /// The turn, or `None` where another start has it.
    fn take(path: &Path) -> io::Result<Option<Turn>> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        // Windows locks no file that is open for nothing but appending.
        let lock = kept::open(&path.with_extension("lock"), OpenOptions::new().read(true).append(true).create(true))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let journal = path.with_extension("begun");
        // What cannot be read says nothing; where it cannot be written either, `begin` says so.
        let text = kept::read(&journal, MAX_BYTES).ok().flatten().unwrap_or_default();
        Ok(Some(Turn { _lock: lock, journal, ended: ended(&String::from_utf8_lossy(&text)) }))
    }

    /// What changes while another start gets on with its checks.
    fn trace(path: &Path) -> Option<Trace> {
        let metadata = fs::metadata(path.with_extension("begun")).ok()?;
        Some(Trace { bytes: metadata.len(), modified: metadata.modified().ok() })
    }

    /// The check under which most starts have ended, where these are enough.
    pub(super) fn fatal_check(&self) -> Option<Fatal<'_>> {
        let most = self.ended.iter().max_by_key(|(_, count)| **count)?;
        let (check, &count) = most;
        (count >= ENOUGH).then_some(Fatal { check, count })
    }

    /// Whether a start has ended in the middle of checks.
    pub(super) fn has_suspects(&self) -> bool {
        !self.ended.is_empty()
    }

    /// Begins to note checks.
    ///
    /// # Errors
    /// What the system says where there is no writing.
    pub(super) fn begin(self) -> io::Result<Running> {
        let mut file = kept::open(&self.journal, OpenOptions::new().write(true).create(true).truncate(false))?;
        if !self.has_suspects() {
            file.set_len(0)?; // Nobody is under suspicion by what is there.
        }
        let before = file.seek(io::SeekFrom::End(0))?;
        let journal = Arc::new(Journal { path: self.journal.clone(), before, file: Mutex::new(None) });
        // It may be cut off in the middle of a line.
        let begun = file.write_all(format!("\n{START}\n").as_bytes());
        *journal.lock() = Some(file);
        if let Err(error) = begun {
            journal.take_back(&mut journal.lock());
            return Err(error);
        }
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|other| other.strong_count() > 0);
        open.push(Arc::downgrade(&journal));
        Ok(Running { journal, _turn: self })
    }
}

/// Starts that have ended under each check, by a journal.
fn ended(text: &str) -> BTreeMap<String, usize> {
    let is_ours = |name: &str| CHECKS.iter().any(|check| check.name == name) || PHASES.contains(&name);
    let (mut ended, mut under_way) = (BTreeMap::new(), BTreeSet::new());
    for line in text.lines().chain([START]) {
        match (line, line.split_once(' ')) {
            (START, _) => {
                for name in std::mem::take(&mut under_way) {
                    *ended.entry(name).or_insert(0) += 1;
                }
            }
            (_, Some(("+", name))) if is_ours(name) => drop(under_way.insert(name.to_owned())),
            (_, Some(("-", name))) => drop(under_way.remove(name)),
            _ => {}
        }
    }
    ended
}

/// Checks that are noted in the journal; what was noted is taken back when it is dropped.
#[derive(Debug)]
pub(super) struct Running {
    journal: Arc<Journal>,
    /// Given up last.
    _turn: Turn,
}

#[derive(Debug)]
struct Journal {
    path: PathBuf,
    /// Bytes of earlier starts.
    before: u64,
    /// `None` once it is taken back.
    file: Mutex<Option<File>>,
}

/// The journals that this process writes.
static OPEN: Mutex<Vec<Weak<Journal>>> = Mutex::new(Vec::new());

impl Running {
    /// Notes that a check begins, before it may end everything, or that it has ended.
    pub(super) fn note(&self, name: &str, stage: Stage) {
        let mut file = self.journal.lock();
        let Some(file) = &mut *file else { return };
        let sign = if stage == Stage::Begins { '+' } else { '-' };
        // In one piece, and past the system's memory: drivers can take the whole machine down.
        let noted = file.write_all(format!("{sign} {name}\n").as_bytes());
        let noted = noted.and_then(|()| if stage == Stage::Begins { file.sync_data() } else { Ok(()) });
        if let Err(error) = noted {
            log::info!("{}: {error}: \"{name}\" is not noted", self.journal.path.display());
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A panic ends the process in the middle of a check too.
        if !thread::panicking() {
            self.journal.take_back(&mut self.journal.lock());
        }
    }
}

impl Journal {
    fn lock(&self) -> std::sync::MutexGuard<'_, Option<File>> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves what earlier starts have noted.
    fn take_back(&self, file: &mut Option<File>) {
        let Some(file) = file.take() else { return };
        let done = if self.before == 0 {
            drop(file); // On some of Windows' file systems a file keeps its name for as long as somebody has it open.
            fs::remove_file(&self.path)
        } else {
            file.set_len(self.before)
        };
        if let Err(error) = done {
            log::info!("{}: {error}: it still says that checks have begun", self.path.display());
        }
    }
}

/// Forgets the checks that this process has begun: it is about to end, and not because of them. Does not wait for long.
pub fn withdraw() {
    let open: Vec<_> = OPEN.try_lock().map(|open| open.iter().filter_map(Weak::upgrade).collect()).unwrap_or_default();
    for journal in open {
        // A check may be writing.
        for _ in 0..50 {
            match journal.file.try_lock() {
                Ok(mut file) => {
                    journal.take_back(&mut file);
                    break;
                }
                Err(Busy::Poisoned(file)) => {
                    journal.take_back(&mut file.into_inner());
                    break;
                }
                Err(Busy::WouldBlock) => threads::sleep(Duration::from_millis(10)),
            }
        }
    }
}

/// Forgets what starts have noted for the record at `path`: all was checked since.
pub(super) fn forget(path: &Path) {
    fs::remove_file(path.with_extension("begun")).ok(); // It need not be there.
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    /// [`withdraw`] is of the whole process.
    static ONE_TEST: Mutex<()> = Mutex::new(());

    const LONG: Duration = Duration::from_secs(60);

    fn ask(path: &Path) -> Turn {
        match Turn::ask(path, LONG, &|| None::<()>, &|| panic!("nobody has it")) {
            Asked::Turn(turn) => turn,
            _ => panic!("no turn"),
        }
    }

    /// Ends as a process does that is killed: the lock is free, the journal stays.
    fn kill(running: Running) {
        *running.journal.lock() = None;
    }

    #[test]
    fn a_journal_is_counted() {
        let counts = |text: &str| ended(text).into_iter().collect::<Vec<_>>();
        assert_eq!(counts(""), []);
        assert_eq!(counts("start\n+ router\n- router\n+ rms_norm\n- rms_norm"), []);
        let twice = "start\n+ router\n+ rms_norm\n- router\nstart\n+ rms_norm\n\x00\n+ gelu_mul";
        assert_eq!(counts(twice), [("gelu_mul".into(), 1), ("rms_norm".into(), 2)]);
        // Names of ours alone: what is printed is none of the file's.
        assert_eq!(counts("+ \x1b[2J\n+ router\n- nothing\n+ rou\nstarts\n"), [("router".into(), 1)]);
        assert_eq!(counts("+ opening the device"), [("opening the device".into(), 1)]);
    }

    #[test]
    fn one_start_at_a_time_and_death_gives_the_turn_up() {
        let _one = ONE_TEST.lock().unwrap_or_else(PoisonError::into_inner);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cache/doctor.json");
        let running = ask(&path).begin().unwrap();
        running.note("router", Stage::Begins);
        assert!(matches!(Turn::take(&path), Ok(None)));
        // Nobody waits for ever for one that does not get on.
        assert!(matches!(Turn::ask(&path, Duration::ZERO, &|| None::<()>, &|| ()), Asked::Alone));
        let waits = Mutex::new(0);
        let answer = || (*waits.lock().unwrap() > 0).then_some(7);
        assert!(matches!(Turn::ask(&path, LONG, &answer, &|| *waits.lock().unwrap() += 1), Asked::Answer(7)));
        kill(running);
        let turn = ask(&path);
        assert_eq!((turn.has_suspects(), turn.fatal_check()), (true, None));
        let running = turn.begin().unwrap();
        running.note("rms_norm", Stage::Begins);
        running.note("rms_norm", Stage::Ended);
        running.note("router", Stage::Begins);
        kill(running);
        assert_eq!(ask(&path).fatal_check(), Some(Fatal { check: "router", count: 2 }));
        forget(&path);
        assert!(!ask(&path).has_suspects());
    }

    #[test]
    fn whoever_ends_in_order_takes_back_what_it_noted() {
        let _one = ONE_TEST.lock().unwrap_or_else(PoisonError::into_inner);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("doctor.json");
        let journal = path.with_extension("begun");
        drop(ask(&path).begin().unwrap());
        assert!(!journal.exists());
        let running = ask(&path).begin().unwrap();
        running.note("router", Stage::Begins);
        withdraw();
        assert!(!journal.exists());
        // What still runs until the signal takes effect.
        running.note("router", Stage::Ended);
        running.note("rms_norm", Stage::Begins);
        drop(running);
        assert!(!journal.exists());
        let running = ask(&path).begin().unwrap();
        running.note("router", Stage::Begins);
        kill(running);
        let text = fs::read_to_string(&journal).unwrap();
        let running = ask(&path).begin().unwrap();
        running.note("rms_norm", Stage::Begins);
        assert_ne!(fs::read_to_string(&journal).unwrap(), text);
        drop(running);
        assert_eq!(fs::read_to_string(&journal).unwrap(), text, "what others noted stays");
    }

    #[test]
    fn where_there_is_no_taking_turns_nobody_waits() {
        let dir = tempfile::tempdir().unwrap();
        let alone = |path: &Path| matches!(Turn::ask(path, LONG, &|| None::<()>, &|| ()), Asked::Alone);
        fs::write(dir.path().join("file"), "").unwrap();
        assert!(alone(&dir.path().join("file/doctor.json")));
        let path = dir.path().join("doctor.json");
        fs::create_dir(path.with_extension("lock")).unwrap();
        assert!(alone(&path));
        let path = dir.path().join("other.json");
        fs::create_dir(path.with_extension("begun")).unwrap();
        ask(&path).begin().unwrap_err();
        // Garbage and what is far too long are no journals.
        let path = dir.path().join("third.json");
        for bytes in [vec![0xff; 100], b"+ router\n".repeat(1 << 18)] {
            fs::write(path.with_extension("begun"), bytes).unwrap();
            let turn = ask(&path);
            assert!(!turn.has_suspects());
            turn.begin().unwrap();
            assert!(!path.with_extension("begun").exists());
        }
    }
}
