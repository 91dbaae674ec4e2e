//! The worst cases of each test, said at its end.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::time::Duration;

use super::measure::Spent;

/// The worst of a test's cases of one kind.
#[derive(Default)]
struct Worst {
    cases: usize,
    resident: (u64, String),
    time: (Duration, String),
}

/// What a test ran. Each test has a thread of its own, named as the test: at the thread's end, it is told.
#[derive(Default)]
struct Tally {
    kinds: BTreeMap<&'static str, Worst>,
    /// Cases that only a sample of went through a child process, and how many did.
    sampled: (usize, usize),
    test: String,
}

thread_local! {
    static TALLY: RefCell<Tally> = RefCell::default();
}

/// Counts a case.
pub(super) fn case(kind: &'static str, what: &str, spent: &Spent) {
    TALLY.with_borrow_mut(|tally| {
        name(tally);
        let worst = tally.kinds.entry(kind).or_default();
        let what: String = what.chars().take(60).flat_map(char::escape_debug).collect();
        worst.cases += 1;
        if spent.resident >= worst.resident.0 {
            worst.resident = (spent.resident, what.clone());
        }
        if spent.time >= worst.time.0 {
            worst.time = (spent.time, what);
        }
    });
}

/// What the valid input of a kind took.
pub(super) fn valid(kind: &str, space: u64, time: Duration) {
    say(&format!("{kind}: valid input takes {:.2} s and {} MiB of address space", time.as_secs_f64(), space >> 20));
}

/// Whether one more case of many that are alike is run: the first `all` of a test are, and of the rest those that `draw` picks.
pub(crate) fn is_run(all: usize, draw: impl FnOnce() -> bool) -> bool {
    TALLY.with_borrow_mut(|tally| {
        name(tally);
        let run = tally.sampled.0 < all || draw();
        tally.sampled.0 += 1;
        tally.sampled.1 += usize::from(run);
        run
    })
}

fn name(tally: &mut Tally) {
    if tally.test.is_empty() {
        tally.test = std::thread::current().name().unwrap_or("a thread").to_owned();
    }
}

/// Past the test runner's capture: figures are always said.
fn say(line: &str) {
    std::io::stderr().write_all(format!("harness: {line}\n").as_bytes()).ok();
}

impl Drop for Tally {
    fn drop(&mut self) {
        let mut table = String::new();
        for (kind, Worst { cases, resident, time }) in &self.kinds {
            let (mib, seconds) = (resident.0 >> 20, time.0.as_secs_f64());
            let figures = format!("worst {mib} MiB ({}), worst {seconds:.2} s ({})", resident.1, time.1);
            say(&format!("{}: {kind}: {cases} cases, {figures}", self.test));
            let row = [
                &self.test,
                *kind,
                &cases.to_string(),
                &mib.to_string(),
                &resident.1,
                &format!("{seconds:.2}"),
                &time.1,
            ];
            table.push_str(&format!("{}\n", row.map(|cell| cell.replace('|', "¦")).join(" | ")));
        }
        if self.sampled.1 < self.sampled.0 {
            say(&format!(
                "{}: {} of {} cases that are alike went through a child process",
                self.test, self.sampled.1, self.sampled.0
            ));
        }
        if let Some(path) = std::env::var_os("LAPIDARY_HARNESS_REPORT") {
            let file = OpenOptions::new().create(true).append(true).open(&path);
            file.and_then(|mut file| file.write_all(table.as_bytes()))
                .unwrap_or_else(|e| say(&format!("{}: {e}", path.display())));
        }
    }
}
