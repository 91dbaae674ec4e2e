//! A reader of functions' parameters: which of them are tuples, whose members have no names.

use super::reader::{tokens, without_tests};

/// The functions of a file that take a tuple, each with the number of such parameters. Types of closures that are taken
/// may have tuples: what they are called with is not this function's.
pub(crate) fn tuples_taken(text: &str) -> Vec<(String, usize)> {
    let (tokens, _) = without_tests(tokens(text));
    let mut found = Vec::new();
    for (at, name) in tokens.iter().enumerate().filter(|(at, _)| *at > 0 && tokens[at - 1] == "fn") {
        let Some(open) = parameters(&tokens, at + 1) else { continue };
        let count = split(&tokens[open..]).iter().filter(|parameter| is_tuple(parameter)).count();
        if count > 0 {
            found.push(((*name).to_owned(), count));
        }
    }
    found
}

/// Behind the bracket that opens a function's parameters, past its generics.
fn parameters(tokens: &[&str], from: usize) -> Option<usize> {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().skip(from) {
        match *token {
            "<" => depth += 1,
            ">" if tokens[at - 1] != "-" => depth -= 1,
            "(" if depth == 0 => return Some(at + 1),
            "{" | ";" if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

/// The parameters or fields, up to the bracket that closes them.
fn split<'t>(tokens: &'t [&'t str]) -> Vec<&'t [&'t str]> {
    let (mut all, mut depth, mut first) = (Vec::new(), 0, 0);
    for (at, token) in tokens.iter().enumerate() {
        match *token {
            "(" | "[" | "{" | "<" => depth += 1,
            ")" | "}" if depth == 0 => {
                all.push(&tokens[first..at]);
                break;
            }
            ">" if tokens[at - 1] == "-" => {}
            ")" | "]" | "}" | ">" => depth -= 1,
            "," if depth == 0 => {
                all.push(&tokens[first..at]);
                first = at + 1;
            }
            _ => {}
        }
    }
    all
}

/// Whether what stands behind the colon is a tuple, or refers to one.
fn is_tuple(parameter: &[&str]) -> bool {
    let mut depth = 0;
    let colon = parameter.iter().position(|token| {
        depth += i32::from(matches!(*token, "(" | "[" | "{")) - i32::from(matches!(*token, ")" | "]" | "}"));
        *token == ":" && depth == 0
    });
    let Some(colon) = colon else { return false };
    let kind = &parameter[colon + 1..];
    let first = kind.iter().position(|token| !matches!(*token, "&" | "mut")).unwrap_or(kind.len());
    kind.get(first) == Some(&"(") && split(&kind[first + 1..]).len() > 1
}

/// The functions, structures, enums and names of types of a file that have tuples in their types: in what functions give back, and
/// inside what they take; in fields; in what a name stands for. Each with how many. What closures are called with and give
/// back is not counted.
pub(crate) fn tuples_named(tokens: &[&str]) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    for (at, word) in tokens.iter().enumerate() {
        let Some(name) = tokens.get(at + 1).filter(|name| name.starts_with(|c: char| c.is_alphabetic())) else {
            continue;
        };
        let count = match *word {
            "fn" => parameters(tokens, at + 1).map_or(0, |open| signature(tokens, open)),
            "struct" | "enum" | "union" => fields(&tokens[at + 2..], *word == "enum"),
            "type" => count_in(until(tokens.get(at + 2..).unwrap_or_default(), &[";"])),
            _ => 0,
        };
        if count > 0 {
            found.push((format!("{word} {name}"), count));
        }
    }
    found
}

/// Tuples in the types of a function whose parameters begin at `open`.
fn signature(tokens: &[&str], open: usize) -> usize {
    let taken = split(&tokens[open..]);
    let length = taken.iter().map(|parameter| parameter.len() + 1).sum::<usize>();
    let types = taken.into_iter().map(|parameter| {
        let colon = parameter.iter().rposition(|token| *token == ":").map_or(0, |colon| colon + 1);
        let first = parameter[..colon].iter().position(|token| *token == ":").map_or(colon, |colon| colon + 1);
        count_in(&parameter[first..])
    });
    types.sum::<usize>() + count_in(until(&tokens[open + length..], &["{", ";", "where"]))
}

/// Tuples in the fields of a structure, or in those of an enum's variants, whose name stands before.
fn fields(tokens: &[&str], is_enum: bool) -> usize {
    let head = until(tokens, &["{", "(", ";"]).len();
    let Some(open) = tokens.get(head).filter(|open| **open != ";") else { return 0 };
    let parts = split(&tokens[head + 1..]);
    if *open == "(" || !is_enum {
        return parts.into_iter().map(|part| count_in(without_attributes(part))).sum();
    }
    let payload = |part: &[&str]| {
        let part = without_attributes(part);
        let inside = part.get(2..).unwrap_or_default();
        split(inside).into_iter().map(|field| count_in(without_attributes(field))).sum::<usize>()
    };
    parts.into_iter().map(payload).sum()
}

/// What stands before the first of `ends` that is in no bracket.
fn until<'t>(tokens: &'t [&'t str], ends: &[&str]) -> &'t [&'t str] {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate() {
        if depth == 0 && ends.contains(token) {
            return &tokens[..at];
        }
        match *token {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
    }
    tokens
}

fn without_attributes<'t>(mut tokens: &'t [&'t str]) -> &'t [&'t str] {
    while tokens.first() == Some(&"#") {
        tokens = tokens.get(2 + until(&tokens[2..], &["]"]).len() + 1..).unwrap_or_default();
    }
    tokens
}

/// Tuples of two and more types, of which each counts once, whatever is in it.
fn count_in(tokens: &[&str]) -> usize {
    let (mut count, mut at) = (0, 0);
    while at < tokens.len() {
        if tokens[at] != "(" {
            at += 1;
            continue;
        }
        let end = at + 1 + until(&tokens[at + 1..], &[")"]).len();
        let is_call = at > 0 && matches!(tokens[at - 1], "Fn" | "FnMut" | "FnOnce" | "fn");
        let is_tuple = split(&tokens[at + 1..]).len() > 1;
        let gives_back = [Some("-"), Some(">"), Some("(")] == [1, 2, 3].map(|behind| tokens.get(end + behind).copied());
        count += usize::from(is_tuple && !is_call);
        at = match (is_call, is_tuple) {
            (true, _) if gives_back => end + 4 + until(tokens.get(end + 4..).unwrap_or_default(), &[")"]).len(),
            (true, _) | (_, true) => end,
            _ => at + 1,
        };
    }
    count
}
