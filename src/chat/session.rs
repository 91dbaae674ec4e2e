//! The conversation of a chat, without terminal and model: its turns, and which of them fit the context.

use crate::engine::check_length;
use crate::text::{Conversation, Message, Role, TextModel};
use crate::{Error, Result};

/// A user's message and its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Turn {
    user: String,
    answer: String,
}

/// What has been said.
#[derive(Debug, Default)]
pub struct Session {
    /// Instructions ahead of the conversation.
    pub system: Option<String>,
    /// Whether the model thinks before it answers.
    pub thinking: bool,
    turns: Vec<Turn>,
}

/// A prompt that fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fitted {
    /// The message that it is for.
    pub message: String,
    /// Its tokens.
    pub ids: Vec<u32>,
    /// The oldest turns that had to leave the conversation for it.
    pub left: usize,
}

impl Session {
    /// Turns that the conversation holds.
    pub fn turns(&self) -> usize {
        self.turns.len()
    }

    /// Forgets all turns.
    pub fn clear(&mut self) {
        self.turns.clear();
    }

    /// Keeps a turn. Thoughts are not part of an answer: a template would cut them out again.
    pub fn push(&mut self, user: &str, answer: &str) {
        self.turns.push(Turn { user: user.to_owned(), answer: answer.to_owned() });
    }

    /// Fails where no message can become a prompt, before a model is loaded for nothing.
    ///
    /// # Errors
    /// Those of [`TextModel::prompt`]: there is no chat template, or it cannot be used.
    pub fn check_template(text: &TextModel) -> Result<()> {
        Session::default().prompt(text, "?", usize::MAX, 0).map(drop)
    }

    /// Tokens of a context that stay free for an answer of at most so many: at most a quarter of it. Turns leave for it before
    /// an answer is cut short, several at once, as each time costs a prefill.
    pub fn room(max_tokens: Option<usize>, context: usize) -> usize {
        max_tokens.unwrap_or(usize::MAX).min(context / 4)
    }

    /// The prompt of a new message in a context of so many tokens, `room` of which stay free for the answer. Where it
    /// does not fit, the oldest turns leave until a quarter of the context is free beyond the room, for the turns that
    /// follow: the rest has to be run again, as its positions are others. The system turn stays. A message alone
    /// may use the room.
    ///
    /// # Errors
    /// [`Error::Usage`] where the message alone is too long, or the template refuses it; the conversation stays.
    pub fn prompt(&mut self, text: &TextModel, message: &str, context: usize, room: usize) -> Result<Fitted> {
        let most = context.saturating_sub(room.max(1));
        let ids_without = |left: usize| text.ids(&text.prompt(&self.conversation(left, message))?);
        let mut ids = ids_without(0)?;
        let mut left = 0;
        if ids.len() > most && !self.turns.is_empty() {
            let most = most.saturating_sub(context / 4);
            // Dropping more turns never adds tokens, so bisect for the fewest.
            let (mut too_few, mut enough) = (0, self.turns.len());
            ids = ids_without(enough)?;
            while enough - too_few > 1 {
                let middle = usize::midpoint(too_few, enough);
                let shorter = ids_without(middle)?;
                if shorter.len() > most {
                    too_few = middle;
                } else {
                    (enough, ids) = (middle, shorter);
                }
            }
            left = enough;
        }
        check_length(ids.len(), context)?;
        self.turns.drain(..left);
        Ok(Fitted { message: message.to_owned(), ids, left })
    }

    fn conversation(&self, left: usize, message: &str) -> Conversation {
        let mut messages = Vec::new();
        messages.extend(self.system.as_ref().map(|system| Message::new(Role::System, system)));
        for turn in &self.turns[left..] {
            messages.push(Message::new(Role::User, &turn.user));
            messages.push(Message::new(Role::Assistant, &turn.answer));
        }
        messages.push(Message::new(Role::User, message));
        Conversation { enable_thinking: self.thinking, ..Conversation::new(messages) }
    }
}

