//! One answer as it is made: its pieces go to where they are shown, and Ctrl-C ends it.

use std::io;
use std::ops::ControlFlow;

use lapidary::chat::{Answer, Event};
use lapidary::text::Kind;

use super::signals;

/// Is told what happens while an answer is made.
type Watch<'a> = dyn FnMut(Event) -> ControlFlow<()> + 'a;

/// Runs `answer`, which makes one. `show` gets each piece of text as soon as it is whole. Ctrl-C ends the answer.
///
/// # Errors
/// Those of `answer` and of `show`.
pub(super) fn stream_answer(
    show: &mut dyn FnMut(Kind, &str) -> io::Result<()>,
    answer: impl FnOnce(&mut Watch) -> lapidary::Result<Answer>,
) -> anyhow::Result<Answer> {
    let mut failed = None;
    let mut watch = |event: Event| {
        let goes_on = match event {
            Event::Text(kind, piece) => show(kind, piece).map_err(|error| failed = Some(error)).is_ok(),
            Event::Step => !signals::interrupted(),
        };
        if goes_on { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    let answered = signals::watched(|| answer(&mut watch));
    match failed {
        Some(error) => Err(error.into()),
        None => Ok(answered?),
    }
}
