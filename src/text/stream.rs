//! Token ids to text as they come, never half a character.

use super::tokenizer::{Token, Tokenizer};

/// Decodes one id after the other. Characters that have no token come as single bytes, which are held back until the
/// character is whole; everything else is passed on at once, and nothing is decoded twice.
#[derive(Debug)]
pub struct StreamDecoder<'t> {
    tokenizer: &'t Tokenizer,
    /// The bytes of a character that is not complete.
    held: Vec<u8>,
}

impl<'t> StreamDecoder<'t> {
    /// A decoder at the start of a text.
    pub fn new(tokenizer: &'t Tokenizer) -> Self {
        Self { tokenizer, held: Vec::new() }
    }

    /// The text that `id` completes, if any. Special tokens and unknown ids are no text.
    pub fn push(&mut self, id: u32) -> Option<String> {
        let mut out = String::new();
        match self.tokenizer.token(id) {
            Token::Byte(byte) => {
                self.held.push(byte);
                self.take_whole(&mut out);
            }
            Token::Text(text) => {
                out.extend(self.finish());
                out.push_str(&text);
            }
            Token::Special(_) | Token::Unknown => {}
        }
        Some(out).filter(|text| !text.is_empty())
    }

    /// The end of the text, or of a part of it: each byte that is still held back becomes U+FFFD.
    pub fn finish(&mut self) -> Option<String> {
        let text = "\u{FFFD}".repeat(self.held.len());
        self.held.clear();
        Some(text).filter(|text| !text.is_empty())
    }

    /// Moves whole characters to `out`, and U+FFFD for each byte that no character begins with.
    fn take_whole(&mut self, out: &mut String) {
        loop {
            let (valid, broken) = match std::str::from_utf8(&self.held) {
                Ok(text) => (text.len(), 0),
                Err(error) => (error.valid_up_to(), error.error_len().unwrap_or(0)),
            };
            out.push_str(&String::from_utf8_lossy(&self.held[..valid]));
            out.push_str(&"\u{FFFD}".repeat(broken));
            self.held.drain(..valid + broken);
            if broken == 0 {
                return;
            }
        }
    }
}

impl Tokenizer {
    /// The text of `ids`, without special tokens. Bytes that make no character become U+FFFD, one each.
    pub fn decode(&self, ids: &[u32]) -> String {
        let mut decoder = StreamDecoder::new(self);
        let mut text: String = ids.iter().filter_map(|id| decoder.push(*id)).collect();
        text.extend(decoder.finish());
        text
    }
}
