//! Formats: `%`, `str.format` and the numbers in both.

mod spec;

use super::args::Args;
use super::budget::Builder;
use super::ctx::Ctx;
use super::eval::Eval;
use super::fault::{Fault, Run};
use super::lookup;
use super::spell::{print, repr};
use super::text::Text;
use super::value::Value;
use spec::{Align, Spec};

/// `format % value`.
pub(super) fn percent(ctx: &Ctx, format: &Text, value: &Value) -> Run<Value> {
    let mut taken = Arguments { value, at: 0, named: false };
    let mut out = ctx.builder();
    let mut rest = &*format.text;
    while let Some(at) = rest.find('%') {
        out.push(&rest[..at])?;
        rest = directive(ctx, &rest[at + 1..], &mut taken, &mut out)?;
    }
    out.push(rest)?;
    if taken.left() {
        return Err(Fault::failed("not all arguments converted during string formatting"));
    }
    ctx.finish(out)
}

/// The values of a `%` format.
struct Arguments<'v> {
    value: &'v Value,
    at: usize,
    named: bool,
}

impl Arguments<'_> {
    fn next(&mut self) -> Run<Value> {
        let at = self.at;
        self.at += 1;
        let found = match self.value {
            Value::Tuple(list) => list.items.get(at).cloned(),
            one => (at == 0).then(|| one.clone()),
        };
        found.ok_or_else(|| Fault::failed("not enough arguments for format string"))
    }

    fn left(&self) -> bool {
        match self.value {
            Value::Tuple(list) => self.at < list.items.len(),
            Value::Dict(_) | Value::List(_) | Value::Range(_) => false,
            _ => self.at == 0 && !self.named,
        }
    }

    fn named(&mut self, ctx: &Ctx, name: &str) -> Run<Value> {
        self.named = true;
        let Value::Dict(dict) = self.value else { return Err(Fault::failed("format requires a mapping")) };
        ctx.budget.reads(name.len())?;
        let found = dict.entries.get(&super::key::Named(name)).map(|(_, value)| value.clone());
        found.ok_or_else(|| Fault::failed(format!("found no key '{name}' for the format")))
    }
}

/// One `%` directive; what is behind it.
fn directive<'f>(ctx: &Ctx, text: &'f str, taken: &mut Arguments, out: &mut Builder) -> Run<&'f str> {
    let mut rest = text;
    let mut named = None;
    if let Some(inner) = rest.strip_prefix('(') {
        let end = closing(inner).ok_or_else(|| Fault::failed("incomplete format key"))?;
        named = Some(taken.named(ctx, &ctx.guard.show(&inner[..end]))?);
        rest = &inner[end + 1..];
    }
    let mut spec = Spec::default();
    while let Some(flag) = rest.chars().next().filter(|c| "-+ #0".contains(*c)) {
        match flag {
            '-' => spec.align = Some(Align::Left),
            '+' => spec.sign = '+',
            ' ' if spec.sign != '+' => spec.sign = ' ',
            '#' => spec.alternate = true,
            '0' => spec.zero = true,
            _ => {}
        }
        rest = &rest[1..];
    }
    let mut number = |rest: &mut &'f str| {
        if let Some(behind) = rest.strip_prefix('*') {
            *rest = behind;
            return taken.next()?.index("format: *").map(Some);
        }
        let length = rest.bytes().take_while(u8::is_ascii_digit).count();
        let digits = &rest[..length];
        *rest = &rest[length..];
        if digits.is_empty() { Ok(None) } else { Ok(Some(digits.parse().unwrap_or(i64::MAX))) }
    };
    if let Some(width) = number(&mut rest)? {
        if width < 0 {
            spec.align = Some(Align::Left);
        }
        spec.width = usize::try_from(width.unsigned_abs()).unwrap_or(usize::MAX);
    }
    if let Some(behind) = rest.strip_prefix('.') {
        rest = behind;
        spec.precision = Some(usize::try_from(number(&mut rest)?.unwrap_or(0)).unwrap_or(0));
    }
    rest = rest.trim_start_matches(['h', 'l', 'L']);
    let Some(kind) = rest.chars().next() else { return Err(Fault::failed("incomplete format")) };
    rest = &rest[kind.len_utf8()..];
    if kind == '%' {
        out.push("%")?;
        return Ok(rest);
    }
    let value = named.map_or_else(|| taken.next(), Ok)?;
    spec.percent(ctx, kind, &value, out)?;
    Ok(rest)
}

/// Where the bracket that is open closes.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 1;
    text.char_indices()
        .find(|(_, c)| {
            match c {
                '(' => depth += 1,
                ')' => depth -= 1,
                _ => {}
            }
            depth == 0
        })
        .map(|(at, _)| at)
}

/// `text.format(args)`.
pub(super) fn braces(eval: &Eval, text: &Text, args: Args) -> Run<Value> {
    let mut out = eval.ctx.builder();
    let mut formatter = Formatter { eval, args, next: Some(0) };
    formatter.run(&text.text, 2, &mut out)?;
    eval.ctx.finish(out)
}

