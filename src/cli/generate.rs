//! `lapidary generate`: one answer.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;

use lapidary::chat::{self, Answer, check_prompt, check_vocabulary};
use lapidary::engine::{Finish, Generator, Request};
use lapidary::error::{Defect, Place, Remedy};
use lapidary::text::{Conversation, Kind, Message, Role, TextModel};
use lapidary::{Error, Result};
use serde_json::json;

use super::args::{Ids, SamplingArguments};
use super::input::Limit;
use super::run::RunArguments;
use super::settings::settings;
use super::signals::INTERRUPTED;
use super::stream::stream_answer;
use super::terminal::{harmless, note, shown};

/// Generate one answer to a prompt, as text or JSON
///
/// The prompt is --prompt or --messages (through the chat template), --raw or --ids (as they are), or else stdin, as
/// --prompt. Text goes to stdout as it is made, everything else to stderr. Text may have 8 bytes for each token of the
/// context, and 16 MiB.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lapidary generate --prompt 'What does Vec::push do?' --temperature 0
  lapidary generate --model DIR --messages chat.json --max-tokens 200 --json
  git diff | lapidary generate --model DIR --seed 7
  lapidary generate --model DIR --ids 2,105,9 --json
  lapidary generate --model BASE --raw 'The three laws of robotics are' --max-tokens 100

The object of --json has prompt_ids, ids (with the stop id), text (without it; null without a
tokenizer), thinking (null if there is none), finish_reason (stop, length, interrupted), timings.")]
pub(super) struct Arguments {
    #[command(flatten)]
    run: RunArguments,
    /// The user's message
    #[arg(long, value_name = "TEXT", group = "input", allow_hyphen_values = true)]
    prompt: Option<String>,
    /// A conversation as `lapidary prompt --help` shows it; - for stdin
    #[arg(long, value_name = "FILE.json", group = "input")]
    messages: Option<PathBuf>,
    /// Text that the model goes on with, as base models need it; - for stdin. No template: only what the tokenizer puts
    /// around a text is added, `<bos>` in front, and a special token's name is that token
    #[arg(long, value_name = "TEXT", group = "input", allow_hyphen_values = true)]
    raw: Option<String>,
    /// Token ids, raw: no template and nothing added
    #[arg(long, value_name = "LIST", group = "input", allow_hyphen_values = true)]
    ids: Option<Ids>,
    /// Print one JSON object instead of the text
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    sampling: SamplingArguments,
}

/// Runs the command.
pub(super) fn run(arguments: Arguments) -> anyhow::Result<u8> {
    let checkpoint = Arc::new(arguments.run.model.open()?);
    let input = arguments.input(Limit::of(arguments.run.context_bound(&checkpoint)))?;
    let settings = settings(&arguments.sampling, &checkpoint.generation)?;
    let (text, ids) = match input {
        Input::Ids(ids) => (arguments.run.model.text()?, ids),
        Input::Conversation(conversation) => {
            let text = arguments.text()?;
            let ids = text.ids(&text.prompt(&conversation).map_err(or_raw)?)?;
            (Some(text), ids)
        }
        Input::Raw(raw) => {
            let text = arguments.text()?;
            let ids = text.tokenizer.encode_raw(&raw)?;
            (Some(text), ids)
        }
    };
    if ids.is_empty() {
        return Err(Error::usage("the prompt is empty, expected some text").into());
    }
    if let Some(text) = &text {
        check_vocabulary(text, &checkpoint)?;
    }
    check_prompt(&ids, &checkpoint, arguments.run.context_bound(&checkpoint))?;
    let mut generator = arguments.run.generator(&checkpoint, text.as_ref())?;
    let request = settings.request();
    let answer = match (&text, arguments.json) {
        (Some(text), false) => stream(&mut generator, text, &ids, &request)?,
        _ => stream_answer(&mut |_, _| Ok(()), |watch| {
            chat::answer(&mut generator, 0, text.as_ref(), &ids, &request, watch)
        })?,
    };
    let mut out = io::stdout().lock();
    if arguments.json {
        writeln!(out, "{}", object(&ids, &answer))?;
    } else if text.is_none() {
        note("this model has no tokenizer: token ids instead of text");
        writeln!(out, "{}", Ids(answer.outcome.ids.clone()))?;
    }
    out.flush()?;
    let interrupted = answer.outcome.finish == Finish::Interrupted;
    Ok(if interrupted { INTERRUPTED } else { 0 })
}

