//! The text module: here the published cases, in `text/` the rest.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

#[path = "text/files.rs"]
mod files;
#[path = "text/injection.rs"]
mod injection;
#[path = "text/nesting.rs"]
mod nesting;
#[path = "common/seed.rs"]
mod seed;
#[path = "text/streams.rs"]
mod streams;
#[path = "text/templates.rs"]
mod templates;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use lapidary::checkpoint::Source;
use lapidary::text::{ChatTemplate, Conversation, Kind, Message, Piece, Prompt, Reply, Role, Specials, StreamDecoder};
use lapidary::text::{MAX_TEMPLATE_BYTES, Said, TextModel, Tokenizer};
use lapidary::{Error, Result};
use proptest::prelude::*;
use serde_json::{Value, json};

static DEMO: LazyLock<TextModel> = LazyLock::new(|| {
    let file = |name| std::fs::read(repository().join("examples/demo-model").join(name)).unwrap();
    let template = String::from_utf8(file("chat_template.jinja")).unwrap();
    TextModel::load(&file("tokenizer.json"), Some(&template), Some(&file("tokenizer_config.json"))).unwrap()
});

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn golden(name: &str) -> String {
    std::fs::read_to_string(repository().join("tests/golden/text").join(name)).unwrap()
}

/// A file of Gemma 4's vocabulary, which is too large for the repository.
fn gemma(name: &str, case: &str) -> Option<Vec<u8>> {
    let Some(fixtures) = std::env::var_os("LAPIDARY_FIXTURES") else {
        // Past the test runner's capture: what was not checked is always said.
        let line = format!("{case}: NOT RUN, LAPIDARY_FIXTURES is not set\n");
        std::io::stderr().write_all(line.as_bytes()).unwrap();
        return None;
    };
    let path = PathBuf::from(fixtures).join("../gemma-4-tokenizer").join(name);
    Some(std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())))
}

/// Processor time of this thread, where the system tells it.
fn processor_time() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

fn conversation(value: Value) -> Conversation {
    Conversation::try_from(value).unwrap()
}

/// Gemma 4's special tokens without its vocabulary.
fn specials() -> Specials {
    let names = "<pad> <eos> <bos> <unk> <|tool> <tool|> <|tool_call> <tool_call|> <|tool_response> <tool_response|> \
                 <|\"|> <|think|> <|channel> <channel|> <|turn> <turn|> <|image|>";
    Specials::new(names.split(' ').zip(0..).map(|(name, id)| (name.to_owned(), id)))
}

fn template(name: &str) -> ChatTemplate {
    ChatTemplate::from_source(&golden(name), "<bos>", "<eos>").unwrap()
}

fn small(source: &str) -> Result<ChatTemplate> {
    ChatTemplate::from_source(source, "<bos>", "<eos>")
}

fn render(source: &str, conversation: Value) -> Result<Prompt> {
    small(source)?.render(&Conversation::try_from(conversation)?, &specials())
}

fn hello() -> Value {
    json!([{"role": "user", "content": "hello"}])
}

fn tokenizer_of(model: Value, added_tokens: Value) -> Result<Tokenizer> {
    Tokenizer::from_bytes(file_of(model, added_tokens).to_string().as_bytes())
}

fn file_of(model: Value, added_tokens: Value) -> Value {
    let decoder = json!({"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]});
    json!({"version": "1.0", "added_tokens": added_tokens, "decoder": decoder, "model": model})
}

fn added(id: u32, content: &str) -> Value {
    json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
        "special": true})
}

/// The special tokens of a prompt, by name.
fn special_names(prompt: &Prompt, specials: &Specials) -> Vec<String> {
    let names = "<bos> <eos> <|turn> <turn|> <|channel> <channel|> <|tool> <tool|> <|tool_call> <tool_call|> \
                 <|tool_response> <tool_response|> <|\"|> <|think|> <|image|>";
    let ids: Vec<(&str, u32)> = names.split(' ').map(|n| (n, specials.id(n).unwrap())).collect();
    let special = |piece: &Piece| match piece {
        Piece::Special(id) => Some(ids.iter().find(|(_, known)| known == id).unwrap().0.to_owned()),
        Piece::Text(_) => None,
    };
    prompt.pieces.iter().filter_map(special).collect()
}

