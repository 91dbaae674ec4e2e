//! Conversations as JSON: what is accepted is written and read again as it was, and becomes a prompt in which the user's
//! text makes no special token.

use std::sync::LazyLock;

use lapidary::text::{Conversation, Piece, Role, TextModel};
use lapidary_fuzz::demo;
use lapidary_fuzz::input::has_key_twice;
use lapidary_fuzz::mutate::{Kind, sections};
use lapidary_fuzz::{Bounds, check_error, run};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use serde_json::Value;

const BOUNDS: Bounds = Bounds::new(96, 2000);
const WORDS: [&str; 34] = [
    "messages",
    "tools",
    "enable_thinking",
    "add_generation_prompt",
    "role",
    "content",
    "type",
    "text",
    "name",
    "system",
    "developer",
    "user",
    "assistant",
    "model",
    "tool",
    "tool_calls",
    "tool_call_id",
    "tool_responses",
    "function",
    "arguments",
    "description",
    "parameters",
    "properties",
    "required",
    "object",
    "string",
    "reasoning",
    "reasoning_content",
    "response",
    "image",
    "{\"a\": 1}",
    "items",
    "enum",
    "nullable",
];
static DEMO: LazyLock<TextModel> = LazyLock::new(demo::text_model);

fn main() {
    run();
}

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    sections(data, size, max_size, seed, &[Kind::Json(&WORDS)])
});

fuzz_target!(|data: &[u8]| {
    let Some((_, json)) = data.split_first() else { return };
    LazyLock::force(&DEMO);
    let read = BOUNDS.hold(|| Conversation::from_json(json));
    let conversation = match read {
        Ok(conversation) => conversation,
        Err(error) => return check_error(&error, &[2]),
    };
    assert!(!has_key_twice(json), "a key stands twice in an object, which was accepted");
    let written = serde_json::to_vec(&conversation).expect("a conversation is JSON");
    let again = Conversation::from_json(&written).expect("what was written is accepted");
    assert_eq!(again, conversation, "written and read again");
    render(&conversation);
});

fn render(conversation: &Conversation) {
    let prompt = match BOUNDS.hold(|| DEMO.prompt(conversation)) {
        Ok(prompt) => prompt,
        Err(error) => return check_error(&error, &[2, 3]),
    };
    let whole: String = prompt.pieces.iter().map(spelling).collect();
    assert_eq!(whole, prompt.text, "the pieces are the text");
    let ids = BOUNDS.hold(|| DEMO.ids(&prompt)).expect("the demo's tokenizer takes every text");
    let specials = |ids: &[u32]| ids.iter().copied().filter(|id| DEMO.tokenizer.is_special(*id)).collect::<Vec<_>>();
    // Where only people speak, a `<` of theirs changes none of the special tokens.
    if conversation
        .messages
        .iter()
        .all(|message| matches!(message.role, Role::User | Role::System) && message.rest.is_empty())
        && conversation.tools.is_none()
    {
        let mut plain = conversation.clone();
        plain.messages.iter_mut().for_each(|message| blunt(&mut message.content));
        let blunt = DEMO.prompt(&plain).and_then(|prompt| DEMO.ids(&prompt)).expect("as with the other text");
        assert_eq!(specials(&ids), specials(&blunt), "special tokens with and without the text's own marks");
    }
}

fn spelling(piece: &Piece) -> &str {
    match piece {
        Piece::Text(text) => text,
        Piece::Special(id) => &demo::SPECIALS.iter().find(|(_, own)| own == id).expect("one of the demo's").0,
    }
}

fn blunt(value: &mut Value) {
    match value {
        Value::String(text) => *text = text.replace(['<', '>', '|'], "x"),
        Value::Array(list) => list.iter_mut().for_each(blunt),
        Value::Object(map) => map.get_mut("text").into_iter().for_each(blunt),
        _ => {}
    }
}
