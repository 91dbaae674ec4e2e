//! What was handed to the device and not waited for, and how long a wait for it may last.

use std::collections::VecDeque;
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::adapter::AdapterReport;

/// What a GPU may take at least, however little it has to do: other programs have it too.
const LEAST: Duration = Duration::from_secs(10);
/// What it may take at most.
const MOST: Duration = Duration::from_secs(60);
/// So many times what was measured is in between. A measurement is off by four at most, and ten programs may share a device.
const FACTOR: f64 = 40.0;
/// Submissions that are told apart; older ones count as one.
const MOST_ENTRIES: usize = 64;

/// Work that was handed to the device: what [`super::Readback::read_after`] waits for.
#[derive(Debug, Clone)]
pub struct Submission {
    pub(super) index: wgpu::SubmissionIndex,
    /// Larger for later ones.
    pub(super) number: u64,
}

/// How long a wait may last.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Patience {
    /// As long as it takes: software adapters may be slow, and nobody resets them.
    Endless,
    /// By what was submitted.
    Measured,
    /// As somebody wanted it.
    Fixed(Duration),
}

impl Patience {
    /// What suits an adapter.
    pub(super) fn of(adapter: &AdapterReport) -> Self {
        if adapter.is_software() { Patience::Endless } else { Patience::Measured }
    }

    /// For work that takes `expected` seconds, if that is known; `None` for ever.
    pub(super) fn limit(self, expected: Option<f64>) -> Option<Duration> {
        match (self, expected) {
            (Patience::Endless, _) => None,
            (Patience::Fixed(limit), _) => Some(limit),
            (Patience::Measured, None) => Some(MOST),
            (Patience::Measured, Some(seconds)) => {
                let seconds = (FACTOR * seconds).clamp(LEAST.as_secs_f64(), MOST.as_secs_f64());
                Some(Duration::from_secs_f64(seconds))
            }
        }
    }
}

/// What was submitted and not waited for: numbers of submissions, and seconds that they take where these are known.
#[derive(Debug, Default)]
pub(super) struct Pending {
    pub(super) last: u64,
    entries: VecDeque<Submitted>,
}

/// A submission, and the seconds that it takes, where these are known.
#[derive(Debug)]
struct Submitted {
    number: u64,
    seconds: Option<f64>,
}

impl Pending {
    pub(super) fn add(&mut self, seconds: Option<f64>) -> u64 {
        self.last += 1;
        self.entries.push_back(Submitted { number: self.last, seconds });
        if self.entries.len() > MOST_ENTRIES
            && let (Some(a), Some(b)) = (self.entries.pop_front(), self.entries.front_mut())
        {
            b.seconds = a.seconds.zip(b.seconds).map(|(a, b)| a + b);
        }
        self.last
    }

    /// Seconds up to submission `number`, `None` where some of it was never measured.
    pub(super) fn seconds(&self, number: u64) -> Option<f64> {
        let mut entries = self.entries.iter().take_while(|entry| entry.number <= number);
        entries.try_fold(0.0, |sum, entry| Some(sum + entry.seconds?))
    }

    /// Whether nothing is left of submission `number` and those before it.
    pub(super) fn is_done(&self, number: u64) -> bool {
        self.entries.front().is_none_or(|entry| entry.number > number)
    }

    pub(super) fn done(&mut self, number: u64) {
        while self.entries.front().is_some_and(|entry| entry.number <= number) {
            self.entries.pop_front();
        }
    }
}

/// What a device's waits know.
#[derive(Debug)]
pub(super) struct Waits {
    pub(super) patience: Patience,
    pending: Mutex<Pending>,
    pub(super) is_stuck: AtomicBool,
}

impl Waits {
    pub(super) fn new(patience: Patience) -> Self {
        Waits { patience, pending: Mutex::default(), is_stuck: AtomicBool::new(false) }
    }

    pub(super) fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_follows_what_was_measured() {
        let seconds = |patience: Patience, expected| patience.limit(expected).map(|limit| limit.as_secs_f64());
        for (expected, limit) in [(0.0, 10.0), (0.1, 10.0), (0.25, 10.0), (0.5, 20.0), (1.5, 60.0), (1e9, 60.0)] {
            assert_eq!(seconds(Patience::Measured, Some(expected)), Some(limit), "{expected}");
        }
        assert_eq!(seconds(Patience::Measured, None), Some(60.0));
        assert_eq!(seconds(Patience::Endless, Some(0.1)), None);
        assert_eq!(seconds(Patience::Fixed(Duration::from_secs(3)), None), Some(3.0));
    }

    #[test]
    fn what_is_pending_adds_up() {
        let mut pending = Pending::default();
        assert_eq!(pending.seconds(7), Some(0.0));
        let numbers = [Some(0.5), Some(0.25), None, Some(1.0)].map(|seconds| pending.add(seconds));
        assert_eq!(numbers.map(|number| pending.seconds(number)), [Some(0.5), Some(0.75), None, None]);
        pending.done(numbers[1]);
        assert_eq!(numbers.map(|number| pending.seconds(number)), [Some(0.0), Some(0.0), None, None]);
        pending.done(numbers[2]);
        assert_eq!(pending.seconds(numbers[3]), Some(1.0));
        for _ in 0..10 * MOST_ENTRIES {
            pending.add(Some(0.125));
        }
        assert_eq!(pending.entries.len(), MOST_ENTRIES);
        assert_eq!(pending.seconds(pending.last), Some(1.0 + 10.0 * MOST_ENTRIES as f64 * 0.125));
        pending.done(pending.last);
        assert!(pending.entries.is_empty());
    }
}
