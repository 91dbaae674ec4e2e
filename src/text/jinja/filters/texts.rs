//! Filters on text.

use std::rc::Rc;

use super::super::args::{Args, required};
use super::super::budget::Builder;
use super::super::chars::{is_space, is_word};
use super::super::ctx::Ctx;
use super::super::fault::{Fault, Run};
use super::super::methods;
use super::super::slice::{collected, slice};
use super::super::spell::{repr, string};
use super::super::text::Text;
use super::super::value::{Items, Value, View};

pub(super) fn apply(ctx: &Ctx, name: &str, value: &Value, args: Args) -> Run<Value> {
    match name {
        "indent" => return indent(ctx, value, args),
        "truncate" => return truncate(ctx, value, args),
        "urlencode" => return urlencode(ctx, value, args),
        "xmlattr" => return xmlattr(ctx, value, args),
        "pprint" => return pprint(ctx, value, args),
        _ => {}
    }
    let text = string(ctx, value)?;
    let text = ctx.expect_text(&text, name)?;
    match name {
        "upper" | "lower" | "capitalize" => {
            args.none(name)?;
            methods::cased(ctx, text, name)
        }
        "title" => {
            args.none(name)?;
            title(ctx, text)
        }
        "trim" => {
            let [chars] = args.bind(name, ["chars"])?;
            methods::strip(ctx, text, chars.as_ref().unwrap_or(&Value::None), true, true)
        }
        "center" => {
            let [width] = args.bind(name, ["width"])?;
            let width = width.map_or(Ok(80), |w| w.index("center: width"))?;
            methods::pad(ctx, text, width, " ", methods::Side::Both)
        }
        "replace" => {
            let [old, new, count] = args.bind(name, ["old", "new", "count"])?;
            let (old, new) = (text_of(ctx, old, name, "old")?, text_of(ctx, new, name, "new")?);
            let count = match count {
                None | Some(Value::None) => -1,
                Some(count) => count.index("replace: count")?,
            };
            methods::replace(ctx, text, ctx.expect_text(&old, name)?, ctx.expect_text(&new, name)?, count)
        }
        "wordcount" => {
            args.none(name)?;
            ctx.budget.reads(4 * text.text.len())?;
            let words = text.text.split(|c| !is_word(c)).filter(|word| !word.is_empty()).count();
            Ok(Value::Int(words as i64))
        }
        "striptags" => {
            args.none(name)?;
            striptags(ctx, text)
        }
        _ => {
            args.none(name)?;
            escape(ctx, text)
        }
    }
}

/// Words begin behind white space, hyphens and opening brackets.
fn title(ctx: &Ctx, text: &Text) -> Run<Value> {
    let separates = |c: char| {
        let c = ctx.guard.shown(c);
        is_space(c) || matches!(c, '-' | '(' | '{' | '[' | '<')
    };
    ctx.budget.reads(8 * text.text.len())?;
    let mut out = ctx.builder();
    let mut rest = &*text.text;
    while let Some(first) = rest.chars().next() {
        let apart = separates(first);
        let length = rest.find(|c| separates(c) != apart).unwrap_or(rest.len());
        let (word, behind) = rest.split_at(length);
        if apart {
            out.push(word)?;
        } else {
            out.push(&first.to_uppercase().to_string())?;
            out.push(&word[first.len_utf8()..].to_lowercase())?;
        }
        rest = behind;
    }
    ctx.finish(out)
}

fn indent(ctx: &Ctx, value: &Value, args: Args) -> Run<Value> {
    let [width, first, blank] = args.bind("indent", ["width", "first", "blank"])?;
    let text = ctx.expect_text(value, "indent")?;
    let mut indention = ctx.builder();
    match width.unwrap_or(Value::Int(4)) {
        Value::Str(text) => indention.push(&text.text)?,
        other => indention.repeat(" ", usize::try_from(other.index("indent: width")?).unwrap_or(0))?,
    }
    let indention = indention.text();
    let blank = blank.is_some_and(|b| b.is_true());
    ctx.budget.reads(4 * text.text.len())?;
    let mut out = ctx.builder();
    if first.is_some_and(|b| b.is_true()) {
        out.push(indention)?;
    }
    // The filter appends a line end and then takes lines apart, so that the last one is always complete.
    let lines = methods::lines(&text.text, true);
    for (i, (line, _)) in lines.enumerate() {
        if i > 0 {
            out.push("\n")?;
            if blank || !line.is_empty() {
                out.push(indention)?;
            }
        }
        out.push(line)?;
    }
    ctx.finish(out)
}

fn truncate(ctx: &Ctx, value: &Value, args: Args) -> Run<Value> {
    let [length, kill, end, leeway] = args.bind("truncate", ["length", "killwords", "end", "leeway"])?;
    let length = length.map_or(Ok(255), |v| v.index("truncate: length"))?;
    let end = end.map_or_else(|| ctx.text("..."), Ok)?;
    let end = ctx.expect_text(&end, "truncate: end")?;
    let leeway = match leeway {
        None | Some(Value::None) => 5,
        Some(leeway) => leeway.index("truncate: leeway")?,
    };
    if length < end.chars as i64 || leeway < 0 {
        return Err(Fault::failed(format!(
            "expected length >= {} and leeway >= 0, got {length} and {leeway}",
            end.chars
        )));
    }
    let Some(found) = value.len() else {
        return Err(Fault::failed(format!("object of type '{}' has no len()", value.type_name())));
    };
    if found as i64 <= length.saturating_add(leeway) {
        return Ok(value.clone());
    }
    let parts = [Value::None, Value::Int(length - end.chars as i64), Value::None];
    let cut = slice(ctx, value, &parts)?;
    let cut = ctx.expect_text(&cut, "truncate")?;
    let kept = if kill.is_some_and(|k| k.is_true()) {
        &*cut.text
    } else {
        cut.text.rsplit_once(' ').map_or(&*cut.text, |(kept, _)| kept)
    };
    let mut out = ctx.builder();
    out.push(kept)?;
    out.push(&end.text)?;
    ctx.finish(out)
}

