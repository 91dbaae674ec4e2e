//! What messages may quote.

/// Where one line for people is cut, whatever it quotes.
pub const LINE_CHARACTERS: usize = 4000;

/// Text out of a file, as a message may quote it: one line without characters that steer a terminal or turn the
/// direction of writing, cut behind `most` characters.
pub fn harmless(text: &str, most: usize) -> String {
    let mut out = String::new();
    for (count, c) in text.chars().enumerate() {
        if count == most {
            out.push('…');
            break;
        }
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if is_steering(c) => out.push_str(&format!("\\u{{{:x}}}", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}

/// `text` in quotation marks, in one line that steers no terminal, with backslashes as they are.
pub(crate) fn quoted(text: &str) -> String {
    format!("\"{}\"", inside_quotes(text))
}

/// What [`quoted`] has between its marks.
pub(super) fn inside_quotes(text: &str) -> String {
    harmless(&text.replace('"', "\\\""), usize::MAX)
}

/// A name as messages have it between quotation marks, with everything escaped that is no plain character.
pub(super) fn spelled(name: &str) -> String {
    let name = format!("{name:?}");
    harmless(&name[1..name.len() - 1], NAME_CHARACTERS)
}

/// Most characters of a name.
const NAME_CHARACTERS: usize = 2000;
/// Most of a name out of a file that is quoted in a list of names.
pub(crate) const QUOTED: usize = 100;
/// Most names that a message lists.
pub(super) const LISTED: usize = 8;

/// `"a", "b" and 5 more`.
pub(crate) fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    let mut text =
        names.iter().take(LISTED).map(|name| format!("{:?}", harmless(name, QUOTED))).collect::<Vec<_>>().join(", ");
    if names.len() > LISTED {
        text.push_str(&format!(" and {} more", names.len() - LISTED));
    }
    text
}

/// Control characters, line and paragraph separators, marks of direction, byte order marks, and tag characters.
fn is_steering(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        || matches!(c, '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_files_say_steers_no_terminal() {
        assert_eq!(harmless("a\x1b[31m\nb\u{202e}c\u{7}é", 100), "a\\u{1b}[31m\\nb\\u{202e}c\\u{7}é");
        assert_eq!(harmless("abcdef", 3), "abc…");
        assert_eq!(harmless("abc", 3), "abc");
        assert_eq!(harmless(&"\n".repeat(1 << 20), 2), "\\n\\n…");
        assert_eq!(quoted(r"C:\new\x"), r#""C:\new\x""#);
        assert_eq!(quoted("a\"\n"), r#""a\"\n""#);
    }
}
