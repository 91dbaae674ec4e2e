//! Submissions of bounded length: drivers reset a device whose queue does not move for a second or two, and nobody can stop
//! what was submitted.
//!
//! A paced [`super::Recorder`] predicts how long what it has recorded will take, and hands it over before that is longer than
//! [`super::TARGET_SECONDS`]. Kernels differ in speed by orders of magnitude and so do devices, so predictions are measurements: a
//! kernel that was never timed runs alone, twice, and the host waits for it; from then on each submission whose end the host
//! sees corrects the kernels in it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use web_time::Instant;

use super::Gpu;
use super::pending::Submission;
use super::speed::{Pace, UnderWay, Work, lock};

/// Submissions of more seconds are waited for before the next is handed over, others while it runs.
const LONG_SECONDS: f64 = 0.02;

impl Pace {
    /// Waits for what was submitted last if that is long: to be without work for an instant costs little beside it, and
    /// some drivers do not return from a submission before the one ahead of it is done.
    pub(super) fn before_submission(&self, gpu: &Gpu) {
        if lock(&self.under_way).as_ref().is_some_and(|last| last.work.seconds > LONG_SECONDS) {
            self.finish(gpu);
        }
    }

    /// Notes that `work` was submitted, and waits for what was submitted before it.
    pub(super) fn submitted(&self, gpu: &Gpu, submission: &Submission, work: Work) {
        let next = UnderWay { submission: submission.clone(), start: Instant::now(), done: gpu.done(), work };
        let before = lock(&self.under_way).replace(next);
        let Some(before) = before else { return };
        let is_done_now = self.wait_for(gpu, before);
        if let (Some(next), true) = (&mut *lock(&self.under_way), is_done_now) {
            next.start = Instant::now();
        }
    }

    /// Waits for what was submitted last.
    pub(super) fn finish(&self, gpu: &Gpu) {
        let last = lock(&self.under_way).take();
        if let Some(last) = last {
            self.wait_for(gpu, last);
        }
    }

    /// True where it ended while the host waited.
    fn wait_for(&self, gpu: &Gpu, UnderWay { submission, start, done, work }: UnderWay) -> bool {
        // One that is done already may have been for long.
        gpu.poll_once().ok(); // A failure stays: whoever wants a result hears of it.
        let is_exact = !done.load(Ordering::Acquire) || self.pretended.is_some();
        gpu.wait_for(Some(&submission)).ok();
        let measured = match &self.pretended {
            None => start.elapsed().as_secs_f64(),
            Some(pretended) => work.kinds.iter().map(|one| pretended(&one.kind.label, one.groups)).sum(),
        };
        // What runs for the first time may be compiled first, on the host.
        let is_first = work.kinds.iter().any(|one| one.kind.is_new());
        work.took(measured, is_exact);
        if is_exact && !is_first {
            // What a pretended device says may be no time at all.
            let measured = Duration::try_from_secs_f64(measured).unwrap_or_default();
            let mut longest = lock(&self.longest);
            *longest = longest.max(measured);
            if self.is_watched {
                lock(&self.times).push(measured);
            }
        }
        is_exact
    }
}

impl Gpu {
    /// The same, but submissions count as if each workgroup of a label took what `seconds` says of so many: a device as slow
    /// as a test wants it.
    #[must_use]
    pub fn pretending(mut self, seconds: impl Fn(&str, u64) -> f64 + Send + Sync + 'static) -> Self {
        self.pace.pretended = Some(Box::new(seconds));
        self.watched()
    }

    /// The same, but with chunks as short as if a driver reset it where one kernel takes too long, also where none does.
    #[must_use]
    pub fn watched(mut self) -> Self {
        self.pace.is_watched = true;
        self
    }

    /// The longest submission of those that were waited for, of what models run.
    pub fn longest_submission(&self) -> Duration {
        *lock(&self.pace.longest)
    }

    /// What the submissions of [`Gpu::longest_submission`] took, on a [`Gpu::watched`] device.
    pub fn submission_times(&self) -> Vec<Duration> {
        lock(&self.pace.times).clone()
    }

    /// Whether a driver would reset the device if it took too long: a software adapter has none.
    pub(crate) fn has_watchdog(&self) -> bool {
        !self.adapter().is_software() || self.pace.is_watched
    }
}
