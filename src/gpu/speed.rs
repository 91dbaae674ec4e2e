//! How fast a device is, by what its submissions took: seconds of a workgroup of each kind of dispatch.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use web_time::Instant;

use super::pending::Submission;
use super::pipeline::Pipeline;

/// What a submission is to take at most: far from the 250 ms that none may, since predictions are off where kernels grow
/// with the context.
pub(crate) const TARGET_SECONDS: f64 = 0.1;
/// A prediction is corrected so far by one measurement at most: another program may have had the device.
const MOST_CORRECTION: f64 = 4.0;
/// Not worth correcting.
const CLOSE_ENOUGH: f64 = 0.1;

/// Seconds of a workgroup of one kind of dispatch.
#[derive(Debug)]
pub(super) struct Kind {
    pub(super) label: String,
    /// The bits of an f32; [`NEW`] and [`TRIED`] are no speeds.
    state: AtomicU32,
}

/// It never ran.
const NEW: u32 = f32::NEG_INFINITY.to_bits();
/// It ran once, which may have taken long: drivers compile late.
const TRIED: u32 = (-1.0f32).to_bits();

impl Kind {
    fn seconds_a_group(&self) -> Option<f64> {
        let seconds = f32::from_bits(self.state.load(Ordering::Relaxed));
        (seconds >= 0.0).then_some(f64::from(seconds))
    }

    fn set(&self, seconds_a_group: f64) {
        self.state.store((seconds_a_group as f32).to_bits(), Ordering::Relaxed);
    }

    /// Whether it never ran.
    pub(super) fn is_new(&self) -> bool {
        self.state.load(Ordering::Relaxed) == NEW
    }

    /// What `groups` workgroups will take, if that is known.
    pub(super) fn seconds(&self, groups: u64) -> Option<f64> {
        self.seconds_a_group().map(|seconds| seconds * groups as f64)
    }

    /// Notes that it ran alone for `seconds`.
    fn ran_alone(&self, seconds: f64, groups: u64) {
        match self.state.load(Ordering::Relaxed) {
            NEW => self.state.store(TRIED, Ordering::Relaxed),
            _ => self.set(seconds / groups.max(1) as f64),
        }
    }
}

/// Workgroups of a kind.
#[derive(Debug)]
pub(super) struct Groups {
    pub(super) kind: Arc<Kind>,
    pub(super) groups: u64,
}

/// What is recorded for one submission: workgroups by kind.
#[derive(Debug, Default)]
pub(super) struct Work {
    pub(super) kinds: Vec<Groups>,
    pub(super) seconds: f64,
}

impl Work {
    /// Whether `seconds` more would be too long for one submission.
    pub(super) fn is_full(&self, seconds: f64) -> bool {
        self.seconds > 0.0 && self.seconds + seconds > TARGET_SECONDS
    }

    pub(super) fn add(&mut self, kind: &Arc<Kind>, groups: u64, seconds: f64) {
        self.seconds += seconds;
        match self.kinds.iter_mut().find(|known| Arc::ptr_eq(&known.kind, kind)) {
            Some(known) => known.groups += groups,
            None => self.kinds.push(Groups { kind: kind.clone(), groups }),
        }
    }

    /// Seconds that it will take, where all of it was timed before.
    pub(super) fn expected(&self) -> Option<f64> {
        self.kinds.iter().all(|one| one.kind.seconds_a_group().is_some()).then_some(self.seconds)
    }

    /// Corrects the kinds by what the submission took; where `is_exact` is false it took that at most.
    pub(super) fn took(&self, seconds: f64, is_exact: bool) {
        if let [Groups { kind, groups }] = &*self.kinds
            && kind.seconds_a_group().is_none()
        {
            return kind.ran_alone(seconds, *groups);
        }
        let ratio = seconds / self.seconds;
        if self.seconds > 0.0 && (ratio - 1.0).abs() > CLOSE_ENOUGH && (is_exact || ratio < 1.0) {
            let ratio = ratio.clamp(1.0 / MOST_CORRECTION, MOST_CORRECTION);
            let known = self.kinds.iter().filter_map(|Groups { kind, .. }| Some((kind, kind.seconds_a_group()?)));
            known.for_each(|(kind, seconds)| kind.set(seconds * ratio));
        }
    }
}

/// A submission that nobody has waited for.
#[derive(Debug)]
pub(super) struct UnderWay {
    pub(super) submission: Submission,
    /// When the device could begin.
    pub(super) start: Instant,
    pub(super) done: Arc<AtomicBool>,
    pub(super) work: Work,
}

/// Seconds that workgroups of a label take.
type Pretended = Box<dyn Fn(&str, u64) -> f64 + Send + Sync>;

/// What is known of a device's speed.
#[derive(Default)]
pub(super) struct Pace {
    kinds: Mutex<HashMap<(String, usize), Arc<Kind>>>,
    pub(super) under_way: Mutex<Option<UnderWay>>,
    pub(super) longest: Mutex<Duration>,
    /// All of them on a watched device.
    pub(super) times: Mutex<Vec<Duration>>,
    pub(super) is_watched: bool,
    pub(super) pretended: Option<Pretended>,
}

impl Pace {
    /// The kind of a dispatch of `pipeline` under `label`: the same in all layers.
    pub(super) fn kind(&self, label: &str, pipeline: &Arc<Pipeline>) -> Arc<Kind> {
        let label = label.to_owned();
        let key = (label.clone(), Arc::as_ptr(pipeline) as usize);
        lock(&self.kinds).entry(key).or_insert_with(|| Arc::new(Kind { label, state: NEW.into() })).clone()
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pace").field("longest", &self.longest).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(seconds: f64) -> Arc<Kind> {
        Arc::new(Kind { label: "k".into(), state: (seconds as f32).to_bits().into() })
    }

    #[test]
    fn the_second_time_alone_counts() {
        let kind = Arc::new(Kind { label: "k".into(), state: NEW.into() });
        let ran = |seconds| {
            let mut work = Work::default();
            work.add(&kind, 10, 0.0);
            work.took(seconds, true);
        };
        assert_eq!(kind.seconds(4), None);
        ran(7.0);
        assert_eq!(kind.seconds(4), None);
        ran(2.5);
        assert_eq!(kind.seconds(4), Some(1.0));
    }

    #[test]
    fn a_measurement_corrects_each_kind_once_and_by_four_at_most() {
        let (a, b) = (known(0.25), known(0.5));
        let took = |seconds, is_exact| {
            let mut work = Work::default();
            for _ in 0..3 {
                work.add(&a, 1, 0.25);
            }
            work.add(&b, 2, 1.0);
            work.took(seconds, is_exact);
            [a.seconds(1).unwrap_or(0.0), b.seconds(1).unwrap_or(0.0)]
        };
        assert_eq!(took(1.8, true), [0.25, 0.5], "close enough");
        assert_eq!(took(3.5, false), [0.25, 0.5], "it may have ended long before");
        assert_eq!(took(3.5, true), [0.5, 1.0]);
        a.set(0.25);
        b.set(0.5);
        assert_eq!(took(0.875, false), [0.125, 0.25], "no longer than that");
        a.set(0.25);
        b.set(0.5);
        assert_eq!(took(1e6, true), [1.0, 2.0]);
    }

    #[test]
    fn what_does_not_fit_waits_for_the_next_submission() {
        let mut work = Work::default();
        assert!(!work.is_full(7.0), "one dispatch cannot be divided");
        work.add(&known(0.0), 1, 0.06);
        assert!(!work.is_full(0.04) && work.is_full(0.05));
    }
}
