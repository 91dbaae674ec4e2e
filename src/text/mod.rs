//! Text: tokenizer, chat template, streamed decoding, thinking channel. Strings and token ids only, never tensors.
//!
//! The way of a chat turn:
//!
//! 1. A [`Conversation`] (messages, tools, switches) is read and checked: [`Conversation::from_json`].
//! 2. [`TextModel::prompt`] renders it with the checkpoint's [`ChatTemplate`]. The [`Prompt`] knows which special tokens
//!    the template wrote; a user who types `<turn|>` sends text.
//! 3. [`TextModel::ids`] encodes the prompt with the [`Tokenizer`].
//! 4. Generated ids go through a [`Reply`], which decodes them as they come ([`StreamDecoder`]) and sorts them into
//!    answer, thinking and tool calls ([`ChannelSplitter`]).
//!
//! Files come from strangers: sizes are capped, templates have a budget of steps, and a panic in a parser is an error.

mod blame;
mod channel;
mod clock;
mod conversation;
mod jinja;
mod reply;
mod special;
mod stream;
mod template;
mod tokenizer;
mod tokenizer_file;
mod tokenizer_model;
mod tokenizer_parts;

use serde_json::Value;

use crate::error::{Error, Result};

pub use channel::{ChannelSplitter, Event, Kind};
pub use conversation::{Conversation, Message, Role};
pub use reply::Reply;
pub use special::{Piece, Prompt, Specials};
pub use stream::StreamDecoder;
pub use template::{ChatTemplate, MAX_TEMPLATE_BYTES};
pub use tokenizer::Tokenizer;
pub use tokenizer_file::{MAX_FILE_BYTES, MAX_VOCABULARY};

/// The text side of a checkpoint.
#[derive(Debug)]
pub struct TextModel {
    /// The vocabulary.
    pub tokenizer: Tokenizer,
    /// The chat template; base models have none.
    pub template: Option<ChatTemplate>,
}

impl TextModel {
    /// Takes the contents of `tokenizer.json`, `chat_template.jinja` and `tokenizer_config.json`. The template of the
    /// second wins over one in the third, which also says how `<bos>` and `<eos>` are spelled.
    ///
    /// # Errors
    /// [`Error::Model`] for a file that cannot be used.
    pub fn load(
        tokenizer_json: &[u8],
        chat_template: Option<&str>,
        tokenizer_config_json: Option<&[u8]>,
    ) -> Result<Self> {
        let config = match tokenizer_config_json {
            None => Value::Null,
            Some(json) if json.len() > MAX_FILE_BYTES => {
                return Err(config_fault(format!("{} bytes, expected at most {MAX_FILE_BYTES}", json.len())));
            }
            Some(json) => serde_json::from_slice(json).map_err(|e| config_fault(e.to_string()))?,
        };
        let bos = token_spelling(&config, "bos_token", "<bos>")?;
        let eos = token_spelling(&config, "eos_token", "<eos>")?;
        let source = match chat_template {
            Some(source) => Some(source),
            None => template_source(&config)?,
        };
        let template = source.map(|source| ChatTemplate::from_source(source, bos, eos)).transpose()?;
        Ok(Self { tokenizer: Tokenizer::from_bytes(tokenizer_json)?, template })
    }

    /// The prompt of a conversation.
    ///
    /// # Errors
    /// [`Error::Model`] if the checkpoint has no chat template, [`Error::Usage`] if the conversation does not fit it.
    pub fn prompt(&self, conversation: &Conversation) -> Result<Prompt> {
        let Some(template) = &self.template else {
            let expected = "chat_template.jinja, or chat_template in tokenizer_config.json";
            return Err(Error::model(format!("chat template: found none, expected {expected}")));
        };
        let render = |conversation: &Conversation| template.render(conversation, self.tokenizer.specials());
        render(conversation).map_err(|error| blame::blamed(error, conversation, render))
    }

    /// The token ids of a prompt, as the template wrote it: no `<bos>` is added.
    ///
    /// # Errors
    /// [`Error::Model`] if the tokenizer fails.
    pub fn ids(&self, prompt: &Prompt) -> Result<Vec<u32>> {
        self.tokenizer.encode_prompt(prompt)
    }
}

/// The chat template in `tokenizer_config.json`: a string, or a list of named ones of which `default` is meant.
fn template_source(config: &Value) -> Result<Option<&str>> {
    match &config["chat_template"] {
        Value::Null => Ok(None),
        Value::String(source) => Ok(Some(source)),
        Value::Array(list) => {
            let default = list.iter().find(|entry| entry["name"] == "default");
            let source = default.and_then(|entry| entry["template"].as_str());
            source
                .map(Some)
                .ok_or_else(|| config_fault("chat_template: found a list without \"default\", expected one"))
        }
        _ => Err(config_fault("chat_template: found neither a string nor a list, expected one of them")),
    }
}

/// A token's spelling in `tokenizer_config.json`: a string, or an object with `content`.
fn token_spelling<'c>(config: &'c Value, key: &str, fallback: &'c str) -> Result<&'c str> {
    match &config[key] {
        Value::Null => Ok(fallback),
        Value::String(spelling) => Ok(spelling),
        other => other["content"].as_str().ok_or_else(|| {
            config_fault(format!("{key}: found no spelling, expected a string or an object with content"))
        }),
    }
}

fn config_fault(what: impl std::fmt::Display) -> Error {
    Error::model(format!("tokenizer_config.json: {what}"))
}
