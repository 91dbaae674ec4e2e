//! `tojson` as transformers sets it up: `json.dumps` with its arguments.

use super::args::Args;
use super::budget::Builder;
use super::compare;
use super::ctx::Ctx;
use super::fault::{Fault, Run};
use super::number::{digits, spelled};
use super::text::Text;
use super::value::Value;

/// `value | tojson(ensure_ascii, indent, separators, sort_keys)`.
pub(super) fn tojson(ctx: &Ctx, value: &Value, args: Args) -> Run<Value> {
    let [ascii, indent, separators, sort] =
        args.bind("tojson", ["ensure_ascii", "indent", "separators", "sort_keys"])?;
    let indent = match indent.unwrap_or(Value::None) {
        Value::None => None,
        Value::Str(text) => Some(text.text.to_string()),
        other => match other.as_index() {
            Some(width) => {
                let mut out = ctx.builder();
                out.repeat(" ", usize::try_from(width).unwrap_or(0))?;
                Some(out.into_parts().0)
            }
            None => {
                return Err(Fault::failed(format!("tojson: indent: found {}, expected int or str", other.type_name())));
            }
        },
    };
    let (item, key) = separators_of(ctx, separators, indent.is_some())?;
    let ascii = ascii.is_some_and(|v| v.is_true());
    let sort = sort.is_some_and(|v| v.is_true());
    let mut writer = Writer { ctx, ascii, indent, item, key, sort, depth: 0, out: ctx.builder() };
    writer.write(value)?;
    let out = writer.out;
    ctx.finish(out)
}

fn separators_of(ctx: &Ctx, given: Option<Value>, indented: bool) -> Run<(String, String)> {
    match given.unwrap_or(Value::None) {
        Value::None if indented => Ok((",".into(), ": ".into())),
        Value::None => Ok((", ".into(), ": ".into())),
        other => {
            let items = other.items(&ctx.budget)?.ready(&ctx.budget)?;
            let mut texts = Vec::new();
            for index in 0..items.len().min(3) {
                let item = items.get(&ctx.budget, index)?.unwrap_or(Value::None);
                texts.push(ctx.expect_text(&item, "tojson: separators")?.text.to_string());
            }
            match <[String; 2]>::try_from(texts) {
                Ok([item, key]) => Ok((item, key)),
                Err(_) => Err(Fault::failed("tojson: separators: found another number of them, expected two")),
            }
        }
    }
}

struct Writer<'a> {
    ctx: &'a Ctx,
    ascii: bool,
    indent: Option<String>,
    item: String,
    key: String,
    sort: bool,
    depth: usize,
    out: Builder<'a>,
}