/// Where the answer starts from.
enum Input {
    Ids(Vec<u32>),
    Raw(String),
    Conversation(Conversation),
}

impl Arguments {
    /// The tokenizer and template.
    fn text(&self) -> Result<TextModel> {
        self.run.model.required_text(|fault| fault.remedy(Remedy::TokenIds))
    }

    fn input(&self, limit: Limit) -> Result<Input> {
        if let Some(Ids(ids)) = &self.ids {
            return Ok(Input::Ids(ids.clone()));
        }
        if let Some(path) = &self.messages {
            return limit.conversation(path).map(Input::Conversation);
        }
        if let Some(raw) = &self.raw {
            limit.check("--raw", raw)?;
            return Ok(Input::Raw(if raw == "-" { limit.stdin()? } else { raw.clone() }));
        }
        let prompt = match &self.prompt {
            Some(prompt) => {
                limit.check("--prompt", prompt)?;
                prompt.clone()
            }
            None if io::stdin().is_terminal() => {
                return Err(Error::usage(
                    "no prompt, expected --prompt TEXT, --messages FILE.json, --raw TEXT, --ids LIST or text on stdin",
                ));
            }
            // A file that was written on Windows has a carriage return at each line's end, which is no part of the text.
            None => limit.stdin()?.replace("\r\n", "\n"),
        };
        if prompt.trim().is_empty() {
            return Err(Error::usage("the prompt is empty, expected some text"));
        }
        Ok(Input::Conversation(Conversation::new(vec![Message::new(Role::User, prompt)])))
    }
}

/// Says what a model without a chat template can do.
fn or_raw(error: Error) -> Error {
    match error {
        Error::Model(faults) => match faults.list() {
            [one] if one.place == Place::Template && one.defect == Defect::Missing => {
                one.clone().remedy(Remedy::RawText).into()
            }
            _ => Error::Model(faults),
        },
        other => other,
    }
}

/// Prints the answer's text as it comes, and ends its last line. Thoughts and tool calls are no part of it.
fn stream(generator: &mut Generator, text: &TextModel, ids: &[u32], request: &Request) -> anyhow::Result<Answer> {
    let mut out = io::stdout().lock();
    let terminal = out.is_terminal();
    let mut open_line = false;
    let mut show = |kind, piece: &str| {
        if kind != Kind::Answer {
            return Ok(());
        }
        open_line = !piece.ends_with('\n');
        out.write_all(shown(piece, terminal).as_bytes())?;
        out.flush()
    };
    let done = stream_answer(&mut show, |watch| chat::answer(generator, 0, Some(text), ids, request, watch))?;
    if open_line {
        writeln!(out)?;
    }
    for call in done.texts.iter().flat_map(|texts| &texts.tool_calls) {
        note(format_args!("the model calls a tool: {}", harmless(call)));
    }
    Ok(done)
}

fn object(prompt_ids: &[u32], answer: &Answer) -> serde_json::Value {
    let timings = answer.outcome.timings;
    json!({
        "prompt_ids": prompt_ids,
        "ids": answer.outcome.ids,
        "text": answer.texts.as_ref().map(|texts| &texts.answer),
        "thinking": answer.texts.as_ref().and_then(|texts| texts.thinking.as_ref()),
        "finish_reason": match answer.outcome.finish {
            Finish::Stop => "stop",
            Finish::Length => "length",
            Finish::Interrupted => "interrupted",
        },
        "timings": {
            "prompt_tokens": timings.prompt_tokens,
            "prompt_seconds": timings.prompt_seconds,
            "decode_tokens": timings.decode_tokens,
            "decode_seconds": timings.decode_seconds,
        },
    })
}
