//! What the commands print with: lines on stderr, sizes for people, escape codes only for terminals.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use lapidary::{Bytes, error};

#[cfg(windows)]
use super::windows;

/// Prints lines on stderr; whatever they quote steers no terminal. That nobody reads them is no error.
pub(super) fn note(text: impl Display) {
    let text = text.to_string();
    let lines: Vec<String> = text.split('\n').map(|line| error::harmless(line, usize::MAX)).collect();
    writeln!(io::stderr(), "{}", lines.join("\n")).ok();
}

/// Whether escape codes may go to stdout.
pub(super) fn has_style() -> bool {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
        || std::env::var_os("TERM").is_some_and(|terminal| terminal == "dumb");
    io::stdout().is_terminal() && !plain && understands_escape_codes()
}

#[cfg(windows)]
fn understands_escape_codes() -> bool {
    windows::understands_escape_codes()
}

#[cfg(not(windows))]
fn understands_escape_codes() -> bool {
    true
}

/// A size in the largest unit that leaves at least 1: `6.2 MiB`.
pub(super) fn size(bytes: u64) -> String {
    Bytes(bytes).to_string()
}

/// A count in the largest unit that leaves at least 1: `8.46 M`.
pub(super) fn count(number: u64) -> String {
    match number as f64 {
        n if n >= 1e9 => format!("{:.2} B", n / 1e9),
        n if n >= 1e6 => format!("{:.2} M", n / 1e6),
        n if n >= 1e3 => format!("{:.2} K", n / 1e3),
        _ => number.to_string(),
    }
}

/// `text` without what could steer a terminal: a model may make any character.
pub(super) fn harmless(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && !matches!(c, '\n' | '\t') { '\u{FFFD}' } else { c }).collect()
}

/// What of a model's text goes to a stream: to a terminal only what is harmless, to anything else every byte.
pub(super) fn shown(text: &str, terminal: bool) -> Cow<'_, str> {
    if terminal { harmless(text).into() } else { text.into() }
}

/// `1 token`, `2 tokens`.
pub(super) fn plural(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// Rows as lines of aligned columns, two spaces apart and `indent` before; the columns in `right` end together.
pub(super) fn table(rows: &[Vec<String>], indent: usize, right: &[usize]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |c: usize| rows.iter().filter_map(|row| row.get(c)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for row in rows {
        let mut line = " ".repeat(indent);
        for (c, cell) in row.iter().enumerate() {
            let gap = " ".repeat(widths[c] - cell.chars().count());
            let (before, after) = if right.contains(&c) { (gap.as_str(), "") } else { ("", gap.as_str()) };
            line.push_str(&format!("{before}{cell}{after}  "));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_counts() {
        assert_eq!(size(6_532_896), "6.2 MiB");
        assert_eq!([count(999), count(8_460_000), count(25_800_000_000)], ["999", "8.46 M", "25.80 B"]);
    }

    #[test]
    fn escape_codes_of_a_model_do_not_reach_the_terminal() {
        assert_eq!(harmless("a\x1b[2Jb\r\n\tc\u{9b}"), "a\u{FFFD}[2Jb\u{FFFD}\n\tc\u{FFFD}");
    }

    #[test]
    fn files_get_the_text_as_it_is() {
        assert_eq!((shown("a\x1b", false).as_ref(), shown("a\x1b", true).as_ref()), ("a\x1b", "a\u{FFFD}"));
    }

    #[test]
    fn tables_are_aligned() {
        let rows = [vec!["a".into(), "10".into()], vec!["bcd".into(), "7".into(), "x".into()]];
        assert_eq!(table(&rows, 1, &[1]), " a    10\n bcd   7  x\n");
    }
}
