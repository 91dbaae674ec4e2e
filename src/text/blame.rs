//! Whose fault it is that a conversation cannot be rendered: a template that gets through a short one is no fault of the
//! checkpoint.

use super::conversation::{Conversation, Role};
use super::special::Prompt;
use crate::error::{Error, Result};

/// Messages of a conversation that is not too long for any template.
const FEW_MESSAGES: usize = 64;

/// `error` of rendering `conversation`, or that it is too long, where its first messages alone are rendered.
pub(super) fn blamed(
    error: Error,
    conversation: &Conversation,
    render: impl Fn(&Conversation) -> Result<Prompt>,
) -> Error {
    let messages = &conversation.messages;
    let few = messages.len().min(FEW_MESSAGES);
    let last = messages[..few].iter().rposition(|message| message.role == Role::User);
    let (Error::Model(faults), Some(last), true) = (&error, last, messages.len() > few) else { return error };
    let short = Conversation { messages: messages[..=last].to_vec(), ..conversation.without_messages() };
    match render(&short) {
        Err(_) => error,
        Ok(_) => Error::Usage(format!(
            "conversation: found {} messages, too many for the checkpoint's template ({faults}), expected fewer; the \
             first {} alone are rendered",
            messages.len(),
            last + 1
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::super::conversation::Message;
    use super::*;

    fn conversation(pairs: usize) -> Conversation {
        let pair = [Message::new(Role::User, "a"), Message::new(Role::Assistant, "b")];
        Conversation::new(std::iter::repeat_n(pair, pairs).flatten().collect())
    }

    /// What is said of a conversation that a template cannot render, one that renders up to `most` messages.
    fn said(pairs: usize, most: usize) -> Error {
        let render = |short: &Conversation| match short.messages.len() <= most {
            true => Ok(Prompt { text: String::new(), pieces: Vec::new() }),
            false => Err(Error::model("out of steps")),
        };
        blamed(Error::model("out of steps"), &conversation(pairs), render)
    }

    #[test]
    fn a_conversation_that_is_too_long_is_not_the_template_s_fault() {
        let expected = "conversation: found 10000 messages, too many for the checkpoint's template (out of steps), expected \
                        fewer; the first 63 alone are rendered";
        assert_eq!(said(5000, 1000).to_string(), expected);
        assert!(matches!(said(5000, 1000), Error::Usage(_)));
    }

    #[test]
    fn a_template_that_renders_nothing_is_at_fault() {
        for (pairs, most) in [(1, 0), (32, 63), (5000, 62), (5000, 0)] {
            assert!(matches!(said(pairs, most), Error::Model(_)), "{pairs} {most}");
        }
    }
}
