//! The demo model's text side, which is part of lapidary and known to be good.

use std::sync::LazyLock;

use lapidary::text::TextModel;
use serde_json::Value;

/// Its `tokenizer.json`.
pub const TOKENIZER: &[u8] = include_bytes!("../../examples/demo-model/tokenizer.json");
const TEMPLATE: &str = include_str!("../../examples/demo-model/chat_template.jinja");
const CONFIG: &[u8] = include_bytes!("../../examples/demo-model/tokenizer_config.json");

/// Its special tokens, by name and id.
pub static SPECIALS: LazyLock<Vec<(String, u32)>> = LazyLock::new(|| {
    let file: Value = serde_json::from_slice(TOKENIZER).expect("the demo's file is JSON");
    let added = file["added_tokens"].as_array().expect("a list of tokens");
    let token =
        |token: &Value| Some((token["content"].as_str()?.to_owned(), u32::try_from(token["id"].as_u64()?).ok()?));
    added.iter().filter(|entry| entry["special"] == true).map(|entry| token(entry).expect("name and id")).collect()
});

/// Tokenizer and template.
pub fn text_model() -> TextModel {
    TextModel::load(TOKENIZER, Some(TEMPLATE), Some(CONFIG)).expect("the demo is good")
}
