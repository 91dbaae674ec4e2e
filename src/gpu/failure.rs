//! What has gone wrong on a device, for good: wgpu goes on after errors, and may even report success on a device that is
//! lost. The first error stays and is what every later call gives; a loss, which other errors follow from, stands before
//! it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::Error;

/// Which variant of [`Error`] a message belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// [`Error::Run`].
    Run,
    /// [`Error::Memory`].
    Memory,
}

/// The failures of one device, noted from callbacks on any thread.
#[derive(Debug, Default)]
pub(super) struct Failures {
    /// Whether there is any: asked before every call.
    any: AtomicBool,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    lost: Option<String>,
    first: Option<(Kind, String)>,
}

impl Failures {
    /// Notes an error; the first one stays.
    pub(super) fn note(&self, kind: Kind, message: String) {
        self.lock().first.get_or_insert((kind, message));
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
        match (&known.lost, &known.first) {
            (Some(message), _) => Some(Error::DeviceLost(message.clone())),
            (None, Some((Kind::Run, message))) => Some(Error::Run(message.clone())),
            (None, Some((Kind::Memory, message))) => Some(Error::Memory(message.clone())),
            (None, None) => None,
        }
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
        let failures = Failures::default();
        assert!(failures.error().is_none());
        failures.note(Kind::Memory, "a".into());
        failures.note(Kind::Run, "b".into());
        assert!(matches!(failures.error(), Some(Error::Memory(message)) if message == "a"));
        failures.note_loss("c".into());
        failures.note_loss("d".into());
        assert!(matches!(failures.error(), Some(Error::DeviceLost(message)) if message == "c"));
    }
}
