//! `docs/hardware.md` lists what the tables have, and must go on doing so.

use std::fs;
use std::path::Path;

use super::{Kind, Tuning};

const BEGIN: &str = "<!-- entries: LAPIDARY_RECORD=1 cargo test --lib page -->\n";
const END: &str = "<!-- end of entries -->\n";

/// The fields of a struct, of its text for debugging.
fn fields(text: &str) -> Vec<(&str, &str)> {
    let inner = text.split_once(" { ").and_then(|(_, rest)| rest.strip_suffix(" }")).unwrap_or_default();
    let (mut depth, mut begin, mut parts) = (0, 0, Vec::new());
    for (i, c) in inner.char_indices() {
        match c {
            '{' | '[' | '(' => depth += 1,
            '}' | ']' | ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&inner[begin..i]);
                begin = i + 1;
            }
            _ => {}
        }
    }
    parts.push(&inner[begin..]);
    parts.into_iter().filter_map(|part| part.trim().split_once(": ")).collect()
}

/// Values by name: those of a family under the family's name.
fn values(kind: Kind) -> Vec<(String, String)> {
    let text = format!("{:?}", Tuning::of(kind));
    let mut all = Vec::new();
    for (family, value) in fields(&text) {
        let own = fields(value);
        if own.is_empty() && family != "kind" {
            all.push((family.to_owned(), value.to_owned()));
        }
        all.extend(own.into_iter().map(|(name, value)| (format!("{family}.{name}"), value.to_owned())));
    }
    all
}

/// A line for each name, with the kinds that have each of its values.
fn entries() -> String {
    let of_kinds = Kind::ALL.map(|kind| (kind, values(kind)));
    let mut text = String::from("| entry | value: kinds |\n|---|---|\n");
    for (row, (name, _)) in of_kinds[0].1.iter().enumerate() {
        let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
        for (kind, values) in &of_kinds {
            let value = values[row].1.as_str();
            match groups.iter_mut().find(|(other, _)| *other == value) {
                Some((_, kinds)) => kinds.push(kind.name()),
                None => groups.push((value, vec![kind.name()])),
            }
        }
        let shown = groups.iter().map(|(value, kinds)| match kinds.len() == Kind::ALL.len() {
            true => format!("`{value}`: all"),
            false => format!("`{value}`: {}", kinds.join(", ")),
        });
        text.push_str(&format!("| `{name}` | {} |\n", shown.collect::<Vec<_>>().join("; ")));
    }
    text
}

#[test]
fn the_page_lists_what_the_tables_have() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/hardware.md");
    let page = fs::read_to_string(&path).expect("docs/hardware.md");
    let (before, rest) = page.split_once(BEGIN).expect("where the entries begin");
    let (listed, after) = rest.split_once(END).expect("where they end");
    let entries = entries();
    if std::env::var_os("LAPIDARY_RECORD").is_some() {
        fs::write(&path, [before, BEGIN, &entries, END, after].concat()).expect("docs/hardware.md");
    } else {
        assert_eq!(listed, entries, "LAPIDARY_RECORD=1 cargo test --lib page writes what is expected");
    }
}
