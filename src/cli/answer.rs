//! One answer: ids from the generator, decoded and handed on as they come.

use std::io;
use std::ops::ControlFlow;

use lapidary::engine::{Generator, Outcome, Request};
use lapidary::text::{Kind, Reply, TextModel};

use super::signals;

/// A finished answer.
pub(super) struct Answer<'t> {
    /// Ids, why it ended, how long it took.
    pub(super) outcome: Outcome,
    /// Its texts; `None` without a tokenizer.
    pub(super) reply: Option<Reply<'t>>,
}

/// Continues `prompt` in slot 0. `show` gets each piece of text as soon as it is whole. Ctrl-C ends the answer.
///
/// # Errors
/// Those of [`Generator::generate`] and of `show`.
pub(super) fn answer<'t>(
    generator: &mut Generator,
    text: Option<&'t TextModel>,
    prompt: &[u32],
    request: &Request,
    show: &mut dyn FnMut(Kind, &str) -> io::Result<()>,
) -> anyhow::Result<Answer<'t>> {
    let mut reply = text.map(|text| Reply::new(&text.tokenizer, prompt));
    let stops = generator.stop_ids().to_vec();
    let mut failed = None;
    let mut watch = |id: Option<u32>| {
        if let (Some(reply), Some(id)) = (&mut reply, id.filter(|id| !stops.contains(id))) {
            for (kind, piece) in reply.push(id) {
                if let Err(error) = show(kind, &piece) {
                    failed = Some(error);
                    return ControlFlow::Break(());
                }
            }
        }
        if signals::interrupted() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let outcome = signals::watched(|| generator.generate(0, prompt, request, &mut watch));
    if let Some(error) = failed {
        return Err(error.into());
    }
    let outcome = outcome?;
    for (kind, piece) in reply.as_mut().map(Reply::finish).unwrap_or_default() {
        show(kind, &piece)?;
    }
    Ok(Answer { outcome, reply })
}
