//! The methods of `str`.

use std::collections::HashSet;
use std::rc::Rc;

use super::super::args::{Args, required};
use super::super::chars::{self, ends_line, is_space};
use super::super::ctx::Ctx;
use super::super::eval::Eval;
use super::super::fault::{Fault, Run};
use super::super::format;
use super::super::search::{self, Haystack};
use super::super::slice::{collected, slice};
use super::super::text::Text;
use super::super::value::Value;
use super::cases::{cased, has_case, is_title};

/// Where padding goes.
#[derive(Clone, Copy, PartialEq)]
pub(in super::super) enum Side {
    Left,
    Right,
    Both,
}

pub(super) fn call(eval: &Eval, text: &Rc<Text>, name: &'static str, args: Args) -> Run<Value> {
    let ctx = eval.ctx;
    match name {
        "upper" | "lower" | "capitalize" | "title" | "swapcase" | "casefold" => {
            args.none(name)?;
            cased(ctx, text, name)
        }
        "strip" | "lstrip" | "rstrip" => {
            let [chars] = args.bind(name, ["chars"])?;
            strip(ctx, text, chars.as_ref().unwrap_or(&Value::None), name != "rstrip", name != "lstrip")
        }
        "split" | "rsplit" => split(ctx, text, args, name == "rsplit"),
        "splitlines" => {
            let [keep] = args.bind(name, ["keepends"])?;
            let keep = keep.is_some_and(|k| k.is_true());
            ctx.budget.reads(4 * text.text.len())?;
            let mut out = Vec::new();
            for (line, whole) in lines(&text.text, false) {
                out.push(ctx.text(if keep { whole } else { line })?);
            }
            ctx.list(out)
        }
        "partition" | "rpartition" => partition(ctx, text, args, name == "rpartition"),
        "join" => {
            let [items] = args.bind(name, ["iterable"])?;
            let items = required(items, name, "iterable")?.items(&ctx.budget)?.ready(&ctx.budget)?;
            join(ctx, text, &collected(ctx, &items)?)
        }
        "replace" => {
            let [old, new, count] = args.bind(name, ["old", "new", "count"])?;
            let (old, new) = (required(old, name, "old")?, required(new, name, "new")?);
            let count = count.map_or(Ok(-1), |count| count.index("replace: count"))?;
            replace(ctx, text, ctx.expect_text(&old, name)?, ctx.expect_text(&new, name)?, count)
        }
        "find" | "rfind" | "index" | "rindex" | "count" => place(ctx, text, name, args),
        "startswith" | "endswith" => affixed(ctx, text, name, args),
        "removeprefix" | "removesuffix" => {
            let [affix] = args.bind(name, ["affix"])?;
            let affix = required(affix, name, "affix")?;
            let affix = ctx.expect_text(&affix, name)?;
            let range = if name == "removeprefix" {
                search::prefix(ctx, &text.text, affix)?.unwrap_or(0)..text.text.len()
            } else {
                0..search::suffix(ctx, &text.text, affix)?.unwrap_or(text.text.len())
            };
            ctx.text(&text.text[range])
        }
        "center" | "ljust" | "rjust" => {
            let [width, fill] = args.bind(name, ["width", "fillchar"])?;
            let width = required(width, name, "width")?.index(name)?;
            let fill = fill.map_or_else(|| ctx.text(" "), Ok)?;
            let fill = ctx.expect_text(&fill, name)?;
            if fill.chars != 1 {
                return Err(Fault::failed("the fill character must be exactly one character long"));
            }
            let side = match name {
                "center" => Side::Both,
                "ljust" => Side::Right,
                _ => Side::Left,
            };
            pad(ctx, text, width, &fill.text, side)
        }
        "zfill" => zfill(ctx, text, args),
        "expandtabs" => expandtabs(ctx, text, args),
        "format" => format::braces(eval, text, args),
        "format_map" => {
            let [map] = args.bind(name, ["mapping"])?;
            let Some(Value::Dict(dict)) = map else { return Err(Fault::failed("format_map: expected a mapping")) };
            let named = dict
                .entries
                .values()
                .map(|(key, value)| Ok((ctx.shown(ctx.expect_text(key, name)?)?.into(), value.clone())));
            format::braces(eval, text, Args { positional: Vec::new(), named: named.collect::<Run<Vec<_>>>()? })
        }
        "encode" | "maketrans" | "translate" => {
            Err(Fault::Forbidden(format!("found the method '{name}' of 'str', which is not offered")))
        }
        _ => {
            args.none(name)?;
            is(ctx, text, name)
        }
    }
}

