//! A chat in the terminal, through the library's public parts alone.
//!
//! `cargo run --release --example chat [DIR]`: without a directory, the demo model beside this file.

use std::error::Error;
use std::io::{self, BufRead, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;

use lapidary::checkpoint::{Checkpoint, Source};
use lapidary::engine::{Generator, Request, Sampling};
use lapidary::gpu::Gpu;
use lapidary::model::{Gemma4, Options};
use lapidary::text::{Conversation, Kind, Message, Reply, Role, TextModel};

fn main() -> Result<(), Box<dyn Error>> {
    let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/demo-model");
    let directory = PathBuf::from(std::env::args_os().nth(1).unwrap_or_else(|| demo.into()));

    // Files: configuration and headers are checked here, all faults at once; no weights are read yet.
    let source = Source::Directory(directory);
    let checkpoint = Checkpoint::open(source.clone())?;
    let text = TextModel::open(&source)?.ok_or("the model has no tokenizer.json")?;

    // Device: the default adapter. The weights are uploaded and the forward pass is compiled.
    let gpu = Gpu::open(None)?;
    eprintln!("{} on {}; Ctrl-D ends", source.describe(), gpu.adapter().info.name);
    let model = Gemma4::load(gpu, &checkpoint, &Options::default(), &|_| ())?;
    let generator = Generator::new(model, checkpoint.stop_ids(), &checkpoint.generation.suppress_tokens);
    let mut generator = generator.with_stop_ids(text.tokenizer.turn_ends());

    let request = Request { sampling: Sampling::GREEDY, max_tokens: Some(512) };
    let mut messages = Vec::new();
    for line in io::stdin().lock().lines() {
        messages.push(Message::new(Role::User, line?));
        let answer = answer(&mut generator, &text, &messages, &request)?;
        messages.push(Message::new(Role::Assistant, answer));
    }
    Ok(())
}

/// Prints the answer to the conversation as it is made, and returns it.
fn answer(
    generator: &mut Generator,
    text: &TextModel,
    messages: &[Message],
    request: &Request,
) -> Result<String, Box<dyn Error>> {
    // Conversation -> text -> ids. What slot 0 holds of them already is not run again.
    let prompt = text.ids(&text.prompt(&Conversation::new(messages.to_vec()))?)?;
    let mut reply = Reply::new(&text.tokenizer, &prompt);
    generator.generate(0, &prompt, request, &mut |id| {
        for (kind, piece) in id.map(|id| reply.push(id)).unwrap_or_default() {
            if kind == Kind::Answer {
                print!("{piece}");
            }
        }
        match io::stdout().flush() {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    })?;
    println!();
    Ok(reply.text().to_owned())
}
