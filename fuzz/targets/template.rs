//! A chat template's source and a conversation: bounded work and output, the same prompt each time, clean errors.

use std::sync::LazyLock;

use lapidary::text::{ChatTemplate, Conversation, Specials};
use lapidary_fuzz::mutate::{Kind, sections};
use lapidary_fuzz::{Bounds, check_error, demo, input, run};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};

/// A second and 64 MiB are promised, to users.
const BOUNDS: Bounds = Bounds::new(80, 3000);
const WORDS: [&str; 20] = [
    "role",
    "content",
    "type",
    "text",
    "name",
    "system",
    "user",
    "assistant",
    "model",
    "tool",
    "tool_calls",
    "function",
    "arguments",
    "description",
    "parameters",
    "properties",
    "reasoning_content",
    "tool_responses",
    "object",
    "string",
];
/// Bytes of output that any conversation may have.
const OUTPUT: usize = 1 << 20;
static SPECIALS: LazyLock<Specials> = LazyLock::new(|| Specials::new(demo::SPECIALS.clone()));

fn main() {
    run();
}

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    sections(data, size, max_size, seed, &[Kind::Template, Kind::Json(&WORDS)])
});

fuzz_target!(|data: &[u8]| {
    let Some((_, parts)) = input::parts(data) else { return };
    let Ok(source) = std::str::from_utf8(parts[0]) else { return };
    LazyLock::force(&SPECIALS);
    let template = match BOUNDS.hold(|| ChatTemplate::from_source(source, "<bos>", "<eos>")) {
        Ok(template) => template,
        Err(error) => return check_error(&error, &[3]),
    };
    let conversation = parts.get(1).and_then(|json| Conversation::from_json(json).ok()).unwrap_or_else(hello);
    let render = || BOUNDS.hold(|| template.render(&conversation, &SPECIALS));
    let (first, again) = (render(), render());
    match (&first, &again) {
        (Ok(first), Ok(again)) => {
            assert!(first.text.len() <= OUTPUT + 4 * data.len(), "a prompt of {} bytes", first.text.len());
            // What tells the time may differ.
            assert!(first == again || source.contains("strftime_now"), "another prompt the second time");
        }
        (Err(first), Err(again)) => {
            check_error(first, &[2, 3]);
            assert!(
                first.to_string() == again.to_string() || source.contains("strftime_now"),
                "another error: {first}, {again}"
            );
        }
        _ => assert!(source.contains("strftime_now"), "once a prompt and once an error: {first:?}, {again:?}"),
    }
});

fn hello() -> Conversation {
    Conversation::from_json(br#"[{"role": "user", "content": "hello"}]"#).expect("it is one")
}
