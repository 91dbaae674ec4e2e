//! Letters large and small.

use super::super::chars::{is_cased, is_titlecase, push_folded, push_title};
use super::super::ctx::Ctx;
use super::super::fault::Run;
use super::super::text::Text;
use super::super::value::Value;

/// The text with the case that `name` (`upper`, `lower`, `title` ...) gives it.
pub(in super::super) fn cased(ctx: &Ctx, text: &Text, name: &str) -> Run<Value> {
    let source = &*text.text;
    // Some characters become three.
    drop(ctx.budget.hold(source.len().saturating_mul(3))?);
    let made = match name {
        "upper" => source.to_uppercase(),
        "lower" => source.to_lowercase(),
        "capitalize" => capitalized(source),
        "title" => titled(source),
        "swapcase" => swapped(source),
        _ => {
            let mut out = String::with_capacity(source.len());
            source.chars().for_each(|c| push_folded(c, &mut out));
            out
        }
    };
    ctx.text(&made)
}

fn capitalized(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    if let Some(first) = source.chars().next() {
        push_title(first, &mut out);
        // Made small as a whole, as the last sigma of a word looks at what is ahead of it.
        let small = source.to_lowercase();
        let length: usize = first.to_lowercase().map(char::len_utf8).sum();
        out.push_str(small.get(length..).unwrap_or(""));
    }
    out
}

fn titled(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut inside = false;
    let mut chars = source.chars().peekable();
    while let Some(c) = chars.next() {
        if !inside {
            push_title(c, &mut out);
        } else if c == 'Σ' && !chars.peek().is_some_and(|next| is_cased(*next)) {
            out.push('ς');
        } else {
            out.extend(c.to_lowercase());
        }
        inside = is_cased(c);
    }
    out
}

fn swapped(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut before = false;
    let mut chars = source.chars().peekable();
    while let Some(c) = chars.next() {
        if c == 'Σ' && before && !chars.peek().is_some_and(|next| is_cased(*next)) {
            out.push('ς');
        } else if c.is_uppercase() {
            out.extend(c.to_lowercase());
        } else if c.is_lowercase() {
            out.extend(c.to_uppercase());
        } else {
            out.push(c);
        }
        before = is_cased(c);
    }
    out
}

/// `isupper` or `islower`: some letter has a case, and none has another one.
pub(in super::super) fn has_case(text: &str, upper: bool) -> bool {
    let mut any = false;
    for c in text.chars() {
        if is_titlecase(c) || if upper { c.is_lowercase() } else { c.is_uppercase() } {
            return false;
        }
        any |= if upper { c.is_uppercase() } else { c.is_lowercase() };
    }
    any
}

/// `istitle`.
pub(super) fn is_title(text: &str) -> bool {
    let (mut any, mut inside) = (false, false);
    for c in text.chars() {
        if c.is_uppercase() || is_titlecase(c) {
            if inside {
                return false;
            }
            (any, inside) = (true, true);
        } else if c.is_lowercase() {
            if !inside {
                return false;
            }
            any = true;
        } else {
            inside = false;
        }
    }
    any
}
