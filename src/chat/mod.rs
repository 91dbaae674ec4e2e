//! Conversations with a model: what the command line, a server and other programs share. No flags, no terminal.
//!
//! [`Chat::open`] is the short way: a checkpoint, the default adapter and all defaults, which are those of `lapidary chat`.
//! The parts are for programs that want more of a say:
//!
//! 1. [`required_text`] opens tokenizer and templates, [`check_vocabulary`] compares them with the model.
//! 2. [`Settings`] are how answers are sampled: what was [`Asked`], and for the rest what the checkpoint's makers want.
//! 3. [`generator()`] loads the model, and loads it again where the device is lost.
//! 4. A [`Session`] holds what has been said and makes a prompt of it that fits the context; [`check_prompt`] is for prompts
//!    that come from elsewhere.
//! 5. [`answer()`] streams one answer: ids become pieces of text, sorted into answer, thinking and tool calls.
//!
//! [`Chat`] puts 2 to 5 together for one conversation with one model.

mod answer;
#[cfg(test)]
mod demo;
mod generator;
#[cfg(test)]
mod long_chat;
mod prompt;
mod session;
mod settings;
mod talk;
mod tokenizer;

pub use answer::{Answer, Event, Texts, answer};
pub use generator::generator;
pub use prompt::{check_ids, check_prompt};
pub use session::{Fitted, Session, is_recoverable};
pub use settings::{Asked, Setting, Settings, Unsupported, unsupported};
pub use talk::Chat;
pub use tokenizer::{check_vocabulary, no_tokenizer, required_text};
