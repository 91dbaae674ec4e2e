//! Text: tokenizer, chat template, streamed decoding, thinking channel. Strings and token ids only, never tensors.
//!
//! The way of a chat turn:
//!
//! 1. A [`Conversation`] (messages, tools, switches) is read and checked: [`Conversation::from_json`].
//! 2. [`TextModel::prompt`] renders it with the checkpoint's [`ChatTemplate`]. The [`Prompt`] knows which special tokens
//!    the template wrote; a user who types `<turn|>` sends text.
//! 3. [`TextModel::ids`] encodes the prompt with the [`Tokenizer`].
//! 4. Generated ids go through a [`Reply`], which decodes them as they come ([`StreamDecoder`]) and sorts them into
//!    answer, thinking and tool calls (by the markers among them).
//!
//! Files come from strangers: sizes are capped, templates have a budget of steps, and a panic in a parser is an error.

mod channel;
mod clock;
mod conversation;
mod jinja;
mod reply;
mod special;
mod stream;
mod template;
mod templates;
mod tokenizer;
mod tokenizer_fault;
mod tokenizer_file;
mod tokenizer_model;
mod tokenizer_parts;

use templates::Templates;

use crate::checkpoint::Source;
use crate::error::Result;

pub use channel::Kind;
pub use conversation::{Conversation, Message, Role};
pub use reply::{Reply, Said};
pub use special::{Piece, Prompt, Specials};
pub use stream::StreamDecoder;
pub use template::{ChatTemplate, MAX_TEMPLATE_BYTES};
pub use tokenizer::Tokenizer;
pub use tokenizer_file::MAX_FILE_BYTES;
pub use tokenizer_model::MAX_VOCABULARY;

/// The text side of a checkpoint.
#[derive(Debug)]
pub struct TextModel {
    /// The vocabulary.
    pub tokenizer: Tokenizer,
    templates: Templates,
}

impl TextModel {
    /// Reads the text side of a checkpoint, `None` where there is no `tokenizer.json`. Templates are those of
    /// `chat_template.jinja`, `additional_chat_templates`, `chat_template.json` or `tokenizer_config.json`; the last one also
    /// says how `<bos>` and `<eos>` are spelled. What is wrong with these is found when a conversation needs them.
    ///
    /// # Errors
    /// [`crate::Error::Model`] for a `tokenizer.json` that cannot be used, and those of [`Source::read`].
    pub fn open(source: &Source) -> Result<Option<Self>> {
        source.check()?;
        let Some(tokenizer) = source.read("tokenizer.json")? else { return Ok(None) };
        let templates = Templates::read(source)?;
        Ok(Some(Self { tokenizer: Tokenizer::from_bytes(&tokenizer)?, templates }))
    }

    /// Takes the contents of `tokenizer.json`, `chat_template.jinja` and `tokenizer_config.json`, as [`TextModel::open`]
    /// reads them.
    ///
    /// # Errors
    /// [`crate::Error::Model`] for a `tokenizer.json` that cannot be used.
    pub fn load(
        tokenizer_json: &[u8],
        chat_template: Option<&str>,
        tokenizer_config_json: Option<&[u8]>,
    ) -> Result<Self> {
        let templates = Templates::from_contents(chat_template, tokenizer_config_json);
        Ok(Self { tokenizer: Tokenizer::from_bytes(tokenizer_json)?, templates })
    }

    /// The chat template for conversations with or without tools.
    ///
    /// # Errors
    /// [`crate::Error::Model`] if the checkpoint has none, or one that cannot be used.
    pub fn template(&self, tools: bool) -> Result<&ChatTemplate> {
        self.templates.get(tools)
    }

    /// The prompt of a conversation.
    ///
    /// # Errors
    /// Those of [`TextModel::template`]; [`crate::Error::Usage`] if the conversation does not fit the template.
    pub fn prompt(&self, conversation: &Conversation) -> Result<Prompt> {
        self.template(conversation.tools.is_some())?.render(conversation, self.tokenizer.specials())
    }

    /// The token ids of a prompt, as the template wrote it: no `<bos>` is added.
    ///
    /// # Errors
    /// [`crate::Error::Model`] if the tokenizer fails.
    pub fn ids(&self, prompt: &Prompt) -> Result<Vec<u32>> {
        self.tokenizer.encode_prompt(prompt)
    }
}
