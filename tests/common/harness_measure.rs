//! What a child process takes: processor time, and the most memory that it had.

use std::process::{Child, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

/// A child that runs longer is ended: a guard against hangs, far above what any bound of processor time allows.
const PATIENCE: Duration = Duration::from_secs(300);

/// What was taken; zero where the system does not say.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Spent {
    /// Of all threads, in user and system mode.
    pub(crate) time: Duration,
    /// The most memory that was resident at one time, in bytes.
    pub(crate) resident: u64,
    /// The most address space, in bytes.
    pub(crate) space: u64,
}

/// Waits for the child's end. The system forgets what a process had when it ends, so it is looked at all the time; what
/// resource usage of children would tell counts the memory of the process that started it as well.
pub(crate) fn watched(child: &mut Child) -> (ExitStatus, Spent) {
    let (start, mut spent) = (Instant::now(), Spent::default());
    loop {
        let is_gone = look(child.id(), &mut spent);
        // An ended process that nobody has waited for still knows its processor time.
        if (is_gone || !cfg!(target_os = "linux"))
            && let Some(status) = child.try_wait().unwrap()
        {
            return (status, spent);
        }
        if start.elapsed() > PATIENCE {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("still running after {PATIENCE:?} with {:?} of processor time", spent.time);
        }
        thread::sleep(Duration::from_micros(if start.elapsed() < Duration::from_millis(200) { 500 } else { 2000 }));
    }
}

/// Looks at a process; whether it has ended.
#[cfg(target_os = "linux")]
fn look(id: u32, spent: &mut Spent) -> bool {
    if let Ok(status) = std::fs::read_to_string(format!("/proc/{id}/status")) {
        let kibibytes = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key))?;
            line.trim_end_matches("kB").trim().parse::<u64>().ok()
        };
        spent.resident = spent.resident.max(kibibytes("VmHWM:").unwrap_or(0) << 10);
        spent.space = spent.space.max(kibibytes("VmPeak:").unwrap_or(0) << 10);
    }
    let Some((state, time)) = times(&format!("/proc/{id}/stat")) else { return true };
    spent.time = spent.time.max(time);
    state == "Z" || state == "X"
}

#[cfg(not(target_os = "linux"))]
fn look(_: u32, _: &mut Spent) -> bool {
    true
}

/// State and processor time out of a `stat` of /proc, which counts in hundredths of a second.
pub(crate) fn times(path: &str) -> Option<(String, Duration)> {
    let stat = std::fs::read_to_string(path).ok()?;
    // The name in parentheses may hold anything.
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    let ticks = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some((fields.first()?.to_string(), Duration::from_millis(10 * (ticks(11)? + ticks(12)?))))
}

/// Processor time of the calling thread, where the system says it.
pub(crate) fn of_this_thread() -> Duration {
    times("/proc/thread-self/stat").map_or(Duration::ZERO, |(_, time)| time)
}
