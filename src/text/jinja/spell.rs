//! How values are printed: `str` and `repr`.

use super::budget::Builder;
use super::chars::is_printable;
use super::ctx::Ctx;
use super::fault::{Fault, Run};
use super::number::{digits, spelled};
use super::text::Text;
use super::value::{List, MAX_DEPTH, Value, View};

/// Appends `str(value)`.
pub(super) fn print(ctx: &Ctx, value: &Value, out: &mut Builder) -> Run<()> {
    match value {
        Value::Undefined(_) => Ok(()),
        Value::Str(text) => out.push(&text.text),
        other => repr(ctx, other, out),
    }
}

/// `str(value)`.
pub(super) fn string(ctx: &Ctx, value: &Value) -> Run<Value> {
    if let Value::Str(_) = value {
        return Ok(value.clone());
    }
    let mut out = ctx.builder();
    print(ctx, value, &mut out)?;
    ctx.finish(out)
}

/// Appends `repr(value)`.
pub(super) fn repr(ctx: &Ctx, value: &Value, out: &mut Builder) -> Run<()> {
    Printer { ctx, out, depth: 0 }.repr(value)
}

struct Printer<'a, 'b> {
    ctx: &'a Ctx,
    out: &'a mut Builder<'b>,
    depth: u32,
}

impl Printer<'_, '_> {
    fn repr(&mut self, value: &Value) -> Run<()> {
        match value {
            Value::Undefined(_) => self.out.push("Undefined"),
            Value::None => self.out.push("None"),
            Value::Bool(true) => self.out.push("True"),
            Value::Bool(false) => self.out.push("False"),
            Value::Int(n) => self.out.push(&n.to_string()),
            Value::Big(n) => {
                self.ctx.budget.steps(usize::try_from(n.bits() / 64).unwrap_or(usize::MAX))?;
                self.out.push(&digits(n)?)
            }
            Value::Float(n) => self.out.push(&spelled(*n)),
            Value::Str(text) => self.text(text),
            Value::Range(range) => {
                let step = if range.step == 1 { String::new() } else { format!(", {}", range.step) };
                self.out.push(&format!("range({}, {}{step})", range.start, range.stop))
            }
            Value::Loop(inner) => {
                self.out.push(&format!("<LoopContext {}/{}>", inner.index.get() + 1, inner.items.len()))
            }
            Value::Macro(found) => match &found.definition.name {
                Some(name) => self.out.push(&format!("<Macro '{name}'>")),
                None => self.out.push("<Macro 'caller'>"),
            },
            Value::List(_)
            | Value::Tuple(_)
            | Value::Dict(_)
            | Value::View(..)
            | Value::Slice(_)
            | Value::Namespace(_) => self.nested(value),
            other => {
                // Python prints an address here.
                self.out.push(&format!("<{} object>", other.type_name()))
            }
        }
    }

    fn nested(&mut self, value: &Value) -> Run<()> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Fault::Deep("values"));
        }
        match value {
            Value::List(list) => self.list("[", list, "]")?,
            Value::Tuple(list) => self.list("(", list, if list.items.len() == 1 { ",)" } else { ")" })?,
            Value::Slice(parts) => {
                self.out.push("slice(")?;
                self.items(parts.iter())?;
                self.out.push(")")?;
            }
            Value::Dict(dict) => {
                self.out.push("{")?;
                self.pairs(dict.entries.values().map(|(key, value)| (key, value)))?;
                self.out.push("}")?;
            }
            Value::View(view, dict) => self.view(*view, dict.entries.values())?,
            Value::Namespace(namespace) => {
                self.out.push("<Namespace {")?;
                let entries = namespace.entries.borrow();
                for (i, (name, value)) in entries.iter().enumerate() {
                    self.out.push(if i == 0 { "'" } else { ", '" })?;
                    self.out.push(name)?;
                    self.out.push("': ")?;
                    self.repr(value)?;
                }
                self.out.push("}>")?;
            }
            _ => {}
        }
        self.depth -= 1;
        Ok(())
    }

    fn list(&mut self, open: &str, list: &List, close: &str) -> Run<()> {
        self.out.push(open)?;
        self.items(list.items.iter())?;
        self.out.push(close)
    }

    fn items<'v>(&mut self, items: impl Iterator<Item = &'v Value>) -> Run<()> {
        for (i, item) in items.enumerate() {
            if i > 0 {
                self.out.push(", ")?;
            }
            self.repr(item)?;
        }
        Ok(())
    }

    fn pairs<'v>(&mut self, pairs: impl Iterator<Item = (&'v Value, &'v Value)>) -> Run<()> {
        for (i, (key, value)) in pairs.enumerate() {
            if i > 0 {
                self.out.push(", ")?;
            }
            self.repr(key)?;
            self.out.push(": ")?;
            self.repr(value)?;
        }
        Ok(())
    }

    fn view<'v>(&mut self, view: View, entries: impl Iterator<Item = &'v (Value, Value)>) -> Run<()> {
        self.out.push(match view {
            View::Keys => "dict_keys([",
            View::Values => "dict_values([",
            View::Items => "dict_items([",
        })?;
        for (i, (key, value)) in entries.enumerate() {
            if i > 0 {
                self.out.push(", ")?;
            }
            match view {
                View::Keys => self.repr(key)?,
                View::Values => self.repr(value)?,
                View::Items => {
                    self.out.push("(")?;
                    self.items([key, value].into_iter())?;
                    self.out.push(")")?;
                }
            }
        }
        self.out.push("])")
    }

    fn text(&mut self, text: &Text) -> Run<()> {
        let quote = if text.text.contains('\'') && !text.text.contains('"') { '"' } else { '\'' };
        self.ctx.budget.reads(4 * text.text.len())?;
        self.out.push_char(quote)?;
        let mut plain = 0;
        for (at, c) in text.text.char_indices() {
            let shown = if text.hidden { self.ctx.guard.shown(c) } else { c };
            if c != quote && c != '\\' && is_printable(shown) {
                continue;
            }
            self.out.push(&text.text[plain..at])?;
            plain = at + c.len_utf8();
            match c {
                '\n' => self.out.push("\\n")?,
                '\r' => self.out.push("\\r")?,
                '\t' => self.out.push("\\t")?,
                '\\' => self.out.push("\\\\")?,
                c if c == quote => {
                    self.out.push("\\")?;
                    self.out.push_char(quote)?;
                }
                c => self.out.push(&match u32::from(c) {
                    code @ 0..=0xff => format!("\\x{code:02x}"),
                    code @ 0..=0xffff => format!("\\u{code:04x}"),
                    code => format!("\\U{code:08x}"),
                })?,
            }
        }
        self.out.push(&text.text[plain..])?;
        self.out.push_char(quote)
    }
}
