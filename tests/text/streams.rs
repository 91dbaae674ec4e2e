//! Decoding in a stream, and sorting it into answer, thinking and tool calls.

use super::*;

/// The whole text of a stream, cut nowhere inside a character by construction of `String`.
fn streamed(tokenizer: &Tokenizer, ids: &[u32]) -> String {
    let mut decoder = StreamDecoder::new(tokenizer);
    let mut text: String = ids.iter().filter_map(|id| decoder.push(*id)).collect();
    text.extend(decoder.finish());
    text
}

/// The tokenizer crate's own decoder over the same file.
static CRATE: LazyLock<tokenizers::Tokenizer> = LazyLock::new(|| {
    let path = repository().join("examples/demo-model/tokenizer.json");
    tokenizers::Tokenizer::from_bytes(std::fs::read(path).unwrap()).unwrap()
});

fn byte_ids(bytes: &[u8]) -> Vec<u32> {
    bytes.iter().map(|b| DEMO.tokenizer.token_id(&format!("<0x{b:02X}>")).unwrap()).collect()
}

#[test]
fn characters_of_several_tokens_come_whole() {
    let text = "a🦙é漢字 👩‍🚀\u{10FFFF}z";
    let ids = DEMO.tokenizer.encode(text).unwrap();
    assert!(ids.len() > text.chars().count());
    for split in 0..=ids.len() {
        // A stream that ends in a character, and one that begins in it: only broken characters are replaced.
        let (head, tail) = (streamed(&DEMO.tokenizer, &ids[..split]), streamed(&DEMO.tokenizer, &ids[split..]));
        assert!(text.starts_with(head.trim_end_matches('\u{FFFD}')), "{head:?}");
        assert!(text.ends_with(tail.trim_start_matches('\u{FFFD}')), "{tail:?}");
    }
    let mut decoder = StreamDecoder::new(&DEMO.tokenizer);
    let pieces: Vec<Option<String>> = byte_ids("é🦙".as_bytes()).into_iter().map(|id| decoder.push(id)).collect();
    assert_eq!(pieces, [None, Some("é".into()), None, None, None, Some("🦙".into())]);
    assert_eq!(decoder.finish(), None);
    decoder.push(byte_ids(&[0xE2])[0]);
    decoder.push(byte_ids(&[0x82])[0]);
    assert_eq!(decoder.finish().as_deref(), Some("\u{FFFD}\u{FFFD}"));
    assert_eq!(DEMO.tokenizer.decode(&byte_ids(&[0xFF, 0x41, 0xE2, 0x82, 0xAC, 0xC0])), "\u{FFFD}A€\u{FFFD}");
}

/// Other cases in each run.
fn fresh() -> ProptestConfig {
    let rng_seed = proptest::test_runner::RngSeed::Fixed(super::seed::seed(256));
    ProptestConfig { rng_seed, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(fresh())]

    #[test]
    fn text_survives_encoding_and_streaming(text in "(\\PC|[<|>turnbos\n ]|🦙|漢|\u{0}){0,60}") {
        let ids = DEMO.tokenizer.encode(&text).unwrap();
        prop_assert!(!ids.iter().any(|id| DEMO.tokenizer.is_special(*id)));
        prop_assert_eq!(&streamed(&DEMO.tokenizer, &ids), &text);
        prop_assert_eq!(CRATE.decode(&ids, true).unwrap(), text);
    }

    /// For any ids, as long as runs of byte tokens are whole characters, the stream is the crate's decoding.
    #[test]
    fn streams_are_what_the_crate_decodes(parts in prop::collection::vec(prop_oneof![
        (0u32..4200).prop_filter("a byte", |id| !is_byte(*id)).prop_map(|id| vec![id]),
        any::<char>().prop_map(|c| byte_ids(c.to_string().as_bytes())),
    ], 0..40)) {
        let ids = parts.concat();
        prop_assert_eq!(streamed(&DEMO.tokenizer, &ids), CRATE.decode(&ids, true).unwrap());
    }

    /// For a broken run of bytes the crate replaces the whole run, which no stream can know early; the stream keeps
    /// the characters that are whole. Both agree on what has no whole character.
    #[test]
    fn any_ids_decode_to_something(ids in prop::collection::vec(0u32..5000, 0..60)) {
        let text = streamed(&DEMO.tokenizer, &ids);
        prop_assert_eq!(&text, &DEMO.tokenizer.decode(&ids));
        let known = CRATE.decode(&ids, true).unwrap();
        if !known.contains('\u{FFFD}') {
            prop_assert_eq!(text, known);
        }
    }

    #[test]
    fn any_text_renders_as_itself(text in "(\\PC|<turn\\|>|<|[|]|>|\u{F0000}|\u{F0001}){0,30}") {
        let prompt = render("<turn|>{{ messages[0].content }}<bos>", json!([{"role": "user", "content": text}])).unwrap();
        prop_assert_eq!(&prompt.text, &format!("<turn|>{text}<bos>"));
        prop_assert_eq!(prompt.pieces.len(), if text.is_empty() { 2 } else { 3 });
    }
}

fn is_byte(id: u32) -> bool {
    CRATE.id_to_token(id).is_some_and(|token| token.starts_with("<0x"))
}

