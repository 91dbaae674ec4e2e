//! What a generator does where its device is lost: it loads the model again, unless that happens too often.

use std::fmt;
use std::time::Duration;

use web_time::Instant;

use crate::error::Lost;
use crate::model::Gemma4;
use crate::{Error, Result};

/// So many losses within [`WINDOW`] are no accident any more.
const MOST_LOSSES: usize = 3;
const WINDOW: Duration = Duration::from_secs(60);

/// Loads the model again; it is told why the device was lost.
type Reload = Box<dyn FnMut(&str) -> Result<Gemma4> + Send>;

/// How a model comes back, and when it was lost.
pub(super) struct Recovery {
    reload: Reload,
    losses: Losses,
}

impl Recovery {
    pub(super) fn new(reload: Reload) -> Self {
        Recovery { reload, losses: Losses::default() }
    }

    /// The model on a new device, after the one of `model` was `lost`. What `model` holds on its
    /// device is given up first: there may not be room for both.
    ///
    /// # Errors
    /// [`Error::DeviceLost`] for the third loss within a minute, with advice, and where no device can be opened any more;
    /// else those of loading.
    pub(super) fn reload(&mut self, model: &Gemma4, mut lost: Lost) -> Result<Gemma4> {
        model.give_up();
        loop {
            if self.losses.note(Instant::now()) {
                lost.losses = Some(MOST_LOSSES);
                return Err(lost.into());
            }
            match (self.reload)(&lost.message) {
                Err(Error::DeviceLost(again)) => lost = again,
                Err(Error::Device(none)) => {
                    lost.not_opened = Some(none.to_string());
                    return Err(lost.into());
                }
                loaded => return loaded,
            }
        }
    }
}

impl fmt::Debug for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recovery").field("losses", &self.losses).finish_non_exhaustive()
    }
}

/// When a device was lost, as far back as it matters.
#[derive(Debug, Default)]
struct Losses(Vec<Instant>);

impl Losses {
    /// Notes a loss; true where it is one too many.
    fn note(&mut self, now: Instant) -> bool {
        self.0.retain(|&earlier| now.saturating_duration_since(earlier) < WINDOW);
        self.0.push(now);
        self.0.len() >= MOST_LOSSES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_forgotten_after_a_minute() {
        let (mut losses, start) = (Losses::default(), Instant::now());
        let mut note = |seconds| losses.note(start + Duration::from_secs(seconds));
        assert_eq!(
            [note(0), note(50), note(61), note(109), note(130), note(131)],
            [false, false, false, true, false, true]
        );
    }
}