#[test]
fn gemma_vocabulary_gives_the_published_ids() {
    let case = "gemma_vocabulary_gives_the_published_ids";
    let Some(json) = gemma("tokenizer.json", case) else { return };
    let tokenizer = Tokenizer::from_bytes(&json).unwrap();
    assert_eq!(tokenizer.vocab_size(), 262_144);
    assert_eq!(tokenizer.token_id("<|turn>"), Some(105));
    let cases: Vec<Value> = serde_json::from_slice(&gemma("encode_cases.json", case).unwrap()).unwrap();
    assert_eq!(cases.len(), 46);
    for case in &cases {
        let text = case["text"].as_str().unwrap();
        let expected: Vec<u32> = serde_json::from_value(case["ids"].clone()).unwrap();
        assert_eq!(tokenizer.encode(text).unwrap(), expected, "{text:?}");
        assert_eq!(tokenizer.decode(&expected), text);
    }
    let template = template("chat_template_31B.jinja");
    let spelled = conversation(json!([{"role": "user", "content": "What is the capital of France?<turn|>"}]));
    let prompt = template.render(&spelled, tokenizer.specials()).unwrap();
    let ids = tokenizer.encode_prompt(&prompt).unwrap();
    assert_eq!(ids[..10], [2, 105, 2364, 107, 3689, 563, 506, 5279, 529, 7001]);
    assert_eq!(ids.iter().filter(|id| **id == 106).count(), 1);
    // A megabyte on one line is one word for the merges.
    let line = "the quick brown fox 🦙 <turn|> ".repeat(1 << 15);
    let start = processor_time();
    let ids = tokenizer.encode(&line).unwrap();
    let took = processor_time().zip(start).map(|(end, start)| end - start);
    assert_eq!(tokenizer.decode(&ids), line);
    let most = Duration::from_secs(if cfg!(debug_assertions) { 10 } else { 1 });
    assert!(took.is_none_or(|took| took < most), "{took:?}");
}

#[test]
fn gemma_templates_give_the_published_texts() {
    let cases: Vec<Value> = serde_json::from_str(&golden("template_cases.json")).unwrap();
    assert_eq!(cases.len(), 28);
    for (i, case) in cases.iter().enumerate() {
        let template = template(&format!("chat_template_{}.jinja", case["template"].as_str().unwrap()));
        let prompt = template.render(&conversation(case["input"].clone()), &specials()).unwrap();
        assert_eq!(prompt.text, case["text"].as_str().unwrap(), "case {i}");
    }
}

#[test]
fn demo_model_prompts_are_those_of_transformers() {
    let path = repository().join("examples/demo-model/golden.json");
    let golden: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let cases = golden["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 12);
    let ids_of = |value: &Value| serde_json::from_value::<Vec<u32>>(value.clone()).unwrap();
    for case in cases {
        let mut input = case.as_object().unwrap().clone();
        input.retain(|key, _| ["messages", "tools", "enable_thinking"].contains(&key.as_str()));
        let prompt = DEMO.prompt(&conversation(Value::Object(input))).unwrap();
        assert_eq!(prompt.text, case["prompt"].as_str().unwrap(), "{}", case["name"]);
        let ids = DEMO.ids(&prompt).unwrap();
        assert_eq!(ids, ids_of(&case["prompt_ids"]), "{}", case["name"]);
        assert_eq!(ids.iter().filter(|id| Some(**id) == DEMO.tokenizer.token_id("<bos>")).count(), 1);
        // The goldens' text keeps special tokens; without thoughts and calls it is the answer and its end.
        let mut reply = Reply::new(&DEMO.tokenizer, &ids);
        ids_of(&case["greedy_ids"]).iter().for_each(|id| drop(reply.push(*id)));
        let text = case["greedy_text"].as_str().unwrap();
        if !text.contains("<|channel>") && !text.contains("<|tool_call>") {
            assert_eq!(reply.text(), text.trim_end_matches("<turn|>"), "{}", case["name"]);
            assert_eq!(reply.thinking(), None);
        }
        match case["name"].as_str().unwrap() {
            "thinking" => {
                let (thought, answer) = text.split_once("<channel|>").unwrap();
                assert_eq!(reply.thinking(), thought.strip_prefix("<|channel>thought\n"));
                assert_eq!(reply.text(), answer.trim_end_matches("<turn|>"));
            }
            "tool-call" => assert_eq!(reply.tool_calls(), ["call:get_weather{city:<|\"|>Oslo<|\"|>}"]),
            _ => {}
        }
    }
}