/// Ids of a text in which `<|turn>` and the like are meant.
fn ids(text: &str) -> Vec<u32> {
    let prompt = render(&format!("{{% raw %}}{text}{{% endraw %}}"), hello()).unwrap();
    let mut ids = Vec::new();
    for piece in prompt.pieces {
        match piece {
            Piece::Text(text) => ids.extend(DEMO.tokenizer.encode(&text).unwrap()),
            Piece::Special(id) => {
                let name =
                    special_names(&Prompt { text: String::new(), pieces: vec![Piece::Special(id)] }, &specials());
                ids.push(DEMO.tokenizer.token_id(&name[0]).unwrap());
            }
        }
    }
    ids
}

/// The reply to a prompt: joined pieces by kind, which must be what the accessors say.
fn reply(prompt: &str, generated: &[u32]) -> (String, Option<String>, Vec<String>) {
    let mut reply = Reply::new(&DEMO.tokenizer, &ids(prompt));
    let mut pieces: Vec<Said> = generated.iter().flat_map(|id| reply.push(*id)).collect();
    pieces.extend(reply.finish());
    let join =
        |kind: Kind| pieces.iter().filter(|said| said.kind == kind).map(|said| said.text.as_str()).collect::<String>();
    assert_eq!(join(Kind::Answer), reply.text());
    assert_eq!(join(Kind::Thinking), reply.thinking().unwrap_or_default());
    assert_eq!(join(Kind::ToolCall), reply.tool_calls().concat() + reply.open_tool_call().unwrap_or_default());
    (reply.text().to_owned(), reply.thinking().map(str::to_owned), reply.tool_calls().to_vec())
}

#[test]
fn thinking_is_told_from_the_answer_in_every_state() {
    let turn = "<bos><|turn>user\nhi<turn|>\n<|turn>model\n";
    let some = |text: &str| Some(text.to_owned());
    let plain = |prompt: &str, text: &str| {
        let (answer, thinking, calls) = reply(prompt, &ids(text));
        assert!(calls.is_empty());
        (answer, thinking)
    };
    // The model opens the channel itself, or does not.
    assert_eq!(plain(turn, "<|channel>thought\nhm<channel|>yes<turn|>"), ("yes".into(), some("hm")));
    assert_eq!(plain(turn, "yes\nno<turn|>"), ("yes\nno".into(), None));
    // The template opened it, with and without its name; or closed it.
    assert_eq!(plain(&format!("{turn}<|channel>thought\n"), "hm<channel|>yes"), ("yes".into(), some("hm")));
    assert_eq!(plain(&format!("{turn}<|channel>"), "thought\nhm<channel|>yes"), ("yes".into(), some("hm")));
    assert_eq!(plain(&format!("{turn}<|channel>tho"), "ught\nhm<channel|>yes"), ("yes".into(), some("hm")));
    assert_eq!(plain(&format!("{turn}<|channel>thought\n<channel|>"), "yes"), ("yes".into(), None));
    // An earlier turn's channel says nothing about this one.
    let earlier = format!("<bos><|turn>model\n<|channel>thought\n<turn|>\n{turn}");
    assert_eq!(plain(&earlier, "yes"), ("yes".into(), None));
    // No thought, no name, a first line that is no name, a thought that is cut off.
    assert_eq!(plain(turn, "<|channel>thought\n<channel|>yes"), ("yes".into(), None));
    assert_eq!(plain(turn, "<|channel><channel|>yes"), ("yes".into(), None));
    assert_eq!(plain(turn, "<|channel>I think so.\nhm<channel|>yes"), ("yes".into(), some("I think so.\nhm")));
    assert_eq!(plain(turn, "<|channel>thought\nhm"), ("".into(), some("hm")));
    // Text that only spells a marker is text.
    let (answer, thinking, _) = reply(turn, &DEMO.tokenizer.encode("<|channel>thought\nx<channel|>").unwrap());
    assert_eq!((answer.as_str(), thinking), ("<|channel>thought\nx<channel|>", None));
    // The name in single bytes, and a character that is cut off at the end of the thought.
    let [open, close] = ["<|channel>", "<channel|>"].map(|name| DEMO.tokenizer.token_id(name).unwrap());
    let bytes = [vec![open], byte_ids("thought\né".as_bytes()), byte_ids(&[0xE2]), vec![close], ids("yes")].concat();
    assert_eq!(reply(turn, &bytes), ("yes".into(), some("é\u{FFFD}"), vec![]));
}

#[test]
fn tool_calls_keep_their_raw_text() {
    let turn = "<bos><|turn>user\nhi<turn|>\n<|turn>model\n<|channel>thought\n<channel|>";
    let call = "call:f{a:<|\"|>x\n`y`<|\"|>}";
    let text = format!("Wait.<|tool_call>{call}<tool_call|><|tool_call>call:g{{}}<tool_call|><|tool_response>");
    let (answer, thinking, calls) = reply(turn, &ids(&text));
    assert_eq!((answer.as_str(), thinking), ("Wait.", None));
    assert_eq!(calls, [call, "call:g{}"]);
    let (_, _, calls) = reply(turn, &ids("<|tool_call>call:f{a:"));
    assert!(calls.is_empty());
    // A prompt that ends with a tool's result goes on with the answer.
    let after = format!("{turn}<|tool_call>{call}<tool_call|><|tool_response>response:f{{value:1}}<tool_response|>");
    assert_eq!(reply(&after, &ids("One.<turn|>")).0, "One.");
}
