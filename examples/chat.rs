//! A chat in the terminal, through the library's public parts alone.
//!
//! `cargo run --release --example chat [DIR]`: without a directory, the demo model beside this file.

use std::error::Error;
use std::io::{self, BufRead, IsTerminal, Write};
use std::ops::ControlFlow;

use lapidary::chat::{Chat, Event, is_recoverable};
use lapidary::checkpoint::Source;
use lapidary::text::Kind;

fn main() -> Result<(), Box<dyn Error>> {
    // What the library has to say to people it logs: the check of a first start, what is left unused, a lost device.
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("lapidary=info"))
        .format(|out, record| writeln!(out, "{}", record.args()))
        .init();
    let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/demo-model");
    let directory = std::env::args_os().nth(1).unwrap_or_else(|| demo.into());

    // All faults of the files are told at once; the adapter is checked at its first start; then weights are uploaded and
    // kernels compiled. All defaults are those of `lapidary chat`.
    let mut chat = Chat::open(Source::Directory(directory.into()), None)?;
    let model = chat.generator().model();
    eprintln!("{}, context {}; Ctrl-D ends", model.gpu().adapter().info.name, model.context());

    let sign = if io::stdin().is_terminal() { "> " } else { "" };
    let mut lines = io::stdin().lock().lines();
    loop {
        eprint!("{sign}");
        let Some(line) = lines.next().transpose()? else { break };
        if line.trim().is_empty() {
            continue;
        }
        // Each piece of the answer comes as soon as it is whole, thoughts and tool calls too.
        let said = chat.say(&line, &mut |event| {
            if let Event::Text(Kind::Answer, piece) = event {
                print!("{piece}");
            }
            io::stdout().flush().map_or(ControlFlow::Break(()), ControlFlow::Continue)
        });
        match said {
            Ok(_) => println!(),
            // A message that is too long, for instance.
            Err(error) if is_recoverable(&error) => eprintln!("{error}"),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