/// Whether the fault is the message's and the chat can go on.
pub fn is_recoverable(error: &Error) -> bool {
    matches!(error, Error::Usage(_) | Error::Memory(_))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::super::demo::text;
    use super::*;

    fn rendered(session: &Session, text: &TextModel, left: usize, user: &str) -> String {
        text.prompt(&session.conversation(left, user)).unwrap().text
    }

    #[test]
    fn a_conversation_is_rendered_turn_by_turn() {
        let (text, mut session) = (text(), Session { system: Some("Be brief.".into()), ..Session::default() });
        session.push("a?", "b.");
        let fitted = session.prompt(&text, "c?", 8192, 100).unwrap();
        let expected = "<bos><|turn>system\nBe brief.<turn|>\n<|turn>user\na?<turn|>\n<|turn>model\nb.<turn|>\n\
                        <|turn>user\nc?<turn|>\n<|turn>model\n<|channel>thought\n<channel|>";
        assert_eq!(rendered(&session, &text, 0, "c?"), expected);
        assert_eq!(fitted.left, 0);
        session.thinking = true;
        let thinking = rendered(&session, &text, 0, "c?");
        assert!(thinking.contains("<|think|>") && thinking.ends_with("<|turn>model\n"), "{thinking}");
    }

    #[test]
    fn the_oldest_turns_leave_for_a_while_and_the_system_turn_stays() {
        let text = text();
        let full = || {
            let mut session = Session { system: Some("Be brief.".into()), ..Session::default() };
            for i in 0..9 {
                session.push(&format!("question number {i}"), &format!("answer number {i}"));
            }
            session
        };
        let lengths: Vec<usize> = (0..=9)
            .map(|left| text.ids(&text.prompt(&full().conversation(left, "x")).unwrap()).unwrap().len())
            .collect();
        for length in &lengths {
            // Exactly so many tokens as the prompt without some turns has, beside 10 for the answer.
            let (context, mut session) = (length + 10, full());
            let fitted = session.prompt(&text, "x", context, 10).unwrap();
            let fits = |tokens: &usize| *tokens <= length.saturating_sub(context / 4);
            let left = if *length == lengths[0] { 0 } else { lengths.iter().position(fits).unwrap_or(9) };
            assert_eq!((fitted.left, fitted.ids.len(), session.turns()), (left, lengths[left], 9 - left));
            // The next turns find room.
            if (1..9).contains(&left) {
                session.push("x", "a short answer");
                assert_eq!(session.prompt(&text, "y", context, 10).unwrap().left, 0);
            }
            let prompt = rendered(&session, &text, 0, "x");
            assert!(
                prompt.contains("Be brief.") && !prompt.contains(&format!("question number {}", left.wrapping_sub(1)))
            );
            assert!(left == 9 || prompt.contains(&format!("question number {left}")));
        }
    }

    #[test]
    fn a_message_that_is_too_long_alone_changes_nothing() {
        let (text, mut session) = (text(), Session::default());
        session.push("a?", "b.");
        let error = session.prompt(&text, &"word ".repeat(100), 64, 16).unwrap_err();
        let found = text.ids(&text.prompt(&session.conversation(1, &"word ".repeat(100))).unwrap()).unwrap().len();
        assert_eq!(
            error.to_string(),
            format!("the prompt has {found} tokens, but the context is 64: expected at most 63")
        );
        assert!(is_recoverable(&error));
        assert_eq!(session.turns(), 1);
    }

    #[test]
    fn a_message_alone_may_use_the_answer_s_room() {
        let (text, mut session) = (text(), Session::default());
        let length = session.prompt(&text, "a?", 8192, 0).unwrap().ids.len();
        session.push("c?", "d.");
        let fitted = session.prompt(&text, "a?", length + 1, 500).unwrap();
        assert_eq!((fitted.left, fitted.ids.len()), (1, length));
        assert!(session.prompt(&text, "a?", length, 0).is_err());
    }

    #[test]
    fn an_answer_gets_at_most_a_quarter_of_the_context() {
        assert_eq!(
            [Session::room(None, 1000), Session::room(Some(20), 1000), Session::room(Some(900), 1000)],
            [250, 20, 250]
        );
    }

    #[test]
    fn a_template_that_is_missing_is_told_before_anything_is_loaded() {
        Session::check_template(&text()).unwrap();
        let tokenizer = std::fs::read("examples/demo-model/tokenizer.json").unwrap();
        let error = Session::check_template(&TextModel::load(&tokenizer, None, None).unwrap()).unwrap_err();
        assert!(matches!(error, Error::Model(_)) && !is_recoverable(&error), "{error}");
    }
}
