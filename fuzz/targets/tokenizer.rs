//! `tokenizer.json`, a text and `tokenizer_config.json`: what is accepted encodes any text within bounds, the same each time, and the demo's gives
//! every text back.

use std::sync::LazyLock;

use lapidary::text::{Conversation, TextModel, Tokenizer};
use lapidary_fuzz::mutate::{Kind, sections};
use lapidary_fuzz::{Bounds, check_error, demo, input, run};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};

const BOUNDS: Bounds = Bounds::new(64, 2000);
/// Ids for each byte of text, and some.
const IDS_PER_BYTE: usize = 16;
const WORDS: [&str; 60] = [
    "version",
    "truncation",
    "padding",
    "added_tokens",
    "id",
    "content",
    "single_word",
    "lstrip",
    "rstrip",
    "normalized",
    "special",
    "normalizer",
    "pre_tokenizer",
    "post_processor",
    "decoder",
    "model",
    "type",
    "BPE",
    "WordPiece",
    "Unigram",
    "dropout",
    "unk_token",
    "continuing_subword_prefix",
    "end_of_word_suffix",
    "fuse_unk",
    "byte_fallback",
    "ignore_merges",
    "vocab",
    "merges",
    "Sequence",
    "normalizers",
    "pretokenizers",
    "processors",
    "decoders",
    "Replace",
    "pattern",
    "String",
    "Regex",
    "Prepend",
    "prepend",
    "Strip",
    "NFKC",
    "Lowercase",
    "Precompiled",
    "precompiled_charsmap",
    "ByteLevel",
    "Metaspace",
    "replacement",
    "prepend_scheme",
    "Split",
    "behavior",
    "MergedWithPrevious",
    "invert",
    "FixedLength",
    "length",
    "TemplateProcessing",
    "ByteFallback",
    "Fuse",
    "single",
    "special_tokens",
];
const CONFIG_WORDS: [&str; 8] =
    ["bos_token", "eos_token", "chat_template", "content", "name", "default", "template", "tool_use"];
static DEMO: LazyLock<TextModel> = LazyLock::new(demo::text_model);

fn main() {
    run();
}

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    sections(data, size, max_size, seed, &[Kind::Json(&WORDS), Kind::Plain, Kind::Json(&CONFIG_WORDS)])
});

fuzz_target!(|data: &[u8]| {
    let Some((_, parts)) = input::parts(data) else { return };
    LazyLock::force(&DEMO);
    let text = String::from_utf8_lossy(parts.get(1).copied().unwrap_or_default());
    let ids = BOUNDS.hold(|| DEMO.tokenizer.encode(&text)).expect("the demo takes every text");
    // Where the file says so, this character is a space.
    if !text.contains('▁') {
        assert_eq!(BOUNDS.hold(|| DEMO.tokenizer.decode(&ids)), text, "the demo's text");
    }
    match BOUNDS.hold(|| Tokenizer::from_bytes(parts[0])) {
        Ok(tokenizer) => encode(&tokenizer, &text),
        Err(error) => check_error(&error, &[3]),
    }
    if let Some(config) = parts.get(2) {
        prompt(parts[0], config);
    }
});

/// `tokenizer_config.json` has templates too.
fn prompt(tokenizer: &[u8], config: &[u8]) {
    let hello = Conversation::from_json(br#"[{"role": "user", "content": "hello"}]"#).expect("it is one");
    let model = match BOUNDS.hold(|| TextModel::load(tokenizer, None, Some(config))) {
        Ok(model) => model,
        Err(error) => return check_error(&error, &[3]),
    };
    for tools in [None, Some(serde_json::json!([]))] {
        let conversation = Conversation { tools, ..hello.clone() };
        if let Err(error) = BOUNDS.hold(|| model.prompt(&conversation)) {
            check_error(&error, &[2, 3]);
        }
    }
}

fn encode(tokenizer: &Tokenizer, text: &str) {
    let encode = || BOUNDS.hold(|| tokenizer.encode(text));
    let ids = match encode() {
        Ok(ids) => ids,
        Err(error) => return check_error(&error, &[3]),
    };
    assert!(ids.len() <= 64 + IDS_PER_BYTE * text.len(), "{} ids for {} bytes", ids.len(), text.len());
    assert_eq!(Some(&ids), encode().ok().as_ref(), "the same ids again");
    let decoded = BOUNDS.hold(|| tokenizer.decode(&ids));
    let longest = (0..tokenizer.vocab_size() as u32).map(|id| tokenizer.decode(&[id]).len()).max().unwrap_or(0);
    assert!(decoded.len() <= ids.len() * longest.max(3), "{} bytes decoded of {} ids", decoded.len(), ids.len());
}
