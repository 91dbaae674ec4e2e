//! `lapidary chat`: a conversation in the terminal.

mod commands;
mod input;
mod show;

use std::sync::Arc;

use lapidary::Error;
use lapidary::chat::{Session, check_vocabulary, is_recoverable};
use lapidary::engine::{Finish, Timings};

use super::args::SamplingArguments;
use super::fault;
use super::input::Limit;
use super::run::RunArguments;
use super::settings::{describe, parse, settings};
use super::signals::{self, INTERRUPTED};
use super::stream::stream_answer;
use super::terminal::{note, plural, size};
use commands::{Assignment, Command};
use input::{Input, Reader};
use show::Show;

/// Talk to a model
///
/// Answers stream as they are made, and the conversation is kept. Ctrl-C stops an answer and keeps the chat, Ctrl-D
/// leaves, /help lists the commands. Where stdin is no terminal, each line is a message, until the end; after a line that
/// failed, the rest is still answered, and the exit code is that of the first failure. Answers go to stdout, everything
/// else to stderr.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lapidary chat
  lapidary chat --model DIR --temperature 0 --context 16384
  echo 'What is a slice?' | lapidary chat > answer.txt")]
pub(super) struct Arguments {
    #[command(flatten)]
    run: RunArguments,
    #[command(flatten)]
    sampling: SamplingArguments,
}

/// Runs the command.
pub(super) fn run(arguments: Arguments) -> anyhow::Result<u8> {
    let checkpoint = Arc::new(arguments.run.model.open()?);
    let text = arguments.run.model.required_text(|fault| fault.expected("one to turn text into tokens and back"))?;
    check_vocabulary(&text, &checkpoint)?;
    let settings = settings(&arguments.sampling, &checkpoint.generation)?;
    // A model without a template is told before it is loaded.
    Session::check_template(&text)?;
    let generator = arguments.run.generator(&checkpoint, Some(&text))?;
    let reader = Reader::new(Limit::of(generator.model().context()).bytes())?;
    if reader.is_edited() {
        note("/help lists the commands, Ctrl-C stops an answer, Ctrl-D leaves");
    }
    Chat { chat: lapidary::chat::Chat::new(text, generator, settings), last: None }.talk(reader)
}

/// A chat with all that it knows.
struct Chat {
    chat: lapidary::chat::Chat,
    last: Option<Last>,
}

/// What `/stats` knows of the last answer.
struct Last {
    timings: Timings,
    seed: u64,
    greedy: bool,
}

impl Chat {
    fn talk(mut self, mut reader: Reader) -> anyhow::Result<u8> {
        let mut code = 0;
        loop {
            let done = match reader.next() {
                Ok(Input::End) => return Ok(code),
                Ok(Input::Command(line)) => match Command::read(&line) {
                    Ok(Command::Exit) => return Ok(code),
                    Ok(command) => self.obey(command).map_err(Into::into),
                    Err(error) => Err(error.into()),
                },
                Ok(Input::Message(message)) => self.reply(&message, reader.is_edited()),
                Err(error) => Err(error.into()),
            };
            if let Err(error) = done {
                let failed = error.downcast::<Error>()?;
                if !is_recoverable(&failed) {
                    return Err(failed.into());
                }
                note(fault::line(&failed));
                // A person has seen it; a script has only the exit code.
                if code == 0 && !reader.is_typed() {
                    code = failed.exit_code();
                }
            }
            if signals::terminated() || (signals::interrupted() && !reader.is_typed()) {
                return Ok(INTERRUPTED);
            }
        }
    }

    /// One message and its answer.
    fn reply(&mut self, message: &str, interactive: bool) -> anyhow::Result<()> {
        let context = self.chat.generator().model().context();
        let prompt = self.chat.fit(message)?;
        if prompt.left > 0 {
            note(format_args!(
                "(the conversation outgrew the context of {context} tokens: {} left it)",
                if prompt.left == 1 { "its oldest turn".into() } else { format!("its {} oldest turns", prompt.left) }
            ));
        }
        let request = self.chat.settings.request();
        let mut show = Show::new(interactive);
        let answered = stream_answer(&mut |kind, piece| show.piece(kind, piece), |watch| {
            self.chat.answer(&prompt, &request, watch)
        });
        show.end()?;
        let outcome = answered?.outcome;
        match outcome.finish {
            Finish::Stop => {}
            Finish::Interrupted => note("(stopped)"),
            Finish::Length => {
                let used = prompt.ids.len() + outcome.ids.len();
                note(if used >= context { cut_by_context(context) } else { cut_by_setting(request.max_tokens) });
            }
        }
        let sampling = request.sampling;
        self.last = Some(Last { timings: outcome.timings, seed: sampling.seed, greedy: sampling.is_greedy() });
        Ok(())
    }

    fn obey(&mut self, command: Command) -> lapidary::Result<()> {
        match command {
            Command::Help => note(commands::HELP),
            Command::Exit => {}
            Command::Clear => {
                self.chat.session.clear();
                note("(the conversation is forgotten)");
            }
            Command::System(None) => match &self.chat.session.system {
                Some(text) => note(format_args!("system: {text}")),
                None => note("(no system text)"),
            },
            Command::System(Some(text)) if text == "none" => {
                self.chat.session.system = None;
                note("(no system text from now on)");
            }
            Command::System(Some(text)) => {
                self.chat.session.system = Some(text);
                note("(system text set)");
            }
            Command::Think(switch) => {
                self.chat.session.thinking = switch.unwrap_or(self.chat.session.thinking);
                note(if self.chat.session.thinking { "(thinking is on)" } else { "(thinking is off)" });
            }
            Command::Set(None) => note(describe(&self.chat.settings)),
            Command::Set(Some(Assignment { key, value })) => {
                self.chat.settings.set(parse(&key, &value)?)?;
                note(format_args!("({})", describe(&self.chat.settings)));
            }
            Command::Stats => self.stats(),
        }
        Ok(())
    }

    fn stats(&self) {
        match &self.last {
            None => note("last answer: none yet"),
            Some(Last { timings: t, seed, greedy }) => {
                let rate = |tokens: usize, seconds: f64| if tokens == 0 { 0.0 } else { tokens as f64 / seconds };
                note(format_args!(
                    "prompt:   {} run in {:.2} s ({:.1} a second), {} reused",
                    plural(t.prompt_tokens, "token"),
                    t.prompt_seconds,
                    rate(t.prompt_tokens, t.prompt_seconds),
                    t.reused_tokens
                ));
                note(format_args!(
                    "answer:   {} behind the first in {:.2} s ({:.1} a second){}",
                    plural(t.decode_tokens, "token"),
                    t.decode_seconds,
                    rate(t.decode_tokens, t.decode_seconds),
                    if *greedy { String::new() } else { format!(", seed {seed}") }
                ));
            }
        }
        let model = self.chat.generator().model();
        let turns = plural(self.chat.session.turns(), "turn");
        note(format_args!("context:  {} of {} tokens used, {turns}", model.len(0), model.context()));
        note(format_args!("memory:   {} on {}", size(model.allocated_bytes()), model.gpu().adapter().info.name));
        note(format_args!("settings: {}", describe(&self.chat.settings)));
    }
}

fn cut_by_context(context: usize) -> String {
    format!("(cut short: the context of {context} tokens is full)")
}

fn cut_by_setting(max_tokens: Option<usize>) -> String {
    format!("(cut short after {}: max-tokens)", plural(max_tokens.unwrap_or_default(), "token"))
}