/// `isalpha` and the like.
fn is(ctx: &Ctx, text: &Text, name: &str) -> Run<Value> {
    ctx.budget.reads(8 * text.text.len())?;
    let shown = ctx.shown(text)?;
    let each = |class: fn(char) -> bool| !shown.is_empty() && shown.chars().all(class);
    Ok(Value::Bool(match name {
        "isalnum" => each(chars::is_alnum),
        "isalpha" => each(chars::is_alpha),
        "isascii" => shown.is_ascii(),
        "isdecimal" => each(chars::is_decimal),
        "isdigit" => each(chars::is_digit),
        "isnumeric" => each(chars::is_numeric),
        "isidentifier" => chars::is_identifier(&shown),
        "isprintable" => shown.chars().all(chars::is_printable),
        "isspace" => each(is_space),
        "istitle" => is_title(&shown),
        other => has_case(&shown, other == "isupper"),
    }))
}

/// Lines, without and with their ends; `complete` adds a line end ahead of taking them apart.
pub(in super::super) fn lines(text: &str, complete: bool) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let Some(at) = text.find(ends_line) else {
            rest = None;
            return (complete || !text.is_empty()).then_some((text, text));
        };
        let first = text[at..].chars().next().map_or(1, char::len_utf8);
        let end = if text[at..].starts_with("\r\n") { 2 } else { first };
        rest = Some(&text[at + end..]);
        Some((&text[..at], &text[..at + end]))
    })
}

/// `strip` at the start, at the end or at both.
pub(in super::super) fn strip(ctx: &Ctx, text: &Rc<Text>, chars: &Value, start: bool, end: bool) -> Run<Value> {
    ctx.budget.reads(text.text.len())?;
    let set: Option<HashSet<char>> = match chars {
        Value::None => None,
        other => {
            let set = ctx.expect_text(other, "strip")?;
            drop(ctx.budget.hold(16 * set.text.len())?);
            Some(set.text.chars().map(|c| ctx.guard.shown(c)).collect())
        }
    };
    let strips = |c: char| match &set {
        None => is_space(c),
        Some(set) => set.contains(&ctx.guard.shown(c)),
    };
    let mut kept = &*text.text;
    if start {
        kept = kept.trim_start_matches(strips);
    }
    if end {
        kept = kept.trim_end_matches(strips);
    }
    if kept.len() == text.text.len() {
        return Ok(Value::Str(Rc::clone(text)));
    }
    ctx.text(kept)
}

fn split(ctx: &Ctx, text: &Text, args: Args, right: bool) -> Run<Value> {
    let [separator, most] = args.bind("split", ["sep", "maxsplit"])?;
    let most = most.map_or(Ok(-1), |most| most.index("split: maxsplit"))?;
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let source = &*text.text;
    let mut parts = Vec::new();
    match separator.unwrap_or(Value::None) {
        Value::None => return split_words(ctx, source, most, right),
        separator => {
            let separator = ctx.expect_text(&separator, "split")?;
            if separator.text.is_empty() {
                return Err(Fault::failed("empty separator"));
            }
            if right {
                let mut until = source.len();
                search::each_from_right(ctx, text, separator, most, |range| {
                    parts.push(ctx.text(&source[range.end..until])?);
                    until = range.start;
                    Ok(())
                })?;
                parts.push(ctx.text(&source[..until])?);
                parts.reverse();
            } else {
                let mut from = 0;
                search::each(ctx, text, separator, most, |range| {
                    parts.push(ctx.text(&source[from..range.start])?);
                    from = range.end;
                    Ok(())
                })?;
                parts.push(ctx.text(&source[from..])?);
            }
        }
    }
    ctx.list(parts)
}

