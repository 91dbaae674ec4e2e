//! Text that the user gives, in files, on stdin or as an argument: bounded before anything is made of it.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use lapidary::checkpoint::Checkpoint;
use lapidary::decode;
use lapidary::paths::check_no_device;
use lapidary::text::Conversation;
use lapidary::{Error, Result};

use super::args::ModelArguments;

/// Bytes that text may have for each token of the context: twice what prose has.
const BYTES_A_TOKEN: usize = 8;
/// The same for a list of token ids: digits, commas, and line ends with spaces behind them.
const BYTES_AN_ID: usize = 32;
/// Bytes that any context may be given: whether so few fit is for the tokenizer to say.
const LEAST_BYTES: usize = 4 << 10;
/// More than that is not read, whatever the context.
const MOST_BYTES: usize = 16 << 20;
/// The context where no config.json tells it: that of the largest Gemma 4.
const USUAL_CONTEXT: usize = 262_144;
/// Bytes of JSON for one of its text: `\u0020`.
const BYTES_AN_ESCAPE: usize = 6;
/// Bytes of other encodings for one of UTF-8: UTF-32 of a letter.
const BYTES_A_LETTER: usize = 4;

/// How much text a context may be given.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit {
    context: usize,
}

impl Limit {
    /// The limit of a context of so many tokens.
    pub(super) fn of(context: usize) -> Self {
        Limit { context }
    }

    /// The limit for a command that knows no context: the model's.
    pub(super) fn of_model(model: &ModelArguments) -> Self {
        let config = Checkpoint::read_config(&model.source());
        Limit { context: config.map_or(USUAL_CONTEXT, |config| config.max_position_embeddings) }
    }

    /// Bytes of text.
    pub(super) fn bytes(self) -> usize {
        self.context.saturating_mul(BYTES_A_TOKEN).clamp(LEAST_BYTES, MOST_BYTES)
    }

    /// Fails for an argument that is too long.
    ///
    /// # Errors
    /// [`Error::Usage`] with both numbers.
    pub(super) fn check(self, name: &str, text: &str) -> Result<()> {
        if text.len() > self.bytes() { Err(self.fault(name, &text.len().to_string())) } else { Ok(()) }
    }

    /// All of stdin as text.
    ///
    /// # Errors
    /// [`Error::Usage`] for what is too long, cannot be read or is no text.
    pub(super) fn stdin(self) -> Result<String> {
        let bytes = self.read("stdin", &mut io::stdin().lock(), self.bytes())?;
        let text = decode::text(&bytes).map_err(|error| Error::usage(format!("stdin: {error}")))?;
        self.check("stdin", &text)?;
        Ok(text.into_owned())
    }

    /// A conversation from a file, or from stdin for `-`.
    ///
    /// # Errors
    /// [`Error::Usage`] for what is too long, cannot be read or is no conversation.
    pub(super) fn conversation(self, path: &Path) -> Result<Conversation> {
        let most = self.bytes().saturating_mul(BYTES_AN_ESCAPE).min(MOST_BYTES);
        let json = if path == Path::new("-") {
            self.read("stdin", &mut io::stdin().lock(), most)?
        } else {
            self.file(path, most)?
        };
        Conversation::from_json_within(&json, self.bytes())
    }

    /// A file with a list of token ids.
    ///
    /// # Errors
    /// [`Error::Usage`] for what is too long, cannot be read or is no text.
    pub(super) fn ids_file(self, path: &Path) -> Result<String> {
        let most = self.context.saturating_mul(BYTES_AN_ID).clamp(LEAST_BYTES, MOST_BYTES);
        let bytes = self.file(path, most)?;
        let text = decode::text(&bytes).map_err(|error| Error::usage(format!("{}: {error}", path.display())))?;
        Ok(text.into_owned())
    }

    /// A file that the user named; that it cannot be read is a fault of the request, not of the model.
    fn file(self, path: &Path, most: usize) -> Result<Vec<u8>> {
        let name = path.display().to_string();
        let wrong = |error: io::Error| Error::usage(format!("{name}: {error}"));
        let mut file = check_no_device(path).and_then(|()| File::open(path)).map_err(wrong)?;
        let length = file.metadata().ok().filter(|found| found.is_file()).map_or(0, |found| found.len());
        if length > most.saturating_mul(BYTES_A_LETTER) as u64 {
            return Err(self.fault(&name, &length.to_string()));
        }
        self.read(&name, &mut file, most)
    }

    /// At most `most` bytes, or four times as many in an encoding of wider letters.
    fn read(self, name: &str, from: &mut dyn Read, most: usize) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut more = |bytes: &mut Vec<u8>, most: usize| {
            let left = most.saturating_add(1).saturating_sub(bytes.len());
            let read = from.take(left as u64).read_to_end(bytes);
            read.map_err(|error| Error::usage(format!("{name}: {error}")))
        };
        more(&mut bytes, most)?;
        let most = if is_wide(&bytes) { most.saturating_mul(BYTES_A_LETTER) } else { most };
        more(&mut bytes, most)?;
        if bytes.len() > most { Err(self.fault(name, &format!("more than {most}"))) } else { Ok(bytes) }
    }

    fn fault(self, name: &str, found: &str) -> Error {
        let (most, context) = (self.bytes(), self.context);
        let why = if most == MOST_BYTES { String::new() } else { format!(" for a context of {context} tokens") };
        Error::usage(format!("{name}: found {found} bytes, expected at most {most}{why}"))
    }
}

/// Whether bytes begin with the mark of UTF-16 or UTF-32.
pub(super) fn is_wide(bytes: &[u8]) -> bool {
    [&[0xFF, 0xFE][..], &[0xFE, 0xFF], &[0, 0, 0xFE, 0xFF]].iter().any(|mark| bytes.starts_with(mark))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_limit_is_read() {
        let limit = Limit::of(1000);
        assert_eq!([limit, Limit::of(4), Limit::of(usize::MAX)].map(Limit::bytes), [8000, 4096, 16 << 20]);
        assert_eq!(limit.read("x", &mut &[b'a'; 8000][..], 8000).unwrap(), [b'a'; 8000]);
        let fault = limit.read("x", &mut io::repeat(0), 8000).unwrap_err().to_string();
        assert_eq!(fault, "x: found more than 8000 bytes, expected at most 8000 for a context of 1000 tokens");
        let fault = Limit::of(usize::MAX).read("x", &mut io::repeat(0), 16 << 20).unwrap_err().to_string();
        assert_eq!(fault, "x: found more than 16777216 bytes, expected at most 16777216");
        let fault = limit.check("--prompt", &"é".repeat(4001)).unwrap_err().to_string();
        assert_eq!(fault, "--prompt: found 8002 bytes, expected at most 8000 for a context of 1000 tokens");
    }

    #[test]
    fn wider_letters_may_take_more_bytes() {
        let wide: Vec<u8> =
            "\u{FEFF}".chars().chain("a".repeat(31).chars()).flat_map(|c| (c as u32).to_le_bytes()).collect();
        assert_eq!(Limit::of(4).read("x", &mut &wide[..], 32).unwrap(), wide);
        assert!(Limit::of(4).read("x", &mut [0xFF, 0xFE].as_slice().chain(io::repeat(0)), 32).is_err());
    }
}
