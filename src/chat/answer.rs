//! One answer: ids from the generator, decoded and handed on as they come.

use std::ops::ControlFlow;

use crate::Result;
use crate::engine::{Generator, Outcome, Request};
use crate::text::{Kind, Reply, Said, TextModel};

/// What happens while an answer is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// A piece of text, as soon as it is whole.
    Text(Kind, &'a str),
    /// A chunk of the prompt was run, or a token came and its text was handed on: the moment to look whether the answer is
    /// still wanted.
    Step,
}

/// A finished answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Ids, why it ended, how long it took.
    pub outcome: Outcome,
    /// What it says; `None` without a tokenizer.
    pub texts: Option<Texts>,
}

/// What an answer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Texts {
    /// What is meant for the user.
    pub answer: String,
    /// What the model thought before, if it did.
    pub thinking: Option<String>,
    /// Tool calls that are complete, as raw text between their markers.
    pub tool_calls: Vec<String>,
}

/// Continues `prompt` in `slot`. `watch` gets each piece of text as soon as it is whole, and ends the answer by
/// [`ControlFlow::Break`]. Stop ids are no text. After a break at a step it still gets the last piece: bytes that did not
/// become a whole character.
///
/// # Errors
/// Those of [`Generator::generate`].
pub fn answer(
    generator: &mut Generator,
    slot: usize,
    text: Option<&TextModel>,
    prompt: &[u32],
    request: &Request,
    watch: &mut dyn FnMut(Event) -> ControlFlow<()>,
) -> Result<Answer> {
    let mut reply = text.map(|text| Reply::new(&text.tokenizer, prompt));
    let stops = generator.stop_ids().to_vec();
    let mut refused = false;
    let outcome = generator.generate(slot, prompt, request, &mut |id| {
        if let (Some(reply), Some(id)) = (&mut reply, id.filter(|id| !stops.contains(id))) {
            for Said { kind, text: piece } in reply.push(id) {
                if watch(Event::Text(kind, &piece)).is_break() {
                    refused = true;
                    return ControlFlow::Break(());
                }
            }
        }
        watch(Event::Step)
    })?;
    for Said { kind, text: piece } in reply.as_mut().map(Reply::finish).unwrap_or_default() {
        refused = refused || watch(Event::Text(kind, &piece)).is_break();
    }
    let texts = reply.map(|reply| Texts {
        answer: reply.text().to_owned(),
        thinking: reply.thinking().map(str::to_owned),
        tool_calls: reply.tool_calls().to_vec(),
    });
    Ok(Answer { outcome, texts })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::super::demo;
    use super::*;
    use crate::engine::{Finish, Sampling};
    use crate::text::{Conversation, Message, Role};

    const REQUEST: Request = Request { sampling: Sampling::GREEDY, max_tokens: Some(12) };

    #[test]
    fn an_answer_comes_in_pieces_and_ends_when_nobody_wants_it() {
        let text = demo::text();
        let mut generator = demo::load(128, Some(&text));
        let question = Conversation::new(vec![Message::new(Role::User, "What does Vec::push do?")]);
        let prompt = text.ids(&text.prompt(&question).unwrap()).unwrap();
        let (mut pieces, mut steps) = (Vec::new(), 0);
        let mut watch = |event: Event| {
            match event {
                Event::Text(Kind::Answer, piece) => pieces.push(piece.to_owned()),
                Event::Text(kind, piece) => panic!("{kind:?} {piece:?}"),
                Event::Step => steps += 1,
            }
            ControlFlow::Continue(())
        };
        let whole = answer(&mut generator, 0, Some(&text), &prompt, &REQUEST, &mut watch).unwrap();
        let texts = whole.texts.unwrap();
        assert_eq!((pieces.concat(), texts.thinking, texts.tool_calls), (texts.answer.clone(), None, vec![]));
        assert!(pieces.len() > 4 && steps >= whole.outcome.ids.len(), "{pieces:?} {steps}");

        // Ended by who gets the second piece: there is no third.
        let mut taken = Vec::new();
        let mut watch = |event: Event| match event {
            Event::Text(_, piece) => {
                taken.push(piece.to_owned());
                if taken.len() < 2 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            }
            Event::Step => ControlFlow::Continue(()),
        };
        let ended = answer(&mut generator, 0, Some(&text), &prompt, &REQUEST, &mut watch).unwrap();
        assert_eq!((ended.outcome.finish, &taken[..]), (Finish::Interrupted, &pieces[..2]));
        assert_eq!(ended.texts.unwrap().answer, pieces[..2].concat());

        // Ended at a step, before anything came.
        let mut never = |event: Event| if event == Event::Step { ControlFlow::Break(()) } else { panic!("{event:?}") };
        let bare = answer(&mut generator, 0, None, &prompt, &REQUEST, &mut never).unwrap();
        assert_eq!((bare.outcome.finish, bare.outcome.ids.len(), bare.texts), (Finish::Interrupted, 1, None));
    }
}
