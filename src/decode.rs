//! Text out of bytes that people or other programs wrote: byte order marks, and the encodings that they announce.

use std::borrow::Cow;

/// Why bytes are no text: what was found, and what was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("found {0}, expected {EXPECTED}")]
pub struct NotText(String);

/// What bytes should be.
pub(crate) const EXPECTED: &str = "UTF-8 text";

impl NotText {
    /// What the bytes are instead, or where they cease to be text.
    pub(crate) fn found(&self) -> &str {
        &self.0
    }
}

/// The byte order mark, as a character.
const MARK: char = '\u{FEFF}';

/// The text that `bytes` are, without byte order marks in front: UTF-8, or UTF-16 or UTF-32 where a mark says so, as
/// Windows' editors and shells write them.
///
/// # Errors
/// [`NotText`] for anything else; UTF-16 and UTF-32 without a mark are told by their zeros.
pub fn text(bytes: &[u8]) -> Result<Cow<'_, str>, NotText> {
    // The mark of UTF-32 begins with that of UTF-16, so it is looked for first.
    let decoded = match bytes {
        [0xFF, 0xFE, 0, 0, rest @ ..] => utf32(rest, u32::from_le_bytes)?,
        [0, 0, 0xFE, 0xFF, rest @ ..] => utf32(rest, u32::from_be_bytes)?,
        [0xFF, 0xFE, rest @ ..] => utf16(rest, u16::from_le_bytes)?,
        [0xFE, 0xFF, rest @ ..] => utf16(rest, u16::from_be_bytes)?,
        _ => return utf8(bytes).map(|text| Cow::Borrowed(text.trim_start_matches(MARK))),
    };
    Ok(Cow::Owned(decoded.trim_start_matches(MARK).to_owned()))
}

fn utf8(bytes: &[u8]) -> Result<&str, NotText> {
    if let Some(encoding) = told_by_zeros(bytes) {
        return Err(NotText(format!("{encoding} text without a byte order mark")));
    }
    std::str::from_utf8(bytes).map_err(|error| {
        let at = error.valid_up_to();
        NotText(match bytes.get(at) {
            Some(byte) => format!("no UTF-8, but the byte {byte:#04x} at {at}"),
            None => "no UTF-8".to_owned(),
        })
    })
}

/// UTF-16 or UTF-32 of Latin letters has zeros at every other place, or at three of four. JSON, templates and prompts
/// begin with such letters, and nothing that is written in UTF-8 looks like that.
fn told_by_zeros(bytes: &[u8]) -> Option<&'static str> {
    let start = &bytes[..bytes.len().min(16) / 4 * 4];
    let zeros_are = |pattern: [bool; 4]| {
        !start.is_empty() && start.iter().zip(pattern.iter().cycle()).all(|(b, z)| (*b == 0) == *z)
    };
    if zeros_are([false, true, false, true]) || zeros_are([true, false, true, false]) {
        return Some("UTF-16");
    }
    (zeros_are([false, true, true, true]) || zeros_are([true, true, true, false])).then_some("UTF-32")
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<String, NotText> {
    let (units, rest) = bytes.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(NotText("UTF-16 text that ends within a character".to_owned()));
    }
    char::decode_utf16(units.iter().map(|pair| unit(*pair)))
        .collect::<Result<String, _>>()
        .map_err(|_| NotText("UTF-16 text with half of a character in it".to_owned()))
}

fn utf32(bytes: &[u8], unit: fn([u8; 4]) -> u32) -> Result<String, NotText> {
    let (units, rest) = bytes.as_chunks::<4>();
    if !rest.is_empty() {
        return Err(NotText("UTF-32 text that ends within a character".to_owned()));
    }
    let text: Option<String> = units.iter().map(|four| char::from_u32(unit(*four))).collect();
    text.ok_or_else(|| NotText("UTF-32 text with a number in it that is no character".to_owned()))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    /// `text` in each encoding that a mark announces, with `mark` in front.
    fn encoded(text: &str) -> Vec<Vec<u8>> {
        let marked = format!("{MARK}{text}");
        vec![
            marked.as_bytes().to_vec(),
            marked.encode_utf16().flat_map(u16::to_le_bytes).collect(),
            marked.encode_utf16().flat_map(u16::to_be_bytes).collect(),
            marked.chars().flat_map(|c| (c as u32).to_le_bytes()).collect(),
            marked.chars().flat_map(|c| (c as u32).to_be_bytes()).collect(),
        ]
    }

    #[test]
    fn marks_are_skipped_and_say_how_to_read() {
        for expected in ["", "a", "{\"a\": 1}\r\n", "é 日本 😀", "a\u{FEFF}b", "ab\0\0"] {
            assert_eq!(text(expected.as_bytes()).unwrap(), expected);
            for bytes in encoded(expected) {
                assert_eq!(text(&bytes).unwrap(), expected, "{bytes:x?}");
            }
        }
        // Files that were joined, each with its mark.
        for bytes in encoded("\u{FEFF}{}") {
            assert_eq!(text(&bytes).unwrap(), "{}", "{bytes:x?}");
        }
        assert!(matches!(text(b"\xEF\xBB\xBFa").unwrap(), Cow::Borrowed("a")));
    }

    #[test]
    fn what_is_no_text_is_named() {
        let unmarked: Vec<Vec<u8>> = encoded("{\"model_type\": 1}").into_iter().skip(1).collect();
        let cases: [(&[u8], &str); 9] = [
            (&unmarked[0][2..], "found UTF-16 text without a byte order mark, expected UTF-8 text"),
            (&unmarked[1][2..], "found UTF-16 text without a byte order mark, expected UTF-8 text"),
            (&unmarked[2][4..], "found UTF-32 text without a byte order mark, expected UTF-8 text"),
            (&unmarked[3][4..], "found UTF-32 text without a byte order mark, expected UTF-8 text"),
            (b"caf\xE9", "found no UTF-8, but the byte 0xe9 at 3, expected UTF-8 text"),
            (b"\xFF\xFEa", "found UTF-16 text that ends within a character, expected UTF-8 text"),
            (b"\xFF\xFE\x00\xD8", "found UTF-16 text with half of a character in it, expected UTF-8 text"),
            (b"\xFF\xFE\0\0a\0", "found UTF-32 text that ends within a character, expected UTF-8 text"),
            (
                b"\0\0\xFE\xFF\0\0\xD8\0",
                "found UTF-32 text with a number in it that is no character, expected UTF-8 text",
            ),
        ];
        for (bytes, expected) in cases {
            assert_eq!(text(bytes).unwrap_err().to_string(), expected, "{bytes:x?}");
        }
    }
}
