//! What is said of a `tokenizer.json` that is refused.

use std::fmt;

use crate::error::{Fault, harmless};

/// A fault of the file.
pub(crate) fn fault(found: impl fmt::Display) -> Fault {
    Fault::tokenizer().found(found.to_string())
}

/// A fault of a part of the file, of which is still to be said what was found.
pub(crate) fn part(place: impl AsRef<str>) -> Fault {
    Fault::tokenizer_part(place)
}

/// Text out of the file for a message.
pub(crate) fn show(text: &str) -> String {
    format!("\"{}\"", harmless(text, 60))
}
