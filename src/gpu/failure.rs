//! What has gone wrong on a device, for good: wgpu goes on after errors, and may even report success on a device that is
//! lost. The first error stays and is what every later call gives; a loss, which other errors follow from, stands before
//! it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::Error;
use crate::error::{Bound, Failure, Lost, NoRoom};

/// An error that a device reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Noted {
    /// Something failed: [`Error::Run`].
    Failed(String),
    /// It ran out of memory: [`Error::Memory`].
    OutOfMemory {
        /// Bytes that were taken.
        taken: u64,
        /// The driver's words.
        why: String,
    },
}

/// The failures of one device, noted from callbacks on any thread.
#[derive(Debug)]
pub(super) struct Failures {
    /// Its name.
    device: String,
    /// Whether there is any: asked before every call.
    any: AtomicBool,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    lost: Option<String>,
    first: Option<Noted>,
}

impl Failures {
    /// Of the device of this name: none yet.
    pub(super) fn new(device: &str) -> Self {
        Failures { device: device.to_owned(), any: AtomicBool::new(false), known: Mutex::default() }
    }

    /// Notes an error; the first one stays.
    pub(super) fn note(&self, error: Noted) {
        self.lock().first.get_or_insert(error);
        self.any.store(true, Ordering::Release);
    }

    /// Notes that the device is lost, and why.
    pub(super) fn note_loss(&self, message: String) {
        self.lock().lost.get_or_insert(message);
        self.any.store(true, Ordering::Release);
    }

    /// True where anything was noted.
    pub(super) fn any(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }

    /// True where the loss was noted.
    pub(super) fn is_lost(&self) -> bool {
        self.any() && self.lock().lost.is_some()
    }

    /// What every call gives from now on; `None` where nothing was noted.
    pub(super) fn error(&self) -> Option<Error> {
        if !self.any() {
            return None;
        }
        let known = self.lock();
        if let Some(message) = &known.lost {
            return Some(Lost::new(&self.device, message).into());
        }
        Some(match known.first.clone()? {
            Noted::Failed(message) => Failure::Device { device: self.device.clone(), message }.into(),
            Noted::OutOfMemory { taken, why } => {
                NoRoom::new(Some(&self.device), "the device", 0, taken, Bound::Reported(why)).into()
            }
        })
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_error_stays_and_a_loss_stands_before_it() {
        let failures = Failures::new("a GPU");
        assert!(failures.error().is_none());
        failures.note(Noted::OutOfMemory { taken: 7, why: "a".into() });
        failures.note(Noted::Failed("b".into()));
        let message = failures.error().map(|error| error.to_string());
        assert_eq!(message.as_deref(), Some("the device is out of memory with 7 bytes taken: a"));
        failures.note_loss("c".into());
        failures.note_loss("d".into());
        assert!(matches!(failures.error(), Some(Error::DeviceLost(lost)) if lost == Lost::new("a GPU", "c")));
    }
}
