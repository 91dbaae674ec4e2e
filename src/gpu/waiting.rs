//! Handing work to the device and waiting for it, but not for ever.
//!
//! What is submitted is bounded by [`super::pace`] and takes a fraction of a second, so that a GPU that is not through after ten
//! is not slow but stuck. Where its speed is not known yet (a kernel's first runs, which some drivers compile for; copies;
//! profiles, which are one submission) it gets a minute, after which any driver has reset it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Gpu;
use super::adapter::AdapterReport;
use super::blocking::Unfinished;
use super::pass::Submission;
use crate::Result;

/// What a GPU may take at least, however little it has to do: other programs have it too.
const LEAST: Duration = Duration::from_secs(10);
/// What it may take at most.
const MOST: Duration = Duration::from_secs(60);
/// So many times what was measured is in between. A measurement is off by four at most, and ten programs may share a device.
const FACTOR: f64 = 40.0;
/// Submissions that are told apart; older ones count as one.
const MOST_ENTRIES: usize = 64;

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
    fn limit(self, expected: Option<f64>) -> Option<Duration> {
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
struct Pending {
    last: u64,
    entries: VecDeque<(u64, Option<f64>)>,
}

impl Pending {
    fn add(&mut self, seconds: Option<f64>) -> u64 {
        self.last += 1;
        self.entries.push_back((self.last, seconds));
        if self.entries.len() > MOST_ENTRIES
            && let (Some((_, a)), Some((_, b))) = (self.entries.pop_front(), self.entries.front_mut())
        {
            *b = a.zip(*b).map(|(a, b)| a + b);
        }
        self.last
    }

    /// Seconds up to submission `number`, `None` where some of it was never measured.
    fn seconds(&self, number: u64) -> Option<f64> {
        let mut entries = self.entries.iter().take_while(|(entry, _)| *entry <= number);
        entries.try_fold(0.0, |sum, (_, seconds)| Some(sum + (*seconds)?))
    }

    /// Whether nothing is left of submission `number` and those before it.
    fn is_done(&self, number: u64) -> bool {
        self.entries.front().is_none_or(|(entry, _)| *entry > number)
    }

    fn done(&mut self, number: u64) {
        while self.entries.front().is_some_and(|(entry, _)| *entry <= number) {
            self.entries.pop_front();
        }
    }
}

/// What a device's waits know.
#[derive(Debug)]
pub(super) struct Waits {
    patience: Patience,
    pending: Mutex<Pending>,
    is_stuck: AtomicBool,
}

impl Waits {
    pub(super) fn new(patience: Patience) -> Self {
        Waits { patience, pending: Mutex::default(), is_stuck: AtomicBool::new(false) }
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gpu {
    /// The same, but waits for what was handed to the device end after `patience` with an error.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.waits.patience = Patience::Fixed(patience);
        self
    }

    /// The same, but waits end as those for a GPU do, also where the adapter is a software adapter.
    #[must_use]
    pub fn with_measured_patience(mut self) -> Self {
        self.waits.patience = Patience::Measured;
        self
    }

    /// Hands commands to the device, which take it so many seconds, where that is known.
    pub(super) fn submit(&self, commands: Option<wgpu::CommandBuffer>, seconds: Option<f64>) -> Submission {
        self.faults.submitting();
        let index = self.queue.submit(commands);
        Submission { index, number: self.waits.pending().add(seconds) }
    }

    /// Waits until the device has done all that was submitted.
    ///
    /// # Errors
    /// As [`Gpu::check`]; [`crate::Error::Run`] where it took too long.
    pub fn wait(&self) -> Result<()> {
        self.wait_for(None)
    }

    /// Waits for `submission`, or for all that was submitted.
    pub(super) fn wait_for(&self, submission: Option<&Submission>) -> Result<()> {
        self.poll_until(submission).map_err(|e| self.failed(format_args!("waiting for the device failed: {e}")))?;
        self.check()
    }

    /// Becomes true when the device is through with what was submitted so far, and wgpu was asked since.
    pub(super) fn done(&self) -> Arc<AtomicBool> {
        let done = Arc::new(AtomicBool::new(false));
        let tell = done.clone();
        self.queue.on_submitted_work_done(move || tell.store(true, Ordering::Release));
        done
    }

    /// Lets wgpu see what is done, without waiting.
    pub(super) fn poll_once(&self) -> Result<()> {
        match self.poll(wgpu::PollType::Poll) {
            Ok(()) | Err(Unfinished::TooLong) => Ok(()),
            Err(Unfinished::Failed(e)) => Err(self.failed(format_args!("asking the device failed: {e}"))),
        }
    }

    /// Waits for `submission`, or for all; says why that was in vain.
    pub(super) fn poll_until(&self, submission: Option<&Submission>) -> std::result::Result<(), String> {
        let (number, expected, is_done) = {
            let pending = self.waits.pending();
            let number = submission.map_or(pending.last, |submission| submission.number);
            (number, pending.seconds(number), pending.is_done(number))
        };
        // Who was waited for in vain once is not waited for again.
        let is_stuck = self.waits.is_stuck.load(Ordering::Relaxed);
        let limit = if is_stuck { Some(Duration::ZERO) } else { self.waits.patience.limit(expected) };
        let wait = |timeout: Option<Duration>| {
            if timeout.is_some() && !is_done && self.faults.hangs() {
                return Err(Unfinished::TooLong);
            }
            let submission_index = submission.map(|submission| submission.index.clone());
            self.poll(wgpu::PollType::Wait { submission_index, timeout })
        };
        // This program itself may have been stopped for a while: a second look.
        let waited = match wait(limit) {
            Err(Unfinished::TooLong) if limit > Some(Duration::ZERO) => wait(Some(Duration::ZERO)),
            waited => waited,
        };
        match waited {
            Ok(()) => {
                self.waits.pending().done(number);
                Ok(())
            }
            Err(Unfinished::Failed(e)) => Err(e),
            Err(Unfinished::TooLong) => {
                if !self.waits.is_stuck.swap(true, Ordering::Relaxed) {
                    // Dropping the last handle would wait for it once more, for minutes.
                    std::mem::forget((self.device.clone(), self.queue.clone()));
                }
                Err(too_long(limit.unwrap_or_default(), expected))
            }
        }
    }
}

fn too_long(limit: Duration, expected: Option<f64>) -> String {
    let expected = match expected {
        Some(seconds) => format!("{seconds:.3} by what was measured before"),
        None => "far less".to_owned(),
    };
    let limit = limit.as_secs_f64();
    format!("it did not finish within {limit} seconds, expected {expected}; it hangs, or another program keeps it busy")
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
