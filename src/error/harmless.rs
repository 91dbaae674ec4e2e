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
    }
}
