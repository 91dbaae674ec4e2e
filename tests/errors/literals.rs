//! A small reader of Rust: the string literals of a file, without comments.

/// A string literal: the line on which it begins, and what stands between its quotes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Literal<'t> {
    pub line: usize,
    pub text: &'t str,
}

/// All string literals of `source`; comments, documentation and characters have none.
pub(crate) fn literals(source: &str) -> Vec<Literal<'_>> {
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some(first) = source[at..].chars().next() {
        let rest = &source[at..];
        let behind_name = source[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        at += if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            comment(rest)
        } else if let Some((start, end, length)) = raw(rest).filter(|_| !behind_name) {
            found.push(Literal { line: line(source, at), text: &rest[start..end] });
            length
        } else if first == '"' {
            let length = quoted(rest, '"');
            found.push(Literal { line: line(source, at), text: &rest[1..length - 1] });
            length
        } else if first == '\'' && is_character(rest) {
            quoted(rest, '\'')
        } else {
            first.len_utf8()
        };
    }
    found
}

fn line(source: &str, at: usize) -> usize {
    source[..at].matches('\n').count() + 1
}

/// Whether a character begins here, not a lifetime.
fn is_character(rest: &str) -> bool {
    let mut behind = rest[1..].chars();
    behind.next() == Some('\\') || behind.next() == Some('\'')
}

/// Bytes of a string or a character with its quotes.
fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        if c == quote && !escaped {
            return at + 1;
        }
        escaped = c == '\\' && !escaped;
    }
    panic!("a literal that does not end: {rest:.40}");
}

/// Where the content of a raw string begins and ends, if one begins here, and its bytes with everything around it.
fn raw(rest: &str) -> Option<(usize, usize, usize)> {
    let behind = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r'))?;
    let hashes = behind.len() - behind.trim_start_matches('#').len();
    let content = behind[hashes..].strip_prefix('"')?;
    let start = rest.len() - content.len();
    let end = start + content.find(&format!("\"{}", "#".repeat(hashes)))?;
    Some((start, end, end + 1 + hashes))
}

/// Bytes of a block comment; they may stand in one another.
fn comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    loop {
        if rest[at..].starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest[at..].starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
        if depth == 0 || at >= rest.len() {
            return at.min(rest.len());
        }
    }
}
