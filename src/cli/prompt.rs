//! `lapidary prompt`: what a conversation turns into.

use std::io::Write;
use std::path::PathBuf;

use super::args::{IdleAdapter, Ids, ModelArguments};
use super::input::Limit;

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
    let conversation = Limit::of_model(&arguments.model).conversation(&arguments.messages)?;
    let text = arguments.model.required_text(|fault| fault)?;
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
