//! What is said of a `tokenizer.json` that is refused.

use std::fmt;

use crate::error::{Error, harmless};

/// A fault of the file.
pub(crate) fn fault(what: impl fmt::Display) -> Error {
    Error::model(format!("tokenizer.json: {what}"))
}

/// Text out of the file for a message.
pub(crate) fn show(text: &str) -> String {
    format!("\"{}\"", harmless(text, 60))
}
