//! The command line: one file a subcommand, and what they share.
//!
//! Text goes to stdout, everything else to stderr. Arguments become calls of [`lapidary::chat`] and of what is below it:
//! [`model`] opens and loads, [`settings`] says how answers are sampled, [`stream`] shows one as it is made, [`signals`]
//! turns Ctrl-C into its end.

mod args;
mod bench;
mod chat;
mod devices;
mod doctor;
mod fault;
mod generate;
mod input;
mod inspect;
mod logits;
mod model;
mod output;
mod prompt;
mod ranks;
mod run;
mod settings;
mod signals;
mod stream;
mod terminal;
#[cfg(windows)]
mod windows;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use lapidary::error::{LINE_CHARACTERS, harmless};

const EXAMPLES: &str = "\
Examples:
  lapidary chat                   talk to the demo model that is part of this program
  lapidary chat --model DIR       talk to a model in a directory
  lapidary generate --prompt 'What does Vec::push do?' --temperature 0
  lapidary inspect --model DIR    what is in it, and the GPU memory that it takes
  lapidary bench --model DIR      how fast it is here
  lapidary devices                the adapters of this machine, and which one is used
  lapidary doctor                 whether the adapter computes what it should

Exit codes: 0 ok, 2 usage, 3 model files, 4 device or memory, 5 run time, 130 interrupted,
1 anything else.";

/// Gemma 4 on any GPU: int4 checkpoints, straight through WGSL compute shaders.
#[derive(Debug, Parser)]
#[command(name = "lapidary", version, after_help = EXAMPLES, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Chat(chat::Arguments),
    Generate(generate::Arguments),
    Prompt(prompt::Arguments),
    Logits(logits::Arguments),
    Bench(bench::Arguments),
    Inspect(inspect::Arguments),
    Devices(devices::Arguments),
    Doctor(doctor::Arguments),
}

/// Runs the command that the arguments name.
pub(crate) fn main() -> ExitCode {
    #[cfg(windows)]
    windows::forbid_libraries_of_the_current_folder();
    signals::install();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return refuse(&error),
    };
    let json = arguments.command.is_json();
    let done = match arguments.command {
        Command::Chat(arguments) => chat::run(arguments),
        Command::Generate(arguments) => generate::run(arguments),
        Command::Prompt(arguments) => prompt::run(arguments),
        Command::Logits(arguments) => logits::run(arguments),
        Command::Bench(arguments) => bench::run(arguments),
        Command::Inspect(arguments) => inspect::run(arguments),
        Command::Devices(arguments) => devices::run(arguments),
        Command::Doctor(arguments) => doctor::run(arguments),
    };
    ExitCode::from(done.unwrap_or_else(|error| report(&error, json)))
}

impl Command {
    /// Whether one JSON object goes to stdout, for programs: an error is one too then.
    fn is_json(&self) -> bool {
        match self {
            Command::Generate(arguments) => arguments.json,
            Command::Bench(arguments) => arguments.json,
            Command::Doctor(arguments) => arguments.json,
            _ => false,
        }
    }
}

/// Prints what the arguments' parser has to say: help and version in full on stdout, a fault as one line on stderr.
fn refuse(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        let printed = error.print();
        return ExitCode::from(match printed {
            _ if error.use_stderr() => 2,
            Ok(()) => 0,
            Err(fault) => report(&fault.into(), false),
        });
    }
    terminal::note(harmless(&usage_fault(&error.render().to_string()), LINE_CHARACTERS));
    ExitCode::from(2)
}

/// The parser's fault and its tip in one line; the usage that it adds is in `--help`.
fn usage_fault(rendered: &str) -> String {
    let lines = rendered.lines().map(str::trim).filter(|line| !line.is_empty());
    let mut out = String::new();
    for line in lines.take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information")) {
        let join = if out.is_empty() {
            ""
        } else if line.starts_with("tip:") {
            "; "
        } else {
            " "
        };
        out.push_str(join);
        out.push_str(line);
    }
    format!("{out} (see --help)")
}

/// Prints an error and says the exit code.
fn report(error: &anyhow::Error, json: bool) -> u8 {
    let closed_pipe = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
    };
    if error.chain().any(closed_pipe) {
        return 0; // The reader has seen enough.
    }
    if let Some(error) = error.downcast_ref::<lapidary::Error>() {
        terminal::note(fault::line(error));
        if json {
            // What reads stdout may be gone; stderr has it all.
            writeln!(io::stdout(), "{}", fault::object(error)).ok();
        }
        return error.exit_code();
    }
    // Files' errors have their path with them; what comes bare is what stdout said.
    let from = if error.is::<io::Error>() { "stdout: " } else { "" };
    terminal::note(format_args!("error: {from}{}", harmless(&error.to_string(), LINE_CHARACTERS)));
    1
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_do_not_contradict_each_other() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_usage_fault_is_one_line() {
        let fault = |args: &[&str]| usage_fault(&Arguments::try_parse_from(args).unwrap_err().render().to_string());
        assert_eq!(
            fault(&["lapidary", "chat", "--modle", "x"]),
            "error: unexpected argument '--modle' found; tip: a similar argument exists: '--model' (see --help)"
        );
        assert_eq!(
            fault(&["lapidary", "logits", "--ids", "1"]),
            "error: the following required arguments were not provided: --output <FILE.safetensors> (see --help)"
        );
    }
}