fn split_words(ctx: &Ctx, source: &str, most: usize, right: bool) -> Run<Value> {
    ctx.budget.reads(4 * source.len())?;
    let mut parts = Vec::new();
    let mut rest = source;
    loop {
        rest = if right { rest.trim_end_matches(is_space) } else { rest.trim_start_matches(is_space) };
        if rest.is_empty() {
            break;
        }
        let cut = if parts.len() == most {
            None
        } else if right {
            rest.char_indices().rev().find(|(_, c)| is_space(*c)).map(|(at, c)| at + c.len_utf8())
        } else {
            rest.find(is_space)
        };
        let (word, left) = match (cut, right) {
            (Some(at), true) => (&rest[at..], &rest[..at]),
            (Some(at), false) => (&rest[..at], &rest[at..]),
            // The last part keeps the white space at its far end.
            (None, _) => (rest, ""),
        };
        parts.push(ctx.text(word)?);
        rest = left;
    }
    if right {
        parts.reverse();
    }
    ctx.list(parts)
}

fn partition(ctx: &Ctx, text: &Text, args: Args, right: bool) -> Run<Value> {
    let [separator] = args.bind("partition", ["sep"])?;
    let separator = required(separator, "partition", "sep")?;
    let separator = ctx.expect_text(&separator, "partition")?;
    if separator.text.is_empty() {
        return Err(Fault::failed("empty separator"));
    }
    let mut found = None;
    let mut keep = |range| {
        found = Some(range);
        Ok(())
    };
    if right {
        search::each_from_right(ctx, text, separator, 1, &mut keep)?;
    } else {
        search::each(ctx, text, separator, 1, &mut keep)?;
    }
    let source = &*text.text;
    let parts = match found {
        Some(range) => [&source[..range.start], &source[range.start..range.end], &source[range.end..]],
        None if right => ["", "", source],
        None => [source, "", ""],
    };
    ctx.tuple(parts.iter().map(|part| ctx.text(part)).collect::<Run<Vec<_>>>()?)
}

fn join(ctx: &Ctx, separator: &Text, items: &[Value]) -> Run<Value> {
    let mut out = ctx.builder();
    for (i, item) in items.iter().enumerate() {
        let Value::Str(text) = item else {
            let found = item.type_name();
            return Err(Fault::failed(format!("sequence item {i}: expected str instance, {found} found")));
        };
        if i > 0 {
            out.push(&separator.text)?;
        }
        out.push(&text.text)?;
    }
    ctx.finish(out)
}

/// `replace`, at most `count` times; as often as there is something to replace if that is below 0.
pub(in super::super) fn replace(ctx: &Ctx, text: &Rc<Text>, old: &Text, new: &Text, count: i64) -> Run<Value> {
    let most = usize::try_from(count).unwrap_or(usize::MAX);
    let source = &*text.text;
    let mut out = ctx.builder();
    if old.text.is_empty() {
        let mut left = most;
        for c in source.chars() {
            if left > 0 {
                left -= 1;
                out.push(&new.text)?;
            }
            out.push_char(c)?;
        }
        if left > 0 {
            out.push(&new.text)?;
        }
        return ctx.finish(out);
    }
    let mut from = 0;
    search::each(ctx, text, old, most, |range| {
        out.push(&source[from..range.start])?;
        from = range.end;
        out.push(&new.text)
    })?;
    if from == 0 {
        return Ok(Value::Str(Rc::clone(text)));
    }
    out.push(&source[from..])?;
    ctx.finish(out)
}

/// The part of the text between two indices, and the first of them; nothing where they lie outside.
fn window(ctx: &Ctx, text: &Rc<Text>, start: Option<Value>, stop: Option<Value>) -> Run<Option<(Rc<Text>, usize)>> {
    let (start, stop) = (start.unwrap_or(Value::None), stop.unwrap_or(Value::None));
    if matches!((&start, &stop), (Value::None, Value::None)) {
        return Ok(Some((Rc::clone(text), 0)));
    }
    let length = text.chars as i64;
    let clamp = |value: &Value, default: i64| match value {
        Value::None => Ok(default),
        other => other.index("start or end").map(|n| if n < 0 { n.saturating_add(length).max(0) } else { n }),
    };
    let (first, last) = (clamp(&start, 0)?, clamp(&stop, length)?.min(length));
    if first > last {
        return Ok(None);
    }
    let part = slice(ctx, &Value::Str(Rc::clone(text)), &[Value::Int(first), Value::Int(last), Value::None])?;
    match part {
        Value::Str(part) => Ok(Some((part, first as usize))),
        _ => Ok(None),
    }
}

