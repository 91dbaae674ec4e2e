//! Handing work to the device and waiting for it, but not for ever.
//!
//! What is submitted is bounded by [`super::pace`] and takes a fraction of a second, so that a GPU that is not through after ten
//! is not slow but stuck. Where its speed is not known yet (a kernel's first runs, which some drivers compile for; copies;
//! profiles, which are one submission) it gets a minute, after which any driver has reset it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::Gpu;
use super::blocking::{self, Unfinished};
use super::pending::{Patience, Submission};
use crate::Result;

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

    fn poll(&self, poll: wgpu::PollType) -> std::result::Result<(), Unfinished> {
        let is_browser = self.adapter().info.backend == wgpu::Backend::BrowserWebGpu && !self.rehearses();
        blocking::poll(&self.device, poll, is_browser)
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
