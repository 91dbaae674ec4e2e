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

/// The parameters, up to the bracket that closes them.
fn split<'t>(tokens: &'t [&'t str]) -> Vec<&'t [&'t str]> {
    let (mut all, mut depth, mut first) = (Vec::new(), 0, 0);
    for (at, token) in tokens.iter().enumerate() {
        match *token {
            "(" | "[" | "{" | "<" => depth += 1,
            ")" if depth == 0 => {
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
