//! One conversation with one model: prompts that fit, answers that stream, turns that are kept.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::answer::{Answer, Event, answer};
use super::generator::generator;
use super::session::{Fitted, Session};
use super::settings::{Asked, Settings};
use super::tokenizer::{check_vocabulary, required_text};
use crate::checkpoint::{Checkpoint, Source};
use crate::engine::{Finish, Generator, Request};
use crate::model::{Gemma4, Options};
use crate::text::TextModel;
use crate::{Result, doctor};

/// The slot that a chat's sequence is in.
const SLOT: usize = 0;

/// A conversation with a model.
#[derive(Debug)]
pub struct Chat {
    text: TextModel,
    generator: Generator,
    /// How answers are sampled, and how long they may be.
    pub settings: Settings,
    /// What has been said.
    pub session: Session,
}

impl Chat {
    /// Opens and loads a model with all defaults, which are those of `lapidary chat`: fast kernels, compiled pipelines kept in
    /// the cache folder, and an adapter, the default one or the one that `adapter` is a part of the name of, that is checked
    /// at its first start and used without what failed ([`doctor::open`]). What that has to say to people is logged.
    ///
    /// # Errors
    /// [`crate::Error::Model`] for files that are damaged, have no tokenizer or no chat template; those of [`doctor::open`] and
    /// of [`Gemma4::load`].
    pub fn open(source: Source, adapter: Option<&str>) -> Result<Chat> {
        let checkpoint = Arc::new(Checkpoint::open(source)?);
        let text = required_text(checkpoint.source())?;
        check_vocabulary(&text, &checkpoint)?;
        let settings = Settings::new(&Asked::default(), &checkpoint.generation)?;
        Session::check_template(&text)?;
        let adapter = adapter.map(str::to_owned);
        let generator = generator(&checkpoint, Some(&text), move |checkpoint, lost| {
            if let Some(why) = lost {
                log::warn!("the device was lost ({why}): the model is loaded again");
            }
            let gpu = doctor::open(adapter.as_deref(), &|line| log::info!("{line}"))?;
            Gemma4::load(gpu, checkpoint, &Options::default(), &|_| ())
        })?;
        Ok(Chat::new(text, generator, settings))
    }

    /// A conversation that begins, with a generator that [`generator()`] has made.
    pub fn new(text: TextModel, generator: Generator, settings: Settings) -> Chat {
        Chat { text, generator, settings, session: Session::default() }
    }

    /// The tokenizer and templates.
    pub fn text(&self) -> &TextModel {
        &self.text
    }

    /// The generator, and with it the model.
    pub fn generator(&self) -> &Generator {
        &self.generator
    }

    /// One message and its answer: [`Chat::fit`] and [`Chat::answer`].
    ///
    /// # Errors
    /// Those of both. Where [`super::is_recoverable`], the chat can go on.
    pub fn say(&mut self, message: &str, watch: &mut dyn FnMut(Event) -> ControlFlow<()>) -> Result<Answer> {
        let prompt = self.fit(message)?;
        let request = self.settings.request();
        self.answer(&prompt, &request, watch)
    }

    /// The prompt of a message. Where the conversation outgrew the context, its oldest turns have left it.
    ///
    /// # Errors
    /// Those of [`Session::prompt`].
    pub fn fit(&mut self, message: &str) -> Result<Fitted> {
        let context = self.generator.model().context();
        self.session.prompt(&self.text, message, context, Session::room(self.settings.max_tokens(), context))
    }

    /// The answer to `prompt` as `request` says ([`Settings::request`]), with `watch` as for [`answer()`]. It is kept with its
    /// message, unless it was ended before it began.
    ///
    /// # Errors
    /// Those of [`answer()`]; the conversation is as it was then.
    pub fn answer(
        &mut self,
        prompt: &Fitted,
        request: &Request,
        watch: &mut dyn FnMut(Event) -> ControlFlow<()>,
    ) -> Result<Answer> {
        let answered = answer(&mut self.generator, SLOT, Some(&self.text), &prompt.ids, request, watch)?;
        let said = answered.texts.as_ref().map_or("", |texts| texts.answer.as_str());
        if answered.outcome.finish != Finish::Interrupted || !said.is_empty() {
            self.session.push(&prompt.message, said);
        }
        Ok(answered)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::super::demo;
    use super::super::settings::Setting;
    use super::*;
    use crate::checkpoint::GenerationConfig;

    const CONTEXT: usize = 96;

    fn chat() -> Chat {
        let text = demo::text();
        let generator = demo::load(CONTEXT, Some(&text));
        let mut settings = Settings::new(&Asked::default(), &GenerationConfig::default()).unwrap();
        settings.set(Setting::MaxTokens(Some(8))).unwrap();
        Chat::new(text, generator, settings)
    }

    #[test]
    fn turns_are_kept_reused_and_given_up() {
        let mut chat = chat();
        let mut on = |_: Event| ControlFlow::Continue(());
        let first = chat.say("What does Vec::push do?", &mut on).unwrap();
        assert!(!first.texts.unwrap().answer.is_empty());
        let second = chat.say("And Vec::pop?", &mut on).unwrap();
        assert!(second.outcome.timings.reused_tokens > 0, "{second:?}");
        assert_eq!(chat.session.turns(), 2);
        let mut left = 0;
        for _ in 0..4 {
            let prompt = chat.fit("And what is a slice?").unwrap();
            left += prompt.left;
            assert!(prompt.ids.len() + 8 <= CONTEXT);
            chat.answer(&prompt, &chat.settings.request(), &mut on).unwrap();
        }
        assert!(left > 0 && chat.session.turns() == 6 - left, "{left} left, {} there", chat.session.turns());
    }

    #[test]
    fn a_message_that_fails_or_was_not_answered_was_not_said() {
        let mut chat = chat();
        let stopped = chat.say("What does Vec::push do?", &mut |_| ControlFlow::Break(())).unwrap();
        assert_eq!(stopped.outcome.finish, Finish::Interrupted);
        // The first piece was handed on before its taker ended the answer.
        assert_eq!(chat.session.turns(), usize::from(!stopped.texts.unwrap().answer.is_empty()));
        chat.session.clear();
        let error = chat.say(&"word ".repeat(200), &mut |_| ControlFlow::Continue(())).unwrap_err();
        assert!(super::super::session::is_recoverable(&error), "{error}");
        assert_eq!(chat.session.turns(), 0);
        chat.say("Hello", &mut |_| ControlFlow::Continue(())).unwrap();
        assert_eq!(chat.session.turns(), 1);
    }
}