/// `find`, `rfind`, `index`, `rindex` and `count`.
fn place(ctx: &Ctx, text: &Rc<Text>, name: &str, args: Args) -> Run<Value> {
    let [wanted, start, stop] = args.bind(name, ["sub", "start", "end"])?;
    let wanted = required(wanted, name, "sub")?;
    let wanted = ctx.expect_text(&wanted, name)?;
    let within = window(ctx, text, start, stop)?;
    if name == "count" {
        let Some((part, _)) = within else { return Ok(Value::Int(0)) };
        if wanted.text.is_empty() {
            return Ok(Value::Int(part.chars as i64 + 1));
        }
        let mut count = 0;
        search::each(ctx, &part, wanted, usize::MAX, |_| {
            count += 1;
            Ok(())
        })?;
        return Ok(Value::Int(count));
    }
    let found = match &within {
        None => None,
        Some((part, first)) => {
            let hay = Haystack::new(ctx, part, wanted)?;
            let needle = ctx.shown(wanted)?;
            let at = if name.starts_with('r') {
                hay.find_last(ctx, &needle, hay.shown().len())?
            } else {
                hay.find(ctx, &needle, 0)?
            };
            at.map(|at| first + hay.shown()[..at].chars().count())
        }
    };
    match found {
        Some(at) => Ok(Value::Int(at as i64)),
        None if name.ends_with("find") => Ok(Value::Int(-1)),
        None => Err(Fault::failed("substring not found")),
    }
}

fn affixed(ctx: &Ctx, text: &Rc<Text>, name: &str, args: Args) -> Run<Value> {
    let [affix, start, stop] = args.bind(name, ["prefix", "start", "end"])?;
    let affix = required(affix, name, "prefix")?;
    let affixes = match &affix {
        Value::Tuple(list) => list.items.as_slice(),
        one => std::slice::from_ref(one),
    };
    let within = window(ctx, text, start, stop)?;
    for affix in affixes {
        let affix = ctx.expect_text(affix, name)?;
        let Some((part, _)) = &within else { continue };
        let found = if name == "startswith" {
            search::prefix(ctx, &part.text, affix)?
        } else {
            search::suffix(ctx, &part.text, affix)?
        };
        if found.is_some() {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}

/// The text with `fill` around it up to `width` characters.
pub(in super::super) fn pad(ctx: &Ctx, text: &Rc<Text>, width: i64, fill: &str, side: Side) -> Run<Value> {
    let missing = usize::try_from(width).unwrap_or(0).saturating_sub(text.chars);
    if missing == 0 {
        return Ok(Value::Str(Rc::clone(text)));
    }
    let left = match side {
        Side::Left => missing,
        Side::Right => 0,
        // Python puts the odd one on the left where the width is odd too.
        Side::Both => missing / 2 + (missing & width as usize & 1),
    };
    let mut out = ctx.builder();
    out.repeat(fill, left)?;
    out.push(&text.text)?;
    out.repeat(fill, missing - left)?;
    ctx.finish(out)
}

fn zfill(ctx: &Ctx, text: &Rc<Text>, args: Args) -> Run<Value> {
    let [width] = args.bind("zfill", ["width"])?;
    let width = usize::try_from(required(width, "zfill", "width")?.index("zfill")?).unwrap_or(0);
    let missing = width.saturating_sub(text.chars);
    let sign = usize::from(text.text.starts_with(['+', '-']));
    let mut out = ctx.builder();
    out.push(&text.text[..sign])?;
    out.repeat("0", missing)?;
    out.push(&text.text[sign..])?;
    ctx.finish(out)
}

fn expandtabs(ctx: &Ctx, text: &Text, args: Args) -> Run<Value> {
    let [size] = args.bind("expandtabs", ["tabsize"])?;
    let size = usize::try_from(size.map_or(Ok(8), |size| size.index("expandtabs"))?).unwrap_or(0);
    let mut out = ctx.builder();
    let mut column = 0usize;
    for c in text.text.chars() {
        match c {
            '\t' => {
                let spaces = if size == 0 { 0 } else { size - column % size };
                out.repeat(" ", spaces)?;
                column += spaces;
            }
            '\n' | '\r' => {
                out.push_char(c)?;
                column = 0;
            }
            c => {
                out.push_char(c)?;
                column += 1;
            }
        }
    }
    ctx.finish(out)
}