struct Formatter<'e, 'p> {
    eval: &'e Eval<'p>,
    args: Args,
    /// The place of the next field without a name; nothing once fields have numbers.
    next: Option<usize>,
}

impl Formatter<'_, '_> {
    fn run(&mut self, text: &str, depth: u32, out: &mut Builder) -> Run<()> {
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            out.push(&rest[..at])?;
            let brace = &rest[at..=at];
            rest = &rest[at + 1..];
            if let Some(behind) = rest.strip_prefix(brace) {
                out.push(brace)?;
                rest = behind;
                continue;
            }
            if brace == "}" {
                return Err(Fault::failed("single '}' encountered in format string"));
            }
            let end = field_end(rest).ok_or_else(|| Fault::failed("expected '}' before end of string"))?;
            if depth == 0 {
                return Err(Fault::failed("max string recursion exceeded"));
            }
            self.field(&rest[..end], depth, out)?;
            rest = &rest[end + 1..];
        }
        out.push(rest)
    }

    fn field(&mut self, field: &str, depth: u32, out: &mut Builder) -> Run<()> {
        let ctx = self.eval.ctx;
        let brackets = |at: usize| field[..at].matches('[').count() > field[..at].matches(']').count();
        let cut = field.char_indices().find(|(at, c)| matches!(c, '!' | ':') && !brackets(*at)).map(|(at, _)| at);
        let (name, behind) = field.split_at(cut.unwrap_or(field.len()));
        let mut value = self.value(name)?;
        let mut spec_text = behind;
        if let Some(conversion) = behind.strip_prefix('!') {
            let kind = conversion.chars().next();
            spec_text = conversion.get(kind.map_or(0, char::len_utf8)..).unwrap_or("");
            let mut made = ctx.builder();
            match kind {
                Some('s') => print(ctx, &value, &mut made)?,
                Some('r') => repr(ctx, &value, &mut made)?,
                Some('a') => spec::ascii(ctx, &value, &mut made)?,
                _ => return Err(Fault::failed("unknown conversion specifier in format string")),
            }
            value = ctx.finish(made)?;
        }
        let mut made = ctx.builder();
        match spec_text.strip_prefix(':') {
            Some(spec) => self.run(spec, depth - 1, &mut made)?,
            None if spec_text.is_empty() => {}
            None => return Err(Fault::failed("expected ':' after conversion specifier")),
        }
        let spec = Spec::parse(ctx, made.text())?;
        spec.format(ctx, &value, made.text().is_empty(), out)
    }

    /// The value that a field's name leads to.
    fn value(&mut self, name: &str) -> Run<Value> {
        let first = name.find(['.', '[']).unwrap_or(name.len());
        let (key, mut rest) = name.split_at(first);
        let ctx = self.eval.ctx;
        let digits = !key.is_empty() && key.bytes().all(|b| b.is_ascii_digit());
        let mut value = if key.is_empty() || digits {
            let at = match (key.is_empty(), self.next) {
                (true, Some(next)) => {
                    self.next = Some(next + 1);
                    next
                }
                (false, None | Some(0)) => {
                    self.next = None;
                    key.parse().unwrap_or(usize::MAX)
                }
                _ => return Err(Fault::failed("cannot mix automatic field numbering and manual field specification")),
            };
            let found = self.args.positional.get(at).cloned();
            found.ok_or_else(|| Fault::failed("replacement index out of range for positional args tuple"))?
        } else {
            let key = ctx.guard.show(key);
            let found = self.args.named.iter().find(|(known, _)| **known == *key);
            found.map(|(_, value)| value.clone()).ok_or_else(|| Fault::failed(format!("found no argument '{key}'")))?
        };
        while !rest.is_empty() {
            if let Some(inner) = rest.strip_prefix('[') {
                let end = inner.find(']').ok_or_else(|| Fault::failed("missing ']' in format string"))?;
                let key = match inner[..end].parse() {
                    Ok(index) if inner[..end].bytes().all(|b| b.is_ascii_digit()) => Value::Int(index),
                    _ => ctx.text(&inner[..end])?,
                };
                // The sandbox looks items up as templates do.
                value = lookup::item(self.eval, &value, &key)?;
                rest = &inner[end + 1..];
            } else {
                let inner = rest
                    .strip_prefix('.')
                    .ok_or_else(|| Fault::failed("only '.' or '[' may follow ']' in format field specifier"))?;
                let end = inner.find(['.', '[']).unwrap_or(inner.len());
                value = lookup::attribute(self.eval, &value, &ctx.guard.show(&inner[..end]).into())?;
                rest = &inner[end..];
            }
        }
        Ok(value)
    }
}

/// Where the field that is open closes.
fn field_end(text: &str) -> Option<usize> {
    let mut depth = 1;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}