impl Writer<'_> {
    fn write(&mut self, value: &Value) -> Run<()> {
        self.ctx.budget.steps(1)?;
        match value {
            Value::None => self.out.push("null"),
            Value::Bool(b) => self.out.push(if *b { "true" } else { "false" }),
            Value::Int(_) | Value::Big(_) | Value::Float(_) => {
                let spelled = number(self.ctx, value)?;
                self.out.push(&spelled)
            }
            Value::Str(text) => self.text(text),
            Value::List(list) | Value::Tuple(list) => {
                if list.items.is_empty() {
                    return self.out.push("[]");
                }
                self.out.push("[")?;
                self.depth += 1;
                for (i, item) in list.items.iter().enumerate() {
                    self.separate(i == 0)?;
                    self.write(item)?;
                }
                self.depth -= 1;
                self.new_line()?;
                self.out.push("]")
            }
            Value::Dict(dict) => {
                if dict.entries.is_empty() {
                    return self.out.push("{}");
                }
                self.out.push("{")?;
                self.depth += 1;
                self.pairs(dict.entries.values())?;
                self.depth -= 1;
                self.new_line()?;
                self.out.push("}")
            }
            other => Err(Fault::failed(format!("Object of type {} is not JSON serializable", other.type_name()))),
        }
    }

    fn pairs<'v>(&mut self, entries: impl ExactSizeIterator<Item = &'v (Value, Value)>) -> Run<()> {
        if !self.sort {
            return self.entries(entries);
        }
        let mut keys = Vec::with_capacity(entries.len());
        let mut pairs = Vec::with_capacity(entries.len());
        for entry in entries {
            self.ctx.budget.steps(1)?;
            keys.push(entry.0.clone());
            pairs.push(entry);
        }
        let places = (0..pairs.len()).map(|at| Value::Int(at as i64)).collect();
        let order = compare::sorted(self.ctx, places, &keys, false)?;
        let sorted: Vec<_> = order.iter().filter_map(|at| pairs.get(usize::try_from(at.as_index()?).ok()?)).collect();
        self.entries(sorted.into_iter().copied())
    }

    fn entries<'v>(&mut self, entries: impl Iterator<Item = &'v (Value, Value)>) -> Run<()> {
        for (i, (key, value)) in entries.enumerate() {
            self.separate(i == 0)?;
            match key {
                Value::Str(text) => self.text(text)?,
                Value::None => self.out.push("\"null\"")?,
                Value::Bool(b) => self.out.push(if *b { "\"true\"" } else { "\"false\"" })?,
                Value::Int(_) | Value::Big(_) | Value::Float(_) => {
                    let spelled = number(self.ctx, key)?;
                    self.out.push(&format!("\"{spelled}\""))?;
                }
                other => {
                    let found = other.type_name();
                    return Err(Fault::failed(format!("keys must be str, int, float, bool or None, not {found}")));
                }
            }
            self.out.push(&self.key)?;
            self.write(value)?;
        }
        Ok(())
    }

    fn separate(&mut self, first: bool) -> Run<()> {
        if !first {
            self.out.push(&self.item)?;
        }
        self.new_line()
    }

    fn new_line(&mut self) -> Run<()> {
        let Some(indent) = &self.indent else { return Ok(()) };
        self.out.push("\n")?;
        self.out.repeat(indent, self.depth)
    }

    fn text(&mut self, text: &Text) -> Run<()> {
        self.ctx.budget.reads(2 * text.text.len())?;
        self.out.push("\"")?;
        let mut plain = 0;
        for (at, c) in text.text.char_indices() {
            let shown = if text.hidden { self.ctx.guard.shown(c) } else { c };
            let escaped = match shown {
                '"' => "\\\"".into(),
                '\\' => "\\\\".into(),
                '\n' => "\\n".into(),
                '\r' => "\\r".into(),
                '\t' => "\\t".into(),
                '\u{8}' => "\\b".into(),
                '\u{c}' => "\\f".into(),
                c if c < ' ' => format!("\\u{:04x}", u32::from(c)),
                c if self.ascii && c > '~' => {
                    c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect::<String>()
                }
                _ => continue,
            };
            self.out.push(&text.text[plain..at])?;
            if c != shown && matches!(shown, '"' | '\\') {
                // A stand-in stays one, behind the backslash.
                self.out.push("\\")?;
                self.out.push_char(c)?;
            } else {
                self.out.push(&escaped)?;
            }
            plain = at + c.len_utf8();
        }
        self.out.push(&text.text[plain..])?;
        self.out.push("\"")
    }
}

fn number(ctx: &Ctx, value: &Value) -> Run<String> {
    Ok(match value {
        Value::Int(n) => n.to_string(),
        Value::Big(n) => {
            ctx.budget.steps(usize::try_from(n.bits() / 64).unwrap_or(usize::MAX))?;
            digits(n)?
        }
        Value::Float(n) if n.is_nan() => "NaN".into(),
        Value::Float(n) if n.is_infinite() => if *n > 0.0 { "Infinity" } else { "-Infinity" }.into(),
        Value::Float(n) => spelled(*n),
        _ => String::new(),
    })
}