fn escape(ctx: &Ctx, text: &Text) -> Run<Value> {
    ctx.budget.reads(4 * text.text.len())?;
    let mut out = ctx.builder();
    for c in text.text.chars() {
        match ctx.guard.shown(c) {
            '&' => out.push("&amp;")?,
            '<' => out.push("&lt;")?,
            '>' => out.push("&gt;")?,
            '\'' => out.push("&#39;")?,
            '"' => out.push("&#34;")?,
            _ => out.push_char(c)?,
        }
    }
    ctx.finish(out)
}

fn striptags(ctx: &Ctx, text: &Text) -> Run<Value> {
    drop(ctx.budget.hold(8 * text.text.len())?);
    let mut shown = ctx.shown(text)?.into_owned();
    for (open, close) in [("<!--", "-->"), ("<", ">")] {
        let mut kept = String::new();
        let mut rest = shown.as_str();
        while let Some(start) = rest.find(open) {
            let Some(end) = rest[start..].find(close) else { break };
            kept.push_str(&rest[..start]);
            rest = &rest[start + end + close.len()..];
        }
        kept.push_str(rest);
        shown = kept;
    }
    let joined = shown.split(is_space).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    let plain = joined.replace("&lt;", "<").replace("&gt;", ">").replace("&#34;", "\"").replace("&quot;", "\"");
    let plain = plain.replace("&#39;", "'").replace("&nbsp;", "\u{a0}").replace("&amp;", "&");
    // What was spelled out is still text of whoever wrote it.
    ctx.text(&ctx.guard.hide(&plain))
}

fn urlencode(ctx: &Ctx, value: &Value, args: Args) -> Run<Value> {
    args.none("urlencode")?;
    let mut out = ctx.builder();
    let items = match value {
        Value::Str(_) => None,
        Value::Dict(dict) => Some(Items::Dict(View::Items, Rc::clone(dict))),
        other => other.items(&ctx.budget).ok(),
    };
    let Some(items) = items else {
        quote(ctx, value, false, &mut out)?;
        return ctx.finish(out);
    };
    for (i, pair) in collected(ctx, &items.ready(&ctx.budget)?)?.iter().enumerate() {
        let pair = collected(ctx, &pair.items(&ctx.budget)?.ready(&ctx.budget)?)?;
        let [key, value] = &pair[..] else { return Err(Fault::failed("urlencode: found an item that is no pair")) };
        out.push(if i == 0 { "" } else { "&" })?;
        quote(ctx, key, true, &mut out)?;
        out.push("=")?;
        quote(ctx, value, true, &mut out)?;
    }
    ctx.finish(out)
}

/// A value as part of an address, or of its query.
fn quote(ctx: &Ctx, value: &Value, query: bool, out: &mut Builder) -> Run<()> {
    let text = string(ctx, value)?;
    let shown = ctx.shown(ctx.expect_text(&text, "urlencode")?)?;
    for b in shown.bytes() {
        match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'.' | b'-' | b'~' => out.push_char(b as char)?,
            b'/' if !query => out.push("/")?,
            b' ' if query => out.push("+")?,
            _ => out.push(&format!("%{b:02X}"))?,
        }
    }
    Ok(())
}

fn xmlattr(ctx: &Ctx, value: &Value, args: Args) -> Run<Value> {
    let [space] = args.bind("xmlattr", ["autospace"])?;
    let Value::Dict(dict) = value else {
        return Err(Fault::failed(format!("xmlattr: found {}, expected dict", value.type_name())));
    };
    let space = space.is_none_or(|s| s.is_true());
    let mut out = ctx.builder();
    for (key, value) in dict.entries.values() {
        if matches!(value, Value::None | Value::Undefined(_)) {
            continue;
        }
        let shown = ctx.shown(ctx.expect_text(key, "xmlattr")?)?;
        if shown.contains(|c: char| c.is_ascii_whitespace() || matches!(c, '\x0b' | '/' | '>' | '=')) {
            return Err(Fault::failed("invalid character in attribute name"));
        }
        if space || !out.text().is_empty() {
            out.push(" ")?;
        }
        for (part, behind) in [(key, "=\""), (value, "\"")] {
            let part = string(ctx, part)?;
            let escaped = escape(ctx, ctx.expect_text(&part, "xmlattr")?)?;
            out.push(&ctx.expect_text(&escaped, "xmlattr")?.text)?;
            out.push(behind)?;
        }
    }
    ctx.finish(out)
}

/// `pprint`, for what Python prints on one line in the order that it has.
fn pprint(ctx: &Ctx, value: &Value, args: Args) -> Run<Value> {
    args.none("pprint")?;
    let mut out = ctx.builder();
    repr(ctx, value, &mut out)?;
    let keys_move = matches!(value, Value::Dict(dict) if dict.entries.len() > 1) || value.depth() > 1;
    if out.text().chars().count() > 78 || keys_move {
        return Err(Fault::Forbidden("found the filter 'pprint' on a long value, which is not offered".into()));
    }
    ctx.finish(out)
}

/// An argument that must be there, as text.
fn text_of(ctx: &Ctx, value: Option<Value>, function: &str, name: &str) -> Run<Value> {
    string(ctx, &required(value, function, name)?)
}
