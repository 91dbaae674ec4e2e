//! `lapidary prompt`: what a conversation turns into.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use lapidary::text::Conversation;
use lapidary::{Error, Result};

use super::args::{IdleAdapter, Ids, ModelArguments};
use super::model::{read_input, without_mark};

/// Print the text or the token ids that a conversation turns into
///
/// Needs the tokenizer and the chat template only: no weights, no GPU. Nothing is added to the text, not even a line's
/// end.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
FILE holds a list of messages, or an object:
  {\"messages\": [{\"role\": \"user\", \"content\": \"Hello\"}], \"tools\": [],
   \"enable_thinking\": false, \"add_generation_prompt\": true}

Example:
  lapidary generate --ids $(lapidary prompt --messages chat.json --ids)")]
pub(super) struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    #[command(flatten)]
    adapter: IdleAdapter,
    /// The conversation; - for stdin
    #[arg(long, value_name = "FILE.json")]
    messages: PathBuf,
    /// Print token ids, as `--ids` of other commands takes them
    #[arg(long)]
    ids: bool,
}

/// Runs the command.
pub(super) fn run(arguments: Arguments) -> anyhow::Result<u8> {
    let conversation = read_conversation(&arguments.messages)?;
    let text = arguments.model.required_text("")?;
    let prompt = text.prompt(&conversation)?;
    let mut out = std::io::stdout().lock();
    if arguments.ids {
        writeln!(out, "{}", Ids(text.ids(&prompt)?))?;
    } else {
        out.write_all(prompt.text.as_bytes())?;
    }
    out.flush()?;
    Ok(0)
}

/// Reads a conversation from a file, or from stdin for `-`.
///
/// # Errors
/// [`Error::Usage`] for what cannot be read or is no conversation.
pub(super) fn read_conversation(path: &Path) -> Result<Conversation> {
    let json = if path == Path::new("-") {
        let mut json = Vec::new();
        std::io::stdin().read_to_end(&mut json).map_err(|error| Error::Usage(format!("stdin: {error}")))?;
        without_mark(json)
    } else {
        read_input(path)?
    };
    Conversation::from_json(&json)
}
