//! A chat in the terminal, through the library's public parts alone.
//!
//! `cargo run --release --example chat [DIR]`: without a directory, the demo model beside this file.

use std::error::Error;
use std::io::{self, BufRead, Write};
use std::ops::ControlFlow;

use lapidary::chat::{Chat, Event};
use lapidary::checkpoint::Source;
use lapidary::text::Kind;

fn main() -> Result<(), Box<dyn Error>> {
    let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/demo-model");
    let directory = std::env::args_os().nth(1).unwrap_or_else(|| demo.into());

    // All faults of the files are told at once; the adapter is checked at its first start; then weights are uploaded and
    // kernels compiled. All defaults are those of `lapidary chat`.
    let mut chat = Chat::open(Source::Directory(directory.into()), None)?;
    let model = chat.generator().model();
    eprintln!("{}, context {}; Ctrl-D ends", model.gpu().adapter().info.name, model.context());

    for line in io::stdin().lock().lines() {
        // Each piece of the answer comes as soon as it is whole, thoughts and tool calls too.
        chat.say(&line?, &mut |event| {
            if let Event::Text(Kind::Answer, piece) = event {
                print!("{piece}");
            }
            match io::stdout().flush() {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            }
        })?;
        println!();
    }
    Ok(())
}
